//! Values that an answer shows once: on a page of their own, without a redirect.

use axum::response::Response;
use serde_json::Value;

use super::tasks::Task;
use crate::console::html::{Markup, html, icon, note};
use crate::console::scene::Scene;
use crate::console::view::View;
use crate::console::words;
use crate::kernel::error::Result;

/// Returns the members of an answer that are shown once.
pub(in crate::console) fn of(view: &View, operation: &str, body: &Value) -> Vec<(String, String)> {
    let Some(operation) = view.resources.named(operation) else { return Vec::new() };
    let shown = view.resources.shows_once(operation).into_iter();
    let text = |name: String| body[&name].as_str().map(|text| (name.clone(), text.to_owned()));
    shown.filter_map(text).collect()
}

/// Shows the values.
pub(super) fn page(
    view: &mut View,
    scene: &Scene,
    task: &Task,
    secrets: &[(String, String)],
    body: &Value,
    next: &str,
) -> Result<Response> {
    let title = task.done.trim_end_matches('.').to_owned();
    let name = crate::console::resources::name_of(body);
    let page = html! {
        div.head {
            div {
                h1 { (words::visible(&title)) }
                @if let Some(name) = name { p.facts { (words::visible(name)) } }
            }
            div.actions { a."btn primary" href=(view.url(next)) { "Done" } }
        }
        div.stack { @for (name, value) in secrets { (secret(name, value)) } }
    };
    let crumbs = scene.crumbs_to(&title);
    view.page(&title, &crumbs, &page)
}

/// A card with one value.
pub(in crate::console) fn secret(name: &str, value: &str) -> Markup {
    let (label, anchor) = (words::label(name), format!("s-{name}"));
    let about = html! { "Keep it in a safe place. The server cannot show it again." };
    html! {
        section.card aria-labelledby={ "h-" (anchor) } {
            header { h2 id={ "h-" (anchor) } { (label) } }
            div."in stack" {
                (note("warn", "warn", "It is shown this once", &about))
                div.secret {
                    output id=(anchor) tabindex="0" aria-label=(label) { (words::visible(value)) }
                    button.btn type="button" data-copy-from=(anchor)
                        aria-label={ "Copy the " (words::spaced(name)) } { (icon("copy")) "Copy" }
                }
            }
        }
    }
}
