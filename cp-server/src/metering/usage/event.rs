//! Usage: an event, as it is sent and as it is stored.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kernel::access::ids::{DeploymentId, OrganizationId, ProjectId};
use crate::kernel::db::record::Object;
use crate::kernel::http::answer::Resource;
use crate::kernel::http::json::Moment;
use crate::kernel::text::{ExternalId, Name};
use crate::metering::ids::UsageEventId;
use crate::metering::limits::Enforcement;
use crate::metering::quantity::Quantity;

crate::record! {
    /// So much of a metric was used.
    UsageEvent in usage_events {
        id: UsageEventId,
        organization_id: OrganizationId,
        /// Null for the organization's own; a project that was deleted is in `dims`.
        project_id: Option<ProjectId>,
        deployment_id: Option<DeploymentId>,
        run_id: Option<String>,
        metric: String,
        unit: String,
        quantity: Quantity,
        dims: Object,
        metadata: Object,
        idempotency_key: Option<String>,
        /// When it was used.
        observed_at: DateTime<Utc>,
        /// When this was told.
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
    pub metric: Name,
    /// At most six decimal places; kept and summed exactly.
    pub quantity: Quantity,
    /// `count` when absent.
    pub unit: Option<Name>,
    pub project_id: Option<ProjectId>,
    pub run_id: Option<ExternalId>,
    /// Of a deployment's own token, that deployment.
    pub deployment_id: Option<DeploymentId>,
    /// What else tells this usage from other usage.
    #[serde(default)]
    pub dims: Object,
    /// Now, when absent. Up to five minutes ahead of the server's clock counts as now; more is refused.
    pub observed_at: Option<Moment>,
    /// Recorded once in the organization.
    pub idempotency_key: Option<ExternalId>,
    #[serde(default)]
    pub metadata: Object,
    /// `observe` when absent.
    pub mode: Option<Enforcement>,
}
