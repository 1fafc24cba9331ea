//! Dates: seconds since 1970 up to the year 9999.

use chrono::{DateTime, SecondsFormat, Utc};

/// The last second of the year 9999, in seconds since 1970. It is the latest date.
pub(crate) const MAX_DATE: i64 = 253_402_300_799;

/// Returns whether a number of seconds since 1970 is a date.
pub(crate) fn is_date(seconds: i64) -> bool {
    (0..=MAX_DATE).contains(&seconds)
}

/// Formats a date as RFC 3339. Returns `None` for a number that is no date.
pub(crate) fn rfc3339(seconds: i64) -> Option<String> {
    let at: DateTime<Utc> = DateTime::from_timestamp(seconds, 0)?;
    Some(at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
