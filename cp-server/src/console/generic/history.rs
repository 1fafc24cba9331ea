//! The latest events of a thing.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::console::html::{Markup, card_time, html, icon};
use crate::console::resources::name_of;
use crate::console::view::{View, items, query};
use crate::console::words;
use crate::kernel::error::Result;

/// The most events of a card.
const EVENTS: &str = "8";
/// The member of an event that has the name of its organization.
const OWNER: &str = "organization_name";
/// The most organizations whose names are read.
const OWNERS: usize = 10;

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
    let mut events = items(&view.visible(operation, &place, &text).await?);
    name_owners(view, &mut events).await?;
    Ok(events)
}

/// Adds the names of their organizations to events of several ones.
pub(in crate::console) async fn name_owners(view: &mut View, events: &mut [Value]) -> Result<()> {
    let mut names: BTreeMap<String, Value> = BTreeMap::new();
    if view.in_view().is_some() {
        return Ok(());
    }
    for event in events.iter_mut().filter(|event| event["target_type"] != "organization") {
        let Some(owner) = event["organization_id"].as_str().map(str::to_owned) else { continue };
        if !names.contains_key(&owner) && names.len() < OWNERS {
            let found = view.visible("organizations.read", &[&owner], "").await?;
            names.insert(owner.clone(), found["name"].clone());
        }
        event[OWNER] = names.get(&owner).cloned().unwrap_or_default();
    }
    Ok(())
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
    let (tone, sign) = sign_of(event);
    let is_token = text("actor_kind") == "service_token";
    let at = words::parse_instant(text("at"));
    html! {
        li {
            span class={ "ico " (tone) } { (icon(sign)) }
            b { (words::visible(text("actor_name"))) }
            @if is_token { " " span.tag { "service token" } }
            " " (told(event))
            @if let Some(reason) = event["reason"].as_str() { blockquote { (words::visible(reason)) } }
            div.stamp {
                @if let Some(at) = at { (card_time(at, view.now)) }
                @let name = event["seq"].as_i64().map(|seq| format!("#{}", words::number(&seq.into())));
                " · " (link(view, text("id"), name.as_deref().unwrap_or("event")))
            }
        }
    }
}

/// The words for an event, with a link for callers that may read it by its ID.
pub(in crate::console) fn link(view: &View, event: &str, words: &str) -> Markup {
    html! {
        @if view.may("audit.read") { a href=(view.url(&format!("/audit/{event}"))) { (words) } }
        @else { (words) }
    }
}

/// What happened to which thing: "created a group **Sales**".
pub(in crate::console) fn told(event: &Value) -> Markup {
    let action = event["action"].as_str().unwrap_or_default();
    let is_part = action.rsplit('.').next().is_some_and(|verb| verb.contains('_'));
    // The sentences about signing in are complete.
    let is_complete = ["console_links.", "sessions."].iter().any(|slice| action.starts_with(slice));
    let states = [&event["after"], &event["before"]];
    let name = states.into_iter().find_map(name_of).filter(|_| !is_complete);
    html! {
        (sentence(event))
        // After a change of a part, the name is that of the part.
        @if let Some(name) = name { @if is_part { ":" } " " b.soft { (words::visible(name)) } }
        @if let Some(owner) = event[OWNER].as_str() { " · " (words::visible(owner)) }
    }
}

/// Whether a change brought something into being.
fn is_new(event: &Value) -> bool {
    event["before"].is_null() && !event["after"].is_null()
}

/// Returns what happened: "suspended the license".
fn sentence(event: &Value) -> String {
    let action = event["action"].as_str().unwrap_or_default();
    let (slice, verb) = action.split_once('.').unwrap_or((action, ""));
    let noun = words::singular(&slice.replace('_', "-"));
    let verb = match verb {
        "put" | "upsert" if is_new(event) => "create",
        other => other,
    };
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

/// Returns the past form of a verb.
pub(super) fn past(verb: &str) -> String {
    match verb {
        "put" | "set" | "update" | "upsert" => "changed".to_owned(),
        "withdraw" => "withdrew".to_owned(),
        "give" => "gave".to_owned(),
        "cancel" => "cancelled".to_owned(),
        "transfer" => "transferred".to_owned(),
        _ if verb.ends_with('e') => format!("{verb}d"),
        "reset" => "reset".to_owned(),
        _ if verb.ends_with("ay") => format!("{verb}ed"),
        _ if verb.ends_with('y') => format!("{}ied", verb.trim_end_matches('y')),
        _ => format!("{verb}ed"),
    }
}

/// Returns the tone and the icon of an event.
pub(in crate::console) fn sign_of(event: &Value) -> (&'static str, &'static str) {
    let action = event["action"].as_str().unwrap_or_default();
    match action.rsplit('.').next().unwrap_or_default() {
        "suspend" | "disable" => ("warn", "pause"),
        "reinstate" | "enable" | "activate" | "accept" => ("ok", "play"),
        "revoke" | "delete" | "purge" | "compromise" | "erase" => ("bad", "cross"),
        "issue" | "token" => ("info", "token"),
        "create" => ("ok", "plus"),
        "upsert" | "put" if is_new(event) => ("ok", "plus"),
        "rotate" | "publish" => ("info", "key"),
        _ => ("", "edit"),
    }
}
