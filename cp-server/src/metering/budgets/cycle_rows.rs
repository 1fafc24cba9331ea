//! The rows of budget cycles.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::cadence::{Cadence, CycleTimes};
use super::rows::{Budget, CREDITS};
use crate::identity::scopes::ScopeRef;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::section::{ExportRequest, Exported};
use crate::metering::counters::{self, Interval};
use crate::metering::ids::{BudgetCycleId, BudgetId};
use crate::metering::limits::row::Limit;
use crate::metering::quantity::Quantity;

/// The condition on `cycle_id` for rows of active cycles of the organization `$1`.
pub const ACTIVE: &str =
    "cycle_id IN (SELECT id FROM budget_cycles WHERE organization_id = $1 AND status = 'active')";

crate::text_enum! { CycleStatus { Active = "active", Closed = "closed" } }

/// The result of a closed cycle, which never changes again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CycleSummary {
    /// The credits of the cycle, with those that the cycle before passed on.
    pub total: Quantity,
    pub used: Quantity,
    /// The credits that were left, at least 0.
    pub unused: Quantity,
    /// The credits that were used beyond the total, at least 0.
    pub overflow_charge: Quantity,
    /// The unused credits that the next cycle got.
    pub rollover: Quantity,
    /// The sum of the allocations of the organization's credits.
    pub allocated: Quantity,
}

/// A cycle as it is stored. Its columns have names of their own, for statements that also read rows
/// of the cycle.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct CycleRow {
    #[sqlx(rename = "cycle_id")]
    pub id: BudgetCycleId,
    pub organization_id: OrganizationId,
    pub budget_id: BudgetId,
    pub product: String,
    #[sqlx(rename = "cycle_name")]
    pub name: String,
    pub status: CycleStatus,
    pub starts_at: DateTime<Utc>,
    pub ends_at: Option<DateTime<Utc>>,
    pub credits: Quantity,
    pub rollover: Quantity,
    pub summary: Option<Json<CycleSummary>>,
    #[sqlx(rename = "cycle_created_at")]
    pub created_at: DateTime<Utc>,
    #[sqlx(rename = "cycle_updated_at")]
    pub updated_at: DateTime<Utc>,
}

impl crate::kernel::db::record::Record for CycleRow {
    const TABLE: &'static str =
        "budget_cycles JOIN budgets ON budgets.id = budget_cycles.budget_id";
    const COLUMNS: &'static str = "budget_cycles.id AS cycle_id,
        budget_cycles.organization_id, budget_cycles.budget_id, budgets.product,
        budget_cycles.name AS cycle_name, budget_cycles.status, budget_cycles.starts_at,
        budget_cycles.ends_at, budget_cycles.credits, budget_cycles.rollover,
        budget_cycles.summary, budget_cycles.created_at AS cycle_created_at,
        budget_cycles.updated_at AS cycle_updated_at";
    const KEY: &'static str = "budget_cycles.id";
    fn key(&self) -> uuid::Uuid {
        self.id.0
    }
}

impl CycleRow {
    pub fn total(&self) -> Quantity {
        self.credits + self.rollover
    }

    /// Returns the time whose usage counts in the cycle.
    pub fn interval(&self) -> Interval {
        let until = self.ends_at.map(|end| end - chrono::TimeDelta::microseconds(1));
        Interval { since: Some(self.starts_at), until }
    }
}

/// A budget's cycle.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Cycle {
    pub id: BudgetCycleId,
    pub organization_id: OrganizationId,
    pub product: String,
    pub name: String,
    pub status: CycleStatus,
    pub starts_at: DateTime<Utc>,
    /// The end, exclusive. Null for an active cycle that a caller ends.
    pub ends_at: Option<DateTime<Utc>>,
    pub credits: Quantity,
    /// The credits that the cycle before passed on.
    pub rollover: Quantity,
    pub total: Quantity,
    /// The credits that are used now, late usage included.
    pub used: Option<Quantity>,
    /// The result of a closed cycle, which never changes again.
    pub summary: Option<CycleSummary>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl CycleRow {
    pub fn shown(self, used: impl Into<Option<Quantity>>) -> Cycle {
        Cycle {
            total: self.total(),
            id: self.id,
            organization_id: self.organization_id,
            product: self.product,
            name: self.name,
            status: self.status,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            credits: self.credits,
            rollover: self.rollover,
            used: used.into(),
            summary: self.summary.map(|summary| summary.0),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// The export has the summaries of closed cycles, and usage in its own section.
impl Exported for CycleRow {
    type Shown = Cycle;
    fn shown(self, _: &ExportRequest) -> Cycle {
        CycleRow::shown(self, None)
    }
}

impl Resource for Cycle {
    const NOUN: &'static str = "budget cycle";
    const PATH: &'static str = "budget-cycles";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

/// Returns the cycle of the organization.
pub async fn load(cx: &mut Cx, id: BudgetCycleId) -> Result<CycleRow> {
    let row = cx.tx.select("WHERE budget_cycles.id = $1 AND budget_cycles.organization_id = $2");
    let row: Option<CycleRow> = row.bind(id).bind(cx.at).opt().await?;
    row.ok_or_else(|| Error::not_found("budget cycle"))
}

/// Returns the active cycle of the budget.
pub async fn active(tx: &mut Conn, budget: &Budget) -> Result<Option<CycleRow>> {
    let row = tx.select(
        "WHERE budget_cycles.organization_id = $1 AND budget_cycles.budget_id = $2
           AND budget_cycles.status = 'active'",
    );
    Ok(row.bind(budget.organization_id).bind(budget.id).opt().await?)
}

#[derive(sqlx::FromRow)]
struct TimesRow {
    id: BudgetCycleId,
    starts_at: DateTime<Utc>,
    ends_at: Option<DateTime<Utc>>,
    cadence: Cadence,
    renewal_day: i64,
}

/// Returns the organization's limits with the times of their active cycles. A limit without a cycle is unchanged.
pub async fn with_times(
    tx: &mut Conn,
    organization: OrganizationId,
    mut limits: Vec<Limit>,
) -> Result<Vec<Limit>> {
    if limits.iter().all(|limit| limit.cycle_id.is_none()) {
        return Ok(limits);
    }
    let sql = "SELECT c.id, c.starts_at, c.ends_at, b.cadence, b.renewal_day
               FROM budget_cycles c JOIN budgets b ON b.id = c.budget_id
               WHERE c.organization_id = $1 AND c.status = 'active'";
    let rows: Vec<TimesRow> = tx.q(sql).bind(organization).all().await?;
    let times: HashMap<BudgetCycleId, CycleTimes> = rows
        .into_iter()
        .map(|TimesRow { id, starts_at, ends_at, cadence, renewal_day }| {
            (id, CycleTimes { starts_at, ends_at, cadence, renewal_day })
        })
        .collect();
    for limit in &mut limits {
        limit.cycle = limit.cycle_id.and_then(|id| times.get(&id).copied());
    }
    Ok(limits)
}

/// Returns the credits that the organization used in the cycle.
pub async fn used(tx: &mut Conn, cycle: &CycleRow) -> Result<Quantity> {
    let organization = cycle.organization_id;
    let (scope, series) = (ScopeRef::organization(organization), (CREDITS, &*cycle.product));
    let sum = counters::sum(tx, organization, scope, series, cycle.interval()).await?;
    Ok(sum.quantity)
}
