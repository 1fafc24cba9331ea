//! A budget: how many credits are left, and who has them.

use axum::response::Response;
use serde_json::Value;

use crate::console::html::{Markup, card, empty, html, meter, quantity, scrolled, state, time};
use crate::console::view::{View, items, text};
use crate::console::words;
use crate::kernel::digits;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;

crate::pages! { budgets:
    /// The cycle of a budget, its allocations and its past cycles.
    GET "/organizations/{org}/budgets/{product}" calls [budgets.read, allocations.list, budget_cycles.list, organizations.read] => budget;
}

/// The scope of the organization itself.
const ORGANIZATION: &str = "organization";

async fn budget(view: &mut View) -> Result<Response> {
    let own = view.enter_organization(&view.part(0)).await?.to_string();
    let product = view.part(1);
    let place = [&*own, &*product];
    let seen: Seen<Value> = view.ops.read("budgets.read", &place, "").await?;
    let budget = seen.value;
    let allocations = view.visible("allocations.list", &place, "").await?;
    let cycles = items(&view.visible("budget_cycles.list", &place, "limit=12").await?);
    let path = view.path.clone();
    let link = |suffix: &str| view.url(&format!("{path}{suffix}"));
    let title = format!("Budget of {product}");
    let body = html! {
        div.head {
            div {
                h1 { (words::visible(&title)) }
                p.facts {
                    span { "renews " (words::spaced(text(&budget, "cadence"))) }
                    span { (if text(&budget, "enforcement") == "observe" { "observed only" } else { "enforced" }) }
                    span { "one credit is " (quantity(&budget["factor"])) " " (words::spaced(text(&budget, "cost_unit"))) }
                }
            }
            div.actions {
                @if view.may("budgets.put") { a.btn href=(link("?edit")) { "Change" } }
                @if view.may("budget_cycles.open") { a.btn href=(link("/cycles?new")) { "New cycle" } }
                @if view.may("allocations.distribute") { a."btn primary" href=(link("/distribute")) { "Distribute" } }
            }
        }
        div.stack {
            (cycle_card(&budget))
            (allocation_card(view, &path, &allocations))
            (past(view, &cycles))
        }
    };
    let list = format!("/organizations/{own}/budgets");
    let crumbs = view.crumbs_below("Budgets", list, &product);
    view.page(&title, &crumbs, &body)
}

fn cycle_card(budget: &Value) -> Markup {
    let cycle = &budget["cycle"];
    if cycle.is_null() {
        return card(
            "h-cycle",
            "Cycle",
            &html! {},
            &html! {
                (empty("chart", "No active cycle", "Open a cycle: credits are used and allocated within one.", &html! {}))
            },
        );
    }
    let ends = words::parse_instant(text(cycle, "ends_at"));
    let body = html! { div."in stack" {
        p { (meter("Credits", &budget["used"], &budget["total"])) }
        dl."facts wide" {
            dt { "Total" } dd.num { (quantity(&budget["total"])) @if digits::rounded(&budget["cycle"]["rollover"]).is_some_and(|n| n > 0.0) { span.soft { ", " (quantity(&cycle["rollover"])) " of them from the cycle before" } } }
            dt { "Allocated" } dd.num { (quantity(&budget["allocated"])) }
            dt { "Unallocated" } dd.num { (quantity(&budget["unallocated"])) }
            dt { "Used" } dd.num { (quantity(&budget["used"])) }
            dt { "Left" } dd.num { (quantity(&budget["remaining"])) }
            dt { "Overflow" } dd.num { @if budget["overflow"].is_null() { "unlimited" } @else { (quantity(&budget["overflow_used"])) " of " (quantity(&budget["overflow"])) } }
            dt { "Ends" } dd { @match ends { Some(at) => (time(at)), None => "when it is closed" } }
        }
    } };
    card("h-cycle", &words::visible(text(cycle, "name")), &state(text(cycle, "status")), &body)
}

fn allocation_card(view: &View, path: &str, allocations: &Value) -> Markup {
    let all = items(allocations);
    let more = html! {
        @if view.may("allocations.put") { a."btn s" href=(view.url(&format!("{path}/allocations?new"))) { "Allocate" } }
    };
    let body = html! {
        @if all.is_empty() {
            (empty("chart", "Nothing is allocated", "Everyone uses the credits of the organization.", &html! {}))
        } @else {
            (scrolled(&html! { table.cards-s {
                thead { tr {
                    th scope="col" { "Scope" } th scope="col" { "Used" } th scope="col" { "State" }
                    th scope="col" { "Left" } th scope="col" { "Within" } th scope="col" { span.sr { "Actions" } }
                } }
                tbody { @for one in &all { (allocation(view, path, one, &all)) } }
            } }))
        }
    };
    card("h-allocations", "Allocations", &more, &body)
}

/// Returns the name of a scope that has an allocation of its own.
fn name_of<'a>(scope: &'a str, all: &'a [Value]) -> &'a str {
    let own = all.iter().find(|one| text(one, "scope") == scope);
    own.and_then(|one| one["name"].as_str()).unwrap_or(match scope {
        ORGANIZATION => "the organization",
        other => other,
    })
}

fn allocation(view: &View, path: &str, one: &Value, all: &[Value]) -> Markup {
    let scope = text(one, "scope");
    let (name, kind) = (name_of(scope, all), scope.split(':').next().unwrap_or_default());
    let filled = crate::console::view::query([("scope", scope)]);
    html! {
        tr {
            td {
                strong { (words::visible(name)) } br; small.quiet { (words::spaced(kind)) }
                @if one["override"].is_object() { " " span.tag title=(text(&one["override"], "reason")) { "override" } }
            }
            td data-l="used" { (meter(name, &one["used"], &one["effective"])) }
            td { (state(text(one, "level"))) }
            td.num data-l="left" { (quantity(&one["remaining"])) }
            td data-l="within" { @match one["within"].as_str() { Some(within) => (words::visible(name_of(within, all))), None => "–" } }
            td.r {
                @if scope != ORGANIZATION && view.may("allocations.delete") {
                    a."btn s" href=(view.url(&format!("{path}/allocations?delete=&{filled}"))) { "Remove…" }
                }
            }
        }
    }
}

fn past(view: &View, cycles: &[Value]) -> Markup {
    let closed: Vec<&Value> =
        cycles.iter().filter(|cycle| text(cycle, "status") == "closed").collect();
    if closed.is_empty() {
        return html! {};
    }
    let body = scrolled(&html! { table.cards-s {
        thead { tr {
            th scope="col" { "Cycle" } th scope="col" { "Total" } th scope="col" { "Used" }
            th scope="col" { "Unused" } th scope="col" { "Passed on" } th scope="col" { "Overflow" }
        } }
        tbody { @for cycle in &closed { @let summary = &cycle["summary"]; tr {
            td { a.whole href=(view.url(&format!("/budget-cycles/{}", text(cycle, "id")))) { (words::visible(text(cycle, "name"))) } }
            td.num data-l="total" { (quantity(&summary["total"])) }
            td.num data-l="used" { (quantity(&summary["used"])) }
            td.num data-l="unused" { (quantity(&summary["unused"])) }
            td.num data-l="passed on" { (quantity(&summary["rollover"])) }
            td.num data-l="overflow" { (quantity(&summary["overflow_charge"])) }
        } } }
    } });
    card("h-past", "Past cycles", &html! {}, &body)
}
