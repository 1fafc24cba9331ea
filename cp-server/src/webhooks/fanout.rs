//! Fan-out: each event with a place in the log becomes a delivery for each endpoint that wants it.
//!
//! # Design
//! One row, `webhook_feed`, has the position up to which the log was read. A replica reads ahead in
//! memory and writes only when an event has a receiver, so that a change without one costs no second
//! write. It reads the log's size before the endpoints: an endpoint that it does not see was created
//! after those events.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicI64, Ordering as Atomic};

use chrono::{DateTime, Utc};
use cp_contracts::Event;
use uuid::Uuid;

use super::claims::{self, BEHIND};
use super::rows::{DeliveryId, Ordering, Organizations, WebhookId, WebhookStatus};
use crate::events::rows::{Reach, between, head};
use crate::events::types::Types;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::db::query::Rows;
use crate::kernel::db::record::Texts;
use crate::kernel::error::Result;

/// The most events of one step.
const BATCH: i64 = 1000;
/// The distance after which the stored position follows without a delivery, so that a restart reads
/// little again.
const STRIDE: i64 = 10_000;
/// The most rows of one statement.
const CHUNK: usize = 500;

/// The position up to which this replica has read the log, and the stored one; -1 before it knows.
#[derive(Debug)]
pub struct Position {
    read: AtomicI64,
    stored: AtomicI64,
}

impl Default for Position {
    fn default() -> Self {
        Self { read: AtomicI64::new(-1), stored: AtomicI64::new(-1) }
    }
}

/// What fan-out knows of an endpoint.
#[derive(sqlx::FromRow)]
struct Endpoint {
    id: WebhookId,
    organization_id: Option<OrganizationId>,
    types: Texts,
    organizations: Option<Organizations>,
    ordering: Ordering,
    status: WebhookStatus,
    from_seq: i64,
}

impl Endpoint {
    fn wanted<'e>(&self, events: &'e [Event]) -> Vec<&'e Event> {
        let types = Types::stored(&self.types);
        events.iter().filter(|event| self.wants(&types, event)).collect()
    }

    fn wants(&self, types: &Types, event: &Event) -> bool {
        let owner = event.organization_id.map(OrganizationId);
        let reaches = match (self.organization_id, &self.organizations) {
            (Some(own), _) => owner == Some(own),
            (None, Some(narrowed)) => owner.is_some_and(|owner| narrowed.contains(&owner)),
            (None, None) => true,
        };
        reaches && event.seq > self.from_seq && types.selects(&event.kind)
    }
}

/// Turns new events into deliveries. Returns whether there may be more.
pub async fn step(app: &App, position: &Position) -> Result<bool> {
    let mut tx = app.db.read();
    let head = head(&mut tx).await?;
    let mut known = position.read.load(Atomic::Acquire);
    if known < 0 {
        known = tx.q("SELECT seq FROM webhook_feed WHERE id = 1").value().await?.unwrap_or(-1);
        position.stored.fetch_max(known, Atomic::AcqRel);
    }
    if known >= head {
        return Ok(false);
    }
    let has_endpoints = tx.q("SELECT 1 FROM webhooks LIMIT 1").value::<i32>().await?.is_some();
    let until = if has_endpoints { head.min(known + BATCH) } else { head };
    let events = match has_endpoints {
        true => between(&mut tx, Reach::All, &Types::default(), (known, until), BATCH).await?,
        false => Vec::new(),
    };
    // After the log's size: an endpoint that is not there yet was created after these events.
    let endpoints = endpoints(&mut tx, &events).await?;
    drop(tx);
    let wanted: Vec<(&Endpoint, Vec<&Event>)> = endpoints
        .iter()
        .map(|one| (one, one.wanted(&events)))
        .filter(|(_, wanted)| !wanted.is_empty())
        .collect();
    let is_far = until - position.stored.load(Atomic::Acquire) >= STRIDE;
    if !wanted.is_empty() || is_far {
        store(app, &wanted, until).await?;
        position.stored.fetch_max(until, Atomic::AcqRel);
    }
    position.read.fetch_max(until, Atomic::AcqRel);
    Ok(until < head)
}

/// Returns the endpoints that may receive one of these events.
async fn endpoints(tx: &mut Conn, events: &[Event]) -> Result<Vec<Endpoint>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    // Events of the platform stand for no organization.
    let owners: BTreeSet<Uuid> =
        events.iter().map(|event| event.organization_id.unwrap_or_default()).collect();
    let columns = "id, organization_id, types, organizations, ordering, status, from_seq";
    let reached = "webhooks WHERE organization_id IS NULL OR organization_id IN (VALUES ";
    let rows: Rows<'_, Endpoint> = tx.select_from(columns, reached);
    let rows = rows.rows(owners, |query, owner| query.bind(owner));
    Ok(rows.sql(") ORDER BY id").all().await?)
}

/// Stores the deliveries of a step. Another replica may have stored some of them.
async fn store(app: &App, wanted: &[(&Endpoint, Vec<&Event>)], until: i64) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let hold = tx.q2(
        "SELECT seq FROM webhook_feed WHERE id = 1",
        "SELECT seq FROM webhook_feed WHERE id = 1 FOR UPDATE",
    );
    let stored: i64 = hold.value().await?.unwrap_or(-1);
    for (endpoint, events) in wanted {
        let new: Vec<&Event> = events.iter().copied().filter(|event| event.seq > stored).collect();
        if !new.is_empty() {
            deliver(app, &mut tx, endpoint, &new, now).await?;
        }
    }
    let sql = "UPDATE webhook_feed SET seq = $1 WHERE id = 1 AND seq < $1";
    tx.q(sql).bind(until).exec().await?;
    tx.commit().await?;
    Ok(())
}

/// Stores the deliveries of one endpoint, in the order of the events.
async fn deliver(
    app: &App,
    tx: &mut Conn,
    endpoint: &Endpoint,
    events: &[&Event],
    now: DateTime<Utc>,
) -> Result<()> {
    // The endpoint orders its deliveries under its lock, which the end of a delivery takes too. It may
    // be gone, or disabled, since the list was read.
    let Some(held) = claims::hold(tx, endpoint.id).await? else { return Ok(()) };
    let is_enabled = held.is_enabled && endpoint.status == WebhookStatus::Enabled;
    let mut waiting: HashSet<String> = match is_enabled && endpoint.ordering == Ordering::Subject {
        true => pending(tx, endpoint.id, events).await?,
        false => HashSet::new(),
    };
    let mut rows = Vec::new();
    for event in events {
        let subject = subject(event);
        let is_first = endpoint.ordering == Ordering::None || waiting.insert(subject.clone());
        rows.push((DeliveryId::new(&app.random, now), event, subject, is_first));
    }
    for chunk in rows.chunks(CHUNK) {
        let sql = "INSERT INTO webhook_deliveries
                   (id, organization_id, webhook_id, event_id, seq, type, subject, place, status,
                    attempts, next_at, created_at, finished_at)
                   VALUES ";
        let insert = tx.q(sql).rows(chunk, |query, (id, event, subject, is_first)| {
            query
                .bind(*id)
                .bind(endpoint.organization_id)
                .bind(endpoint.id)
                .bind(event.id)
                .bind(event.seq)
                .bind(event.kind.as_str())
                .bind(subject.as_str())
                .bind(event.seq)
                .bind(if is_enabled { "pending" } else { "skipped" })
                .bind(0_i32)
                .bind((is_enabled && *is_first).then_some(now))
                .bind(now)
                .bind((!is_enabled).then_some(now))
        });
        insert.sql(" ON CONFLICT (webhook_id, event_id) DO NOTHING").exec().await?;
    }
    if is_enabled {
        let sql =
            "UPDATE webhooks SET due_at = $2 WHERE id = $1 AND (due_at IS NULL OR due_at > $2)";
        tx.q(sql).bind(endpoint.id).bind(now).exec().await?;
    }
    Ok(())
}

/// Returns the subjects of these events that have a pending delivery. New events do not wait for
/// replayed ones.
async fn pending(tx: &mut Conn, id: WebhookId, events: &[&Event]) -> Result<HashSet<String>> {
    let subjects: BTreeSet<String> = events.iter().map(|event| subject(event)).collect();
    let subjects: Vec<String> = subjects.into_iter().collect();
    let mut found = HashSet::new();
    for chunk in subjects.chunks(CHUNK) {
        let sql = "SELECT DISTINCT subject FROM webhook_deliveries
                   WHERE status = 'pending' AND webhook_id = $1 AND place < $2
                     AND subject IN (VALUES ";
        let query = tx.q(sql).bind(id).bind(BEHIND);
        let query = query.rows(chunk, |query, subject| query.bind(subject.as_str()));
        let rows: Vec<(String,)> = query.sql(")").all().await?;
        found.extend(rows.into_iter().map(|(subject,)| subject));
    }
    Ok(found)
}

/// The object of an event, whose deliveries keep their order.
pub fn subject(event: &Event) -> String {
    format!("{}/{}", event.target.kind, event.target.id.as_deref().unwrap_or_default())
}
