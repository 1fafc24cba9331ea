//! The replay: computes leaves from events, hashes from leaves, and the root from hashes.
//!
//! A separate task reads rows ahead while this one hashes the rows before them.

use tlog_tiles::{Hash, record_hash, split_stored_hash_index, stored_hash_count};
use tokio::sync::mpsc::Sender;

use super::Source;
use super::finding::{Verified, found};
use super::key::SignedCheckpoint;
use super::ranges::Ranges;
use crate::kernel::db::Conn;
use crate::kernel::journal::leaf::{ERASED, Event};
use crate::kernel::journal::store;
use crate::kernel::journal::tree::Tree;

/// The maximum number of events per batch.
const BATCH: u64 = 1000;
/// The size in bytes after which a batch ends. The event that exceeds it is the last of the batch.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The number of batches that may wait to be hashed.
pub(super) const AHEAD: usize = 2;

/// Reads the positions `from` to `to`, excluding `to`. Returns the connection.
pub(super) async fn read(
    mut tx: Conn,
    mut from: u64,
    to: u64,
    batches: Sender<Verified<Batch>>,
) -> Conn {
    while from < to {
        let batch = Batch::next(&mut tx, from, to).await;
        let next = batch.as_ref().map_or(to, Batch::end);
        if batches.send(batch).await.is_err() {
            break;
        }
        from = next;
    }
    tx
}

/// The stored rows of consecutive positions of the log.
pub(super) struct Batch {
    from: u64,
    events: Vec<Option<Event>>,
    /// The hashes that these events added, from index `first` on.
    first: u64,
    hashes: Vec<Option<Hash>>,
}

impl Batch {
    /// Reads the batch that begins at a position, of a log of `size` events.
    pub(super) async fn next(tx: &mut Conn, from: u64, size: u64) -> Verified<Self> {
        Self::read(tx, from, size.min(from + BATCH)).await
    }

    async fn read(tx: &mut Conn, from: u64, to: u64) -> Verified<Self> {
        let events = read_events(tx, from, to).await?;
        let to = from + events.len() as u64;
        let (first, end) = (stored_hash_count(from), stored_hash_count(to));
        let hashes = store::hashes_between(tx, first, end).await?;
        Ok(Self { from, events, first, hashes })
    }

    fn end(&self) -> u64 {
        self.from + self.events.len() as u64
    }

    fn event(&self, seq: u64) -> Option<&Event> {
        self.events.get(index(self.from, seq)?)?.as_ref()
    }

    fn hash(&self, idx: u64) -> Option<Hash> {
        *self.hashes.get(index(self.first, idx)?)?
    }

    /// Explains why the hash of an event's leaf differs from the stored hash.
    fn why_not(&self, seq: u64, event: &Event, idx: u64) -> String {
        let Some(stored) = self.hash(idx) else {
            return format!("log_hashes idx {idx} is missing: the hash of its leaf");
        };
        let mut others = (self.from..).zip(&self.events);
        let other = others.find_map(|(at, other)| {
            let other = other.as_ref().filter(|_| at != seq)?;
            (leaf_of(other, seq) == stored).then_some((at, other))
        });
        if let Some((at, other)) = other {
            return format!(
                "another event has this position: event {}, now at position {at}, belongs here \
                 (swapped, or moved by an inserted row)",
                other.facts.id
            );
        }
        if let Some(salt) = &event.salt {
            let mut recomputed = event.clone();
            recomputed.facts.commitment = Some(event.canonical().commit(salt).to_vec());
            if leaf_of(&recomputed, seq) == stored {
                return "its commitment was edited".into();
            }
        }
        // The hash above the leaf shows whether the leaf's own hash was edited.
        let pair = [seq & !1, seq | 1].map(|at| Some(leaf_of(self.event(at)?, at)));
        if let [Some(left), Some(right)] = pair {
            let above = tlog_tiles::stored_hash_index(1, seq / 2);
            if self.hash(above) == Some(tlog_tiles::node_hash(left, right)) {
                return format!("log_hashes idx {idx}, the hash of its leaf, was edited");
            }
        }
        "the content of its leaf was edited, or this is another event: action, time, target, bundle \
         and commitment do not hash to the stored value"
            .into()
    }
}

fn index(first: u64, n: u64) -> Option<usize> {
    usize::try_from(n.checked_sub(first)?).ok()
}

fn leaf_of(event: &Event, seq: u64) -> Hash {
    record_hash(&event.facts.leaf(i64::try_from(seq).unwrap_or(i64::MAX)))
}

/// Returns the events at these positions, or only the first of them if they are large; `None` for a
/// missing row.
async fn read_events(tx: &mut Conn, from: u64, to: u64) -> Verified<Vec<Option<Event>>> {
    let bound = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    match read_some(tx, from, to).await {
        Ok(placed) => Ok(placed),
        Err(sqlx::Error::ColumnDecode { .. }) => {
            for seq in from..to {
                let query = tx.select_from::<Event>(Event::COLUMNS, "audit_events WHERE seq = $1");
                if let Err(sqlx::Error::ColumnDecode { index, source }) =
                    query.bind(bound(seq)).opt().await
                {
                    let what =
                        format!("the event was edited: its {index} cannot be read ({source})");
                    return found(Some(seq), None, what);
                }
            }
            found(None, None, format!("an event at position {from} or later cannot be read"))
        }
        Err(error) => Err(error.into()),
    }
}

async fn read_some(tx: &mut Conn, from: u64, to: u64) -> sqlx::Result<Vec<Option<Event>>> {
    let bound = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let sql = "audit_events WHERE seq >= $1 AND seq < $2 ORDER BY seq";
    let query = tx.select_from::<Event>(Event::COLUMNS, sql);
    let (events, is_cut) = query.bind(bound(from)).bind(bound(to)).until(BATCH_BYTES).await?;
    let mut placed = Vec::with_capacity(events.len());
    for event in events {
        let seq = event.seq.and_then(|seq| u64::try_from(seq).ok());
        let Some(place) = seq.and_then(|seq| index(from, seq)) else { continue };
        placed.resize_with(place, || None);
        placed.push(Some(event));
    }
    if !is_cut {
        placed.resize_with(usize::try_from(to - from).unwrap_or(0), || None);
    }
    Ok(placed)
}

pub(super) struct Replay<'a> {
    pub(super) tree: Tree,
    /// The checkpoints that the tree must match at their sizes.
    pub(super) anchors: Vec<(String, &'a SignedCheckpoint)>,
    /// The positions of events without content, and the positions that erasures name.
    erased: Ranges,
    declared: Ranges,
}

impl<'a> Replay<'a> {
    pub(super) fn new(start: Tree, anchors: Vec<(String, &'a SignedCheckpoint)>) -> Self {
        Self { tree: start, anchors, erased: Ranges::default(), declared: Ranges::default() }
    }

    /// Checks the replayed tree against the stored one.
    pub(super) fn check_root(&self, stored: &Tree) -> Verified<()> {
        if self.tree.root() != stored.root() {
            return found(None, None, "log_tree.peaks does not match the events: root mismatch");
        }
        Ok(())
    }

    /// Checks that erasures name all events without content. Returns how many these are.
    pub(super) fn check_erased(&self) -> Verified<u64> {
        match self.erased.first_outside(&self.declared) {
            Some(seq) => {
                let what = "its content is missing, and no erasure in the log names it";
                found(Some(seq), None, what)
            }
            None => Ok(self.erased.count()),
        }
    }

    pub(super) fn batch(&mut self, batch: &Batch) -> Verified<()> {
        for (seq, event) in (batch.from..).zip(&batch.events) {
            let Some(event) = event else {
                return found(Some(seq), None, "the event is missing: its row was removed");
            };
            self.event(seq, event, batch)?;
        }
        Ok(())
    }

    fn event(&mut self, seq: u64, event: &Event, batch: &Batch) -> Verified<()> {
        let id = Some(event.facts.id);
        let leaf = leaf_of(event, seq);
        let (first, hashes) = self.tree.append(leaf);
        if batch.hash(first) != Some(leaf) {
            return found(Some(seq), id, batch.why_not(seq, event, first));
        }
        match &event.salt {
            Some(salt) => {
                if !event.is_committed(salt) {
                    let what = "its content was edited: it does not match its commitment";
                    return found(Some(seq), id, what);
                }
            }
            None if !event.is_blank() || event.erased_at.is_none() => {
                return found(Some(seq), id, "its salt is missing, but the event was not erased");
            }
            None => self.erased.add(seq, seq),
        }
        for (idx, hash) in (first..).zip(hashes).skip(1) {
            if batch.hash(idx) != Some(hash) {
                let (level, n) = split_stored_hash_index(idx);
                let what = format!(
                    "log_hashes idx {idx} (level {level}, number {n}) is missing or edited: it \
                     does not match the hashes below it"
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
                    "root mismatch: up to here the log differs from that of {name}; it was \
                     rewritten"
                );
                return found(Some(seq), id, what);
            }
        }
        Ok(())
    }
}
