//! The audit log: who did what, and the difference that it made.

use axum::response::Response;
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;

use crate::console::diff;
use crate::console::filters::{self, Filter};
use crate::console::generic::history::{name_owners, sign_of, told};
use crate::console::html::{Markup, card_time, empty, html, icon, id};
use crate::console::log_head::{self, LogHead};
use crate::console::pager::older;
use crate::console::templates::filled;
use crate::console::view::{View, items, query, text};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;
use crate::kernel::http::line::BASE;

crate::pages! { audit:
    /// The audit log of the platform.
    GET "/audit" calls [audit.list_all, log.checkpoint, log.read] => of_platform;
    /// The audit log of an organization.
    GET "/organizations/{org}/audit" calls [audit.list, organizations.read] => of_organization;
}

/// The filters: parameter and label.
const FILTERS: [Filter; 5] = [
    ("actor", "Who", "an ID"),
    ("action", "What", "licenses.suspend"),
    ("target", "Which thing", "an ID"),
    ("since", "Since (UTC)", "2026-11-01 00:00"),
    ("until", "Until (UTC)", "now"),
];

/// The filters that are folded: parameter, label and example.
const MORE: [Filter; 4] = [
    ("target_type", "Kind of thing", "license"),
    ("project", "Project", "an ID"),
    ("product", "Product", "studio"),
    ("organization", "Organization", "an ID"),
];

/// The authors of events: the value of the filter, and its words.
const SOURCES: [(&str, &str); 3] =
    [("", "any"), ("server", "this server"), ("caller", "reported by a caller")];

/// The events of a page: each has its difference, and a page stays small.
const EVENTS: &str = "25";
/// The most fields of a difference. The page of the event has all.
const FIELDS: usize = 8;

async fn of_platform(view: &mut View) -> Result<Response> {
    page(view, "audit.list_all", None).await
}

async fn of_organization(view: &mut View) -> Result<Response> {
    let named = view.part(0);
    let own = view.enter_organization(&named).await?.to_string();
    page(view, "audit.list", Some(own)).await
}

async fn page(view: &mut View, operation: &str, own: Option<String>) -> Result<Response> {
    let asked: Vec<(String, String)> = view
        .query
        .iter()
        .map(|(name, value)| (name.clone(), read_instant(name, value.trim())))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let pairs = asked.iter().map(|(name, value)| (&**name, &**value));
    let text = query(pairs.chain([("limit", EVENTS)]));
    let place: Vec<&str> = own.iter().map(String::as_str).collect();
    let read = view.ops.read::<Value>(operation, &place, &text).await;
    let (page, refusal) = match read {
        Ok(Seen { value, .. }) => (value, None),
        Err(error) if matches!(error.document().status, 400 | 422) => {
            let summary =
                view.summary(&error, |name| own_filters().any(|(known, ..)| *known == name));
            (Value::Null, Some(summary.markup))
        }
        Err(error) => return Err(error),
    };
    let mut events = items(&page);
    name_owners(view, &mut events).await?;
    let head = if own.is_none() { log_head::read(view).await } else { None };
    let body = html! {
        div.head { div {
            h1 { "Audit log" }
            p.facts { "Every change, who made it and why. The log is a signed tree: no entry can be edited." }
        } }
        @if let Some(head) = &head { (strip(view, head)) }
        @if let Some(refusal) = refusal { (refusal) br; }
        form.filters action=(view.url(&view.path)) role="search" aria-label="Filters" {
            @for one in &FILTERS { (filters::entry(view, one)) }
            button.btn { "Apply" }
            @if !asked.is_empty() { a."btn plain" href=(view.url(&view.path)) { "Clear" } }
            (more_filters(view, own.is_none()))
        }
        section.card aria-label="Events" {
            @if events.is_empty() {
                (empty("log", "No match", "No event fits these filters.", &html! {}))
            }
            (days(view, &events))
            (older(view, &page))
        }
    };
    let crumbs = view.crumbs("Audit log");
    view.page("Audit log", &crumbs, &body)
}

fn own_filters() -> impl Iterator<Item = &'static Filter> {
    FILTERS.iter().chain(&MORE)
}

/// The other filters. Only the platform's log has events of several organizations.
fn more_filters(view: &View, is_of_platform: bool) -> Markup {
    let source = view.asked("source").unwrap_or_default();
    let is_used = |name| filters::is_used(view, name);
    let is_open = is_used("source") || MORE.iter().any(|(name, ..)| is_used(name));
    html! {
        details.more open[is_open] {
            summary { "More filters" }
            div.filters {
                @for one in MORE.iter().filter(|one| is_of_platform || one.0 != "organization") {
                    (filters::entry(view, one))
                }
                label for="f-source" { "Author"
                    select #f-source name="source" {
                        @for (code, word) in SOURCES { option value=(code) selected[source == code] { (word) } }
                    }
                }
            }
        }
    }
}

/// The signed head of the log, and its checkpoint as a file.
fn strip(view: &View, head: &LogHead) -> Markup {
    html! {
        div."card strip" {
            div { span."state ok" { "signed" } }
            div { span.quiet { "Events" } " " b.num { (head.size) } }
            div { span.quiet { "Root" } " " (id(&head.root, "the root hash")) }
            @if let Some(at) = head.signed_at { div { span.quiet { "Signed" } " " (card_time(at, view.now)) } }
            div { a href={ (view.base) (BASE) "/log/checkpoint" } download="checkpoint.txt" { "Checkpoint to keep elsewhere" } }
            @if view.may("log.verify") { div { a href=(view.url("/log/verification")) { "Verify" } } }
        }
    }
}

fn read_instant(name: &str, text: &str) -> String {
    let is_instant = ["since", "until"].contains(&name);
    let at = is_instant.then(|| words::read_form_instant(text)).flatten();
    at.map_or_else(|| text.to_owned(), words::iso)
}

fn at(event: &Value) -> DateTime<Utc> {
    words::parse_instant(text(event, "at")).unwrap_or_default()
}

fn days(view: &View, events: &[Value]) -> Markup {
    let mut day: Option<NaiveDate> = None;
    html! {
        @for event in events {
            @let date = at(event).date_naive();
            @if day != Some(date) {
                @let shown = date.format("%A, %-d %B %Y, UTC").to_string();
                h2.day { (shown) }
            }
            ({ day = Some(date); entry(view, event) })
        }
    }
}

fn entry(view: &View, event: &Value) -> Markup {
    let (tone, sign) = sign_of(event);
    let seq = event["seq"].as_i64();
    html! {
        details.event {
            summary {
                time datetime=(text(event, "at")) { (at(event).format("%H:%M:%S")) }
                span class={ "ico " (tone) } { (icon(sign)) }
                span.what {
                    b { (words::visible(text(event, "actor_name"))) }
                    @if text(event, "actor_kind") == "service_token" { " " span.tag { "service token" } }
                    " " (told(event))
                }
                code."seq quiet" { @if let Some(seq) = seq { "#" (words::number(&seq.into())) } }
                (icon_chevron())
            }
            div.body {
                p {
                    code { (text(event, "action")) } " on "
                    code { (text(event, "target_type")) " " (words::short(text(event, "target_id"))) }
                    @if let Some(path) = thing_of(view, event) { " " a.in-text href=(view.url(&path)) { "Open the " (noun_of(event)) } }
                }
                @if let Some(reason) = event["reason"].as_str() { blockquote { (words::visible(reason)) } }
                (diff::table(&event["before"], &event["after"], FIELDS))
                p.proof {
                    @if let Some(seq) = seq { span { "leaf " code { (words::number(&seq.into())) } } }
                    @if let Some(request) = event["request_id"].as_str() { span { "request " code { (words::short(request)) } } }
                    @if let Some(ip) = event["ip"].as_str() { span { "from " code { (ip) } } }
                    @if view.may("audit.read") { a href=(view.url(&format!("/audit/{}", text(event, "id")))) { "The whole event" } }
                    @if text(event, "action") == "bundles.issue" && seq.is_some() {
                        a href={ (view.base) (BASE) "/log/proof?" (query([("jti", text(event, "target_id"))])) } download="proof.txt" { "Proof as a file" }
                    }
                }
            }
        }
    }
}

/// Returns the noun of the thing that an event is about.
fn noun_of(event: &Value) -> String {
    words::singular(&format!("{}s", text(event, "target_type").replace('_', "-")))
}

/// Returns the page of the thing that an event is about, unless the event ended it.
fn thing_of(view: &View, event: &Value) -> Option<String> {
    let target = Some(text(event, "target_id")).filter(|id| !id.is_empty())?;
    let thing = view.resources.referred(&format!("{}_id", text(event, "target_type")))?;
    let is_there = !event["after"].is_null() && view.may(thing.name);
    is_there.then(|| filled(thing.path, &[target.to_owned()]))
}

fn icon_chevron() -> Markup {
    html! { svg."i chev" viewBox="0 0 16 16" aria-hidden="true" { use href="#i-right" {} } }
}
