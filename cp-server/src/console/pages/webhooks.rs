//! A webhook: whether its events arrive, and what its receiver answered.

use axum::response::Response;
use serde_json::Value;

use crate::console::generic::history;
use crate::console::html::{
    Markup, card, empty, html, icon, id, scrolled, short_time, state, time,
};
use crate::console::pager::older;
use crate::console::scene::{Scene, show_owner};
use crate::console::view::{View, items, query, text};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;

crate::pages! { webhooks:
    /// A webhook and its deliveries.
    GET "/webhooks/{id}" calls [webhooks.read, webhook_deliveries.list, audit.list] => webhook;
    /// A delivery and its attempts.
    GET "/webhook-deliveries/{id}" calls [webhook_deliveries.read] => delivery;
}

/// The states of deliveries, as tabs.
const STATES: [&str; 5] = ["", "pending", "failed", "delivered", "skipped"];

async fn webhook(view: &mut View) -> Result<Response> {
    let key = view.part(0);
    let seen: Seen<Value> = view.ops.read("webhooks.read", &[&key], "").await?;
    let webhook = seen.value;
    let mut scene = Scene::enter(view).await?;
    show_owner(view, &webhook).await?;
    scene.refresh(view);
    let asked = view.asked("status").unwrap_or_default().to_owned();
    let mut filter = vec![("limit", "25")];
    filter.extend((!asked.is_empty()).then_some(("status", &*asked)));
    let cursor = view.asked("cursor").unwrap_or_default().to_owned();
    filter.extend((!cursor.is_empty()).then_some(("cursor", &*cursor)));
    let page = view.visible("webhook_deliveries.list", &[&key], &query(filter)).await?;
    let events = history::read(view, Some(&key)).await?;
    let title =
        webhook["name"].as_str().or(webhook["url"].as_str()).unwrap_or("Webhook").to_owned();
    let body = html! {
        (head(view, &scene, &webhook, &title))
        div.two {
            div.stack { (deliveries(view, &scene, &page, &asked)) }
            div.stack { (facts(&webhook)) (history::card(view, &events, "History", Some(&key))) }
        }
    };
    let crumbs = scene.crumbs_to(&title);
    view.page(&title, &crumbs, &body)
}

fn head(view: &View, scene: &Scene, webhook: &Value, title: &str) -> Markup {
    let link = |suffix: &str| view.url(&format!("{}{suffix}", scene.path()));
    let is_enabled = text(webhook, "status") == "enabled";
    let failing = words::parse_instant(text(webhook, "failing_since"));
    html! {
        div.head {
            div {
                div.title { h1 { (words::visible(title)) } (state(text(webhook, "status"))) }
                p.facts {
                    span { (id(text(webhook, "id"), "the webhook ID")) }
                    @if let Some(reason) = webhook["disabled_reason"].as_str() { span { "disabled: " (words::spaced(reason)) } }
                    @if let Some(at) = failing { span { "failing since " (time(at)) } }
                }
            }
            div.actions {
                @if is_enabled && view.may("webhooks.test") { a."btn primary" href=(link("/test")) { "Send a test" } }
                @if !is_enabled && view.may("webhooks.enable") { a."btn primary" href=(link("/enable")) { (icon("play")) "Enable" } }
                @if view.may("webhooks.replay") { a.btn href=(link("/replay")) { "Replay…" } }
                @if view.may("webhooks.update") {
                    details.menu {
                        summary.btn aria-label="More actions" { (icon("more")) }
                        div.pop {
                            a href=(link("?edit")) { "Change" }
                            @if webhook["url"].is_string() { a href=(link("/rotate")) { "Rotate the secret…" } }
                            @if is_enabled { a href=(link("/disable")) { "Disable…" } }
                            a.bad href=(link("?delete")) { "Delete…" }
                        }
                    }
                }
            }
        }
    }
}

fn deliveries(view: &View, scene: &Scene, page: &Value, asked: &str) -> Markup {
    let all = items(page);
    let path = scene.path();
    let body = html! {
        nav."tabs in" aria-label="Deliveries by state" {
            @for state in STATES {
                @let to = if state.is_empty() { path.clone() } else { format!("{path}?status={state}") };
                a href=(view.url(&to)) aria-current=[(state == asked).then_some("page")] {
                    (if state.is_empty() { "all" } else { state })
                }
            }
        }
        @if all.is_empty() {
            (empty("server", "No deliveries", "A delivery begins when an event of a type that the webhook names is recorded.", &html! {}))
        } @else {
            (scrolled(&html! { table.cards-s {
                thead { tr {
                    th scope="col" { "Event" } th scope="col" { "State" } th.r scope="col" { "Attempts" }
                    th scope="col" { "Next" } th scope="col" { span.sr { "Actions" } }
                } }
                tbody { @for one in &all { (row(view, one)) } }
            } }))
        }
        (older(view, page))
    };
    card("h-deliveries", "Deliveries", &html! {}, &body)
}

fn row(view: &View, one: &Value) -> Markup {
    let key = text(one, "id");
    let at = |member: &str| words::parse_instant(text(one, member));
    html! {
        tr {
            td {
                a.whole href=(view.url(&format!("/webhook-deliveries/{key}"))) { code { (text(one, "type")) } }
                br; small.quiet { "#" (one["seq"]) @if let Some(at) = at("created_at") { " · " (short_time(at, view.now)) } }
            }
            td { (state(text(one, "status"))) }
            td.r data-l="attempts" { (one["attempts"]) }
            td data-l="next" { @match at("next_attempt_at") { Some(at) => (short_time(at, view.now)), None => "–" } }
            td.r {
                @if ["failed", "skipped", "pending"].contains(&text(one, "status")) && view.may("webhook_deliveries.retry") {
                    a."btn s" href=(view.url(&format!("/webhook-deliveries/{key}/retry"))) { "Retry…" }
                }
            }
        }
    }
}

fn facts(webhook: &Value) -> Markup {
    let list = |member: &str| {
        let all: Vec<String> = webhook[member]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect();
        html! { @for one in &all { span.tag { (words::visible(one)) } " " } @if all.is_empty() { "–" } }
    };
    let body = html! { div.in { dl.facts {
        @if let Some(url) = webhook["url"].as_str() { dt { "URL" } dd { code { (words::visible(url)) } } }
        @if webhook["emails"].is_array() { dt { "Addresses" } dd { (list("emails")) } }
        @if webhook["unconfirmed"].as_array().is_some_and(|all| !all.is_empty()) {
            dt { "Not confirmed" } dd { (list("unconfirmed")) }
        }
        dt { "Types" } dd { (list("types")) }
        dt { "Order" } dd { (words::spaced(text(webhook, "ordering"))) }
        @if let Some(signature) = webhook["signature"].as_str() { dt { "Signature" } dd { (words::spaced(signature)) } }
        @if let Some(key) = webhook["public_key"].as_str() { dt { "Public key" } dd { (id(key, "the public key")) } }
        dt { "Created" } dd { @if let Some(at) = words::parse_instant(text(webhook, "created_at")) { (time(at)) } }
    } } };
    card("h-facts", "Facts", &html! {}, &body)
}

async fn delivery(view: &mut View) -> Result<Response> {
    let key = view.part(0);
    let seen: Seen<Value> = view.ops.read("webhook_deliveries.read", &[&key], "").await?;
    let delivery = seen.value;
    show_owner(view, &delivery).await?;
    let webhook = format!("/webhooks/{}", text(&delivery, "webhook_id"));
    let attempts = delivery["log"].as_array().cloned().unwrap_or_default();
    let body = html! {
        div.head {
            div {
                div.title { h1 { code { (text(&delivery, "type")) } } (state(text(&delivery, "status"))) }
                p.facts {
                    span { (id(&key, "the delivery ID")) }
                    span { (history::link(view, text(&delivery, "event_id"), &format!("event #{}", delivery["seq"]))) }
                }
            }
            div.actions {
                @if view.may("webhook_deliveries.retry") { a."btn primary" href=(view.url(&format!("/webhook-deliveries/{key}/retry"))) { "Retry…" } }
            }
        }
        (card("h-attempts", "Attempts", &html! {}, &html! {
            @if attempts.is_empty() {
                (empty("server", "Not sent yet", "The first attempt follows within seconds.", &html! {}))
            } @else {
                (scrolled(&html! { table.cards-s {
                    thead { tr {
                        th scope="col" { "Attempt" } th scope="col" { "At" } th scope="col" { "Answer" }
                        th scope="col" { "Duration" } th scope="col" { "Body" }
                    } }
                    tbody { @for one in &attempts { tr {
                        td { "#" (one["n"]) }
                        td { @if let Some(at) = words::parse_instant(text(one, "at")) { (time(at)) } }
                        td data-l="answer" {
                            @match one["status"].as_i64() { Some(status) => (status), None => {} }
                            @if let Some(error) = one["error"].as_str() { " " span."state bad" { (words::spaced(error)) } }
                        }
                        td.num data-l="duration" { (one["duration_ms"]) " ms" }
                        td { @match one["answer"].as_str() { Some(answer) => code { (words::visible(answer)) }, None => "–" } }
                    } } }
                } }))
            }
        }))
    };
    let crumbs = view.crumbs_below("Webhook", webhook, "Delivery");
    view.page("Delivery", &crumbs, &body)
}
