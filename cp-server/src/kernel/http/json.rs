//! What a request may hold: strict JSON, checked query strings, absent-or-null members.

use std::collections::HashSet;
use std::fmt;

use axum::body::Bytes;
use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::kernel::error::{Error, Result};
use crate::kernel::text::named;

/// Nesting that no honest request needs more of.
const DEPTH: usize = 64;
/// Items that an array of a request holds at most.
pub const ITEMS: usize = 1000;

/// Reads a JSON body: 400 for what is not strict JSON, 422 naming the field for what does not fit.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(body)
        .map_err(|e| Error::bad_request(format!("The body is not UTF-8: {e}.")))?;
    check(text)
        .map_err(|e| Error::bad_request(format!("The body is not acceptable JSON: {e}.")))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let path = e.path().to_string();
        misfit(&path, &e.into_inner().to_string())
    })
}

/// Reads somebody else's document as strictly: a token's claims, a published set of keys.
///
/// # Errors
/// What is wrong with it, to be said after its name.
pub fn strict(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|e| format!("not UTF-8: {e}"))?;
    check(text).and_then(|()| serde_json::from_str(text)).map_err(|e| e.to_string())
}

fn check(text: &str) -> serde_json::Result<()> {
    let mut strict = serde_json::Deserializer::from_str(text);
    Strict(DEPTH).deserialize(&mut strict).and_then(|()| strict.end())
}

/// The body of a change, with the members that its query string adds: `?form=file` says the same as
/// `{"form": "file"}`.
pub fn with_query(body: Bytes, query: &str) -> Result<Bytes> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes()).peekable();
    if pairs.peek().is_none() {
        return Ok(body);
    }
    let mut members: Map<String, Value> = if body.is_empty() { Map::new() } else { read(&body)? };
    for (name, value) in pairs {
        if value.contains('\0') {
            return Err(Error::invalid(shown(&name), format!("{} contains U+0000", named(&name))));
        }
        if members.insert(name.to_string(), value.into()).is_some() {
            let detail =
                format!("{}: it is given twice, in the query string or the body too", named(&name));
            return Err(Error::invalid(shown(&name), detail));
        }
    }
    serde_json::to_vec(&members).map(Bytes::from).map_err(Error::internal)
}

/// Reads a query string, from which `limit` and `cursor` of a list were taken.
pub fn read_query<T: DeserializeOwned>(pairs: &[(String, String)]) -> Result<T> {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if value.contains('\0') {
            return Err(Error::invalid(shown(name), format!("{} contains U+0000", named(name))));
        }
        text.append_pair(name, value);
    }
    let text = text.finish();
    let reader = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(text.as_bytes()));
    serde_path_to_error::deserialize(reader).map_err(|e| {
        let path = e.path().to_string();
        misfit(&path, &e.into_inner().to_string())
    })
}

/// Words for a value that does not fit, and the field that is at fault.
fn misfit(path: &str, message: &str) -> Error {
    let message = unquoted(message);
    // serde names a missing or unknown field in the message, not in the path.
    let name = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|lead| message.strip_prefix(lead)?.split('`').next());
    let path = shown(path);
    let field = match (&*path, name) {
        ("." | "", Some(name)) => name.to_owned(),
        (path, Some(name)) if !path.split('.').any(|part| part == name) => format!("{path}.{name}"),
        (path, _) => path.to_owned(),
    };
    if name.is_some() || message.starts_with("unknown field") || field == "." {
        return Error::invalid(field, format!("The request does not fit: {message}."));
    }
    let detail = format!("{field}: {message}");
    Error::invalid(field, detail)
}

/// A path as it may be shown: a member that the caller named is part of it.
fn shown(path: &str) -> String {
    let is_index = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |part: &str| {
        let mut steps = part.split('[').map(|step| step.trim_end_matches(']'));
        part == "?" || steps.all(|step| is_index(step) || named(step).starts_with('`'))
    };
    let parts = path.split('.').map(|part| if is_name(part) { part } else { "…" });
    parts.collect::<Vec<_>>().join(".")
}

/// A message of serde without the value that it quotes, which may be a secret in the wrong place,
/// and without the line.
///
/// serde has one form for each kind of misfit, and names what it expected last; what is quoted may
/// contain the same words, so the end is looked for from behind.
pub fn unquoted(message: &str) -> String {
    for lead in ["invalid type: ", "invalid value: "] {
        let Some(rest) = message.strip_prefix(lead) else { continue };
        let Some((found, expected)) = rest.rsplit_once(", expected ") else { continue };
        // `string "…"`, `integer `5``, `map`: the kind is in front of the first quote.
        let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
        return format!("{lead}{kind}, expected {}", without_line(expected));
    }
    for (what, lead) in
        [("unknown variant", "unknown variant `"), ("unknown field", "unknown field `")]
    {
        let Some(rest) = message.strip_prefix(lead) else { continue };
        let none = rest
            .rsplit_once("`, there are no ")
            .map(|(found, rest)| (found, format!("there are no {rest}")));
        let some = rest
            .split_once("`, expected ")
            .map(|(found, rest)| (found, format!("expected {rest}")));
        let Some((found, expected)) = some.or(none) else { return what.to_owned() };
        let expected = without_line(&expected);
        return match named(found) {
            name if what == "unknown field" && name.starts_with('`') => {
                format!("{what} {name}, {expected}")
            }
            length if what == "unknown field" => format!("{what}, {length}, {expected}"),
            _ => format!("{what}, {expected}"),
        };
    }
    without_line(message).to_owned()
}

fn without_line(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message)
}

/// Walks a JSON text and keeps nothing: no member twice, no U+0000, bounded depth and arrays.
struct Strict(usize);

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        // PostgreSQL keeps no U+0000 in a text, so neither database is given one.
        if text.contains('\0') { Err(E::custom("a text contains U+0000")) } else { Ok(()) }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut count = 0;
        while items.next_element_seed(Strict(depth))?.is_some() {
            count += 1;
            if count > ITEMS {
                return Err(de::Error::custom(format!("an array has more than {ITEMS} items")));
            }
        }
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            self.visit_str(&name)?;
            members.next_value_seed(Strict(depth))?;
            if let Some(twice) = names.replace(name) {
                return Err(de::Error::custom(format!(
                    "the member {} stands twice",
                    named(&twice)
                )));
            }
        }
        Ok(())
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        *self
    }
}
impl Copy for Strict {}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<usize, E> {
        self.0.checked_sub(1).ok_or_else(|| E::custom(format!("nested deeper than {DEPTH}")))
    }
}

/// A member of a PATCH: absent leaves the value, `null` clears it, anything else sets it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Patch<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T> Patch<T> {
    /// The value after the patch.
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

/// A whole number of at least `MIN` and at most `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Between<const MIN: i64, const MAX: i64>(pub i64);

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Between<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = i64::deserialize(deserializer)?;
        if (MIN..=MAX).contains(&n) {
            return Ok(Self(n));
        }
        let range =
            if MAX == i64::MAX { format!("at least {MIN}") } else { format!("{MIN} to {MAX}") };
        Err(de::Error::custom(format!("is {n}; it takes {range}")))
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

/// An instant of the years 1970 to 9999, cut to microseconds: the finest that both databases keep.
///
/// Every instant that a caller sends is one. Others break a comparison: SQLite compares them as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub DateTime<Utc>);

/// What a refused instant is told to be.
const MOMENT: &str = "must be an RFC 3339 time of the years 1970 to 9999, such as \
                      2026-01-02T03:04:05Z, and no leap second";

impl Moment {
    /// The last one.
    pub const MAX: DateTime<Utc> =
        DateTime::from_timestamp_micros(253_402_300_799_999_999).unwrap();

    pub fn new(told: DateTime<Utc>) -> Result<Self, &'static str> {
        // chrono keeps a leap second as more than a second of nanoseconds.
        let is_leap = told.timestamp_subsec_nanos() >= 1_000_000_000;
        DateTime::from_timestamp_micros(told.timestamp_micros())
            .filter(|at| (1970..=9999).contains(&at.year()) && !is_leap)
            .map(Self)
            .ok_or(MOMENT)
    }

    /// When something happened that the caller reports: a clock that is a little ahead counts as now.
    ///
    /// # Errors
    /// 422 at the field when the instant is more than [`CLOCK_SKEW`] ahead: it has not happened yet.
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

/// How far a caller's clock may be ahead of this server's.
pub const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

impl From<Moment> for DateTime<Utc> {
    fn from(moment: Moment) -> Self {
        moment.0
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        let told = text.parse().map_err(|_| de::Error::custom(MOMENT))?;
        Self::new(told).map_err(de::Error::custom)
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
        let example = "2026-01-02T03:04:05Z";
        schemars::json_schema!({"type": "string", "format": "date-time", "examples": [example]})
    }
}

/// A number of seats.
pub type SeatCap = Between<1, { i64::MAX }>;

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    #[derive(Debug, Deserialize)]
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
    fn message_of_a_misfit_quotes_no_value() {
        for (message, told) in [
            (
                r#"invalid type: string "a, expected b", expected u32 at line 1 column 9"#,
                "invalid type: string, expected u32",
            ),
            (
                "invalid type: integer `7`, expected a string",
                "invalid type: integer, expected a string",
            ),
            ("invalid type: map, expected u32", "invalid type: map, expected u32"),
            (
                r#"invalid value: string "x", expected a date"#,
                "invalid value: string, expected a date",
            ),
            ("unknown variant `x`, expected `a` or `b`", "unknown variant, expected `a` or `b`"),
            (
                "unknown field `seats`, expected `seat_cap`",
                "unknown field `seats`, expected `seat_cap`",
            ),
            (
                "unknown field `a b`, expected `c`",
                "unknown field, a name of 3 characters, expected `c`",
            ),
            ("unknown field `x`, there are no fields", "unknown field `x`, there are no fields"),
            ("missing field `token` at line 1 column 2", "missing field `token`"),
        ] {
            assert_eq!(unquoted(message), told);
        }
        let secret = format!("{{\"seat_cap\": 1, \"{}\": 2}}", "s".repeat(41));
        let (_, field, detail) = refusal(&secret);
        assert!(!format!("{field:?}{detail}").contains("sss"), "{field:?} {detail}");
        assert!(!refusal(r#"{"seat_cap": "canary"}"#).2.contains("canary"));
    }

    #[test]
    fn what_does_not_fit_names_its_field() {
        assert_eq!(refusal("{}").1.as_deref(), Some("seat_cap"));
        assert_eq!(refusal(r#"{"seat_cap": 1, "seats": 2}"#).1.as_deref(), Some("seats"));
        assert_eq!(refusal(r#"{"seat_cap": "five"}"#).1.as_deref(), Some("seat_cap"));
        let (status, field, detail) = refusal(r#"{"seat_cap": 0}"#);
        assert_eq!((status, field.as_deref()), (422, Some("seat_cap")));
        assert_eq!(detail, "seat_cap: is 0; it takes at least 1");
    }
}
