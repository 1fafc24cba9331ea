//! The time by which leases are judged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::status_list::StatusLists;

/// The clock of the leases: the time of the control plane's last response, and the time that has
/// passed since then.
///
/// The floor clock and the monotonic clock measure the passed time, and the greater value counts. So
/// a clock that is wrong by a constant neither ends a lease early nor delays a heartbeat, and a
/// clock that is set back does not prolong a lease. The monotonic clock alone would stand still
/// while the machine is suspended.
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

    /// Returns the time, in seconds since 1970: that of the floor clock before the first response.
    pub(super) fn now(&self) -> i64 {
        let now = self.floor_clock();
        let anchor = *self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Anchor { server, local, instant }) = anchor else { return now };
        let monotonic = i64::try_from(instant.elapsed().as_secs()).unwrap_or(i64::MAX);
        server.saturating_add(now.saturating_sub(local).max(monotonic))
    }

    /// Notes the server's time in a response that has just arrived.
    pub(super) fn note(&self, server: i64) {
        let anchor = Anchor { server, local: self.floor_clock(), instant: Instant::now() };
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) = Some(anchor);
    }

    fn floor_clock(&self) -> i64 {
        self.lists.floor.corrected(self.lists.clock.now())
    }
}
