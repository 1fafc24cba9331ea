//! The rows of budgets.

use chrono::{DateTime, Utc};

use super::cadence::Cadence;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::record::Texts;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::metering::ids::BudgetId;
use crate::metering::limits::percentages::Percentages;
use crate::metering::limits::row::Enforcement;
use crate::metering::quantity::Quantity;

/// The metric of credits. The product is the unit.
pub const CREDITS: &str = "credits";

crate::record! {
    /// The cost of a product in credits, and the credits that there are.
    Budget in budgets {
        id: BudgetId,
        organization_id: OrganizationId,
        product: String,
        /// The credits of a cycle, without what the cycle before passed on.
        credits: Quantity,
        /// The credits beyond the total that enforcement still admits; null is unlimited.
        overflow: Option<Quantity>,
        /// The credits per unit of cost.
        factor: Quantity,
        /// The metric of usage that costs credits.
        cost_metric: String,
        /// The unit of usage that costs credits.
        cost_unit: String,
        enforcement: Enforcement,
        cadence: Cadence,
        /// The day of the month on which a cycle ends, 00:00 UTC.
        renewal_day: i64,
        /// The maximum unused credits that a cycle passes on; null is all.
        rollover_cap: Option<Quantity>,
        /// Whether allocations together never exceed what they are part of.
        strict: bool,
        /// The members of an event's `dims` by which costs are summed.
        dimensions: Texts,
        /// The percentages of the total at which an event is sent; null is none.
        notify_at: Option<Percentages>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

impl Budget {
    /// Returns whether usage of this metric and unit costs credits.
    pub fn costs(&self, metric: &str, unit: &str) -> bool {
        self.cost_metric == metric && self.cost_unit == unit
    }
}

/// Returns the budget of the product.
pub async fn load(cx: &mut Cx, product: &str) -> Result<Budget> {
    find(cx, product, false).await?.ok_or_else(|| Error::not_found("budget"))
}

/// Locks the budget until the end of the transaction. Every change of its cycles and allocations
/// takes this lock first.
pub async fn hold(cx: &mut Cx, product: &str) -> Result<Budget> {
    find(cx, product, true).await?.ok_or_else(|| Error::not_found("budget"))
}

/// Locks all budgets of the organization, in one order.
pub async fn hold_all(cx: &mut Cx) -> Result<()> {
    let rows = cx.tx.select("WHERE organization_id = $1 ORDER BY id").bind(cx.at).locked();
    rows.all().await.map(|_: Vec<Budget>| ())?;
    Ok(())
}

pub async fn find(cx: &mut Cx, product: &str, locked: bool) -> Result<Option<Budget>> {
    let row = cx.tx.select("WHERE organization_id = $1 AND product = $2").bind(cx.at).bind(product);
    let row = if locked { row.locked() } else { row };
    Ok(row.opt().await?)
}

/// Returns the budgets of these products.
pub async fn of_products<'p>(
    cx: &mut Cx,
    products: impl IntoIterator<Item = &'p str>,
) -> Result<Vec<Budget>> {
    let rows = cx.tx.select("WHERE organization_id = $1 AND product IN (VALUES ").bind(cx.at);
    let rows = rows.rows(products, |query, product| query.bind(product));
    Ok(rows.sql(")").all().await?)
}
