//! Recording: events go in together, each once, and are counted in the same transaction.
//!
//! # Design
//! Events are written first: what their keys collide with was recorded before, and whoever records
//! the same key at this moment waits. Only then are the limits held, because holding them is what
//! others wait for most. What a limit refuses is taken out again before it was counted.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;

use super::event::{NewUsageEvent, UsageEvent};
use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::{DeploymentId, ProjectId};
use crate::kernel::db::values::{Row, Value};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::CLOCK_SKEW;
use crate::kernel::text::{ExternalId, Name};
use crate::metering::counters::{self, Tally};
use crate::metering::ids::UsageEventId;
use crate::metering::limits::{Enforced, Enforcement};

/// Rows of one statement: one of each length is prepared, so there must not be a thousand.
const CHUNK: usize = 100;
/// Combinations of metric, unit and project in one array.
const MOST_SERIES: usize = 100;
/// Hours of `observed_at` in one array: a week of hourly sums fits.
const MOST_HOURS: usize = 200;

/// What became of an event.
#[derive(Debug)]
pub enum Outcome {
    New(UsageEvent),
    /// It was recorded before.
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

/// An event on its way.
struct Item {
    event: UsageEvent,
    /// Whether it asks to be refused when it goes beyond a limit.
    asks: bool,
    /// When it was observed, as the caller reports it.
    dated: Option<DateTime<Utc>>,
    fate: Fate,
}

enum Fate {
    Open,
    Known,
    Refused(Error),
    /// It has the key of an earlier one of the same request.
    Twin(usize),
}

impl Item {
    fn tally(&self) -> Tally<'_> {
        Tally {
            project: self.event.project_id,
            metric: &self.event.metric,
            unit: &self.event.unit,
            quantity: self.event.quantity,
            at: self.event.observed_at,
        }
    }

    /// What the event is recorded once by: its deployment's key, or the organization's.
    fn key(&self) -> Option<Key> {
        let key = self.event.idempotency_key.clone()?;
        Some((self.event.deployment_id, key))
    }

    /// Whether the event, sent again, says the same as the recorded one.
    fn repeats(&self, recorded: &UsageEvent) -> bool {
        let event = &self.event;
        (event.project_id, &event.run_id) == (recorded.project_id, &recorded.run_id)
            && (&event.metric, &event.unit) == (&recorded.metric, &recorded.unit)
            && event.quantity == recorded.quantity
            && (&event.dims, &event.metadata) == (&recorded.dims, &recorded.metadata)
            && self.dated.is_none_or(|at| is_of(at, recorded))
    }

    fn is_open(&self) -> bool {
        matches!(self.fate, Fate::Open)
    }
}

/// Whether the recorded event was reported with this instant, which counted as now if it was ahead.
fn is_of(reported: DateTime<Utc>, recorded: &UsageEvent) -> bool {
    let recorded_at = recorded.recorded_at;
    let counted_as_now = recorded.observed_at == recorded_at
        && (recorded_at..=recorded_at + CLOCK_SKEW).contains(&reported);
    reported == recorded.observed_at || counted_as_now
}

type Key = (Option<DeploymentId>, String);

/// Another event has the key, of the same deployment.
fn key_reused() -> Error {
    let detail = "`idempotency_key` was used for an event with another content. Use a new key, or send \
                  the same event.";
    Error::conflict(detail).at("idempotency_key")
}

/// Events that are ready to be recorded. All that needs no database is done before the transaction.
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

    /// Refuses what would hold the writer for long: each series and each hour has counters of its
    /// own.
    ///
    /// # Errors
    /// 422 naming `metric` or `observed_at`.
    pub fn refuse_scattered(&self) -> Result<()> {
        let tallies = || self.0.iter().map(Item::tally);
        let series: HashSet<_> =
            tallies().map(|tally| (tally.project, tally.metric, tally.unit)).collect();
        if series.len() > MOST_SERIES {
            let detail = format!(
                "`metric`, `unit` and `project_id` must have at most {MOST_SERIES} different \
                 combinations in one array (got {}). Split the array.",
                series.len()
            );
            return Err(Error::invalid("metric", detail));
        }
        let hours: HashSet<_> =
            tallies().map(|tally| tally.at.timestamp().div_euclid(3600)).collect();
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

    /// Records the events in the open transaction; what became of each is answered in their order.
    pub async fn record(self, cx: &mut Cx) -> Result<Vec<Outcome>> {
        let mut items = self.0;
        refuse_unknown(cx, &mut items).await?;
        insert(cx, &mut items).await?;
        refuse_beyond_limits(cx, &mut items).await?;
        let tallies: Vec<_> = open(&items).map(Item::tally).collect();
        counters::add(cx, &tallies).await?;
        Ok(outcomes(items))
    }
}

fn item(cx: &Cx, n: usize, new: NewUsageEvent) -> Result<Item> {
    // A microsecond apart, so that they sort in the order in which they were sent.
    let place = i64::try_from(n).unwrap_or(0);
    let id = UsageEventId::new(&cx.app.random, cx.now + TimeDelta::microseconds(place));
    let deployment_id = match cx.caller.scope {
        Scope::Deployment { deployment_id: own, .. } => {
            if new.deployment_id.is_some_and(|named| named != own) {
                let detail = "deployment_id: a deployment's token records its own usage only.";
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
        // It stops none of the other events, and is counted nowhere.
        Some(Err(error)) => (cx.now, Fate::Refused(error)),
    };
    let event = UsageEvent {
        id,
        organization_id: cx.at,
        project_id: new.project_id,
        deployment_id,
        run_id: new.run_id.map(ExternalId::into_string),
        metric: new.metric.into_string(),
        unit: new.unit.map_or_else(|| "count".to_owned(), Name::into_string),
        quantity: new.quantity,
        dims: new.dims,
        metadata: new.metadata,
        idempotency_key: new.idempotency_key.map(ExternalId::into_string),
        observed_at,
        recorded_at: cx.now,
    };
    Ok(Item { event, asks: new.mode == Some(Enforcement::Enforce), dated, fate })
}

fn open(items: &[Item]) -> impl Iterator<Item = &Item> {
    items.iter().filter(|item| item.is_open())
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

/// Refuses what names a project or a deployment that the organization does not have.
async fn refuse_unknown(cx: &mut Cx, items: &mut [Item]) -> Result<()> {
    let projects: HashSet<ProjectId> =
        open(items).filter_map(|item| item.event.project_id).collect();
    let deployments: HashSet<DeploymentId> =
        open(items).filter_map(|item| item.event.deployment_id).collect();
    let sql = "SELECT id FROM projects WHERE organization_id = $1 AND id IN (VALUES ";
    let projects = missing(cx, sql, projects).await?;
    let sql = "SELECT id FROM deployments WHERE organization_id = $1 AND id IN (VALUES ";
    let deployments = missing(cx, sql, deployments).await?;
    for item in items.iter_mut().filter(|item| item.is_open()) {
        let event = &item.event;
        if event.project_id.is_some_and(|id| projects.contains(&id)) {
            item.fate = Fate::Refused(Error::not_found("project").at("project_id"));
        } else if event.deployment_id.is_some_and(|id| deployments.contains(&id)) {
            item.fate = Fate::Refused(Error::not_found("deployment").at("deployment_id"));
        }
    }
    Ok(())
}

/// Those of the ids that the statement does not find.
async fn missing<T>(cx: &mut Cx, sql: &'static str, mut ids: HashSet<T>) -> Result<HashSet<T>>
where
    T: Copy + Eq + Hash + for<'q> Value<'q>,
    (T,): Row,
{
    if !ids.is_empty() {
        let query = cx.tx.q(sql).bind(cx.at).rows(ids.iter(), |query, id| query.bind(*id));
        for (found,) in query.sql(")").all::<(T,)>().await? {
            ids.remove(&found);
        }
    }
    Ok(ids)
}

/// Writes what is open; what was recorded before is marked so.
async fn insert(cx: &mut Cx, items: &mut [Item]) -> Result<()> {
    let new: Vec<&UsageEvent> = open(items).map(|item| &item.event).collect();
    let mut inserted = 0;
    for chunk in new.chunks(CHUNK) {
        let sql = "INSERT INTO usage_events
                   (id, organization_id, project_id, deployment_id, run_id, metric, unit, quantity,
                    dims, metadata, idempotency_key, observed_at, recorded_at) VALUES ";
        let insert = cx.tx.q(sql).rows(chunk, |query, event| {
            query
                .bind(event.id)
                .bind(event.organization_id)
                .bind(event.project_id)
                .bind(event.deployment_id)
                .bind(event.run_id.as_deref())
                .bind(&*event.metric)
                .bind(&*event.unit)
                .bind(event.quantity)
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
    let events: Vec<_> = open(items).map(|item| (item.tally(), item.asks)).collect();
    let mut limits = Enforced::hold(cx, &events).await?;
    let mut refused = Vec::new();
    for (n, item) in items.iter().enumerate() {
        if !item.is_open() {
            continue;
        }
        match limits.admit(cx, item.tally(), item.asks).await {
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
                    let detail = "The event with the same idempotency_key before it was refused.";
                    Outcome::Refused(Error::new(error.code().clone(), detail))
                }
            },
        };
        outcomes.push(outcome);
    }
    outcomes
}
