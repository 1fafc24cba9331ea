//! The claims of a license token: reading them strictly, and the rules they must satisfy.

use chrono::{DateTime, NaiveDateTime, Utc};
use cp_contracts::{
    ContractVersion, DeploymentClaims, DeploymentLicenseClaims, DeploymentType, Enforcement,
    LicenseBodyClaims, OnStale, OrganizationClaims, PlanClaims, StatusClaim, StatusListRef,
    SubscriptionClaims,
};
use semver::Version;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::ErrorCode::{
    AudienceWrong, ClaimsInvalid, ContractUnsupported, Expired, IssuerWrong, NotYetValid,
};
use crate::error::quoted;
use crate::json::{Fault, Read, Reader, document, found, keep, keep_unknown};
use crate::{LicenseState, VerifyError};

/// The last second of the year 9999, in seconds since 1970: no date is later.
pub(crate) const MAX_DATE: i64 = 253_402_300_799;

/// The longest grace that is granted, whatever a token says, in seconds: 90 days. A license that
/// never ends shall be one that says so in its `exp`.
pub(crate) const MAX_GRACE: i64 = 90 * 86_400;

/// What the claims of an acceptable token say.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// By how many seconds the clocks of issuer and data plane may differ.
    pub(crate) leeway: i64,
    /// For how many seconds after `exp` a token may let itself be used, at most.
    pub(crate) max_grace: i64,
    /// For how many seconds before `exp` a license is expiring.
    pub(crate) expiring: i64,
}

/// The times of a token, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    iat: i64,
    nbf: i64,
    exp: i64,
    /// What the token says, which may be any number.
    grace: i64,
}

impl Times {
    pub(crate) fn of(claims: &DeploymentLicenseClaims) -> Self {
        let grace = claims.enforcement.as_ref().map_or(0, |enforcement| enforcement.grace_seconds);
        Self { iat: claims.iat, nbf: claims.nbf, exp: claims.exp, grace }
    }

    /// When the token ends together with its grace: it is over in that second.
    pub(crate) fn end(&self, max_grace: i64) -> i64 {
        self.exp.saturating_add(self.grace.clamp(0, max_grace))
    }
}

impl Rules {
    /// Reads the payload of a token and judges it at `now`, in seconds since 1970.
    ///
    /// The order of refusals is fixed: JSON, issuer, audience, contract, times, everything else.
    pub(crate) fn judge(
        &self,
        payload: &[u8],
        now: i64,
    ) -> Result<(DeploymentLicenseClaims, LicenseState), VerifyError> {
        let claims: DeploymentLicenseClaims =
            document(payload).map_err(|fault| self.first_refusal(payload, &fault, now))?;
        self.issuer(Some(&claims.iss))?;
        self.audience(Some(&claims.aud))?;
        contract(claims.contract.as_ref())?;
        self.times(&Times::of(&claims), now)?;
        consistent(&claims)?;
        let state = self.state(&claims, now);
        Ok((claims, state))
    }

    /// How a license stands whose times hold.
    pub(crate) fn state(&self, claims: &DeploymentLicenseClaims, now: i64) -> LicenseState {
        let times = Times::of(claims);
        // The leeway admits a token without grace for a moment longer. That is no grace: by the
        // issuer's clock its time may not be over.
        let has_grace = times.end(self.max_grace) > times.exp;
        if has_grace && now >= times.exp {
            LicenseState::Grace
        } else if times.exp.saturating_sub(now) <= self.expiring {
            LicenseState::Expiring
        } else {
            LicenseState::Valid
        }
    }

    /// Why a payload that is not a license is refused.
    ///
    /// A token of another issuer or a later contract may well have another shape. Saying
    /// `claims_invalid` of those would send the reader the wrong way.
    fn first_refusal(&self, payload: &[u8], fault: &Fault, now: i64) -> VerifyError {
        let invalid = |fault: &Fault| VerifyError::new(ClaimsInvalid, format!("claims: {fault}"));
        let claims: Map<String, Value> = match document(payload) {
            Ok(claims) => claims,
            Err(fault) => return invalid(&fault),
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let date = |name: &str| claims.get(name).and_then(Value::as_i64);
        let enforcement = claims.get("enforcement").and_then(Value::as_object);
        let grace = enforcement.and_then(|members| members.get("grace_seconds")?.as_i64());
        let grace = grace.unwrap_or_default();
        let refusal = self
            .issuer(text("iss"))
            .and_then(|()| self.audience(text("aud")))
            .and_then(|()| contract(text("contract").and_then(|text| text.parse().ok()).as_ref()))
            .and_then(|()| match (date("iat"), date("nbf"), date("exp")) {
                (Some(iat), Some(nbf), Some(exp)) => {
                    self.times(&Times { iat, nbf, exp, grace }, now)
                }
                _ => Ok(()),
            });
        refusal.err().unwrap_or_else(|| invalid(fault))
    }

    fn issuer(&self, iss: Option<&str>) -> Result<(), VerifyError> {
        let told = match iss {
            Some(iss) if iss == self.issuer => return Ok(()),
            Some(iss) => format!("issued by {}", quoted(iss)),
            None => "names no issuer".to_owned(),
        };
        Err(VerifyError::new(IssuerWrong, format!("{told}, not by {}", quoted(&self.issuer))))
    }

    fn audience(&self, aud: Option<&str>) -> Result<(), VerifyError> {
        let told = match aud {
            Some(aud) if aud == self.audience => return Ok(()),
            Some(aud) => format!("meant for {}", quoted(aud)),
            None => "names no single audience".to_owned(),
        };
        Err(VerifyError::new(AudienceWrong, format!("{told}, not for {}", quoted(&self.audience))))
    }

    /// The rules of time: valid from `nbf` on and until just before `exp` (RFC 7519 §4.1.4, §4.1.5),
    /// and then for the grace that the token itself grants.
    pub(crate) fn times(&self, times: &Times, now: i64) -> Result<(), VerifyError> {
        let Times { iat, nbf, exp, .. } = *times;
        if [iat, nbf, exp].iter().any(|date| !(0..=MAX_DATE).contains(date)) {
            return Err(VerifyError::new(ClaimsInvalid, "iat, nbf or exp is not a date"));
        }
        if exp <= nbf || exp < iat {
            return Err(VerifyError::new(ClaimsInvalid, "exp is not after nbf and iat"));
        }
        // Dates are bounded above, so only a clock can come near the ends of i64.
        if now >= times.end(self.max_grace).saturating_add(self.leeway) {
            return Err(VerifyError::new(
                Expired,
                format!("expired {} s ago", now.saturating_sub(exp)),
            ));
        }
        let latest_begin = now.saturating_add(self.leeway);
        if latest_begin < nbf {
            return Err(VerifyError::new(
                NotYetValid,
                format!("begins in {} s", nbf.saturating_sub(now)),
            ));
        }
        if iat > latest_begin {
            let ahead = iat.saturating_sub(now);
            return Err(VerifyError::new(NotYetValid, format!("issued {ahead} s in the future")));
        }
        Ok(())
    }
}

fn contract(version: Option<&Version>) -> Result<(), VerifyError> {
    match version {
        Some(version) if ContractVersion::of(version).is_none() => {
            let version = quoted(&version.to_string());
            Err(VerifyError::new(
                ContractUnsupported,
                format!("contract {version} is not supported"),
            ))
        }
        _ => Ok(()),
    }
}

fn consistent(claims: &DeploymentLicenseClaims) -> Result<(), VerifyError> {
    let license = &claims.license;
    if license.seat_cap < 0 {
        return Err(VerifyError::new(ClaimsInvalid, "license.seat_cap is negative"));
    }
    Ok(())
}

/// Reads an object of the contract: from an object only, every known member once and of its type,
/// unknown ones kept.
macro_rules! object {
    ($name:ident { $($field:ident = $member:literal),+ $(,)? }) => {
        impl<'a> Read<'a> for $name {
            fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
                $(let mut $field = None;)+
                let mut extra = Map::new();
                reader.object(|reader, name| match &*name {
                    $($member => keep(reader, $member, &mut $field),)+
                    _ => keep_unknown(reader, name, &mut extra),
                })?;
                Ok(Self { $($field: found($field, $member)?,)+ extra })
            }
        }
    };
}

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

/// Reads a string and what it stands for.
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
    // The other forms that the uuid crate reads, such as `urn:uuid:…`, are not in the contract.
    Uuid: "must be a hyphenated UUID",
        |text| (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten();
    Version: "must be a semantic version", |text| text.parse().ok();
    DateTime<Utc>: "must be an RFC 3339 timestamp", timestamp;
    DeploymentType: "must be a deployment type", |text| Some(text.into());
    OnStale: "must be an enforcement", |text| Some(text.into());
}

/// RFC 3339, or the same without an offset, as issuers of contract 1.x wrote UTC.
fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|at| at.and_utc())
}
