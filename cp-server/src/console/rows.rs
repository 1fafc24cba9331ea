//! Rows of named values: a name, a kind and a value, for objects without fixed members.

use serde_json::Value;

use super::view::value;

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
        Value::String(text) => ("text", text.clone()),
        nested => ("json", nested.to_string()),
    };
    [name.to_owned(), kind.to_owned(), text]
}

/// Returns the value of a row.
pub(super) fn typed(kind: &str, text: &str) -> Value {
    let trimmed = text.trim();
    match kind {
        "null" => Value::Null,
        "flag" if ["yes", "true"].contains(&trimmed) => true.into(),
        "flag" if ["no", "false", ""].contains(&trimmed) => false.into(),
        "number" | "json" => serde_json::from_str(trimmed).unwrap_or_else(|_| trimmed.into()),
        _ => text.into(),
    }
}
