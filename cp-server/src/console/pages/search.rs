//! Finding a thing by what is on the clipboard.

use axum::response::Response;
use serde_json::Value;

use crate::console::html::{empty, html};
use crate::console::resources::name_of;
use crate::console::templates::filled;
use crate::console::view::{View, query};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;

crate::pages! { search:
    /// Finds a thing by its ID, key ID, e-mail address, slug or name.
    GET "/search" calls [licenses.read, deployments.read, subscriptions.read, bundles.read,
        organizations.read, organizations.list, users.list, keys.read] => find;
}

/// Things that an ID may name, the most asked-for first.
const THINGS: [&str; 12] = [
    "licenses.read",
    "organizations.read",
    "deployments.read",
    "bundles.read",
    "subscriptions.read",
    "users.read",
    "workspaces.read",
    "projects.read",
    "groups.read",
    "memberships.read",
    "webhooks.read",
    "audit.read",
];
/// The longest text: a whole token does not belong in a URL.
const LONGEST: usize = 200;

/// A hit: its kind, its name and its page.
type Hit = (String, String, String);

async fn find(view: &mut View) -> Result<Response> {
    let text: String = view.asked("q").unwrap_or_default().trim().chars().take(LONGEST).collect();
    let hits = hits(view, &text).await?;
    if let [(_, _, path)] = hits.as_slice() {
        let path = path.clone();
        return view.see(&path);
    }
    let body = html! {
        div.head { div { h1 { "Find" } p.facts { "By ID, key ID, e-mail address, slug or name." } } }
        section.card aria-label="Hits" {
            @if hits.is_empty() {
                (empty("find", "No match", "IDs, hashes and e-mail addresses must be complete.", &html! {}))
            } @else {
                ul.rows { @for (kind, name, path) in &hits { li {
                    div.grow { a.whole href=(view.url(path)) { (words::visible(name)) } div.soft { (kind) } }
                } } }
            }
        }
    };
    view.page("Find", &vec![("Find".into(), None)], &body)
}

async fn hits(view: &mut View, text: &str) -> Result<Vec<Hit>> {
    let mut hits = Vec::new();
    if text.is_empty() {
        return Ok(hits);
    }
    if text.parse::<uuid::Uuid>().is_ok() {
        for operation in THINGS {
            if let Some(hit) = thing(view, operation, text).await? {
                return Ok(vec![hit]);
            }
        }
        return Ok(hits);
    }
    if text.len() == 43
        && let Some(hit) = thing(view, "keys.read", text).await?
    {
        return Ok(vec![hit]);
    }
    let lists = match text.contains('@') {
        true => vec![("users.list", "email", "/users/{id}")],
        false => vec![
            ("organizations.list", "q", "/organizations/{org}"),
            ("licenses.list_all", "q", "/licenses/{id}"),
        ],
    };
    for (operation, parameter, template) in lists {
        let asked = query([(parameter, text), ("limit", "20")]);
        let seen: Seen<Value> = match view.ops.read(operation, &[], &asked).await {
            Err(error) if error.document().status < 500 => continue,
            seen => seen?,
        };
        let noun = crate::console::scene::noun_of(template);
        for item in seen.value["items"].as_array().into_iter().flatten() {
            let id = item["id"].as_str().unwrap_or_default().to_owned();
            let name = name_of(item).map_or_else(|| words::short(&id), str::to_owned);
            hits.push((noun.clone(), name, filled(template, &[id])));
        }
    }
    Ok(hits)
}

async fn thing(view: &mut View, operation: &str, text: &str) -> Result<Option<Hit>> {
    let resources = view.resources.clone();
    let Some(read) = resources.named(operation) else { return Ok(None) };
    let seen: Seen<Value> = match view.ops.read(operation, &[text], "").await {
        Err(error) if error.document().status < 500 => return Ok(None),
        seen => seen?,
    };
    let noun = crate::console::scene::noun_of(read.path);
    let name = name_of(&seen.value).map_or_else(|| words::short(text), str::to_owned);
    Ok(Some((noun, name, filled(read.path, &[text.to_owned()]))))
}
