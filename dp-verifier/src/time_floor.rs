//! What time it must be at least.

mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use self::writer::FloorWriter;
use crate::state_file::StateStore;

/// By how many seconds a clock may be behind the evidence before it is not believed.
const TOLERANCE: i64 = 300;

/// The latest time that an issuer has testified to by signing something at it.
///
/// Setting a clock back must not bring expired licenses to life. The floor is what was signed and
/// not what this clock once said: a clock that was wrong for a moment, far in the future, would
/// otherwise end every license for good.
pub(crate) struct TimeFloor {
    store: Arc<StateStore>,
    writer: Option<FloorWriter>,
}

impl TimeFloor {
    pub(crate) fn new(seconds: i64) -> Self {
        Self { store: Arc::new(StateStore::in_memory(seconds)), writer: None }
    }

    /// At least this, and what a file remembers; from now on kept in it.
    pub(crate) fn kept_in(path: &Path, seconds: i64) -> Result<Self, String> {
        let store = Arc::new(StateStore::open(path, seconds)?);
        let writer = Some(FloorWriter::start(Arc::clone(&store))?);
        Ok(Self { store, writer })
    }

    /// What else is remembered.
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

    /// Whether a clock says a time that cannot be.
    pub(crate) fn refutes(&self, now: i64) -> bool {
        now.saturating_add(TOLERANCE) < self.seconds()
    }

    /// The time of a clock, or the floor when that cannot be.
    pub(crate) fn corrected(&self, now: i64) -> i64 {
        if self.refutes(now) { self.seconds() } else { now }
    }
}
