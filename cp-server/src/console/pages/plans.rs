//! A plan: its versions side by side.

use std::collections::BTreeSet;

use axum::response::Response;
use serde_json::Value;

use crate::console::generic::history;
use crate::console::html::{Markup, card, html, icon, scrolled, time};
use crate::console::scene::Scene;
use crate::console::view::{View, items, text};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;

crate::pages! { plans:
    /// A plan and its versions.
    GET "/plans/{code}" calls [plans.read, plans.list_versions, audit.list_all] => plan;
}

/// The most versions side by side, the newest first.
const VERSIONS: usize = 4;

async fn plan(view: &mut View) -> Result<Response> {
    let code = view.part(0);
    let seen: Seen<Value> = view.ops.read("plans.read", &[&code], "").await?;
    let plan = seen.value;
    let mut versions = items(&view.visible("plans.list_versions", &[&code], "").await?);
    versions.sort_by_key(|one| -one["version"].as_i64().unwrap_or(0));
    let events = history::read(view, Some(&code)).await?;
    let scene = Scene::enter(view).await?;
    let title = text(&plan, "name").to_owned();
    let path = scene.path();
    let link = |suffix: &str| view.url(&format!("{path}{suffix}"));
    let body = html! {
        div.head {
            div {
                h1 { (words::visible(&title)) }
                p.facts {
                    span { code { (code) } }
                    span { "version " (plan["version"]) }
                    span { (if plan["is_public"] == true { "public" } else { "not public" }) }
                }
            }
            div.actions {
                @if view.may("plans.migrate") && versions.len() > 1 { a.btn href=(link("/migrate")) { "Migrate subscriptions…" } }
                @if view.may("plans.update") { a."btn primary" href=(link("?edit")) { (icon("edit")) "Change" } }
                @if view.may("plans.delete") {
                    details.menu { summary.btn aria-label="More actions" { (icon("more")) } div.pop { a.bad href=(link("?delete")) { "Delete…" } } }
                }
            }
        }
        div.stack {
            @if let Some(about) = plan["description"].as_str() { p.soft { (words::visible(about)) } }
            (side_by_side(&versions))
            (history::card(view, &events, "History", Some(&code)))
        }
    };
    let crumbs = scene.crumbs_to(&title);
    view.page(&title, &crumbs, &body)
}

/// The values of the versions, in a table: what differs from the version before is marked.
fn side_by_side(versions: &[Value]) -> Markup {
    let shown = &versions[..versions.len().min(VERSIONS)];
    let names = |part: &str| -> BTreeSet<String> {
        shown
            .iter()
            .filter_map(|one| one[part].as_object())
            .flat_map(|all| all.keys().cloned())
            .collect()
    };
    let cell = |label: &str, n: usize, find: &dyn Fn(&Value) -> Option<Value>| {
        let value = find(&shown[n]);
        let before = shown.get(n + 1).map(find);
        let is_changed = before.is_some_and(|before| before != value);
        html! { td class=[is_changed.then_some("win")] { span {
            @match &value {
                None => "–",
                Some(Value::Null) => "unlimited",
                Some(Value::Number(number)) => (words::amount(label, number)),
                Some(Value::String(text)) => (words::visible(text)),
                Some(other) => code { (other.to_string()) },
            }
        } } }
    };
    let row = |label: &str, find: &dyn Fn(&Value) -> Option<Value>| {
        html! { tr { td { (label) } @for n in 0..shown.len() { (cell(label, n, find)) } } }
    };
    let member = |part: &'static str, name: String| {
        move |one: &Value| one[part].as_object().and_then(|all| all.get(&name)).cloned()
    };
    let body = scrolled(&html! { table.cascade {
        thead { tr {
            th scope="col" { "Value" }
            @for one in shown { th scope="col" { "Version " (one["version"]) @if let Some(at) = words::parse_instant(text(one, "created_at")) { br; small.quiet { (time(at)) } } } }
        } }
        tbody {
            (row("seats", &|one| Some(one["seat_cap"].clone())))
            (row("life of tokens (seconds)", &|one| Some(one["token_ttl_seconds"].clone()).filter(|value| !value.is_null())))
            @for name in names("features") { (row(&name, &member("features", name.clone()))) }
            @for name in names("limits") { (row(&format!("limit: {name}"), &member("limits", name.clone()))) }
            @for name in names("leasing") { (row(&format!("pool: {name}"), &member("leasing", name.clone()))) }
        }
    } });
    let more = html! { @if versions.len() > shown.len() { span.quiet { "the newest " (shown.len()) " of " (versions.len()) } } };
    card("h-versions", "Versions", &more, &body)
}
