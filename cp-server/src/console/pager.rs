//! The way through the pages of a list.

use super::html::{Markup, html};
use super::view::{View, query, value};

/// Links to the newest page of a list and to the next one. The other parameters stay.
///
/// `parameter` continues the list at `next`. A list of the newest first continues with older items.
pub(super) fn pager(view: &View, parameter: &str, next: Option<&str>, label: &str) -> Markup {
    let is_first = value(&view.query, parameter).is_none();
    if next.is_none() && is_first {
        return html! {};
    }
    let kept = view.query.iter().filter(|(name, _)| name != parameter);
    let kept: Vec<(&str, &str)> = kept.map(|(name, value)| (&**name, &**value)).collect();
    let url = |next: Option<&str>| {
        let pairs = kept.iter().copied().chain(next.map(|next| (parameter, next)));
        view.url(&format!("{}?{}", view.path, query(pairs)))
    };
    html! {
        nav.pager aria-label="Pages" {
            @if !is_first { a.btn href=(url(None)) { "Newest" } }
            @if next.is_some() { a.btn href=(url(next)) { (label) } }
        }
    }
}

/// The same for an answer with `next_cursor`.
pub(super) fn older(view: &View, page: &serde_json::Value) -> Markup {
    pager(view, "cursor", page["next_cursor"].as_str(), "Older")
}
