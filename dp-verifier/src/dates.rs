//! Dates: seconds since 1970 that people can write down.

use chrono::{DateTime, SecondsFormat, Utc};

/// The last second of the year 9999, in seconds since 1970: no date is later.
pub(crate) const MAX_DATE: i64 = 253_402_300_799;

/// Whether a number of seconds since 1970 is a date.
pub(crate) fn is_date(seconds: i64) -> bool {
    (0..=MAX_DATE).contains(&seconds)
}

/// Formats a date as RFC 3339; `None` when the number is no date.
pub(crate) fn rfc3339(seconds: i64) -> Option<String> {
    let at: DateTime<Utc> = DateTime::from_timestamp(seconds, 0)?;
    Some(at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
