//! Verification: replays the database, event by event, up to the signed checkpoint.
//!
//! Each event's content and salt yield its commitment, commitments yield leaves, leaves yield
//! hashes, and hashes yield the root that the log's key signed. Verification names the first row
//! that differs, and the difference. A whole database that was replaced by an older copy is
//! consistent in itself. Only a checkpoint that was kept elsewhere (`since`) reveals that.

use std::sync::Arc;

use tlog_tiles::{Hash, split_stored_hash_index, stored_hash_count};
use tokio::sync::mpsc;

use super::finding::found;
pub use super::finding::{Finding, Stopped, Verified};
use super::high_water;
use super::key::{LogKey, SignedCheckpoint};
use super::replay::{self, Replay};
use super::stored_hashes::root_at;
use crate::audit::Log;
use crate::kernel::access::ids::AuditEventId;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::error::Error;
use crate::kernel::journal::store;
use crate::kernel::journal::tree::Tree;

/// The name of the checkpoint that the caller kept.
const KEPT: &str = "the checkpoint that was kept";

/// The result of a verification.
#[derive(Debug)]
pub struct Report {
    /// Events in the log.
    pub size: u64,
    /// The position from which events were replayed.
    pub from: u64,
    /// The number of replayed events without content.
    pub erased: u64,
    /// The number of events that wait for their positions.
    pub waiting: u64,
    pub bundles: u64,
    pub root: Hash,
    /// The size of the last signed checkpoint.
    pub signed: Option<u64>,
}

/// The input of a verification: one snapshot of the database, and the key that signed its
/// checkpoints.
pub struct Evidence {
    pub tx: Conn,
    pub key: Arc<LogKey>,
}

impl Evidence {
    pub async fn of(app: &App) -> anyhow::Result<Self> {
        let mut tx = app.db.snapshot().await?;
        let key = Log::of(app).key(app, &mut tx).await?;
        Ok(Self { tx, key })
    }
}

/// Replays the log. With a kept checkpoint, `since`, replays only later events, unless `full`.
pub async fn verify(
    evidence: Evidence,
    since: Option<&SignedCheckpoint>,
    full: bool,
    mut progress: impl FnMut(u64, u64),
) -> Verified<Report> {
    let Evidence { mut tx, key } = evidence;
    let tree = match store::tree(&mut tx).await {
        Ok(tree) => tree,
        Err(error) => return found(None, None, format!("log_tree: {}", cause(&error))),
    };
    let signed = last_signed(&mut tx, &key).await?;
    let beside = high_water::kept(&mut tx, &key).await.map_err(Stopped::Failed)?;
    let start = match since {
        Some(since) if !full => {
            check_rollback(since, tree.size, KEPT)?;
            let other = "the log does not begin with the events of the checkpoint that was kept";
            if root_at(&mut tx, since.size).await? != since.root {
                return found(None, None, other);
            }
            tree_at(&mut tx, since.size).await?
        }
        _ => Tree::empty(),
    };
    let from = start.size;
    let beside = beside.as_ref().map(|(path, head)| (path.display().to_string(), head));
    let anchors = [
        signed.as_ref().map(|signed| ("log_checkpoints".to_owned(), signed)),
        beside,
        since.map(|since| (KEPT.to_owned(), since)),
    ];
    let anchors = anchors.into_iter().flatten().collect();
    let mut replay = Replay::new(start, anchors);
    let (batches, mut read) = mpsc::channel(replay::AHEAD);
    let reader = tokio::spawn(replay::read(tx, from, tree.size, batches));
    while let Some(batch) = read.recv().await {
        replay.batch(&batch?)?;
        progress(replay.tree.size, tree.size);
    }
    let mut tx = reader.await.map_err(|error| Stopped::Failed(error.into()))?;
    let waiting = check_rest(&mut tx, tree.size).await?;
    replay.check_root(&tree)?;
    for (name, anchor) in &replay.anchors {
        check_rollback(anchor, tree.size, name)?;
    }
    let erased = replay.check_erased()?;
    let bundles = check_bundles(&mut tx).await?;
    Ok(Report {
        size: tree.size,
        from,
        erased,
        waiting,
        bundles,
        root: tree.root(),
        signed: signed.map(|signed| signed.size),
    })
}

/// Returns the checkpoint in the database, if the log's key signed it.
pub(super) async fn last_signed(tx: &mut Conn, key: &LogKey) -> Verified<Option<SignedCheckpoint>> {
    let Some((size, note)) = store::checkpoint(tx).await? else { return Ok(None) };
    match key.read(&note) {
        Ok(signed) if signed.size == size => Ok(Some(signed)),
        Ok(_) => found(None, None, "log_checkpoints.size is not that of its note"),
        Err(error) => found(None, None, format!("log_checkpoints.note: {error:#}")),
    }
}

pub(super) fn check_rollback(signed: &SignedCheckpoint, size: u64, name: &str) -> Verified<()> {
    if signed.size <= size {
        return Ok(());
    }
    let lost = signed.size - size;
    let what = format!(
        "rolled back: {name} covers {} events, but the log has {size}; the last {lost} are gone",
        signed.size
    );
    found(None, None, what)
}

/// Returns the tree of the first `size` leaves, computed from the stored hashes.
pub(super) async fn tree_at(tx: &mut Conn, size: u64) -> Verified<Tree> {
    let indexes = tlog_tiles::sub_tree_index(0, size, Vec::new());
    let hashes = store::hashes(tx, &indexes).await?;
    let peaks: Vec<u8> = indexes.iter().flat_map(|idx| hashes[idx].0).collect();
    let size = i64::try_from(size).map_err(|error| Stopped::Failed(error.into()))?;
    Tree::read(size, &peaks).map_err(Stopped::Failed)
}

/// Checks the tables for rows outside the log. Returns the number of events that wait for their
/// positions.
async fn check_rest(tx: &mut Conn, size: u64) -> Verified<u64> {
    let bound = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let sql = "SELECT id, seq FROM audit_events WHERE seq >= $1 OR seq < 0 ORDER BY seq LIMIT 1";
    let beyond: Option<(AuditEventId, i64)> = tx.q(sql).bind(bound(size)).opt().await?;
    if let Some((id, seq)) = beyond {
        let what =
            format!("the event was inserted: the log has {size} events and no position {seq}");
        return found(u64::try_from(seq).ok(), Some(id), what);
    }
    let sql = "SELECT MIN(idx) FROM log_hashes WHERE idx >= $1 OR idx < 0";
    let more: Option<Option<i64>> = tx.q(sql).bind(bound(stored_hash_count(size))).value().await?;
    if let Some(idx) = more.flatten() {
        let (_, leaf) = split_stored_hash_index(u64::try_from(idx).unwrap_or(0));
        let what = format!(
            "log_hashes has idx {idx}, but log_tree covers {size} events: the newest were removed"
        );
        return found(Some(leaf.max(size)), None, what);
    }
    let inserted = tx.q2(
        "SELECT id FROM audit_events WHERE seq IS NULL ORDER BY id LIMIT 1",
        "SELECT id FROM audit_events WHERE commitment IS NULL ORDER BY id LIMIT 1",
    );
    if let Some(id) = inserted.value::<AuditEventId>().await? {
        return found(None, Some(id), "the event was inserted: it is not in the log");
    }
    let waiting =
        tx.q("SELECT COUNT(*) FROM audit_events WHERE seq IS NULL").value::<i64>().await?;
    Ok(waiting.and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
}

/// Checks that every bundle has a leaf with its key and its token. Returns the number of bundles.
async fn check_bundles(tx: &mut Conn) -> Verified<u64> {
    let sql = "SELECT bundles.id, e.seq, e.jti IS NOT NULL AS is_logged
               FROM bundles LEFT JOIN audit_events e ON e.jti = bundles.id
               WHERE e.jti IS NULL OR e.kid <> bundles.key_id OR e.token_sha256 <> bundles.bundle_hash
               ORDER BY bundles.id LIMIT 1";
    let odd: Option<(uuid::Uuid, Option<i64>, bool)> = tx.q(sql).opt().await?;
    if let Some((id, seq, is_logged)) = odd {
        let what = match is_logged {
            true => format!("bundle {id} has another key or token than its event"),
            false => format!("bundle {id} is not in the log: this server did not issue it"),
        };
        return found(seq.and_then(|seq| u64::try_from(seq).ok()), None, what);
    }
    let count = tx.q("SELECT COUNT(*) FROM bundles").value::<i64>().await?;
    Ok(count.and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
}

fn cause(error: &Error) -> String {
    error.cause().map_or_else(|| error.to_string(), |cause| format!("{cause:#}"))
}
