//! `cp-server operations`: the table of operations, and the fields of one.

use std::fmt::Write;

use serde_json::Value;

use super::fields::{Field, Input, Place};
use crate::client;
use crate::server::examples::EXAMPLES;

/// The second form of a number of seconds.
const SPAN: &str = ", or a span such as 30d";

/// Returns all operations, one per line, in alphabetical order.
pub(super) fn list() -> String {
    let mut text = String::new();
    let mut table = crate::operations().published().table;
    table.sort_by_key(|line| line.name);
    for line in table {
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
    let rows: Vec<[String; 3]> = input.fields.iter().flat_map(rows_of).collect();
    let names = rows.iter().map(|[name, ..]| name.len()).max().unwrap_or_default();
    let kinds = rows.iter().filter(|[_, kind, _]| !kind.ends_with(SPAN));
    let kinds = kinds.map(|[_, kind, _]| kind.len().min(32)).max().unwrap_or_default();
    for [name, kind, description] in &rows {
        let row = format!("  {name:<names$}  {kind:<kinds$}  {description}");
        let _ = writeln!(text, "{}", row.trim_end());
    }
    let _ = write!(text, "\nExample:\n  {}\n", example(name, &input));
    Ok(text)
}

/// Returns the row of a field, and those of its members.
fn rows_of(field: &Field) -> Vec<[String; 3]> {
    let row = |name: &str, is_required: bool, kind: &str, description: &str| {
        let mark = if is_required { "*" } else { "" };
        let kind = match name.ends_with("_seconds") {
            true => format!("{kind}{SPAN}"),
            false => kind.to_owned(),
        };
        [format!("{name}{mark}"), kind, description.to_owned()]
    };
    let own = row(&field.name, field.is_required, &field.kind, &field.description);
    let members = field.members.iter();
    let members = members.map(|one| row(&one.path, one.is_required, &one.kind, &one.description));
    std::iter::once(own).chain(members).collect()
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
