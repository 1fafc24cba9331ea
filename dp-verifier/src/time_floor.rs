//! The time floor: a lower bound of the current time.

mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use self::writer::FloorWriter;
use crate::state_file::StateStore;

/// The time by which a clock may be behind the floor, in seconds.
const TOLERANCE: i64 = 300;

/// The latest issue time of a verified document.
///
/// A clock that was set back must not revive expired licenses. The floor comes from signed
/// documents and not from this machine's clock: a clock that was once far in the future would
/// otherwise end every license permanently.
pub(crate) struct TimeFloor {
    store: Arc<StateStore>,
    writer: Option<FloorWriter>,
}

impl TimeFloor {
    pub(crate) fn new(seconds: i64) -> Self {
        Self { store: Arc::new(StateStore::in_memory(seconds)), writer: None }
    }

    /// Creates a floor that a state file keeps. It starts at the greater of `seconds` and the
    /// file's floor.
    pub(crate) fn kept_in(path: &Path, seconds: i64) -> Result<Self, String> {
        let store = Arc::new(StateStore::open(path, seconds)?);
        let writer = Some(FloorWriter::start(Arc::clone(&store))?);
        Ok(Self { store, writer })
    }

    /// Returns the state, which has the floor.
    pub(crate) fn store(&self) -> &StateStore {
        &self.store
    }

    pub(crate) fn seconds(&self) -> i64 {
        self.store.floor.load(Relaxed)
    }

    pub(crate) fn raise(&self, issued_at: i64) {
        let before = self.store.floor.fetch_max(issued_at, Relaxed);
        if issued_at > before
            && let Some(writer) = &self.writer
        {
            writer.note(issued_at);
        }
    }

    /// Returns whether the time of a clock is impossible.
    pub(crate) fn refutes(&self, now: i64) -> bool {
        now.saturating_add(TOLERANCE) < self.seconds()
    }

    /// Returns the time of a clock, or the floor when that time is impossible.
    pub(crate) fn corrected(&self, now: i64) -> i64 {
        if self.refutes(now) { self.seconds() } else { now }
    }
}
