//! Parsing of optional timestamps: RFC 3339, and the form without an offset.
//!
//! Issuers of contract 1.x wrote UTC times without an offset (`2026-01-31T00:00:00`), and the
//! published Python readers accept that form. These members are informative, so this crate accepts
//! it too. It always writes RFC 3339 in UTC.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Deserializer, de};

pub(crate) fn optional<'de, D: Deserializer<'de>>(d: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    match Option::<Cow<'de, str>>::deserialize(d)? {
        None => Ok(None),
        Some(text) => parse(&text).map(Some).ok_or_else(|| {
            de::Error::custom("a timestamp must be RFC 3339, such as 2026-01-31T00:00:00Z")
        }),
    }
}

fn parse(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|at| at.and_utc())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_absent_offset_means_utc() {
        let expected = parse("2026-01-31T10:00:00.5Z").unwrap();
        assert_eq!(parse("2026-01-31T10:00:00.500"), Some(expected));
        assert_eq!(parse("2026-01-31T12:00:00.5+02:00"), Some(expected));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "2026-01-31", "1767225600", "31.01.2026 10:00", "2026-02-30T00:00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
