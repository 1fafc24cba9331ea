//! Every component of the pages, for people who change the stylesheet. Debug builds have it.

use axum::response::Response;
use chrono::{NaiveDate, TimeDelta};
use serde_json::{Map, Value, json};

use crate::console::chart::{self, Days, Term};
use crate::console::confirmations;
use crate::console::diff;
use crate::console::form::{self, Entries, Shown};
use crate::console::generic::{history, once};
use crate::console::html::{
    Markup, card, card_time, empty, html, icon, id, json as code, meter, note, scrolled, state,
    time,
};
use crate::console::icons;
use crate::console::pager::pager;
use crate::console::schema;
use crate::console::verdict::{self, Verdict};
use crate::console::view::View;
use crate::console::words;
use crate::kernel::error::Result;

crate::pages! { kit:
    /// Every component, in each of its states.
    GET "/kit" => kit;
}

/// A word of each tone.
const STATES: [&str; 6] = ["active", "suspended", "revoked", "staged", "archived", "past_due"];

async fn kit(view: &mut View) -> Result<Response> {
    let body = html! {
        div.head {
            div {
                div.title { h1 { "Components" } (state("active")) }
                p.facts { span { "Each component of the pages, in its states." } span { (id("01900000-0000-7000-8000-000000000000", "the ID")) } }
            }
            div.actions { (menu()) }
        }
        div.stack {
            (stats(view))
            (card("h-buttons", "Buttons and states", &html! {}, &buttons()))
            (remarks())
            (verdict::section(view, &verdict(true), "license"))
            (verdict::section_below(view, &verdict(false), "token", "h-verdict-bad"))
            div.two {
                div.stack {
                    (card("h-charts", "Charts", &legend(), &charts(view)))
                    (card("h-table", "Table", &html! { a href="#h-table" { "All" } }, &table(view)))
                    (card("h-diff", "Difference", &html! {}, &html! { div."in stack" { (difference()) } }))
                }
                div.stack {
                    (card("h-facts", "Facts", &html! {}, &facts(view)))
                    (history::card(view, &events(view), "History", None))
                }
            }
            div.halves {
                (card("h-form", "Form", &html! {}, &fields("plain", false)))
                (card("h-refused", "Form with refusals", &html! {}, &fields("refused", true)))
            }
            (once::secret("secret", "cpat_01900000-0000-7000-8000-000000000000_example"))
            section.card aria-label="Empty" {
                (empty("server", "No deployments yet", "A deployment is one installation of your product.", &html! { a.btn href="#h-table" { "New deployment" } }))
            }
            (card("h-icons", "Icons", &html! {}, &html! { div."in actions" {
                @for (name, _) in icons::ALL { span.tag { (icon(name)) " " (name) } }
            } }))
        }
    };
    view.page("Components", &vec![("Components".into(), None)], &body)
}

fn menu() -> Markup {
    html! {
        details.menu {
            summary.btn aria-label="More actions" { (icon("more")) }
            div.pop { a href="#h-form" { "Change…" } a.bad href="#h-form" { "Delete…" } }
        }
        a."btn primary" href="#h-form" { (icon("plus")) "Primary" }
    }
}

fn stats(view: &View) -> Markup {
    let stat = |label: &str, number: &str, about: &str| {
        html! { a href=(view.url("/kit")) { span { (label) } b { (number) } small { (about) } } }
    };
    html! {
        div.stats {
            (stat("Organizations", "128", "2 suspended"))
            (stat("Licenses", "10,000+", "for 371 deployments"))
            (stat("Ending within 30 days", "0", "renew them in time"))
            (stat("Tokens signed today", "46", "for 1,204 members"))
        }
    }
}

fn buttons() -> Markup {
    let kinds = [
        "btn",
        "btn primary",
        "btn danger",
        "btn danger solid",
        "btn plain",
        "btn s",
        "btn s danger",
    ];
    html! {
        div."in stack" {
            div.actions {
                @for kind in kinds { button class=(kind) type="button" { (kind) } }
                span.btn aria-disabled="true" { "disabled" }
            }
            div.actions { @for word in STATES { (state(word)) } span.tag { "tag" } }
            ol.steps aria-label="Steps" {
                li.done { "Organization" } li aria-current="step" { "Subscription" } li { "Deployment" }
            }
            nav.tabs aria-label="Tabs" { a href="#h-buttons" aria-current="page" { "Facts" } a href="#h-form" { "Form" } }
        }
    }
}

fn remarks() -> Markup {
    let text = html! { "One or two sentences, with " a href="#h-form" { "a link" } "." };
    html! {
        @for (tone, sign) in [("info", "clock"), ("ok", "check"), ("warn", "warn"), ("bad", "warn")] {
            (note(tone, sign, "A note", &text))
        }
    }
}

fn verdict(is_accepted: bool) -> Verdict {
    let check =
        |name: &str, status: &str| json!({"name": name, "status": status, "detail": "a detail"});
    let names =
        ["organization", "subscription", "deployment", "license", "term", "key", "token", "status"];
    let mut checks: Vec<Value> = names.iter().map(|name| check(name, "ok")).collect();
    if !is_accepted {
        checks[4] = check("term", "fail");
        checks[4]["fix"] = "Renew the license".into();
        checks[5] = check("key", "warn");
        checks[6] = check("token", "skipped");
        checks.push(check("log", "skipped"));
    }
    Verdict::of(&json!({"accepted": is_accepted, "code": "expired", "checks": checks}))
}

fn legend() -> Markup {
    html! { div.legend { span { "license" } span.g { "grace" } span.t { "newest token" } span.n { "today" } } }
}

fn charts(view: &View) -> Markup {
    let first = view.now.date_naive() - TimeDelta::days(29);
    let point = |n: i64| (first + TimeDelta::days(n), if n % 7 > 4 { 0.0 } else { 120.0 });
    let points: Vec<(NaiveDate, f64)> = (0..30).map(point).collect();
    let days = |anchor| Days {
        anchor,
        title: "By the day",
        unit: "tokens",
        points: &points,
        limit: Some(150.0),
    };
    let term = Term {
        from: view.now - TimeDelta::days(200),
        until: view.now + TimeDelta::days(165),
        grace_until: view.now + TimeDelta::days(195),
        token_until: Some(view.now + TimeDelta::days(30)),
        now: view.now,
    };
    html! {
        div."in stack" { (days("k-bars").bars()) (days("k-line").line()) (chart::term(&term)) }
        details.fold { summary { "The same as a table" } div.in { (code(&json!({"points": 30}), "JSON")) } }
    }
}

fn table(view: &View) -> Markup {
    html! {
        (scrolled(&html! { table.cards-s {
            thead { tr { th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Used" } th scope="col" { span.sr { "Actions" } } } }
            tbody { @for (n, word) in STATES.iter().enumerate() { tr {
                td { a.whole href="#h-table" { "Thing " (n) } br; small.quiet { "a second line" } }
                td { (state(word)) }
                td data-l="used" { (meter("Used", &json!(n * 20), &json!(100))) }
                td.r { a."btn s" href="#h-table" { "Change" } }
            } } }
        } }))
        (pager(view, "cursor", Some("next"), "Older"))
    }
}

fn difference() -> Markup {
    let long = "A sentence of several words stays in its card.";
    let before = json!({"features": 5, "name": "Acme", "note": long, "same": 1});
    let after = json!({"features": 10, "name": "Acme Ltd", "note": "A sentence of several words.", "sso": true, "same": 1});
    diff::table(&before, &after, 8)
}

fn facts(view: &View) -> Markup {
    html! { div.in { dl.facts {
        dt { "Now" } dd { (card_time(view.now, view.now)) }
        dt { "Minutes ago" } dd { (card_time(view.now - TimeDelta::minutes(5), view.now)) }
        dt { "In hours" } dd { (card_time(view.now + TimeDelta::hours(3), view.now)) }
        dt { "Later" } dd { (time(view.now + TimeDelta::days(3))) }
        dt { "Seats" } dd { (meter("Seats", &json!(24), &json!(25))) }
        dt { "Runs" } dd { (meter("Runs", &json!(24), &Value::Null)) }
        dt { "Absent" } dd { "–" }
        dt { "Hostile" } dd { (words::visible("a\u{202e}b <script>")) }
        dt { "Long" } dd { ("x".repeat(120)) }
    } } }
}

fn events(view: &View) -> Vec<Value> {
    let event = |action: &str, minutes: i64| {
        let at = words::iso(view.now - TimeDelta::minutes(minutes));
        json!({"action": action, "actor_name": "Anna Berg", "actor_kind": "person", "at": at, "seq": 18_204})
    };
    let mut events = vec![
        event("licenses.suspend", 4),
        event("bundles.issue", 90),
        event("organizations.create", 4000),
        event("licenses.revoke", 9000),
    ];
    events[0]["reason"] = "The invoice is open.".into();
    events[1]["actor_kind"] = "service_token".into();
    events
}

/// A form with each control.
fn fields(name: &str, is_refused: bool) -> Markup {
    let schema = json!({"required": ["name", "type"], "properties": {
        "name": {"type": "string", "description": "At most 255 characters."},
        "type": {"enum": ["cloud", "onprem", "demo"]},
        "status": {"enum": ["active", "suspended", "past_due", "trialing", "canceled"]},
        "is_public": {"type": "boolean", "description": "Whether customers see it."},
        "ends_at": {"type": "string", "format": "date-time", "description": "The end."},
        "seat_cap": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "permissions": {"type": "array", "items": {"enum": ["licenses:read", "licenses:write", "org:read"]}},
        "features": {"type": "object", "additionalProperties": true},
        "override": {"type": "object", "properties": {"reason": {"type": "string"}}},
        "spec": {},
    }});
    let fields = schema::fields(&Map::new(), &schema);
    let prefix = format!("{name}/");
    let mut shown = Shown::default();
    let entries: Entries = vec![(format!("{prefix}seat_cap"), "many".to_owned())];
    if is_refused {
        shown.entries = Some(&entries);
        let refusal =
            |name: &str| (format!("{prefix}{name}"), "It must be another value.".to_owned());
        shown.refused = fields.iter().map(|field| refusal(&field.name)).collect();
        shown.refused.insert("_confirm".to_owned(), "The confirmation must be “Acme”.".to_owned());
    }
    html! {
        div.in { div.form {
            @if is_refused { (note("bad", "warn", "Nothing was changed", &html! { "Each entry needs another look." })) }
            (form::render(&fields, &prefix, &shown))
            @if is_refused { (confirmations::entry("Acme", &shown)) }
            div.actions { button."btn primary" type="button" { "Create the thing" } a.btn href="#h-form" { "Cancel" } }
        } }
    }
}
