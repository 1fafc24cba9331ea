//! The rows of limits.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::percentages::Percentages;
use super::windows::{Period, Window};
use crate::identity::scopes::ScopeRef;
use crate::kernel::access::ids::{OrganizationId, ProjectId};
use crate::kernel::db::record::Record;
use crate::kernel::http::answer::Resource;
use crate::metering::budgets::cadence::CycleTimes;
use crate::metering::counters::Interval;
use crate::metering::ids::{BudgetCycleId, LimitId};
use crate::metering::quantity::Quantity;
use crate::tenancy::ids::GroupId;

crate::text_enum! {
    /// Whether a limit refuses usage that exceeds it, and whether usage accepts such a refusal.
    Enforcement as "LimitEnforcement" { Observe = "observe", Enforce = "enforce" }
}

crate::text_enum! {
    /// The origin of an allocation.
    Source { Manual = "manual", Equal = "equal", Copy = "copy", Budget = "budget" }
}

/// The maximum usage of a metric in a window of time.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Limit {
    pub id: LimitId,
    pub organization_id: OrganizationId,
    #[sqlx(flatten)]
    pub scope: ScopeRef,
    /// The project of the scope; null for another scope.
    pub project_id: Option<ProjectId>,
    pub metric: String,
    pub unit: String,
    #[sqlx(rename = "window_kind")]
    pub window: Window,
    pub period: Period,
    /// The maximum quantity; null is unlimited.
    pub quantity: Option<Quantity>,
    /// The quantity that replaces `quantity`, in an allocation.
    pub override_quantity: Option<Quantity>,
    /// The reason for `override_quantity`.
    pub override_reason: Option<String>,
    /// The usage beyond the maximum that enforcement still admits; null is unlimited.
    pub overflow: Option<Quantity>,
    pub enforcement: Enforcement,
    /// The budget cycle of an allocation.
    pub cycle_id: Option<BudgetCycleId>,
    /// The group of whose allocation this allocation is a part; null for the organization's.
    pub within_id: Option<GroupId>,
    /// The origin of an allocation; `manual` for other limits.
    pub source: Source,
    /// The percentages at which the limit is announced; null is none.
    pub notify_at: Option<Percentages>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// The times of the active cycle, once they are read.
    #[serde(skip)]
    #[sqlx(skip)]
    pub cycle: Option<CycleTimes>,
}

impl Record for Limit {
    const TABLE: &'static str = "usage_limits";
    const COLUMNS: &'static str = "usage_limits.id, usage_limits.organization_id,
        usage_limits.scope_kind, usage_limits.scope_id, usage_limits.project_id,
        usage_limits.metric, usage_limits.unit, usage_limits.window_kind, usage_limits.period,
        usage_limits.quantity, usage_limits.override_quantity, usage_limits.override_reason,
        usage_limits.overflow, usage_limits.enforcement, usage_limits.cycle_id,
        usage_limits.within_id, usage_limits.source, usage_limits.notify_at, usage_limits.created_at,
        usage_limits.updated_at";
    const KEY: &'static str = "usage_limits.id";
    fn key(&self) -> Uuid {
        self.id.0
    }
}

impl Limit {
    pub(super) fn series(&self) -> (&str, &str) {
        (&self.metric, &self.unit)
    }

    /// Returns the quantity that applies; `None` is unlimited.
    pub(super) fn effective(&self) -> Option<Quantity> {
        self.override_quantity.or(self.quantity)
    }

    /// Returns the usage that enforcement admits at most; `None` is unlimited.
    pub(super) fn bound(&self) -> Option<Quantity> {
        Some(self.effective()? + self.overflow?)
    }

    /// Returns the window that contains `at`. `None` for an instant before the cycle.
    pub(super) fn window_at(&self, at: DateTime<Utc>) -> Option<Interval> {
        match self.window {
            Window::Cycle => self.cycle.and_then(|cycle| cycle.at(at)),
            window => Some(window.at(self.period, at)),
        }
    }
}

impl Resource for Limit {
    const NOUN: &'static str = "limit";
    const PATH: &'static str = "limits";
    fn name(&self) -> String {
        self.id.to_string()
    }
}
