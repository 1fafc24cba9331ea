//! Deliveries: what was sent to an endpoint, and what is sent again.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agreements;
use super::claims::{self, BEHIND};
use super::days;
use super::reach::{disabled, load};
use super::rows::{Attempt, Delivery, DeliveryId, DeliveryStatus, Webhook, WebhookId};
use super::state::Sending;
use crate::events::types::{TypeNames, Types};
use crate::kernel::access::caller::Scope;
use crate::kernel::access::platform::AnyOwner;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::db::query::Rows;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Answer, Output};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Moment;
use crate::kernel::http::page::{List, Page};

crate::routes! {
    /// The events that were sent to webhooks, and the attempts.
    webhook_deliveries:
    /// Lists the deliveries of a webhook, newest first.
    GET "/webhooks/{id}/deliveries" WEBHOOKS_READ => list;
    /// Returns a delivery with its attempts.
    GET "/webhook-deliveries/{id}" WEBHOOKS_READ => read;
    /// Sends a delivery again at once, whatever its state. Its `webhook-id` stays the same.
    ///
    /// A delivery that is being sent stays as it is. Mail goes only to the addresses that have not got it.
    POST "/webhook-deliveries/{id}/retry" WEBHOOKS_WRITE => retry, harmless;
    /// Sends deliveries of a time again: those that failed or were skipped, or all of them.
    ///
    /// At most 10,000 are queued, behind new events. Mail goes only to the addresses that have not got it.
    /// 409 `webhook_disabled` for a disabled webhook.
    POST "/webhooks/{id}/replay" WEBHOOKS_WRITE => replay as "webhooks.replay", harmless;
}

/// The most deliveries of one replay.
const MOST: usize = 10_000;
/// How long deliveries are kept: delivered ones, and others.
const KEPT: TimeDelta = TimeDelta::days(30);
const KEPT_FAILED: TimeDelta = TimeDelta::days(90);
/// The most rows that one transaction of the cleanup deletes.
const BATCH: i64 = 5_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveryFilter {
    /// Returns the deliveries with this status only.
    status: Option<DeliveryStatus>,
    /// Returns the deliveries of this type of event only.
    r#type: Option<String>,
}

/// A delivery with its attempts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeliveryWithAttempts {
    #[serde(flatten)]
    delivery: Delivery,
    /// The newest 100 attempts, oldest first.
    log: Vec<Attempt>,
}

crate::text_enum! {
    /// The deliveries that a replay sends again.
    Replayed {
        Failed = "failed",
        Skipped = "skipped",
        /// All deliveries, also delivered ones.
        All = "all",
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// Events recorded at or after this instant.
    since: Moment,
    /// Events recorded at or before this instant; now when absent.
    until: Option<Moment>,
    /// Types of events, as in a webhook; all when absent.
    types: Option<TypeNames>,
    /// Which deliveries; `failed` when absent.
    #[serde(default = "failed")]
    only: Replayed,
}

fn failed() -> Replayed {
    Replayed::Failed
}

/// The number of deliveries that were queued.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Queued {
    /// The number of deliveries.
    queued: u64,
}

/// 202: the deliveries are sent later.
#[derive(Debug)]
pub struct Accepted(Queued);

impl Output for Accepted {
    const STATUS: axum::http::StatusCode = axum::http::StatusCode::ACCEPTED;
    fn schema(generator: &mut schemars::SchemaGenerator) -> Option<schemars::Schema> {
        <Queued as Output>::schema(generator)
    }
    fn answer(self, is_audited: bool) -> Result<Answer> {
        Ok(Answer { status: Self::STATUS, ..self.0.answer(is_audited)? })
    }
}

async fn list(
    cx: &mut Cx<Scope>,
    AnyOwner(id): AnyOwner<WebhookId>,
    list: List<DeliveryFilter>,
) -> Result<Page<Delivery>> {
    load(cx, id).await?;
    let query = cx.tx.select("WHERE webhook_id = $1").bind(id);
    let query = query.and_some(" AND status = ?", list.filter.status);
    list.page(query.and_some(" AND type = ?", list.filter.r#type.as_deref())).await
}

async fn read(
    cx: &mut Cx<Scope>,
    AnyOwner(id): AnyOwner<DeliveryId>,
) -> Result<DeliveryWithAttempts> {
    let (delivery, _) = find(cx, id).await?;
    shown(&mut cx.tx, delivery).await
}

async fn retry(
    cx: &mut Cx<Scope>,
    AnyOwner(id): AnyOwner<DeliveryId>,
) -> Result<DeliveryWithAttempts> {
    let (_, webhook) = find(cx, id).await?;
    hold(&mut cx.tx, webhook.id).await?;
    // A replica has claimed it and sends it now. A second attempt beside that one would be sent twice.
    let sql = "UPDATE webhook_deliveries
               SET status = 'pending', attempts = 0, next_at = $2, finished_at = NULL,
                   claimed_until = NULL
               WHERE id = $1
                 AND (status <> 'pending' OR claimed_until IS NULL OR claimed_until <= $2)";
    let retried: Option<Delivery> = cx.tx.returning(sql).bind(id).bind(cx.now).opt().await?;
    let Some(delivery) = retried else {
        let (delivery, _) = find(cx, id).await?;
        return shown(&mut cx.tx, delivery).await;
    };
    claims::refresh(&mut cx.tx, webhook.id).await?;
    Sending::of(&cx.app).wake();
    shown(&mut cx.tx, delivery).await
}

async fn replay(
    cx: &mut Cx<Scope>,
    AnyOwner(id): AnyOwner<WebhookId>,
    replay: Replay,
) -> Result<Accepted> {
    let webhook = load(cx, id).await?;
    let until = replay.until.map_or(cx.now, |until| until.0);
    if until < replay.since.0 {
        return Err(Error::invalid("until", "`until` must not be before `since`."));
    }
    let types = match &replay.types {
        Some(types) => Types::checked(&cx.app, &types.0)?,
        None => Types::default(),
    };
    hold(&mut cx.tx, id).await?;
    let chosen = chosen(&mut cx.tx, id, &types, (replay.since.0, until), replay.only).await?;
    for chunk in chosen.chunks(500) {
        let sql = "UPDATE webhook_deliveries
                   SET status = 'pending', attempts = 0, next_at = NULL, finished_at = NULL, place = seq + ";
        let update = cx.tx.q(sql).and("?", BEHIND).sql(" WHERE id IN (VALUES ");
        update.rows(chunk, |query, one| query.bind(*one)).sql(")").exec().await?;
    }
    claims::release(&mut cx.tx, id, webhook.ordering, cx.now).await?;
    Sending::of(&cx.app).wake();
    let queued = u64::try_from(chosen.len()).unwrap_or(u64::MAX);
    Ok(Accepted(Queued { queued }))
}

/// Returns the finished deliveries that a replay sends again, the oldest first.
async fn chosen(
    tx: &mut Conn,
    id: WebhookId,
    types: &Types,
    (since, until): (DateTime<Utc>, DateTime<Utc>),
    only: Replayed,
) -> Result<Vec<DeliveryId>> {
    let from = "webhook_deliveries d JOIN audit_events e ON e.id = d.event_id
                WHERE d.webhook_id = $1 AND d.status <> 'pending' AND e.at >= $2 AND e.at <= $3";
    let rows: Rows<'_, (DeliveryId, String)> = tx.select_from("d.id, d.type", from);
    let rows = rows.bind(id).bind(since).bind(until);
    let rows = match only {
        Replayed::All => rows,
        Replayed::Failed => rows.sql(" AND d.status = 'failed'"),
        Replayed::Skipped => rows.sql(" AND d.status = 'skipped'"),
    };
    let rows = rows.sql(" ORDER BY d.seq").stream().await?;
    let chosen = rows.try_filter_map(async |(id, kind)| Ok(types.selects(&kind).then_some(id)));
    Ok(chosen.take(MOST).try_collect().await?)
}

/// Returns a delivery and its endpoint, if the caller may reach them.
async fn find(cx: &mut Cx<Scope>, id: DeliveryId) -> Result<(Delivery, Webhook)> {
    let query = cx.tx.select("WHERE id = $1").bind(id);
    let query = query.and_some(" AND organization_id = ?", cx.at.organization());
    let found: Option<Delivery> = query.opt().await?;
    let found = found.ok_or_else(|| Error::not_found("webhook delivery"))?;
    let webhook = load(cx, found.webhook_id).await?;
    Ok((found, webhook))
}

async fn shown(tx: &mut Conn, delivery: Delivery) -> Result<DeliveryWithAttempts> {
    let columns = "n, at, duration_ms, status, error, answer";
    let newest = "webhook_attempts WHERE delivery_id = $1 ORDER BY n DESC LIMIT 100";
    let mut log: Vec<Attempt> = tx.select_from(columns, newest).bind(delivery.id).all().await?;
    log.reverse();
    Ok(DeliveryWithAttempts { delivery, log })
}

/// Locks the endpoint, so that it stays enabled while deliveries become pending.
async fn hold(tx: &mut Conn, id: WebhookId) -> Result<()> {
    match claims::hold(tx, id).await? {
        Some(held) if held.is_enabled => Ok(()),
        _ => Err(disabled()),
    }
}

/// Deletes deliveries that are no longer kept.
pub async fn forget(app: &App) -> anyhow::Result<()> {
    let now = app.clock.now();
    let ends: [(&str, DateTime<Utc>); 3] =
        [("delivered", now - KEPT), ("failed", now - KEPT_FAILED), ("skipped", now - KEPT_FAILED)];
    for (status, end) in ends {
        loop {
            let mut tx = app.db.begin().await?;
            let sql = "DELETE FROM webhook_deliveries
                       WHERE id IN (SELECT id FROM webhook_deliveries
                                    WHERE finished_at < $1 AND status = $2 LIMIT $3)";
            let gone = tx.q(sql).bind(end).bind(status).bind(BATCH).exec().await?;
            tx.commit().await?;
            if i64::try_from(gone).is_ok_and(|gone| gone < BATCH) {
                break;
            }
        }
    }
    days::forget(app).await?;
    agreements::forget(app).await?;
    let mut tx = app.db.begin().await?;
    let sql = "DELETE FROM webhook_secrets WHERE expires_at < $1";
    tx.q(sql).bind(now).exec().await?;
    tx.commit().await?;
    Ok(())
}

/// Reports the deliveries that wait.
pub async fn measure(app: &App) -> anyhow::Result<()> {
    let now = app.clock.now();
    let mut tx = app.db.read();
    let sql = "SELECT COUNT(*) FROM webhook_deliveries WHERE status = 'pending'";
    let pending: i64 = tx.q(sql).value().await?.unwrap_or(0);
    let sql = "SELECT MIN(due_at) FROM webhooks WHERE status = 'enabled'";
    let due: Option<DateTime<Utc>> = tx.q(sql).value().await?.flatten();
    metrics::gauge!("cp_webhook_pending").set(pending as f64);
    let lag = due.map_or(0, |due| (now - due).num_milliseconds().max(0));
    metrics::gauge!("cp_webhook_lag_seconds").set(lag as f64 / 1000.0);
    Ok(())
}
