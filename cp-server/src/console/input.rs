//! The input of a form: what its entries say, and what stays.
//!
//! # Design
//! The schema decides the type of a value, never the browser. An entry that does not fit its type is
//! sent as a string, so that the operation refuses it in its own words. Named values may be of any
//! kind, so `entries.rs` refuses those that are not of the chosen kind. A number keeps its digits. An
//! entry that is empty and optional is absent.
//!
//! A change sends what differs from the present state. An emptied entry is null there. A replacement
//! sends everything: what the person did not touch, too, because the operation resets absent members.
//! An entry that the form lacks is unchanged in both. An empty box is none of these: a browser does
//! not send it.

use serde_json::{Map, Value};

use super::form::Entries;
use super::rows::{sent_rows, typed};
use super::schema::{Control, Field};
use super::view::value;
use super::words;
use crate::kernel::digits;

/// Returns the input of the entries. With the present state, only what differs from it.
pub(super) fn read(
    fields: &[Field],
    prefix: &str,
    entries: &Entries,
    current: Option<&Value>,
) -> Value {
    let mut input = Map::new();
    for field in fields {
        let name = format!("{prefix}{}", field.name);
        let before = current.map(|current| &current[&field.name]);
        if before.is_some() && !is_sent(field, &name, entries) {
            continue;
        }
        let after = value_of(field, &name, entries, before);
        match (after, before) {
            (Some(after), Some(before)) if Some(&after) == kept(field, before).as_ref() => {}
            (Some(Value::Object(mut after)), Some(Value::Object(before)))
                if matches!(field.control, Control::Rows) && !field.is_nullable =>
            {
                // The operation merges these members: null removes one.
                for name in before.keys() {
                    after.entry(name.clone()).or_insert(Value::Null);
                }
                input.insert(field.name.clone(), after.into());
            }
            (Some(after), None | Some(Value::Null)) if is_nothing(&after, field) => {}
            (Some(after), _) => {
                input.insert(field.name.clone(), after);
            }
            (None, Some(before)) if !before.is_null() && field.is_nullable && !field.is_secret => {
                input.insert(field.name.clone(), Value::Null);
            }
            (None, _) => {}
        }
    }
    Value::Object(input)
}

/// Returns the input that replaces the present state: the entries, and what they leave as it is. The
/// members of `theirs` stay as they are, whatever their entries say.
pub(super) fn replacement(
    fields: &[Field],
    prefix: &str,
    entries: &Entries,
    current: &Value,
    theirs: &[&str],
) -> Value {
    let mut input = Map::new();
    for field in fields {
        let name = format!("{prefix}{}", field.name);
        let before = &current[&field.name];
        let stays = theirs.contains(&&*field.name) || !is_sent(field, &name, entries);
        let own = match value_of(field, &name, entries, Some(before)) {
            _ if stays => kept(field, before),
            Some(after) if before.is_null() && is_nothing(&after, field) => kept(field, before),
            None if current.get(&field.name).is_some() && !field.is_secret => {
                field.is_nullable.then_some(Value::Null)
            }
            after => after,
        };
        if let Some(own) = own.filter(|own| !is_empty_group(field, own)) {
            input.insert(field.name.clone(), own);
        }
    }
    Value::Object(input)
}

/// Returns the present value of a member as an input; `None` where only an absent one keeps it.
fn kept(field: &Field, before: &Value) -> Option<Value> {
    match (&field.control, before) {
        (_, Value::Object(masked)) if masked.contains_key("masked") => None,
        _ if field.is_secret => None,
        (_, Value::Null) => field.is_nullable.then_some(Value::Null),
        (Control::Group(fields), Value::Object(members)) => {
            let own = |field: &Field| {
                let value = kept(field, members.get(&field.name)?)?;
                Some((field.name.clone(), value))
            };
            Some(Value::Object(fields.iter().filter_map(own).collect()))
        }
        (_, value) => Some(value.clone()),
    }
}

fn is_empty_group(field: &Field, value: &Value) -> bool {
    matches!(field.control, Control::Group(_)) && value.as_object().is_some_and(Map::is_empty)
}

/// Whether the form had an entry of the field. A browser sends no empty box.
fn is_sent(field: &Field, name: &str, entries: &Entries) -> bool {
    match field.control {
        Control::Flag | Control::Several(_) | Control::Group(_) => true,
        Control::Rows => value(entries, &format!("{name}/0/name")).is_some(),
        _ => value(entries, name).is_some(),
    }
}

/// Whether a value is what an absent one means.
fn is_nothing(value: &Value, field: &Field) -> bool {
    !field.is_required
        && match value {
            Value::Object(members) => members.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Bool(flag) => !field.is_nullable && *flag == field.is_on,
            _ => false,
        }
}

fn value_of(field: &Field, name: &str, entries: &Entries, before: Option<&Value>) -> Option<Value> {
    let text = value(entries, name).unwrap_or_default();
    let trimmed = text.trim();
    match &field.control {
        Control::Group(fields) => {
            let prefix = format!("{name}/");
            Some(match before.filter(|before| before.is_object()) {
                Some(before) => replacement(fields, &prefix, entries, before, &[]),
                None => read(fields, &prefix, entries, None),
            })
        }
        Control::Rows => {
            let rows = sent_rows(entries, name);
            // The form does not show secrets: without rows, they stay.
            let stays = field.is_secret && before.is_some() && rows.is_empty();
            let of = |kind: &str, text: String| typed(kind, &text).unwrap_or(text.into());
            let rows = rows.into_iter().map(|[key, kind, text]| (key, of(&kind, text)));
            (!stays).then(|| Value::Object(rows.collect()))
        }
        Control::Several(_) => {
            let all = entries.iter().filter(|(known, _)| known == name);
            Some(all.map(|(_, word)| Value::from(word.as_str())).collect())
        }
        Control::Lines => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            Some(lines.map(Value::from).collect())
        }
        // Without a known state, the form has a choice whose first word is empty, and no box.
        Control::Flag
            if trimmed.is_empty()
                && field.is_nullable
                && !before.is_some_and(Value::is_boolean) =>
        {
            None
        }
        Control::Flag => Some(match trimmed {
            "true" => true.into(),
            "" | "false" => false.into(),
            other => other.into(),
        }),
        _ if trimmed.is_empty() => None,
        Control::Integer => {
            Some(trimmed.parse::<i64>().map_or_else(|_| trimmed.into(), Value::from))
        }
        Control::Decimal => Some(digits::number(trimmed).unwrap_or_else(|| trimmed.into())),
        Control::Instant => {
            let at = words::read_form_instant(trimmed);
            Some(at.map_or_else(|| trimmed.into(), |at| words::iso(at).into()))
        }
        Control::Json => Some(digits::parse(trimmed).unwrap_or_else(|| trimmed.into())),
        // A browser sends line ends of its own.
        Control::Text => Some(text.replace("\r\n", "\n").into()),
        Control::Choice(_) | Control::Line(_) => Some(trimmed.into()),
    }
}
