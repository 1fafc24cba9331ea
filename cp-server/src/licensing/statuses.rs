//! The statuses that decide whether a license is covered.

crate::text_enum! { LicenseStatus {
    Active = "active",
    Suspended = "suspended",
    Revoked = "revoked",
    /// Computed, never stored: the license, its subscription or the trial has ended, and the days of
    /// grace have passed.
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
