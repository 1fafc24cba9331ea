//! The rows of limits.

use chrono::{DateTime, Utc};

use super::windows::{Period, Window};
use crate::kernel::access::ids::{OrganizationId, ProjectId};
use crate::kernel::http::answer::Resource;
use crate::metering::counters::UsageScope;
use crate::metering::ids::LimitId;
use crate::metering::quantity::Quantity;

crate::text_enum! {
    /// Whether a limit refuses usage that exceeds it, and whether usage accepts such a refusal.
    Enforcement { Observe = "observe", Enforce = "enforce" }
}

crate::record! {
    /// The maximum usage of a metric in a window of time.
    Limit in usage_limits {
        id: LimitId,
        organization_id: OrganizationId,
        /// Null for the whole organization.
        project_id: Option<ProjectId>,
        metric: String,
        unit: String,
        window: Window = "usage_limits.window_kind",
        period: Period,
        /// The maximum quantity; null is unlimited.
        quantity: Option<Quantity>,
        enforcement: Enforcement,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

impl Limit {
    pub(super) fn scope(&self) -> UsageScope {
        UsageScope::of(self.organization_id, self.project_id)
    }

    pub(super) fn series(&self) -> (&str, &str) {
        (&self.metric, &self.unit)
    }
}

impl Resource for Limit {
    const NOUN: &'static str = "limit";
    const PATH: &'static str = "limits";
    fn name(&self) -> String {
        self.id.to_string()
    }
}
