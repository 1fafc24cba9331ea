//! Rows of named values: a name, a kind and a value, for objects without fixed members.

use std::collections::BTreeSet;

use serde_json::Value;

use super::view::value;
use crate::kernel::digits;
use crate::kernel::text::quoted;

/// The kinds of a named value.
pub(super) const KINDS: [(&str, &str); 5] = [
    ("text", "text"),
    ("number", "number"),
    ("flag", "yes or no"),
    ("null", "unlimited"),
    ("json", "JSON"),
];

/// Returns the rows of a form that was sent.
pub(super) fn sent_rows(entries: &[(String, String)], name: &str) -> Vec<[String; 3]> {
    let part = |n: usize, part: &str| value(entries, &format!("{name}/{n}/{part}"));
    let mut rows = Vec::new();
    for n in 0.. {
        let Some(key) = part(n, "name") else { break };
        let text = part(n, "value").unwrap_or_default();
        if !key.trim().is_empty() || !text.is_empty() {
            let kind = part(n, "kind").unwrap_or("text");
            rows.push([key.trim().to_owned(), kind.to_owned(), text.to_owned()]);
        }
    }
    rows
}

/// Returns the row of a value.
pub(super) fn row_of(name: &str, value: &Value) -> [String; 3] {
    let (kind, text) = match value {
        Value::Null => ("null", String::new()),
        Value::Bool(flag) => ("flag", if *flag { "yes" } else { "no" }.to_owned()),
        Value::Number(number) => ("number", number.to_string()),
        Value::String(text) => match digits::of(text) {
            Some(number) => ("number", number.to_owned()),
            None => ("text", text.clone()),
        },
        nested => ("json", digits::write(nested).unwrap_or_default()),
    };
    [name.to_owned(), kind.to_owned(), text]
}

/// Returns the value of a row; `None` where its text is not of its kind.
pub(super) fn typed(kind: &str, text: &str) -> Option<Value> {
    let trimmed = text.trim();
    match kind {
        "null" => Some(Value::Null),
        "flag" if ["yes", "true"].contains(&trimmed) => Some(true.into()),
        "flag" if ["no", "false", ""].contains(&trimmed) => Some(false.into()),
        "flag" => None,
        "number" => digits::number(trimmed),
        "json" => digits::parse(trimmed),
        _ => Some(text.into()),
    }
}

/// Returns the rule that the rows of a form break.
pub(super) fn broken_rule(entries: &[(String, String)], name: &str) -> Option<String> {
    let mut names = BTreeSet::new();
    for [key, kind, text] in sent_rows(entries, name) {
        if typed(&kind, &text).is_none() {
            let word =
                KINDS.iter().find(|(code, _)| *code == kind).map_or("text", |(_, word)| *word);
            return Some(format!("must have a value of the kind “{word}” for {}", quoted(&key)));
        }
        if names.contains(&key) {
            return Some(format!("must have {} only once", quoted(&key)));
        }
        names.insert(key);
    }
    None
}
