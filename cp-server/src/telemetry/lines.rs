//! The log lines of a server, which one thread writes.
//!
//! # Design
//! A line that its request writes costs a system call, and a stalled reader of the log stops the
//! server. So lines wait in memory for a moment, and the thread writes them together. When too many
//! wait, lines are lost and counted. A killed process loses the lines of that moment. The audit log
//! does not depend on these lines. Rejected: a thread that wakes for each line, which costs more than the
//! system call.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The time for which lines gather after the first one.
const MOMENT: Duration = Duration::from_millis(10);
/// The bytes that may wait.
const MOST: usize = 4 * 1024 * 1024;
/// How long the end of the process waits for a reader of the log that stalls.
const PATIENCE: Duration = Duration::from_secs(2);

/// The lines of this process.
static LINES: Lines = Lines { state: Mutex::new(State::new()), changed: Condvar::new() };

struct Lines {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: Vec<u8>,
    /// The lines that found no room.
    lost: u64,
    /// Whether a thread writes the lines. Otherwise each line is written at once.
    is_gathered: bool,
    is_written: bool,
}

impl State {
    const fn new() -> Self {
        Self { waiting: Vec::new(), lost: 0, is_gathered: false, is_written: true }
    }
}

impl Lines {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what has gathered, until [`Gathering`] is dropped.
    fn write(&self) {
        loop {
            let mut state = self.state();
            while state.waiting.is_empty() && state.is_gathered {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.is_gathered {
                drop(state);
                std::thread::sleep(MOMENT);
                state = self.state();
            }
            let is_last = !state.is_gathered;
            let lines = std::mem::take(&mut state.waiting);
            let lost = std::mem::take(&mut state.lost);
            drop(state);
            // A closed standard error has no reader who could learn of it.
            let _ = io::stderr().write_all(&lines);
            if lost > 0 {
                tracing::warn!(lost, "log lines were lost: their reader stalled");
            }
            if is_last {
                self.state().is_written = true;
                self.changed.notify_all();
                return;
            }
        }
    }
}

/// Returns the writer of one line.
pub(super) fn writer() -> Line {
    Line
}

/// Writes a line with each call.
pub(super) struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = LINES.state();
        if !state.is_gathered {
            drop(state);
            return io::stderr().write(line);
        }
        if state.waiting.len() + line.len() > MOST {
            state.lost += 1;
            return Ok(line.len());
        }
        if state.waiting.is_empty() {
            LINES.changed.notify_all();
        }
        state.waiting.extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines are gathered until this is dropped, which writes the last ones.
pub struct Gathering(Option<JoinHandle<()>>);

/// Begins to gather the lines of this process.
pub fn gather() -> io::Result<Gathering> {
    let thread = std::thread::Builder::new().name("log".to_owned());
    let mut state = LINES.state();
    let thread = thread.spawn(|| LINES.write())?;
    (state.is_gathered, state.is_written) = (true, false);
    Ok(Gathering(Some(thread)))
}

impl Drop for Gathering {
    fn drop(&mut self) {
        let mut state = LINES.state();
        state.is_gathered = false;
        LINES.changed.notify_all();
        let is_open = |state: &mut State| !state.is_written;
        let waited = LINES.changed.wait_timeout_while(state, PATIENCE, is_open);
        let is_written = waited.is_ok_and(|(state, _)| state.is_written);
        if let Some(thread) = self.0.take().filter(|_| is_written) {
            let _ = thread.join();
        }
    }
}
