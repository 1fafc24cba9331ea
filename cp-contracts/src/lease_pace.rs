//! The pace of a lease's heartbeats, which the server sets.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// The seconds between heartbeats of a lease that lasts until its release: half a day.
const UNTIL_RELEASED: i64 = 12 * 60 * 60;

/// The instants of a lease's next heartbeat. Since 2.10.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasePace {
    /// Before this instant a heartbeat changes nothing.
    pub not_before: DateTime<Utc>,
    /// The instant of the next heartbeat.
    pub next_at: DateTime<Utc>,
}

impl LeasePace {
    /// Returns the pace after a heartbeat.
    ///
    /// The next heartbeat is due after half the `ttl_seconds`, ± 10 % by the lease's ID, so that
    /// leases of one moment do not come back in one moment. Before a sixth it changes nothing.
    /// A lease without `ttl_seconds` has a heartbeat twice a day at most: it changes nothing before
    /// half a day, and is due up to 20 % later.
    #[must_use]
    pub fn after(heartbeat_at: DateTime<Utc>, ttl_seconds: Option<i64>, lease: Uuid) -> Self {
        // The last bytes of a UUID of version 7 are random. 0 ..= 200 thousandths.
        let [.., high, low] = *lease.as_bytes();
        let spread = i64::from(u16::from_be_bytes([high, low])) % 201;
        let milliseconds = |n: i64| TimeDelta::milliseconds(n);
        let (not_before, next) = match ttl_seconds {
            Some(ttl) => (milliseconds(ttl * 1000 / 6), milliseconds(ttl * (900 + spread) / 2)),
            None => (
                milliseconds(UNTIL_RELEASED * 1000),
                milliseconds(UNTIL_RELEASED * (1000 + spread)),
            ),
        };
        Self { not_before: heartbeat_at + not_before, next_at: heartbeat_at + next }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use uuid::Uuid;

    use super::LeasePace;

    fn pace(ttl: Option<i64>, lease: u128) -> (i64, i64) {
        let start = DateTime::<Utc>::UNIX_EPOCH;
        let pace = LeasePace::after(start, ttl, Uuid::from_u128(lease));
        (pace.not_before.timestamp_millis(), pace.next_at.timestamp_millis())
    }

    #[test]
    fn heartbeats_are_spread_around_half_a_ttl() {
        assert_eq!(pace(Some(300), 0), (50_000, 135_000));
        assert_eq!(pace(Some(300), 100), (50_000, 150_000));
        assert_eq!(pace(Some(300), 200), (50_000, 165_000));
        assert_eq!(pace(Some(300), 201), (50_000, 135_000));
    }

    #[test]
    fn lease_without_ttl_has_at_most_two_heartbeats_a_day() {
        let hours = |n: i64| n * 3_600_000;
        assert_eq!(pace(None, 0), (hours(12), hours(12)));
        assert_eq!(pace(None, 200), (hours(12), hours(144) / 10));
    }
}
