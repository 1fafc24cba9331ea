//! PATCH requests (RFC 7644, section 3.5.2): operations on the attributes of a resource.
//!
//! The operations of identity providers differ from the standard in known ways, which are accepted.
//! Operations are written in upper or lower case. A path may be a member of `value`. A removal of items
//! may name them in `value` instead of the path.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use super::filter::{self, Term};
use super::protocol::{invalid_value, refused};
use super::shapes::{Attribute, Kind, Meant, Shape, refuse_emails, unknown_path, without_schema};
use crate::kernel::error::{Error, Result};
use crate::kernel::text::quoted;

/// The largest number of operations of a request.
const OPERATIONS: usize = 1000;

#[derive(Clone, Copy, PartialEq)]
enum Op {
    Add,
    Replace,
    Remove,
}

/// Applies the operations of a request to the attributes of a resource, in their order.
pub(super) fn apply(
    shape: &Shape,
    resource: &mut Map<String, Value>,
    body: Map<String, Value>,
) -> Result<()> {
    let operations = body.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("operations"));
    let Some((_, Value::Array(operations))) = operations else {
        return Err(refused("invalidSyntax", "`Operations` is required and must be an array."));
    };
    if operations.is_empty() || operations.len() > OPERATIONS {
        let count = operations.len();
        let detail = format!("`Operations` must have 1 to {OPERATIONS} items (got {count}).");
        return Err(refused("invalidSyntax", detail));
    }
    for operation in operations {
        one(shape, resource, operation)?;
    }
    Ok(())
}

fn one(shape: &Shape, resource: &mut Map<String, Value>, operation: Value) -> Result<()> {
    let Value::Object(members) = operation else {
        return Err(refused("invalidSyntax", "`Operations` must be an array of objects."));
    };
    let (mut op, mut path, mut value) = (None, None, Value::Null);
    for (name, member) in members {
        match &*name.to_lowercase() {
            "op" => op = Some(member),
            "path" => path = Some(member),
            "value" => value = member,
            _ => {}
        }
    }
    let op = op.as_ref().and_then(Value::as_str).map(str::to_lowercase);
    let op = match op.as_deref() {
        Some("add") => Op::Add,
        Some("replace") => Op::Replace,
        Some("remove") => Op::Remove,
        _ => return Err(refused("invalidSyntax", "`op` must be add, replace or remove.")),
    };
    match (path, value) {
        (Some(Value::String(path)), value) if !path.is_empty() => {
            refuse_read_only(&path)?;
            at(shape, resource, op, &path, value)
        }
        (None | Some(Value::Null | Value::String(_)), Value::Object(members))
            if op != Op::Remove =>
        {
            for (path, value) in members {
                at(shape, resource, op, &path, value)?;
            }
            Ok(())
        }
        (None | Some(Value::Null | Value::String(_)), _) if op == Op::Remove => {
            Err(refused("noTarget", "`path` is required for remove."))
        }
        (None | Some(Value::Null | Value::String(_)), _) => {
            Err(invalid_value("`value` must be an object, because the operation has no `path`."))
        }
        _ => Err(refused("invalidPath", "`path` must be a string.")),
    }
}

/// Refuses a path to what the server sets. In a `value`, identity providers repeat it, and it is
/// ignored.
fn refuse_read_only(path: &str) -> Result<()> {
    let name = without_schema(path).split('.').next().unwrap_or_default();
    if ["id", "meta"].iter().any(|own| own.eq_ignore_ascii_case(name)) {
        let detail = format!("`path` must not be {}. The server sets it.", quoted(path));
        return Err(refused("mutability", detail));
    }
    Ok(())
}

/// A path: `name`, `name.givenName`, `emails[type eq "work"].value`.
struct Path {
    attribute: &'static Attribute,
    filter: Vec<Term>,
    part: Option<String>,
}

/// Parses a path; `None` for an attribute that the server ignores.
fn parse(shape: &Shape, text: &str) -> Result<Option<Path>> {
    let path = without_schema(text);
    // The names of an extension follow its schema.
    if path.len() >= 4 && path.is_char_boundary(4) && path[..4].eq_ignore_ascii_case("urn:") {
        return Ok(None);
    }
    let (name, filter, rest) = match path.split_once('[') {
        Some((name, rest)) => {
            let (inner, after) = rest.rsplit_once(']').ok_or_else(|| unknown_path(text))?;
            (name, filter::parse(inner).map_err(|_| unsupported_filter(inner))?, after)
        }
        None => {
            let end = path.find('.').unwrap_or(path.len());
            (&path[..end], Vec::new(), &path[end..])
        }
    };
    let part = match rest.strip_prefix('.') {
        Some(part) if !part.is_empty() => Some(part.to_owned()),
        None if rest.is_empty() => None,
        _ => return Err(unknown_path(text)),
    };
    match shape.find(name) {
        Some(Meant::Stored(attribute)) => Ok(Some(Path { attribute, filter, part })),
        Some(Meant::Ignored) => Ok(None),
        None => Err(unknown_path(text)),
    }
}

fn unsupported_filter(text: &str) -> Error {
    let detail = format!(
        "The filter of `path` must be comparisons with `eq` that `and` joins (got {}).",
        quoted(text)
    );
    refused("invalidFilter", detail)
}

/// Applies one operation at its path.
fn at(
    shape: &Shape,
    resource: &mut Map<String, Value>,
    op: Op,
    text: &str,
    value: Value,
) -> Result<()> {
    let Some(Path { attribute, filter, part }) = parse(shape, text)? else { return Ok(()) };
    match (&attribute.kind, part) {
        (Kind::Emails | Kind::Members, part) => {
            items(resource, attribute, op, &filter, part.as_deref(), value)
        }
        _ if !filter.is_empty() => Err(unknown_path(text)),
        (Kind::Parts(parts), Some(part)) => {
            let known = parts.iter().find(|known| known.eq_ignore_ascii_case(&part));
            let known = known.ok_or_else(|| unknown_path(text))?;
            let value = if op == Op::Remove { Value::Null } else { value };
            merge(resource, attribute, Map::from_iter([((*known).to_owned(), value)]))
        }
        (_, Some(_)) => Err(unknown_path(text)),
        (Kind::Parts(_), None) if op != Op::Remove => match value {
            Value::Object(members) => merge(resource, attribute, members),
            value => set(resource, attribute, value),
        },
        (_, None) => set(resource, attribute, if op == Op::Remove { Value::Null } else { value }),
    }
}

/// Sets the whole attribute; null removes it.
fn set(resource: &mut Map<String, Value>, attribute: &Attribute, value: Value) -> Result<()> {
    match attribute.read(value)? {
        Some(value) => drop(resource.insert(attribute.name.to_owned(), value)),
        None => drop(resource.remove(attribute.name)),
    }
    Ok(())
}

/// Sets parts of an object; null removes one.
fn merge(
    resource: &mut Map<String, Value>,
    attribute: &Attribute,
    parts: Map<String, Value>,
) -> Result<()> {
    let mut whole = match resource.remove(attribute.name) {
        Some(Value::Object(whole)) => whole,
        _ => Map::new(),
    };
    for (part, value) in parts {
        whole.retain(|known, _| !known.eq_ignore_ascii_case(&part));
        whole.insert(part, value);
    }
    set(resource, attribute, Value::Object(whole))
}

/// Changes the items of a list.
fn items(
    resource: &mut Map<String, Value>,
    attribute: &Attribute,
    op: Op,
    filter: &[Term],
    part: Option<&str>,
    value: Value,
) -> Result<()> {
    let mut known = match resource.remove(attribute.name) {
        Some(Value::Array(known)) => known,
        _ => Vec::new(),
    };
    let list = |value| -> Result<Vec<Value>> {
        Ok(match attribute.read(value)? {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        })
    };
    match (op, filter, part) {
        (_, [], Some(_)) => {
            let detail = "`path` with a part of an item must have a filter, such as \
                          emails[type eq \"work\"].value.";
            return Err(refused("invalidPath", detail));
        }
        (Op::Remove, filter, Some(part)) => remove_part(&mut known, filter, part),
        // A provider without the value clears it.
        (_, filter, Some(part)) if is_value(part) && (value.is_null() || value == "") => {
            remove_part(&mut known, filter, part);
        }
        (Op::Replace, [], None) => known = list(value)?,
        (Op::Add, [], None) => add(&mut known, list(value)?),
        (Op::Remove, [], None) => {
            let named = list(value)?;
            let is_named = |item: &Value| named.iter().any(|one| one["value"] == item["value"]);
            known.retain(|item| !named.is_empty() && !is_named(item));
        }
        // A removal of what is not there changes nothing.
        (Op::Remove, filter, None) => known.retain(|item| !fits(item, filter)),
        (_, filter, part) => {
            let found = known.iter().any(|item| fits(item, filter));
            let change = match (part, value) {
                (Some(part), value) => Map::from_iter([(part.to_lowercase(), value)]),
                (None, Value::Object(members)) => members,
                (None, _) => return Err(invalid_value("`value` must be an object.")),
            };
            if !found && matches!(attribute.kind, Kind::Members) {
                return Err(refused("noTarget", "`path` names no member of the group."));
            }
            if !found {
                // Providers add the first address of a type in this form.
                known.push(Value::Object(equal_to(filter)));
            }
            for item in known.iter_mut().filter(|item| fits(item, filter)) {
                if let Value::Object(members) = item {
                    members.extend(change.clone());
                }
            }
            known = list(Value::Array(known))?;
        }
    }
    if matches!(attribute.kind, Kind::Emails) {
        refuse_emails(&known)?;
    }
    if !known.is_empty() {
        resource.insert(attribute.name.to_owned(), Value::Array(known));
    }
    Ok(())
}

/// Adds items that the list does not have. A new primary one replaces the earlier.
fn add(known: &mut Vec<Value>, new: Vec<Value>) {
    let is_primary = |item: &Value| item["primary"] == true;
    if new.iter().any(is_primary) {
        for item in known.iter_mut().filter(|item| is_primary(item)) {
            item["primary"] = false.into();
        }
    }
    for item in new {
        known.retain(|one| one["value"] != item["value"]);
        known.push(item);
    }
}

fn is_value(part: &str) -> bool {
    part.eq_ignore_ascii_case("value")
}

/// Removes a part of the items that fit. An item without its value is none, so the item goes.
fn remove_part(known: &mut Vec<Value>, filter: &[Term], part: &str) {
    if is_value(part) {
        known.retain(|item| !fits(item, filter));
        return;
    }
    for item in known.iter_mut().filter(|item| fits(item, filter)) {
        if let Value::Object(members) = item {
            members.remove(&part.to_lowercase());
        }
    }
}

/// Returns whether an item has all these values.
fn fits(item: &Value, filter: &[Term]) -> bool {
    filter.iter().all(|term| match &item[&*term.attribute] {
        Value::String(value) => value.to_lowercase() == term.value.to_lowercase(),
        Value::Bool(value) => value.to_string() == term.value,
        _ => false,
    })
}

/// Returns an item with these values.
fn equal_to(filter: &[Term]) -> Map<String, Value> {
    filter.iter().map(|term| (term.attribute.clone(), term.value.clone().into())).collect()
}
