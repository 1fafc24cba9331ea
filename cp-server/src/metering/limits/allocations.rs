//! The rows of allocations: limits of a budget cycle.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::percentages::Percentages;
pub use super::row::Source;
use super::windows::Window;
use crate::identity::scopes::{ScopeKind, ScopeRef};
use crate::kernel::clock::after;
use crate::kernel::db::Conn;
use crate::kernel::db::record::Record;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::cx::Cx;
use crate::metering::budgets::cycle_rows::CycleRow;
use crate::metering::budgets::rows::{self as budgets, Budget, CREDITS};
use crate::metering::ids::{BudgetCycleId, LimitId};
use crate::metering::quantity::Quantity;
use crate::tenancy::ids::GroupId;

/// An allocation as it is stored.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct AllocationRow {
    pub id: LimitId,
    #[sqlx(flatten)]
    pub scope: ScopeRef,
    /// The name of the group, the person or the organization.
    pub name: Option<String>,
    /// The group of whose allocation this one is a part; `None` for the organization's.
    pub within_id: Option<GroupId>,
    pub quantity: Quantity,
    pub override_quantity: Option<Quantity>,
    pub override_reason: Option<String>,
    pub overflow: Option<Quantity>,
    pub source: Source,
    pub notify_at: Option<Percentages>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Record for AllocationRow {
    const TABLE: &'static str = "usage_limits
        LEFT JOIN groups ON groups.id = usage_limits.group_id
        LEFT JOIN users ON users.id = usage_limits.user_id
        LEFT JOIN organizations ON usage_limits.scope_kind = 'organization'
                               AND organizations.id = usage_limits.organization_id";
    const COLUMNS: &'static str = "usage_limits.id, usage_limits.scope_kind, usage_limits.scope_id,
        COALESCE(groups.name, users.display_name, users.email, organizations.name) AS name,
        usage_limits.within_id, usage_limits.quantity, usage_limits.override_quantity,
        usage_limits.override_reason, usage_limits.overflow, usage_limits.source,
        usage_limits.notify_at, usage_limits.created_at, usage_limits.updated_at";
    const KEY: &'static str = "usage_limits.id";
    fn key(&self) -> Uuid {
        self.id.0
    }
}

impl AllocationRow {
    /// Returns the quantity that applies: the override, else the quantity.
    pub fn effective(&self) -> Quantity {
        self.override_quantity.unwrap_or(self.quantity)
    }

    pub fn is_root(&self) -> bool {
        self.scope.kind == ScopeKind::Organization
    }
}

/// Returns the allocations of the cycle, the organization's included, in the order of their scopes.
pub async fn of_cycle(cx: &mut Cx, cycle: BudgetCycleId) -> Result<Vec<AllocationRow>> {
    let tail = "WHERE usage_limits.organization_id = $1 AND usage_limits.cycle_id = $2
                ORDER BY usage_limits.scope_kind, usage_limits.scope_id";
    Ok(cx.tx.select(tail).bind(cx.at).bind(cycle).all().await?)
}

#[derive(sqlx::FromRow)]
struct RowOfCycle {
    #[sqlx(flatten)]
    row: AllocationRow,
    #[sqlx(flatten)]
    cycle: CycleRow,
}

/// Returns the cycle with this ID, or the active one of the product's budget, with its allocations in
/// the order of their scopes: one statement. Every cycle has the row of its organization.
pub async fn with_cycle(
    cx: &mut Cx,
    product: &str,
    cycle: Option<BudgetCycleId>,
) -> Result<Option<(CycleRow, Vec<AllocationRow>)>> {
    let query = cx.tx.q("SELECT ").sql(CycleRow::COLUMNS).sql(", ").sql(AllocationRow::COLUMNS);
    let query = query.sql(" FROM ").sql(AllocationRow::TABLE);
    let query = query.sql(
        " JOIN budget_cycles ON budget_cycles.id = usage_limits.cycle_id
          JOIN budgets ON budgets.id = budget_cycles.budget_id
          WHERE usage_limits.organization_id = $1 AND budgets.product = $2 AND ",
    );
    let query = query.bind(cx.at).bind(product);
    let query = match cycle {
        Some(id) => query.and("usage_limits.cycle_id = ?", id),
        None => query.sql(IN_ACTIVE),
    };
    let query = query.sql(" ORDER BY usage_limits.scope_kind, usage_limits.scope_id");
    let found: Vec<RowOfCycle> = query.all().await?;
    let Some(cycle) = found.first().map(|one| one.cycle.clone()) else { return Ok(None) };
    Ok(Some((cycle, found.into_iter().map(|one| one.row).collect())))
}

/// The rows of the active cycle, found by their index: the planner of SQLite would begin with all
/// limits of the organization.
const IN_ACTIVE: &str = "usage_limits.cycle_id = (
    SELECT c.id FROM budget_cycles c JOIN budgets b ON b.id = c.budget_id
    WHERE c.organization_id = $1 AND b.product = $2 AND c.status = 'active')";

/// Returns the sum of the allocations of the organization's credits.
pub async fn allocated(tx: &mut Conn, cycle: &CycleRow) -> Result<Quantity> {
    let sql = "SELECT COALESCE(override_quantity, quantity) FROM usage_limits
               WHERE organization_id = $1 AND cycle_id = $2 AND within_id IS NULL
                 AND scope_kind <> 'organization'";
    let rows: Vec<(Quantity,)> = tx.q(sql).bind(cycle.organization_id).bind(cycle.id).all().await?;
    Ok(rows.into_iter().fold(Quantity::default(), |sum, (quantity,)| sum + quantity))
}

/// The maximum number of rows of one statement.
const CHUNK: usize = 100;

/// Writes allocations of the cycle. The caller holds the budget and has checked them. A row whose
/// scope has an allocation replaces its content.
pub async fn write(
    cx: &mut Cx,
    budget: &Budget,
    cycle: &CycleRow,
    rows: &[AllocationRow],
) -> Result<()> {
    let (org, now, period) = (cx.at, cx.now, budget.cadence.period());
    for chunk in rows.chunks(CHUNK) {
        let sql = "INSERT INTO usage_limits
                   (id, organization_id, scope_kind, scope_id, group_id, user_id, metric, unit,
                    window_kind, period, quantity, overflow, enforcement, cycle_id, within_id,
                    override_quantity, override_reason, source, created_at, updated_at,
                    notify_at) VALUES ";
        let insert = cx.tx.q(sql).rows(chunk, |query, row| {
            let query = query.bind(row.id).bind(org).bind(row.scope.kind).bind(row.scope.id);
            let query = query.bind(row.scope.id_of(ScopeKind::Group));
            let query = query.bind(row.scope.id_of(ScopeKind::User)).bind(CREDITS);
            let query = query.bind(&*budget.product).bind(Window::Cycle).bind(period);
            let query = query.bind(row.quantity).bind(row.overflow).bind(budget.enforcement);
            let query = query.bind(cycle.id).bind(row.within_id).bind(row.override_quantity);
            let query = query.bind(row.override_reason.as_deref()).bind(row.source);
            let is_new = row.created_at == now;
            let updated_at = if is_new { now } else { after(row.updated_at, now) };
            query.bind(row.created_at).bind(updated_at).bind(row.notify_at.clone())
        });
        let insert = insert.sql(
            " ON CONFLICT (organization_id, cycle_id, scope_kind, scope_id)
                  WHERE cycle_id IS NOT NULL DO UPDATE
              SET quantity = excluded.quantity, overflow = excluded.overflow,
                  enforcement = excluded.enforcement, within_id = excluded.within_id,
                  override_quantity = excluded.override_quantity,
                  override_reason = excluded.override_reason, source = excluded.source, notify_at = excluded.notify_at,
                  updated_at = excluded.updated_at",
        );
        // A group or person was deleted since.
        insert.exec().await.on_conflict("reference", Error::stale)?;
    }
    Ok(())
}

/// Deletes these allocations of the cycle.
pub async fn delete(cx: &mut Cx, rows: &[AllocationRow]) -> Result<()> {
    for chunk in rows.chunks(CHUNK) {
        let sql = "DELETE FROM usage_limits WHERE organization_id = $1 AND id IN (VALUES ";
        let delete = cx.tx.q(sql).bind(cx.at).rows(chunk, |query, row| query.bind(row.id));
        delete.sql(")").exec().await?;
    }
    Ok(())
}

/// Passes the parts of a group's allocations on to the allocations above, before the group is
/// deleted. The caller holds the organization.
pub async fn leave_group(cx: &mut Cx, group: GroupId) -> Result<()> {
    budgets::hold_all(cx).await?;
    let sql = "UPDATE usage_limits SET updated_at = $3, within_id = (
                   SELECT whole.within_id FROM usage_limits whole
                   WHERE whole.organization_id = $1 AND whole.cycle_id = usage_limits.cycle_id
                     AND whole.scope_kind = 'group' AND whole.scope_id = $2)
               WHERE organization_id = $1 AND within_id = $2";
    cx.tx.q(sql).bind(cx.at).bind(group).bind(cx.now).exec().await?;
    Ok(())
}
