//! The statuses that determine coverage, and the reason of a change of status.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::kernel::text::Explanation;

crate::text_enum! { LicenseStatus {
    Active = "active",
    Suspended = "suspended",
    Revoked = "revoked",
    /// Computed, never stored: the license, its subscription or the trial has ended, and the days
    /// of grace have passed.
    Expired = "expired",
} }

crate::text_enum! { SubscriptionStatus {
    Trialing = "trialing",
    Active = "active",
    PastDue = "past_due",
    Paused = "paused",
    Canceled = "canceled",
    Expired = "expired",
} }

crate::text_enum! { DeploymentStatus {
    Active = "active", Inactive = "inactive", Retired = "retired",
} }

impl SubscriptionStatus {
    /// Returns whether a change to this status is allowed.
    pub fn may_become(self, next: Self) -> bool {
        use SubscriptionStatus::{Active, Canceled, Expired, PastDue, Paused, Trialing};
        match self {
            Trialing => matches!(next, Active | PastDue | Paused | Canceled | Expired),
            Active => matches!(next, PastDue | Paused | Canceled | Expired),
            PastDue => matches!(next, Active | Paused | Canceled | Expired),
            Paused => matches!(next, Active | PastDue | Canceled | Expired),
            // A returning customer continues the contract.
            Canceled => matches!(next, Active | Expired),
            Expired => matches!(next, Active),
        }
    }

    /// Returns whether the subscription counts as the organization's only live one.
    pub fn is_live(self) -> bool {
        !matches!(self, Self::Canceled | Self::Expired)
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// The reason for the audit event, 1 to 4,000 characters.
    pub reason: Option<Explanation>,
}
