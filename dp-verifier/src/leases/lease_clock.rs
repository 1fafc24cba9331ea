//! The time by which leases are judged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::status_list::StatusLists;

/// The time by which a response may be older than the clock says, in seconds: for the request itself and for
/// fractions of seconds.
const SLACK: i64 = 2;

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

impl Anchor {
    /// Returns the time by the monotonic clock.
    fn monotonic(&self) -> i64 {
        let elapsed = i64::try_from(self.instant.elapsed().as_secs()).unwrap_or(i64::MAX);
        self.server.saturating_add(elapsed)
    }
}

impl LeaseClock {
    pub(super) fn new(lists: Arc<StatusLists>) -> Self {
        Self { lists, anchor: Mutex::new(None) }
    }

    /// Returns the time, in seconds since 1970: that of the floor clock before the first response.
    pub(super) fn now(&self) -> i64 {
        let now = self.floor_clock();
        let Some(anchor) = self.anchor() else { return now };
        anchor.server.saturating_add(now.saturating_sub(anchor.local)).max(anchor.monotonic())
    }

    /// Notes the server's time in a response that has just arrived.
    pub(super) fn note(&self, server: i64) {
        let anchor = Anchor { server, local: self.floor_clock(), instant: Instant::now() };
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) = Some(anchor);
    }

    /// Notes the time of a heartbeat in a response that has just arrived, if it is the server's time.
    ///
    /// Before `not_before` a heartbeat leaves the lease as it is. The time is then that of an earlier
    /// heartbeat, by another process with the same holder, and would set the clock back. So an
    /// earlier time than this clock's counts only if this clock is past `not_before`, or if the
    /// floor clock was set forward since the last response and the monotonic clock agrees with it.
    pub(super) fn note_heartbeat(&self, at: i64, not_before: i64) {
        let now = self.now();
        let monotonic = self.anchor().map_or(now, |anchor| anchor.monotonic());
        if is_server_time(at, not_before, now, monotonic) {
            self.note(at);
        }
    }

    fn anchor(&self) -> Option<Anchor> {
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn floor_clock(&self) -> i64 {
        self.lists.floor.corrected(self.lists.clock.now())
    }
}

/// Returns whether the time of a heartbeat in a response is the server's time.
fn is_server_time(at: i64, not_before: i64, now: i64, monotonic: i64) -> bool {
    let is_close = at.abs_diff(monotonic) <= SLACK.unsigned_abs();
    at.saturating_add(SLACK) >= now || now >= not_before || is_close
}

#[cfg(test)]
mod tests {
    use super::is_server_time;

    #[test]
    fn heartbeat_of_another_process_is_not_the_server_time() {
        for (at, now, monotonic, expected) in [
            // The heartbeat was written now: by a right clock, and by one that is behind.
            (1_000, 1_000, 1_000, true),
            (1_000, 1_002, 1_002, true),
            (1_000, 700, 700, true),
            // Another process sent the last heartbeat, and this one changed nothing.
            (1_000, 1_003, 1_003, false),
            (1_000, 1_049, 1_049, false),
            // The machine was suspended, so its monotonic clock is behind.
            (1_000, 1_049, 900, false),
            // The server would have written this one: the clock was ahead.
            (1_000, 1_050, 1_050, true),
            // The clock was set forward since the last response.
            (1_000, 1_030, 1_001, true),
        ] {
            let case = format!("{at} {now} {monotonic}");
            assert_eq!(is_server_time(at, 1_050, now, monotonic), expected, "{case}");
        }
    }
}
