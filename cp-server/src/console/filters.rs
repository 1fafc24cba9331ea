//! Filters of pages that are written by hand.

use super::form::anchor;
use super::html::{Markup, html};
use super::view::View;

/// A filter: the parameter, its label and an example.
pub(super) type Filter = (&'static str, &'static str, &'static str);

/// Renders the entry of a filter, with the text of the request.
pub(super) fn entry(view: &View, (name, label, example): &Filter) -> Markup {
    let anchor = anchor(name);
    html! {
        label for=(anchor) { (label)
            input id=(anchor) name=(name) placeholder=(example) autocomplete="off"
                value=(view.asked(name).unwrap_or_default());
        }
    }
}

/// Whether the request has a text for the parameter.
pub(super) fn is_used(view: &View, name: &str) -> bool {
    view.asked(name).is_some_and(|text| !text.trim().is_empty())
}
