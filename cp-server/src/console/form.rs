//! Forms: entries for the fields of an input. The input of the entries is `input.rs`.
//!
//! # Design
//! Names are JSON pointers without their first slash: `features`, `override/level`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::html::{Markup, html, icon};
use super::rows::{KINDS, row_of, sent_rows};
use super::schema::{Control, Field};
use super::view::value;
use super::words;
use crate::kernel::digits;

/// The entries of a form, as they were sent.
pub(super) type Entries = Vec<(String, String)>;

/// Suggested values of a field: an ID and its name.
pub(super) type Suggestions = BTreeMap<String, Vec<(String, String)>>;

/// What a form shows.
#[derive(Default)]
pub(super) struct Shown<'f> {
    /// The entries of a form that was sent, or of a link.
    pub(super) entries: Option<&'f Entries>,
    /// Whether a link fills in the entries. The other entries show the present state.
    pub(super) is_of_link: bool,
    /// The present state of the thing.
    pub(super) current: Option<&'f Value>,
    /// Refusals, by the name of their entry.
    pub(super) refused: BTreeMap<String, String>,
    pub(super) suggestions: Suggestions,
}

/// The empty rows after the others.
const SPARE_ROWS: usize = 2;

impl Shown<'_> {
    /// Returns the entries that decide about a field, also when none is its own.
    fn sent(&self, name: &str) -> Option<&'_ Entries> {
        let below =
            |known: &str| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        let names = |(known, _): &(String, String)| known == name || below(known);
        self.entries.filter(|entries| !self.is_of_link || entries.iter().any(names))
    }

    pub(super) fn entry(&self, name: &str) -> Option<&str> {
        self.entries.and_then(|entries| value(entries, name))
    }

    fn current(&self, name: &str) -> Option<&Value> {
        self.current.and_then(|current| current.pointer(&format!("/{name}")))
    }

    /// Whether the present state has yes or no: a box shows it.
    fn is_flag(&self, name: &str) -> bool {
        self.current(name).is_some_and(Value::is_boolean)
    }

    /// Returns the text of an entry: as it was sent, or of the present state.
    fn text(&self, name: &str) -> String {
        if let Some(entries) = self.sent(name) {
            return value(entries, name).unwrap_or_default().to_owned();
        }
        match self.current(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => match (digits::of(text), words::parse_instant(text)) {
                (Some(number), _) => number.to_owned(),
                (None, Some(at)) => words::form_instant(at),
                (None, None) => text.clone(),
            },
            Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
            }
            Some(Value::Object(masked)) if masked.contains_key("masked") => String::new(),
            Some(nested @ (Value::Object(_) | Value::Array(_))) => {
                digits::write_pretty(nested).unwrap_or_default()
            }
            Some(other) => other.to_string(),
        }
    }
}

/// Returns the ID of an entry: a name without slashes.
pub(super) fn anchor(name: &str) -> String {
    format!("f-{}", name.replace(['/', '.', '_'], "-"))
}

/// Renders the entries of fields.
pub(super) fn render(fields: &[Field], prefix: &str, shown: &Shown<'_>) -> Markup {
    html! { @for field in fields { (entry(field, prefix, shown)) } }
}

fn entry(field: &Field, prefix: &str, shown: &Shown<'_>) -> Markup {
    let name = format!("{prefix}{}", field.name);
    let anchor = anchor(&name);
    let refusal = shown.refused.get(&name);
    let hint = (!field.hint.is_empty()).then(|| format!("{anchor}-h"));
    let error = refusal.map(|_| format!("{anchor}-e"));
    let described: Vec<&str> = hint.iter().chain(error.iter()).map(String::as_str).collect();
    let described = (!described.is_empty()).then(|| described.join(" "));
    let kind = if refusal.is_some() { "field bad" } else { "field" };
    let invalid = refusal.map(|_| "true");
    let optional = html! { @if !field.is_required { " " span.quiet { "(optional)" } } };
    let about = html! {
        @if let Some(hint) = &hint {
            span.hint id=(hint) {
                (field.hint)
                @if matches!(field.control, Control::Instant) { " UTC, such as 2026-12-24 09:00." }
            }
        }
        @if let Some(refusal) = refusal {
            p.error id=(format!("{anchor}-e")) { (icon("warn")) (refusal) }
        }
    };
    let text = shown.text(&name);
    // The box of a new thing shows what the server sets.
    let is_on = field.is_on && shown.sent(&name).is_none() && shown.current(&name).is_none();
    match &field.control {
        Control::Choice(words) if words.len() <= 4 => {
            let all: Vec<&str> = match field.is_required {
                true => words.iter().map(String::as_str).collect(),
                false => [""].into_iter().chain(words.iter().map(String::as_str)).collect(),
            };
            html! {
                fieldset class={ "bare " (kind) } id=(anchor) aria-describedby=[described] tabindex="-1" {
                    legend { (field.label) (optional) }
                    (about)
                    @for (n, word) in all.iter().enumerate() {
                        div.choice {
                            input id={ (anchor) "-" (n) } type="radio" name=(name) value=(word)
                                checked[text == **word];
                            label for={ (anchor) "-" (n) } {
                                (if word.is_empty() { "as set by the server".to_owned() } else { words::spaced(word) })
                            }
                        }
                    }
                }
            }
        }
        Control::Choice(words) => html! {
            div class=(kind) {
                label for=(anchor) { (field.label) (optional) } (about)
                select id=(anchor) name=(name) aria-describedby=[described] aria-invalid=[invalid] {
                    @if !field.is_required || text.is_empty() { option value="" { "–" } }
                    @for word in words { option value=(word) selected[text == *word] { (words::spaced(word)) } }
                }
            }
        },
        Control::Flag if field.is_nullable && !shown.is_flag(&name) => html! {
            div class=(kind) {
                label for=(anchor) { (field.label) (optional) } (about)
                select id=(anchor) name=(name) aria-describedby=[described] aria-invalid=[invalid] {
                    option value="" { "as set by the server" }
                    option value="true" selected[text == "true"] { "yes" }
                    option value="false" selected[text == "false"] { "no" }
                }
            }
        },
        Control::Flag => html! {
            div class=(kind) {
                div.check {
                    input id=(anchor) type="checkbox" name=(name) value="true" checked[text == "true" || text.is_empty() && is_on]
                        aria-describedby=[described] aria-invalid=[invalid];
                    label for=(anchor) { (field.label) }
                }
                (about)
            }
        },
        Control::Several(words) => {
            let chosen: Vec<String> = match shown.sent(&name) {
                Some(entries) => {
                    entries.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.clone()).collect()
                }
                None => text.lines().map(str::to_owned).collect(),
            };
            html! {
                fieldset class={ "bare " (kind) } id=(anchor) aria-describedby=[described] tabindex="-1" {
                    legend { (field.label) (optional) }
                    (about)
                    div.sets {
                        @for (n, word) in words.iter().enumerate() {
                            @let set = set_of(word);
                            @if set.is_some() && (n == 0 || set_of(&words[n - 1]) != set) {
                                strong { (words::label(set.unwrap_or_default())) }
                            }
                            div.choice {
                                input id={ (anchor) "-" (n) } type="checkbox" name=(name) value=(word)
                                    checked[chosen.contains(word)];
                                label for={ (anchor) "-" (n) } {
                                    @if set.is_some() { code { (word) } } @else { (words::spaced(word)) }
                                }
                            }
                        }
                    }
                }
            }
        }
        Control::Group(fields) => html! {
            fieldset class=(kind) id=(anchor) aria-describedby=[described] tabindex="-1" {
                legend { (field.label) (optional) }
                (about)
                (render(fields, &format!("{name}/"), shown))
            }
        },
        Control::Rows => html! {
            fieldset class=(kind) id=(anchor) aria-describedby=[described] tabindex="-1" {
                legend { (field.label) (optional) }
                (about)
                (rows(field, &name, shown))
            }
        },
        Control::Text | Control::Lines | Control::Json => html! {
            div class=(kind) {
                label for=(anchor) { (field.label) (optional) @if matches!(field.control, Control::Lines) { " " span.quiet { "one a line" } } }
                (about)
                textarea id=(anchor) name=(name) spellcheck="false" aria-describedby=[described]
                    aria-invalid=[invalid] { "\n" (text) }
            }
        },
        control => {
            let (kind_of, mode) = match control {
                Control::Line(kind) => (*kind, None),
                Control::Integer => ("text", Some("numeric")),
                Control::Decimal => ("text", Some("decimal")),
                _ => ("text", None),
            };
            let kind_of = if field.is_secret { "password" } else { kind_of };
            let list = shown.suggestions.get(&name);
            let list_id = list.map(|_| format!("{anchor}-l"));
            html! {
                div class=(kind) {
                    label for=(anchor) { (field.label) (optional) }
                    (about)
                    input id=(anchor) name=(name) type=(kind_of) inputmode=[mode] autocomplete="off"
                        value=(if field.is_secret { "" } else { &text }) list=[list_id.as_deref()]
                        aria-describedby=[described] aria-invalid=[invalid];
                    @if let (Some(list), Some(id)) = (list, &list_id) {
                        datalist id=(id) {
                            @for (value, label) in list { option value=(value) { (label) } }
                        }
                    }
                }
            }
        }
    }
}

/// Returns what a code such as `licenses:read` is about.
fn set_of(word: &str) -> Option<&str> {
    word.split_once(':').map(|(noun, _)| noun)
}

/// The rows of an object without fixed members: a name, a kind and a value.
fn rows(field: &Field, name: &str, shown: &Shown<'_>) -> Markup {
    let mut rows: Vec<[String; 3]> = match shown.sent(name) {
        Some(entries) => sent_rows(entries, name),
        None if field.is_secret => Vec::new(),
        None => {
            let members = shown.current(name).and_then(Value::as_object).into_iter().flatten();
            members.map(|(name, value)| row_of(name, value)).collect()
        }
    };
    let is_set = shown.current(name).and_then(Value::as_object).is_some_and(|all| !all.is_empty());
    let more = rows.len() + SPARE_ROWS;
    rows.resize(more, Default::default());
    html! {
            @if field.is_secret && is_set { p.hint { "Set, not shown. Rows replace all of it; without rows, it stays." } }
            div.pairs {
                @for (n, [key, kind, text]) in rows.iter().enumerate() {
                    div {
                        input name={ (name) "/" (n) "/name" } value=(key) autocomplete="off"
                            placeholder="name" aria-label={ (field.label) ", name " (n + 1) };
                        select name={ (name) "/" (n) "/kind" } aria-label={ (field.label) ", kind " (n + 1) } {
                            @for (code, word) in KINDS { option value=(code) selected[kind == code] { (word) } }
                        }
                        input name={ (name) "/" (n) "/value" } value=(text) autocomplete="off"
                            placeholder="value" aria-label={ (field.label) ", value " (n + 1) };
                    }
                }
                button.btn.s name="_more" value=(name) { (icon("plus")) "Add a row" }
            }
    }
}

/// Whether a field has the name: a refusal stands there. Rows have it together.
pub(super) fn is_field(fields: &[Field], prefix: &str, name: &str) -> bool {
    fields.iter().any(|field| {
        let own = format!("{prefix}{}", field.name);
        own == name
            || matches!(&field.control, Control::Group(fields) if is_field(fields, &format!("{own}/"), name))
    })
}

/// Whether an entry is one of the fields, or a part of one.
pub(super) fn is_known(fields: &[Field], prefix: &str, name: &str) -> bool {
    fields.iter().any(|field| {
        let own = format!("{prefix}{}", field.name);
        let below = name.strip_prefix(&own).and_then(|rest| rest.strip_prefix('/'));
        match &field.control {
            Control::Group(fields) => is_known(fields, &format!("{own}/"), name),
            Control::Rows => below.is_some(),
            _ => own == name,
        }
    })
}
