//! Buckets: the sizes of counters, and the division of a stretch of time into the fewest buckets.

use chrono::{DateTime, Utc};

pub(super) const INSTANT: i64 = 1;
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
/// A grain that contains all time.
pub const EVER: i64 = i64::MAX;

/// The sizes of buckets, in microseconds; each is a multiple of the previous one.
pub(super) const SIZES: [i64; 5] = [INSTANT, SECOND, MINUTE, HOUR, DAY];
/// The midnight that begins the year 10000, after every possible observation.
const END: i64 = 253_402_300_800 * SECOND;

/// A stretch of time. Both ends are inclusive; `None` is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interval {
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
}

impl Interval {
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.since.is_none_or(|since| since <= at) && self.until.is_none_or(|until| at <= until)
    }

    /// Returns the interval in microseconds since 1970, with an exclusive end.
    pub(super) fn micros(&self) -> (i64, i64) {
        let since = self.since.map_or(0, |at| at.timestamp_micros().max(0));
        let until = self.until.map_or(END, |at| (at.timestamp_micros() + 1).clamp(0, END));
        (since, until.max(since))
    }
}

/// Buckets of one size, from the first to before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) size: i64,
    pub(super) since: i64,
    pub(super) until: i64,
}

/// Returns the fewest buckets that cover a stretch of time exactly, none larger than the grain.
pub(super) fn spans((mut since, mut until): (i64, i64), grain: i64) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut add = |size, since, until| {
        if since < until {
            spans.push(Span { size, since, until });
        }
    };
    for (n, size) in SIZES.into_iter().enumerate() {
        let larger = SIZES.get(n + 1).copied().filter(|larger| *larger <= grain);
        // The beginning and the end of the whole buckets of the next size.
        let inner =
            larger.map(|larger| ((since + larger - 1) / larger * larger, until / larger * larger));
        let Some((first, last)) = inner.filter(|(first, last)| first < last) else {
            add(size, since, until);
            break;
        };
        add(size, since, first);
        add(size, last, until);
        (since, until) = (first, last);
    }
    spans
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(size: i64, since: i64, until: i64) -> Span {
        Span { size, since, until }
    }

    #[test]
    fn a_window_is_its_days_and_what_is_left_at_both_ends() {
        assert_eq!(spans((0, 3 * DAY), EVER), [whole(DAY, 0, 3 * DAY)]);
        assert_eq!(spans((5, 5), EVER), []);
        assert_eq!(spans((5, 6), EVER), [whole(INSTANT, 5, 6)]);
        let end = 2 * DAY + 2 * HOUR + MINUTE + 1;
        assert_eq!(
            spans((DAY - 1, end), EVER),
            [
                whole(INSTANT, DAY - 1, DAY),
                whole(INSTANT, end - 1, end),
                whole(MINUTE, end - 1 - MINUTE, end - 1),
                whole(HOUR, 2 * DAY, 2 * DAY + 2 * HOUR),
                whole(DAY, DAY, 2 * DAY),
            ]
        );
        assert_eq!(spans((0, DAY), HOUR), [whole(HOUR, 0, DAY)]);
        assert_eq!(Interval::default().micros(), (0, END));
        assert_eq!(END % DAY, 0);
    }

    proptest! {
        /// Every instant of a window is in exactly one bucket, and no bucket exceeds the window.
        #[test]
        fn spans_make_up_the_window(
            since in 0..3 * DAY,
            length in 0..40 * DAY,
            probe in 0..44 * DAY,
            grain in prop::sample::select(vec![HOUR, DAY, EVER]),
        ) {
            let (since, until) = (since, since + length);
            let spans = spans((since, until), grain);
            for at in [probe, since, until, since - 1, until - 1] {
                let times = spans
                    .iter()
                    .filter(|span| {
                        let bucket = at - at.rem_euclid(span.size);
                        (span.since..span.until).contains(&bucket)
                    })
                    .count();
                prop_assert_eq!(times, usize::from((since..until).contains(&at)), "{}", at);
            }
            for span in &spans {
                prop_assert!(span.since % span.size == 0 && span.until % span.size == 0);
                prop_assert!(span.since >= since && span.until <= until);
                prop_assert!(span.size <= grain);
                // The bound on the number of rows: fewer than two of the next size, except of the
                // largest.
                let next = SIZES.iter().find(|size| **size > span.size && **size <= grain);
                prop_assert!(next.is_none_or(|next| span.until - span.since < 2 * next));
            }
        }
    }
}
