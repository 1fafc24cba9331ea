//! The table of a cycle's allocations with their usage.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::allocation_use::{Allocation, Level, shown};
use super::allocations::{NO_CYCLE, WITHIN};
use super::cycle_rows::CycleStatus;
use super::rows as budgets;
use super::tree::Tree;
use crate::identity::scopes::{self, ScopeKind, ScopeRef};
use crate::kernel::access::place::Org;
use crate::kernel::access::products;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Between;
use crate::kernel::text::Label;
use crate::metering::ids::BudgetCycleId;
use crate::metering::limits::allocations as rows;
use crate::metering::quantity::Quantity;

crate::routes! { allocations:
    /// Returns the allocations of a cycle with their usage, the fullest first.
    ///
    /// The first level is the organization's own row. With `threshold` the answer has only
    /// allocations that are used to at least that percentage: the alerts.
    GET "/organizations/{org}/budgets/{product}/allocations" BUDGETS_READ => list;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllocationFilter {
    /// The cycle. The active one when absent.
    cycle: Option<BudgetCycleId>,
    /// Only parts of the allocation of this scope: `organization` or `group:<id>`.
    within: Option<ScopeRef>,
    /// Only the allocation of this scope.
    scope: Option<ScopeRef>,
    /// Only allocations that are used to at least this percentage, 0 to 1000.
    threshold: Option<Between<0, 1000>>,
}

/// The allocations of a cycle.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Allocations {
    product: String,
    cycle: AllocatedCycle,
    total: Quantity,
    /// The sum of the allocations of the organization's credits.
    allocated: Quantity,
    unallocated: Quantity,
    used: Quantity,
    percent: Option<Quantity>,
    level: Level,
    items: Vec<Allocation>,
}

/// The cycle of allocations.
#[derive(Debug, Serialize, JsonSchema)]
struct AllocatedCycle {
    id: BudgetCycleId,
    name: String,
    status: CycleStatus,
    starts_at: DateTime<Utc>,
    /// Exclusive.
    ends_at: Option<DateTime<Utc>>,
}

/// The maximum number of items of an answer.
const MOST_ITEMS: usize = 10_000;
/// The kinds of scopes that have allocations: the organization's own is the root.
const SCOPES: &[ScopeKind] =
    &[ScopeKind::Organization, ScopeKind::Group, ScopeKind::User, ScopeKind::Pool];

async fn list(
    cx: &mut Cx,
    (_, product): (Org, Label),
    filter: AllocationFilter,
) -> Result<Allocations> {
    products::refuse_reading(&cx.caller, product.as_str())?;
    filter.scope.map_or(Ok(()), |scope| scope.refuse_other("scope", SCOPES))?;
    filter.within.map_or(Ok(()), |within| within.refuse_other("within", WITHIN))?;
    let found = rows::with_cycle(cx, product.as_str(), filter.cycle).await?;
    let Some((cycle, found)) = found else {
        return Err(missing_cycle(cx, product.as_str(), filter.cycle).await);
    };
    let tree = Tree::new(cx.at, found);
    let within = filter.within.map(|scope| scope.of(cx.at));
    let scope = filter.scope.map(|scope| scope.of(cx.at));
    let (mut items, mut root) = (Vec::new(), None);
    for item in shown(cx, &cycle, &tree).await? {
        if item.scope.kind == ScopeKind::Organization {
            root = Some((item.used, item.percent, item.level));
        }
        let is_full = |least: &Between<0, 1000>| match item.percent {
            Some(percent) => percent >= Quantity::from_parts(least.0, 0),
            None => item.used > Quantity::default(),
        };
        let is_listed = within.is_none_or(|within| item.within == Some(within))
            && scope.is_none_or(|scope| item.scope == scope)
            && filter.threshold.as_ref().is_none_or(is_full);
        if is_listed {
            items.push(item);
        }
    }
    if items.len() > MOST_ITEMS {
        let detail = format!("`within` is required: there are more than {MOST_ITEMS} allocations.");
        return Err(Error::invalid("within", detail));
    }
    if items.is_empty() {
        // A scope with an allocation exists.
        for (named, field) in [(filter.scope, "scope"), (filter.within, "within")] {
            scopes::refuse_missing(cx, named.as_slice(), &[field.to_owned()]).await?;
        }
    }
    items.sort_by(|a, b| (b.fullness(), a.scope).cmp(&(a.fullness(), b.scope)));
    let (used, percent, level) = root.unwrap_or((Quantity::default(), None, Level::Ok));
    let root = ScopeRef::organization(cx.at);
    let (total, allocated) = (cycle.total(), tree.sums().get(&root).copied().unwrap_or_default());
    Ok(Allocations {
        product: cycle.product.clone(),
        cycle: AllocatedCycle {
            id: cycle.id,
            name: cycle.name,
            status: cycle.status,
            starts_at: cycle.starts_at,
            ends_at: cycle.ends_at,
        },
        total,
        allocated,
        unallocated: total.less(allocated),
        used,
        percent,
        level,
        items,
    })
}

/// Returns the refusal of a request for a cycle that does not exist.
async fn missing_cycle(cx: &mut Cx, product: &str, id: Option<BudgetCycleId>) -> Error {
    if let Err(error) = budgets::load(cx, product).await {
        return error;
    }
    match id {
        Some(_) => Error::not_found("budget cycle").at("cycle"),
        None => Error::new(ProblemCode::NotFound, NO_CYCLE),
    }
}
