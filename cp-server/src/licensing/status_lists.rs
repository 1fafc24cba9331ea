//! Status lists: the suspended and revoked bundles, for data planes that verify offline.
//!
//! # Design
//! The content of a list is computed when it is signed, from the bundles' own status and the marks
//! of coverage (`coverage/marks.rs`). A change of either touches its lists in the same transaction.
//! Within a second one replica signs the touched lists again. It signs the other lists when half of
//! their time to live has passed. The other replicas publish the same tokens.

mod entries;
pub mod rows;
mod settings;
pub mod signing;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::{
    LICENSE_LIST_ENTRIES, STATUS_LIST_MEDIA_TYPE, StatusListAggregation, StatusListRef,
};
use serde_json::Map;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use self::entries::Entries;
pub use self::rows::place;
use self::rows::{LEEWAY, uri};
pub use self::settings::StatusSettings;
use self::signing::{BURST, MOST_AHEAD, SignedList, State, Use};
use self::waiting::Wait;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Document;
use crate::kernel::http::raw::Raw;
use crate::licensing::ids::StatusListId;

crate::routes! {
    /// The signed lists of revoked and suspended bundles, for data planes.
    status_lists:
    /// Lists the status lists: their aggregation (draft-ietf-oauth-status-list, section 9.3).
    GET "/status-lists" PUBLIC => list, raw
        returns "application/json";
    /// Returns a status list token, with the revoked and suspended bundles.
    ///
    /// With `If-None-Match` and `Prefer: wait=25` (RFC 7240), the credential of a deployment waits up to
    /// 25 seconds for another list. The answer then has `Preference-Applied`.
    GET "/status-lists/{id}" PUBLIC => read, raw
        returns "application/statuslist+jwt";
}

/// The maximum time that a request waits for the database.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lead of a list over the clock from which it is reported.
const CLOCK_BEHIND: TimeDelta = TimeDelta::minutes(1);

async fn list(raw: Raw) -> Result<Response> {
    let lists = StatusLists::of(&raw.app).current(&raw.app).await;
    Ok(open_to_all(lists.aggregation.render(&raw.parts.headers)))
}

async fn read(raw: Raw) -> Result<Response> {
    let id = raw.parts.uri.path().rsplit('/').next().and_then(|id| id.parse().ok());
    let id: StatusListId = id.ok_or_else(|| Error::not_found("status list"))?;
    let Raw { app, parts, .. } = raw;
    let lists = StatusLists::of(&app);
    let mut found = lists.find(&app, id).await?;
    let Some(wait) = Wait::begin(&app, &parts, &found.document).await else {
        return Ok(open_to_all(found.document.render(&parts.headers)));
    };
    let mut changes = lists.changes.subscribe();
    while found.document.is_known(&parts.headers)
        && !app.is_stopping()
        && wait.glance(&mut changes).await
    {
        found = lists.find(&app, id).await?;
    }
    Ok(open_to_all(wait.answer(found.document.render(&parts.headers))))
}

/// Allows scripts of any page to read the answer (section 11.1 of the draft recommends it).
fn open_to_all(response: Response) -> Response {
    let any = [("access-control-allow-origin", HeaderValue::from_static("*"))];
    (any, response).into_response()
}

/// The signed lists in this process's memory, and the entries that the process has reserved.
#[derive(Default)]
pub struct StatusLists {
    published: ArcSwap<Published>,
    /// Announces each refresh, to requests that wait.
    changes: watch::Sender<()>,
    /// Allows one refresh at a time.
    refreshing: Arc<Mutex<()>>,
    /// The generation of the last refresh plus one; 0 before the first.
    refreshed: AtomicU64,
    /// The number of seconds by which the newest list is ahead of this replica's clock.
    ahead: AtomicI64,
    entries: Entries,
}

impl Part for StatusLists {}

#[derive(Clone, Default)]
struct Published {
    lists: HashMap<StatusListId, Arc<Listed>>,
    aggregation: Document,
}

struct Listed {
    iat: i64,
    /// The instant of the first publication here, by this replica's clock.
    since: DateTime<Utc>,
    /// The instant at which this replica last signed the list.
    signed: Option<DateTime<Utc>>,
    document: Document,
}

impl StatusLists {
    /// Returns the lists as of the last commit on this replica.
    async fn current(&self, app: &App) -> Arc<Published> {
        if self.refreshed.load(Ordering::Acquire) != app.commits.now() + 1
            && let Err(error) = self.look(app, false).await
        {
            // The database is probably down. The lists in memory are signed and still valid.
            tracing::warn!(%error, "status lists are served from memory");
        }
        self.published.load_full()
    }

    async fn find(&self, app: &App, id: StatusListId) -> Result<Arc<Listed>> {
        if let Some(found) = self.current(app).await.lists.get(&id) {
            return Ok(found.clone());
        }
        // Another replica may have created the list within this second.
        self.look(app, true).await?;
        let found = self.published.load().lists.get(&id).cloned();
        found.ok_or_else(|| Error::not_found("status list"))
    }

    /// Returns a list as it is published.
    pub async fn token(&self, app: &App, id: StatusListId) -> Result<Bytes> {
        Ok(self.find(app, id).await?.document.body())
    }

    /// Refreshes the lists, with a short wait, because any client may request a list. The refresh
    /// writes, so it runs in its own task: a client that disconnects does not interrupt it.
    async fn look(&self, app: &App, again: bool) -> Result<()> {
        let late = |_| Error::unavailable("The status lists cannot be read now.", 5);
        let alone = timeout(PATIENCE, self.refreshing.clone().lock_owned()).await.map_err(late)?;
        if !again && self.refreshed.load(Ordering::Acquire) == app.commits.now() + 1 {
            return Ok(());
        }
        let on = app.clone();
        let refresh = tokio::spawn(async move {
            let done = StatusLists::of(&on).refresh_alone(&on).await;
            drop(alone);
            done
        });
        timeout(PATIENCE, refresh).await.map_err(late)?.map_err(Error::internal)?
    }

    /// Signs the lists that have changed, and those whose time to live is half over.
    pub async fn refresh(&self, app: &App) -> Result<()> {
        let _alone = self.refreshing.lock().await;
        self.refresh_alone(app).await
    }

    async fn refresh_alone(&self, app: &App) -> Result<()> {
        let (generation, now) = (app.commits.now(), app.clock.now());
        let states = signing::states(&mut app.db.read(), Use::Published, None).await?;
        self.watch_clock(&states, now);
        let before = self.published.load_full();
        let since = |state: &State| match before.lists.get(&state.id) {
            Some(known) if Some(known.iat) == state.iat => known.since,
            // Another replica has signed the list since the last refresh.
            Some(_) => now,
            None => state.known_since(now),
        };
        let own = |state: &State| before.lists.get(&state.id).and_then(|known| known.signed);
        let is_due = |state: &&State| {
            !state.is_current(app, since(state), now)
                && state.may_sign(app, own(state), now)
                && state.ahead(now) < MOST_AHEAD
        };
        let mut due: Vec<StatusListId> = states.iter().filter(is_due).map(|s| s.id).collect();
        // In the order in which changes touch them, to avoid deadlocks.
        due.sort();
        let mut signed = sign_all(app, &due, now).await?;
        let mut lists = HashMap::new();
        for state in &states {
            let known = before.lists.get(&state.id);
            let newest = match signed.remove(&state.id) {
                // The list in memory may be newer than the stored one.
                None if known.is_some_and(|known| {
                    Some(known.iat) >= state.iat && known.iat <= state.last_iat
                }) =>
                {
                    None
                }
                None => signing::newest(&mut app.db.read(), state.id, Use::Published).await?,
                signed => signed,
            };
            let (since, own) = match due.contains(&state.id) {
                true => (now, Some(now)),
                false => (since(state), own(state)),
            };
            let listed = match newest {
                None => known.cloned(),
                Some(SignedList { iat, token, .. }) => {
                    let document = Document::new(STATUS_LIST_MEDIA_TYPE, &cache(app), token);
                    Some(Arc::new(Listed { iat, since, signed: own, document }))
                }
            };
            lists.extend(listed.map(|listed| (state.id, listed)));
        }
        let status_lists = states.iter().map(|state| uri(app, state.id)).collect();
        let aggregation = StatusListAggregation { status_lists, extra: Map::new() };
        let aggregation = serde_json::to_vec(&aggregation).map_err(Error::internal)?;
        let aggregation = Document::new("application/json", &cache(app), aggregation);
        self.published.store(Arc::new(Published { lists, aggregation }));
        self.changes.send_replace(());
        self.refreshed.store(generation + 1, Ordering::Release);
        Ok(())
    }

    /// Reports a clock that was set back, once per change of its level.
    fn watch_clock(&self, states: &[State], now: DateTime<Utc>) {
        let ahead = states.iter().map(|state| state.ahead(now)).max().unwrap_or_default();
        let seconds = ahead.num_seconds();
        let gauge = f64::from(u32::try_from(seconds).unwrap_or(u32::MAX));
        metrics::gauge!("cp_status_list_ahead_seconds").set(gauge);
        let level = |seconds: i64| match TimeDelta::seconds(seconds) {
            ahead if ahead >= MOST_AHEAD => 2,
            ahead if ahead > CLOCK_BEHIND => 1,
            _ => 0,
        };
        let before = self.ahead.swap(seconds, Ordering::Relaxed);
        match (level(before), level(seconds)) {
            (before, now) if before == now => {}
            (_, 0) => tracing::info!("the clock has passed the newest status list again"),
            (_, 1) => tracing::warn!(
                seconds,
                "the clock is behind the newest status list and may have been set back; lists continue \
                 from the newest one; set the clock"
            ),
            _ => tracing::error!(
                seconds,
                "the clock is more than a day behind the newest status list, and no list is signed; set \
                 the clock, or run `cp-server clock accept` if it is right"
            ),
        }
    }

    /// Returns the warning about the clock for the readiness check.
    ///
    /// # Errors
    /// Fails when no list can be signed.
    pub fn check_clock(&self) -> Result<Option<String>> {
        let seconds = self.ahead.load(Ordering::Relaxed);
        let ahead = TimeDelta::seconds(seconds);
        if ahead >= MOST_AHEAD {
            return Err(signing::too_far_ahead());
        }
        Ok((ahead > CLOCK_BEHIND).then(|| {
            format!(
                "The clock is {seconds} seconds behind the newest status list. Set the clock.\n"
            )
        }))
    }

    /// Returns an entry that no other token has.
    pub async fn take(&self, app: &App) -> Result<StatusListRef> {
        self.entries.take(app).await
    }
}

/// Signs these lists. One transaction reads their contents; the signatures are computed outside of
/// it.
async fn sign_all(
    app: &App,
    due: &[StatusListId],
    now: DateTime<Utc>,
) -> Result<HashMap<StatusListId, SignedList>> {
    let mut all = HashMap::new();
    if due.is_empty() {
        return Ok(all);
    }
    let mut contents = Vec::new();
    let mut tx = app.db.begin().await?;
    for id in due {
        contents.push((*id, signing::content(&mut tx, *id, now).await?));
    }
    tx.commit().await?;
    for (id, content) in contents {
        let signed = signing::sign(app, content, now, StatusSettings::of(app).lifetime).await?;
        all.insert(id, signed);
    }
    let mut tx = app.db.begin().await?;
    for id in due {
        if let Some(signed) = all.get(id) {
            signing::keep(&mut tx, *id, Use::Published, signed).await?;
        }
    }
    tx.commit().await?;
    Ok(all)
}

/// Returns the cache policy. Caches add little to the time until a data plane sees a revocation.
fn cache(app: &App) -> String {
    let seconds = StatusSettings::of(app).ttl.num_seconds() / 10;
    format!("public, max-age={seconds}, stale-if-error=86400")
}

/// Retires lists without a live token. The newest list stays, because it still has free entries.
pub async fn retire(app: &App) -> anyhow::Result<()> {
    let now = app.clock.now();
    let over = "SELECT id FROM status_lists
                WHERE retired_at IS NULL AND allocated_at < $1
                  AND id <> (SELECT id FROM status_lists WHERE retired_at IS NULL
                             ORDER BY created_at DESC, id DESC LIMIT 1)
                  AND NOT EXISTS (SELECT 1 FROM bundles
                                  WHERE status_list_id = status_lists.id AND over_at > $2)
                  AND NOT EXISTS (SELECT 1 FROM lease_seats
                                  WHERE status_list_id = status_lists.id AND borrowed_until > $2)
                  AND NOT EXISTS (SELECT 1 FROM status_revocations
                                  WHERE status_list_id = status_lists.id AND over_at > $2)";
    let mut tx = app.db.read();
    let query = tx.q(over).bind(now - TimeDelta::days(1)).bind(now - LEEWAY);
    let over: Vec<(StatusListId,)> = query.all().await?;
    drop(tx);
    if over.is_empty() {
        return Ok(());
    }
    let mut tx = app.db.begin().await?;
    for (id,) in over {
        let sql = "UPDATE status_lists SET retired_at = $2 WHERE id = $1 AND retired_at IS NULL";
        tx.q(sql).bind(id).bind(now).exec().await?;
        let sql = "DELETE FROM status_revocations WHERE status_list_id = $1";
        tx.q(sql).bind(id).exec().await?;
        let sql = "DELETE FROM status_list_tokens WHERE status_list_id = $1";
        tx.q(sql).bind(id).exec().await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Prepares the lists after a restore. No list issues an entry that may have been issued since the
/// backup, and no list is older than one that was signed since.
pub async fn continue_after_restore(tx: &mut Conn, now: DateTime<Utc>) -> Result<()> {
    let sql = "UPDATE status_lists
               SET allocated = $1, last_iat = CASE WHEN last_iat < $2 THEN $2 ELSE last_iat END";
    let all = i64::try_from(LICENSE_LIST_ENTRIES).map_err(Error::internal)?;
    tx.q(sql).bind(all).bind((now + BURST).timestamp()).exec().await?;
    tx.q("DELETE FROM status_list_tokens").exec().await?;
    Ok(())
}

/// Resets lists that are ahead of the clock to the clock, because the clock was wrong before.
/// Returns their number.
pub async fn take_back(tx: &mut Conn, now: DateTime<Utc>) -> Result<u64> {
    let sql = "DELETE FROM status_list_tokens WHERE iat > $1";
    tx.q(sql).bind(now.timestamp()).exec().await?;
    let sql = "UPDATE status_lists SET last_iat = $1 WHERE last_iat > $1";
    Ok(tx.q(sql).bind(now.timestamp()).exec().await?)
}
