//! Refusals of single fields: the field, the rule, and the kind of the value.
//!
//! # Design
//! serde words its messages for programmers and quotes the value, which may be a secret in the wrong
//! place. This file rewords them without the value. serde has one form per kind of misfit and names
//! the expected form last. The quoted value may contain the same words, so the search starts at the
//! end. Any other message comes from a type of this server, whose message is a predicate such as
//! `must be at least 1 (got 0)`.

use std::fmt::Write;

use cp_contracts::FieldError;
use serde_json::Map;

use crate::kernel::error::Error;
use crate::kernel::text::named;

/// The minimum similarity of a suggested name, from 0 to 1.
const SIMILAR: f64 = 0.8;
/// The first words of a predicate.
const PREDICATES: [&str; 6] = ["must", "is", "has", "contains", "cannot", "needs"];
/// The messages of parsers of the standard library and of crates, by their beginning.
const PARSERS: [(&str, &str); 8] = [
    ("invalid digit found", "must be an integer"),
    ("cannot parse integer", "must be an integer"),
    ("number too large", "must be a smaller integer"),
    ("number too small", "must be a larger integer"),
    ("invalid float", "must be a number"),
    ("provided string was not `true`", "must be true or false"),
    ("UUID parsing failed", "must be a UUID"),
    ("data did not match any variant", "must have one of the documented forms"),
];

/// The part of a request that is read.
#[derive(Clone, Copy)]
pub struct Part {
    whole: &'static str,
    noun: &'static str,
    /// Allowed names that another reader handles.
    more: &'static [&'static str],
}

pub const BODY: Part = Part { whole: "The body", noun: "field", more: &[] };
pub const QUERY: Part = Part { whole: "The query string", noun: "query parameter", more: &[] };
pub const LIST: Part = Part { more: &["limit", "cursor"], ..QUERY };

/// The refusal of a field.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub field: String,
    pub detail: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// The field of this name is missing.
    Missing(String),
    /// No field has this name.
    Unknown(String),
    Wrong,
}

impl Refusal {
    /// Rewords a message of serde about the value at a path.
    pub fn of(part: Part, path: &str, message: &str) -> Self {
        let message = without_line(message);
        if let Some(name) = quoted_name(message, "missing field `", "`") {
            let field = shown(&joined(path, name));
            let detail = format!("`{field}` is required.");
            return Self { field, detail, kind: Kind::Missing(name.to_owned()) };
        }
        if let Some((name, allowed)) = unknown_field(message) {
            let allowed: Vec<&str> = allowed.into_iter().chain(part.more.iter().copied()).collect();
            let field = shown(&joined(path, name));
            let detail = unknown(part, name, &allowed);
            return Self { field, detail, kind: Kind::Unknown(name.to_owned()) };
        }
        if let Some(name) = quoted_name(message, "duplicate field `", "`") {
            return Self::new(&joined(path, name), "must be sent only once");
        }
        let rule = rule(message);
        match path {
            "." | "" => {
                let detail = sentence(part.whole, &rule);
                Self { field: ".".to_owned(), detail, kind: Kind::Wrong }
            }
            path => Self::new(path, &rule),
        }
    }

    /// Refuses the value of a field, which breaks a rule.
    pub fn new(path: &str, rule: &str) -> Self {
        let field = shown(path);
        let detail = sentence(&format!("`{field}`"), rule);
        Self { field, detail, kind: Kind::Wrong }
    }
}

/// Joins the refusals of one request: the first one is the error itself.
pub fn error(refusals: Vec<Refusal>) -> Error {
    let Some(first) = refusals.first() else {
        return Error::bad_request("The request is invalid.");
    };
    let error = Error::invalid(first.field.clone(), first.detail.clone());
    if refusals.len() == 1 {
        return error;
    }
    let errors = refusals.into_iter().map(|refusal| FieldError {
        field: refusal.field,
        detail: refusal.detail,
        extra: Map::new(),
    });
    error.with_errors(errors.collect())
}

/// Appends the name that serde reports in its message, unless the path already contains it.
fn joined(path: &str, name: &str) -> String {
    match path {
        "." | "" => name.to_owned(),
        path if path.split('.').any(|part| part == name) => path.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// Returns a path without members whose names may be values: the caller chose them.
fn shown(path: &str) -> String {
    let is_index = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |part: &str| {
        let mut steps = part.split('[').map(|step| step.trim_end_matches(']'));
        part == "?" || steps.all(|step| is_index(step) || named(step).starts_with('`'))
    };
    let parts = path.split('.').map(|part| if is_name(part) { part } else { "…" });
    parts.collect::<Vec<_>>().join(".")
}

fn sentence(subject: &str, rule: &str) -> String {
    let is_predicate = rule.split(' ').next().is_some_and(|word| PREDICATES.contains(&word));
    let colon = if is_predicate { "" } else { ":" };
    let stop = if rule.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{subject}{colon} {rule}{stop}")
}

fn unknown(part: Part, name: &str, allowed: &[&str]) -> String {
    let known = named(name);
    let mut detail = match known.starts_with('`') {
        true => format!("Unknown {} {known}.", part.noun),
        false => format!("Unknown {} with {known}.", part.noun),
    };
    if let Some(nearest) = nearest(name, allowed) {
        let _ = write!(detail, " Did you mean `{nearest}`?");
    }
    match allowed {
        [] => detail + " None is allowed here.",
        _ => detail + " Allowed: " + &listed(allowed) + ".",
    }
}

/// Returns the known name that is most similar to an unknown one.
pub fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let similarity = |known: &str| match name.len() >= 4 && known.contains(name) {
        true => 0.95,
        false => strsim::jaro_winkler(known, name),
    };
    let similar = known.iter().map(|known| (similarity(known), *known));
    let nearest = similar.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (nearest.0 > SIMILAR).then_some(nearest.1)
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Returns the rule that a value breaks, as a predicate.
fn rule(message: &str) -> String {
    if let Some((found, expected)) = mismatch(message) {
        let expected = form(expected);
        return match found {
            Some(found) => format!("must be {expected} (got {found})"),
            None => format!("must be {expected}"),
        };
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let expected = rest.rsplit_once("`, expected ").map_or("", |(_, expected)| expected);
        return format!("must be one of {}", listed(&quoted_names(expected)));
    }
    let parser = PARSERS.iter().find(|(beginning, _)| message.starts_with(beginning));
    parser.map_or(message, |(_, rule)| rule).to_owned()
}

/// Splits a message about a type or a value. Returns the kind of JSON that was found, `None` when
/// it was right, and the form that was expected.
fn mismatch(message: &str) -> Option<(Option<&'static str>, &str)> {
    let leads = ["invalid type: ", "invalid value: ", "invalid length "];
    let (lead, rest) = leads.iter().find_map(|lead| Some((*lead, message.strip_prefix(lead)?)))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    // The kind precedes the quoted value: `string "…"`, `integer `5``, `map`.
    let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
    let kind = match kind {
        "string" | "character" => Some("a string"),
        "integer" => Some("an integer"),
        "floating point" => Some("a fraction"),
        "boolean" => Some("a boolean"),
        "null" | "unit value" | "Option value" => Some("null"),
        "map" => Some("an object"),
        "sequence" => Some("an array"),
        _ => None,
    };
    Some((kind.filter(|_| lead == "invalid type: "), expected))
}

/// Names a form that serde expects, in words of JSON.
fn form(expected: &str) -> String {
    let bounds = |least: i128, most: i128| format!("an integer from {least} to {most}");
    match expected {
        "i64" | "u64" | "i128" | "u128" | "usize" | "isize" => "an integer".to_owned(),
        "u8" => bounds(0, u8::MAX.into()),
        "u16" => bounds(0, u16::MAX.into()),
        "u32" => bounds(0, u32::MAX.into()),
        "i32" => bounds(i32::MIN.into(), i32::MAX.into()),
        "f64" | "f32" => "a number".to_owned(),
        "a map" => "an object".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a borrowed string" | "a character" => "a string".to_owned(),
        "unit" => "null".to_owned(),
        text if text.starts_with("struct ") => "an object".to_owned(),
        text if text.contains("UUID") => "a UUID".to_owned(),
        text => text.to_owned(),
    }
}

/// Splits `unknown field `a`, expected one of `b`, `c`` into the name and the allowed names.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (name, expected) =
        rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there are no "))?;
    Some((name, quoted_names(expected)))
}

fn quoted_names(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn quoted_name<'m>(message: &'m str, lead: &str, end: &str) -> Option<&'m str> {
    message.strip_prefix(lead)?.rsplit_once(end).map(|(name, _)| name)
}

fn without_line(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(path: &str, message: &str) -> String {
        Refusal::of(BODY, path, message).detail
    }

    #[test]
    fn refusal_names_the_field_and_the_rule_and_quotes_no_value() {
        for (message, right) in [
            (
                r#"invalid type: string "a, expected b", expected u32 at line 1 column 9"#,
                "`f` must be an integer from 0 to 4294967295 (got a string).",
            ),
            (
                "invalid type: integer `7`, expected a string",
                "`f` must be a string (got an integer).",
            ),
            ("invalid type: null, expected i64", "`f` must be an integer (got null)."),
            ("invalid type: map, expected a sequence", "`f` must be an array (got an object)."),
            (
                "invalid value: integer `-1`, expected u16",
                "`f` must be an integer from 0 to 65535.",
            ),
            (r#"invalid value: string "x", expected a date"#, "`f` must be a date."),
            (
                "unknown variant `a, expected `x`, expected `a` or `b`",
                "`f` must be one of `a`, `b`.",
            ),
            ("UUID parsing failed: invalid character: `k`", "`f` must be a UUID."),
            ("invalid digit found in string", "`f` must be an integer."),
            ("must be at least 1 (got 0)", "`f` must be at least 1 (got 0)."),
            ("no such thing", "`f`: no such thing."),
        ] {
            assert_eq!(detail("f", message), right);
        }
        assert_eq!(
            detail(".", "invalid type: sequence, expected struct Body at line 1 column 0"),
            "The body must be an object (got an array)."
        );
    }

    #[test]
    fn unknown_field_is_refused_with_the_nearest_name() {
        for (name, allowed, right) in [
            (
                "seats",
                "`seat_cap`",
                "Unknown field `seats`. Did you mean `seat_cap`? Allowed: `seat_cap`.",
            ),
            (
                "features",
                "`code` or `default_features`",
                "Unknown field `features`. Did you mean `default_features`? Allowed: `code`, \
                 `default_features`.",
            ),
            ("zzz", "one of `a`, `b`, `c`", "Unknown field `zzz`. Allowed: `a`, `b`, `c`."),
            ("a b", "`c`", "Unknown field with a name of 3 characters. Allowed: `c`."),
            ("x`, expected `y", "`c`", "Unknown field with a name of 15 characters. Allowed: `c`."),
        ] {
            let message = format!("unknown field `{name}`, expected {allowed} at line 1 column 4");
            assert_eq!(detail(".", &message), right);
        }
        assert_eq!(
            detail(".", "unknown field `x`, there are no fields"),
            "Unknown field `x`. None is allowed here."
        );
        let refusal = Refusal::of(LIST, ".", "unknown field `limt`, expected `status`");
        assert_eq!(
            (&*refusal.field, &*refusal.detail),
            (
                "limt",
                "Unknown query parameter `limt`. Did you mean `limit`? Allowed: `status`, `limit`, \
                 `cursor`."
            )
        );
    }

    #[test]
    fn missing_field_is_named_with_its_path() {
        let refusal = Refusal::of(BODY, "a[3].b", "missing field `token` at line 1 column 2");
        assert_eq!(
            (&*refusal.field, &*refusal.detail),
            ("a[3].b.token", "`a[3].b.token` is required.")
        );
        assert_eq!(detail("a b", "missing field `c`"), "`….c` is required.");
    }
}
