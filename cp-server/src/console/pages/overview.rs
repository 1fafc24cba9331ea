//! The overview of the platform: what needs a person today.

use axum::response::Response;
use chrono::TimeDelta;
use serde_json::Value;

use crate::console::generic::history;
use crate::console::html::{Markup, card, html, icon, time};
use crate::console::view::{View, items, query, text};
use crate::console::words;
use crate::kernel::error::Result;

/// How long before its end a license needs attention.
const SOON: TimeDelta = TimeDelta::days(30);

pub(super) async fn page(view: &mut View) -> Result<Response> {
    let (now, soon) = (words::iso(view.now), words::iso(view.now + SOON));
    let ending = query([
        ("limit", "6"),
        ("status", "active"),
        ("expires_after", &*now),
        ("expires_before", &*soon),
    ]);
    let ending = items(&view.visible("licenses.list_all", &[], &ending).await?);
    let suspended =
        items(&view.visible("organizations.list", &[], "limit=5&status=suspended").await?);
    let stopped = items(&view.visible("licenses.list_all", &[], "limit=5&status=suspended").await?);
    let newest = items(&view.visible("organizations.list", &[], "limit=6").await?);
    let signing = view.visible("keys.info", &[], "").await?;
    let events = history::read(view, None).await?;
    let body = html! {
        div.head {
            div { h1 { "Overview" } p.facts { "Everything that this authority signs, and what needs a person today." } }
            div.actions {
                @if view.may("organizations.create") {
                    a."btn primary" href=(view.url("/organizations?new")) { (icon("plus")) "New organization" }
                }
            }
        }
        div.two {
            div.stack {
                (attention(view, &suspended, &stopped, &ending))
                (organizations(view, &newest))
            }
            div.stack {
                (signing_card(view, &signing))
                (history::card(view, &events, "Latest changes", None))
            }
        }
    };
    view.page("Overview", &vec![("Overview".into(), None)], &body)
}

fn attention(view: &View, suspended: &[Value], stopped: &[Value], ending: &[Value]) -> Markup {
    let name = |license: &Value| match license["name"].as_str() {
        Some(name) => name.to_owned(),
        None => format!("License {}", words::short(text(license, "id"))),
    };
    let row = |tone: &str,
               sign: &str,
               path: String,
               title: String,
               about: Markup,
               fix: Option<(&str, String)>| {
        html! { li {
            span class={ "ico " (tone) } { (icon(sign)) }
            div.grow { a.whole href=(view.url(&path)) { (words::visible(&title)) } div.soft { (about) } }
            @if let Some((label, to)) = fix { a."btn s" href=(view.url(&to)) { (label) } }
        } }
    };
    let body = html! {
        @if suspended.is_empty() && stopped.is_empty() && ending.is_empty() {
            div.empty { (icon("check")) h2 { "Nothing needs a person" } p { "Suspended customers and licenses that end within 30 days appear here." } }
        } @else { ul.rows {
            @for one in suspended {
                @let path = format!("/organizations/{}", text(one, "id"));
                (row("bad", "pause", path.clone(), format!("{} is suspended", text(one, "name")),
                    html! { "Its licenses are refused." }, Some(("Reactivate", format!("{path}?edit")))))
            }
            @for one in stopped {
                @let path = format!("/licenses/{}", text(one, "id"));
                (row("bad", "pause", path.clone(), format!("{} is suspended", name(one)),
                    html! { (words::visible(one["status_reason"].as_str().unwrap_or("No reason was given."))) },
                    Some(("Reinstate", format!("{path}/reinstate")))))
            }
            @for one in ending {
                @let path = format!("/licenses/{}", text(one, "id"));
                @let at = words::parse_instant(text(one, "valid_until"));
                (row("warn", "clock", path.clone(), name(one),
                    html! { "The license ends" @if let Some(at) = at { " on " (time(at)) } "." },
                    Some(("Renew", format!("{path}/renew")))))
            }
        } }
    };
    card("h-attention", "Needs attention", &html! {}, &body)
}

fn organizations(view: &View, newest: &[Value]) -> Markup {
    let all = html! { a href=(view.url("/organizations")) { "All organizations" } };
    let body = html! {
        @if newest.is_empty() {
            div.empty { (icon("building")) h2 { "No organizations yet" } p { "An organization is a customer." } }
        } @else { ul.rows { @for one in newest { li {
            div.grow {
                a.whole href=(view.url(&format!("/organizations/{}", text(one, "id")))) { (words::visible(text(one, "name"))) }
                div.soft { code { (text(one, "slug")) } }
            }
            (crate::console::html::state(text(one, "status")))
        } } } }
    };
    card("h-newest", "Newest organizations", &all, &body)
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
        dt { "Rotation" } dd { @match next { Some(at) => (time(at)), None => "not automatic" } }
        dt { "Issuer" } dd { code { (text(signing, "issuer")) } }
    } } };
    card("h-signing", "Signing", &keys, &body)
}
