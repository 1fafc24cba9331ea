//! Sending: the job of every replica that makes attempts.
//!
//! # Design
//! An endpoint with due deliveries gets a task of its own, so a slow one delays no other. An endpoint has
//! at most 16 attempts at once, and one while it fails. Places for attempts are limited by organization,
//! so an organization whose receivers are silent leaves the others theirs.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::carriers::{Carrier, Parcel};
use super::claims::{self, Attempted, Claimed, Due};
use super::confirmations;
use super::fanout;
use super::rows::WebhookId;
use super::state::Sending;
use crate::events::rows::of_ids;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::{App, Part};
use crate::kernel::counts;
use crate::kernel::error::{Error, Result};
use crate::kernel::outbound::posting::DeliveryError;
use crate::kernel::traces::{Span, Tracing};

/// The maximum delay until an event of another replica, or a retry, is noticed.
const AT_THE_LATEST: Duration = Duration::from_millis(200);
/// The wait after a failure of the database.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The most attempts at once of an endpoint.
const EACH: usize = 16;
/// The most endpoints that one statement finds.
const ENDPOINTS: usize = 200;

/// Runs until the process ends, on every replica.
pub async fn run(app: App) {
    let sending = Sending::of(&app);
    // A result that did not happen yet is 0 and not absent: `increase` sees the first one.
    let errors = DeliveryError::ALL.iter().map(|error| error.as_str());
    for outcome in errors.chain(["delivered"]) {
        metrics::counter!("cp_webhook_attempts_total", "outcome" => outcome).increment(0);
    }
    while !app.is_stopping() {
        let _ = timeout(AT_THE_LATEST, sending.woken.notified()).await;
        let done = look(&app).await;
        counts::ran("webhooks", done.is_ok());
        if let Err(error) = done {
            tracing::warn!(%error, "webhooks are not sent");
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
}

/// Waits until the attempts that run have ended and are recorded, but not beyond `end`. The server is
/// stopping, so no other attempt begins. An attempt that is not recorded is made again.
pub async fn finish(app: &App, end: Instant) {
    let sending = Sending::of(app);
    let count = || sending.busy().endpoints.len();
    let all = async {
        while count() > 0 {
            sending.ended.notified().await;
        }
    };
    if timeout_at(end, all).await.is_err() {
        let endpoints = count();
        tracing::warn!(endpoints, "attempts of webhooks did not end in time and will be repeated");
    }
}

/// Turns new events into deliveries, and starts tasks for the endpoints with due ones.
async fn look(app: &App) -> Result<()> {
    let sending = Sending::of(app);
    while fanout::step(app, &sending.position).await? {}
    let mut last = None;
    loop {
        // Endpoints that are busy or have no place stay due: they do not hide those that follow.
        let page = due(app, last).await?;
        for Due { id, organization_id: owner, .. } in page.iter().copied() {
            if sending.has_place(owner) && sending.busy().endpoints.insert(id) {
                tokio::spawn(serve(app.clone(), id, owner));
            }
        }
        last = page.last().copied();
        if page.len() < ENDPOINTS {
            break;
        }
    }
    if sending.relay.is_some() && !sending.asks.swap(true, Ordering::AcqRel) {
        tokio::spawn(ask(app.clone()));
    }
    Ok(())
}

/// Returns the next endpoints with an attempt that is due.
async fn due(app: &App, after: Option<Due>) -> Result<Vec<Due>> {
    claims::due(app, after, i64::try_from(ENDPOINTS).unwrap_or(i64::MAX)).await
}

/// Sends the confirmations that are due, in a task of its own.
async fn ask(app: App) {
    let done = confirmations::send_due(&app).await;
    Sending::of(&app).asks.store(false, Ordering::Release);
    if let Err(error) = done {
        tracing::warn!(%error, "confirmations are not sent");
    }
}

/// Sends everything that is due now, and returns when no attempt runs. For tests.
pub async fn settle(app: &App) -> Result<()> {
    let sending = Sending::of(app);
    loop {
        while fanout::step(app, &sending.position).await? {}
        let has_asked = confirmations::send_due(app).await?;
        let due = due(app, None).await?;
        if due.is_empty() && !has_asked {
            return Ok(());
        }
        let mut tasks = JoinSet::new();
        for Due { id, organization_id: owner, .. } in due {
            tasks.spawn(work(app.clone(), id, owner));
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(Error::internal)??;
        }
    }
}

/// The task of one endpoint.
async fn serve(app: App, id: WebhookId, owner: Option<OrganizationId>) {
    let done = work(app.clone(), id, owner).await;
    let sending = Sending::of(&app);
    sending.busy().endpoints.remove(&id);
    sending.ended.notify_one();
    if let Err(error) = done {
        // The claims of what was not recorded pass after a minute.
        tracing::warn!(%error, webhook = %id, "deliveries of a webhook were interrupted");
    }
}

/// The places of an endpoint's attempts, returned when the work ends in any way.
struct Places {
    app: App,
    owner: Option<OrganizationId>,
    taken: usize,
}

impl Places {
    fn take(&mut self, wanted: usize) -> usize {
        let taken = Sending::of(&self.app).take(self.owner, wanted);
        self.taken += taken;
        taken
    }

    fn give_back(&mut self, places: usize) {
        Sending::of(&self.app).give_back(self.owner, places);
        self.taken -= places;
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        Sending::of(&self.app).give_back(self.owner, self.taken);
    }
}

/// Claims, sends and records, until nothing of the endpoint is due.
async fn work(app: App, id: WebhookId, owner: Option<OrganizationId>) -> Result<()> {
    let mut running: JoinSet<Attempted> = JoinSet::new();
    let mut places = Places { app: app.clone(), owner, taken: 0 };
    let mut results = Vec::new();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    loop {
        let wanted = if app.is_stopping() { 0 } else { EACH.saturating_sub(running.len()) };
        let room = places.take(wanted);
        let (done, runs) = (std::mem::take(&mut results), count(running.len()));
        let claimed = claims::advance(&app, id, done, count(room), runs).await?;
        places.give_back(room - claimed.len());
        start(&app, id, claimed, &mut running).await?;
        let Some(first) = running.join_next().await else { return Ok(()) };
        results.extend(first.ok());
        while let Some(more) = running.try_join_next() {
            results.extend(more.ok());
        }
        places.give_back(places.taken - running.len());
    }
}

/// Starts the attempts of claimed deliveries.
async fn start(
    app: &App,
    id: WebhookId,
    claimed: Vec<Claimed>,
    running: &mut JoinSet<Attempted>,
) -> Result<()> {
    if claimed.is_empty() {
        return Ok(());
    }
    let mut tx = app.db.read();
    let carrier = Carrier::load(app, &mut tx, id).await?;
    let ids: Vec<_> = claimed.iter().map(|one| one.event_id).collect();
    let mut events: HashMap<_, _> = of_ids(&mut tx, &ids)
        .await?
        .into_iter()
        .map(|(event, after)| (event.id, (event, after)))
        .collect();
    drop(tx);
    for delivery in claimed {
        let Some((event, after)) = events.remove(&delivery.event_id) else {
            let why =
                anyhow::anyhow!("webhook_deliveries.event_id of {} names no event", delivery.id);
            return Err(Error::internal(why));
        };
        let parcel = carrier.parcel(app, Some(delivery.id), event, Some(&after))?;
        running.spawn(attempt(app.clone(), delivery, parcel));
    }
    Ok(())
}

/// Makes one attempt.
async fn attempt(app: App, delivery: Claimed, parcel: Parcel) -> Attempted {
    let span = Span::own("webhooks.deliver");
    span.set("cp.event.id", delivery.event_id.to_string());
    let outcome = parcel.send(&app).within(span.clone()).await;
    if let Some(error) = outcome.error {
        span.fail(error.as_str(), true);
    }
    let result = outcome.error.map_or("delivered", DeliveryError::as_str);
    metrics::counter!("cp_webhook_attempts_total", "outcome" => result).increment(1);
    Attempted { delivery, outcome }
}
