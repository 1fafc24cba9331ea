//! The claims of a license token.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{PoolClaims, open_enum::open_enum, timestamp};

/// The payload of a license token: the customer, the deployment, its entitlement and the term.
///
/// The token is a JWT (RFC 7519) signed with [`LICENSE_TOKEN_ALG`](crate::LICENSE_TOKEN_ALG), whose
/// header has `typ` [`LICENSE_TOKEN_TYP`](crate::LICENSE_TOKEN_TYP) and a `kid`. Parsing this type
/// checks nothing: only a verified token is a license.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeploymentLicenseClaims {
    /// The issuer: the control plane's base URL (RFC 7519 §4.1.1).
    pub iss: String,
    /// The audience that the data plane is configured with: one string (RFC 7519 §4.1.3).
    pub aud: String,
    /// The deployment's id; the same as `license.deployment.id`.
    pub sub: Uuid,
    /// The id of this bundle; no two tokens share one.
    pub jti: Uuid,
    /// When the token was issued, in seconds since 1970-01-01T00:00:00Z.
    pub iat: i64,
    /// The start of validity, in seconds since 1970-01-01T00:00:00Z; inclusive.
    pub nbf: i64,
    /// The end of validity, in seconds since 1970-01-01T00:00:00Z; exclusive.
    pub exp: i64,
    /// The license.
    pub license: LicenseBodyClaims,
    /// The location of the token's revocation status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusClaim>,
    /// The rules for a stale status and for the time after expiry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
    /// The control plane's base URL, for data planes that call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cp_base_url: Option<String>,
    /// The URL at which the data plane resolves an identity to a person (`whoami`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rbac_endpoint: Option<String>,
    /// The version of the contract of these claims; absent in tokens before 2.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Version>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The license inside the claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LicenseBodyClaims {
    /// The license's id; the same for all its bundles.
    pub license_id: Uuid,
    /// The maximum number of people who use the deployment; 0 or more.
    pub seat_cap: i64,
    /// The effective features: any JSON values, by name.
    pub features: Map<String, Value>,
    /// The customer.
    pub organization: OrganizationClaims,
    /// The licensed data plane.
    pub deployment: DeploymentClaims,
    /// The subscription that the license belongs to.
    pub subscription: SubscriptionClaims,
    /// The price tier.
    pub plan: PlanClaims,
    /// The plan's declared limits, by metric. `null` is unlimited. An absent metric is not
    /// included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Option<i64>>,
    /// The metrics that are unlimited, by name. A language that reads an absent member and `null` alike
    /// finds here what `limits` says with `null`. Since 2.7.0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlimited: Vec<String>,
    /// The pools of seats, by name. Since 2.10.0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leasing: BTreeMap<String, PoolClaims>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The customer inside the claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrganizationClaims {
    /// The organization's id.
    pub id: Uuid,
    /// Its display name.
    pub name: String,
    /// Its name in URLs.
    pub slug: String,
    /// The vendor's own reference for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Its status when the token was issued, such as `active`.
    pub status: String,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The data plane inside the claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeploymentClaims {
    /// The deployment's id.
    pub id: Uuid,
    /// Its name, unique in its organization.
    pub name: String,
    /// The kind of place where it runs.
    #[serde(rename = "type")]
    pub kind: DeploymentType,
    /// The region where it runs, as the vendor names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The base URL of its own API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_base_url: Option<String>,
    /// Its status when the token was issued, such as `active`.
    pub status: String,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

open_enum! {
    /// The kind of place where a deployment runs.
    DeploymentType {
        /// Operated by the vendor, as a service.
        Cloud = "cloud",
        /// On the customer's machines.
        Onprem = "onprem",
        /// A demonstration.
        Demo = "demo",
    }
}

/// The contract between vendor and customer inside the claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SubscriptionClaims {
    /// The subscription's id.
    pub id: Uuid,
    /// Its status when the token was issued, such as `active` or `trialing`.
    pub status: String,
    /// The number of seats that the customer pays for.
    pub seat_cap: i64,
    /// When it began.
    #[serde(default, deserialize_with = "timestamp::optional")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<DateTime<Utc>>,
    /// When it ends. A subscription without this member is open-ended.
    #[serde(default, deserialize_with = "timestamp::optional")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<DateTime<Utc>>,
    /// When its trial ends.
    #[serde(default, deserialize_with = "timestamp::optional")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_ends_at: Option<DateTime<Utc>>,
    /// The billing system's reference for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The price tier inside the claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlanClaims {
    /// The plan's code, such as `enterprise`.
    pub code: String,
    /// Its display name.
    pub name: String,
    /// A description in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The plan's features, before the subscription and the license override them.
    pub default_features: Map<String, Value>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The location of the token's status (draft-ietf-oauth-status-list §6.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusClaim {
    /// The entry in a status list.
    pub status_list: StatusListRef,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One entry of one status list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusListRef {
    /// The entry's position in the list, from 0.
    pub idx: u64,
    /// The URL of the list, which is its `sub`.
    pub uri: String,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The rules for a data plane without current information.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Enforcement {
    /// The maximum age of a status list, in seconds.
    pub status_max_age: i64,
    /// The action when no status list is recent enough.
    pub on_stale: OnStale,
    /// The time after `exp` for which the license still works, in seconds.
    pub grace_seconds: i64,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

open_enum! {
    /// The action for a license whose status could not be refreshed in time.
    OnStale {
        /// Admit the license as valid.
        Allow = "allow",
        /// Admit the license in the state `stale`.
        Degrade = "degrade",
        /// Refuse the license.
        Block = "block",
    }
}
