//! The distribution of credits: equal shares for groups and people.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::allocations::{
    allocated_scope, held_cycle, refuse_missing, refuse_parts, settle, within_group,
};
use super::tree::{Groups, Tree};
use crate::identity::scopes::{self, ScopeRef};
use crate::kernel::access::place::Org;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::{ITEMS, Patch};
use crate::kernel::text::Label;
use crate::metering::ids::LimitId;
use crate::metering::limits::allocations::{self as rows, AllocationRow, Source};
use crate::metering::quantity::Quantity;
use crate::tenancy::ids::GroupId;

crate::routes! { allocations:
    /// Allocates equal shares to groups and people. The shares add up to `total` exactly.
    ///
    /// Allocations with an override keep it and get no share. Earlier equal shares of the same
    /// `within` that the request does not name are removed. With `dry_run: true` the answer shows
    /// the shares, and nothing changes.
    POST "/organizations/{org}/budgets/{product}/distribute" BUDGETS_WRITE => distribute, conditional_audit, in_turn;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// The groups and people, 1 to 1,000 different ones.
    scopes: Vec<ScopeRef>,
    /// The credits to distribute, at least 0.
    total: Quantity,
    /// The allocation that the shares are a part of: `organization` or `group:<id>`. `organization`
    /// when absent.
    within: Option<ScopeRef>,
    /// The credits beyond a share that enforcement still admits, at least 0. 0 when absent; null is
    /// unlimited.
    #[serde(default)]
    overflow: Patch<Quantity>,
    /// Whether to report the shares without allocating them. False when absent.
    #[serde(default)]
    dry_run: bool,
}

/// The shares of a distribution.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Distributed {
    /// The product of the budget.
    product: String,
    total: Quantity,
    /// The shares, in the order of the request.
    shares: Vec<Share>,
    /// The scopes whose earlier equal shares were removed.
    removed: Vec<ScopeRef>,
    /// The credits of `within` that no part has.
    unallocated: Quantity,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Share {
    scope: ScopeRef,
    quantity: Quantity,
    /// The quantity before; null without an allocation.
    previous: Option<Quantity>,
    /// The reason why the scope got no share; null when it got one.
    skipped: Option<Skipped>,
}

crate::text_enum! { Skipped { Override = "override" } }

async fn distribute(
    cx: &mut Cx,
    (_, product): (Org, Label),
    new: Distribution,
) -> Result<Distributed> {
    let scopes = scopes_of(cx, &new.scopes)?;
    let within = match new.within {
        Some(within) => within_group(within)?,
        None => None,
    };
    let (budget, cycle) = held_cycle(cx, product.as_str(), None).await?;
    let fields: Vec<String> = (0..scopes.len()).map(|n| format!("scopes[{n}]")).collect();
    refuse_missing(cx, &scopes, &fields, new.within).await?;
    let groups = Groups::read(cx).await?;
    let mut tree = Tree::new(cx.at, rows::of_cycle(cx, cycle.id).await?);
    // A group that was moved is a part of another allocation now.
    let mut changed: HashSet<ScopeRef> = tree.settle(&groups).into_iter().collect();
    let is_overridden = |tree: &Tree, scope: ScopeRef| {
        tree.find(scope).is_some_and(|row| row.override_quantity.is_some())
    };
    let sharing = scopes.iter().filter(|scope| !is_overridden(&tree, **scope)).count();
    if sharing == 0 {
        let detail = "`scopes` must name at least one allocation without an override.";
        return Err(Error::invalid("scopes", detail));
    }
    let overflow = new.overflow.over(Some(Quantity::default()));
    let (mut quantities, mut shares) = (new.total.shares(sharing), Vec::new());
    for scope in &scopes {
        let before = tree.find(*scope).cloned();
        let previous = before.as_ref().map(|row| row.quantity);
        let overridden = before.as_ref().filter(|row| row.override_quantity.is_some()).cloned();
        let row = match overridden {
            Some(row) => AllocationRow { within_id: within, ..row },
            None => AllocationRow {
                id: before
                    .as_ref()
                    .map_or_else(|| LimitId::new(&cx.app.random, cx.now), |row| row.id),
                scope: *scope,
                name: None,
                within_id: within,
                quantity: quantities.next().unwrap_or_default(),
                override_quantity: None,
                override_reason: None,
                overflow,
                source: Source::Equal,
                notify_at: before.as_ref().and_then(|row| row.notify_at.clone()),
                created_at: before.as_ref().map_or(cx.now, |row| row.created_at),
                updated_at: before.as_ref().map_or(cx.now, |row| row.updated_at),
            },
        };
        let skipped = row.override_quantity.map(|_| Skipped::Override);
        shares.push(Share { scope: *scope, quantity: row.quantity, previous, skipped });
        tree.put(row);
    }
    let removed = unnamed(&tree, within, &scopes);
    for row in &removed {
        refuse_parts(&tree, row)?;
    }
    tree.rows.retain(|row| !removed.contains(row));
    let wanted: Vec<_> = scopes.iter().map(|scope| (*scope, Some(within))).collect();
    changed.extend(settle(cx, &mut tree, &groups, &wanted).await?);
    if budget.strict {
        tree.refuse_oversold()?;
    }
    if new.dry_run {
        cx.audit.omit();
    } else {
        let written: Vec<AllocationRow> =
            tree.rows.iter().filter(|row| changed.contains(&row.scope)).cloned().collect();
        rows::delete(cx, &removed).await?;
        rows::write(cx, &budget, &cycle, &written).await?;
    }
    let root = within.map_or_else(|| ScopeRef::organization(cx.at), ScopeRef::group);
    let allocated = tree.sums().get(&root).copied().unwrap_or_default();
    let whole = tree.find(root).map(AllocationRow::effective).unwrap_or_default();
    Ok(Distributed {
        product: budget.product,
        total: new.total,
        shares,
        removed: removed.into_iter().map(|row| row.scope).collect(),
        unallocated: whole.less(allocated),
    })
}

/// Reads the scopes of a request, as rows store them.
fn scopes_of(cx: &Cx, given: &[ScopeRef]) -> Result<Vec<ScopeRef>> {
    if given.is_empty() || given.len() > ITEMS {
        let detail = format!("`scopes` must have 1 to {ITEMS} items (got {}).", given.len());
        return Err(Error::invalid("scopes", detail));
    }
    let mut seen = HashSet::new();
    let mut scopes = Vec::with_capacity(given.len());
    for (n, scope) in given.iter().enumerate() {
        let field = format!("scopes[{n}]");
        let scope = allocated_scope(cx, *scope, &field)?;
        scope.refuse_other(&field, &[scopes::ScopeKind::Group, scopes::ScopeKind::User])?;
        if !seen.insert(scope) {
            let detail = format!("`{field}` must not repeat `{scope}`.");
            return Err(Error::invalid(field, detail));
        }
        scopes.push(scope);
    }
    Ok(scopes)
}

/// Returns the equal shares within the group that the request does not name.
fn unnamed(tree: &Tree, within: Option<GroupId>, named: &[ScopeRef]) -> Vec<AllocationRow> {
    let is_unnamed = |row: &&AllocationRow| {
        row.source == Source::Equal
            && row.within_id == within
            && !row.is_root()
            && !named.contains(&row.scope)
    };
    tree.rows.iter().filter(is_unnamed).cloned().collect()
}
