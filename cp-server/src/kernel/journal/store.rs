//! The rows of the log: events, hashes, the tree's size and the last checkpoint.

use std::collections::HashMap;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tlog_tiles::{Hash, record_hash};
use uuid::Uuid;

use super::canonical::Text;
use super::leaf::{Event, LeafFacts, SALT_LEN, Source};
use super::tree::{Tree, hash_of};
use crate::kernel::access::caller::CallerKind;
use crate::kernel::access::ids::AuditEventId;
use crate::kernel::clock::Random;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};

/// The maximum number of rows in one statement.
const CHUNK: usize = 500;

/// Writes new events.
///
/// On SQLite, where one transaction writes at a time, the event gets its position in the tree here.
/// On PostgreSQL it waits for the integrator, because transactions commit in another order than
/// they begin.
pub async fn insert(tx: &mut Conn, random: &Random, mut events: Vec<Event>) -> Result<()> {
    for event in &mut events {
        let salt = random.bytes::<SALT_LEN>();
        event.facts.commitment = Some(event.commit(&salt).to_vec());
        event.salt = Some(salt.to_vec());
    }
    let mut grown = None;
    if tx.writes_alone() {
        let mut growth = Growth::of(tree(tx).await?);
        for event in &mut events {
            event.seq = Some(growth.append(&event.facts)?);
        }
        grown = Some(growth);
    }
    for chunk in events.chunks(CHUNK) {
        let sql = "INSERT INTO audit_events
                   (id, at, source, organization_id, action, target_type, target_id, commitment,
                    jti, kid, token_sha256, occurred_at, actor_kind, actor_id, actor_name,
                    vouched_by, actor, project_id, before, after, metadata, reason, request_id, ip, seq, salt)
                   VALUES ";
        let insert = tx.q(sql).rows(chunk, |query, event| {
            let facts = &event.facts;
            query
                .bind(facts.id)
                .bind(facts.at)
                .bind(facts.source)
                .bind(facts.organization_id)
                .bind(&*facts.action)
                .bind(&*facts.target_type)
                .bind(&*facts.target_id)
                .bind(facts.commitment.as_deref())
                .bind(facts.jti)
                .bind(facts.kid.as_deref())
                .bind(facts.token_sha256.as_deref())
                .bind(event.occurred_at)
                .bind(event.actor_kind)
                .bind(event.actor_id)
                .bind(&*event.actor_name)
                .bind(event.vouched_by.as_ref())
                .bind(event.actor.as_deref())
                .bind(event.project_id)
                .bind(&event.before)
                .bind(&event.after)
                .bind(event.metadata.as_ref())
                .bind(event.reason.as_deref())
                .bind(event.request_id.as_deref())
                .bind(event.ip.as_deref())
                .bind(event.seq)
                .bind(event.salt.as_deref())
        });
        insert.exec().await?;
    }
    match grown {
        Some(growth) => growth.store(tx).await,
        None => Ok(()),
    }
}

/// Assigns positions in the tree to waiting events, the oldest first, at most `at_most` of them.
/// The caller holds the tree.
pub async fn place(tx: &mut Conn, tree: Tree, at_most: usize) -> Result<(Tree, usize)> {
    let limit = i64::try_from(at_most).unwrap_or(i64::MAX);
    let waiting =
        "audit_events WHERE seq IS NULL AND commitment IS NOT NULL ORDER BY id LIMIT $1 + 0";
    let events: Vec<LeafFacts> =
        tx.select_from(LeafFacts::COLUMNS, waiting).bind(limit).all().await?;
    let mut growth = Growth::of(tree);
    let mut placed = Vec::new();
    for facts in &events {
        placed.push((facts.id, growth.append(facts)?));
    }
    for chunk in placed.chunks(CHUNK) {
        let update = tx
            .q("WITH v (id, seq) AS (VALUES ")
            .rows(chunk, |query, (id, seq)| query.bind(*id).bind(*seq))
            .sql(") UPDATE audit_events SET seq = v.seq FROM v WHERE audit_events.id = v.id");
        update.exec().await?;
    }
    let tree = growth.tree.clone();
    growth.store(tx).await?;
    Ok((tree, placed.len()))
}

pub async fn is_waiting(tx: &mut Conn) -> Result<bool> {
    let sql = "SELECT 1 FROM audit_events WHERE seq IS NULL AND commitment IS NOT NULL LIMIT 1";
    Ok(tx.q(sql).value::<i32>().await?.is_some())
}

/// Returns when the oldest event that waits for its position was recorded.
pub async fn waiting_since(tx: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    let sql = "SELECT at FROM audit_events WHERE seq IS NULL AND commitment IS NOT NULL
               ORDER BY id LIMIT 1";
    Ok(tx.q(sql).value().await?)
}

/// Returns events from before the log existed.
pub async fn without_commitment(tx: &mut Conn) -> Result<Vec<Event>> {
    let sql = "audit_events WHERE commitment IS NULL ORDER BY id LIMIT 500";
    Ok(tx.select_from(Event::COLUMNS, sql).all().await?)
}

/// Commits to an event from before the log existed. Its content names the bundle that it issued, if
/// any.
pub async fn commit(tx: &mut Conn, random: &Random, event: &Event) -> Result<()> {
    let salt = random.bytes::<SALT_LEN>();
    let after = event.after.value();
    let member = |name: &str| after.get(name).and_then(|value| value.as_str());
    let issued = (event.facts.action == "bundles.issue" && event.facts.source == Source::Server)
        .then(|| {
            Some((member("jti")?.parse::<Uuid>().ok()?, member("key_id")?, member("bundle_hash")?))
        })
        .flatten();
    let sql = "UPDATE audit_events
               SET salt = $2, commitment = $3, jti = $4, kid = $5, token_sha256 = $6
               WHERE id = $1";
    let update = tx
        .q(sql)
        .bind(event.facts.id)
        .bind(salt.as_slice())
        .bind(event.canonical().commit(&salt).as_slice())
        .bind(issued.map(|(jti, _, _)| jti))
        .bind(issued.map(|(_, kid, _)| kid))
        .bind(issued.map(|(_, _, hash)| hash));
    update.exec().await?;
    Ok(())
}

/// Removes an event's content and salt; its leaf stays.
pub async fn erase(tx: &mut Conn, facts: &LeafFacts, now: DateTime<Utc>) -> Result<()> {
    let (action, kind, id) = facts.published();
    let sql = "UPDATE audit_events
               SET salt = NULL, erased_at = $2, occurred_at = at, actor_kind = $3, actor_id = $4,
                   actor_name = '', vouched_by = NULL, actor = NULL, action = $5, target_type = $6, target_id = $7,
                   project_id = NULL, before = $8, after = $8, metadata = NULL, reason = NULL,
                   request_id = NULL, ip = NULL
               WHERE id = $1 AND salt IS NOT NULL AND seq IS NOT NULL";
    let update = tx
        .q(sql)
        .bind(facts.id)
        .bind(now)
        .bind(CallerKind::Anonymous)
        .bind(Uuid::nil())
        .bind(action)
        .bind(kind)
        .bind(id)
        .bind(Text::of(&Value::Null));
    update.exec().await?;
    Ok(())
}

/// Returns the tree as this transaction sees it.
pub async fn tree(tx: &mut Conn) -> Result<Tree> {
    let row: (i64, Vec<u8>) = tx.q("SELECT size, peaks FROM log_tree WHERE id = 1").one().await?;
    Tree::read(row.0, &row.1).map_err(Error::internal)
}

/// Returns the number of events that have their positions.
pub async fn size(tx: &mut Conn) -> Result<i64> {
    Ok(tx.q("SELECT size FROM log_tree WHERE id = 1").value().await?.unwrap_or(0))
}

/// Locks the tree until the end of this transaction and returns it. Returns `None` when another
/// transaction holds the lock and the caller does not wait.
pub async fn hold(tx: &mut Conn, waits: bool) -> Result<Option<Tree>> {
    let query = if waits {
        tx.q2(
            "SELECT size, peaks FROM log_tree WHERE id = 1",
            "SELECT size, peaks FROM log_tree WHERE id = 1 FOR UPDATE",
        )
    } else {
        tx.q2(
            "SELECT size, peaks FROM log_tree WHERE id = 1",
            "SELECT size, peaks FROM log_tree WHERE id = 1 FOR UPDATE SKIP LOCKED",
        )
    };
    let row: Option<(i64, Vec<u8>)> = query.opt().await?;
    row.map(|(size, peaks)| Tree::read(size, &peaks)).transpose().map_err(Error::internal)
}

/// A growing tree, and its new hashes that are not stored yet.
struct Growth {
    tree: Tree,
    new: Vec<(i64, Hash)>,
}

impl Growth {
    fn of(tree: Tree) -> Self {
        Self { tree, new: Vec::new() }
    }

    /// Appends the event's leaf and returns its position.
    fn append(&mut self, facts: &LeafFacts) -> Result<i64> {
        let seq = i64::try_from(self.tree.size).map_err(Error::internal)?;
        let (first, hashes) = self.tree.append(record_hash(&facts.leaf(seq)));
        let first = i64::try_from(first).map_err(Error::internal)?;
        self.new.extend((first..).zip(hashes));
        Ok(seq)
    }

    async fn store(self, tx: &mut Conn) -> Result<()> {
        if self.new.is_empty() {
            return Ok(());
        }
        for chunk in self.new.chunks(CHUNK * 4) {
            let insert = tx
                .q("INSERT INTO log_hashes (idx, hash) VALUES ")
                .rows(chunk, |query, (idx, hash)| query.bind(*idx).bind(hash.0.as_slice()));
            insert.exec().await?;
        }
        let size = i64::try_from(self.tree.size).map_err(Error::internal)?;
        let update = tx.q("UPDATE log_tree SET size = $1, peaks = $2 WHERE id = 1");
        update.bind(size).bind(self.tree.peaks()).exec().await?;
        Ok(())
    }
}

/// Returns stored hashes by index.
///
/// # Errors
///
/// Fails on a missing hash and names its index.
pub async fn hashes(tx: &mut Conn, indexes: &[u64]) -> Result<HashMap<u64, Hash>> {
    let mut found = HashMap::new();
    for chunk in indexes.chunks(CHUNK) {
        let query =
            tx.q("SELECT idx, hash FROM log_hashes WHERE idx IN ").rows([chunk], |query, chunk| {
                chunk.iter().fold(query, |query, idx| query.bind(i64::try_from(*idx).unwrap_or(-1)))
            });
        for (idx, hash) in query.all::<(i64, Vec<u8>)>().await? {
            let name = || format!("log_hashes.hash of idx {idx} is not a hash");
            let hash = hash_of(&hash).with_context(name).map_err(Error::internal)?;
            found.insert(u64::try_from(idx).unwrap_or(u64::MAX), hash);
        }
    }
    match indexes.iter().find(|idx| !found.contains_key(idx)) {
        Some(idx) => Err(Error::internal(anyhow::anyhow!("log_hashes has no idx {idx}"))),
        None => Ok(found),
    }
}

/// Returns the hashes from `from` to `to`, excluding `to`; `None` for a missing or malformed hash.
pub async fn hashes_between(tx: &mut Conn, from: u64, to: u64) -> Result<Vec<Option<Hash>>> {
    let bound = |idx: u64| i64::try_from(idx).unwrap_or(i64::MAX);
    let sql = "SELECT idx, hash FROM log_hashes WHERE idx >= $1 AND idx < $2";
    let rows: Vec<(i64, Vec<u8>)> = tx.q(sql).bind(bound(from)).bind(bound(to)).all().await?;
    let mut found = vec![None; usize::try_from(to - from).map_err(Error::internal)?];
    for (idx, hash) in rows {
        let place = u64::try_from(idx).ok().and_then(|idx| usize::try_from(idx - from).ok());
        if let Some(place) = place.and_then(|place| found.get_mut(place)) {
            *place = hash_of(&hash).ok();
        }
    }
    Ok(found)
}

/// Returns the events of the leaves from `from` to `to`, excluding `to`.
pub async fn facts_between(tx: &mut Conn, from: u64, to: u64) -> Result<Vec<LeafFacts>> {
    let bound = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let sql = "audit_events WHERE seq >= $1 AND seq < $2 ORDER BY seq";
    let query = tx.select_from(LeafFacts::COLUMNS, sql);
    Ok(query.bind(bound(from)).bind(bound(to)).all().await?)
}

/// Returns the event that issued a bundle, and its position if it has one.
pub async fn issue_of(tx: &mut Conn, jti: Uuid) -> Result<Option<(LeafFacts, Option<i64>)>> {
    let found: Option<Event> =
        tx.select_from(Event::COLUMNS, "audit_events WHERE jti = $1").bind(jti).opt().await?;
    Ok(found.map(|event| (event.facts, event.seq)))
}

/// Returns the position of the event that issued a bundle, if there is one, and the size of the last
/// signed checkpoint.
pub async fn position_of_issue(tx: &mut Conn, jti: Uuid) -> Result<(Option<Option<i64>>, u64)> {
    let sql =
        "SELECT audit_events.id IS NOT NULL, audit_events.seq, COALESCE(log_checkpoints.size, 0)
               FROM (SELECT 1 AS id) AS log
               LEFT JOIN log_checkpoints ON log_checkpoints.id = log.id
               LEFT JOIN audit_events ON audit_events.jti = $1";
    let (is_logged, seq, size): (bool, Option<i64>, i64) = tx.q(sql).bind(jti).one().await?;
    Ok((is_logged.then_some(seq), u64::try_from(size).unwrap_or(0)))
}

/// The columns of an event that its erasure needs. The content, which may be large, is left out.
#[derive(sqlx::FromRow)]
pub struct Erasable {
    #[sqlx(flatten)]
    pub facts: LeafFacts,
    pub seq: Option<i64>,
    pub has_content: bool,
}

impl Erasable {
    pub const COLUMNS: &'static str = "id, at, source, organization_id, action, target_type, \
         target_id, commitment, jti, kid, token_sha256, seq, salt IS NOT NULL AS has_content";
}

/// Returns the events with these IDs.
pub async fn erasable(tx: &mut Conn, ids: &[AuditEventId]) -> Result<Vec<Erasable>> {
    let mut found = Vec::new();
    for chunk in ids.chunks(CHUNK) {
        let query = tx
            .select_from::<Erasable>(Erasable::COLUMNS, "audit_events WHERE id IN ")
            .rows([chunk], |query, chunk| chunk.iter().fold(query, |query, id| query.bind(*id)));
        found.extend(query.all().await?);
    }
    Ok(found)
}

/// Returns the size and the note of the last signed checkpoint.
pub async fn checkpoint(tx: &mut Conn) -> Result<Option<(u64, String)>> {
    let sql = "SELECT size, note FROM log_checkpoints WHERE id = 1";
    let row: Option<(i64, String)> = tx.q(sql).opt().await?;
    Ok(row.map(|(size, note)| (u64::try_from(size).unwrap_or(0), note)))
}

/// Returns when the last checkpoint was signed, if that is known.
pub async fn checkpoint_signed_at(tx: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    let sql = "SELECT signed_at FROM log_checkpoints WHERE id = 1";
    Ok(tx.q(sql).value::<Option<DateTime<Utc>>>().await?.flatten())
}

/// Stores a checkpoint, unless another replica has signed a larger one.
pub async fn keep_checkpoint(
    tx: &mut Conn,
    size: u64,
    note: &str,
    signed_at: DateTime<Utc>,
) -> Result<()> {
    let sql = "INSERT INTO log_checkpoints (id, size, note, signed_at) VALUES (1, $1, $2, $3)
               ON CONFLICT (id) DO UPDATE
               SET size = excluded.size, note = excluded.note, signed_at = excluded.signed_at
               WHERE log_checkpoints.size < excluded.size";
    let size = i64::try_from(size).map_err(Error::internal)?;
    tx.q(sql).bind(size).bind(note).bind(signed_at).exec().await?;
    Ok(())
}
