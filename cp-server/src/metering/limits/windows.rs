//! Windows: the stretch of time whose usage a limit sums.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, Utc};

use crate::metering::counters::Interval;

crate::text_enum! {
    /// The kind of stretch of time whose usage a limit sums.
    Window {
        /// The period that ends now, both ends included.
        Rolling = "rolling",
        /// The day, ISO week, month, quarter or year that contains now, in UTC.
        Calendar = "calendar",
        /// All time.
        Gauge = "gauge",
        /// The active cycle of a budget.
        Cycle = "cycle",
    }
}

crate::text_enum! {
    /// The length of a window. A rolling month is 30 days, a quarter 90 days, a year 365 days.
    Period {
        Daily = "daily",
        Weekly = "weekly",
        Monthly = "monthly",
        Quarterly = "quarterly",
        Yearly = "yearly",
    }
}

impl Window {
    /// Returns the window that contains `at`; a rolling window ends with it.
    pub fn at(self, period: Period, at: DateTime<Utc>) -> Interval {
        match self {
            Self::Rolling => Interval {
                since: Some((at - period.length()).max(DateTime::UNIX_EPOCH)),
                until: Some(at),
            },
            Self::Calendar => Interval {
                since: Some(period.start(at)),
                until: Some(period.next(at) - TimeDelta::microseconds(1)),
            },
            // The times of a cycle are those of its row.
            Self::Gauge | Self::Cycle => Interval::default(),
        }
    }
}

impl Period {
    pub fn length(self) -> TimeDelta {
        TimeDelta::days(match self {
            Self::Daily => 1,
            Self::Weekly => 7,
            Self::Monthly => 30,
            Self::Quarterly => 90,
            Self::Yearly => 365,
        })
    }

    /// Returns the first instant of the period that contains `at`.
    pub fn start(self, at: DateTime<Utc>) -> DateTime<Utc> {
        let day = at.date_naive();
        let first = match self {
            Self::Daily => Some(day),
            Self::Weekly => {
                day.checked_sub_days(Days::new(day.weekday().num_days_from_monday().into()))
            }
            Self::Monthly => day.with_day(1),
            Self::Quarterly => NaiveDate::from_ymd_opt(day.year(), day.month0() / 3 * 3 + 1, 1),
            Self::Yearly => NaiveDate::from_ymd_opt(day.year(), 1, 1),
        };
        // The years 1970 to 9999 are far from the last date.
        first.unwrap_or(day).and_time(NaiveTime::MIN).and_utc()
    }

    /// Returns the first instant of the next period.
    pub fn next(self, at: DateTime<Utc>) -> DateTime<Utc> {
        let start = self.start(at);
        let months = |n| start.checked_add_months(Months::new(n)).unwrap_or(start);
        match self {
            Self::Daily => start + TimeDelta::days(1),
            Self::Weekly => start + TimeDelta::days(7),
            Self::Monthly => months(1),
            Self::Quarterly => months(3),
            Self::Yearly => months(12),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn calendar_periods_are_of_utc_and_weeks_begin_on_monday() {
        let leap = at("2028-02-29T23:59:59.999999Z");
        for (period, start, next) in [
            (Period::Daily, "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Period::Weekly, "2028-02-28T00:00:00Z", "2028-03-06T00:00:00Z"),
            (Period::Monthly, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Period::Quarterly, "2028-01-01T00:00:00Z", "2028-04-01T00:00:00Z"),
            (Period::Yearly, "2028-01-01T00:00:00Z", "2029-01-01T00:00:00Z"),
        ] {
            assert_eq!((period.start(leap), period.next(leap)), (at(start), at(next)), "{period}");
            assert_eq!(period.start(at(start)), at(start), "a period contains its first instant");
            assert_eq!(
                period.start(at(next)),
                at(next),
                "a period does not contain the next one's"
            );
        }
        // 1 January 2027 is a Friday: its week began in the previous year.
        assert_eq!(Period::Weekly.start(at("2027-01-01T00:00:00Z")), at("2026-12-28T00:00:00Z"));
        let interval = Window::Calendar.at(Period::Quarterly, at("2026-12-31T12:00:00Z"));
        assert_eq!(interval.since, Some(at("2026-10-01T00:00:00Z")));
        assert_eq!(interval.until, Some(at("2026-12-31T23:59:59.999999Z")));
    }

    #[test]
    fn a_rolling_window_ends_with_the_instant_and_includes_both_ends() {
        let now = at("2026-03-31T12:00:00.000001Z");
        let interval = Window::Rolling.at(Period::Daily, now);
        let first = at("2026-03-30T12:00:00.000001Z");
        assert_eq!(interval, Interval { since: Some(first), until: Some(now) });
        assert!(interval.contains(first) && interval.contains(now));
        assert!(!interval.contains(first - TimeDelta::microseconds(1)));
        let early = Window::Rolling.at(Period::Yearly, at("1970-03-01T00:00:00Z"));
        assert_eq!(early.since, Some(DateTime::UNIX_EPOCH));
        assert!(Window::Gauge.at(Period::Daily, now).contains(DateTime::UNIX_EPOCH));
    }
}
