//! A license: whether it works and why, its term, entitlement, tokens and history.

use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::console::chart::{self, Term};
use crate::console::generic::{detail, history};
use crate::console::html::{Markup, card, html, icon, id, meter, short_time, state, time};
use crate::console::scene::{Scene, show_owner, title_of};
use crate::console::verdict::{self, Verdict};
use crate::console::view::{View, items, text};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;

crate::pages! { licenses:
    /// A license: whether it works and why, its term, entitlement, tokens and history.
    GET "/licenses/{id}" calls [licenses.read, licenses.verdict, bundles.list, deployments.read, subscriptions.read,
        plans.list_versions, audit.list] => detail;
}

/// What the page reads.
struct Facts {
    license: Value,
    deployment: Value,
    subscription: Value,
    plan: Value,
    bundles: Vec<Value>,
}

async fn detail(view: &mut View) -> Result<Response> {
    let key = view.part(0);
    let seen: Seen<Value> = view.ops.read("licenses.read", &[&key], "").await?;
    let license = seen.value;
    let mut scene = Scene::enter(view).await?;
    show_owner(view, &license).await?;
    scene.refresh(view);
    let facts = read(view, license).await?;
    let target = text(&facts.license, "id").to_owned();
    let events = history::read(view, Some(&target)).await?;
    let name = title_of(scene.template, &facts.license);
    let title = format!("License of {name}");
    let mut checks = verdict::of_license(view, &target).await?;
    checks.link(|check| fix_of(view, &facts, check));
    let resources = view.resources.clone();
    let body = html! {
        (head(view, &scene, &facts, &title))
        (detail::tabs(view, &resources, &scene))
        div.stack {
            (verdict::section(view, &checks, "license"))
            (term(view, &facts))
            div.two {
                div.stack { (cascade(view, &scene, &facts)) (tokens(view, &scene, &facts)) }
                div.stack { (sidebar(view, &facts, &checks)) (history::card(view, &events, "History", Some(&target))) }
            }
        }
    };
    let crumbs = scene.crumbs_to(&name);
    view.page(&title, &crumbs, &body)
}

fn instant(value: &Value, name: &str) -> Option<DateTime<Utc>> {
    words::parse_instant(text(value, name))
}

async fn read(view: &mut View, license: Value) -> Result<Facts> {
    let key = text(&license, "id").to_owned();
    let deployment =
        view.visible("deployments.read", &[text(&license, "deployment_id")], "").await?;
    let subscription =
        view.visible("subscriptions.read", &[text(&license, "subscription_id")], "").await?;
    let versions =
        view.visible("plans.list_versions", &[text(&subscription, "plan_code")], "").await?;
    let versions = items(&versions);
    let own = versions.iter().find(|plan| plan["version"] == subscription["plan_version"]);
    let plan = own.or(versions.first()).cloned().unwrap_or_default();
    let bundles = items(&view.visible("bundles.list", &[&key], "limit=4").await?);
    Ok(Facts { license, deployment, subscription, plan, bundles })
}

fn head(view: &View, scene: &Scene, facts: &Facts, title: &str) -> Markup {
    let (path, license) = (scene.path(), &facts.license);
    let status = text(license, "status");
    let link = |suffix: &str| view.url(&format!("{path}{suffix}"));
    let (kind, region) = (text(&facts.deployment, "type"), text(&facts.deployment, "region"));
    let place = [words::spaced(kind), words::visible(region).into_owned()];
    let place: Vec<String> = place.into_iter().filter(|part| !part.is_empty()).collect();
    let plan = facts.plan["name"].as_str().unwrap_or(text(&facts.subscription, "plan_code"));
    let is_open = !["revoked"].contains(&status);
    html! {
        div.head {
            div {
                div.title { h1 { (words::visible(title)) } (state(status)) }
                p.facts {
                    @if !place.is_empty() { span { (place.join(", ")) } }
                    span { (id(text(license, "id"), "the license ID")) }
                    @if facts.subscription.is_object() {
                        span { (words::visible(plan)) ", version " (facts.subscription["plan_version"]) }
                    }
                }
            }
            div.actions {
                @if is_open && view.may("bundles.issue") {
                    a."btn primary" href=(link("/bundles?new")) { (icon("token")) "Issue a token" }
                }
                @if is_open && !view.may("bundles.issue") && view.may("licenses.token") {
                    form method="post" action=(link("/token")) {
                        input type="hidden" name="_key" value=(view.new_key());
                        button."btn primary" { (icon("file")) "Download the license" }
                    }
                }
                @if status == "suspended" && view.may("licenses.reinstate") {
                    a.btn href=(link("/reinstate")) { (icon("play")) "Reinstate…" }
                } @else if is_open && view.may("licenses.suspend") {
                    a.btn href=(link("/suspend")) { (icon("pause")) "Suspend…" }
                }
                @if is_open { (menu(view, &path)) }
            }
        }
    }
}

/// Returns the page where a failing check is mended, if the caller may.
fn fix_of(view: &View, facts: &Facts, check: &str) -> Option<String> {
    let license = &facts.license;
    let path = format!("/licenses/{}", text(license, "id"));
    let deployment = format!("/deployments/{}", text(license, "deployment_id"));
    let is_open = facts.deployment.is_null() || text(&facts.deployment, "status") == "active";
    let (operation, to) = match (check, text(license, "status")) {
        ("organization", _) if view.ops.caller.is_of_platform() => {
            let own = text(license, "organization_id");
            ("organizations.update", format!("/organizations/{own}/reactivate"))
        }
        ("subscription", _) => {
            let own = text(license, "subscription_id");
            ("subscriptions.update", format!("/subscriptions/{own}?edit"))
        }
        ("license", "revoked") => ("licenses.create", format!("{deployment}/licenses")),
        ("license", "suspended") => ("licenses.reinstate", format!("{path}/reinstate")),
        ("license", _) if !is_open => ("deployments.update", format!("{deployment}?edit")),
        ("license", _) if instant(license, "valid_from").is_some_and(|at| at > view.now) => {
            ("licenses.update", format!("{path}?edit"))
        }
        ("license", _) => ("licenses.renew", format!("{path}/renew")),
        ("seats", _) => ("leases.list", format!("{path}/leases")),
        ("token" | "signing_key" | "log", _) => ("bundles.issue", format!("{path}/bundles?new")),
        _ => return None,
    };
    view.may(operation).then(|| view.url(&to))
}

/// What else the menu of a license offers: the operation, the rest of the path and the title.
const MENU: [(&str, &str, &str); 5] = [
    ("licenses.update", "?edit", "Change the entitlement"),
    ("licenses.renew", "/renew", "Renew…"),
    ("bundles.issue", "/bundles?new&form=file", "License file (no network)…"),
    ("licenses.transfer", "/transfer", "Transfer…"),
    ("licenses.revoke", "/revoke", "Revoke…"),
];

fn menu(view: &View, path: &str) -> Markup {
    let offered: Vec<_> = MENU.iter().filter(|(operation, ..)| view.may(operation)).collect();
    html! {
        @if !offered.is_empty() {
            details.menu {
                summary.btn aria-label="More actions" { (icon("more")) }
                div.pop { @for (operation, rest, title) in offered {
                    a.bad[*operation == "licenses.revoke"] href=(view.url(&format!("{path}{rest}"))) { (title) }
                } }
            }
        }
    }
}

fn term(view: &View, facts: &Facts) -> Markup {
    let (from, until) =
        (instant(&facts.license, "valid_from"), instant(&facts.license, "valid_until"));
    let none = html! {};
    let (Some(from), Some(until)) = (from, until) else {
        let body = html! { div.in { p.soft {
            "From " @if let Some(from) = from { (time(from)) } ", without an end."
        } } };
        return card("h-term", "Term", &none, &body);
    };
    let grace = facts.license["grace_days"].as_i64().unwrap_or(0);
    let newest = facts.bundles.iter().find(|bundle| text(bundle, "status") == "valid");
    let token_until = newest.and_then(|bundle| instant(bundle, "expires_at"));
    let grace_until = until + TimeDelta::try_days(grace).unwrap_or_default();
    let term = Term { from, until, grace_until, token_until, now: view.now };
    let legend = html! {
        div.legend {
            span { "license" }
            @if grace > 0 { span.g { "grace" } }
            @if token_until.is_some() { span.t { "newest token" } }
            span.n { "today" }
        }
    };
    card("h-term", "Term", &legend, &html! { div.in { (chart::term(&term)) } })
}

/// The layers of the entitlement, from the plan to the license. The winner is marked.
fn cascade(view: &View, scene: &Scene, facts: &Facts) -> Markup {
    let empty = Map::new();
    let effective = facts.license["effective"]["features"].as_object().unwrap_or(&empty);
    let from_organization = effective.values().any(|one| one["from"] == "organization");
    let layers: [(&str, &Value); 3] = [
        ("plan", &facts.plan["features"]),
        ("subscription", &facts.subscription["features"]),
        ("license", &facts.license["features"]),
    ];
    let seats =
        [&facts.plan["seat_cap"], &facts.subscription["seat_cap"], &facts.license["seat_cap"]];
    let change = html! {
        @if view.may("licenses.update") {
            a."btn s" href=(view.url(&format!("{}?edit", scene.path()))) { (icon("edit")) "Change" }
        }
    };
    let body = html! {
        div.scroll tabindex="0" role="group" aria-label="Table, scrolls sideways" {
            table."cascade cards-s" {
                thead { tr {
                    th scope="col" { "Feature" }
                    th scope="col" { "Plan " (text(&facts.subscription, "plan_code")) }
                    th scope="col" { "Subscription" }
                    @if from_organization { th scope="col" { "Organization" } }
                    th scope="col" { "This license" }
                } }
                tbody {
                    (layer_row("seats", &facts.license["effective"]["seat_cap"], &seats, from_organization))
                    @for (name, one) in effective {
                        @let values = layers.map(|(_, layer)| &layer[name]);
                        @let is_own = layers.map(|(_, layer)| layer.get(name).is_some());
                        (feature_row(name, one, &values, is_own, from_organization))
                    }
                }
            }
        }
        footer.small { "The value furthest to the right counts. What no layer names is not included." }
    };
    card("h-grants", "What it grants, and why", &change, &body)
}

fn layer_row(
    name: &str,
    effective: &Value,
    values: &[&Value; 3],
    has_organization: bool,
) -> Markup {
    let is_own = values.map(|value| !value.is_null());
    feature_row(name, effective, values, is_own, has_organization)
}

fn feature_row(
    name: &str,
    effective: &Value,
    values: &[&Value; 3],
    is_own: [bool; 3],
    has_organization: bool,
) -> Markup {
    let winner = effective["from"].as_str().unwrap_or_default();
    let cell = |layer: &'static str, value: &Value, is_own: bool| {
        let kind = match (winner == layer, is_own) {
            (true, _) => "win",
            (false, true) => "lost",
            (false, false) => "none",
        };
        let shown = if winner == layer { &effective["value"] } else { value };
        html! { td class=(kind) data-l=(layer) { span { @if kind == "none" { "–" } @else { (feature(shown)) } } } }
    };
    html! {
        tr {
            td { code { (words::visible(name)) } }
            (cell("plan", values[0], is_own[0]))
            (cell("subscription", values[1], is_own[1]))
            @if has_organization { (cell("organization", &Value::Null, false)) }
            (cell("license", values[2], is_own[2]))
        }
    }
}

/// A feature's value: null is unlimited.
fn feature(value: &Value) -> String {
    match value {
        Value::Null => "unlimited".to_owned(),
        Value::Number(number) => words::number(number),
        Value::String(text) => words::visible(text).into_owned(),
        other => other.to_string(),
    }
}

fn tokens(view: &View, scene: &Scene, facts: &Facts) -> Markup {
    let all = html! { a href=(view.url(&format!("{}/bundles", scene.path()))) { "All tokens" } };
    let body = html! {
        @if facts.bundles.is_empty() {
            div.empty { (icon("token")) h2 { "No tokens yet" } p { "A data plane needs a token to work." } }
        } @else {
            div.scroll tabindex="0" role="group" aria-label="Table, scrolls sideways" {
                table.cards-s {
                    thead { tr {
                        th scope="col" { "Token" } th scope="col" { "State" } th scope="col" { "Issued" }
                        th scope="col" { "Ends" } th scope="col" { span.sr { "Actions" } }
                    } }
                    tbody { @for bundle in facts.bundles.iter().take(3) { (token(view, bundle)) } }
                }
            }
        }
    };
    card("h-tokens", "Tokens", &all, &body)
}

fn token(view: &View, bundle: &Value) -> Markup {
    let ends = instant(bundle, "expires_at");
    let is_over = ends.is_some_and(|ends| ends <= view.now);
    let status = if is_over && text(bundle, "status") != "revoked" {
        "ended"
    } else {
        text(bundle, "status")
    };
    let key = text(bundle, "id");
    html! {
        tr {
            td {
                a.whole href=(view.url(&format!("/bundles/{key}"))) { code { (words::short(key)) } }
                br; small.quiet { "key " code { (words::short(text(bundle, "key_id"))) } }
            }
            td { (state(status)) }
            td data-l="issued" { @if let Some(at) = instant(bundle, "issued_at") { (short_time(at, view.now)) } }
            td data-l="ends" { @if let Some(at) = ends { (short_time(at, view.now)) } }
            td.r {
                @if status == "valid" && view.may("bundles.revoke") {
                    a."btn s danger" href=(view.url(&format!("/bundles/{key}/revoke"))) { "Revoke…" }
                }
            }
        }
    }
}

fn sidebar(view: &View, facts: &Facts, checks: &Verdict) -> Markup {
    let license = &facts.license;
    let link =
        |segment: &str, member: &str| view.url(&format!("/{segment}/{}", text(license, member)));
    let seats = checks.pools.iter().find(|pool| text(pool, "name") == "seats");
    let body = html! {
        div.in { dl.facts {
            dt { "Deployment" }
            dd { a href=(link("deployments", "deployment_id")) { (words::visible(text(&facts.license, "deployment_name"))) } }
            dt { "Subscription" }
            dd { a href=(link("subscriptions", "subscription_id")) {
                (facts.subscription["plan_code"].as_str().unwrap_or("open")) ", " (words::spaced(text(&facts.subscription, "status")))
            } }
            @if let Some(pool) = seats { dt { "Seats" } dd { (meter("Seats", &pool["used"], &pool["cap"])) } }
            dt { "Valid from" } dd { @match instant(license, "valid_from") { Some(at) => (time(at)), None => "–" } }
            dt { "Valid until" } dd { @match instant(license, "valid_until") { Some(at) => (time(at)), None => "no end" } }
            dt { "Grace" } dd { (words::count(license["grace_days"].as_i64().unwrap_or(0), "day")) }
            @if let Some(reason) = license["status_reason"].as_str() { dt { "Reason" } dd { (words::visible(reason)) } }
            dt { "Revision" } dd.num { (license["revision"]) }
        } }
    };
    card("h-facts", "Facts", &html! {}, &body)
}
