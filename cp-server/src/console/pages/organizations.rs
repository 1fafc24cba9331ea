//! An organization at a glance.

use axum::response::Response;
use serde_json::Value;

use crate::console::generic::{detail, history};
use crate::console::html::{Markup, card, empty, html, icon, id, meter, state, time};
use crate::console::icons;
use crate::console::scene::title_of;
use crate::console::view::{View, items, query, text};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;
use crate::kernel::http::line::BASE;

crate::pages! { organizations:
    /// An organization: its licenses, deployments, people, quotas and latest changes.
    GET "/organizations/{org}" calls [organizations.read, licenses.list, deployments.list,
        subscriptions.list, memberships.list, invitations.list, quotas.list, leases.pools, audit.list] => overview;
}

/// The path of a license, which names it.
const LICENSE: &str = "/licenses/{id}";
/// Segments that the page shows as cards of their own.
const CARDS: [&str; 7] = [
    "licenses",
    "deployments",
    "memberships",
    "subscriptions",
    "audit",
    "service-tokens",
    "quotas",
];

/// Quotas that no use fills: what they bound is one request, one run or one file.
const UNFILLED: [&str; 3] = ["artifact_retention_days", "artifacts_per_run", "requests_per_minute"];

async fn overview(view: &mut View) -> Result<Response> {
    let named = view.part(0);
    let own = view.enter_organization(&named).await?.to_string();
    let seen: Seen<Value> = view.ops.read("organizations.read", &[&own], "").await?;
    let organization = seen.value;
    let licenses = items(&view.visible("licenses.list", &[&own], "limit=6").await?);
    let deployments = items(&view.visible("deployments.list", &[&own], "limit=6").await?);
    let subscriptions = items(&view.visible("subscriptions.list", &[&own], "limit=3").await?);
    let people = items(&view.visible("memberships.list", &[&own], "limit=6").await?);
    let invitations =
        items(&view.visible("invitations.list", &[&own], "limit=5&status=pending").await?);
    let quotas = view.visible("quotas.list", &[&own], "").await?;
    let mut pools = Vec::new();
    for license in &licenses {
        let found = view.visible("leases.pools", &[text(license, "id")], "").await?;
        pools.extend(items(&found).into_iter().map(|pool| (license.clone(), pool)));
    }
    let events = history::read(view, None).await?;
    let title = text(&organization, "name").to_owned();
    let body = html! {
        (head(view, &own, &organization))
        div.two {
            div.stack {
                (license_card(view, &own, &licenses, &deployments))
                (rows_card(view, &own, "Deployments", "deployments", &deployments))
                (seat_card(view, &pools))
                (quota_card(view, &own, &quotas))
                (others(view, &own))
            }
            div.stack {
                (facts(view, &organization, &subscriptions, &people))
                (rows_card(view, &own, "People", "memberships", &people))
                @if !invitations.is_empty() { (rows_card(view, &own, "Open invitations", "invitations", &invitations)) }
                (history::card(view, &events, "Latest changes", None))
            }
        }
    };
    let crumbs = match view.ops.caller.is_of_platform() {
        true => {
            vec![("Organizations".into(), Some("/organizations".into())), (title.clone(), None)]
        }
        false => vec![(title.clone(), None)],
    };
    view.page(&title, &crumbs, &body)
}

fn head(view: &View, own: &str, organization: &Value) -> Markup {
    let link = |suffix: &str| view.url(&format!("/organizations/{own}{suffix}"));
    html! {
        div.head {
            div {
                div.title { h1 { (words::visible(text(organization, "name"))) } (state(text(organization, "status"))) }
                p.facts {
                    span { code { (text(organization, "slug")) } }
                    span { (id(own, "the organization ID")) }
                }
            }
            div.actions {
                @if view.may("deployments.create") { a."btn primary" href=(link("/deployments?new")) { (icon("plus")) "New deployment" } }
                @if view.may("subscriptions.create") { a.btn href=(link("/subscriptions?new")) { "New subscription" } }
                details.menu {
                    summary.btn aria-label="More actions" { (icon("more")) }
                    div.pop {
                        @if view.may("organizations.update") { a href=(link("?edit")) { "Change…" } }
                        @if view.may("memberships.create") { a href=(link("/memberships?new")) { "Add a person…" } }
                        @if view.may("invitations.create") { a href=(link("/invitations?new")) { "Invite a person…" } }
                        @if view.may("organizations.transfer_ownership") { a href=(link("/transfer-ownership")) { "Transfer ownership…" } }
                        @if view.may("organizations.export") { a href={ (view.base) (BASE) "/organizations/" (own) "/export" } download { "Export" } }
                        @if view.may("organizations.update") && view.ops.caller.is_of_platform() {
                            @if text(organization, "status") == "active" { a href=(link("/suspend")) { "Suspend…" } }
                            @else { a href=(link("/reactivate")) { "Reactivate…" } }
                        }
                        @if view.may("organizations.delete") { a.bad href=(link("?delete")) { "Delete or purge…" } }
                    }
                }
            }
        }
    }
}

/// The seats of the licenses, by pool.
fn seat_card(view: &View, pools: &[(Value, Value)]) -> Markup {
    if pools.is_empty() {
        return html! {};
    }
    let body = html! { div.in { dl."facts wide" { @for (license, pool) in pools {
        @let (name, pool_name) = (title_of(LICENSE, license), text(pool, "name"));
        @let words = html! { (words::visible(&name)) @if pool_name != "seats" { ", " (words::visible(pool_name)) } };
        dt {
            @if view.may("leases.list") {
                a href=(view.url(&format!("/licenses/{}/leases?{}", text(license, "id"), query([("pool", pool_name)])))) { (words) }
            } @else { (words) }
        }
        dd { (meter(&format!("Seats of {name}"), &pool["used"], &pool["cap"])) }
    } } } };
    card("h-seats", "Seats", &html! {}, &body)
}

fn license_card(view: &View, own: &str, licenses: &[Value], deployments: &[Value]) -> Markup {
    let all =
        html! { a href=(view.url(&format!("/organizations/{own}/licenses"))) { "All licenses" } };
    let body = html! {
        @if licenses.is_empty() {
            @let next = html! {
                @for deployment in deployments.iter().take(1).filter(|_| view.may("licenses.create")) {
                    a.btn href=(view.url(&format!("/deployments/{}/licenses", text(deployment, "id")))) { "New license" }
                }
            };
            (empty("license", "No licenses yet", "A license is for a deployment, under a subscription.", &next))
        } @else {
            ul.rows { @for license in licenses { li {
                @let covered = license["coverage"]["covered"] == true;
                span class={ "ico " (if covered { "ok" } else { "bad" }) } { (icon(if covered { "check" } else { "cross" })) }
                div.grow {
                    a.whole href=(view.url(&format!("/licenses/{}", text(license, "id")))) { (words::visible(&title_of(LICENSE, license))) }
                    div.soft {
                        @match license["coverage"]["reason"].as_str() {
                            Some(reason) => (words::spaced(reason)),
                            None => { "in force" @if let Some(until) = words::parse_instant(text(license, "valid_until")) { " until " (time(until)) } },
                        }
                    }
                }
                (state(text(license, "status")))
            } } }
        }
    };
    card("h-licenses", "Licenses", &all, &body)
}

/// A card with the first rows of a list.
fn rows_card(view: &View, own: &str, title: &str, segment: &str, items: &[Value]) -> Markup {
    let anchor = format!("h-{segment}");
    let all = html! { a href=(view.url(&format!("/organizations/{own}/{segment}"))) { "All" } };
    let name = |item: &Value| {
        let name = crate::console::resources::name_of(item).map(words::visible);
        name.map_or_else(|| words::short(text(item, "id")), |name| name.into_owned())
    };
    let role = |item: &Value| {
        let role = item["role"]["name"]
            .as_str()
            .or(item["role"]["code"].as_str())
            .or(item["role"].as_str());
        role.or(item["type"].as_str()).map(words::spaced).unwrap_or_default()
    };
    let body = html! {
        @if items.is_empty() {
            (empty(icons::of(segment), &format!("No {} yet", title.to_lowercase()), "", &html! {
                @if view.resources.adding(&format!("/organizations/{{org}}/{segment}")).is_some_and(|(add, _)| view.may(add.name)) {
                    a.btn href=(view.url(&format!("/organizations/{own}/{segment}?new"))) { "New " (words::singular(segment)) }
                }
            }))
        } @else {
            ul.rows { @for item in items { li {
                div.grow {
                    a.whole href=(view.url(&format!("/{segment}/{}", text(item, "id")))) { (name(item)) }
                    div.soft { (words::visible(&role(item))) }
                }
                @if let Some(word) = item["status"].as_str() { (state(word)) }
            } } }
        }
    };
    card(&anchor, title, &all, &body)
}

fn quota_card(view: &View, own: &str, quotas: &Value) -> Markup {
    let all = quotas["quotas"].as_object().into_iter().flatten();
    let limited: Vec<_> = all
        .filter(|(metric, quota)| {
            let is_filled = !UNFILLED.contains(&metric.as_str());
            is_filled && quota["limit"].as_i64().is_some_and(|limit| limit > 0)
        })
        .take(6)
        .collect();
    if limited.is_empty() {
        return html! {};
    }
    let more =
        html! { a href=(view.url(&format!("/organizations/{own}/quotas"))) { "All quotas" } };
    let body = html! { div.in { dl."facts wide" { @for (metric, quota) in limited {
        @let (used, limit) = (quota["used"].as_i64().unwrap_or(0), quota["limit"].as_i64().unwrap_or(0));
        dt { (words::label(metric)) }
        dd {
            (words::amount(metric, &used.into())) " of " (words::amount(metric, &limit.into())) br;
            meter min="0" max=(limit) low=(limit / 10 * 7) high=(limit / 10 * 9) optimum="0" value=(used.min(limit))
                aria-label=(words::label(metric)) {}
        }
    } } } };
    card("h-quotas", "Quotas", &more, &body)
}

fn facts(view: &View, organization: &Value, subscriptions: &[Value], people: &[Value]) -> Markup {
    let owner = text(organization, "owner_user_id");
    let seat = people.iter().find(|person| text(person, "user_id") == owner);
    let body = html! { div.in { dl.facts {
        dt { "Owner" }
        dd { @match seat { Some(seat) => (words::visible(text(seat, "email"))), None if owner.is_empty() => "–", None => code { (words::short(owner)) } } }
        dt { "Plan" }
        dd {
            @for one in subscriptions {
                a.in-text href=(view.url(&format!("/subscriptions/{}", text(one, "id")))) { (text(one, "plan_code")) } ", " (words::spaced(text(one, "status"))) br;
            }
            @if subscriptions.is_empty() { "–" }
        }
        dt { "Since" }
        dd { @if let Some(at) = words::parse_instant(text(organization, "created_at")) { (time(at)) } }
        dt { "Reference" } dd { (words::visible(organization["external_id"].as_str().unwrap_or("–"))) }
    } } };
    card("h-facts", "Facts", &html! {}, &body)
}

/// Links to every other list of the organization.
fn others(view: &View, own: &str) -> Markup {
    let resources = view.resources.clone();
    let template = "/organizations/{org}";
    let below: Vec<(String, String)> = resources
        .below(template)
        .filter(|one| view.may(one.name))
        .filter(|one| !["/export", "/affected"].iter().any(|end| one.path.ends_with(end)))
        .filter_map(|one| {
            let rest = one.path.strip_prefix(template)?;
            let segment = rest.trim_start_matches('/');
            let title = detail::title_below(rest);
            (!CARDS.contains(&segment)).then(|| (title, format!("/organizations/{own}{rest}")))
        })
        .collect();
    let body = html! { div.in { nav.links aria-label="Other lists" { @for (title, path) in &below { a href=(view.url(path)) { (title) } } } } };
    card("h-others", "Everything else", &html! {}, &body)
}
