//! Budgets: what a product costs in credits, and how many credits there are.
//!
//! # Design
//! Credits are a metric, and the product is their unit: (`credits`, `copilot`). So limits, windows,
//! summaries and enforcement work for them unchanged. A cycle is the time for which a budget's
//! credits are available. An allocation is a limit with the window `cycle`, in the table of limits.
//! The organization's own row is the root of the allocations.
//!
//! Every change locks the budget's row first. So changes of one budget run one after the other, and
//! no two of them allocate the same credits. On PostgreSQL they also wait for their turn before they
//! take a connection: a burst of them leaves connections for others.

pub mod allocation_table;
pub mod allocation_use;
pub mod allocations;
pub mod cadence;
pub mod cycle_rows;
pub mod cycles;
pub mod distribution;
pub mod renewal;
pub mod rows;
pub mod tree;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use self::cadence::Cadence;
use self::cycle_rows::{Cycle, used};
use self::rows::Budget;
use super::limits::allocations as allocation_rows;
use super::limits::percentages::Percentages;
use super::limits::row::Enforcement;
use super::quantity::Quantity;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::place::Org;
use crate::kernel::access::platform::Platform;
use crate::kernel::access::products;
use crate::kernel::clock::after;
use crate::kernel::db::Conn;
use crate::kernel::db::record::Texts;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::digits;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::{NoContent, Put, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Between;
use crate::kernel::http::page::{List, NoFilter, Page};
use crate::kernel::section::Section;
use crate::kernel::text::{Label, Name, path_segment};
use crate::metering::ids::BudgetId;
use crate::tenancy::organizations;

crate::permissions! {
    /// Read budgets, their cycles and allocations.
    BUDGETS_READ = "budgets:read", implied by ["org:read"];
    /// Open cycles and allocate credits.
    BUDGETS_WRITE = "budgets:write", implied by ["org:write"];
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "budgets",
    "budget",
    Export::Section(Section::many::<Budget>("budgets")),
)
.permissions(PERMISSIONS);

crate::routes! {
    /// What products cost in credits, and how many credits there are.
    budgets declares DECLARATION:
    /// Lists the budgets of all organizations.
    GET "/budgets" LIMITS_READ => list_all;
    /// Lists the organization's budgets, newest first.
    GET "/organizations/{org}/budgets" BUDGETS_READ => list;
    /// Returns the budget of a product with the sums of its active cycle.
    GET "/organizations/{org}/budgets/{product}" BUDGETS_READ => read;
    /// Creates or replaces the budget of a product.
    ///
    /// A change applies to the active cycle at once: its total becomes `credits` and what the cycle
    /// before passed on. With another `cadence` or `renewal_day` the cycle ends on the next renewal
    /// day. The request opens no cycle.
    PUT "/organizations/{org}/budgets/{product}" LIMITS_WRITE => put, local, in_turn;
    /// Deletes the budget of a product with its cycles and allocations. Recorded usage stays.
    DELETE "/organizations/{org}/budgets/{product}" LIMITS_WRITE => delete, local, in_turn;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetFilter {
    /// Only budgets of this product.
    product: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBudget {
    /// The credits of a cycle, at least 0.
    credits: Quantity,
    /// The credits beyond the total that enforcement still admits, at least 0. 0 when absent; null
    /// is unlimited.
    #[serde(default = "none")]
    overflow: Option<Quantity>,
    /// The credits per unit of cost: more than 0, at most 1,000,000, with six decimal places. 1 when
    /// absent.
    #[serde(default = "one", deserialize_with = "factor")]
    factor: Quantity,
    /// The metric of usage that costs credits. `cost` when absent.
    cost_metric: Option<Name>,
    /// The unit of usage that costs credits. `usd` when absent.
    cost_unit: Option<Name>,
    /// Whether the budget and its allocations refuse usage. `observe` when absent.
    enforcement: Option<Enforcement>,
    /// The length of the cycles. `monthly` when absent.
    cadence: Option<Cadence>,
    /// The day of the month on which a cycle ends, 1 to 28, 00:00 UTC. 1 when absent.
    renewal_day: Option<Between<1, 28>>,
    /// The maximum unused credits that a cycle passes on, at least 0. 0 when absent; null is all.
    #[serde(default = "none")]
    rollover_cap: Option<Quantity>,
    /// Whether allocations together never exceed what they are part of. True when absent.
    strict: Option<bool>,
    /// The members of an event's `dims` by which costs are summed, at most 8. `agent`, `connection`,
    /// `guardrail` and `model` when absent.
    dimensions: Option<Vec<Name>>,
    /// Up to 4 percentages of the total, 1 to 100, at which the event `limits.near` is sent. At the
    /// total itself it is `limits.reach`. No event is sent when absent.
    notify_at: Option<Percentages>,
}

fn none() -> Option<Quantity> {
    Some(Quantity::default())
}

fn one() -> Quantity {
    Quantity::from_parts(1, 0)
}

/// The maximum number of dimensions of a budget.
const MOST_DIMENSIONS: usize = 8;
/// The members of a cost that no dimension is named after.
const RESERVED: [&str; 6] = ["group", "user", "day", "cost", "credits", "events"];

fn factor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
    let factor = Quantity::deserialize(deserializer)?;
    if factor > Quantity::default() && factor <= Quantity::from_parts(1_000_000, 0) {
        return Ok(factor);
    }
    let rule = format!("must be more than 0 and at most 1000000 (got {factor})");
    Err(serde::de::Error::custom(rule))
}

/// A budget with the sums of its active cycle.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BudgetUse {
    #[serde(flatten)]
    budget: Budget,
    /// The active cycle; null without one. The sums are 0 then.
    cycle: Option<Cycle>,
    /// The credits of the cycle, with those that the cycle before passed on.
    total: Quantity,
    /// The sum of the allocations of the organization's credits.
    allocated: Quantity,
    unallocated: Quantity,
    used: Quantity,
    /// The credits that are left, at least 0.
    remaining: Quantity,
    /// The credits that were used beyond the total.
    overflow_used: Quantity,
}

impl Resource for BudgetUse {
    const NOUN: &'static str = "budget";
    const PATH: &'static str = "organizations";
    fn name(&self) -> String {
        let product = path_segment(&self.budget.product);
        format!("{}/budgets/{product}", self.budget.organization_id)
    }
}

async fn list_all(
    cx: &mut Cx<Scope>,
    _: Platform,
    list: List<BudgetFilter>,
) -> Result<Page<BudgetUse>> {
    if let Some(product) = &list.filter.product {
        products::refuse_reading(&cx.caller, product)?;
    }
    let query = cx.tx.select("WHERE TRUE");
    let query = query.and_some(" AND product = ?", list.filter.product.as_deref());
    let page = list.page(products::visible(query, &cx.caller, "product")).await?;
    with_uses(&mut cx.tx, page).await
}

async fn list(cx: &mut Cx, _: Org, list: List<NoFilter>) -> Result<Page<BudgetUse>> {
    let query = cx.tx.select("WHERE organization_id = $1").bind(cx.at);
    let page = list.page(products::visible(query, &cx.caller, "product")).await?;
    with_uses(&mut cx.tx, page).await
}

async fn read(cx: &mut Cx, (_, product): (Org, Label)) -> Result<BudgetUse> {
    products::refuse_reading(&cx.caller, product.as_str())?;
    let budget = rows::load(cx, product.as_str()).await?;
    with_use(&mut cx.tx, budget).await
}

async fn put(cx: &mut Cx, (_, product): (Org, Label), new: NewBudget) -> Result<Put<BudgetUse>> {
    products::refuse_changing(&cx.caller, product.as_str())?;
    let product = product.into_string();
    let dimensions = dimensions(new.dimensions)?;
    organizations::touch(cx, cx.at).await?;
    let before = rows::find(cx, &product, true).await?;
    cx.audit.before = before.as_ref().and_then(|before| digits::value_of(before).ok());
    let id = before.as_ref().map_or_else(|| BudgetId::new(&cx.app.random, cx.now), |b| b.id);
    let sql = match before {
        Some(_) => {
            "UPDATE budgets
             SET credits = $4, overflow = $5, factor = $6, cost_metric = $7, cost_unit = $8,
                 enforcement = $9, cadence = $10, renewal_day = $11, rollover_cap = $12,
                 strict = $13, dimensions = $14, updated_at = $15, notify_at = $16
             WHERE id = $1 AND organization_id = $2 AND product = $3"
        }
        None => {
            "INSERT INTO budgets
             (id, organization_id, product, credits, overflow, factor, cost_metric, cost_unit,
              enforcement, cadence, renewal_day, rollover_cap, strict, dimensions, created_at,
              updated_at, notify_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16)"
        }
    };
    let at = before.as_ref().map_or(cx.now, |before| after(before.updated_at, cx.now));
    let text = |name: Option<Name>, default: &str| {
        name.map_or_else(|| default.to_owned(), Name::into_string)
    };
    let write = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(cx.at)
        .bind(product)
        .bind(new.credits)
        .bind(new.overflow)
        .bind(new.factor)
        .bind(text(new.cost_metric, "cost"))
        .bind(text(new.cost_unit, "usd"))
        .bind(new.enforcement.unwrap_or(Enforcement::Observe))
        .bind(new.cadence.unwrap_or(Cadence::Monthly))
        .bind(new.renewal_day.map_or(1, |day| day.0))
        .bind(new.rollover_cap)
        .bind(new.strict.unwrap_or(true))
        .bind(dimensions)
        .bind(at)
        .bind(new.notify_at);
    // Another request has created the budget since; start over.
    let budget: Budget = write.one().await.on_conflict("budgets_product", Error::stale)?;
    let Some(before) = before else { return with_use(&mut cx.tx, budget).await.map(Put::New) };
    renewal::follow(cx, &before, &budget).await?;
    with_use(&mut cx.tx, budget).await.map(Put::Known)
}

async fn delete(cx: &mut Cx, (_, product): (Org, Label)) -> Result<NoContent> {
    products::refuse_changing(&cx.caller, product.as_str())?;
    organizations::touch(cx, cx.at).await?;
    let budget = rows::hold(cx, product.as_str()).await?;
    let sql = "DELETE FROM budgets WHERE id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(budget.id).bind(cx.at).exec().await?;
    cx.audit.before = digits::value_of(&budget).ok();
    Ok(NoContent)
}

fn dimensions(given: Option<Vec<Name>>) -> Result<Texts> {
    let names: Vec<String> = match given {
        Some(names) => names.into_iter().map(Name::into_string).collect(),
        None => ["agent", "connection", "guardrail", "model"].map(str::to_owned).to_vec(),
    };
    let refused = |rule: String| Err(Error::invalid("dimensions", format!("`dimensions` {rule}.")));
    if names.len() > MOST_DIMENSIONS {
        return refused(format!("must have at most {MOST_DIMENSIONS} names (got {})", names.len()));
    }
    for (n, name) in names.iter().enumerate() {
        if RESERVED.contains(&&**name) || name.contains(',') {
            return refused(format!("must not contain `{name}`, which has another meaning"));
        }
        if names[..n].contains(name) {
            return refused(format!("must not contain `{name}` twice"));
        }
    }
    Texts::bounded("dimensions", names)
}

async fn with_uses(tx: &mut Conn, page: Page<Budget>) -> Result<Page<BudgetUse>> {
    let mut items = Vec::with_capacity(page.items.len());
    for budget in page.items {
        items.push(with_use(tx, budget).await?);
    }
    Ok(Page { items, next_cursor: page.next_cursor })
}

async fn with_use(tx: &mut Conn, budget: Budget) -> Result<BudgetUse> {
    let row = cycle_rows::active(tx, &budget).await?;
    let (total, allocated, used) = match &row {
        None => Default::default(),
        Some(row) => {
            let allocated = allocation_rows::allocated(tx, row).await?;
            (row.total(), allocated, used(tx, row).await?)
        }
    };
    Ok(BudgetUse {
        cycle: row.map(|row| row.shown(used)),
        total,
        allocated,
        unallocated: total.less(allocated),
        used,
        remaining: total.less(used),
        overflow_used: used.less(total),
        budget,
    })
}
