//! The latest events of a thing.

use serde_json::Value;

use crate::console::html::{Markup, card_time, html, icon};
use crate::console::view::{View, items, query};
use crate::console::words;
use crate::kernel::error::Result;

/// The most events of a card.
const EVENTS: &str = "8";

/// Reads the latest events: of one target, or of all in view.
pub(in crate::console) async fn read(view: &mut View, target: Option<&str>) -> Result<Vec<Value>> {
    let organization = view.in_view().map(|id| id.to_string());
    let (operation, place): (&str, Vec<&str>) = match &organization {
        Some(organization) => ("audit.list", vec![organization]),
        None => ("audit.list_all", Vec::new()),
    };
    if !view.may(operation) {
        return Ok(Vec::new());
    }
    let target = target.map(|target| ("target", target));
    let text = query([("limit", EVENTS)].into_iter().chain(target));
    Ok(items(&view.visible(operation, &place, &text).await?))
}

/// The card of these events; nothing without events.
pub(in crate::console) fn card(
    view: &View,
    events: &[Value],
    title: &str,
    target: Option<&str>,
) -> Markup {
    if events.is_empty() {
        return html! {};
    }
    let base = view.in_view().map_or_else(String::new, |id| format!("/organizations/{id}"));
    let filter =
        target.map_or_else(String::new, |target| format!("?{}", query([("target", target)])));
    html! {
        section.card aria-labelledby="h-history" {
            header {
                h2 #h-history { (title) }
                a href=(view.url(&format!("{base}/audit{filter}"))) { "In the audit log" }
            }
            ol.timeline { @for event in events { (line(view, event)) } }
        }
    }
}

fn line(view: &View, event: &Value) -> Markup {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let verb = text("action").rsplit('.').next().unwrap_or_default();
    let (tone, sign) = sign_of(verb);
    let is_token = text("actor_kind") == "service_token";
    let at = words::parse_instant(text("at"));
    html! {
        li {
            span class={ "ico " (tone) } { (icon(sign)) }
            b { (words::visible(text("actor_name"))) }
            @if is_token { " " span.tag { "service token" } }
            " " (sentence(event))
            @if let Some(reason) = event["reason"].as_str() { blockquote { (words::visible(reason)) } }
            div.stamp {
                @if let Some(at) = at { (card_time(at, view.now)) }
                " · " a href=(view.url(&format!("/audit/{}", text("id")))) {
                    @match event["seq"].as_i64() {
                        Some(seq) => { "#" (words::number(&seq.into())) },
                        None => "event",
                    }
                }
            }
        }
    }
}

/// Returns what happened: "suspended the license".
pub(in crate::console) fn sentence(event: &Value) -> String {
    let action = event["action"].as_str().unwrap_or_default();
    let (slice, verb) = action.split_once('.').unwrap_or((action, ""));
    let noun = words::singular(&slice.replace('_', "-"));
    let what = match verb {
        "create" | "issue" | "record" | "claim" => words::a(&noun),
        _ => format!("the {noun}"),
    };
    match (slice, verb) {
        ("console_links", "use") => "signed in with a link".to_owned(),
        ("console_links", "create") => "created a link to the console".to_owned(),
        ("sessions", "login") => "signed in".to_owned(),
        ("sessions", _) => "signed out".to_owned(),
        _ => match verb.split_once('_') {
            // Such as `create_for_platform`, and `add_member` of a workspace.
            Some((verb, rest)) if rest.starts_with("for_") => {
                format!("{} {} {}", past(verb), words::a(&noun), words::spaced(rest))
            }
            Some((verb, rest)) => {
                format!("{} {} of the {noun}", past(verb), words::a(&words::spaced(rest)))
            }
            None => format!("{} {what}", past(verb)),
        },
    }
}

fn past(verb: &str) -> String {
    match verb {
        "put" | "set" | "update" | "upsert" => "changed".to_owned(),
        "withdraw" => "withdrew".to_owned(),
        "give" => "gave".to_owned(),
        "cancel" => "cancelled".to_owned(),
        "transfer" => "transferred".to_owned(),
        _ if verb.ends_with('e') => format!("{verb}d"),
        _ if verb.ends_with('y') => format!("{}ied", verb.trim_end_matches('y')),
        _ => format!("{verb}ed"),
    }
}

/// Returns the tone and the icon of an event.
pub(in crate::console) fn sign_of(verb: &str) -> (&'static str, &'static str) {
    match verb {
        "suspend" | "disable" => ("warn", "pause"),
        "reinstate" | "enable" | "activate" | "accept" => ("ok", "play"),
        "revoke" | "delete" | "purge" | "compromise" | "erase" => ("bad", "cross"),
        "issue" | "token" => ("info", "token"),
        "create" | "upsert" | "put" => ("ok", "plus"),
        "rotate" | "publish" => ("info", "key"),
        _ => ("", "edit"),
    }
}
