//! Claims: which replica sends which deliveries, and their results.
//!
//! # Design
//! An endpoint's row is the queue of its deliveries: `due_at` is the instant of the first attempt that is
//! due. All changes of its deliveries happen under the row's lock. A claim moves the next attempt by a
//! minute, so another replica sends the deliveries of one that ended. An attempt takes at most 15
//! seconds, so a live replica never sends one twice.
//!
//! Of several deliveries of one subject only the first has an instant. Its end gives one to the next, so
//! a receiver that fails costs no search through what waits behind it.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::rows::{DeliveryId, DisabledReason, Ordering, WebhookId};
use super::schedule;
use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::db::query::Rows;
use crate::kernel::effect::Effect;
use crate::kernel::error::Result;
use crate::kernel::outbound::posting::DeliveryError;

/// The time after which another replica may send a claimed delivery.
const CLAIMED: TimeDelta = TimeDelta::seconds(60);

/// The first place of replayed deliveries: behind all positions of the log.
pub const BEHIND: i64 = 1 << 60;
/// The distance to the place of deliveries that only some addresses lack: behind all others, which do not
/// wait for them.
const APART: i64 = 1 << 61;

/// A claimed delivery.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Claimed {
    pub id: DeliveryId,
    pub event_id: Uuid,
    pub subject: String,
    pub attempts: i32,
    pub place: i64,
}

/// A delivery whose attempt has ended.
#[derive(Debug)]
pub struct Attempted {
    pub delivery: Claimed,
    pub outcome: Outcome,
}

/// Whether an endpoint accepted an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    None,
    /// An address accepted it before, and this attempt was for others.
    Before,
    /// The receiver, or an address, accepted it in this attempt.
    Now,
}

/// The result of an attempt.
#[derive(Debug)]
pub struct Outcome {
    pub at: DateTime<Utc>,
    pub duration_ms: i64,
    pub status: Option<u16>,
    /// `None` for a success. Some addresses may have accepted the event in spite of an error.
    pub error: Option<DeliveryError>,
    pub acceptance: Acceptance,
    /// The beginning of the answer.
    pub answer: Option<String>,
    pub retry_after: Option<TimeDelta>,
}

/// The state of an endpoint under its lock.
#[derive(sqlx::FromRow)]
pub struct Held {
    id: WebhookId,
    organization_id: Option<OrganizationId>,
    pub is_enabled: bool,
    failing_since: Option<DateTime<Utc>>,
    failures: i32,
}

/// An endpoint with an attempt that is due.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Due {
    pub id: WebhookId,
    pub organization_id: Option<OrganizationId>,
    due_at: DateTime<Utc>,
}

/// Returns endpoints with an attempt that is due, the longest due first: those that follow another one.
pub async fn due(app: &App, after: Option<Due>, most: i64) -> Result<Vec<Due>> {
    let mut tx = app.db.read();
    let columns = "id, organization_id, due_at";
    let due = tx.select_from(columns, "webhooks WHERE due_at <= $1 AND status = 'enabled'");
    let due = due.bind(app.clock.now());
    let due = match after {
        Some(last) => due.and(" AND (due_at, id) > (?,", last.due_at).and(" ?)", last.id),
        None => due,
    };
    Ok(due.sql(" ORDER BY due_at, id").limit(most).all().await?)
}

/// Records results of an endpoint, and claims up to `room` more of its deliveries. An endpoint that fails
/// has one attempt at a time, with those that run.
pub async fn advance(
    app: &App,
    id: WebhookId,
    results: Vec<Attempted>,
    room: i64,
    running: i64,
) -> Result<Vec<Claimed>> {
    let mut cx = app.change(Caller::system("webhooks")).await?;
    let now = cx.now;
    // A claim leaves an endpoint that another replica holds; results wait for it.
    let held = match results.is_empty() {
        true => hold_unless_held(&mut cx.tx, id).await?,
        false => hold(&mut cx.tx, id).await?,
    };
    let Some(held) = held else { return Ok(Vec::new()) };
    let mut failing = (held.failing_since, held.failures);
    let mut reason = None;
    for result in &results {
        record(app, &mut cx.tx, &held, result, now).await?;
        match (result.outcome.error, result.outcome.acceptance) {
            (None, _) | (_, Acceptance::Now) => failing = (None, 0),
            // The endpoint works, except for the addresses that failed before.
            (Some(_), Acceptance::Before) => {}
            (Some(_), Acceptance::None) => {
                failing = (failing.0.or(Some(result.outcome.at)), failing.1 + 1);
            }
        }
        if result.outcome.status == Some(410) {
            reason = Some(DisabledReason::Gone);
        }
    }
    if failing.0.is_some_and(|since| schedule::is_given_up(now, since, failing.1)) {
        reason = reason.or(Some(DisabledReason::Failing));
    }
    if !results.is_empty() {
        let sql = "UPDATE webhooks SET failing_since = $2, failures = $3 WHERE id = $1";
        cx.tx.q(sql).bind(id).bind(failing.0).bind(failing.1).exec().await?;
    }
    if let Some(reason) = reason.filter(|_| held.is_enabled) {
        disable(&mut cx.tx, id, reason, now).await?;
        let state = serde_json::json!({"status": "disabled", "disabled_reason": reason});
        cx.audit.after = Some(state);
        let target = ("webhook", id.to_string());
        cx.finish("webhooks.disabled", held.organization_id, target, Effect::Harmless).await?;
        return Ok(Vec::new());
    }
    let room = if failing.0.is_some() { room.min(1 - running) } else { room };
    let claimed = match held.is_enabled && room > 0 {
        true => claim(&mut cx.tx, id, room, now).await?,
        false => Vec::new(),
    };
    refresh(&mut cx.tx, id).await?;
    // No caller changed anything: deliveries are no audit events.
    cx.tx.commit().await?;
    Ok(claimed)
}

/// Locks the endpoint, under which its deliveries change, and returns its state.
pub async fn hold(tx: &mut Conn, id: WebhookId) -> Result<Option<Held>> {
    Ok(state(tx, id).locked().opt().await?)
}

/// Does the same, except when another transaction holds the lock.
async fn hold_unless_held(tx: &mut Conn, id: WebhookId) -> Result<Option<Held>> {
    let rows = state(tx, id);
    let rows = if rows.is_sqlite() { rows } else { rows.sql(" FOR UPDATE SKIP LOCKED") };
    Ok(rows.opt().await?)
}

fn state(tx: &mut Conn, id: WebhookId) -> Rows<'_, Held> {
    let columns = "id, organization_id, status = 'enabled' AS is_enabled, failing_since, failures";
    tx.select_from(columns, "webhooks WHERE id = $1").bind(id)
}

async fn claim(
    tx: &mut Conn,
    id: WebhookId,
    room: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Claimed>> {
    let columns = "id, event_id, subject, attempts, place";
    let due = "webhook_deliveries
               WHERE webhook_id = $1 AND status = 'pending' AND next_at <= $2
               ORDER BY place LIMIT $3 + 0";
    let mut claimed: Vec<Claimed> =
        tx.select_from(columns, due).bind(id).bind(now).bind(room).all().await?;
    let Some(first) = claimed.first() else { return Ok(claimed) };
    // Replayed ones wait until no new one is due.
    if first.place < BEHIND {
        claimed.retain(|one| one.place < BEHIND);
    }
    let update = tx.q("UPDATE webhook_deliveries SET ");
    let update = update.and("next_at = ?, claimed_until = ?", now + CLAIMED);
    let update = update.sql(" WHERE id IN (VALUES ");
    update.rows(&claimed, |query, one| query.bind(one.id)).sql(")").exec().await?;
    Ok(claimed)
}

/// Records one result.
async fn record(
    app: &App,
    tx: &mut Conn,
    held: &Held,
    result: &Attempted,
    now: DateTime<Utc>,
) -> Result<()> {
    let Attempted { delivery, outcome } = result;
    let attempts = delivery.attempts + 1;
    let next = match outcome.error {
        None => None,
        Some(_) => schedule::next_attempt(&app.random, now, attempts, outcome.retry_after),
    };
    let status = match (outcome.error, next) {
        (None, _) => "delivered",
        (Some(_), Some(_)) => "pending",
        (Some(_), None) => "failed",
    };
    let finished = next.is_none().then_some(now);
    // Other deliveries of the subject go on to the addresses that accepted this one.
    let is_apart = next.is_some() && outcome.acceptance != Acceptance::None;
    let place = match is_apart && delivery.place < APART {
        true => delivery.place + APART,
        false => delivery.place,
    };
    // The endpoint may have been disabled, or the delivery deleted, while the attempt ran.
    let sql = "UPDATE webhook_deliveries
               SET status = $3, attempts = $4, next_at = $5, finished_at = $6, place = $7,
                   claimed_until = NULL
               WHERE id = $1 AND attempts = $2 AND status = 'pending'";
    let update = tx.q(sql).bind(delivery.id).bind(delivery.attempts);
    let update = update.bind(status).bind(attempts).bind(next).bind(finished).bind(place);
    if update.exec().await? == 0 {
        return Ok(());
    }
    let sql = "INSERT INTO webhook_attempts
               (delivery_id, n, organization_id, at, duration_ms, status, error, answer)
               VALUES ($1, (SELECT COALESCE(MAX(n), 0) + 1 FROM webhook_attempts
                            WHERE delivery_id = $1), $2, $3, $4, $5, $6, $7)";
    let insert = tx
        .q(sql)
        .bind(delivery.id)
        .bind(held.organization_id)
        .bind(outcome.at)
        .bind(outcome.duration_ms)
        .bind(outcome.status.map(i32::from))
        .bind(outcome.error)
        .bind(outcome.answer.as_deref());
    insert.exec().await?;
    if finished.is_some() || is_apart {
        promote(tx, held.id, &delivery.subject, now).await?;
    }
    Ok(())
}

/// Makes the next delivery of the subject due. Without an order it already has its instant.
async fn promote(tx: &mut Conn, id: WebhookId, subject: &str, now: DateTime<Utc>) -> Result<()> {
    let sql = "UPDATE webhook_deliveries SET next_at = $3
               WHERE next_at IS NULL AND id = (
                   SELECT id FROM webhook_deliveries
                   WHERE webhook_id = $1 AND subject = $2 AND status = 'pending'
                   ORDER BY place LIMIT 1)";
    tx.q(sql).bind(id).bind(subject).bind(now).exec().await?;
    Ok(())
}

/// Makes deliveries due that wait for no other: all of them, or the first of each subject.
pub async fn release(
    tx: &mut Conn,
    id: WebhookId,
    ordering: Ordering,
    now: DateTime<Utc>,
) -> Result<()> {
    let sql = "UPDATE webhook_deliveries SET next_at = $2
               WHERE webhook_id = $1 AND status = 'pending' AND next_at IS NULL
                 AND (CAST($3 AS TEXT) = 'none' OR NOT EXISTS (
                     SELECT 1 FROM webhook_deliveries p
                     WHERE p.webhook_id = webhook_deliveries.webhook_id AND p.status = 'pending'
                       AND p.subject = webhook_deliveries.subject
                       AND p.place < webhook_deliveries.place))";
    tx.q(sql).bind(id).bind(now).bind(ordering).exec().await?;
    refresh(tx, id).await
}

/// Disables an endpoint, and skips its pending deliveries.
pub async fn disable(
    tx: &mut Conn,
    id: WebhookId,
    reason: DisabledReason,
    now: DateTime<Utc>,
) -> Result<()> {
    let sql = "UPDATE webhooks
               SET status = 'disabled', disabled_reason = $2, due_at = NULL,
                   updated_at = CASE WHEN updated_at > $3 THEN updated_at ELSE $3 END
               WHERE id = $1";
    tx.q(sql).bind(id).bind(reason).bind(now).exec().await?;
    let sql = "UPDATE webhook_deliveries SET status = 'skipped', next_at = NULL, finished_at = $2
               WHERE webhook_id = $1 AND status = 'pending'";
    tx.q(sql).bind(id).bind(now).exec().await?;
    Ok(())
}

/// Computes the instant of an endpoint's first attempt that is due.
pub async fn refresh(tx: &mut Conn, id: WebhookId) -> Result<()> {
    let sql = "UPDATE webhooks
               SET due_at = (SELECT MIN(d.next_at) FROM webhook_deliveries d
                             WHERE d.webhook_id = webhooks.id AND d.status = 'pending')
               WHERE id = $1";
    tx.q(sql).bind(id).exec().await?;
    Ok(())
}
