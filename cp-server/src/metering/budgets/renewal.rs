//! Renewal: a cycle closes, and the next one opens, by a request or at its end.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::cycle_rows::{self, Cycle, CycleRow, CycleSummary, used};
use super::rows::{self, Budget};
use super::tree::Tree;
use crate::identity::scopes::ScopeRef;
use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::clock::after;
use crate::kernel::digits;
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::metering::ids::{BudgetCycleId, LimitId};
use crate::metering::limits::allocations::{self, AllocationRow, Source};
use crate::metering::quantity::Quantity;

crate::text_enum! {
    /// What a new cycle copies from the one before: no allocations, allocations without their
    /// overrides, or all.
    CopyOf { None = "none", Allocations = "allocations", All = "all" }
}

pub(super) fn default_name(budget: &Budget, starts_at: DateTime<Utc>) -> String {
    format!("{} {}", budget.product, starts_at.date_naive())
}

/// The next cycle of a budget.
pub(super) struct Next {
    pub name: String,
    pub starts_at: DateTime<Utc>,
    pub ends_at: Option<DateTime<Utc>>,
    /// The maximum credits that pass on to it; `None` is all.
    pub cap: Option<Quantity>,
    pub copy: CopyOf,
}

/// What happens to copied allocations that do not fit into a strict budget.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnOversold {
    Refuse,
    LeaveOut,
}

/// Closes the active cycle and opens the next one. The caller holds the budget.
pub(super) async fn replace(
    cx: &mut Cx,
    budget: &Budget,
    active: Option<CycleRow>,
    next: Next,
    on_oversold: OnOversold,
) -> Result<BudgetCycleId> {
    let (mut rollover, mut copied) = (Quantity::default(), Vec::new());
    if let Some(active) = active {
        rollover = close(cx, &active, next.starts_at, next.cap).await?;
        copied = copies(cx, &active, next.copy).await?;
    }
    let id = BudgetCycleId::new(&cx.app.random, cx.now);
    let sql = "INSERT INTO budget_cycles
               (id, organization_id, budget_id, name, status, starts_at, ends_at, credits,
                rollover, created_at, updated_at)
               VALUES ($1, $2, $3, $4, 'active', $5, $6, $7, $8, $9, $9)";
    let insert = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(budget.id)
        .bind(next.name)
        .bind(next.starts_at)
        .bind(next.ends_at)
        .bind(budget.credits)
        .bind(rollover)
        .bind(cx.now);
    insert.exec().await.on_conflict("budget_cycles_budget_id", closed)?;
    let cycle = cycle_rows::load(cx, id).await?;
    copied.push(root(cx, budget, &cycle));
    let mut tree = Tree::new(cx.at, copied);
    match on_oversold {
        _ if !budget.strict => {}
        OnOversold::Refuse => tree.refuse_oversold()?,
        OnOversold::LeaveOut => tree.fit(),
    }
    allocations::write(cx, budget, &cycle, &tree.rows).await?;
    Ok(id)
}

/// Closes the cycle. Returns the credits that pass on to the next one.
async fn close(
    cx: &mut Cx,
    active: &CycleRow,
    ends_at: DateTime<Utc>,
    cap: Option<Quantity>,
) -> Result<Quantity> {
    let ended = CycleRow { ends_at: Some(ends_at), ..active.clone() };
    let (total, used) = (active.total(), used(&mut cx.tx, &ended).await?);
    let unused = total.less(used);
    let rollover = cap.map_or(unused, |cap| unused.min(cap));
    let summary = CycleSummary {
        total,
        used,
        unused,
        overflow_charge: used.less(total),
        rollover,
        allocated: allocations::allocated(&mut cx.tx, active).await?,
    };
    let sql = "UPDATE budget_cycles
               SET status = 'closed', ends_at = $3, summary = $4, updated_at = $5
               WHERE id = $1 AND organization_id = $2 AND status = 'active'";
    let update = cx.tx.q(sql).bind(active.id).bind(cx.at).bind(ends_at).bind(Json(summary));
    match update.bind(after(active.updated_at, cx.now)).exec().await? {
        0 => Err(closed()),
        _ => Ok(rollover),
    }
}

fn closed() -> Error {
    Error::conflict("Another request has closed the cycle.")
}

/// Returns copies of the allocations of a cycle, without the organization's.
async fn copies(cx: &mut Cx, of: &CycleRow, copy: CopyOf) -> Result<Vec<AllocationRow>> {
    if copy == CopyOf::None {
        return Ok(Vec::new());
    }
    let rows = allocations::of_cycle(cx, of.id).await?;
    let copied = rows.into_iter().filter(|row| !row.is_root()).map(|row| {
        let (id, now) = (LimitId::new(&cx.app.random, cx.now), cx.now);
        let row =
            AllocationRow { id, source: Source::Copy, created_at: now, updated_at: now, ..row };
        match copy {
            CopyOf::All => row,
            _ => AllocationRow { override_quantity: None, override_reason: None, ..row },
        }
    });
    Ok(copied.collect())
}

/// Returns the organization's row: the root of the allocations.
fn root(cx: &Cx, budget: &Budget, cycle: &CycleRow) -> AllocationRow {
    AllocationRow {
        id: LimitId::new(&cx.app.random, cx.now),
        scope: ScopeRef::organization(cx.at),
        name: None,
        within_id: None,
        quantity: cycle.total(),
        override_quantity: None,
        override_reason: None,
        overflow: budget.overflow,
        source: Source::Budget,
        notify_at: budget.notify_at.clone(),
        created_at: cx.now,
        updated_at: cx.now,
    }
}

/// Applies a changed budget to its active cycle.
pub(super) async fn follow(cx: &mut Cx, before: &Budget, budget: &Budget) -> Result<()> {
    let Some(active) = cycle_rows::active(&mut cx.tx, budget).await? else { return Ok(()) };
    let is_timed_alike =
        (before.cadence, before.renewal_day) == (budget.cadence, budget.renewal_day);
    // A cycle that has ended is closed at its own end.
    let has_ended = active.ends_at.is_some_and(|end| end <= cx.now);
    let ends_at = match is_timed_alike || has_ended {
        true => active.ends_at,
        false => budget.cadence.end_beyond(active.starts_at, budget.renewal_day, cx.now),
    };
    let sql = "UPDATE budget_cycles SET credits = $3, ends_at = $4, updated_at = $5
               WHERE id = $1 AND organization_id = $2";
    let update = cx.tx.q(sql).bind(active.id).bind(cx.at).bind(budget.credits).bind(ends_at);
    update.bind(after(active.updated_at, cx.now)).exec().await?;
    let cycle = CycleRow { credits: budget.credits, ends_at, ..active };
    let mut tree = Tree::new(cx.at, allocations::of_cycle(cx, cycle.id).await?);
    for row in tree.rows.iter_mut().filter(|row| row.is_root()) {
        (row.quantity, row.overflow) = (cycle.total(), budget.overflow);
        row.notify_at.clone_from(&budget.notify_at);
    }
    if budget.strict {
        tree.refuse_oversold()?;
    }
    allocations::write(cx, budget, &cycle, &tree.rows).await
}

/// The maximum number of cycles that one statement finds.
const PAGE: i64 = 100;

/// A cycle that has ended.
#[derive(sqlx::FromRow)]
struct Due {
    id: BudgetCycleId,
    ends_at: DateTime<Utc>,
    organization_id: OrganizationId,
    product: String,
}

/// Opens the next cycles of every budget whose active cycle has ended. Each replica runs it; the
/// condition of the statement that closes a cycle decides which one does.
///
/// A budget that fails is passed by, so that it delays no other.
pub async fn renew(app: &App) -> anyhow::Result<()> {
    let sql = "SELECT c.id, c.ends_at, c.organization_id, b.product FROM budget_cycles c
               JOIN budgets b ON b.id = c.budget_id
               WHERE c.status = 'active' AND (c.ends_at, c.id) > ($1, $2) AND c.ends_at <= $3
               ORDER BY c.ends_at, c.id LIMIT $4";
    let mut last = (DateTime::UNIX_EPOCH, BudgetCycleId(Uuid::nil()));
    loop {
        let mut conn = app.db.read();
        let page = conn.q(sql).bind(last.0).bind(last.1).bind(app.clock.now()).bind(PAGE);
        let due: Vec<Due> = page.all().await?;
        // The changes need a connection of their own.
        drop(conn);
        let Some(end) = due.last() else { return Ok(()) };
        last = (end.ends_at, end.id);
        for Due { organization_id: organization, product, .. } in due {
            if let Err(error) = renew_all(app, organization, &product).await {
                tracing::error!(%organization, product, %error, "a budget's cycle could not be renewed");
            }
        }
    }
}

/// Opens the next cycles of the budget until one has not ended.
async fn renew_all(app: &App, organization: OrganizationId, product: &str) -> Result<()> {
    while renew_one(app, organization, product).await? {}
    Ok(())
}

/// Opens the next cycle of the budget if the active one has ended. Returns whether it had.
async fn renew_one(app: &App, organization: OrganizationId, product: &str) -> Result<bool> {
    let caller = Caller::system("budgets");
    let tx = app.db.begin_for(caller.share()).await?;
    let mut cx = Cx::outside(app, caller, organization, tx);
    let Some(budget) = rows::find(&mut cx, product, true).await? else { return Ok(false) };
    let active = cycle_rows::active(&mut cx.tx, &budget).await?;
    // All cycles are open, another replica was faster, or the budget changed.
    let Some(active) = active.filter(|one| one.ends_at.is_some_and(|end| end <= cx.now)) else {
        return Ok(false);
    };
    // Lists are in the order of the IDs, which are random within a millisecond.
    cx.now = cx.now.max(active.created_at + TimeDelta::milliseconds(1));
    cx.audit.before = digits::value_of(&active.clone().shown(None)).ok();
    let starts_at = active.ends_at.unwrap_or(cx.now);
    let next = Next {
        name: default_name(&budget, starts_at),
        starts_at,
        ends_at: budget.cadence.end_after(starts_at, budget.renewal_day),
        cap: budget.rollover_cap,
        copy: CopyOf::Allocations,
    };
    let id = replace(&mut cx, &budget, Some(active), next, OnOversold::LeaveOut).await?;
    let opened = cycle_rows::load(&mut cx, id).await?;
    cx.audit.after = digits::value_of(&opened.shown(None)).ok();
    let target = (Cycle::NOUN, id.to_string());
    cx.finish("budget_cycles.open", Some(organization), target, Effect::Harmless).await?;
    Ok(true)
}
