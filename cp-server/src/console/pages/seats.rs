//! The seats of a license: which pools it has, who holds a seat, and whether one is free.

use axum::response::Response;
use chrono::{NaiveDate, TimeDelta};
use serde_json::Value;

use crate::console::chart::Days;
use crate::console::generic::list;
use crate::console::html::{
    Markup, card, empty, html, icon, meter, quantity, scrolled, short_time, state,
};
use crate::console::pager::older;
use crate::console::scene::Scene;
use crate::console::view::{View, given, items, query, text};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;

/// The days of the picture.
const DAYS: i64 = 30;

crate::pages! { seats:
    /// The pools of a license, and the holders of its seats.
    GET "/licenses/{id}/leases" calls [licenses.read, leases.pools, leases.list, leases.usage] => holders;
}

async fn holders(view: &mut View) -> Result<Response> {
    let scene = Scene::enter(view).await?;
    let license = view.part(0);
    let pools = items(&view.visible("leases.pools", &[&license], "").await?);
    let pool = view.asked("pool").filter(|pool| !pool.is_empty()).map(str::to_owned);
    let pool = pool.or_else(|| pools.first().map(|one| text(one, "name").to_owned()));
    let mut asked = given(&view.query);
    asked.retain(|(name, _)| !["pool", "limit"].contains(name));
    let own = [("limit", "50")].into_iter().chain(pool.as_deref().map(|pool| ("pool", pool)));
    let filter: Vec<(&str, &str)> = own.chain(asked).collect();
    let filter = query(filter);
    let page: Seen<Value> = view.ops.read("leases.list", &[&license], &filter).await?;
    let page = page.value;
    let since = words::iso(view.now - TimeDelta::days(DAYS));
    let mut usage = vec![("by", "day"), ("since", &*since)];
    usage.extend(pool.as_deref().map(|pool| ("pool", pool)));
    let usage = items(&view.visible("leases.usage", &[&license], &query(usage)).await?);
    let path = scene.path();
    let body = html! {
        div.head {
            div { h1 { "Seats" } p.facts { "Who holds a seat of this license, and whether one is free." } }
            div.actions {
                @if view.may("leases.reset") { a.btn href=(view.url(&format!("{path}/reset"))) { "Reset…" } }
                @if view.may("leases.claim") { a."btn primary" href=(view.url(&format!("{path}?new"))) { (icon("plus")) "Assign a seat" } }
            }
        }
        (list::filters_of(view, "/licenses/{id}/leases"))
        div.two {
            div.stack {
                (holder_card(view, &path, &page))
                (usage_card(&usage))
            }
            div.stack { (pool_card(view, &path, &pools, pool.as_deref())) }
        }
    };
    let crumbs = scene.crumbs_to("Seats");
    view.page("Seats", &crumbs, &body)
}

fn pool_card(view: &View, path: &str, pools: &[Value], chosen: Option<&str>) -> Markup {
    let body = html! {
        @if pools.is_empty() {
            (empty("people", "No pools", "A license has pools of seats when its plan, subscription or itself says so: leasing.", &html! {}))
        } @else { ul.rows { @for pool in pools {
            @let name = text(pool, "name");
            li { div.grow {
                a.whole href=(view.url(&format!("{path}?pool={name}"))) aria-current=[(chosen == Some(name)).then_some("true")] { (words::visible(name)) }
                p { (meter("Seats", &pool["used"], &pool["cap"])) }
                div.soft {
                    @for (label, member) in [("borrowed", "borrowed"), ("over the limit", "overage")] {
                        @if let Some(n) = pool[member].as_i64().filter(|n| *n > 0) { span { (n) " " (label) " " } }
                    }
                    @if let Some(at) = words::parse_instant(text(pool, "next_free_at")) { "the next seat is free at " (short_time(at, view.now)) }
                }
            } }
        } } }
    };
    card("h-pools", "Pools", &html! {}, &body)
}

fn holder_card(view: &View, path: &str, page: &Value) -> Markup {
    let leases = items(page);
    let next = html! {
        @if view.may("leases.claim") { a.btn href=(view.url(&format!("{path}?new"))) { "Assign a seat" } }
    };
    let body = html! {
        @if leases.is_empty() {
            (empty("people", "Every seat is free", "Applications take a seat for a person or a machine, and give it back.", &next))
        } @else {
            (scrolled(&html! { table.cards-s {
                thead { tr {
                    th scope="col" { "Holder" } th scope="col" { "State" } th scope="col" { "Since" }
                    th scope="col" { "Last heartbeat" } th scope="col" { "Until" } th scope="col" { span.sr { "Actions" } }
                } }
                tbody { @for lease in &leases { (holder(view, lease)) } }
            } }))
        }
        (older(view, page))
    };
    card("h-holders", "Holders", &html! {}, &body)
}

fn holder(view: &View, lease: &Value) -> Markup {
    let key = text(lease, "id");
    let holder = &lease["holder"];
    let name = lease["label"].as_str().map(words::visible);
    let at = |member: &str| words::parse_instant(text(lease, member));
    let until = at("borrowed_until").or_else(|| at("expires_at"));
    html! {
        tr {
            td {
                a.whole href=(view.url(&format!("/leases/{key}"))) {
                    @match name { Some(name) => (name), None => code { (words::short(text(holder, "hash"))) } }
                }
                br; small.quiet { (words::spaced(text(holder, "kind"))) @if let Some(seat) = lease["seat"].as_i64() { ", seat " (seat) } }
            }
            td { (state(text(lease, "state"))) @if lease["overage"] == true { " " span.tag { "over the limit" } } }
            td data-l="since" { @if let Some(at) = at("acquired_at") { (short_time(at, view.now)) } }
            td data-l="heartbeat" { @if let Some(at) = at("heartbeat_at") { (short_time(at, view.now)) } }
            td data-l="until" { @match until { Some(at) => (short_time(at, view.now)), None => "–" } }
            td.r {
                @if lease["ended_at"].is_null() && view.may("leases.release") {
                    a."btn s" href=(view.url(&format!("/leases/{key}?delete"))) { "End lease…" }
                }
            }
        }
    }
}

/// The peaks and refusals of the last days.
fn usage_card(usage: &[Value]) -> Markup {
    let point = |day: &Value| {
        let at = words::parse_instant(text(day, "starts_at"))?;
        Some((at.date_naive(), day["peak"].as_f64().unwrap_or(0.0)))
    };
    let mut points: Vec<(NaiveDate, f64)> = usage.iter().filter_map(point).collect();
    points.sort_by_key(|(day, _)| *day);
    if points.is_empty() {
        return html! {};
    }
    let refused: i64 = usage.iter().filter_map(|day| day["refused"].as_i64()).sum();
    let chart = Days {
        anchor: "c-seats",
        title: "Most seats at once, by the day",
        unit: "seats",
        points: &points,
        limit: None,
    };
    let more = html! { span.quiet { (words::count(refused, "refusal")) " in " (DAYS) " days" } };
    let body = html! {
        div.in { (chart.bars()) }
        details.fold {
            summary { "The same as a table" }
            (scrolled(&html! { table {
                thead { tr { th scope="col" { "Day" } th.r scope="col" { "Peak" } th.r scope="col" { "Refused" } } }
                tbody { @for day in usage {
                    @if let Some(at) = words::parse_instant(text(day, "starts_at")) {
                        tr { th scope="row" { (at.format("%-d %b %Y")) } td.r { (quantity(&day["peak"])) } td.r { (quantity(&day["refused"])) } }
                    }
                } }
            } }))
        }
    };
    card("h-seat-usage", "Use by the day", &more, &body)
}
