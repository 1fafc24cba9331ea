//! The pace of a lease's heartbeats, which the server sets.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// The seconds for which a lease without an end is paced, as if it lasted that long: a day.
const UNTIL_RELEASED: i64 = 24 * 60 * 60;

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
    /// leases of one moment do not come back in one moment. Before a sixth it changes nothing. A
    /// lease without `ttl_seconds` has the pace of one of a day.
    #[must_use]
    pub fn after(heartbeat_at: DateTime<Utc>, ttl_seconds: Option<i64>, lease: Uuid) -> Self {
        let ttl = TimeDelta::seconds(ttl_seconds.unwrap_or(UNTIL_RELEASED));
        // The last byte of a UUID of version 7 is random.
        let spread = i64::from(lease.as_bytes()[15]) - 128;
        let next = TimeDelta::milliseconds(ttl.num_milliseconds() * (1280 + spread) / 2560);
        Self { not_before: heartbeat_at + ttl / 6, next_at: heartbeat_at + next }
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
        assert_eq!(pace(Some(300), 128), (50_000, 150_000));
        assert_eq!(pace(Some(300), 255), (50_000, 164_882));
        assert_eq!(pace(Some(300), 256), (50_000, 135_000));
    }

    #[test]
    fn lease_without_ttl_has_the_pace_of_a_day() {
        let hours = |n: i64| n * 3_600_000;
        assert_eq!(pace(None, 128), (hours(4), hours(12)));
        assert_eq!(pace(None, 200), pace(Some(86_400), 200));
    }
}
