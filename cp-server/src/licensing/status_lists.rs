//! Status lists: which bundles were suspended or revoked, for data planes that never ask.
//!
//! # Design
//! What a list says is computed from the bundles: from their own status, and from the marks that
//! coverage leaves on them (`coverage/marks.rs`), at the instant at which it is signed. Whoever changes those touches the lists concerned, in the same transaction; within a
//! second a replica signs what was touched anew, and everything else when half of its time to live is
//! over, and the others publish what it signed.

mod entries;
pub mod rows;
mod settings;
pub mod signing;

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
use tokio::sync::Mutex;
use tokio::time::timeout;

use self::entries::Entries;
pub use self::rows::place;
use self::rows::{LEEWAY, uri};
pub use self::settings::StatusSettings;
use self::signing::{BURST, MOST_AHEAD, SignedList, State, Use};
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Document;
use crate::kernel::http::routes::Raw;
use crate::licensing::ids::StatusListId;

crate::routes! { status_lists:
    /// Lists the status lists: their aggregation (draft-ietf-oauth-status-list, section 9.3).
    GET "/status-lists" PUBLIC => list, raw;
    /// A status list token: which bundles are revoked or suspended.
    GET "/status-lists/{id}" PUBLIC => read, raw;
}

/// How long a request waits for the database.
const PATIENCE: Duration = Duration::from_secs(1);

/// From when on a list that is ahead of the clock is reported.
const CLOCK_BEHIND: TimeDelta = TimeDelta::minutes(1);

async fn list(raw: Raw) -> Result<Response> {
    let lists = StatusLists::of(&raw.app).current(&raw.app).await;
    Ok(open_to_all(lists.aggregation.render(&raw.parts.headers)))
}

async fn read(raw: Raw) -> Result<Response> {
    let id = raw.parts.uri.path().rsplit('/').next().and_then(|id| id.parse().ok());
    let id: StatusListId = id.ok_or_else(|| Error::not_found("status list"))?;
    let found = StatusLists::of(&raw.app).find(&raw.app, id).await?;
    Ok(open_to_all(found.document.render(&raw.parts.headers)))
}

/// A script in any page may read it (section 11.1 of the draft asks for it).
fn open_to_all(response: Response) -> Response {
    let any = [("access-control-allow-origin", HeaderValue::from_static("*"))];
    (any, response).into_response()
}

/// The lists in this process's memory, signed; and the entries that it may give out.
#[derive(Default)]
pub struct StatusLists {
    published: ArcSwap<Published>,
    /// One refresh at a time.
    refreshing: Arc<Mutex<()>>,
    /// One more than the generation that the last refresh saw; 0 before the first.
    refreshed: AtomicU64,
    /// By how many seconds the newest list is ahead of this replica's clock.
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
    /// From when on it is published here, by this replica's clock.
    since: DateTime<Utc>,
    /// When this replica signed the list last.
    signed: Option<DateTime<Utc>>,
    document: Document,
}

impl StatusLists {
    /// As of the last commit on this replica.
    async fn current(&self, app: &App) -> Arc<Published> {
        if self.refreshed.load(Ordering::Acquire) != app.commits.now() + 1
            && let Err(error) = self.look(app, false).await
        {
            // The database is down, most likely: what is known is still signed and good.
            tracing::warn!(%error, "status lists are served from memory");
        }
        self.published.load_full()
    }

    async fn find(&self, app: &App, id: StatusListId) -> Result<Arc<Listed>> {
        if let Some(found) = self.current(app).await.lists.get(&id) {
            return Ok(found.clone());
        }
        // Another replica may have begun it within this second.
        self.look(app, true).await?;
        let found = self.published.load().lists.get(&id).cloned();
        found.ok_or_else(|| Error::not_found("status list"))
    }

    /// A list as it is published.
    pub async fn token(&self, app: &App, id: StatusListId) -> Result<Bytes> {
        Ok(self.find(app, id).await?.document.body())
    }

    /// A refresh that nobody waits long for: anybody may ask for a list. It goes on in a task of its
    /// own, because it writes: a client that goes away interrupts none of it.
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

    /// Signs what has changed, and what has not been signed for half of its time to live.
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
            // Another replica signed it since the last look.
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
        // In the order in which changes touch them, so that neither waits for the other.
        due.sort();
        let mut signed = sign_all(app, &due, now).await?;
        let mut lists = HashMap::new();
        for state in &states {
            let known = before.lists.get(&state.id);
            let newest = match signed.remove(&state.id) {
                // What is known may be newer than what could be stored.
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
        self.refreshed.store(generation + 1, Ordering::Release);
        Ok(())
    }

    /// Reports a clock that was set back, once each time.
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
                "the clock is behind the newest status list, and may have been set back; lists \
                 continue from the newest one. Set the clock"
            ),
            _ => tracing::error!(
                seconds,
                "the clock is more than a day behind the newest status list: no list is signed. Set \
                 the clock; if it is right, run `cp-server clock accept`"
            ),
        }
    }

    /// What readiness says of the clock.
    ///
    /// # Errors
    /// When no list can be signed.
    pub fn check_clock(&self) -> Result<Option<String>> {
        let seconds = self.ahead.load(Ordering::Relaxed);
        let ahead = TimeDelta::seconds(seconds);
        if ahead >= MOST_AHEAD {
            return Err(signing::too_far_ahead());
        }
        Ok((ahead > CLOCK_BEHIND).then(|| {
            format!("The clock is {seconds} seconds behind the newest status list; set it.\n")
        }))
    }

    /// An entry that nobody else gets.
    pub async fn take(&self, app: &App) -> Result<StatusListRef> {
        self.entries.take(app).await
    }
}

/// Signs these lists. What they say is read in one transaction, and their signatures are made outside
/// of any.
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

/// Copies on the way add little to the time within which a data plane learns of a revocation.
fn cache(app: &App) -> String {
    let seconds = StatusSettings::of(app).ttl.num_seconds() / 10;
    format!("public, max-age={seconds}, stale-if-error=86400")
}

/// Retires lists that say nothing about any living token. The newest one still gives out entries.
pub async fn retire(app: &App) -> anyhow::Result<()> {
    let now = app.clock.now();
    let over = "SELECT id FROM status_lists
                WHERE retired_at IS NULL AND allocated_at < $1
                  AND id <> (SELECT id FROM status_lists WHERE retired_at IS NULL
                             ORDER BY created_at DESC, id DESC LIMIT 1)
                  AND NOT EXISTS (SELECT 1 FROM bundles
                                  WHERE status_list_id = status_lists.id AND over_at > $2)
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

/// After a restore: no list gives out an entry that may have been given out since the backup, and no
/// list is older than one that was signed since.
pub async fn continue_after_restore(tx: &mut Conn, now: DateTime<Utc>) -> Result<()> {
    let sql = "UPDATE status_lists
               SET allocated = $1, last_iat = CASE WHEN last_iat < $2 THEN $2 ELSE last_iat END";
    let all = i64::try_from(LICENSE_LIST_ENTRIES).map_err(Error::internal)?;
    tx.q(sql).bind(all).bind((now + BURST).timestamp()).exec().await?;
    tx.q("DELETE FROM status_list_tokens").exec().await?;
    Ok(())
}

/// Takes lists that are ahead of the clock back to it, because the clock was wrong before: how many.
pub async fn take_back(tx: &mut Conn, now: DateTime<Utc>) -> Result<u64> {
    let sql = "DELETE FROM status_list_tokens WHERE iat > $1";
    tx.q(sql).bind(now.timestamp()).exec().await?;
    let sql = "UPDATE status_lists SET last_iat = $1 WHERE last_iat > $1";
    Ok(tx.q(sql).bind(now.timestamp()).exec().await?)
}
