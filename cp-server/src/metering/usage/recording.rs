//! The recording of usage: one transaction writes all events, each once, and counts them.
//!
//! # Design
//! Events are written first. An event whose key is taken was recorded before; a concurrent
//! recording of the same key waits here. The limits are locked only after that, because other
//! recordings wait for them. A refused event is deleted again before it is counted.

mod credits;
mod item;
mod references;

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use cp_contracts::ProblemCode;

use self::item::{Fate, Item, Key, open};
use super::event::{NewUsageEvent, UsageEvent};
use crate::kernel::access::caller::Scope;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::text::{ExternalId, Label, Name};
use crate::metering::counters;
use crate::metering::ids::UsageEventId;
use crate::metering::limits::{Enforced, Enforcement};

/// The maximum number of rows of one statement. One statement of each length is prepared, so the
/// number is small.
const CHUNK: usize = 100;
/// The maximum number of combinations of metric, unit, project and group in one array.
const MOST_SERIES: usize = 100;
/// The maximum number of people in one array: each has its own counters.
const MOST_PEOPLE: usize = 200;
/// The maximum number of hours of `observed_at` in one array; a week of hourly sums fits.
const MOST_HOURS: usize = 200;

/// The outcome of an event.
#[derive(Debug)]
pub enum Outcome {
    New(UsageEvent),
    /// An earlier request recorded it.
    Known(UsageEvent),
    Refused(Error),
}

impl Outcome {
    pub fn status(&self) -> u16 {
        match self {
            Self::New(_) => 201,
            Self::Known(_) => 200,
            Self::Refused(error) => error.code().status(),
        }
    }
}

/// Returns the refusal of a key that another event of the same deployment has.
fn key_reused() -> Error {
    let detail = "`idempotency_key` belongs to a recorded event with another content. Use a new key, \
                  or send the same event.";
    Error::conflict(detail).at("idempotency_key")
}

/// Events that are ready to be recorded. All work that needs no database is done before the
/// transaction.
pub struct Batch(Vec<Item>);

impl Batch {
    pub fn new(cx: &Cx, events: Vec<NewUsageEvent>) -> Result<Self> {
        let mut items = Vec::with_capacity(events.len());
        for (n, event) in events.into_iter().enumerate() {
            items.push(item(cx, n, event)?);
        }
        mark_twins(&mut items);
        Ok(Self(items))
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Refuses an array that would occupy the writer for long: each series and each hour has its
    /// own counters.
    ///
    /// # Errors
    /// Fails with 422 naming `metric` or `observed_at`.
    pub fn refuse_scattered(&self) -> Result<()> {
        let events = || self.0.iter().map(|item| &item.event);
        let series: HashSet<_> = events()
            .map(|event| (event.project_id, event.group_id, &event.metric, &event.unit))
            .collect();
        if series.len() > MOST_SERIES {
            let detail = format!(
                "`metric`, `unit`, `project_id` and `group_id` must have at most {MOST_SERIES} \
                 different combinations in one array (got {}). Split the array.",
                series.len()
            );
            return Err(Error::invalid("metric", detail));
        }
        let people: HashSet<_> = events().filter_map(|event| event.user_id).collect();
        if people.len() > MOST_PEOPLE {
            let detail = format!(
                "`user_id` must name at most {MOST_PEOPLE} different people in one array (got {}). \
                 Split the array.",
                people.len()
            );
            return Err(Error::invalid("user_id", detail));
        }
        let hours: HashSet<_> =
            events().map(|event| event.observed_at.timestamp().div_euclid(3600)).collect();
        if hours.len() > MOST_HOURS {
            let detail = format!(
                "`observed_at` must be in at most {MOST_HOURS} different hours (UTC) in one array \
                 (got {}). Split the array.",
                hours.len()
            );
            return Err(Error::invalid("observed_at", detail));
        }
        Ok(())
    }

    /// Records the events in the open transaction. Returns their outcomes in their order.
    pub async fn record(self, cx: &mut Cx) -> Result<Vec<Outcome>> {
        let mut items = self.0;
        references::resolve(cx, &mut items).await?;
        let budgets = credits::set(cx, &mut items).await?;
        insert(cx, &mut items).await?;
        refuse_beyond_limits(cx, &mut items).await?;
        let tallies: Vec<_> = open(&items).flat_map(Item::tallies).collect();
        counters::add(cx, &tallies).await?;
        credits::add_costs(cx, &items, &budgets).await?;
        Ok(outcomes(items))
    }
}

fn item(cx: &Cx, n: usize, new: NewUsageEvent) -> Result<Item> {
    // The IDs are a microsecond apart, so that they sort in the order of the array.
    let place = i64::try_from(n).unwrap_or(0);
    let id = UsageEventId::new(&cx.app.random, cx.now + TimeDelta::microseconds(place));
    let deployment_id = match cx.caller.scope {
        Scope::Deployment { deployment_id: own, .. } => {
            if new.deployment_id.is_some_and(|named| named != own) {
                let detail = "`deployment_id` must be the deployment of the token.";
                return Err(Error::new(ProblemCode::Forbidden, detail).at("deployment_id"));
            }
            Some(own)
        }
        _ => new.deployment_id,
    };
    let dated = new.observed_at.map(|at| at.0);
    let (observed_at, fate) = match new.observed_at.map(|at| at.happened("observed_at", cx.now)) {
        None => (cx.now, Fate::Open),
        Some(Ok(at)) => (at, Fate::Open),
        // A refused event does not stop the others, and is not counted.
        Some(Err(error)) => (cx.now, Fate::Refused(error)),
    };
    let event = UsageEvent {
        id,
        organization_id: cx.at,
        project_id: new.project_id,
        deployment_id,
        product: new.product.map(Label::into_string).unwrap_or_default(),
        group_id: new.group_id,
        user_id: new.user_id,
        run_id: new.run_id.map(ExternalId::into_string),
        metric: new.metric.into_string(),
        unit: new.unit.map_or_else(|| "count".to_owned(), Name::into_string),
        quantity: new.quantity,
        credits: None,
        credit_factor: None,
        dims: new.dims,
        metadata: new.metadata,
        idempotency_key: new.idempotency_key.map(ExternalId::into_string),
        observed_at,
        recorded_at: cx.now,
    };
    let asks = new.mode == Some(Enforcement::Enforce);
    Ok(Item { event, scopes: Vec::new(), asks, dated, fate })
}

fn mark_twins(items: &mut [Item]) {
    let mut first: HashMap<Key, usize> = HashMap::new();
    for n in 0..items.len() {
        let Some(key) = items[n].key().filter(|_| items[n].is_open()) else { continue };
        let Some(first) = first.get(&key).copied() else {
            first.insert(key, n);
            continue;
        };
        let is_repeated = items[n].repeats(&items[first].event);
        items[n].fate = if is_repeated { Fate::Twin(first) } else { Fate::Refused(key_reused()) };
    }
}

/// Writes the open events, and marks those that were recorded before.
async fn insert(cx: &mut Cx, items: &mut [Item]) -> Result<()> {
    let new: Vec<&UsageEvent> = open(items).map(|item| &item.event).collect();
    let mut inserted = 0;
    for chunk in new.chunks(CHUNK) {
        let sql = "INSERT INTO usage_events
                   (id, organization_id, project_id, deployment_id, product, group_id, user_id,
                    run_id, metric, unit, quantity, credits, credit_factor, dims, metadata,
                    idempotency_key, observed_at, recorded_at) VALUES ";
        let insert = cx.tx.q(sql).rows(chunk, |query, event| {
            query
                .bind(event.id)
                .bind(event.organization_id)
                .bind(event.project_id)
                .bind(event.deployment_id)
                .bind(&*event.product)
                .bind(event.group_id)
                .bind(event.user_id)
                .bind(event.run_id.as_deref())
                .bind(&*event.metric)
                .bind(&*event.unit)
                .bind(event.quantity)
                .bind(event.credits)
                .bind(event.credit_factor)
                .bind(&event.dims)
                .bind(&event.metadata)
                .bind(event.idempotency_key.as_deref())
                .bind(event.observed_at)
                .bind(event.recorded_at)
        });
        inserted += insert.sql(" ON CONFLICT DO NOTHING").exec().await?;
    }
    if inserted == new.len() as u64 {
        return Ok(());
    }
    let keys = new.iter().filter_map(|event| event.idempotency_key.as_deref());
    let found = cx
        .tx
        .select::<UsageEvent>("WHERE organization_id = $1")
        .bind(cx.at)
        .sql(" AND idempotency_key IN (VALUES ")
        .rows(keys, |query, key| query.bind(key))
        .sql(")");
    let key =
        |event: UsageEvent| Some(((event.deployment_id, event.idempotency_key.clone()?), event));
    let mut found: HashMap<Key, UsageEvent> =
        found.all().await?.into_iter().filter_map(key).collect();
    for item in items.iter_mut().filter(|item| item.is_open()) {
        let Some(event) = item.key().and_then(|key| found.remove(&key)) else { continue };
        if event.id == item.event.id {
            continue;
        }
        if item.repeats(&event) {
            (item.event, item.fate) = (event, Fate::Known);
        } else {
            item.fate = Fate::Refused(key_reused());
        }
    }
    Ok(())
}

async fn refuse_beyond_limits(cx: &mut Cx, items: &mut [Item]) -> Result<()> {
    if !open(items).any(|item| item.asks) {
        return Ok(());
    }
    let events: Vec<_> = open(items)
        .flat_map(|item| item.tallies().into_iter().map(|tally| (tally, item.asks)))
        .collect();
    let mut limits = Enforced::hold(cx, &events).await?;
    let mut refused = Vec::new();
    for (n, item) in items.iter().enumerate() {
        if !item.is_open() {
            continue;
        }
        match limits.admit(cx, &item.tallies(), item.asks).await {
            Ok(()) => {}
            Err(error) if *error.code() == ProblemCode::LimitExceeded => refused.push((n, error)),
            Err(error) => return Err(error),
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let ids = refused.iter().map(|(n, _)| items[*n].event.id);
    let sql = "DELETE FROM usage_events WHERE organization_id = $1 AND id IN (VALUES ";
    let delete = cx.tx.q(sql).bind(cx.at).rows(ids, |query, id| query.bind(id));
    delete.sql(")").exec().await?;
    for (n, error) in refused {
        items[n].fate = Fate::Refused(error);
    }
    Ok(())
}

fn outcomes(items: Vec<Item>) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(items.len());
    for Item { event, fate, .. } in items {
        let outcome = match fate {
            Fate::Open => Outcome::New(event),
            Fate::Known => Outcome::Known(event),
            Fate::Refused(error) => Outcome::Refused(error),
            Fate::Twin(first) => match &outcomes[first] {
                Outcome::New(event) | Outcome::Known(event) => Outcome::Known(event.clone()),
                Outcome::Refused(error) => {
                    let detail = "An earlier event of this array with the same `idempotency_key` was refused.";
                    Outcome::Refused(Error::new(error.code().clone(), detail))
                }
            },
        };
        outcomes.push(outcome);
    }
    outcomes
}
