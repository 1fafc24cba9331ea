//! What a change would do: the answer of a dry run.

use serde_json::Value;

use super::fields;
use super::tasks::DRY_RUN;
use crate::console::html::{Markup, html, scrolled};
use crate::console::words;

/// The most rows of a list.
const ROWS: usize = 50;

/// An answer: its scalars, and its lists as tables.
pub(super) fn outcome(answer: &Value) -> Markup {
    let members: Vec<(&String, &Value)> = answer.as_object().into_iter().flatten().collect();
    let (lists, plain): (Vec<_>, Vec<_>) = members
        .into_iter()
        .filter(|(name, _)| *name != DRY_RUN)
        .partition(|(_, one)| one.is_array());
    html! {
        div.in { dl."facts wide" { @for (name, value) in &plain { dt { (words::label(name)) } dd { (fields::short(value)) } } } }
        @for (name, list) in &lists {
            @let rows = list.as_array().map_or(&[][..], Vec::as_slice);
            details.fold open {
                summary { (words::label(name)) " " span.quiet { "(" (rows.len()) ")" } }
                @if let Some(columns) = rows.first().and_then(Value::as_object) {
                    (scrolled(&html! { table {
                        thead { tr { @for (column, _) in columns { th scope="col" { (words::label(column)) } } } }
                        tbody { @for row in rows.iter().take(ROWS) {
                            tr { @for (column, _) in columns { td { (fields::short(&row[column])) } } }
                        } }
                    } }))
                } @else { div.in { @for row in rows.iter().take(ROWS) { (fields::short(row)) " " } @if rows.is_empty() { span.quiet { "none" } } } }
            }
        }
    }
}
