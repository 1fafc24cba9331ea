//! HTML: the macro, and the small parts of every page.
//!
//! `PreEscaped` is used in this file only: elsewhere every string is escaped.

use chrono::{DateTime, Datelike, Utc};
use maud::PreEscaped;
pub(super) use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use super::icons;
use super::words;
use crate::kernel::clock::shown;
use crate::kernel::digits;

/// An icon. The page gets the symbols of the icons that it names.
pub(super) fn icon(name: &str) -> Markup {
    html! { svg.i viewBox="0 0 16 16" aria-hidden="true" { use href={ "#i-" (name) } {} } }
}

/// Returns the symbols of the icons that the page names.
pub(super) fn symbols(page: &str) -> Markup {
    let used = icons::ALL.iter().filter(|(name, _)| page.contains(&format!("\"#i-{name}\"")));
    html! {
        div hidden {
            svg aria-hidden="true" {
                @for (name, path) in used {
                    symbol id={ "i-" (name) } viewBox="0 0 16 16" { path d=(path) {} }
                }
            }
        }
    }
}

/// The product's mark.
pub(super) fn seal() -> Markup {
    PreEscaped(icons::SEAL.to_owned())
}

/// Joins the rendered body and the rest of its page.
pub(super) fn rendered(body: String) -> Markup {
    PreEscaped(body)
}

/// A button that copies a value. Without a script it is not shown.
pub(super) fn copy(value: &str, what: &str) -> Markup {
    html! {
        button.copy type="button" data-copy=(value) aria-label={ "Copy " (what) } { (icon("copy")) }
    }
}

/// An identifier, shortened, with a button that copies it.
pub(super) fn id(value: &str, what: &str) -> Markup {
    html! { span.id { code title=(value) { (words::short(value)) } (copy(value, what)) } }
}

/// A state: a shape and a word.
pub(super) fn state(word: &str) -> Markup {
    html! { span class={ "state " (words::tone(word)) } { (words::spaced(word)) } }
}

/// An instant, always with its zone.
pub(super) fn time(at: DateTime<Utc>) -> Markup {
    let iso = words::iso(at);
    html! { time datetime=(iso) title=(iso) { (shown(at)) } }
}

/// An instant in a card: within a day of now, how long ago or how soon.
pub(super) fn card_time(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let iso = words::iso(at);
    match words::near(at, now) {
        Some(near) => html! { time datetime=(iso) title=(iso) { (near) } },
        None => time(at),
    }
}

/// The same after a verb: "ends on 2 Dec 2026, 00:00 UTC", "ends in 3 hours".
pub(super) fn card_time_after_verb(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! { @if words::near(at, now).is_none() { "on " } (card_time(at, now)) }
}

/// An instant in a narrow column: without the year of now.
pub(super) fn short_time(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let iso = words::iso(at);
    let format = if at.year() == now.year() { "%-d %b, %H:%M" } else { "%-d %b %Y" };
    html! { time datetime=(iso) title=(iso) { (at.format(format)) } }
}

/// A note above a form or on a page.
pub(super) fn note(tone: &str, sign: &str, title: &str, text: &Markup) -> Markup {
    html! {
        div class={ "note " (tone) } { (icon(sign)) div { strong { (title) } (text) } }
    }
}

/// A card with a heading.
pub(super) fn card(anchor: &str, title: &str, more: &Markup, body: &Markup) -> Markup {
    html! {
        section.card aria-labelledby=(anchor) {
            header { h2 id=(anchor) { (title) } (more) }
            (body)
        }
    }
}

/// What a page shows instead of an empty list.
pub(super) fn empty(sign: &str, title: &str, text: &str, next: &Markup) -> Markup {
    html! {
        div.empty {
            (icon(sign))
            h2 { (title) }
            p { (text) }
            div.next { (next) }
        }
    }
}

/// A table that scrolls sideways on a narrow page.
pub(super) fn scrolled(table: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="group" aria-label="Table, scrolls sideways" { (table) } }
}

/// How much of something is used, as words and as a meter; without a limit, as words.
pub(super) fn meter(label: &str, used: &Value, limit: &Value) -> Markup {
    let (used_number, most) =
        (digits::rounded(used).unwrap_or(0.0), digits::rounded(limit).filter(|most| *most > 0.0));
    html! {
        (quantity(used)) " of " @if limit.is_null() { "unlimited" } @else { (quantity(limit)) }
        @if let Some(most) = most {
            br;
            meter min="0" max=(most) low=(most * 0.7) high=(most * 0.9) optimum="0" value=(used_number.min(most)) aria-label=(label) {
                (quantity(used)) " of " (quantity(limit))
            }
        }
    }
}

/// A number of an answer; null is 0.
pub(super) fn quantity(value: &Value) -> String {
    digits::of_number(value).map_or_else(|| "0".to_owned(), |number| words::grouped(&number))
}

/// A number of a picture or of its table, with at most two decimal places.
pub(super) fn decimal(value: f64) -> String {
    let number = serde_json::Number::from_f64((value * 100.0).round() / 100.0);
    let text = number.map_or_else(String::new, |number| words::number(&number));
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A scalar of an answer.
pub(super) fn scalar(value: &Value) -> Markup {
    match value {
        Value::Null => html! { span.quiet { "–" } },
        Value::Bool(true) => html! { "yes" },
        Value::Bool(false) => html! { "no" },
        Value::Number(number) => html! { span.num { (words::number(number)) } },
        Value::String(text) if digits::of(text).is_some() => {
            html! { span.num { (words::visible(text)) } }
        }
        Value::String(text) if text.is_empty() => html! { span.quiet { "empty" } },
        Value::String(text) => match words::parse_instant(text) {
            Some(at) => time(at),
            None => html! { (words::visible(text)) },
        },
        nested => html! { code { (digits::write(nested).unwrap_or_default()) } },
    }
}

/// Indented JSON.
pub(super) fn json(value: &Value, label: &str) -> Markup {
    let text = digits::write_pretty(value).unwrap_or_default();
    html! { pre tabindex="0" role="region" aria-label=(label) { (words::visible(&text)) } }
}
