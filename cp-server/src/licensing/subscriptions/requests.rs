//! The requests that create and change subscriptions.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::kernel::db::record::Object;
use crate::kernel::http::json::{Between, Moment, Patch, SeatCap};
use crate::kernel::text::{Currency, Email, Explanation, ExternalId, PlanCode};
use crate::licensing::leases::settings::Pools;
use crate::licensing::statuses::SubscriptionStatus;
use crate::licensing::token_ttl::TokenTtl;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSubscription {
    /// The plan's code. The subscription is pinned to the plan's newest version.
    pub plan_code: PlanCode,
    /// The status. When absent, `trialing` with `trial_ends_at`, otherwise `active`.
    pub status: Option<SubscriptionStatus>,
    /// The seats, at least 1. When absent, the plan's; they then change with the plan.
    pub seat_cap: Option<SeatCap>,
    /// Feature values that replace those of the plan, as an object of at most 64 KiB. Until 1.0 also
    /// named `feature_overrides`.
    #[serde(default, alias = "feature_overrides")]
    pub features: Object,
    /// Settings of pools of seats that replace those of the plan, by pool.
    #[serde(default)]
    pub leasing: Pools,
    /// The life in seconds of tokens that data planes renew, one hour to 400 days. The plan's when
    /// absent.
    pub token_ttl_seconds: Option<TokenTtl>,
    /// The beginning. Now when absent.
    pub starts_at: Option<Moment>,
    /// The end, later than `starts_at`. Without an end when absent.
    pub ends_at: Option<Moment>,
    /// The end of the trial, at most `ends_at`.
    pub trial_ends_at: Option<Moment>,
    /// The caller's own reference, unique within the organization.
    pub external_id: Option<ExternalId>,
    /// The customer's ID in the billing system.
    pub billing_customer_id: Option<ExternalId>,
    /// The e-mail address for invoices.
    pub billing_email: Option<Email>,
    /// The currency of the amounts, an ISO 4217 code such as `EUR`.
    pub currency: Option<Currency>,
    /// The amount of the next invoice in cents, at least 0.
    pub next_invoice_amount: Option<Cents>,
}

/// An amount in cents.
type Cents = Between<0, { i64::MAX }>;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionPatch {
    /// The code of the new plan. The subscription moves to the plan's newest version.
    pub plan_code: Option<PlanCode>,
    /// The new status; some changes are refused.
    pub status: Option<SubscriptionStatus>,
    /// The seats, at least 1. Null returns to the plan's seats.
    #[serde(default)]
    pub seat_cap: Patch<SeatCap>,
    /// Whether licenses with a `seat_cap` above the new one keep theirs. False when absent.
    #[serde(default)]
    pub allow_more_seats: bool,
    /// Whether licenses with a `seat_cap` above the new one get the new one. False when absent.
    #[serde(default)]
    pub lower_licenses: bool,
    /// Feature values that replace all of the subscription's own, as an object of at most 64 KiB.
    /// Until 1.0 also named `feature_overrides`.
    #[serde(alias = "feature_overrides")]
    pub features: Option<Object>,
    /// Settings of pools of seats, which replace all of the subscription's own.
    pub leasing: Option<Pools>,
    /// The life in seconds of tokens that data planes renew, one hour to 400 days. Null returns to
    /// the plan's.
    #[serde(default)]
    pub token_ttl_seconds: Patch<TokenTtl>,
    /// The beginning.
    pub starts_at: Option<Moment>,
    /// The end, later than `starts_at`. Null removes it.
    #[serde(default)]
    pub ends_at: Patch<Moment>,
    /// The end of the trial, at most `ends_at`. Null removes it.
    #[serde(default)]
    pub trial_ends_at: Patch<Moment>,
    /// The caller's own reference, unique within the organization. Null removes it.
    #[serde(default)]
    pub external_id: Patch<ExternalId>,
    /// The customer's ID in the billing system. Null removes it.
    #[serde(default)]
    pub billing_customer_id: Patch<ExternalId>,
    /// The e-mail address for invoices. Null removes it.
    #[serde(default)]
    pub billing_email: Patch<Email>,
    /// The currency of the amounts, an ISO 4217 code such as `EUR`. Null removes it.
    #[serde(default)]
    pub currency: Patch<Currency>,
    /// The amount of the next invoice in cents, at least 0. Null removes it.
    #[serde(default)]
    pub next_invoice_amount: Patch<Cents>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// The instant until which the customer keeps the paid time. Now when absent.
    pub at: Option<Moment>,
    /// The reason for the audit event, 1 to 4,000 characters.
    pub reason: Option<Explanation>,
}
