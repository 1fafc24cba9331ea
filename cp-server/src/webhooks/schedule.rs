//! The times of attempts, and the end of an endpoint that only fails.

use chrono::{DateTime, TimeDelta, Utc};

use crate::kernel::clock::Random;

/// The seconds between an attempt and the next one.
const WAITS: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// The longest `Retry-After` that counts.
const LONGEST_REQUEST: TimeDelta = TimeDelta::hours(1);
/// An endpoint that has only failed for this time, and this often, is disabled.
const FAILING: TimeDelta = TimeDelta::days(5);
const FAILURES: i32 = 10;

/// Returns the instant of the next attempt after `attempts` of them; `None` after the last one.
///
/// A tenth to either side of 20 percent spreads the attempts. `Retry-After` of the receiver counts if it
/// is longer, up to an hour.
pub(super) fn next_attempt(
    random: &Random,
    now: DateTime<Utc>,
    attempts: i32,
    asked: Option<TimeDelta>,
) -> Option<DateTime<Utc>> {
    let wait = usize::try_from(attempts).ok().and_then(|n| WAITS.get(n.checked_sub(1)?))?;
    let spread = i64::from(u16::from_be_bytes(random.bytes()));
    let millis = wait * 800 + wait * 400 * spread / i64::from(u16::MAX);
    let asked = asked.unwrap_or_default().min(LONGEST_REQUEST);
    Some(now + TimeDelta::milliseconds(millis).max(asked))
}

/// Whether the endpoint has failed for too long.
pub(super) fn is_given_up(now: DateTime<Utc>, failing_since: DateTime<Utc>, failures: i32) -> bool {
    failures >= FAILURES && now - failing_since >= FAILING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_follow_the_schedule() {
        let random = Random::seeded(7);
        let now = DateTime::UNIX_EPOCH;
        for (n, wait) in (1..).zip(WAITS) {
            for _ in 0..50 {
                let next = (next_attempt(&random, now, n, None).unwrap() - now).num_milliseconds();
                assert!((wait * 800..=wait * 1200).contains(&next), "{n}: {next}");
            }
        }
        assert_eq!(next_attempt(&random, now, 10, None), None);
        assert_eq!(next_attempt(&random, now, 0, None), None);
        let asked = |asked| next_attempt(&random, now, 1, Some(asked)).unwrap() - now;
        assert_eq!(asked(TimeDelta::minutes(30)), TimeDelta::minutes(30));
        assert_eq!(asked(TimeDelta::hours(9)), TimeDelta::hours(1));
        assert!(asked(TimeDelta::seconds(1)) >= TimeDelta::seconds(4));
    }

    #[test]
    fn endpoint_is_given_up_after_five_days_and_ten_failures() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(100);
        assert!(is_given_up(now, now - TimeDelta::days(5), 10));
        assert!(!is_given_up(now, now - TimeDelta::days(5), 9));
        assert!(!is_given_up(now, now - TimeDelta::days(4), 1000));
    }
}
