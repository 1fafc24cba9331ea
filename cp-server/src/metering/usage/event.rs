//! The usage event, as it is sent and as it is stored.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kernel::access::ids::{DeploymentId, OrganizationId, ProjectId, UserId};
use crate::kernel::db::record::Object;
use crate::kernel::http::answer::Resource;
use crate::kernel::http::json::Moment;
use crate::kernel::text::{ExternalId, Label, Name};
use crate::metering::ids::UsageEventId;
use crate::metering::limits::row::Enforcement;
use crate::metering::quantity::Quantity;
use crate::tenancy::ids::GroupId;

crate::record! {
    /// A used quantity of a metric.
    UsageEvent in usage_events {
        id: UsageEventId,
        organization_id: OrganizationId,
        /// Null for the organization's own usage. `dims` names a project that was deleted.
        project_id: Option<ProjectId>,
        deployment_id: Option<DeploymentId>,
        /// The product label; empty without one.
        product: String,
        group_id: Option<GroupId>,
        user_id: Option<UserId>,
        run_id: Option<String>,
        metric: String,
        unit: String,
        quantity: Quantity,
        /// The credits of the usage, if the product has a budget for this metric and unit.
        credits: Option<Quantity>,
        /// The budget's credits per unit of cost at the recording.
        credit_factor: Option<Quantity>,
        dims: Object,
        metadata: Object,
        idempotency_key: Option<String>,
        /// The instant of the usage.
        observed_at: DateTime<Utc>,
        /// The instant of the recording.
        recorded_at: DateTime<Utc>,
    }
}

impl Resource for UsageEvent {
    const NOUN: &'static str = "usage event";
    const PATH: &'static str = "usage";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUsageEvent {
    /// The metric, 1 to 255 characters.
    pub metric: Name,
    /// The used quantity, at least 0, with at most six decimal places; stored and summed exactly.
    pub quantity: Quantity,
    /// The unit of the quantity. `count` when absent.
    pub unit: Option<Name>,
    /// The project of the usage. When absent, the usage is the organization's own.
    pub project_id: Option<ProjectId>,
    /// The product label, at most 255 characters. With a budget of the product, the usage costs
    /// credits.
    pub product: Option<Label>,
    /// The group of the usage, which counts for the groups above it too.
    pub group_id: Option<GroupId>,
    /// The person of the usage, a member of the organization.
    pub user_id: Option<UserId>,
    /// The caller's own reference to a run, for filters.
    pub run_id: Option<ExternalId>,
    /// The deployment of the usage. With a deployment's own token, always that deployment.
    pub deployment_id: Option<DeploymentId>,
    /// Dimensions that describe this usage, as an object of at most 64 KiB.
    #[serde(default)]
    pub dims: Object,
    /// The instant of the usage. Now when absent. An instant up to five minutes ahead of the
    /// server's clock counts as now; a later one is refused.
    pub observed_at: Option<Moment>,
    /// A key for safe retries: an event whose key the deployment already used is not recorded
    /// again.
    pub idempotency_key: Option<ExternalId>,
    /// The caller's own data, as an object of at most 64 KiB. Empty when absent.
    #[serde(default)]
    pub metadata: Object,
    /// Whether a limit may refuse the event. `observe` when absent.
    pub mode: Option<Enforcement>,
}
