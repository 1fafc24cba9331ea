//! Allocations: the credits of a cycle that groups and people may use, or that are set aside.

use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::allocation_use::{Allocation, shown};
use super::cycle_rows::{self as cycles, CycleRow, CycleStatus};
use super::rows::{self as budgets, Budget};
use super::tree::{Groups, Tree};
use crate::identity::scopes::{self, ScopeKind, ScopeRef};
use crate::kernel::access::place::Org;
use crate::kernel::access::products;
use crate::kernel::digits;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{NoContent, Put};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::text::{Label, Reason};
use crate::metering::ids::{BudgetCycleId, LimitId};
use crate::metering::limits::allocations::{self as rows, AllocationRow, Source};
use crate::metering::limits::percentages::Percentages;
use crate::metering::quantity::Quantity;
use crate::tenancy::ids::GroupId;

crate::routes! {
    /// The parts of a budget that groups and people may use.
    allocations:
    /// Allocates credits of the active cycle to a group or a person, or sets them aside.
    ///
    /// A group's allocation is a part of that of the nearest group above it that has one, otherwise
    /// of the organization's. A strict budget refuses parts that exceed what they are a part of
    /// (409 `over_allocated`).
    PUT "/organizations/{org}/budgets/{product}/allocations" BUDGETS_WRITE => put, in_turn;
    /// Removes an allocation that has no parts.
    DELETE "/organizations/{org}/budgets/{product}/allocations" BUDGETS_WRITE => delete, in_turn;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAllocation {
    /// `group:<id>`, `user:<id>`, or `pool` for credits that are set aside.
    scope: ScopeRef,
    /// The credits, at least 0.
    quantity: Quantity,
    /// The credits beyond the quantity that enforcement still admits, at least 0. 0 when absent;
    /// null is unlimited.
    #[serde(default)]
    overflow: Patch<Quantity>,
    /// A quantity that replaces `quantity` for this cycle, with its reason. Null removes it; the
    /// stored one stays when absent.
    #[serde(default, rename = "override")]
    replacement: Patch<Override>,
    /// The allocation that this one is a part of: `organization`, or an allocated group that the
    /// person is in. For a group, only the nearest allocated group above it. The stored one when
    /// absent, otherwise the organization.
    within: Option<ScopeRef>,
    /// The cycle. The active one when absent.
    cycle: Option<BudgetCycleId>,
    /// Up to 4 percentages, 1 to 100, at which the event `limits.near` is sent; at 100 percent it is
    /// `limits.reach`. The stored ones stay when absent; null removes them.
    #[serde(default)]
    notify_at: Patch<Percentages>,
}

/// A quantity that replaces that of an allocation.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AllocationOverride")]
pub struct Override {
    /// The credits, at least 0.
    quantity: Quantity,
    /// The reason, 1 to 1,000 characters.
    reason: Reason,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemovedAllocation {
    /// The scope of the allocation.
    scope: ScopeRef,
    /// The cycle. The active one when absent.
    cycle: Option<BudgetCycleId>,
}

/// The kinds of scopes whose allocations have parts.
pub(super) const WITHIN: &[ScopeKind] = &[ScopeKind::Organization, ScopeKind::Group];
/// The kinds of scopes that credits are allocated to.
pub(super) const SCOPES: &[ScopeKind] = &[ScopeKind::Group, ScopeKind::User, ScopeKind::Pool];

async fn put(
    cx: &mut Cx,
    (_, product): (Org, Label),
    new: NewAllocation,
) -> Result<Put<Allocation>> {
    let scope = allocated_scope(cx, new.scope, "scope")?;
    let (budget, cycle) = held_cycle(cx, product.as_str(), new.cycle).await?;
    refuse_missing(cx, &[scope], &["scope".to_owned()], new.within).await?;
    let mut tree = Tree::new(cx.at, rows::of_cycle(cx, cycle.id).await?);
    let groups = Groups::read(cx).await?;
    let before = tree.find(scope).cloned();
    let replacement = match (new.replacement, &before) {
        (Patch::Set(new), _) => Some((new.quantity, new.reason.into_string())),
        (Patch::Keep, Some(row)) => row.override_quantity.zip(row.override_reason.clone()),
        (Patch::Keep | Patch::Clear, _) => None,
    };
    let (override_quantity, override_reason) = replacement.unzip();
    let stored = before.as_ref().and_then(|row| row.within_id);
    let within_id = match new.within {
        Some(within) => within_group(within)?,
        None => stored,
    };
    tree.put(AllocationRow {
        id: before.as_ref().map_or_else(|| LimitId::new(&cx.app.random, cx.now), |row| row.id),
        scope,
        name: None,
        within_id,
        quantity: new.quantity,
        override_quantity,
        override_reason,
        overflow: new.overflow.over(Some(Quantity::default())),
        source: Source::Manual,
        notify_at: new.notify_at.over(before.as_ref().and_then(|row| row.notify_at.clone())),
        created_at: before.as_ref().map_or(cx.now, |row| row.created_at),
        updated_at: before.as_ref().map_or(cx.now, |row| row.updated_at),
    });
    let wanted = new.within.is_some().then_some(within_id);
    let changed = settle(cx, &mut tree, &groups, &[(scope, wanted)]).await?;
    if budget.strict {
        tree.refuse_oversold()?;
    }
    let written: Vec<AllocationRow> =
        tree.rows.iter().filter(|row| changed.contains(&row.scope)).cloned().collect();
    rows::write(cx, &budget, &cycle, &written).await?;
    if let Some(before) = &before {
        let known = Tree::new(cx.at, vec![before.clone()]);
        let known = shown(cx, &cycle, &known).await?.pop();
        cx.audit.before = known.and_then(|known| digits::value_of(&known).ok());
    }
    let tree = Tree::new(cx.at, rows::of_cycle(cx, cycle.id).await?);
    let item = shown(cx, &cycle, &tree).await?.into_iter().find(|item| item.scope == scope);
    let item = item.ok_or_else(Error::stale)?;
    Ok(if before.is_some() { Put::Known(item) } else { Put::New(item) })
}

async fn delete(
    cx: &mut Cx,
    (_, product): (Org, Label),
    which: RemovedAllocation,
) -> Result<NoContent> {
    let scope = allocated_scope(cx, which.scope, "scope")?;
    let (budget, cycle) = held_cycle(cx, product.as_str(), which.cycle).await?;
    let mut tree = Tree::new(cx.at, rows::of_cycle(cx, cycle.id).await?);
    // A group that was moved is a part of another allocation now.
    let changed = tree.settle(&Groups::read(cx).await?);
    let Some(row) = tree.find(scope).cloned() else {
        scopes::refuse_missing(cx, &[scope], &["scope".to_owned()]).await?;
        return Err(Error::not_found("allocation"));
    };
    refuse_parts(&tree, &row)?;
    let removed = shown(cx, &cycle, &tree).await?.into_iter().find(|item| item.scope == scope);
    cx.audit.before = removed.and_then(|removed| digits::value_of(&removed).ok());
    rows::delete(cx, &[row]).await?;
    tree.rows.retain(|row| row.scope != scope && changed.contains(&row.scope));
    rows::write(cx, &budget, &cycle, &tree.rows).await?;
    Ok(NoContent)
}

/// Refuses scopes and a group of `within` that do not exist in the organization: 404 at their fields.
pub(super) async fn refuse_missing(
    cx: &mut Cx,
    scopes: &[ScopeRef],
    fields: &[String],
    within: Option<ScopeRef>,
) -> Result<()> {
    let (mut scopes, mut fields) = (scopes.to_vec(), fields.to_vec());
    if let Some(group) = within.filter(|within| within.kind == ScopeKind::Group) {
        scopes.push(group);
        fields.push("within".to_owned());
    }
    scopes::refuse_missing(cx, &scopes, &fields).await
}

/// Refuses to remove an allocation that has parts.
pub(super) fn refuse_parts(tree: &Tree, row: &AllocationRow) -> Result<()> {
    let parts: Vec<ScopeRef> = tree.children(row.scope).map(|part| part.scope).take(20).collect();
    if parts.is_empty() {
        return Ok(());
    }
    let detail = format!("The allocation of `{}` has parts. Remove them first.", row.scope);
    let refused = Error::new(ProblemCode::InUse, detail);
    Err(refused.with("scopes", parts))
}

/// Settles the tree after a change of these scopes, each with the group of whose allocation the
/// caller wants it to be a part. Returns the scopes whose rows must be written.
///
/// # Errors
/// 422 at `within` for a group that is not the nearest allocated one, or that the person is not in.
pub(super) async fn settle(
    cx: &mut Cx,
    tree: &mut Tree,
    groups: &Groups,
    changed: &[(ScopeRef, Option<Option<GroupId>>)],
) -> Result<Vec<ScopeRef>> {
    let mut written = tree.settle(groups);
    for (scope, wanted) in changed {
        written.push(*scope);
        let row = tree.find(*scope).ok_or_else(Error::stale)?;
        match (scope.kind, wanted) {
            (ScopeKind::Group, Some(wanted)) if row.within_id != *wanted => {
                let within = tree.within(row).map(|within| within.to_string());
                let detail = format!(
                    "`within` must be `{}`, the nearest allocation above the group.",
                    within.unwrap_or_default()
                );
                return Err(Error::invalid("within", detail));
            }
            (ScopeKind::Group, _) => {}
            _ => refuse_other_group(cx, tree, groups, row).await?,
        }
    }
    Ok(written)
}

/// Refuses a person's or a pool's group that has no allocation, or that the person is not in.
async fn refuse_other_group(
    cx: &mut Cx,
    tree: &Tree,
    groups: &Groups,
    row: &AllocationRow,
) -> Result<()> {
    let Some(group) = row.within_id else { return Ok(()) };
    let refused = |rule: &str| Err(Error::invalid("within", format!("`within` must be {rule}.")));
    if tree.find(ScopeRef::group(group)).is_none() {
        return refused("`organization` or a group that has an allocation");
    }
    let Some(user) = row.scope.id_of(ScopeKind::User) else { return Ok(()) };
    let sql = "SELECT group_id FROM memberships
               WHERE organization_id = $1 AND user_id = $2 AND group_id IS NOT NULL";
    let own: Vec<(GroupId,)> = cx.tx.q(sql).bind(cx.at).bind(user).all().await?;
    let own: Vec<GroupId> = own.into_iter().map(|(id,)| id).collect();
    match groups.is_in(&own, group) {
        true => Ok(()),
        false => refused("`organization` or an allocated group that the person is in"),
    }
}

/// Reads the scope of a request, as rows store it.
pub(super) fn allocated_scope(cx: &Cx, scope: ScopeRef, field: &str) -> Result<ScopeRef> {
    if scope.kind == ScopeKind::Organization {
        let detail = format!(
            "`{field}` must be a group, a user or `pool` (got `organization`). The budget sets the \
             organization's amount."
        );
        return Err(Error::invalid(field.to_owned(), detail));
    }
    scope.refuse_other(field, SCOPES)?;
    Ok(scope.of(cx.at))
}

/// Reads the group of `within`; `None` is the organization.
pub(super) fn within_group(within: ScopeRef) -> Result<Option<GroupId>> {
    within.refuse_other("within", WITHIN)?;
    Ok(within.id_of(ScopeKind::Group).map(GroupId))
}

/// Locks the budget, and returns it with the cycle of a change.
pub(super) async fn held_cycle(
    cx: &mut Cx,
    product: &str,
    id: Option<BudgetCycleId>,
) -> Result<(Budget, CycleRow)> {
    products::refuse_changing(&cx.caller, product)?;
    let budget = budgets::hold(cx, product).await?;
    let cycle = match id {
        Some(id) => cycles::load(cx, id).await.map_err(|error| error.at("cycle"))?,
        None => cycles::active(&mut cx.tx, &budget).await?.ok_or_else(no_cycle)?,
    };
    if cycle.budget_id != budget.id {
        return Err(Error::not_found("budget cycle").at("cycle"));
    }
    if cycle.status == CycleStatus::Closed {
        let detail = "`cycle` is closed: its allocations do not change any more.";
        return Err(Error::conflict(detail).at("cycle"));
    }
    Ok((budget, cycle))
}

pub(super) const NO_CYCLE: &str = "The budget has no active cycle. Open one first.";

fn no_cycle() -> Error {
    Error::conflict(NO_CYCLE)
}
