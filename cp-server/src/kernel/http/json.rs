//! The content of requests: strict JSON, checked query strings, absent-or-null members.

mod objects;
pub mod refusal;
mod repair;
mod strict;

use axum::body::Bytes;
use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::objects::Objects;
use self::refusal::{Part, Refusal};
pub use self::strict::ITEMS;
use self::strict::check;
use crate::kernel::digits;
use crate::kernel::error::{Error, Result};

/// PostgreSQL strings cannot contain U+0000, so neither database gets one.
const NO_NUL: &str = "must not contain U+0000";

/// The size in bytes up to which a body is searched for all refused fields. The search reads the body
/// several times, which a larger body of a hostile client must not cost.
const SEARCHED: usize = 64 * 1024;

/// Reads a JSON body: 400 for a body that is not strict JSON, 422 for refused fields.
pub fn read<T: DeserializeOwned + JsonSchema>(body: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(body)
        .map_err(|e| Error::bad_request(format!("The body must be UTF-8: {e}.")))?;
    check(text).map_err(|e| Error::bad_request(format!("The body must be strict JSON: {e}.")))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let error = match serde_path_to_error::deserialize(Objects(&mut reader)) {
        Ok(input) => return Ok(input),
        Err(error) => error,
    };
    let first =
        Refusal::of(refusal::BODY, &error.path().to_string(), &error.into_inner().to_string());
    let refusals = match serde_json::from_str(text) {
        Ok(body) if text.len() <= SEARCHED => repair::refusals::<T>(body),
        _ => Vec::new(),
    };
    Err(refusal::error(if refusals.is_empty() { vec![first] } else { refusals }))
}

/// Reads a member of a body whose form another member decides. Refusals name it by `field`.
pub fn read_member<T: DeserializeOwned>(field: &str, member: Value) -> Result<T> {
    serde_path_to_error::deserialize(Objects(member)).map_err(|error| {
        let path = match error.path().to_string() {
            root if root == "." => field.to_owned(),
            path => format!("{field}.{path}"),
        };
        let refusal = Refusal::of(refusal::BODY, &path, &error.into_inner().to_string());
        refusal::error(vec![refusal])
    })
}

/// Reads a document of another party just as strictly: a token's claims, a published key set.
///
/// # Errors
/// Fails with the reason, to follow the name of the document.
pub fn strict(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|e| format!("not UTF-8: {e}"))?;
    check(text).and_then(|()| serde_json::from_str(text)).map_err(|e| e.to_string())
}

/// Adds the members of a query string to the body of a change: `?form=file` is equivalent to
/// `{"form": "file"}`.
pub fn with_query(body: Bytes, query: &str) -> Result<Bytes> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes()).peekable();
    if pairs.peek().is_none() {
        return Ok(body);
    }
    let mut members: Map<String, Value> = Map::new();
    if !body.is_empty() {
        read::<Map<String, Value>>(&body)?;
        members = digits::read(&body).map_err(Error::internal)?;
    }
    let mut refusals = Vec::new();
    for (name, value) in pairs {
        if let Some(rule) = unsound(&value) {
            refusals.push(Refusal::new(&name, rule));
        } else if members.insert(name.to_string(), value.into()).is_some() {
            let rule = "must be sent only once, in the query string or in the body";
            refusals.push(Refusal::new(&name, rule));
        }
    }
    if !refusals.is_empty() {
        return Err(refusal::error(refusals));
    }
    digits::write(&members).map(Bytes::from).map_err(Error::internal)
}

/// Returns the rule that a value of a query string breaks. The decoder puts U+FFFD in the place of
/// bytes that are not UTF-8.
fn unsound(value: &str) -> Option<&'static str> {
    match value {
        _ if value.contains('\0') => Some(NO_NUL),
        _ if value.contains(char::REPLACEMENT_CHARACTER) => Some("must be UTF-8"),
        _ => None,
    }
}

/// Reads a query string.
pub fn read_query<T: DeserializeOwned>(pairs: &[(String, String)]) -> Result<T> {
    read_pairs(refusal::QUERY, pairs).map_err(refusal::error)
}

/// Reads parameters of a query string. To find all refused ones, it removes each and reads again.
///
/// # Errors
/// Fails with all refusals, except those behind a missing parameter.
pub(super) fn read_pairs<T: DeserializeOwned>(
    part: Part,
    pairs: &[(String, String)],
) -> Result<T, Vec<Refusal>> {
    let (mut refusals, mut pairs) = (Vec::new(), pairs.to_vec());
    pairs.retain(|(name, value)| {
        let rule = unsound(value);
        refusals.extend(rule.map(|rule| Refusal::new(name, rule)));
        rule.is_none()
    });
    loop {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        let text = text.extend_pairs(&pairs).finish();
        let parsed = url::form_urlencoded::parse(text.as_bytes());
        let reader = serde_urlencoded::Deserializer::new(parsed);
        let error = match serde_path_to_error::deserialize(reader) {
            Ok(input) if refusals.is_empty() => return Ok(input),
            Ok(_) => return Err(refusals),
            Err(error) => error,
        };
        let path = error.path().to_string();
        let refusal = Refusal::of(part, &path, &error.into_inner().to_string());
        let before = pairs.len();
        pairs.retain(|(name, _)| *name != refusal.field);
        // A parameter that was refused and removed may be required.
        if !refusals.iter().any(|earlier: &Refusal| earlier.field == refusal.field) {
            refusals.push(refusal);
        }
        if pairs.len() == before {
            return Err(refusals);
        }
    }
}

/// A member of a PATCH: an absent member keeps the value, `null` clears it, others set it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Patch<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T> Patch<T> {
    /// Returns the value after the patch.
    pub fn over(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(value) => Patch::Set(change(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Option::<T>::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

/// An integer from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Between<const MIN: i64, const MAX: i64>(pub i64);

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Between<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = i64::deserialize(deserializer)?;
        if (MIN..=MAX).contains(&n) {
            return Ok(Self(n));
        }
        let range = match MAX {
            i64::MAX => format!("at least {MIN}"),
            _ => format!("between {MIN} and {MAX}"),
        };
        Err(de::Error::custom(format!("must be {range} (got {n})")))
    }
}

impl<const MIN: i64, const MAX: i64> JsonSchema for Between<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Between{MIN}And{MAX}").into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"type": "integer", "format": "int64", "minimum": MIN, "maximum": MAX})
    }
}

/// An instant of the years 1970 to 9999, truncated to microseconds: the finest resolution that both
/// databases keep.
///
/// Every instant that a caller sends has this type. SQLite compares instants as strings, which fails
/// for other years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub DateTime<Utc>);

const MOMENT: &str = "must be an RFC 3339 timestamp such as 2026-01-31T12:00:00Z";
const MOMENT_RANGE: &str = "must be an RFC 3339 timestamp of the years 1970 to 9999, without a leap \
                            second, such as 2026-01-31T12:00:00Z";

impl Moment {
    /// The last instant.
    pub const MAX: DateTime<Utc> =
        DateTime::from_timestamp_micros(253_402_300_799_999_999).unwrap();

    pub fn new(at: DateTime<Utc>) -> Result<Self, &'static str> {
        // chrono represents a leap second as more than a second of nanoseconds.
        let is_leap = at.timestamp_subsec_nanos() >= 1_000_000_000;
        DateTime::from_timestamp_micros(at.timestamp_micros())
            .filter(|at| (1970..=9999).contains(&at.year()) && !is_leap)
            .map(Self)
            .ok_or(MOMENT_RANGE)
    }

    /// Returns the instant of an event that the caller reports: an instant slightly ahead becomes now.
    ///
    /// # Errors
    /// Fails with 422 at the field when the instant is more than [`CLOCK_SKEW`] ahead.
    pub fn happened(self, field: &'static str, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        if self.0 <= now + CLOCK_SKEW {
            return Ok(self.0.min(now));
        }
        let instant = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let detail = format!(
            "`{field}` must be at most {} minutes ahead of the server's clock, {} (got {}).",
            CLOCK_SKEW.num_minutes(),
            instant(now),
            instant(self.0)
        );
        Err(Error::invalid(field, detail))
    }
}

/// The maximum by which a caller's clock may be ahead of this server's.
pub const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

impl From<Moment> for DateTime<Utc> {
    fn from(moment: Moment) -> Self {
        moment.0
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        let at = text.parse().map_err(|_| de::Error::custom(MOMENT))?;
        Self::new(at).map_err(de::Error::custom)
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let example = "2026-01-31T12:00:00Z";
        schemars::json_schema!({"type": "string", "format": "date-time", "examples": [example]})
    }
}

/// A number of seats.
pub type SeatCap = Between<1, { i64::MAX }>;

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Body {
        seat_cap: SeatCap,
        #[serde(default)]
        features: Map<String, Value>,
    }

    fn refusal(body: &str) -> (u16, Option<String>, String) {
        let problem = read::<Body>(body.as_bytes()).unwrap_err().document();
        (problem.status, problem.field, problem.detail)
    }

    #[test]
    fn json_is_read_strictly() {
        let body: Body = read(br#"{"seat_cap": 5, "features": {"a": [1, {}]}}"#).unwrap();
        assert_eq!((body.seat_cap.0, body.features.len()), (5, 1));
        for bad in
            ["", "{", r#"{"seat_cap": 5} x"#, r#"{"seat_cap": 5, "features": {"a": 1, "a": 2}}"#]
        {
            assert_eq!(refusal(bad).0, 400, "{bad}");
        }
        assert_eq!(refusal("{\"seat_cap\": 5, \"features\": {\"a\": \"\\u0000\"}}").0, 400);
        let deep = |n: usize| {
            format!(r#"{{"seat_cap": 1, "features": {{"a": {}{}}}}}"#, "[".repeat(n), "]".repeat(n))
        };
        assert!(read::<Body>(deep(62).as_bytes()).is_ok(), "s11: 64 levels");
        assert_eq!(refusal(&deep(63)).0, 400, "s11: 65 levels");
        let wide = |n: usize| {
            format!(r#"{{"seat_cap": 1, "features": {{"a": [{}]}}}}"#, vec!["1"; n].join(","))
        };
        assert!(read::<Body>(wide(1000).as_bytes()).is_ok());
        assert_eq!(refusal(&wide(1001)).0, 400);
    }

    #[test]
    fn refusal_quotes_no_value() {
        let secret = format!("{{\"seat_cap\": 1, \"{}\": 2}}", "s".repeat(41));
        let (_, field, detail) = refusal(&secret);
        assert!(!format!("{field:?}{detail}").contains("sss"), "{field:?} {detail}");
        assert!(!refusal(r#"{"seat_cap": "canary"}"#).2.contains("canary"));
    }

    #[test]
    fn refusal_names_its_field() {
        assert_eq!(refusal("{}").1.as_deref(), Some("seat_cap"));
        assert_eq!(refusal(r#"{"seat_cap": 1, "seats": 2}"#).1.as_deref(), Some("seats"));
        assert_eq!(refusal(r#"{"seat_cap": "five"}"#).1.as_deref(), Some("seat_cap"));
        let (status, field, detail) = refusal(r#"{"seat_cap": 0}"#);
        assert_eq!((status, field.as_deref()), (422, Some("seat_cap")));
        assert_eq!(detail, "`seat_cap` must be at least 1 (got 0).");
    }
}
