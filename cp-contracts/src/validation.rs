//! The validation of a license key.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{Lease, open_enum::open_enum};

/// The response to `POST /api/v1/licenses/validate`. Since 2.10.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Validation {
    /// Whether the key may be used: the code is `valid` or `valid_in_grace`.
    pub valid: bool,
    /// The first reason that holds. Match on this member, never on the text.
    pub code: ValidationCode,
    /// The explanation, and what to do about it.
    pub detail: String,
    /// The license; absent when the key is unknown, revoked or expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<ValidatedLicense>,
    /// The holder's lease, if the request names a holder that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The license token, if the request asks for it. It is a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The lease token, if the request asks for it. It is a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<String>,
    /// The seconds after which another attempt may succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<i64>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The license of a validated key. Since 2.10.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ValidatedLicense {
    /// The license's id.
    pub id: Uuid,
    /// Its status, such as `active`.
    pub status: String,
    /// Its end; null without one.
    pub valid_until: Option<DateTime<Utc>>,
    /// The end with the days of grace, while the license is in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_until: Option<DateTime<Utc>>,
    /// The effective values with their sources, as in the license.
    pub effective: Map<String, Value>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

open_enum! {
    /// The result of a validation, in the order in which the reasons are checked. Since 2.10.0.
    ValidationCode {
        /// No key of this server is this key.
        KeyUnknown = "key_unknown",
        /// The key was revoked.
        KeyRevoked = "key_revoked",
        /// The key has expired.
        KeyExpired = "key_expired",
        /// The organization is suspended.
        OrganizationSuspended = "organization_suspended",
        /// The deployment is not active.
        DeploymentInactive = "deployment_inactive",
        /// The subscription grants no entitlement now.
        SubscriptionInactive = "subscription_inactive",
        /// The license is permanently revoked.
        LicenseRevoked = "license_revoked",
        /// The license is suspended.
        LicenseSuspended = "license_suspended",
        /// The license has expired.
        LicenseExpired = "license_expired",
        /// The term of the license has not begun.
        LicenseNotYetValid = "license_not_yet_valid",
        /// The license does not cover this version of the product.
        VersionNotCovered = "version_not_covered",
        /// The license lacks a feature that the request names.
        FeatureMissing = "feature_missing",
        /// The license has no such pool, or the key does not open it.
        PoolUnknown = "pool_unknown",
        /// The pool needs a holder, and the request names none.
        HolderRequired = "holder_required",
        /// The holder has no lease.
        NotActivated = "not_activated",
        /// The holder's lease has ended.
        LeaseOver = "lease_over",
        /// No seat is free.
        SeatsExhausted = "seats_exhausted",
        /// The license has ended, and its days of grace have not.
        ValidInGrace = "valid_in_grace",
        /// The key may be used.
        Valid = "valid",
    }
}
