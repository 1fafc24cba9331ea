//! The effective answer: why a person may use something, or may not.

use axum::response::Response;
use serde_json::Value;

use crate::console::filters::{self, Filter};
use crate::console::html::{Markup, card, empty, html, icon, json, scrolled, state};
use crate::console::scopes::Scopes;
use crate::console::view::{View, given, items, query, text};
use crate::console::words;
use crate::kernel::error::Result;

crate::pages! { effective:
    /// What a person may use, and which level decides it.
    GET "/organizations/{org}/effective" calls [effective.read, memberships.list, organizations.read] => answer;
}

/// The most pages of members that are read for an e-mail address.
const PAGES: usize = 10;

/// The questions of the form: name, label and an example.
const ASKED: [Filter; 7] = [
    ("product", "Product", "studio"),
    ("subject", "Subject", "a model, a feature, or an ID"),
    ("project", "Project", "an ID"),
    ("workspace", "Workspace", "an ID"),
    ("group", "Group", "an ID"),
    ("agent", "Agent", "an ID"),
    ("kinds", "Kinds", "agent,model"),
];

/// The questions beside the button; the others are folded.
const SHOWN: usize = 4;

async fn answer(view: &mut View) -> Result<Response> {
    let own = view.enter_organization(&view.part(0)).await?.to_string();
    let mut asked: Vec<(String, String)> = given(&view.query)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let people = items(&view.visible("memberships.list", &[&own], "limit=50&status=active").await?);
    let typed = view.asked("user").unwrap_or_default().trim().to_owned();
    let person = match typed.is_empty() {
        true => None,
        false => find(view, &own, &people, &typed).await?,
    };
    if let (Some(person), Some((_, user))) =
        (&person, asked.iter_mut().find(|(name, _)| name == "user"))
    {
        text(person, "user_id").clone_into(user);
    }
    let pairs = asked.iter().map(|(name, value)| (&**name, &**value));
    let read = view.ops.read::<Value>("effective.read", &[&own], &query(pairs)).await;
    let (found, refusal) = match read {
        Ok(seen) => (seen.value, html! {}),
        Err(error) if matches!(error.document().status, 400 | 403 | 404 | 422) => {
            let is_known =
                |name: &str| name == "user" || ASKED.iter().any(|(one, ..)| *one == name);
            (Value::Null, view.summary(&error, is_known).markup)
        }
        Err(error) => return Err(error),
    };
    let shown = person.as_ref().map_or(&*typed, |person| text(person, "email"));
    let scopes = Scopes::read(view, &scopes_of(&found)).await?;
    let body = html! {
        div.head { div {
            h1 { "Effective answer" }
            p.facts { "What a person may use now, and which level decides it." }
        } }
        (refusal)
        (form(view, &people, shown))
        @if found.is_object() { (result(view, &own, &found, person.as_ref(), &typed, &scopes)) }
    };
    let crumbs = view.crumbs("Effective answer");
    view.page("Effective answer", &crumbs, &body)
}

/// Finds a member by ID or e-mail address; first among the newest ones.
async fn find(view: &mut View, own: &str, newest: &[Value], typed: &str) -> Result<Option<Value>> {
    let is_it = |one: &&Value| {
        text(one, "user_id") == typed || text(one, "email").eq_ignore_ascii_case(typed)
    };
    if let Some(found) = newest.iter().find(is_it) {
        return Ok(Some(found.clone()));
    }
    if !typed.contains('@') {
        let by_id = query([("user_id", typed), ("limit", "1")]);
        let found = view.visible("memberships.list", &[own], &by_id).await?;
        return Ok(items(&found).into_iter().next());
    }
    let mut cursor = String::new();
    for _ in 0..PAGES {
        let more = (!cursor.is_empty()).then_some(("cursor", &*cursor));
        let filter = query([("limit", "500")].into_iter().chain(more));
        let page = view.visible("memberships.list", &[own], &filter).await?;
        if let Some(found) = items(&page).iter().find(is_it) {
            return Ok(Some(found.clone()));
        }
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    Ok(None)
}

fn form(view: &View, people: &[Value], typed: &str) -> Markup {
    let is_used = |name| filters::is_used(view, name);
    let includes = is_used("include");
    let is_open = includes || ASKED[SHOWN..].iter().any(|(name, ..)| is_used(name));
    html! {
        form.filters action=(view.url(&view.path)) aria-label="Question" {
            label for="f-user" { "Person"
                input #f-user name="user" list="f-user-l" value=(typed) autocomplete="off"
                    placeholder="the organization itself";
                datalist #f-user-l { @for person in people { option value=(text(person, "email")) {} } }
            }
            @for one in &ASKED[..SHOWN] { (filters::entry(view, one)) }
            button.btn { "Ask" }
            details.more open[is_open] {
                summary { "More questions" }
                div.filters {
                    @for one in &ASKED[SHOWN..] { (filters::entry(view, one)) }
                    label for="f-include" { "Definitions"
                        select #f-include name="include" {
                            option value="" { "left out" }
                            option value="spec" selected[includes] { "of allowed agents and connections" }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the scopes that an answer names: those of its levels and of the bindings.
fn scopes_of(found: &Value) -> Vec<&str> {
    let levels = found["chain"].as_array().into_iter().flatten();
    let levels = levels.filter_map(Value::as_array).flatten();
    let all = found["items"].as_array().into_iter().flatten();
    let candidates = all.filter_map(|item| item["candidates"].as_array()).flatten();
    let bound = candidates.map(|one| &one["scope"]);
    levels.chain(bound).filter_map(Value::as_str).collect()
}

/// Returns the only item, or the one that something is bound to: a subject may be a model and a feature.
fn deciding(all: &[Value], is_asked: bool) -> Option<&Value> {
    let bound = || all.iter().filter(|item| text(item, "reason") != "nothing_bound");
    match all {
        [only] => Some(only),
        _ if is_asked => bound().next().filter(|_| bound().count() == 1),
        _ => None,
    }
}

fn result(
    view: &View,
    own: &str,
    found: &Value,
    person: Option<&Value>,
    typed: &str,
    scopes: &Scopes,
) -> Markup {
    let other = if typed.is_empty() { "The organization" } else { typed };
    let who = person.map_or(other, |person| text(person, "email"));
    let all = items(found);
    let chain = found["chain"].as_array().cloned().unwrap_or_default();
    let is_asked = filters::is_used(view, "subject");
    html! {
        div.stack {
            @if found["active"] == false {
                div."note bad" { (icon("warn")) div {
                    strong { "Nothing is allowed" } (words::capitalized(&words::spaced(text(found, "inactive_reason")))) "."
                } }
            }
            @if let Some(item) = deciding(&all, is_asked) { (sentence(who, item, scopes)) }
            (card("h-items", "Items", &html! {}, &items_table(view, own, &all, scopes)))
            (card("h-chain", "Levels, nearest first", &html! {}, &html! { div.in { ol.levels {
                @for level in &chain { li {
                    @for (n, scope) in level.as_array().into_iter().flatten().enumerate() {
                        @if n > 0 { ", " } (scopes.link(scope.as_str().unwrap_or_default()))
                    }
                } }
            } } }))
            @if let Some(guardrails) = found["guardrails"].as_array().filter(|all| !all.is_empty()) {
                (card("h-guardrails", "Guardrails", &html! {}, &html! { ul.rows { @for one in guardrails { li { div.grow {
                    a.whole href=(view.url(&format!("/resources/{}", text(one, "id")))) { (words::visible(text(one, "name"))) }
                    div.soft { code { (words::visible(text(one, "key"))) } @if one["mandatory"] == true { " · mandatory" } }
                } } } } }))
            }
        }
    }
}

/// The answer to a question about one thing, in one sentence.
fn sentence(who: &str, item: &Value, scopes: &Scopes) -> Markup {
    let what = item["name"].as_str().unwrap_or(text(item, "subject"));
    let is_allowed = item["allowed"] == true;
    let (tone, sign) = if is_allowed { ("ok", "check") } else { ("bad", "cross") };
    html! {
        section class={ "verdict " (tone) } aria-label="Answer" { div {
            span.mark { (icon(sign)) }
            div {
                strong { (words::visible(who)) (if is_allowed { " may use " } else { " may not use " }) (words::visible(what)) }
                span.soft { (why(item, scopes)) }
            }
        } }
    }
}

fn why(item: &Value, scopes: &Scopes) -> String {
    let level = match text(item, "resolved_from") {
        "ceiling" => "the plan".to_owned(),
        "" => "no level".to_owned(),
        level => words::visible(&scopes.words(level)).into_owned(),
    };
    match text(item, "reason") {
        "allowed" => format!("Decided by {level}."),
        "denied" => format!("Denied by {level}."),
        "nothing_bound" => "Nothing is bound to it at any level.".to_owned(),
        "ceiling" => format!("The {} does not include it.", text(&item["ceiling"], "from")),
        _ => "Nothing is allowed now.".to_owned(),
    }
}

fn items_table(view: &View, own: &str, all: &[Value], scopes: &Scopes) -> Markup {
    if all.is_empty() {
        let next = html! {
            @if view.may("bindings.list") { a.btn href=(view.url(&format!("/organizations/{own}/bindings"))) { "Bindings" } }
        };
        return empty(
            "layers",
            "No items",
            "Nothing is bound for this question, and the plan names no feature.",
            &next,
        );
    }
    scrolled(&html! { table.cards-s {
        thead { tr {
            th scope="col" { "Subject" } th scope="col" { "Kind" } th scope="col" { "Allowed" }
            th scope="col" { "Why" } th scope="col" { "Bindings" }
        } }
        tbody { @for item in all { tr {
            td {
                strong { (words::visible(item["name"].as_str().unwrap_or(text(item, "subject")))) }
                @if let Some(key) = item["key"].as_str() { br; code.quiet { (words::visible(key)) } }
            }
            td data-l="kind" { (words::spaced(text(item, "kind"))) }
            td { (state(if item["allowed"] == true { "allowed" } else { "denied" })) }
            td data-l="why" { (why(item, scopes)) }
            td data-l="bindings" { (candidates(view, own, item, scopes)) }
        } } }
    } })
}

/// The bindings of a subject, nearest first; the deciding one is marked.
fn candidates(view: &View, own: &str, item: &Value, scopes: &Scopes) -> Markup {
    let all = item["candidates"].as_array().cloned().unwrap_or_default();
    let deciding = text(item, "resolved_from");
    html! {
        @if all.is_empty() { span.quiet { "–" } }
        @for one in &all {
            @let scope = text(one, "scope");
            @let is_deciding = scope == deciding;
            div {
                @let (effect, place) = (text(one, "effect"), scopes.words(scope));
                @let filter = query([("subject", text(item, "subject")), ("scope", scope)]);
                a.in-text.soft[!is_deciding] href=(view.url(&format!("/organizations/{own}/bindings?{filter}"))) {
                    (effect) " for " (words::visible(&place))
                }
                @if is_deciding { " " span.tag { "decides" } }
                @if one["mandatory"] == true { " " span.tag { "mandatory" } }
                @if one["value"].as_object().is_some_and(|value| !value.is_empty()) {
                    details { summary { "value" } (json(&one["value"], "Value")) }
                }
            }
        }
    }
}
