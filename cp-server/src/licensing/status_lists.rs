//! Status lists: which bundles were suspended or revoked, for data planes that never ask.
//!
//! # Design
//! What a list says is computed from the bundles and their organizations, so that it cannot drift
//! from them. Whoever changes those touches the lists concerned, in the same transaction; every
//! replica signs what was touched anew within a second, and everything else when half of its time
//! to live is over. Entries are given out in blocks, from the memory of a process: an issuance has
//! its entry before it signs, and does not write for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::{
    LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES, STATUS_LIST_MEDIA_TYPE, STATUS_LIST_TYP, StatusList,
    StatusListAggregation, StatusListClaims, StatusListRef, TokenStatus,
};
use serde_json::Map;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::bundles::BundleStatus;
use super::keys::signer::compact;
use crate::App;
use crate::kernel::answer::Document;
use crate::kernel::db::Conn;
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::StatusListId;
use crate::kernel::query::Value;
use crate::kernel::secret::sha256;
use crate::kernel::table::{BASE, Raw};

crate::routes! { status_lists:
    /// Lists the status lists: their aggregation (draft-ietf-oauth-status-list, section 9.3).
    GET "/status-lists" Public => list, raw;
    /// A status list token: which bundles are revoked or suspended.
    GET "/status-lists/{id}" Public => read, raw;
}

/// How the lists are published.
#[derive(Clone, Debug)]
pub struct StatusSettings {
    /// How long a data plane uses its copy before it asks again: also within which time it learns
    /// of a revocation.
    pub ttl: TimeDelta,
    /// After how long a published list says nothing any more.
    pub lifetime: TimeDelta,
}

impl Default for StatusSettings {
    fn default() -> Self {
        Self { ttl: TimeDelta::seconds(300), lifetime: TimeDelta::days(7) }
    }
}

/// How long a request waits for the database.
const PATIENCE: Duration = Duration::from_secs(1);

/// A token is looked at for a little longer than it is valid: clocks differ.
const LEEWAY: TimeDelta = TimeDelta::minutes(10);

async fn list(raw: Raw) -> Result<Response> {
    let lists = raw.app.status_lists.current(&raw.app).await;
    Ok(open_to_all(lists.aggregation.render(&raw.parts.headers)))
}

async fn read(raw: Raw) -> Result<Response> {
    let id = raw.parts.uri.path().rsplit('/').next().and_then(|id| id.parse().ok());
    let id: StatusListId = id.ok_or_else(|| Error::not_found("status list"))?;
    let found = raw.app.status_lists.find(&raw.app, id).await?;
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
    refreshing: Mutex<()>,
    /// One more than the generation that the last refresh saw; 0 before the first.
    refreshed: AtomicU64,
    block: std::sync::Mutex<Option<Block>>,
    /// One reservation of the next block at a time.
    reserving: Mutex<()>,
}

#[derive(Clone, Default)]
struct Published {
    lists: HashMap<StatusListId, Arc<Signed>>,
    aggregation: Document,
}

struct Signed {
    version: i64,
    kid: String,
    signed_at: DateTime<Utc>,
    document: Document,
}

impl StatusLists {
    /// As of the last commit on this replica.
    async fn current(&self, app: &App) -> Arc<Published> {
        if self.refreshed.load(Ordering::Acquire) != app.generation.now() + 1
            && let Err(error) = self.look(app).await
        {
            // The database is down, most likely: what is known is still signed and good.
            tracing::warn!(%error, "status lists are served from memory");
        }
        self.published.load_full()
    }

    async fn find(&self, app: &App, id: StatusListId) -> Result<Arc<Signed>> {
        if let Some(found) = self.current(app).await.lists.get(&id) {
            return Ok(found.clone());
        }
        // Another replica may have begun it within this second.
        self.look(app).await?;
        let found = self.published.load().lists.get(&id).cloned();
        found.ok_or_else(|| Error::not_found("status list"))
    }

    /// A refresh that nobody waits long for: anybody may ask for a list.
    async fn look(&self, app: &App) -> Result<()> {
        let late = |_| Error::unavailable("The status lists cannot be read now.", 5);
        timeout(PATIENCE, self.refresh(app)).await.map_err(late)?
    }

    /// Signs what has changed, and what has not been signed for half of its time to live.
    pub async fn refresh(&self, app: &App) -> Result<()> {
        let _alone = self.refreshing.lock().await;
        let (generation, now) = (app.generation.now(), app.clock.now());
        let kid = app.keys.active()?.jwk().kid.clone();
        let mut tx = app.db.read();
        let sql = "SELECT id, version FROM status_lists WHERE retired_at IS NULL
                   ORDER BY created_at, id";
        let rows: Vec<(StatusListId, i64)> = tx.q(sql).all().await?;
        let before = self.published.load_full();
        let mut lists = HashMap::new();
        for (id, version) in &rows {
            let known = before.lists.get(id).filter(|known| {
                let age = now - known.signed_at;
                known.version == *version && known.kid == kid && age < app.settings.status.ttl / 2
            });
            let signed = match known {
                Some(known) => known.clone(),
                None => Arc::new(sign(app, &mut tx, *id, *version, now).await?),
            };
            lists.insert(*id, signed);
        }
        let status_lists = rows.iter().map(|(id, _)| uri(app, *id)).collect();
        let aggregation = StatusListAggregation { status_lists, extra: Map::new() };
        let aggregation = serde_json::to_vec(&aggregation).map_err(Error::internal)?;
        let aggregation = Document::new("application/json", &cache(app), aggregation);
        self.published.store(Arc::new(Published { lists, aggregation }));
        self.refreshed.store(generation + 1, Ordering::Release);
        Ok(())
    }

    /// An entry that nobody else gets.
    pub async fn take(&self, app: &App) -> Result<StatusListRef> {
        let now = app.clock.now();
        if let Some(entry) = self.take_known(app, now) {
            return Ok(entry);
        }
        let _alone = self.reserving.lock().await;
        loop {
            // Whoever reserved before may have left some.
            if let Some(entry) = self.take_known(app, now) {
                return Ok(entry);
            }
            let size = self.with_block(|block| block.as_ref().map(|block| block.size * 2));
            let next = reserve(app, size.unwrap_or(1).min(BLOCK), now).await?;
            self.with_block(|block| *block = Some(next));
        }
    }

    /// An entry of the block that is here already.
    fn take_known(&self, app: &App, now: DateTime<Utc>) -> Option<StatusListRef> {
        self.with_block(|block| {
            let block = block.as_mut().filter(|block| block.is_usable(now))?;
            let idx = shuffled(&block.shuffle, u16::try_from(block.next).ok()?);
            block.next += 1;
            Some(StatusListRef { idx: idx.into(), uri: uri(app, block.list), extra: Map::new() })
        })
    }

    fn with_block<T>(&self, work: impl FnOnce(&mut Option<Block>) -> T) -> T {
        work(&mut self.block.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn uri(app: &App, id: StatusListId) -> String {
    format!("{}{BASE}/status-lists/{id}", app.settings.base_url)
}

/// The list and the entry that a reference of ours names.
pub fn place(entry: &StatusListRef) -> Option<(StatusListId, i64)> {
    let id = entry.uri.rsplit('/').next()?.parse().ok()?;
    Some((id, i64::try_from(entry.idx).ok()?))
}

/// Copies on the way add little to the time within which a data plane learns of a revocation.
fn cache(app: &App) -> String {
    let seconds = app.settings.status.ttl.num_seconds() / 10;
    format!("public, max-age={seconds}, stale-if-error=86400")
}

async fn sign(
    app: &App,
    tx: &mut Conn,
    id: StatusListId,
    version: i64,
    now: DateTime<Utc>,
) -> Result<Signed> {
    let (token, kid) = token(app, tx, id, now, app.settings.status.lifetime).await?;
    let document = Document::new(STATUS_LIST_MEDIA_TYPE, &cache(app), token);
    Ok(Signed { version, kid, signed_at: now, document })
}

/// Signs what the list says now: the token, and the kid of its key. `now` comes from before the
/// reading, so that the list is never older than its `iat` claims.
pub async fn token(
    app: &App,
    tx: &mut Conn,
    id: StatusListId,
    now: DateTime<Utc>,
    lifetime: TimeDelta,
) -> Result<(String, String)> {
    let sql = "SELECT status_idx, status FROM bundles
               WHERE status_list_id = $1 AND status <> 'valid' AND over_at > $2
               UNION ALL
               SELECT bundles.status_idx, 'suspended'
               FROM organizations JOIN bundles ON bundles.organization_id = organizations.id
               WHERE organizations.status <> 'active' AND bundles.status = 'valid'
                 AND bundles.status_list_id = $1 AND bundles.over_at > $2
               UNION ALL
               SELECT status_idx, 'revoked' FROM status_revocations
               WHERE status_list_id = $1 AND over_at > $2";
    let marked = tx.q(sql).bind(id).bind(now - LEEWAY).all::<(i64, BundleStatus)>().await?;
    let (on, sub) = (app.clone(), uri(app, id));
    app.signers.run(move || make(&on, sub, &marked, now, lifetime)).await
}

fn make(
    app: &App,
    sub: String,
    marked: &[(i64, BundleStatus)],
    now: DateTime<Utc>,
    lifetime: TimeDelta,
) -> Result<(String, String)> {
    let mut list = StatusList::new(LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES);
    for (idx, status) in marked {
        let status = match status {
            BundleStatus::Revoked => TokenStatus::Invalid,
            BundleStatus::Suspended => TokenStatus::Suspended,
            BundleStatus::Valid => continue,
        };
        let idx = u64::try_from(*idx).map_err(Error::internal)?;
        list.set(idx, status).map_err(Error::internal)?;
    }
    let claims = StatusListClaims {
        sub,
        iat: now.timestamp(),
        exp: (now + lifetime).timestamp(),
        ttl: app.settings.status.ttl.num_seconds(),
        status_list: list.to_claim(),
        extra: Map::new(),
    };
    let payload = serde_json::to_vec(&claims).map_err(Error::internal)?;
    let signer = app.keys.active()?;
    let token = compact(signer.as_ref(), STATUS_LIST_TYP, &payload).map_err(Error::internal)?;
    Ok((token, signer.jwk().kid.clone()))
}

/// Entries that were given out to this process. Those that it does not use stay unused.
struct Block {
    list: StatusListId,
    shuffle: Vec<u8>,
    size: i64,
    next: u32,
    /// One more than the last.
    end: u32,
    until: DateTime<Utc>,
}

/// A process that issues much takes many at once; the command line takes one.
const BLOCK: i64 = 256;

impl Block {
    /// An old block is dropped: its list must not retire under it.
    fn is_usable(&self, now: DateTime<Utc>) -> bool {
        self.next < self.end && now < self.until
    }
}

async fn reserve(app: &App, size: i64, now: DateTime<Utc>) -> Result<Block> {
    let mut tx = app.db.begin().await?;
    let sql = "UPDATE status_lists SET allocated = allocated + $1, allocated_at = $2
               WHERE id = (SELECT id FROM status_lists WHERE retired_at IS NULL
                           ORDER BY created_at DESC, id DESC LIMIT 1)
                 AND allocated + $1 <= $3
               RETURNING id, shuffle, allocated";
    let most = i64::try_from(LICENSE_LIST_ENTRIES).map_err(Error::internal)?;
    let found: Option<(StatusListId, Vec<u8>, i64)> =
        tx.q(sql).bind(size).bind(now).bind(most).opt().await?;
    let (list, shuffle, allocated) = match found {
        Some(found) => found,
        None => {
            let (id, shuffle) = (StatusListId::new(&app.random, now), app.random.bytes::<16>());
            let sql = "INSERT INTO status_lists
                       (id, shuffle, allocated, allocated_at, version, created_at)
                       VALUES ($1, $2, $3, $4, 1, $4)";
            tx.q(sql).bind(id).bind(shuffle.to_vec()).bind(size).bind(now).exec().await?;
            (id, shuffle.to_vec(), size)
        }
    };
    tx.commit().await?;
    let next = u32::try_from(allocated - size).map_err(Error::internal)?;
    let end = u32::try_from(allocated).map_err(Error::internal)?;
    Ok(Block { list, shuffle, size, next, end, until: now + TimeDelta::hours(1) })
}

/// Where the n-th entry stands in its list: a permutation of all 65,536 (a balanced Feistel network
/// of eight rounds over two bytes), so that the order of issuance cannot be read off.
fn shuffled(key: &[u8], n: u16) -> u16 {
    let [mut left, mut right] = n.to_be_bytes();
    for round in 0..8 {
        let [mixed, ..] = sha256(&[key, &[round, right]].concat());
        (left, right) = (right, left ^ mixed);
    }
    u16::from_be_bytes([left, right])
}

/// Whose bundles have changed.
#[derive(Clone, Copy)]
pub enum Of<T> {
    Bundle(T),
    License(T),
    Organization(T),
    Key(T),
}

/// Says that the lists with these bundles are to be signed anew; in the transaction of the change.
pub async fn touch<G, T>(cx: &mut Cx<G>, of: Of<T>) -> Result<()>
where
    T: for<'q> Value<'q>,
{
    let (column, value) = match of {
        Of::Bundle(id) => (" AND id = ?", id),
        Of::License(id) => (" AND license_id = ?", id),
        Of::Organization(id) => (" AND organization_id = ?", id),
        Of::Key(kid) => (" AND key_id = ?", kid),
    };
    let sql = "SELECT DISTINCT status_list_id FROM bundles
               WHERE status_list_id IS NOT NULL AND over_at > $1";
    let query = cx.tx.q(sql).bind(cx.now - LEEWAY).and(column, value);
    let lists: Vec<(StatusListId,)> = query.sql(" ORDER BY status_list_id").all().await?;
    // One by one and in order, so that two changes never wait for each other.
    for (id,) in lists {
        let sql = "UPDATE status_lists SET version = version + 1 WHERE id = $1";
        cx.tx.q(sql).bind(id).exec().await?;
    }
    Ok(())
}

/// Keeps the entries of the organization's bundles revoked when the bundles themselves are purged.
pub async fn revoke_for_ever(cx: &mut Cx) -> Result<()> {
    touch(cx, Of::Organization(cx.org)).await?;
    let sql = "INSERT INTO status_revocations (status_list_id, status_idx, over_at)
               SELECT status_list_id, status_idx, over_at FROM bundles
               WHERE organization_id = $1 AND over_at > $2 AND status_list_id IS NOT NULL";
    cx.tx.q(sql).bind(cx.org).bind(cx.now - LEEWAY).exec().await?;
    Ok(())
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
    }
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_given_out_once_and_not_in_order() {
        let mut all: Vec<u16> = (0..=u16::MAX).map(|n| shuffled(b"some key", n)).collect();
        let neighbours = all.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
        assert!(neighbours < 20, "{neighbours} neighbours of 65,535 pairs");
        assert_ne!(all[..100], (0..100).map(|n| shuffled(b"other", n)).collect::<Vec<_>>()[..]);
        all.sort_unstable();
        assert_eq!(all, (0..=u16::MAX).collect::<Vec<_>>());
    }
}
