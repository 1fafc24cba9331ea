//! The check-in of a data plane, which renews its own token.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{LicenseBundleResponse, open_enum::open_enum};

/// The response to `POST /api/v1/deployments/{id}/check-in`. Since 2.10.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CheckIn {
    /// `valid`, or the first reason for which the license is not in force.
    pub code: CheckInCode,
    /// The license; absent when the deployment has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_id: Option<Uuid>,
    /// The new token, if the server signed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<LicenseBundleResponse>,
    /// The instant of the next check-in.
    pub next_check_in_at: DateTime<Utc>,
    /// Before this instant the server signs nothing.
    pub not_before: DateTime<Utc>,
    /// The server's clock.
    pub server_time: DateTime<Utc>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

open_enum! {
    /// The result of a check-in. Since 2.10.0.
    CheckInCode {
        /// The license is in force.
        Valid = "valid",
        /// The deployment has no license.
        LicenseMissing = "license_missing",
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
    }
}
