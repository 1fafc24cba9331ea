//! Sending: the job of every replica that makes attempts.
//!
//! # Design
//! An endpoint with due deliveries gets a task of its own, so a slow one delays no other. An endpoint has
//! at most 16 attempts at once, and one while it fails. Places for attempts are limited by organization,
//! so an organization whose receivers are silent leaves the others theirs.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::claims::{self, Attempted, Claimed, Outcome};
use super::fanout::{self, Position};
use super::messages::Receiver;
use super::rows::WebhookId;
use crate::events::rows::of_ids;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::{App, Part};
use crate::kernel::counts;
use crate::kernel::error::{Error, Result};
use crate::kernel::outbound::FetchSettings;
use crate::kernel::outbound::posting::{DeliveryError, Message, Poster};

/// The maximum delay until an event of another replica, or a retry, is noticed.
const AT_THE_LATEST: Duration = Duration::from_millis(200);
/// The wait after a failure of the database.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The most attempts at once of an endpoint, of an organization, and of a replica.
const EACH: usize = 16;
const OF_OWNER: usize = 64;
const OF_ALL: usize = 512;
/// The most endpoints that one look finds.
const ENDPOINTS: i64 = 200;
/// The kept bytes of an answer.
const ANSWER: usize = 1024;

/// The state of sending in this replica.
pub struct Sending {
    pub poster: Poster,
    position: Position,
    woken: Notify,
    busy: Mutex<Busy>,
}

/// The endpoints with a task, and the attempts of each owner.
#[derive(Default)]
struct Busy {
    endpoints: HashSet<WebhookId>,
    attempts: HashMap<Option<OrganizationId>, usize>,
}

impl Part for Sending {
    fn committed(&self) {
        self.wake();
    }
}

impl Sending {
    pub fn new(settings: FetchSettings) -> Self {
        Self {
            poster: Poster::new(settings),
            position: Position::default(),
            woken: Notify::new(),
            busy: Mutex::default(),
        }
    }

    /// Signals that deliveries may be due.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, Busy> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up to `wanted` places for attempts. Returns their number.
    fn take(&self, owner: Option<OrganizationId>, wanted: usize) -> usize {
        let mut busy = self.busy();
        let all: usize = busy.attempts.values().sum();
        let own = busy.attempts.get(&owner).copied().unwrap_or(0);
        let taken = wanted.min(OF_OWNER.saturating_sub(own)).min(OF_ALL.saturating_sub(all));
        if taken > 0 {
            busy.attempts.insert(owner, own + taken);
        }
        taken
    }

    fn give_back(&self, owner: Option<OrganizationId>, places: usize) {
        let mut busy = self.busy();
        if let Some(own) = busy.attempts.get_mut(&owner) {
            *own = own.saturating_sub(places);
            if *own == 0 {
                busy.attempts.remove(&owner);
            }
        }
    }
}

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

/// Turns new events into deliveries, and starts tasks for the endpoints with due ones.
async fn look(app: &App) -> Result<()> {
    let sending = Sending::of(app);
    while fanout::step(app, &sending.position).await? {}
    for (id, owner) in claims::due(app, ENDPOINTS).await? {
        if sending.busy().endpoints.insert(id) {
            tokio::spawn(serve(app.clone(), id, owner));
        }
    }
    Ok(())
}

/// Sends everything that is due now, and returns when no attempt runs. For tests.
pub async fn settle(app: &App) -> Result<()> {
    let sending = Sending::of(app);
    loop {
        while fanout::step(app, &sending.position).await? {}
        let due = claims::due(app, ENDPOINTS).await?;
        if due.is_empty() {
            return Ok(());
        }
        let mut tasks = JoinSet::new();
        for (id, owner) in due {
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
    Sending::of(&app).busy().endpoints.remove(&id);
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
    let (mut results, mut most) = (Vec::new(), EACH);
    loop {
        let wanted = if app.is_stopping() { 0 } else { most.saturating_sub(running.len()) };
        let room = places.take(wanted);
        let count = i64::try_from(room).unwrap_or(0);
        let progress = claims::advance(&app, id, std::mem::take(&mut results), count).await?;
        places.give_back(room - progress.claimed.len());
        most = if progress.is_failing { 1 } else { EACH };
        start(&app, id, progress.claimed, &mut running).await?;
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
    let receiver = Receiver::load(app, &mut tx, id).await?;
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
        let message = receiver.message(app, event, Some(&after))?;
        running.spawn(attempt(app.clone(), delivery, message));
    }
    Ok(())
}

/// Makes one attempt.
async fn attempt(app: App, delivery: Claimed, message: Message) -> Attempted {
    let outcome = send(&app, message).await;
    let result = outcome.error.map_or("delivered", DeliveryError::as_str);
    metrics::counter!("cp_webhook_attempts_total", "outcome" => result).increment(1);
    Attempted { delivery, outcome }
}

/// Sends a message, and describes the result.
pub(super) async fn send(app: &App, message: Message) -> Outcome {
    let (at, began) = (app.clock.now(), Instant::now());
    let answered = Sending::of(app).poster.post(message).await;
    let duration_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    let receipt = match answered {
        Ok(receipt) => receipt,
        Err(error) => {
            let (status, error, answer, retry_after) = (None, Some(error), None, None);
            return Outcome { at, duration_ms, status, error, answer, retry_after };
        }
    };
    let error = match receipt.status {
        status if status.is_success() => None,
        status if status.is_redirection() => Some(DeliveryError::Redirect),
        _ => Some(DeliveryError::Status),
    };
    let text = &receipt.body[..receipt.body.len().min(ANSWER)];
    // PostgreSQL keeps no U+0000.
    let answer = Some(String::from_utf8_lossy(text).replace('\0', "\u{fffd}"));
    let retry_after = receipt.retry_after.and_then(|wait| TimeDelta::from_std(wait).ok());
    Outcome { at, duration_ms, status: Some(receipt.status.as_u16()), error, answer, retry_after }
}
