//! Verification: the database is replayed, event by event, up to the signed checkpoint.
//!
//! From its content and salt comes each event's commitment, from that its leaf, from the leaves the
//! hashes, from those the root, which the log's key signed. The first row that is not as it was
//! is named, with what is wrong with it. A whole database that was put back to an older state is sound in
//! itself: only a checkpoint that was kept elsewhere tells (`since`).

use std::collections::HashMap;
use std::fmt;

use tlog_tiles::{Hash, record_hash, split_stored_hash_index, stored_hash_count};

use super::key::{LogKey, Signed};
use super::leaf::{ERASED, Event};
use super::tree::Tree;
use super::{Source, checkpoints, store};
use crate::App;
use crate::kernel::db::Conn;
use crate::kernel::error::Error;
use crate::kernel::ids::{AuditEventId, BundleId};

/// Events that are in memory together.
const BATCH: u64 = 1000;

/// What was verified.
#[derive(Debug)]
pub struct Report {
    /// Events in the log.
    pub size: u64,
    /// From which place on they were replayed.
    pub from: u64,
    /// How many of those have no content any more.
    pub erased: u64,
    /// Events that wait for their places.
    pub waiting: u64,
    pub bundles: u64,
    pub root: Hash,
    /// The size of the last signed checkpoint.
    pub signed: Option<u64>,
}

/// The first thing that is not as it was.
#[derive(Debug)]
pub struct Finding {
    /// The event's place in the log.
    pub seq: Option<u64>,
    pub event: Option<AuditEventId>,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.seq, self.event) {
            (Some(seq), Some(event)) => write!(f, "seq {seq} (event {event}): {}", self.what),
            (Some(seq), None) => write!(f, "seq {seq}: {}", self.what),
            (None, Some(event)) => write!(f, "event {event}: {}", self.what),
            (None, None) => f.write_str(&self.what),
        }
    }
}

/// Why verification ended before its end.
#[derive(Debug)]
pub enum Stopped {
    Found(Finding),
    /// The database could not be read.
    Failed(anyhow::Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<sqlx::Error> for Stopped {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

type Verified<T> = Result<T, Stopped>;

fn found<T>(seq: Option<u64>, event: Option<AuditEventId>, what: impl Into<String>) -> Verified<T> {
    Err(Stopped::Found(Finding { seq, event, what: what.into() }))
}

/// Replays the log. With a checkpoint that was kept, `since`, only what came after it, unless `full`.
pub async fn verify(
    app: &App,
    since: Option<&Signed>,
    full: bool,
    mut progress: impl FnMut(u64, u64),
) -> Verified<Report> {
    let mut tx = app.db.snapshot().await?;
    let key = app.log.key(app, &mut tx).await?;
    let tree = match store::tree(&mut tx).await {
        Ok(tree) => tree,
        Err(error) => return found(None, None, format!("log_tree: {}", cause(&error))),
    };
    let signed = last_signed(&mut tx, &key).await?;
    let start = match since {
        Some(since) if !full => {
            check_rollback(since, tree.size, "the checkpoint that was kept")?;
            tree_at(&mut tx, since).await?
        }
        _ => Tree::empty(),
    };
    let from = start.size;
    let anchors: Vec<(&str, &Signed)> =
        [("log_checkpoints", signed.as_ref()), ("the checkpoint that was kept", since)]
            .into_iter()
            .filter_map(|(name, anchor)| Some((name, anchor?)))
            .collect();
    let mut replay =
        Replay { tree: start, anchors, erased: Ranges::default(), declared: Ranges::default() };
    while replay.tree.size < tree.size {
        replay.batch(&mut tx, tree.size).await?;
        progress(replay.tree.size, tree.size);
    }
    let waiting = check_rest(app, &mut tx, tree.size).await?;
    if replay.tree.root() != tree.root() {
        return found(None, None, "log_tree.peaks is not what the events give: root mismatch");
    }
    for (name, anchor) in &replay.anchors {
        check_rollback(anchor, tree.size, name)?;
    }
    if let Some(seq) = replay.erased.first_outside(&replay.declared) {
        return found(Some(seq), None, "its content is gone, and no erasure in the log says so");
    }
    let bundles = check_bundles(&mut tx).await?;
    Ok(Report {
        size: tree.size,
        from,
        erased: replay.erased.count(),
        waiting,
        bundles,
        root: tree.root(),
        signed: signed.map(|signed| signed.size),
    })
}

/// The checkpoint in the database, if the log's key signed it.
async fn last_signed(tx: &mut Conn, key: &LogKey) -> Verified<Option<Signed>> {
    let Some((size, note)) = store::checkpoint(tx).await? else { return Ok(None) };
    match key.read(&note) {
        Ok(signed) if signed.size == size => Ok(Some(signed)),
        Ok(_) => found(None, None, "log_checkpoints.size is not that of its note"),
        Err(error) => found(None, None, format!("log_checkpoints.note: {error:#}")),
    }
}

fn check_rollback(signed: &Signed, size: u64, name: &str) -> Verified<()> {
    if signed.size <= size {
        return Ok(());
    }
    let lost = signed.size - size;
    let what = format!(
        "rolled back: {name} tells of {} events, and the log has {size}; the last {lost} are gone",
        signed.size
    );
    found(None, None, what)
}

/// The tree that a checkpoint tells of, by the stored hashes.
async fn tree_at(tx: &mut Conn, signed: &Signed) -> Verified<Tree> {
    let other = "the log does not begin with the events of the checkpoint that was kept";
    if checkpoints::root_at(tx, signed.size).await? != signed.root {
        return found(None, None, other);
    }
    let indexes = tlog_tiles::sub_tree_index(0, signed.size, Vec::new());
    let hashes = store::hashes(tx, &indexes).await?;
    let peaks: Vec<u8> = indexes.iter().flat_map(|idx| hashes[idx].0).collect();
    let size = i64::try_from(signed.size).map_err(|error| Stopped::Failed(error.into()))?;
    Tree::read(size, &peaks).map_err(Stopped::Failed)
}

struct Replay<'a> {
    tree: Tree,
    /// Checkpoints, which the tree has to meet at their sizes.
    anchors: Vec<(&'a str, &'a Signed)>,
    /// Events without content, and those that erasures name.
    erased: Ranges,
    declared: Ranges,
}

impl Replay<'_> {
    async fn batch(&mut self, tx: &mut Conn, size: u64) -> Verified<()> {
        let from = self.tree.size;
        let to = size.min(from + BATCH);
        let events = read_events(tx, from, to).await?;
        let (first, end) = (stored_hash_count(from), stored_hash_count(to));
        let hashes = store::hashes_between(tx, first, end).await?;
        let batch = Batch { events: &events, hashes: &hashes };
        for seq in from..to {
            let Some(event) = events.get(&seq) else {
                return found(Some(seq), None, "the event is missing: its row was removed");
            };
            self.event(seq, event, &batch)?;
        }
        Ok(())
    }

    fn event(&mut self, seq: u64, event: &Event, batch: &Batch<'_>) -> Verified<()> {
        let id = Some(event.facts.id);
        let leaf = leaf_of(event, seq);
        let (first, hashes) = self.tree.append(leaf);
        if batch.hashes.get(&first) != Some(&leaf) {
            return found(Some(seq), id, batch.why_not(seq, event, first));
        }
        match &event.salt {
            Some(salt) => {
                let commitment = event.commit(salt);
                if event.facts.commitment.as_deref() != Some(commitment.as_slice()) {
                    let what = "its content was edited: it is not what its commitment tells";
                    return found(Some(seq), id, what);
                }
            }
            None if !event.is_blank() || event.erased_at.is_none() => {
                return found(Some(seq), id, "its content is gone, and it tells something");
            }
            None => self.erased.add(seq, seq),
        }
        for (idx, hash) in (first..).zip(&hashes).skip(1) {
            if batch.hashes.get(&idx) != Some(hash) {
                let (level, n) = split_stored_hash_index(idx);
                let what = format!(
                    "log_hashes idx {idx} (level {level}, number {n}) is missing or edited: it is \
                     not the hash of what is below it"
                );
                return found(Some(seq), id, what);
            }
        }
        if event.facts.source == Source::Server && event.facts.target_type == ERASED {
            self.declared.read(&event.facts.target_id);
        }
        for (name, anchor) in &self.anchors {
            if anchor.size == self.tree.size && anchor.root != self.tree.root() {
                let what = format!(
                    "root mismatch: up to here the log is not the one of {name}; it was written \
                     anew"
                );
                return found(Some(seq), id, what);
            }
        }
        Ok(())
    }
}

/// The events at these places, and the hashes that were stored with them.
struct Batch<'a> {
    events: &'a HashMap<u64, Event>,
    hashes: &'a HashMap<u64, Hash>,
}

impl Batch<'_> {
    /// Why an event's leaf is not the one whose hash is stored.
    fn why_not(&self, seq: u64, event: &Event, first: u64) -> String {
        let Some(stored) = self.hashes.get(&first) else {
            return format!("log_hashes idx {first} is missing: the hash of its leaf");
        };
        let other =
            self.events.iter().find(|(at, other)| **at != seq && leaf_of(other, seq) == *stored);
        if let Some((at, other)) = other {
            return format!(
                "another event has its place: event {}, which has place {at} now, belongs here \
                 (swapped, or moved by an inserted row)",
                other.facts.id
            );
        }
        if let Some(salt) = &event.salt {
            let mut told = event.clone();
            told.facts.commitment = Some(event.commit(salt).to_vec());
            if leaf_of(&told, seq) == *stored {
                return "its commitment was edited".into();
            }
        }
        // The hash above the leaf tells whether it is the leaf's own that was edited.
        let pair = [seq & !1, seq | 1].map(|at| Some(leaf_of(self.events.get(&at)?, at)));
        if let [Some(left), Some(right)] = pair {
            let above = tlog_tiles::stored_hash_index(1, seq / 2);
            if self.hashes.get(&above) == Some(&tlog_tiles::node_hash(left, right)) {
                return format!("log_hashes idx {first}, the hash of its leaf, was edited");
            }
        }
        "what its leaf tells was edited, or it is another event: action, time, target, bundle and \
         commitment do not give the hash that is stored"
            .into()
    }
}

fn leaf_of(event: &Event, seq: u64) -> Hash {
    record_hash(&event.facts.leaf(i64::try_from(seq).unwrap_or(i64::MAX)))
}

async fn read_events(tx: &mut Conn, from: u64, to: u64) -> Verified<HashMap<u64, Event>> {
    let bound = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let sql = "audit_events WHERE seq >= $1 AND seq < $2 ORDER BY seq";
    let query = tx.select_from::<Event>(Event::COLUMNS, sql);
    match query.bind(bound(from)).bind(bound(to)).all().await {
        Ok(events) => {
            let placed = events.into_iter().filter_map(|event| Some((event.seq?, event)));
            Ok(placed.map(|(seq, event)| (u64::try_from(seq).unwrap_or(0), event)).collect())
        }
        Err(sqlx::Error::ColumnDecode { .. }) => {
            for seq in from..to {
                let query = tx.select_from::<Event>(Event::COLUMNS, "audit_events WHERE seq = $1");
                if let Err(sqlx::Error::ColumnDecode { index, source }) =
                    query.bind(bound(seq)).opt().await
                {
                    let what = format!("it was edited: its {index} cannot be read ({source})");
                    return found(Some(seq), None, what);
                }
            }
            found(None, None, format!("an event from place {from} on cannot be read"))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is in the tables beside the log: how many events wait for their places.
async fn check_rest(app: &App, tx: &mut Conn, size: u64) -> Verified<u64> {
    let bound = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let sql = "SELECT id, seq FROM audit_events WHERE seq >= $1 OR seq < 0 ORDER BY seq LIMIT 1";
    let beyond: Option<(AuditEventId, i64)> = tx.q(sql).bind(bound(size)).opt().await?;
    if let Some((id, seq)) = beyond {
        let what = format!("it was inserted: the log has {size} events and no place {seq}");
        return found(u64::try_from(seq).ok(), Some(id), what);
    }
    let sql = "SELECT MIN(idx) FROM log_hashes WHERE idx >= $1 OR idx < 0";
    let more: Option<Option<i64>> = tx.q(sql).bind(bound(stored_hash_count(size))).value().await?;
    if let Some(idx) = more.flatten() {
        let (_, leaf) = split_stored_hash_index(u64::try_from(idx).unwrap_or(0));
        let what = format!(
            "log_hashes has idx {idx}, and log_tree tells of {size} events: the newest were removed"
        );
        return found(Some(leaf.max(size)), None, what);
    }
    let is_inserted = if app.db.writes_alone() { "seq IS NULL" } else { "commitment IS NULL" };
    let sql = match is_inserted {
        "seq IS NULL" => "SELECT id FROM audit_events WHERE seq IS NULL ORDER BY id LIMIT 1",
        _ => "SELECT id FROM audit_events WHERE commitment IS NULL ORDER BY id LIMIT 1",
    };
    if let Some(id) = tx.q(sql).value::<AuditEventId>().await? {
        return found(None, Some(id), "it was inserted: it is not in the log");
    }
    let waiting =
        tx.q("SELECT COUNT(*) FROM audit_events WHERE seq IS NULL").value::<i64>().await?;
    Ok(waiting.and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
}

/// Every bundle has a leaf, of its key and its token: how many.
async fn check_bundles(tx: &mut Conn) -> Verified<u64> {
    let sql = "SELECT bundles.id, e.seq, e.jti IS NOT NULL AS is_told
               FROM bundles LEFT JOIN audit_events e ON e.jti = bundles.id
               WHERE e.jti IS NULL OR e.kid <> bundles.key_id OR e.token_sha256 <> bundles.bundle_hash
               ORDER BY bundles.id LIMIT 1";
    let odd: Option<(BundleId, Option<i64>, bool)> = tx.q(sql).opt().await?;
    if let Some((id, seq, is_told)) = odd {
        let what = match is_told {
            true => format!("bundle {id} has another key or token than its event tells"),
            false => format!("bundle {id} is not in the log: nobody issued it through this server"),
        };
        return found(seq.and_then(|seq| u64::try_from(seq).ok()), None, what);
    }
    let count = tx.q("SELECT COUNT(*) FROM bundles").value::<i64>().await?;
    Ok(count.and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
}

fn cause(error: &Error) -> String {
    error.cause().map_or_else(|| error.to_string(), |cause| format!("{cause:#}"))
}

/// Places in the log, both ends included, such as `3-9,12`.
#[derive(Debug, Default)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds places; those that come after the last ones join them.
    pub fn add(&mut self, first: u64, last: u64) {
        match self.0.last_mut() {
            Some((_, end)) if *end + 1 == first => *end = last,
            _ => self.0.push((first, last)),
        }
    }

    fn read(&mut self, text: &str) {
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            if let (Ok(first), Ok(last)) = (first.parse(), last.parse()) {
                self.0.push((first, last));
            }
        }
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The first place here that the others do not have.
    fn first_outside(&self, others: &Self) -> Option<u64> {
        let mut others: Vec<_> = others.0.clone();
        others.sort_unstable();
        let mut next = others.iter().peekable();
        let mut covered = None;
        for (first, last) in &self.0 {
            let mut place = *first;
            while place <= *last {
                while let Some((from, to)) = next.next_if(|(from, _)| *from <= place) {
                    let _ = from;
                    covered = covered.max(Some(*to));
                }
                match covered {
                    Some(to) if to >= place => place = to + 1,
                    _ => return Some(place),
                }
            }
        }
        None
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str) -> Ranges {
        let mut ranges = Ranges::default();
        ranges.read(text);
        ranges
    }

    #[test]
    fn what_is_erased_has_to_be_declared() {
        for (erased, declared, first) in [
            ("", "", None),
            ("3", "", Some(3)),
            ("3-9,12", "12,3-9", None),
            ("3-9,12", "3-8,12", Some(9)),
            ("3-9", "1-4,5-20", None),
            ("3-9", "1-4,6-20", Some(5)),
            ("3,5,7", "0-100,4", None),
            ("0-4,6", "0-4", Some(6)),
        ] {
            let found = ranges(erased).first_outside(&ranges(declared));
            assert_eq!(found, first, "{erased} of {declared}");
        }
        let mut joined = Ranges::default();
        [3, 4, 5, 9, 11, 12].into_iter().for_each(|n| joined.add(n, n));
        assert_eq!((joined.to_string().as_str(), joined.count()), ("3-5,9,11-12", 6));
    }
}
