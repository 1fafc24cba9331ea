//! Costs: the cost of a product and its credits, by day, group, person and dimensions.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::budgets::cycle_rows as cycles;
use super::budgets::rows as budgets;
use super::quantity::Quantity;
use super::usage::UsageEvent;
use crate::identity::scopes::{self, ScopeRef};
use crate::kernel::access::ids::UserId;
use crate::kernel::access::place::Org;
use crate::kernel::access::products;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::text::quoted;
use crate::tenancy::ids::GroupId;

pub static DECLARATION: Declaration = Declaration::of_organization(
    "usage_costs",
    "cost",
    Export::LeftOut("costs are derived from usage"),
);

crate::routes! {
    /// The cost of products, by dimension, group, person and day.
    costs declares DECLARATION:
    /// Sums the cost and the credits of a product, by dimensions, group, person or day.
    ///
    /// Items are sorted by credits and then by cost, the largest first. A dimension that an event
    /// did not have is null.
    GET "/organizations/{org}/usage/costs" USAGE_READ => read as "costs.sum";
}

/// The maximum length of a dimension's value; longer values are cut.
const LONGEST_VALUE: usize = 255;
/// The maximum number of rows of one statement.
const CHUNK: usize = 100;
/// The maximum number of items of an answer.
const MOST_ITEMS: usize = 10_000;

/// The cost of one event.
pub struct Cost {
    product: String,
    day: i64,
    group: Uuid,
    user: Uuid,
    dims: String,
    cost: Quantity,
    credits: Quantity,
}

impl Cost {
    pub fn new(event: &UsageEvent, credits: Quantity, dimensions: &[String]) -> Self {
        let dims: BTreeMap<&str, &str> = dimensions
            .iter()
            .filter_map(|name| Some((&**name, cut(event.dims.get(name)?.as_str()?))))
            .collect();
        Self {
            product: event.product.clone(),
            day: event.observed_at.timestamp().div_euclid(24 * 3600),
            group: event.group_id.map_or(Uuid::nil(), |id| id.0),
            user: event.user_id.map_or(Uuid::nil(), |id| id.0),
            // Sorted names and no white space: equal dimensions are equal strings.
            dims: json!(dims).to_string(),
            cost: event.quantity,
            credits,
        }
    }
}

/// Returns at most the first [`LONGEST_VALUE`] characters.
fn cut(value: &str) -> &str {
    value.char_indices().nth(LONGEST_VALUE).map_or(value, |(end, _)| &value[..end])
}

#[derive(Clone, Copy, Default)]
struct Sum {
    cost: Quantity,
    credits: Quantity,
    events: i64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.cost += other.cost;
        self.credits += other.credits;
        self.events += other.events;
    }
}

/// Adds costs, with one row for each day, group, person and set of dimensions.
pub async fn add(cx: &mut Cx, costs: Vec<Cost>) -> Result<()> {
    // Sorted, so that all transactions lock the rows in one order.
    let mut sums: BTreeMap<(String, i64, Uuid, Uuid, String), Sum> = BTreeMap::new();
    for Cost { product, day, group, user, dims, cost, credits } in costs {
        let sum = sums.entry((product, day, group, user, dims)).or_default();
        sum.add(Sum { cost, credits, events: 1 });
    }
    let (org, sums) = (cx.at, sums.into_iter().collect::<Vec<_>>());
    for chunk in sums.chunks(CHUNK) {
        let sql = "INSERT INTO usage_costs
                   (organization_id, product, day, group_id, user_id, dims, cost_units,
                    cost_micros, credit_units, credit_micros, events) VALUES ";
        let insert = cx.tx.q(sql).rows(chunk, |query, ((product, day, group, user, dims), sum)| {
            let (cost_units, cost_micros) = sum.cost.parts();
            let (credit_units, credit_micros) = sum.credits.parts();
            let query = query.bind(org).bind(&**product).bind(*day).bind(*group).bind(*user);
            let query = query.bind(&**dims).bind(cost_units).bind(cost_micros);
            query.bind(credit_units).bind(credit_micros).bind(sum.events)
        });
        let insert = insert.sql(
            " ON CONFLICT (organization_id, product, day, group_id, user_id, dims) DO UPDATE
              SET cost_units = usage_costs.cost_units + excluded.cost_units,
                  cost_micros = usage_costs.cost_micros + excluded.cost_micros,
                  credit_units = usage_costs.credit_units + excluded.credit_units,
                  credit_micros = usage_costs.credit_micros + excluded.credit_micros,
                  events = usage_costs.events + excluded.events",
        );
        insert.exec().await?;
    }
    Ok(())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostFilter {
    /// The product, which has a budget.
    product: String,
    /// The first day, `YYYY-MM-DD` in UTC. The first day of the active cycle when absent.
    since: Option<NaiveDate>,
    /// The last day, inclusive. The last day of the active cycle, or today, when absent.
    until: Option<NaiveDate>,
    /// The properties to sum by, separated by commas: dimensions of the budget, `group`, `user`,
    /// `day`. All dimensions of the budget when absent.
    group_by: Option<String>,
    /// Only costs of this group and of the groups below it.
    group: Option<GroupId>,
    /// Only costs of this person.
    user: Option<UserId>,
}

/// The costs of a product.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Costs {
    product: String,
    since: NaiveDate,
    /// The last day, inclusive.
    until: NaiveDate,
    items: Vec<CostItem>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct CostItem {
    /// A member for each property of `group_by`; null where the usage has none.
    #[serde(flatten)]
    by: Map<String, Value>,
    cost: Quantity,
    credits: Quantity,
    /// The number of events in the sums.
    events: i64,
}

type CostRow = (i64, Uuid, Uuid, String, i64, i64, i64, i64, i64);

async fn read(cx: &mut Cx, _: Org, filter: CostFilter) -> Result<Costs> {
    products::refuse_reading(&cx.caller, &filter.product)?;
    let budget = budgets::load(cx, &filter.product).await.map_err(|error| error.at("product"))?;
    let by = properties(filter.group_by.as_deref(), &budget.dimensions)?;
    let cycle = cycles::active(&mut cx.tx, &budget).await?;
    let today = cx.now.date_naive();
    let begin = cycle.as_ref().map_or(today, |cycle| cycle.starts_at.date_naive());
    let end = cycle.as_ref().and_then(|cycle| cycle.interval().until);
    let (since, until) = (
        filter.since.unwrap_or(begin),
        filter.until.unwrap_or(end.map_or(today, |end| end.date_naive())),
    );
    if since > until {
        let detail = format!("`since` must be at most `until`, {until} (got {since}).");
        return Err(Error::invalid("since", detail));
    }
    let sql = "SELECT day, group_id, user_id, dims, CAST(SUM(cost_units) AS BIGINT),
                      CAST(SUM(cost_micros) AS BIGINT), CAST(SUM(credit_units) AS BIGINT),
                      CAST(SUM(credit_micros) AS BIGINT), CAST(SUM(events) AS BIGINT)
               FROM usage_costs
               WHERE organization_id = $1 AND product = $2 AND day >= $3 AND day <= $4";
    let query = cx.tx.q(sql).bind(cx.at).bind(&*budget.product);
    let query = query.bind(days(since)).bind(days(until));
    let query = query.and_some(" AND user_id = ?", filter.user);
    let query = query.and_some(crate::in_or_below!("group_id"), filter.group);
    let rows: Vec<CostRow> = query.sql(" GROUP BY day, group_id, user_id, dims").all().await?;
    if rows.is_empty() {
        // A group or person with costs exists, or existed.
        let named = [
            (filter.group.map(ScopeRef::group), "group"),
            (filter.user.map(ScopeRef::user), "user"),
        ];
        for (scope, field) in named {
            scopes::refuse_missing(cx, scope.as_slice(), &[field.to_owned()]).await?;
        }
    }
    let items = items(rows, &by)?;
    if items.len() > MOST_ITEMS {
        let detail =
            format!("`since` to `until` has more than {MOST_ITEMS} sums. Request a shorter time.");
        return Err(Error::invalid("since", detail));
    }
    Ok(Costs { product: budget.product, since, until, items })
}

/// Reads the properties to sum by.
fn properties(given: Option<&str>, dimensions: &[String]) -> Result<Vec<String>> {
    let Some(given) = given else { return Ok(dimensions.to_vec()) };
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for name in given.split(',').filter(|name| seen.insert(*name)) {
        if !["group", "user", "day"].contains(&name) && !dimensions.iter().any(|one| one == name) {
            let detail = format!(
                "`group_by` must be a list of {}, group, user and day (got {}).",
                dimensions.join(", "),
                quoted(name)
            );
            return Err(Error::invalid("group_by", detail));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Sums the rows by the properties.
fn items(rows: Vec<CostRow>, by: &[String]) -> Result<Vec<CostItem>> {
    let mut sums: HashMap<String, (Map<String, Value>, Sum)> = HashMap::new();
    for (day, group, user, dims, cost_units, cost_micros, units, micros, events) in rows {
        let dims: Map<String, Value> = serde_json::from_str(&dims).map_err(Error::internal)?;
        let id = |id: Uuid| if id.is_nil() { Value::Null } else { json!(id) };
        let value = |name: &String| match name.as_str() {
            "group" => id(group),
            "user" => id(user),
            "day" => json!(date(day)),
            name => dims.get(name).cloned().unwrap_or(Value::Null),
        };
        let key: Map<String, Value> = by.iter().map(|name| (name.clone(), value(name))).collect();
        let sum = sums.entry(json!(key).to_string()).or_insert_with(|| (key, Sum::default()));
        let (cost, credits) =
            (Quantity::from_parts(cost_units, cost_micros), Quantity::from_parts(units, micros));
        sum.1.add(Sum { cost, credits, events });
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by(|(a_key, (_, a)), (b_key, (_, b))| {
        (b.credits, b.cost).cmp(&(a.credits, a.cost)).then_with(|| a_key.cmp(b_key))
    });
    let item = |(_, (by, Sum { cost, credits, events }))| CostItem { by, cost, credits, events };
    Ok(sums.into_iter().map(item).collect())
}

/// Returns the days since 1970.
fn days(date: NaiveDate) -> i64 {
    date.and_time(NaiveTime::MIN).and_utc().timestamp().div_euclid(24 * 3600)
}

fn date(days: i64) -> Option<NaiveDate> {
    let epoch = DateTime::<Utc>::UNIX_EPOCH.date_naive();
    epoch.checked_add_days(Days::new(u64::try_from(days).ok()?))
}
