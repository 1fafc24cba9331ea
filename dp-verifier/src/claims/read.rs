//! Strict parsing of the contract's documents.

use chrono::{DateTime, NaiveDateTime, Utc};
use cp_contracts::{
    DeploymentClaims, DeploymentLicenseClaims, DeploymentType, EncodedStatusList, Enforcement,
    EntryBits, LeaseBodyClaims, LeaseClaims, LicenseBodyClaims, OnStale, OrganizationClaims,
    PlanClaims, PoolClaims, PoolKind, StatusClaim, StatusListClaims, StatusListRef,
    SubscriptionClaims,
};
use semver::Version;
use uuid::Uuid;

use crate::json::{Fault, Read, Reader, object};

object!(DeploymentLicenseClaims {
    iss = "iss",
    aud = "aud",
    sub = "sub",
    jti = "jti",
    iat = "iat",
    nbf = "nbf",
    exp = "exp",
    license = "license",
    status = "status",
    enforcement = "enforcement",
    cp_base_url = "cp_base_url",
    rbac_endpoint = "rbac_endpoint",
    contract = "contract",
});

object!(LicenseBodyClaims {
    license_id = "license_id",
    seat_cap = "seat_cap",
    features = "features",
    organization = "organization",
    deployment = "deployment",
    subscription = "subscription",
    plan = "plan",
    limits = "limits",
    unlimited = "unlimited",
    leasing = "leasing",
});

object!(PoolClaims { kind = "kind", cap = "cap" });

object!(LeaseClaims {
    iss = "iss",
    aud = "aud",
    sub = "sub",
    jti = "jti",
    iat = "iat",
    nbf = "nbf",
    exp = "exp",
    hbnbf = "hbnbf",
    lease = "lease",
    status = "status",
    contract = "contract",
});

object!(LeaseBodyClaims {
    license_id = "license_id",
    pool = "pool",
    kind = "kind",
    holder = "holder",
    components = "components",
    matching = "match",
    borrowed = "borrowed",
    overage = "overage",
});

object!(OrganizationClaims {
    id = "id",
    name = "name",
    slug = "slug",
    external_id = "external_id",
    status = "status",
});

object!(DeploymentClaims {
    id = "id",
    name = "name",
    kind = "type",
    region = "region",
    api_base_url = "api_base_url",
    status = "status",
});

object!(SubscriptionClaims {
    id = "id",
    status = "status",
    seat_cap = "seat_cap",
    starts_at = "starts_at",
    ends_at = "ends_at",
    trial_ends_at = "trial_ends_at",
    external_id = "external_id",
});

object!(PlanClaims {
    code = "code",
    name = "name",
    description = "description",
    default_features = "default_features",
});

object!(StatusClaim { status_list = "status_list" });

object!(StatusListRef { idx = "idx", uri = "uri" });

object!(Enforcement {
    status_max_age = "status_max_age",
    on_stale = "on_stale",
    grace_seconds = "grace_seconds",
});

object!(StatusListClaims {
    sub = "sub",
    iat = "iat",
    exp = "exp",
    ttl = "ttl",
    status_list = "status_list",
});

object!(EncodedStatusList { bits = "bits", lst = "lst" });

impl<'a> Read<'a> for EntryBits {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let bits = u8::try_from(u64::read(reader)?).ok().and_then(|bits| bits.try_into().ok());
        bits.ok_or(Fault::new(&"must be 1, 2, 4 or 8"))
    }
}

/// Reads types that are written as strings.
///
/// `from_text! { Name: "must be …", parse; }` implements `Read` for `Name`.
macro_rules! from_text {
    ($($name:ty: $what:literal, $parse:expr;)+) => {$(
        impl<'a> Read<'a> for $name {
            fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
                let text = reader.string()?;
                let parse: fn(&str) -> Option<Self> = $parse;
                parse(&text).ok_or(Fault::new(&$what))
            }
        }
    )+};
}

from_text! {
    // The uuid crate reads other forms too, such as `urn:uuid:…`. The contract does not allow them.
    Uuid: "must be a hyphenated UUID",
        |text| (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten();
    Version: "must be a semantic version", |text| text.parse().ok();
    DateTime<Utc>: "must be an RFC 3339 timestamp", timestamp;
    DeploymentType: "must be a deployment type", |text| Some(text.into());
    PoolKind: "must be a kind of pool", |text| Some(text.into());
    OnStale: "must be an enforcement", |text| Some(text.into());
}

/// Parses RFC 3339, also without an offset: issuers of contract 1.x wrote UTC in that form.
fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|at| at.and_utc())
}
