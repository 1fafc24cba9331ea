//! The time by which leases are judged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::status_list::StatusLists;

/// The clock of the leases: the verifier's clock, corrected by the time floor, which a clock that
/// is set back cannot slow down.
pub(super) struct LeaseClock {
    lists: Arc<StatusLists>,
    anchor: Mutex<Option<Anchor>>,
}

/// The moment of the last response of the control plane.
#[derive(Clone, Copy)]
struct Anchor {
    /// The server's time, in seconds since 1970.
    server: i64,
    /// The time of this machine's clock.
    local: i64,
    instant: Instant,
}

impl LeaseClock {
    pub(super) fn new(lists: Arc<StatusLists>) -> Self {
        Self { lists, anchor: Mutex::new(None) }
    }

    /// Returns the time by which leases end, in seconds since 1970.
    ///
    /// It is the floor clock. A clock that was set back after the last response counts as one that
    /// ran on: since that response, at least the time of the monotonic clock has passed. The lesser
    /// of both clocks is the start, so a server whose clock is ahead ends no lease early.
    pub(super) fn now(&self) -> i64 {
        let now = self.floor_clock();
        let at_least = self.anchor().map(|anchor| {
            let since = anchor.server.min(anchor.local);
            since.saturating_add(seconds(anchor.instant.elapsed()))
        });
        at_least.map_or(now, |at_least| now.max(at_least))
    }

    /// Returns an estimate of the server's time, by which heartbeats are due. A clock of this
    /// machine that is wrong by a constant does not matter.
    pub(super) fn server_now(&self) -> i64 {
        let now = self.floor_clock();
        let Some(anchor) = self.anchor() else { return now };
        // The monotonic clock stands still while the machine is suspended.
        let passed = now.saturating_sub(anchor.local).max(seconds(anchor.instant.elapsed()));
        anchor.server.saturating_add(passed)
    }

    /// Notes the server's time in a response that has just arrived.
    pub(super) fn note(&self, server: i64) {
        let anchor = Anchor { server, local: self.floor_clock(), instant: Instant::now() };
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) = Some(anchor);
    }

    fn floor_clock(&self) -> i64 {
        self.lists.floor.corrected(self.lists.clock.now())
    }

    fn anchor(&self) -> Option<Anchor> {
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
