//! The overview of the platform: what needs a person today.

use axum::response::Response;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde_json::Value;

use crate::console::chart::Days;
use crate::console::generic::history;
use crate::console::html::{
    Markup, card, card_time, card_time_after_verb, decimal, html, icon, id,
};
use crate::console::log_head::{self, LogHead};
use crate::console::view::{View, query, text};
use crate::console::words;
use crate::kernel::error::Result;

/// The most rows of what needs attention.
const ROWS: usize = 9;
/// The days of the picture.
const DAYS: usize = 30;
/// The days before its end in which a license is ending.
const ENDING: i64 = 30;

pub(super) async fn page(view: &mut View) -> Result<Response> {
    let head = log_head::read(view).await;
    let overview = view.visible("overview.platform", &[], "").await?;
    let daily = view.visible("issuance.daily", &[], "").await?;
    let signing = view.visible("keys.info", &[], "").await?;
    let events = history::read(view, None).await?;
    let body = html! {
        div.head {
            div { h1 { "Overview" } p.facts { "Everything that this authority signs, and what needs a person today." } }
            div.actions {
                a.btn href=(view.url("/inspect")) { (icon("shield")) "Inspect a token" }
                @if view.may("organizations.create") {
                    a."btn primary" href=(view.url("/setup")) { (icon("plus")) "Set up a customer" }
                }
            }
        }
        div.stack {
            @if overview.is_object() { (stats(view, &overview)) }
            div.two {
                div.stack {
                    @if overview.is_object() { (attention(view, &overview)) }
                    (tokens(&daily))
                }
                div.stack {
                    (signing_card(view, &signing))
                    @if let Some(head) = &head { (log_card(head, view.now)) }
                    (history::card(view, &events, "Latest changes", None))
                }
            }
        }
    };
    view.page("Overview", &vec![("Overview".into(), None)], &body)
}

/// The numbers, each with its list.
fn stats(view: &View, overview: &Value) -> Markup {
    let today = words::iso(view.now.date_naive().and_time(NaiveTime::MIN).and_utc());
    let signed = query([("action", "bundles.issue"), ("since", &*today)]);
    let soon = words::iso(view.now + TimeDelta::days(ENDING));
    let now = words::iso(view.now);
    let ending =
        query([("status", "active"), ("expires_after", &*now), ("expires_before", &*soon)]);
    let number = |name: &str| {
        let value = overview[name]["value"].as_number().map_or_else(String::new, words::number);
        let more = if overview[name]["more"] == true { "+" } else { "" };
        format!("{value}{more}")
    };
    let of = |name: &str, noun: &str| {
        let ending = if overview[name]["value"] == 1 { "" } else { "s" };
        format!("for {} {noun}{ending}", number(name))
    };
    let stat = |path: &str, label: &str, name: &str, about: String| {
        html! { a href=(view.url(path)) { span { (label) } b { (number(name)) } small { (about) } } }
    };
    html! {
        div.stats {
            (stat("/organizations", "Organizations", "organizations",
                format!("{} suspended", number("suspended_organizations"))))
            (stat("/licenses", "Licenses", "licenses", of("deployments", "deployment")))
            (stat(&format!("/licenses?{ending}"), &format!("Ending within {ENDING} days"), "ending_licenses", "renew them in time".into()))
            (stat(&format!("/audit?{signed}"), "Tokens signed today", "tokens_today", "since 00:00 UTC".into()))
        }
    }
}

/// How an item of the overview is shown: tone, icon, what it says, and the button.
fn item(view: &View, one: &Value) -> Option<Markup> {
    let (id, organization) = (text(one, "id"), text(one, "organization_name"));
    let label = words::visible(text(one, "label")).into_owned();
    let at = words::parse_instant(text(one, "at"));
    let owner = html! { @if !organization.is_empty() { (words::visible(organization)) " · " } };
    let owned = |label: &str| match organization {
        "" => label.to_owned(),
        name => format!("{} · {label}", words::visible(name)),
    };
    let ends = |what: &str| html! { (what) " " @if let Some(at) = at { (card_time_after_verb(at, view.now)) } "." };
    let (tone, sign, path, title, about, fix) = match text(one, "kind") {
        "organization_suspended" => {
            let path = format!("/organizations/{id}");
            let fix = ("Reactivate", format!("{path}/reactivate"));
            let about = html! { "Its licenses are refused." };
            ("bad", "pause", path, format!("{label} is suspended"), about, Some(fix))
        }
        "subscription_past_due" => {
            let path = format!("/subscriptions/{id}");
            let fix = ("Change", format!("{path}?edit"));
            let about = html! { (owner) "The payment is due." };
            ("bad", "warn", path, format!("Subscription to {label}"), about, Some(fix))
        }
        "webhook_disabled" => {
            let path = format!("/webhooks/{id}");
            let fix = ("Enable", format!("{path}/enable"));
            let about = html! { (owner) "Its receiver failed for too long: nothing is sent." };
            ("bad", "server", path, format!("Webhook {label} is disabled"), about, Some(fix))
        }
        "license_suspended" => {
            let path = format!("/licenses/{id}");
            let fix = ("Reinstate", format!("{path}/reinstate"));
            let about = html! { "The license is suspended: data planes refuse it." };
            ("bad", "pause", path, owned(&label), about, Some(fix))
        }
        "license_ending" => {
            let path = format!("/licenses/{id}");
            let fix = ("Renew", format!("{path}/renew"));
            let about = html! { (ends("The license ends")) };
            ("warn", "clock", path, owned(&label), about, Some(fix))
        }
        "trial_ending" => {
            let path = format!("/subscriptions/{id}");
            let fix = ("Change", format!("{path}?edit"));
            let about = html! { (owner) (ends("The trial ends")) };
            ("warn", "clock", path, format!("Trial of {label}"), about, Some(fix))
        }
        "service_token_ending" => {
            let path = match text(one, "organization_id") {
                "" => "/service-tokens".to_owned(),
                organization => format!("/organizations/{organization}/service-tokens"),
            };
            let fix = ("Rotate", format!("/service-tokens/{id}/rotate"));
            let about = html! { (ends("The service token ends")) };
            ("warn", "token", path, owned(&label), about, Some(fix))
        }
        "key_rotation" => {
            let about = html! { (ends("The next key takes over")) " Nothing to do." };
            (
                "info",
                "key",
                "/signing/keys".to_owned(),
                "The signing key rotates".into(),
                about,
                None,
            )
        }
        _ => return None,
    };
    let operation = one["operation"].as_str();
    let fix = fix.filter(|_| operation.is_none_or(|operation| view.may(operation)));
    Some(html! { li {
        span class={ "ico " (tone) } { (icon(sign)) }
        div.grow { a.whole href=(view.url(&path)) { (title) } div.soft { (about) } }
        @if let Some((label, to)) = fix { a."btn s" href=(view.url(&to)) { (label) } }
    } })
}

fn attention(view: &View, overview: &Value) -> Markup {
    let all = overview["attention"].as_array().cloned().unwrap_or_default();
    let rows: Vec<Markup> = all.iter().filter_map(|one| item(view, one)).take(ROWS).collect();
    let body = html! {
        @if rows.is_empty() {
            div.empty { (icon("check")) h2 { "Nothing needs a person" } p { "Suspended customers and licenses that end within 30 days appear here." } }
        } @else { ul.rows { @for row in &rows { (row) } } }
    };
    let more = html! {
        @if all.len() > rows.len() { span.quiet { (rows.len()) " of " (all.len()) } }
    };
    card("h-attention", "Needs attention", &more, &body)
}

/// The tokens of the last days.
fn tokens(daily: &Value) -> Markup {
    let days = daily["days"].as_array().cloned().unwrap_or_default();
    let point = |day: &Value| {
        let date = text(day, "day").parse::<NaiveDate>().ok()?;
        Some((date, day["issued"].as_f64().unwrap_or(0.0)))
    };
    let points: Vec<_> = days.iter().filter_map(point).collect();
    let points = &points[points.len().saturating_sub(DAYS)..];
    if points.is_empty() {
        return html! {};
    }
    let chart =
        Days { anchor: "c-tokens", title: "Tokens per day", unit: "tokens", points, limit: None };
    let body = html! {
        div.in { (chart.bars()) }
        details.fold {
            summary { "The same as a table" }
            table { tbody { @for (day, issued) in points.iter().rev() {
                tr { th scope="row" { (day.format("%-d %b %Y")) } td.r { (decimal(*issued)) } }
            } } }
        }
    };
    card("h-tokens", "Tokens per day", &html! { span.quiet { "UTC" } }, &body)
}

fn signing_card(view: &View, signing: &Value) -> Markup {
    if signing.is_null() {
        return html! {};
    }
    let keys = html! { a href=(view.url("/signing/keys")) { "Keys" } };
    let next = words::parse_instant(text(signing, "next_rotation_at"));
    let body = html! { div.in { dl.facts {
        dt { "Active key" } dd { a href=(view.url(&format!("/signing/keys/{}", text(signing, "active_kid")))) { code { (words::short(text(signing, "active_kid"))) } } }
        dt { "Algorithm" } dd { (text(signing, "algorithm")) }
        dt { "Rotation" } dd { @match next { Some(at) => (card_time(at, view.now)), None => "not automatic" } }
        dt { "Issuer" } dd { code { (text(signing, "issuer")) } }
    } } };
    card("h-signing", "Signing", &keys, &body)
}

/// The signed head of the log.
fn log_card(head: &LogHead, now: DateTime<Utc>) -> Markup {
    let body = html! { div.in { dl.facts {
        dt { "Events" } dd.num { (head.size) }
        dt { "Root" } dd { (id(&head.root, "the root hash")) }
        @if let Some(at) = head.signed_at { dt { "Signed" } dd { (card_time(at, now)) } }
    } } };
    card("h-log", "Audit log", &html! { span."state ok" { "signed" } }, &body)
}
