//! Cycles: the times for which a budget's credits are available.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use super::cadence::Cadence;
use super::cycle_rows::{self, Cycle, CycleRow, used};
use super::renewal::{CopyOf, Next, OnOversold, default_name, replace};
use super::rows::{self, Budget};
use crate::kernel::access::place::Org;
use crate::kernel::access::products;
use crate::kernel::clock::after;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::{Moment, Patch};
use crate::kernel::http::page::{List, NoFilter, Page};
use crate::kernel::section::Section;
use crate::kernel::text::{Label, Name};
use crate::metering::ids::BudgetCycleId;
use crate::metering::quantity::Quantity;

pub static DECLARATION: Declaration = Declaration::of_organization(
    "budget_cycles",
    "budget cycle",
    Export::Section(Section::many_shown::<CycleRow>("budget_cycles")),
);

crate::routes! {
    /// The times for which budgets' credits are available.
    budget_cycles declares DECLARATION:
    /// Lists the cycles of the product's budget, newest first.
    GET "/organizations/{org}/budgets/{product}/cycles" BUDGETS_READ => list;
    /// Closes the active cycle and opens the next one.
    ///
    /// The closed cycle's unused credits pass on to the next one, up to the cap. Allocations are
    /// copied. A strict budget refuses copies that do not fit (409 `over_allocated`).
    POST "/organizations/{org}/budgets/{product}/cycles" BUDGETS_WRITE => open, in_turn;
    /// Returns a cycle with the credits that are used.
    GET "/budget-cycles/{id}" BUDGETS_READ => read;
    /// Renames a cycle.
    PATCH "/budget-cycles/{id}" BUDGETS_WRITE => update;
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCycle {
    /// The display name, 1 to 255 characters. The product and the first day when absent.
    name: Option<Name>,
    /// The maximum unused credits that the active cycle passes on, at least 0. The budget's when
    /// absent; null is all.
    #[serde(default)]
    rollover_cap: Patch<Quantity>,
    /// What is copied from the active cycle: `none`, `allocations` without their overrides, or
    /// `all`. `allocations` when absent.
    copy: Option<CopyOf>,
    /// The beginning, which ends the active cycle: later than its beginning, and not in the future.
    /// Now when absent.
    starts_at: Option<Moment>,
    /// The end, exclusive. By the budget's cadence when absent; not allowed with cadence `manual`.
    ends_at: Option<Moment>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CyclePatch {
    /// The display name, 1 to 255 characters.
    name: Name,
}

/// The time after the opening of a cycle in which a repeated request is refused.
const REPEATED: TimeDelta = TimeDelta::seconds(1);

async fn list(
    cx: &mut Cx,
    (_, product): (Org, Label),
    list: List<NoFilter>,
) -> Result<Page<Cycle>> {
    products::refuse_reading(&cx.caller, product.as_str())?;
    let budget = rows::load(cx, product.as_str()).await?;
    let tail = "WHERE budget_cycles.organization_id = $1 AND budget_cycles.budget_id = $2";
    let query = cx.tx.select(tail).bind(cx.at).bind(budget.id);
    let page: Page<CycleRow> = list.page(query).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for row in page.items {
        let used = used(&mut cx.tx, &row).await?;
        items.push(row.shown(used));
    }
    Ok(Page { items, next_cursor: page.next_cursor })
}

async fn read(cx: &mut Cx, id: BudgetCycleId) -> Result<Cycle> {
    let row = cycle_rows::load(cx, id).await?;
    products::refuse_reading(&cx.caller, &row.product)?;
    let used = used(&mut cx.tx, &row).await?;
    Ok(row.shown(used))
}

async fn update(cx: &mut Cx, id: BudgetCycleId, patch: CyclePatch) -> Result<Cycle> {
    let before = cycle_rows::load(cx, id).await?;
    products::refuse_changing(&cx.caller, &before.product)?;
    let sql = "UPDATE budget_cycles SET name = $3, updated_at = $4
               WHERE id = $1 AND organization_id = $2";
    let update = cx.tx.q(sql).bind(id).bind(cx.at).bind(patch.name);
    update.bind(after(before.updated_at, cx.now)).exec().await?;
    read(cx, id).await
}

async fn open(cx: &mut Cx, (_, product): (Org, Label), new: NewCycle) -> Result<Created<Cycle>> {
    products::refuse_changing(&cx.caller, product.as_str())?;
    let budget = rows::hold(cx, product.as_str()).await?;
    let active = cycle_rows::active(&mut cx.tx, &budget).await?;
    let starts_at = beginning(cx, active.as_ref(), new.starts_at)?;
    let ends_at = end(&budget, starts_at, new.ends_at)?;
    let cap = new.rollover_cap.over(budget.rollover_cap);
    let name = new.name.map_or_else(|| default_name(&budget, starts_at), Name::into_string);
    let next =
        Next { name, starts_at, ends_at, cap, copy: new.copy.unwrap_or(CopyOf::Allocations) };
    let cycle = replace(cx, &budget, active, next, OnOversold::Refuse).await?;
    read(cx, cycle).await.map(Created)
}

/// Returns the beginning of the next cycle.
fn beginning(cx: &Cx, active: Option<&CycleRow>, given: Option<Moment>) -> Result<DateTime<Utc>> {
    let instant = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let starts_at = given.map_or(cx.now, |at| at.0);
    if starts_at > cx.now {
        let detail = format!(
            "`starts_at` must not be in the future: it is {} now (got {}).",
            instant(cx.now),
            instant(starts_at)
        );
        return Err(Error::invalid("starts_at", detail));
    }
    match active {
        // Two callers closed the same cycle: the second one has no cycle of its own to close.
        Some(active) if given.is_none() && starts_at < active.starts_at + REPEATED => {
            Err(Error::conflict("Another request has just opened this cycle."))
        }
        Some(active) if starts_at <= active.starts_at => {
            let detail = format!(
                "`starts_at` must be later than the active cycle's beginning, {} (got {}).",
                instant(active.starts_at),
                instant(starts_at)
            );
            Err(Error::invalid("starts_at", detail))
        }
        _ => Ok(starts_at),
    }
}

/// Returns the end of a cycle.
fn end(
    budget: &Budget,
    starts_at: DateTime<Utc>,
    given: Option<Moment>,
) -> Result<Option<DateTime<Utc>>> {
    match given {
        None => Ok(budget.cadence.end_after(starts_at, budget.renewal_day)),
        Some(_) if budget.cadence == Cadence::Manual => {
            let detail = "`ends_at` is not allowed: the budget's cadence is `manual`, and a caller \
                          ends its cycles.";
            Err(Error::invalid("ends_at", detail))
        }
        Some(at) if at.0 <= starts_at => {
            Err(Error::invalid("ends_at", "`ends_at` must be later than `starts_at`."))
        }
        Some(at) => Ok(Some(at.0)),
    }
}
