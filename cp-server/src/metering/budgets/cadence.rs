//! Cadences: when the cycles of a budget end.

use chrono::{DateTime, Datelike, Months, NaiveTime, TimeDelta, Utc};

use crate::metering::counters::Interval;
use crate::metering::limits::windows::Period;

crate::text_enum! {
    /// The length of a budget's cycles. A caller ends a `manual` cycle.
    Cadence {
        Monthly = "monthly",
        Quarterly = "quarterly",
        Yearly = "yearly",
        Manual = "manual",
    }
}

impl Cadence {
    /// Returns the end of a cycle that begins at `start`. The end is a renewal day, 00:00 UTC. A
    /// cycle that begins between renewal days is shorter than the others.
    pub fn end_after(self, start: DateTime<Utc>, renewal_day: i64) -> Option<DateTime<Utc>> {
        let months = match self {
            Self::Monthly => 1,
            Self::Quarterly => 3,
            Self::Yearly => 12,
            Self::Manual => return None,
        };
        let day = u32::try_from(renewal_day).ok()?;
        let first = start.date_naive().with_day(day)?.and_time(NaiveTime::MIN).and_utc();
        let next = if first > start { first } else { first.checked_add_months(Months::new(1))? };
        next.checked_add_months(Months::new(months - 1))
    }

    /// Returns the first end after `at` of the cycles that follow each other from `start`.
    pub fn end_beyond(
        self,
        start: DateTime<Utc>,
        renewal_day: i64,
        at: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let mut end = self.end_after(start, renewal_day);
        while let Some(past) = end.filter(|end| *end <= at) {
            end = self.end_after(past, renewal_day);
        }
        end
    }

    /// Returns the period that the rows of a cycle's limits have.
    pub fn period(self) -> Period {
        match self {
            Self::Monthly | Self::Manual => Period::Monthly,
            Self::Quarterly => Period::Quarterly,
            Self::Yearly => Period::Yearly,
        }
    }
}

/// The times of an active cycle, and of the ones that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CycleTimes {
    pub starts_at: DateTime<Utc>,
    /// Exclusive; `None` for a cycle that a caller ends.
    pub ends_at: Option<DateTime<Utc>>,
    pub cadence: Cadence,
    pub renewal_day: i64,
}

impl CycleTimes {
    /// Returns the cycle that contains `at`: this one, or one of the next ones, which no job has
    /// opened yet. `None` before this cycle.
    pub fn at(self, at: DateTime<Utc>) -> Option<Interval> {
        let (mut since, mut end) = (self.starts_at, self.ends_at);
        while let Some(past) = end.filter(|end| *end <= at) {
            (since, end) = (past, self.cadence.end_after(past, self.renewal_day));
        }
        let until = end.map(|end| end - TimeDelta::microseconds(1));
        (since <= at).then_some(Interval { since: Some(since), until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn cycles_end_on_renewal_days() {
        for (cadence, start, day, end) in [
            (Cadence::Monthly, "2026-01-15T08:00:00Z", 1, "2026-02-01T00:00:00Z"),
            (Cadence::Monthly, "2026-02-01T00:00:00Z", 1, "2026-03-01T00:00:00Z"),
            (Cadence::Monthly, "2026-01-31T23:59:59Z", 28, "2026-02-28T00:00:00Z"),
            (Cadence::Monthly, "2026-01-15T00:00:00Z", 20, "2026-01-20T00:00:00Z"),
            (Cadence::Quarterly, "2026-01-01T00:00:00Z", 1, "2026-04-01T00:00:00Z"),
            (Cadence::Yearly, "2026-12-28T00:00:00.000001Z", 28, "2027-12-28T00:00:00Z"),
        ] {
            assert_eq!(cadence.end_after(at(start), day), Some(at(end)), "{cadence} {start}");
        }
        assert_eq!(Cadence::Manual.end_after(at("2026-01-01T00:00:00Z"), 1), None);
    }

    #[test]
    fn end_beyond_an_instant_is_later_than_it() {
        for (cadence, start, day, now, end) in [
            (Cadence::Monthly, "2026-04-01T00:00:00Z", 5, "2026-04-20T00:00:00Z", "2026-05-05"),
            (Cadence::Monthly, "2026-01-01T00:00:00Z", 1, "2026-06-10T12:00:00Z", "2026-07-01"),
            (Cadence::Monthly, "2026-01-01T00:00:00Z", 1, "2026-07-01T00:00:00Z", "2026-08-01"),
            (Cadence::Quarterly, "2026-04-01T00:00:00Z", 1, "2026-04-20T00:00:00Z", "2026-07-01"),
        ] {
            let end = at(&format!("{end}T00:00:00Z"));
            assert_eq!(cadence.end_beyond(at(start), day, at(now)), Some(end), "{cadence} {now}");
        }
        let now = at("2026-04-20T00:00:00Z");
        assert_eq!(Cadence::Manual.end_beyond(at("2026-04-01T00:00:00Z"), 1, now), None);
    }

    #[test]
    fn window_of_an_instant_contains_it() {
        let [starts_at, ends_at] = ["2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z"].map(at);
        let (cadence, renewal_day) = (Cadence::Monthly, 1);
        let times = CycleTimes { starts_at, ends_at: Some(ends_at), cadence, renewal_day };
        let window = |instant: &str| {
            let found = times.at(at(instant));
            found.map(|window| (window.since.unwrap(), window.until.unwrap()))
        };
        for (instant, since, end) in [
            ("2026-01-15T00:00:00Z", "2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z"),
            ("2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("2026-06-30T23:59:59Z", "2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ] {
            let expected = (at(since), at(end) - TimeDelta::microseconds(1));
            assert_eq!(window(instant), Some(expected), "{instant}");
        }
        assert_eq!(window("2026-01-14T23:59:59Z"), None);
        let manual = CycleTimes { ends_at: None, cadence: Cadence::Manual, ..times };
        let open = Interval { since: Some(starts_at), until: None };
        assert_eq!(manual.at(at("2030-01-01T00:00:00Z")), Some(open));
    }
}
