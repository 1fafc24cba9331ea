//! The difference between two states: only what changed, with − and +.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::html::{Markup, html};
use super::words;
use crate::kernel::digits;

/// From this length on, strings are compared by word, in bytes.
const LONG: usize = 40;
/// The most words of a string that are compared.
const WORDS: usize = 300;

/// The fields that differ, at most so many of them.
pub(super) fn table(before: &Value, after: &Value, most: usize) -> Markup {
    let empty = Map::new();
    let (was, is) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let (was, is) = (spread(was), spread(is));
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
                        (row(name, was.get(*name), is.get(*name)))
                    }
                }
            }
        }
        @if changed.len() > most { p.small { "and " (words::count(changed.len() - most, "field")) " more" } }
        @if same > 0 { p."small quiet" { (words::count(same, "field")) " did not change" } }
    }
}

/// Returns the members, and in place of each object its own members: a change of one feature is one row.
fn spread(members: &Map<String, Value>) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, value) in members {
        match value.as_object().filter(|inner| !inner.is_empty()) {
            Some(inner) => {
                all.extend(
                    inner.iter().map(|(own, value)| (format!("{name}.{own}"), value.clone())),
                );
            }
            None => drop(all.insert(name.clone(), value.clone())),
        }
    }
    all
}

fn row(name: &str, was: Option<&Value>, is: Option<&Value>) -> Markup {
    if let (Some(Value::String(before)), Some(Value::String(after))) = (was, is)
        && before.len().max(after.len()) >= LONG
    {
        let (old, new) = by_word(before, after);
        return html! { tr {
            td { (words::visible(name)) }
            td.was { @for (is_gone, part) in old { @if is_gone { del { (words::visible(&part)) } } @else { (words::visible(&part)) } " " } }
            td.is { @for (is_new, part) in new { @if is_new { ins { (words::visible(&part)) } } @else { (words::visible(&part)) } " " } }
        } };
    }
    html! { tr { td { (words::visible(name)) } (cell("was", was)) (cell("is", is)) } }
}

/// Words in a row that differ from the other text, or do not.
type Parts = Vec<(bool, String)>;

/// Returns the words of both texts, each with whether the other text lacks it (the longest common
/// subsequence of words).
fn by_word(before: &str, after: &str) -> (Parts, Parts) {
    let old: Vec<&str> = before.split_whitespace().take(WORDS).collect();
    let new: Vec<&str> = after.split_whitespace().take(WORDS).collect();
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut left, mut right) = (Parts::new(), Parts::new());
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            add(&mut left, false, old[i]);
            add(&mut right, false, new[j]);
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            add(&mut left, true, old[i]);
            i += 1;
        } else {
            add(&mut right, true, new[j]);
            j += 1;
        }
    }
    (left, right)
}

/// Adds a word to the last part, if both differ or both do not.
fn add(parts: &mut Parts, differs: bool, word: &str) {
    match parts.last_mut() {
        Some((known, text)) if *known == differs => {
            text.push(' ');
            text.push_str(word);
        }
        _ => parts.push((differs, word.to_owned())),
    }
}

fn cell(kind: &str, value: Option<&Value>) -> Markup {
    match value {
        None => html! { td { span.quiet { "–" } } },
        Some(Value::String(text)) => html! { td class=(kind) { (words::visible(text)) } },
        Some(other) => {
            html! { td class=(kind) { (words::visible(&digits::write(other).unwrap_or_default())) } }
        }
    }
}
