//! The rows of budgets.

use chrono::{DateTime, Datelike, Months, NaiveTime, Utc};

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::record::Texts;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::metering::ids::BudgetId;
use crate::metering::limits::percentages::Percentages;
use crate::metering::limits::row::Enforcement;
use crate::metering::limits::windows::Period;
use crate::metering::quantity::Quantity;

/// The metric of credits. The product is the unit.
pub const CREDITS: &str = "credits";

crate::text_enum! {
    /// The length of a budget's cycles. A caller ends a `manual` cycle.
    Cadence {
        Monthly = "monthly",
        Quarterly = "quarterly",
        Yearly = "yearly",
        Manual = "manual",
    }
}

impl Cadence {
    /// Returns the end of a cycle that begins at `start`. The end is a renewal day, 00:00 UTC. A
    /// cycle that begins between renewal days is shorter than the others.
    pub fn end_after(self, start: DateTime<Utc>, renewal_day: i64) -> Option<DateTime<Utc>> {
        let months = match self {
            Self::Monthly => 1,
            Self::Quarterly => 3,
            Self::Yearly => 12,
            Self::Manual => return None,
        };
        let day = u32::try_from(renewal_day).ok()?;
        let first = start.date_naive().with_day(day)?.and_time(NaiveTime::MIN).and_utc();
        let next = if first > start { first } else { first.checked_add_months(Months::new(1))? };
        next.checked_add_months(Months::new(months - 1))
    }

    /// Returns the period that the rows of a cycle's limits have.
    pub fn period(self) -> Period {
        match self {
            Self::Monthly | Self::Manual => Period::Monthly,
            Self::Quarterly => Period::Quarterly,
            Self::Yearly => Period::Yearly,
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn cycles_end_on_renewal_days() {
        for (cadence, start, day, end) in [
            (Cadence::Monthly, "2026-01-15T08:00:00Z", 1, "2026-02-01T00:00:00Z"),
            (Cadence::Monthly, "2026-02-01T00:00:00Z", 1, "2026-03-01T00:00:00Z"),
            (Cadence::Monthly, "2026-01-31T23:59:59Z", 28, "2026-02-28T00:00:00Z"),
            (Cadence::Monthly, "2026-01-15T00:00:00Z", 20, "2026-01-20T00:00:00Z"),
            (Cadence::Quarterly, "2026-01-01T00:00:00Z", 1, "2026-04-01T00:00:00Z"),
            (Cadence::Yearly, "2026-12-28T00:00:00.000001Z", 28, "2027-12-28T00:00:00Z"),
        ] {
            assert_eq!(cadence.end_after(at(start), day), Some(at(end)), "{cadence} {start}");
        }
        assert_eq!(Cadence::Manual.end_after(at("2026-01-01T00:00:00Z"), 1), None);
    }
}
