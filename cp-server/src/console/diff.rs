//! The difference between two states: only what changed, with − and +.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::html::{Markup, html};
use super::words;

/// The fields that differ, at most so many of them.
pub(super) fn table(before: &Value, after: &Value, most: usize) -> Markup {
    let empty = Map::new();
    let (was, is) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let is_own = |name: &&String| name.as_str() != "$whole" && was.get(*name) != is.get(*name);
    let changed: Vec<&String> = names.into_iter().filter(is_own).collect();
    let same = was.keys().filter(|name| is.get(*name) == was.get(*name)).count();
    if changed.is_empty() {
        return html! {};
    }
    html! {
        div.diff {
            table {
                thead { tr { th scope="col" { "Field" } th scope="col" { "Before" } th scope="col" { "After" } } }
                tbody {
                    @for name in changed.iter().take(most) {
                        tr {
                            td { (words::visible(name)) }
                            (cell("was", was.get(*name)))
                            (cell("is", is.get(*name)))
                        }
                    }
                }
            }
        }
        @if changed.len() > most { p.small { "and " (words::count(changed.len() - most, "field")) " more" } }
        @if same > 0 { p."small quiet" { (words::count(same, "field")) " did not change" } }
    }
}

fn cell(kind: &str, value: Option<&Value>) -> Markup {
    match value {
        None => html! { td { span.quiet { "–" } } },
        Some(Value::String(text)) => html! { td class=(kind) { (words::visible(text)) } },
        Some(other) => html! { td class=(kind) { (words::visible(&other.to_string())) } },
    }
}
