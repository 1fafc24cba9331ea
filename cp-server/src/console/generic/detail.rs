//! A thing: its facts, its tabs, its actions and its history.

use axum::http::Method;
use axum::response::Response;
use serde_json::{Map, Value};

use super::fields::{member, rows};
use super::history;
use crate::console::html::{Markup, html, icon, id, json, state};
use crate::console::resources::{Operation, Resources, name_of};
use crate::console::scene::{Scene, noun_of, show_owner, title_of};
use crate::console::schema::{Control, resolved};
use crate::console::view::{View, parameters, query};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;
use crate::kernel::http::line::BASE;

/// Actions that have buttons of their own; the others are in a menu.
const BUTTONS: usize = 2;
/// The most names of other things that a page reads.
const NAMES: usize = 6;

pub(super) async fn page(view: &mut View, mut scene: Scene, read: &Operation) -> Result<Response> {
    let place = scene.place();
    let asked = parameters(&view.query, &read.query);
    let text = query(asked.iter().map(|(name, value)| (&**name, &**value)));
    let seen: Seen<Value> = match view.ops.read(read.name, &place, &text).await {
        // A question whose parameters are missing shows their form.
        Err(error)
            if !read.query.is_empty() && matches!(error.document().status, 400 | 404 | 422) =>
        {
            return question(view, &scene, read, Some(error));
        }
        seen => seen?,
    };
    let thing = seen.value;
    show_owner(view, &thing).await?;
    if scene.crumbs.is_empty() || scene.above.is_none() {
        scene.refresh(view);
    }
    let names = names(view, &thing).await?;
    let target = scene.values.last().cloned().filter(|_| scene.template.ends_with('}'));
    let target = thing["id"].as_str().map(str::to_owned).or(target);
    let events = match &target {
        Some(target) => history::read(view, Some(target)).await?,
        None => Vec::new(),
    };
    let resources = view.resources.clone();
    let title = match scene.template.ends_with('}') {
        true => title_of(scene.template, &thing),
        false => words::plural(scene.template.rsplit('/').next().unwrap_or_default()),
    };
    let status = ["status", "state"].into_iter().find_map(|name| thing[name].as_str());
    let body = html! {
        div.head {
            div {
                div.title {
                    h1 { (words::visible(&title)) }
                    @if let Some(status) = status { (state(status)) }
                }
                p.facts {
                    span { (words::capitalized(&noun_of(scene.template))) }
                    @if let Some(key) = thing["id"].as_str() { span { (id(key, "the ID")) } }
                }
            }
            (actions(view, &resources, &scene))
        }
        (tabs(view, &resources, &scene))
        @if !read.query.is_empty() { (parameter_form(view, read)) }
        div class=(if events.is_empty() { "stack" } else { "two" }) {
            div.stack { (facts(view, &resources, read, &thing, &names)) (forms(view, &scene, &thing)) }
            div.stack { (history::card(view, &events, "History", target.as_deref())) }
        }
    };
    let crumbs = scene.crumbs_to(&title);
    view.page(&title, &crumbs, &body)
}

/// Shows the parameters of a read that needs some.
fn question(
    view: &mut View,
    scene: &Scene,
    read: &Operation,
    error: Option<crate::kernel::error::Error>,
) -> Result<Response> {
    let title = words::plural(scene.template.rsplit('/').next().unwrap_or_default());
    let is_asked = !view.query.is_empty();
    let summary = error.filter(|_| is_asked).map(|error| view.summary(&error, |_| false).markup);
    let body = html! {
        div.head { div { h1 { (title) } p.facts { (read.summary) } } }
        @if let Some(summary) = summary { (summary) br; }
        (parameter_form(view, read))
    };
    let crumbs = scene.crumbs_to(&title);
    view.page(&title, &crumbs, &body)
}

fn parameter_form(view: &View, read: &Operation) -> Markup {
    html! {
        form.filters action=(view.url(&view.path)) aria-label="Parameters" {
            @for field in &read.query {
                @let anchor = crate::console::form::anchor(&field.name);
                label for=(anchor) title=(field.hint) { (field.label)
                    input id=(anchor) name=(field.name) autocomplete="off"
                        placeholder=[matches!(field.control, Control::Instant).then_some("2026-12-24 09:00")]
                        value=(view.asked(&field.name).unwrap_or_default());
                }
            }
            button.btn { "Show" }
        }
    }
}

/// Reads the names of the things that the members name.
async fn names(view: &mut View, thing: &Value) -> Result<Map<String, Value>> {
    let mut names = Map::new();
    let resources = view.resources.clone();
    let members = thing.as_object().into_iter().flatten();
    for (member, value) in members {
        let (Some(key), Some(read)) = (value.as_str(), resources.referred(member)) else {
            continue;
        };
        if names.len() == NAMES || !view.may(read.name) {
            continue;
        }
        let Ok(seen) = view.ops.read::<Value>(read.name, &[key], "").await else { continue };
        if let Some(name) = name_of(&seen.value).or(seen.value["plan_code"].as_str()) {
            names.insert(member.clone(), name.into());
        }
    }
    Ok(names)
}

fn actions(view: &View, resources: &Resources, scene: &Scene) -> Markup {
    let path = scene.path();
    let patch = [Method::PATCH, Method::PUT];
    let edit = patch.iter().find_map(|method| resources.on(scene.template, method));
    let delete = resources.on(scene.template, &Method::DELETE);
    let all: Vec<&Operation> =
        resources.actions(scene.template).filter(|one| view.may(one.name)).collect();
    let link = |one: &Operation| {
        let verb = one.path.rsplit('/').next().unwrap_or_default();
        let title = match resources.collection_named(verb) {
            true => format!("New {}", words::singular(verb)),
            false => format!("{}…", words::label(verb)),
        };
        (format!("{path}/{verb}"), title, ["revoke", "compromise"].contains(&verb))
    };
    let (shown, folded) = all.split_at(all.len().min(BUTTONS));
    let deletes = delete.is_some_and(|one| view.may(one.name));
    html! {
        div.actions {
            @if edit.is_some_and(|one| view.may(one.name)) {
                a.btn href=(view.url(&format!("{path}?edit"))) { (icon("edit")) "Change" }
            }
            @for one in shown {
                @let (to, title, is_final) = link(one);
                a.btn.danger[is_final] href=(view.url(&to)) { (title) }
            }
            @if !folded.is_empty() || deletes {
                details.menu {
                    summary.btn aria-label="More actions" { (icon("more")) }
                    div.pop {
                        @for one in folded {
                            @let (to, title, is_final) = link(one);
                            a.bad[is_final] href=(view.url(&to)) { (title) }
                        }
                        @if deletes { a.bad href=(view.url(&format!("{path}?delete"))) { "Delete…" } }
                    }
                }
            }
        }
    }
}

pub(in crate::console) fn tabs(view: &View, resources: &Resources, scene: &Scene) -> Markup {
    // The page of a license shows its verdict.
    let is_tab = |one: &&Operation| view.may(one.name) && one.name != "licenses.verdict";
    let below: Vec<&Operation> = resources.below(scene.template).filter(is_tab).collect();
    if below.is_empty() {
        return html! {};
    }
    html! {
        nav.tabs aria-label="Parts" {
            a href=(view.url(&scene.path())) aria-current="page" { "Facts" }
            @for one in below {
                @let rest = one.path.strip_prefix(scene.template).unwrap_or_default();
                @let title = title_below(rest);
                a href=(view.url(&format!("{}{rest}", scene.path()))) { (title) }
            }
        }
    }
}

/// Returns the title of a list or question below a thing: `/usage/costs` is "Usage: costs".
pub(in crate::console) fn title_below(rest: &str) -> String {
    let mut parts = rest.trim_start_matches('/').split('/');
    let first = words::plural(parts.next().unwrap_or_default());
    match parts.next_back() {
        Some(last) => format!("{first}: {}", words::plural(last).to_lowercase()),
        None => first,
    }
}

fn facts(
    view: &View,
    resources: &Resources,
    read: &Operation,
    thing: &Value,
    names: &Map<String, Value>,
) -> Markup {
    let schema = read.output.as_ref().map(|output| resolved(&resources.schemas, output));
    let members = schema.map(|schema| resources.members(schema)).unwrap_or_default();
    let is_nested = |name: &str| match &thing[name] {
        Value::Object(members) => !members.is_empty() && !members.contains_key("masked"),
        Value::Array(items) => items.iter().any(|item| !item.is_string()),
        _ => false,
    };
    let present = |name: &str| thing.get(name).is_some();
    let (nested, plain): (Vec<_>, Vec<_>) =
        members.iter().filter(|(name, _)| present(name)).partition(|(name, _)| is_nested(name));
    let hidden = |name: &str| name == "organization_id" && view.in_view().is_some();
    html! {
        section.card aria-labelledby="h-facts" {
            header { h2 #h-facts { "Facts" } }
            div.in {
                dl."facts wide" {
                    @for (name, _) in plain.iter().filter(|(name, _)| !hidden(name)) {
                        dt { (words::label(name)) }
                        dd { (member(view, name, &thing[name], names.get(&**name).and_then(Value::as_str))) }
                    }
                }
            }
            @for (name, _) in nested { (nested_value(name, &thing[name])) }
        }
    }
}

/// A nested value, folded.
fn nested_value(name: &str, value: &Value) -> Markup {
    let label = words::label(name);
    let count =
        value.as_object().map(Map::len).or(value.as_array().map(Vec::len)).unwrap_or_default();
    html! {
        details.fold open[count <= 12] {
            summary { (label) " " span.quiet { "(" (count) ")" } }
            div.in {
                @match value.as_object() {
                    Some(members) => (rows(members)),
                    None => (json(value, &label)),
                }
            }
        }
    }
}

/// The same thing for programs.
fn forms(view: &View, scene: &Scene, thing: &Value) -> Markup {
    let url = format!("{}{BASE}{}", view.ops.app().settings.base_url, scene.path());
    let curl = format!("curl -H \"Authorization: Bearer $CP_TOKEN\" {url}");
    html! {
        section.card aria-label="For programs" {
            details.fold { summary { "As JSON" } div.in { (json(thing, "JSON")) } }
            details.fold {
                summary { "As curl" }
                div.in {
                    div.secret {
                        output #curl tabindex="0" aria-label="Command" { (curl) }
                        button."btn s" type="button" data-copy-from="curl" aria-label="Copy the command" {
                            (icon("copy")) "Copy"
                        }
                    }
                }
            }
        }
    }
}
