//! The requests that create and change licenses.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::kernel::access::ids::DeploymentId;
use crate::kernel::db::record::Object;
use crate::kernel::db::tags::Tags;
use crate::kernel::http::json::{Between, Moment, Patch, SeatCap};
use crate::kernel::text::{Explanation, Name};
use crate::licensing::ids::SubscriptionId;
use crate::licensing::leases::settings::Pools;
use crate::licensing::token_ttl::TokenTtl;

/// The days of grace: 0 to 10 years.
type GraceDays = Between<0, 3660>;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLicense {
    /// The subscription of the deployment's organization. When absent, the organization's
    /// subscription that is in force.
    pub subscription_id: Option<SubscriptionId>,
    /// The display name, 1 to 255 characters.
    pub name: Option<Name>,
    /// The license's own seats, at least 1. The subscription's seats when absent.
    pub seat_cap: Option<SeatCap>,
    /// Whether the license may have more seats than its subscription. Required when `seat_cap` is
    /// above the subscription's. False when absent.
    #[serde(default)]
    pub allow_more_seats: bool,
    /// Feature values that replace those of the plan and of the subscription, as an object of at
    /// most 64 KiB.
    #[serde(default)]
    pub features: Object,
    /// Settings of pools of seats that replace those of the plan and the subscription, by pool.
    #[serde(default)]
    pub leasing: Pools,
    /// The life in seconds of tokens that the data plane renews, one hour to 400 days. The
    /// subscription's when absent.
    pub token_ttl_seconds: Option<TokenTtl>,
    /// The instant from which the license is valid. Now when absent.
    pub valid_from: Option<Moment>,
    /// The license's end, at most the subscription's end. The subscription's end when absent.
    pub valid_until: Option<Moment>,
    /// The days of grace after the end, 0 to 3660. 0 when absent.
    #[serde(default = "no_grace")]
    pub grace_days: GraceDays,
    /// The caller's own values, as an object of at most 64 KiB. The organization's people see them.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// At most 50 tags, each 1 to 64 characters. Lists filter by `tag`.
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LicensePatch {
    /// The display name, 1 to 255 characters. Null removes it.
    #[serde(default)]
    pub name: Patch<Name>,
    /// The license's own seats, at least 1. Null returns to the subscription's seats.
    #[serde(default)]
    pub seat_cap: Patch<SeatCap>,
    /// Whether the license may have more seats than its subscription. Required when `seat_cap` is
    /// above the subscription's.
    pub allow_more_seats: Option<bool>,
    /// Feature values that replace all of the license's own, as an object of at most 64 KiB.
    pub features: Option<Object>,
    /// Settings of pools of seats, which replace all of the license's own.
    pub leasing: Option<Pools>,
    /// The life in seconds of tokens that the data plane renews, one hour to 400 days. Null returns
    /// to the subscription's.
    #[serde(default)]
    pub token_ttl_seconds: Patch<TokenTtl>,
    /// The instant from which the license is valid.
    pub valid_from: Option<Moment>,
    /// The license's end, at most the subscription's end. Null removes it.
    #[serde(default)]
    pub valid_until: Patch<Moment>,
    /// The days of grace after the end, 0 to 3660.
    pub grace_days: Option<GraceDays>,
    /// Metadata to merge member by member; null removes a member. Absent members stay.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// The tags, which replace all tags of the license.
    pub tags: Option<Tags>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// The new end: in the future, not before the present end, and at most the subscription's end.
    pub valid_until: Moment,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The new deployment, of the same organization.
    pub deployment_id: DeploymentId,
    /// The reason for the audit event, 1 to 4,000 characters.
    pub reason: Option<Explanation>,
}

fn no_grace() -> GraceDays {
    Between(0)
}
