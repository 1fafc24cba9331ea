//! Limits: their rows.

use chrono::{DateTime, Utc};

use super::windows::{Period, Window};
use crate::kernel::access::ids::{OrganizationId, ProjectId};
use crate::kernel::http::answer::Resource;
use crate::metering::counters::Scope;
use crate::metering::ids::LimitId;
use crate::metering::quantity::Quantity;

crate::text_enum! {
    /// Whether a limit refuses what goes beyond it, and whether usage lets itself be refused.
    Enforcement { Observe = "observe", Enforce = "enforce" }
}

crate::record! {
    /// How much of a metric may be used in a window of time.
    Limit in usage_limits {
        id: LimitId,
        organization_id: OrganizationId,
        /// Of the whole organization when null.
        project_id: Option<ProjectId>,
        metric: String,
        unit: String,
        window: Window = "usage_limits.window_kind",
        period: Period,
        /// Null is unlimited.
        quantity: Option<Quantity>,
        enforcement: Enforcement,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

impl Limit {
    pub(super) fn scope(&self) -> Scope {
        Scope::of(self.organization_id, self.project_id)
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
