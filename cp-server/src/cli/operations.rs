//! `cp-server operations`: the table of operations, and the fields of one.

use std::fmt::Write;

use serde_json::Value;

use super::fields::{Input, Place};
use crate::client;
use crate::server::examples::EXAMPLES;

/// Returns all operations, one per line.
pub(super) fn list() -> String {
    let mut text = String::new();
    for line in crate::operations().published().table {
        let summary = line.doc.trim().lines().next().unwrap_or_default();
        let (name, method, path) = (line.name, line.method.as_str(), line.path);
        let _ = writeln!(text, "{name:<34} {method:<6} {path:<48} {summary}");
    }
    text
}

/// Returns the description of an operation: its fields with their types, and an example.
pub(super) fn page(name: &str) -> anyhow::Result<String> {
    let line = client::line(name)?;
    let input = Input::of(&line, &EXAMPLES);
    let mut text = String::new();
    for words in line.doc.trim().lines() {
        let _ = writeln!(text, "{}", words.trim());
    }
    let _ = write!(
        text,
        "\n{} {}\npermission {}\n",
        line.method.as_str(),
        line.full_path(),
        line.permission.as_str()
    );
    if !input.fields.is_empty() {
        text.push_str("\nFields (* required):\n");
    }
    let widths = input.fields.iter().fold((0, 0), |(name, kind), field| {
        (name.max(field.name.len() + 1), kind.max(field.kind.len().min(32)))
    });
    for field in &input.fields {
        let name = format!("{}{}", field.name, if field.is_required { "*" } else { "" });
        let kind = match field.name.ends_with("_seconds") {
            true => format!("{}, or a span such as 30d", field.kind),
            false => field.kind.clone(),
        };
        let row =
            format!("  {name:<n$}  {kind:<k$}  {}", field.description, n = widths.0, k = widths.1);
        let _ = writeln!(text, "{}", row.trim_end());
    }
    let _ = write!(text, "\nExample:\n  {}\n", example(name, &input));
    Ok(text)
}

/// Returns a command line that calls the operation.
fn example(name: &str, input: &Input) -> String {
    let mut words = vec!["cp-server call".to_owned(), name.to_owned()];
    let sample = input.example.as_ref().and_then(Value::as_object);
    for field in &input.fields {
        let value = match sample.and_then(|sample| sample.get(&field.name)) {
            Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(value) => Some(value.to_string()),
            None if field.is_required && field.place != Place::Body => {
                Some(field.name.to_uppercase())
            }
            None => None,
        };
        if let Some(value) = value {
            words.push(quoted(&format!("{}={value}", field.name)));
        }
    }
    words.join(" ")
}

/// Quotes a word for a shell where that is necessary.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-=.,:/@%+".contains(c);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_page_with_an_example() {
        for line in crate::operations().published().table {
            let page = page(line.name).unwrap();
            assert!(page.contains(&format!("\n  cp-server call {}", line.name)), "{page}");
        }
    }
}
