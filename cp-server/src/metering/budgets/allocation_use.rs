//! Allocations with their usage.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::cycle_rows::CycleRow;
use super::rows::CREDITS;
use super::tree::Tree;
use crate::identity::scopes::ScopeRef;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::error::Result;
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::path_segment;
use crate::metering::counters::{self, EVER, Question, Scopes};
use crate::metering::limits::allocations::{AllocationRow, Source};
use crate::metering::limits::percentages::Percentages;
use crate::metering::quantity::Quantity;

crate::text_enum! {
    /// How full an allocation is: warning from 80 percent, critical from 90, exceeded from 100.
    Level { Ok = "ok", Warning = "warning", Critical = "critical", Exceeded = "exceeded" }
}

/// An allocation with its usage.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Allocation {
    /// The product of the budget.
    pub product: String,
    pub scope: ScopeRef,
    /// The name of the group, the person or the organization.
    pub name: Option<String>,
    /// The scope of whose allocation this one is a part; null for the organization's.
    pub within: Option<ScopeRef>,
    pub quantity: Quantity,
    #[serde(rename = "override")]
    pub replacement: Option<ShownOverride>,
    /// The quantity that applies: the override's, else `quantity`.
    pub effective: Quantity,
    /// The credits beyond it that enforcement still admits; null is unlimited.
    pub overflow: Option<Quantity>,
    pub source: Source,
    /// The percentages at which the allocation is announced; null is none.
    pub notify_at: Option<Percentages>,
    pub used: Quantity,
    /// The usage in percent of `effective`, with two decimal places; null when that is 0.
    pub percent: Option<Quantity>,
    /// The credits that are left, at least 0.
    pub remaining: Quantity,
    /// The credits that were used beyond `effective`.
    pub overflow_used: Quantity,
    pub level: Level,
    /// The sum of the parts of this allocation.
    pub children: Quantity,
    /// The credits that no part has, at least 0.
    pub unallocated: Quantity,
    /// The credits by which the parts exceed this allocation.
    pub over: Quantity,
    #[serde(skip)]
    organization: OrganizationId,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ShownOverride {
    pub quantity: Quantity,
    reason: String,
}

impl Resource for Allocation {
    const NOUN: &'static str = "allocation";
    const PATH: &'static str = "organizations";
    fn name(&self) -> String {
        let (organization, product) = (self.organization, path_segment(&self.product));
        format!("{organization}/budgets/{product}/allocations?scope={}", self.scope)
    }
}

/// Returns the allocations with their usage: one more statement for any number of them.
pub async fn shown(cx: &mut Cx, cycle: &CycleRow, tree: &Tree) -> Result<Vec<Allocation>> {
    let question = Question {
        scopes: Scopes::All,
        series: Some((CREDITS, &cycle.product)),
        interval: cycle.interval(),
        grain: EVER,
        limit: i64::MAX,
    };
    let parts = counters::ask(&mut cx.tx, cx.at, question).await?;
    let used: HashMap<ScopeRef, Quantity> =
        parts.into_iter().map(|part| (part.scope, part.sum.quantity)).collect();
    let sums = tree.sums();
    let item = |row: &AllocationRow| {
        let effective = row.effective();
        let used = used.get(&row.scope).copied().unwrap_or_default();
        let children = sums.get(&row.scope).copied().unwrap_or_default();
        let replacement = row.override_quantity.zip(row.override_reason.clone());
        Allocation {
            product: cycle.product.clone(),
            scope: row.scope,
            name: row.name.clone(),
            within: tree.within(row),
            quantity: row.quantity,
            replacement: replacement.map(|(quantity, reason)| ShownOverride { quantity, reason }),
            effective,
            overflow: row.overflow,
            source: row.source,
            notify_at: row.notify_at.clone(),
            used,
            percent: used.percent_of(effective),
            remaining: effective.less(used),
            overflow_used: used.less(effective),
            level: level(used, effective),
            children,
            unallocated: effective.less(children),
            over: children.less(effective),
            organization: cx.at,
        }
    };
    Ok(tree.rows.iter().map(item).collect())
}

/// Returns the level by exact numbers: a rounded percentage could be a level too high.
fn level(used: Quantity, effective: Quantity) -> Level {
    let is_at_least = |percent: i64| {
        used.times(Quantity::from_parts(100, 0))
            >= effective.times(Quantity::from_parts(percent, 0))
            && used > Quantity::default()
    };
    match () {
        () if is_at_least(100) => Level::Exceeded,
        () if is_at_least(90) => Level::Critical,
        () if is_at_least(80) => Level::Warning,
        () => Level::Ok,
    }
}

impl Allocation {
    /// Returns the order of fullness: usage of nothing is above every percentage.
    pub fn fullness(&self) -> (bool, Option<Quantity>) {
        (self.percent.is_none() && self.used > Quantity::default(), self.percent)
    }
}
