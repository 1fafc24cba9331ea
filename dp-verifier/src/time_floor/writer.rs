//! The thread that writes the time floor.
//!
//! # Design
//!
//! A thread writes the floor because a flush of a file takes milliseconds and a check takes
//! microseconds. The thread writes at most once per minute of rise, and is parked otherwise. A
//! check compares one number, and wakes the thread when a write is due.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicI64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::thread::{self, JoinHandle};

use crate::state_file::StateStore;

/// The rise of the floor between two writes, in seconds.
const STRIDE: i64 = 60;

/// The owner's end of the thread. Dropping it writes the floor, and ends the thread.
pub(super) struct FloorWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    store: Arc<StateStore>,
    /// The floor at which the next write is due.
    due: AtomicI64,
    is_over: AtomicBool,
}

impl FloorWriter {
    /// Starts the thread for a state whose floor is already written.
    pub(super) fn start(store: Arc<StateStore>) -> Result<Self, String> {
        let written = store.floor.load(Relaxed);
        let shared = Arc::new(Shared {
            store,
            due: AtomicI64::new(written.saturating_add(STRIDE)),
            is_over: AtomicBool::new(false),
        });
        let threads = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("dp-verifier-clock".to_owned())
            .spawn(move || threads.run(written))
            .map_err(|error| format!("needs a thread, and none can be started: {error}"))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Wakes the thread if a write is due at this floor.
    pub(super) fn note(&self, floor: i64) {
        if floor >= self.shared.due.load(Relaxed)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }
}

impl Shared {
    fn run(&self, mut written: i64) {
        loop {
            let is_over = self.is_over.load(Acquire);
            let floor = self.store.floor.load(Relaxed);
            if floor >= self.due.load(Relaxed) || (is_over && floor > written) {
                if self.store.update(|_| Ok(())).is_ok() {
                    written = floor;
                }
                // A failed write also waits for the next minute: haste does not help a full disk.
                self.due.store(floor.saturating_add(STRIDE), Relaxed);
            }
            if is_over {
                return;
            }
            thread::park();
        }
    }
}

impl Drop for FloorWriter {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A thread that panicked writes no more.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;

    use super::{FloorWriter, STRIDE};
    use crate::state_file::StateStore;

    #[test]
    fn a_write_is_due_once_per_minute_of_advance() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let written = || std::fs::read_to_string(&path).unwrap();
        let state = |floor: i64| format!("{{\"time_floor\":{floor}}}");
        let store = Arc::new(StateStore::open(&path, 1_000).unwrap());
        let writer = FloorWriter::start(Arc::clone(&store)).unwrap();
        assert_eq!(written(), state(1_000));
        store.floor.store(1_000 + STRIDE - 1, Relaxed);
        writer.note(1_000 + STRIDE - 1);
        assert_eq!(writer.shared.due.load(Relaxed), 1_000 + STRIDE);
        assert_eq!(written(), state(1_000));
        store.floor.store(1_000 + STRIDE, Relaxed);
        writer.note(1_000 + STRIDE);
        while writer.shared.due.load(Relaxed) == 1_000 + STRIDE {
            std::thread::yield_now();
        }
        assert_eq!(written(), state(1_000 + STRIDE));
        store.floor.store(1_000 + STRIDE + 1, Relaxed);
        drop(writer);
        assert_eq!(written(), state(1_000 + STRIDE + 1));
    }
}
