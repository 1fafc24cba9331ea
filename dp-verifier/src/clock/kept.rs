//! The time floor on disk.
//!
//! # Design
//!
//! A thread writes it, because flushing a file takes milliseconds and a check takes microseconds.
//! The thread is parked but for one write per minute by which the floor rises; raising the floor
//! costs one comparison more, and waking the thread when a write is due.

use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicBool, AtomicI64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use serde_json::{Map, Value, json};

use crate::claims::MAX_DATE;
use crate::files;
use crate::json::document;

/// By how many seconds the floor rises before it is written again.
const STRIDE: i64 = 60;

/// Larger files are none of ours, in bytes.
const MAX_FILE: usize = 1024;

/// Reads the floor of an earlier run; none when there is no file.
pub(super) fn load(path: &Path) -> Result<Option<i64>, String> {
    let text = match files::read(path, MAX_FILE) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let floor = document::<Map<String, Value>>(&text)
        .ok()
        .filter(|_| text.len() <= MAX_FILE)
        .and_then(|members| members.get("time_floor")?.as_i64())
        .filter(|floor| (0..=MAX_DATE).contains(floor));
    let refusal = "it is damaged, or not a state file; without it the verifier starts with no \
        memory of the time: remove it if the clock is right";
    floor.map(Some).ok_or_else(|| refusal.to_owned())
}

fn save(path: &Path, floor: i64) -> Result<(), String> {
    let text = json!({ "time_floor": floor.clamp(0, MAX_DATE) }).to_string();
    files::replace(path, text.as_bytes()).map_err(|error| format!("cannot be written: {error}"))
}

/// The owner's end of the thread. Dropping it writes what is not written yet, and ends the thread.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    path: PathBuf,
    floor: Arc<AtomicI64>,
    /// The floor that is worth the next write.
    due: AtomicI64,
    is_over: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Keeper {
    /// Writes the floor, and starts the thread that does so later.
    pub(super) fn start(path: &Path, floor: Arc<AtomicI64>) -> Result<Self, String> {
        let written = floor.load(Relaxed);
        save(path, written)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            floor,
            due: AtomicI64::new(written.saturating_add(STRIDE)),
            is_over: AtomicBool::new(false),
            last_error: Mutex::new(None),
        });
        let threads = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("dp-verifier-clock".to_owned())
            .spawn(move || threads.run(written))
            .map_err(|error| format!("no thread can be started: {error}"))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Tells that the floor has risen to `floor`.
    pub(super) fn note(&self, floor: i64) {
        if floor >= self.shared.due.load(Relaxed)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shared {
    fn run(&self, mut written: i64) {
        loop {
            let is_over = self.is_over.load(Acquire);
            let floor = self.floor.load(Relaxed);
            if floor >= self.due.load(Relaxed) || (is_over && floor > written) {
                let outcome = save(&self.path, floor);
                if outcome.is_ok() {
                    written = floor;
                }
                // A failure waits for the next minute too: a full disk is not helped by haste.
                self.due.store(floor.saturating_add(STRIDE), Relaxed);
                *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = outcome.err();
            }
            if is_over {
                return;
            }
            thread::park();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A thread that panicked has nothing more to write.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

    use super::{Keeper, STRIDE, load};

    #[test]
    fn v14_a_write_is_due_once_per_minute_of_advance() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let floor = Arc::new(AtomicI64::new(1_000));
        let keeper = Keeper::start(&path, Arc::clone(&floor)).unwrap();
        assert_eq!(load(&path), Ok(Some(1_000)));
        floor.store(1_000 + STRIDE - 1, Relaxed);
        keeper.note(1_000 + STRIDE - 1);
        assert_eq!(keeper.shared.due.load(Relaxed), 1_000 + STRIDE);
        assert_eq!(load(&path), Ok(Some(1_000)));
        floor.store(1_000 + STRIDE, Relaxed);
        keeper.note(1_000 + STRIDE);
        while keeper.shared.due.load(Relaxed) == 1_000 + STRIDE {
            std::thread::yield_now();
        }
        assert_eq!(load(&path), Ok(Some(1_000 + STRIDE)));
        floor.store(1_000 + STRIDE + 1, Relaxed);
        drop(keeper);
        assert_eq!(load(&path), Ok(Some(1_000 + STRIDE + 1)));
    }
}
