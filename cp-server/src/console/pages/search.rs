//! Finding a thing by what is on the clipboard.

use axum::response::Response;
use serde::Deserialize;

use crate::console::html::{empty, html};
use crate::console::view::{View, query};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;

crate::pages! { search:
    /// Finds a thing by its ID, another complete reference, or the beginning of its name.
    GET "/search" calls [search.find] => find;
}

/// The longest text: a whole token does not belong in a URL.
const LONGEST: usize = 200;

#[derive(Default, Deserialize)]
struct Found {
    items: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    kind: String,
    label: String,
    path: String,
}

async fn find(view: &mut View) -> Result<Response> {
    let text: String = view.asked("q").unwrap_or_default().trim().chars().take(LONGEST).collect();
    let found = match text.is_empty() {
        true => Found::default(),
        false => {
            let seen: Seen<Found> =
                view.ops.read("search.find", &[], &query([("q", &*text)])).await?;
            seen.value
        }
    };
    let is_token = text.starts_with("eyJ");
    if let [only] = found.items.as_slice() {
        return view.see(&only.path);
    }
    let body = html! {
        div.head { div { h1 { "Find" } p.facts { "By ID, hash, e-mail address, slug, external ID or name." } } }
        section.card aria-label="Hits" {
            @if is_token && found.items.is_empty() {
                (empty("shield", "This looks like a token", "Paste the whole token at the inspection. It does not belong in an address.", &html! {
                    a."btn primary" href=(view.url("/inspect")) { "Inspect a token" }
                }))
            } @else if found.items.is_empty() {
                (empty("find", "No match", "IDs, hashes and e-mail addresses must be complete.", &html! {}))
            } @else {
                ul.rows { @for hit in &found.items { li {
                    div.grow {
                        a.whole href=(view.url(&hit.path)) { (words::visible(&hit.label)) }
                        div.soft { (words::spaced(&hit.kind)) }
                    }
                } } }
            }
        }
    };
    view.page("Find", &vec![("Find".into(), None)], &body)
}
