//! The signing keys: where each one is in its life, and what it signed.

use axum::response::Response;
use serde_json::Value;

use crate::console::generic::{edit, tasks};
use crate::console::html::{Markup, card_time_after_verb, html, icon, note, state, time};
use crate::console::scene::Scene;
use crate::console::view::{View, items, text};
use crate::console::words;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::Seen;

crate::pages! { keys:
    /// The signing keys and their lives.
    GET "/signing/keys" calls [keys.list, keys.read, keys.info] => list;
    /// Asks whether to rotate, with what an emergency affects.
    GET "/signing/rotate" calls [keys.rotate, keys.read, keys.info] => ask_to_rotate;
}

/// The states of a key, in their order.
const LIFE: [&str; 5] = ["staged", "published", "active", "retiring", "retired"];
/// The most keys whose tokens are counted.
const COUNTED: usize = 6;

async fn list(view: &mut View) -> Result<Response> {
    let seen: Seen<Value> = view.ops.read("keys.list", &[], "").await?;
    let mut keys = items(&seen.value);
    for key in keys.iter_mut().take(COUNTED) {
        let kid = text(key, "kid").to_owned();
        let seen: Seen<Value> = view.ops.read("keys.read", &[&kid], "").await?;
        *key = seen.value;
    }
    let info: Seen<Value> = view.ops.read("keys.info", &[], "").await?;
    let next = words::parse_instant(text(&info.value, "next_rotation_at"));
    let successor = keys.iter().find(|key| text(key, "state") == "published");
    let ready = successor.and_then(|key| words::parse_instant(text(key, "not_before")));
    let may_rotate = ready.is_none_or(|at| at <= view.now);
    let body = html! {
        div.head {
            div {
                h1 { "Signing keys" }
                p.facts { span { "A key signs only after data planes had time to fetch it."
                    @if let Some(at) = next { " The next rotation is on " (time(at)) "." } } }
            }
            div.actions {
                @if view.may("keys.create") { a.btn href=(view.url("/signing/keys?new#f-pem")) { "Import…" } }
                @if view.may("keys.create") { a.btn href=(view.url("/signing/keys?new")) { (icon("plus")) "New key" } }
                @if view.may("keys.rotate") {
                    @if may_rotate { a."btn primary" href=(view.url("/signing/rotate")) { "Rotate now" } }
                    @else { span.btn aria-disabled="true" { "Rotate now" } }
                }
            }
        }
        div.stack {
            @if let Some(at) = ready.filter(|at| *at > view.now) {
                (note("info", "clock", "The next key is not ready yet", &html! {
                    "It may sign from " (time(at)) ". Until then, some data planes may not know it."
                }))
            }
            @for key in &keys { (key_card(view, key)) }
        }
    };
    view.page("Signing keys", &vec![("Signing keys".into(), None)], &body)
}

async fn ask_to_rotate(view: &mut View) -> Result<Response> {
    let info: Seen<Value> = view.ops.read("keys.info", &[], "").await?;
    let active = text(&info.value, "active_kid").to_owned();
    let key = view.visible("keys.read", &[&active], "").await?;
    let count = |member: &str| key["signed"][member].as_u64().unwrap_or(0);
    let about = html! {
        "The active key signed " (words::count(count("live_bundles"), "valid token")) " of "
        (words::count(count("organizations"), "customer")) ". In an emergency the next key signs at once: \
        data planes that have not fetched it refuse new tokens until they do. The tokens of the active key \
        stay valid, unless you also report it as compromised."
    };
    let above = note("warn", "warn", "What an emergency affects", &about);
    let scene = Scene::enter(view).await?;
    let task = tasks::of(view, &scene).await?.ok_or_else(|| Error::not_found("page"))?;
    edit::form_beside(view, &scene, task, &above).await
}

fn key_card(view: &View, key: &Value) -> Markup {
    let (kid, at) = (text(key, "kid"), text(key, "state"));
    let path = format!("/signing/keys/{kid}");
    let signed = &key["signed"];
    let count = |member: &str| signed[member].as_u64().unwrap_or(0);
    let actions: &[&str] = match at {
        "staged" => &["publish"],
        "published" => &["activate"],
        "active" => &["compromise"],
        "retiring" => &["retire", "compromise"],
        _ => &[],
    };
    html! {
        section.card aria-label={ "Key " (words::short(kid)) } {
            header {
                h2 { a href=(view.url(&path)) { code { (words::short(kid)) } } }
                (state(at))
            }
            div."in stack" {
                ol.steps-row aria-label="Life of the key" {
                    @for step in LIFE { li aria-current=[(step == at).then_some("step")] { (step) @if step != "retired" { " →" } } }
                }
                p.soft {
                    @if signed.is_object() {
                        (words::count(count("live_bundles"), "valid token"))
                        " of " (words::count(count("organizations"), "customer")) ", "
                        (words::count(count("licenses_to_reissue"), "license")) " with its newest token. "
                        @if let Some(at) = words::parse_instant(text(signed, "last_expires_at")) { "The last token ends " (card_time_after_verb(at, view.now)) ". " }
                    }
                    @if let Some(at) = words::parse_instant(text(key, "not_before")).filter(|at| *at > view.now) { "It may sign from " (time(at)) "." }
                }
                div.actions {
                    @for action in actions.iter().filter(|action| view.may(&format!("keys.{action}"))) {
                        a."btn s".danger[*action == "compromise"] href=(view.url(&format!("{path}/{action}"))) { (words::label(action)) "…" }
                    }
                }
            }
        }
    }
}
