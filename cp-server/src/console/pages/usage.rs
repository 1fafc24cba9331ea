//! Usage and limits: how full each metric is, and until when it lasts.

use std::collections::BTreeMap;

use axum::response::Response;
use chrono::{NaiveDate, NaiveTime, TimeDelta};
use serde_json::Value;

use crate::console::chart::Days;
use crate::console::html::{Markup, card, decimal, empty, html, meter, quantity, scrolled, time};
use crate::console::pager::older;
use crate::console::scopes::Scopes;
use crate::console::view::{View, items, query, text};
use crate::console::words;
use crate::kernel::digits;
use crate::kernel::error::Result;

crate::pages! { usage:
    /// How much of each metric was used, and how much of each limit.
    GET "/organizations/{org}/limits" calls [limits.list, limits.check, usage.summarize, organizations.read] => overview;
}

/// The windows of the page, in days.
const WINDOWS: [i64; 3] = [7, 30, 90];
/// The most limits whose use is read.
const LIMITS: usize = 10;
/// The most metrics of the page.
const METRICS: usize = 12;

/// A metric and its unit.
type Metric = (String, String);

async fn overview(view: &mut View) -> Result<Response> {
    let own = view.enter_organization(&view.part(0)).await?.to_string();
    let asked = view.asked("days").and_then(|days| days.parse().ok());
    let days = asked.filter(|days| WINDOWS.contains(days)).unwrap_or(30);
    let today = view.now.date_naive();
    let first = today - TimeDelta::days(days - 1);
    let since = words::iso(first.and_time(NaiveTime::MIN).and_utc());
    let by_day = query([("group_by", "day"), ("since", &*since)]);
    let sums = items(&view.visible("usage.summarize", &[&own], &by_day).await?);
    let cursor = view.asked("cursor").filter(|cursor| !cursor.is_empty()).map(str::to_owned);
    let more = cursor.as_deref().map(|cursor| ("cursor", cursor));
    let listed = query([("limit", "50")].into_iter().chain(more));
    let listed = view.visible("limits.list", &[&own], &listed).await?;
    let limits = items(&listed);
    let mut uses: Vec<Value> = Vec::new();
    for limit in limits.iter().take(LIMITS) {
        let check = query([
            ("metric", text(limit, "metric")),
            ("unit", text(limit, "unit")),
            ("window", text(limit, "window")),
            ("period", text(limit, "period")),
            ("scope", text(limit, "scope")),
        ]);
        uses.push(view.visible("limits.check", &[&own], &check).await?);
    }
    let mut metrics: BTreeMap<Metric, BTreeMap<NaiveDate, f64>> = BTreeMap::new();
    for sum in &sums {
        let metric = (text(sum, "metric").to_owned(), text(sum, "unit").to_owned());
        let at = words::parse_instant(text(sum, "starts_at"));
        if let (Some(at), Some(used)) = (at, digits::rounded(&sum["quantity"])) {
            *metrics.entry(metric).or_default().entry(at.date_naive()).or_default() += used;
        }
    }
    for limit in uses.iter().filter(|one| one.is_object()) {
        metrics
            .entry((text(limit, "metric").to_owned(), text(limit, "unit").to_owned()))
            .or_default();
    }
    let named: Vec<&str> = limits.iter().map(|limit| text(limit, "scope")).collect();
    let scopes = Scopes::read(view, &named).await?;
    let path = format!("/organizations/{own}");
    let window: Vec<NaiveDate> = (0..days).map(|n| first + TimeDelta::days(n)).collect();
    let body = html! {
        div.head {
            div { h1 { "Usage and limits" } p.facts { "What was recorded, and what it is measured against." } }
            div.actions {
                @if view.may("usage.list") { a.btn href=(view.url(&format!("{path}/usage"))) { "Usage events" } }
                @if view.may("limits.put") { a."btn primary" href=(view.url(&format!("{path}/limits?new"))) { "Set a limit" } }
            }
        }
        (windows(view, days))
        @if metrics.is_empty() {
            section.card aria-label="Usage" {
                (empty("chart", "No usage yet", "Data planes record usage; each metric then has a picture here.", &html! {}))
            }
        }
        div.stack {
            @for (n, (metric, used)) in metrics.iter().take(METRICS).enumerate() {
                (metric_card(view, n, metric, used, &window, (&uses, &scopes)))
            }
        }
        @if !limits.is_empty() { br; (limits_card(view, &path, &listed, &limits, &scopes)) }
        @if metrics.len() > METRICS { p.soft { "The first " (METRICS) " metrics are shown. The list of usage events has all." } }
    };
    let crumbs = view.crumbs("Usage and limits");
    view.page("Usage and limits", &crumbs, &body)
}

fn windows(view: &View, days: i64) -> Markup {
    html! {
        nav.tabs aria-label="Window" {
            @for window in WINDOWS {
                a href=(view.url(&format!("{}?days={window}", view.path))) aria-current=[(window == days).then_some("page")] {
                    "last " (window) " days"
                }
            }
        }
    }
}

fn metric_card(
    view: &View,
    n: usize,
    (metric, unit): &Metric,
    used: &BTreeMap<NaiveDate, f64>,
    window: &[NaiveDate],
    (uses, scopes): (&[Value], &Scopes),
) -> Markup {
    let points: Vec<(NaiveDate, f64)> =
        window.iter().map(|day| (*day, used.get(day).copied().unwrap_or(0.0))).collect();
    let own = |one: &&Value| text(one, "metric") == metric && text(one, "unit") == unit;
    let limits: Vec<&Value> = uses.iter().filter(own).collect();
    let daily = limits.iter().find(|one| text(one, "period") == "daily");
    let (anchor, title) = (format!("c-usage-{n}"), format!("{metric} by the day"));
    let chart = Days {
        anchor: &anchor,
        title: &title,
        unit,
        points: &points,
        limit: daily.and_then(|limit| digits::rounded(&limit["quantity"])),
    };
    let pace = pace(&points);
    let sum: f64 = points.iter().map(|(_, used)| used).sum();
    let more = html! { span.quiet { (decimal(sum)) @if let Some(unit) = unit_of(unit) { " " (words::visible(&unit)) } " in " (points.len()) " days" } };
    let body = html! {
        div."in stack" {
            @for limit in &limits { (limit_row(view, limit, pace, scopes)) }
            (chart.line())
        }
        details.fold {
            summary { "The same as a table" }
            table { tbody { @for (day, used) in points.iter().rev() {
                tr { th scope="row" { (day.format("%-d %b %Y")) } td.r { (decimal(*used)) } }
            } } }
        }
    };
    card(&format!("h-usage-{n}"), &words::visible(metric), &more, &body)
}

/// All limits, also those whose use the page does not read.
fn limits_card(view: &View, path: &str, page: &Value, limits: &[Value], scopes: &Scopes) -> Markup {
    let names = ["metric", "unit", "scope", "window", "period"];
    let delete = |limit: &Value| {
        let own = query(names.map(|name| (name, text(limit, name))));
        view.url(&format!("{path}/limits?delete=&{own}"))
    };
    let may_delete = view.may("limits.delete");
    let body = html! {
        (scrolled(&html! { table.cards-s {
            thead { tr {
                th scope="col" { "Metric" } th scope="col" { "Scope" } th scope="col" { "Window" }
                th scope="col" { "Enforcement" } th.r scope="col" { "Limit" } th scope="col" { span.sr { "Actions" } }
            } }
            tbody { @for limit in limits { tr {
                td {
                    a.whole href=(view.url(&format!("/limits/{}", text(limit, "id")))) { (words::visible(text(limit, "metric"))) }
                    @if let Some(unit) = unit_of(text(limit, "unit")) { br; small.quiet { (words::visible(&unit)) } }
                }
                td data-l="scope" { (scopes.link(text(limit, "scope"))) }
                td data-l="window" { (window_of(limit)) }
                td data-l="enforcement" { (if text(limit, "enforcement") == "observe" { "observed only" } else { "enforced" }) }
                td.r data-l="limit" { (quantity(&limit["quantity"])) }
                td.r {
                    // A budget sets the others.
                    @if may_delete && text(limit, "source") == "manual" && limit["project_id"].is_null() {
                        a."btn s" href=(delete(limit)) { "Delete…" }
                    }
                }
            } } }
        } }))
        (older(view, page))
    };
    card("h-limits", "All limits", &html! {}, &body)
}

/// Returns the words for a unit; none for things that are counted.
fn unit_of(unit: &str) -> Option<String> {
    (!["count", ""].contains(&unit)).then(|| words::spaced(unit))
}

fn window_of(limit: &Value) -> String {
    match text(limit, "window") {
        "gauge" => "in all".to_owned(),
        "cycle" => "in this cycle".to_owned(),
        "rolling" => format!("{}, rolling", text(limit, "period")),
        "calendar" => text(limit, "period").to_owned(),
        window => format!("{} {}", text(limit, "period"), words::spaced(window)),
    }
}

/// A limit: how much of it is used, and when it is full at this pace.
fn limit_row(view: &View, limit: &Value, pace: f64, scopes: &Scopes) -> Markup {
    let scope = text(limit, "scope");
    let until = words::parse_instant(text(&limit["interval"], "until"));
    let resets = until.filter(|at| text(limit, "window") != "rolling" && *at > view.now);
    let remaining = digits::rounded(&limit["remaining"]);
    let days = remaining.filter(|_| pace > 0.0).map(|left| left / pace);
    let full = days.filter(|days| *days < 3650.0).and_then(|days| {
        #[expect(clippy::cast_possible_truncation, reason = "fewer days than 3650")]
        let at = view.now.checked_add_signed(TimeDelta::hours((days * 24.0) as i64))?;
        resets.is_none_or(|end| at < end).then_some(at)
    });
    html! {
        div {
            p.soft {
                a.in-text href=(view.url(&format!("/limits/{}", text(limit, "id")))) { (words::capitalized(&window_of(limit))) } @if scope != "organization" { ", for " (scopes.link(scope)) }
                @if let Some(at) = resets { ", resets on " (time(at)) }
                @if text(limit, "enforcement") == "observe" { ", observed only" }
            }
            p { (meter("Used", &limit["used"], &limit["quantity"])) }
            @if limit["exceeded"] == true { p.error { "The limit is exceeded." } }
            @else if let Some(at) = full { p.soft { "Full on " (time(at)) " at the pace of this window." } }
            @else if remaining.is_some() { p.soft { (quantity(&limit["remaining"])) " left." } }
        }
    }
}

/// The use of a day, on average.
fn pace(points: &[(NaiveDate, f64)]) -> f64 {
    let days = u32::try_from(points.len().max(1)).map_or(1.0, f64::from);
    points.iter().map(|(_, used)| used).sum::<f64>() / days
}
