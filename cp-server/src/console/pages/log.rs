//! The verification of the log: a replay of its newest events.

use axum::response::Response;
use serde_json::Value;

use crate::console::html::{Markup, card, html, icon, quantity, time};
use crate::console::view::{View, text};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;

crate::pages! { log:
    /// Whether the newest events are what was signed.
    GET "/log/verification" calls [log.verify] => verification;
}

async fn verification(view: &mut View) -> Result<Response> {
    let seen: Seen<Value> = view.ops.read("log.verify", &[], "").await?;
    let found = seen.value;
    let body = html! {
        div.head {
            div { h1 { "Verify the audit log" } p.facts { "Each event is compared with its leaf, and the leaves with the signed root." } }
            div.actions {
                a.btn href=(view.url("/audit")) { "Audit log" }
                a."btn primary" href=(view.url("/log/verification")) { "Verify again" }
            }
        }
        div.stack {
            (outcome(view, &found))
            (facts(&found))
            div."note info" { (icon("log")) div {
                strong { "The whole log" }
                "The command " code { "cp-server audit verify" } " replays every event. With a checkpoint that was kept elsewhere, it also reveals an old copy of the database."
            } }
        }
    };
    let crumbs = vec![("Audit log".into(), Some("/audit".into())), ("Verify".into(), None)];
    view.page("Verify the audit log", &crumbs, &body)
}

fn outcome(view: &View, found: &Value) -> Markup {
    let is_sound = found["sound"] == true;
    let (tone, sign) = if is_sound { ("ok", "check") } else { ("bad", "cross") };
    let finding = &found["finding"];
    html! {
        section class={ "verdict " (tone) } aria-labelledby="h-outcome" { div {
            span.mark { (icon(sign)) }
            div {
                strong #h-outcome {
                    @if is_sound { "The newest " (words::count(found["replayed"].as_u64().unwrap_or(0), "event")) " are what was signed" }
                    @else { "The log differs from what was signed" }
                }
                span.soft {
                    @if finding.is_object() {
                        @if let Some(seq) = finding["seq"].as_i64() { "#" (words::number(&seq.into())) ": " }
                        (words::visible(text(finding, "detail"))) ". "
                        @if let Some(event) = finding["event_id"].as_str() { a.in-text href=(view.url(&format!("/audit/{event}"))) { "The event" } " " }
                    }
                    "Checked on the server, " (time(view.now)) "."
                }
            }
        } }
    }
}

fn facts(found: &Value) -> Markup {
    let (from, replayed) =
        (found["from"].as_u64().unwrap_or(0), found["replayed"].as_u64().unwrap_or(0));
    let place = |seq: u64| words::number(&seq.into());
    let body = html! { div.in { dl.facts {
        dt { "Events in the log" } dd.num { (quantity(&found["size"])) }
        dt { "Replayed" } dd {
            @if replayed == 0 { "none" } @else { "#" (place(from)) " to #" (place(from + replayed - 1)) }
        }
        dt { "Without content" } dd { (words::count(found["erased"].as_u64().unwrap_or(0), "erased event")) }
        dt { "Signed" } dd { @match found["signed_size"].as_u64() { Some(size) => { "the first " (words::count(size, "event")) }, None => "not yet" } }
    } } };
    card("h-facts", "Replay", &html! {}, &body)
}
