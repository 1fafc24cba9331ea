//! The values of a thing: facts, links to other things, and nested values.

use serde_json::{Map, Value};

use crate::console::html::{Markup, html, id, scalar, state};
use crate::console::templates::filled;
use crate::console::view::View;
use crate::console::words;
use crate::kernel::digits;

/// A value in few words.
pub(super) fn short(value: &Value) -> Markup {
    match value {
        Value::Object(_) | Value::Array(_) => {
            html! { code { (words::visible(&digits::write(value).unwrap_or_default())) } }
        }
        scalar_value => scalar(scalar_value),
    }
}

/// The ID and the name of a thing that is about to end.
pub(super) fn summary(thing: &Value) -> Markup {
    let name = crate::console::resources::name_of(thing);
    let key = ["id", "kid", "jti"].into_iter().find_map(|member| thing[member].as_str());
    html! {
        @if let Some(name) = name { (words::visible(name)) " " }
        @if let Some(key) = key { code { (key) } }
    }
}

/// What a signing key has signed, in numbers: with the key, these tokens end.
pub(super) fn signed(thing: &Value) -> Markup {
    let signed = &thing["signed"];
    let count = |member: &str| signed[member].as_u64().unwrap_or(0);
    html! {
        @if signed.is_object() {
            p {
                (words::count(count("live_bundles"), "valid token")) " of "
                (words::count(count("organizations"), "customer")) ", and the newest token of "
                (words::count(count("licenses_to_reissue"), "license")) ", are of this key."
            }
        }
    }
}

/// The value of a member: a state, a reference, an identifier, or itself.
pub(super) fn member(view: &View, name: &str, value: &Value, label: Option<&str>) -> Markup {
    match (name, value) {
        ("status" | "state", Value::String(word)) => state(word),
        // No product stands for all of them.
        ("product", Value::String(label)) if label.is_empty() => html! { span.quiet { "all" } },
        ("scope", Value::String(scope)) if scope.contains(':') => {
            let (kind, key) = scope.split_once(':').unwrap_or_default();
            html! { (words::spaced(kind)) " " (id(key, "the ID of the scope")) }
        }
        (_, Value::String(key)) if name != "id" && !key.is_empty() => match link(view, name, key) {
            Some(url) => {
                html! { a href=(url) { (label.map_or_else(|| words::short(key), str::to_owned)) } }
            }
            None if is_identifier(name) || is_uuid(key) => {
                id(key, &format!("the {}", words::spaced(name)))
            }
            None if key.starts_with("https://") || key.starts_with("http://") => {
                html! { a href=(key) rel="noopener noreferrer" { (words::visible(key)) } }
            }
            None => scalar(value),
        },
        (_, Value::String(key)) if is_identifier(name) => {
            id(key, &format!("the {}", words::spaced(name)))
        }
        (_, Value::Number(number)) if name.ends_with("_seconds") => {
            let seconds = number.as_i64().unwrap_or(0);
            html! { (words::span(seconds)) }
        }
        (_, Value::Array(items)) if items.iter().all(Value::is_string) => html! {
            @for item in items { span.tag { (words::visible(item.as_str().unwrap_or_default())) } " " }
            @if items.is_empty() { span.quiet { "none" } }
        },
        (_, Value::Object(members)) if members.contains_key("masked") => html! { "set, not shown" },
        (_, Value::Object(members)) if members.is_empty() => html! { span.quiet { "none" } },
        _ => short(value),
    }
}

/// Whether a text is a UUID, such as that of a binding's subject.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.parse::<uuid::Uuid>().is_ok()
}

/// Whether a member contains an identifier.
pub(super) fn is_identifier(name: &str) -> bool {
    ["id", "kid", "jti"].contains(&name) || name.ends_with("_id") || name.ends_with("_hash")
}

/// Returns the page of the thing that a member names.
fn link(view: &View, name: &str, key: &str) -> Option<String> {
    let thing = view.resources.referred(name)?;
    // The plan of a customer may be a private one.
    let is_shown = name != "plan_code" || view.ops.caller.is_of_platform();
    let is_permitted = is_shown && view.may(thing.name);
    is_permitted.then(|| view.url(&filled(thing.path, &[key.to_owned()])))
}

/// Members of an open object, each in its row.
pub(super) fn rows(members: &Map<String, Value>) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Values" { (table(members)) }
    }
}

/// Members whose null is unlimited.
const BOUNDS: [&str; 3] = ["limit", "remaining", "value"];
/// The most columns of objects that have the same members.
const COLUMNS: usize = 6;

fn table(members: &Map<String, Value>) -> Markup {
    let columns = columns(members).unwrap_or_default();
    html! {
        table {
            @if !columns.is_empty() {
                thead { tr {
                    th scope="col" { "Name" }
                    @for column in &columns { th.r[is_number(members, column)] scope="col" { (words::label(column)) } }
                } }
            }
            tbody { @for (name, value) in members { tr {
                th scope="row" { code { (words::visible(name)) } }
                @for column in &columns {
                    td.r[is_number(members, column)] { (cell(name, column, &value[&**column])) }
                }
                @if columns.is_empty() {
                    td.key-value { @match value.as_object().filter(|inner| !inner.is_empty()) {
                        Some(inner) => (table(inner)),
                        None => (cell(name, "", value)),
                    } }
                }
            } } }
        }
    }
}

fn is_number(members: &Map<String, Value>, column: &str) -> bool {
    members.values().any(|one| digits::of_number(&one[column]).is_some())
}

fn cell(name: &str, column: &str, value: &Value) -> Markup {
    match value {
        Value::Null if BOUNDS.contains(&column) => html! { "unlimited" },
        Value::Number(number) => html! { span.num { (words::amount(name, number)) } },
        _ => short(value),
    }
}

/// Returns the members that all of these objects have: a table has a column for each.
fn columns(objects: &Map<String, Value>) -> Option<Vec<String>> {
    let first = objects.values().next()?.as_object()?;
    let is_like = |one: &Value| {
        one.as_object().is_some_and(|one| {
            one.keys().eq(first.keys())
                && one.values().all(|value| !value.is_object() && !value.is_array())
        })
    };
    let is_narrow = !first.is_empty() && first.len() <= COLUMNS;
    if !is_narrow || !objects.values().all(is_like) {
        return None;
    }
    let place = |name: &String| {
        ["value", "used", "limit", "remaining"].iter().position(|one| one == name).unwrap_or(9)
    };
    let mut columns: Vec<String> = first.keys().cloned().collect();
    columns.sort_by_key(place);
    Some(columns)
}
