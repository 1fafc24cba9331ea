//! The credits of events whose product has a budget.

use std::collections::BTreeSet;

use super::item::{Fate, Item, open};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::text::quoted;
use crate::metering::budgets::rows::{self as budgets, Budget, CREDITS};
use crate::metering::costs::{self, Cost};
use crate::metering::quantity::Quantity;

/// Sets the credits of the events that cost some. Returns the budgets of their products.
pub(super) async fn set(cx: &mut Cx, items: &mut [Item]) -> Result<Vec<Budget>> {
    let products: BTreeSet<&str> = open(items)
        .flat_map(|item| {
            let event = &item.event;
            let unit = Some(&*event.unit).filter(|_| event.metric == CREDITS);
            unit.into_iter().chain([&*event.product])
        })
        .filter(|product| !product.is_empty())
        .collect();
    if products.is_empty() {
        return Ok(Vec::new());
    }
    let found = budgets::of_products(cx, products).await?;
    for item in items.iter_mut().filter(|item| item.is_open()) {
        let event = &mut item.event;
        if event.metric == CREDITS && found.iter().any(|one| one.product == event.unit) {
            let detail = format!(
                "`metric` must not be `{CREDITS}` with the unit {}: the server counts the credits of \
                 a product that has a budget.",
                quoted(&event.unit)
            );
            item.fate = Fate::Refused(Error::invalid("metric", detail));
            continue;
        }
        let costs =
            |one: &&Budget| one.product == event.product && one.costs(&event.metric, &event.unit);
        let Some(budget) = found.iter().find(costs) else { continue };
        let credits = event.quantity.times(budget.factor);
        if credits > Quantity::MOST {
            let detail =
                format!("`quantity` must cost at most {} credits (got {credits}).", Quantity::MOST);
            item.fate = Fate::Refused(Error::invalid("quantity", detail));
            continue;
        }
        (event.credits, event.credit_factor) = (Some(credits), Some(budget.factor));
    }
    Ok(found)
}

/// Adds the costs of the recorded events.
pub(super) async fn add_costs(cx: &mut Cx, items: &[Item], budgets: &[Budget]) -> Result<()> {
    let costs: Vec<Cost> = open(items)
        .filter_map(|item| {
            let event = &item.event;
            let budget = budgets.iter().find(|one| one.product == event.product)?;
            Some(Cost::new(event, event.credits?, &budget.dimensions))
        })
        .collect();
    costs::add(cx, costs).await
}
