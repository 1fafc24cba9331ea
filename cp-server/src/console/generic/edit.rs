//! Forms and the changes that they make.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::Response;
use cp_contracts::ProblemCode;
use serde_json::{Map, Value};

use super::tasks::{DRY_RUN, Task};
use super::{fields, once, preview, suggestions};
use crate::console::affected;
use crate::console::confirmations::{self, CONFIRM};
use crate::console::cookies::Notice;
use crate::console::entries;
use crate::console::form::{self, Entries, Shown};
use crate::console::html::{Markup, html, icon};
use crate::console::input;
use crate::console::refusals::status_of;
use crate::console::scene::{Scene, title_of};
use crate::console::view::{Crumbs, View, mode, value};
use crate::console::words;
use crate::kernel::digits;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::{Once, Seen};

/// The button that asks what would change.
const DRY: &str = "_dry";

/// Shows the form of a change.
pub(in crate::console) async fn form(
    view: &mut View,
    scene: &Scene,
    task: Task,
) -> Result<Response> {
    form_beside(view, scene, task, &html! {}).await
}

/// Shows the form of a change, with something above it.
pub(in crate::console) async fn form_beside(
    view: &mut View,
    scene: &Scene,
    task: Task,
    above: &Markup,
) -> Result<Response> {
    let query = view.query.clone();
    // A link may fill in the form.
    let given: Entries = query.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let entries = (!given.is_empty()).then_some(given);
    let shown = Shown { entries: entries.as_ref(), is_of_link: true, ..Shown::default() };
    page(view, scene, &task, StatusCode::OK, above, shown, None).await
}

/// Makes the change of a form that was sent.
pub(in crate::console) async fn send(
    view: &mut View,
    scene: &Scene,
    mut task: Task,
) -> Result<Response> {
    let mut entries = view.form.clone();
    if value(&entries, "_more").is_some() {
        let shown = Shown { entries: Some(&entries), ..Shown::default() };
        return page(view, scene, &task, StatusCode::OK, &html! {}, shown, None).await;
    }
    let suggested = suggestions::of(view, &task.fields).await?;
    suggestions::replace(&mut entries, &suggested);
    let is_dry = task.has_dry_run && value(&entries, DRY).is_some();
    if let Err(error) = check(&task, &entries, is_dry) {
        return refused(view, scene, &task, &entries, error).await;
    }
    if let Some(parameter) = &task.asks {
        task.place.push(value(&entries, parameter).unwrap_or_default().trim().to_owned());
    }
    let mut input = input_of(&task, &entries);
    if let Some(members) = input.as_object_mut() {
        members.extend(task.fixed.clone());
        if is_dry {
            members.insert(DRY_RUN.to_owned(), true.into());
        }
    }
    let place: Vec<&str> = task.place.iter().map(String::as_str).collect();
    let (query, body) = match task.in_query {
        true => (as_query(&input), Value::Null),
        false => (String::new(), input),
    };
    // What would change is no change: the form's key stays unused.
    let once = if is_dry { Once::default() } else { view.once() };
    let done = match view.ops.change(&task.operation, &place, &query, &body, &once).await {
        Ok(done) => done,
        Err(error) if *error.code() == ProblemCode::PreconditionFailed => {
            return outdated(view, scene, &task, &entries).await;
        }
        Err(error) => {
            if task.asks.is_some() {
                task.place.pop();
            }
            return refused(view, scene, &task, &entries, error).await;
        }
    };
    if is_dry {
        if task.asks.is_some() {
            task.place.pop();
        }
        return show_preview(view, scene, task, &entries, &done.body).await;
    }
    let next = task.next(done.location.as_deref(), &done.body, view);
    let secrets = once::of(view, &task.operation, &done.body);
    if !secrets.is_empty() {
        return once::page(view, scene, &task, &secrets, &done.body, &next);
    }
    let undo = task.undo.clone().or_else(|| undo_of(&task, view));
    let notice = Notice::set(view.ops.app(), task.done.clone(), undo);
    view.cookies.push(notice);
    view.see(&next)
}

/// Shows what a change would do, above its form.
async fn show_preview(
    view: &mut View,
    scene: &Scene,
    mut task: Task,
    entries: &Entries,
    answer: &Value,
) -> Result<Response> {
    let rows: usize = answer
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, one)| one.as_array())
        .map(Vec::len)
        .sum();
    if task.operation == "plans.migrate" {
        task.button = format!("Move {}", words::count(rows, "subscription"));
    }
    task.is_previewed = true;
    let above = html! {
        section.card aria-labelledby="h-preview" {
            header { h2 #h-preview { "What would change" } span.quiet { "nothing was changed yet" } }
            (preview::outcome(answer))
        }
    };
    let shown = Shown { entries: Some(entries), ..Shown::default() };
    page(view, scene, &task, StatusCode::OK, &above, shown, None).await
}

/// Returns the form that reverses the change.
fn undo_of(task: &Task, view: &View) -> Option<(String, String)> {
    let (above, verb) = task.operation.rsplit_once('.')?;
    let inverse = match verb {
        "suspend" => "reinstate",
        "reinstate" => "suspend",
        "enable" => "disable",
        "disable" => "enable",
        _ => return None,
    };
    view.resources.named(&format!("{above}.{inverse}"))?;
    Some((format!("{}/{inverse}", task.back), words::label(inverse)))
}

/// Checks what the console itself requires.
fn check(task: &Task, entries: &Entries, is_dry: bool) -> Result<()> {
    for (name, _) in entries {
        let is_own = name.starts_with('_') || task.asks.as_ref() == Some(name);
        if !is_own && !form::is_known(&task.fields, "", name) {
            let detail = format!("Unknown field {}.", crate::kernel::text::quoted(name));
            return Err(Error::new(ProblemCode::BadRequest, detail));
        }
    }
    entries::check(&task.fields, task.asks.as_deref(), entries)?;
    if let (Some(text), false) = (&task.confirmation, is_dry) {
        confirmations::check_text(value(entries, CONFIRM), text)?;
    }
    match task.fields.iter().any(|field| field.name == "reason" && field.is_required) {
        true => confirmations::check_reason(value(entries, "reason")),
        false => Ok(()),
    }
}

fn as_query(input: &Value) -> String {
    let members = input.as_object().into_iter().flatten();
    let text = |value: &Value| match digits::of_number(value) {
        Some(number) => number.into_owned(),
        None => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    };
    let pairs: Vec<(String, String)> = members
        .filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)))
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    crate::console::view::query(pairs.iter().map(|(name, value)| (&**name, &**value)))
}

/// Shows the form again, with the refusal at its entries.
async fn refused(
    view: &mut View,
    scene: &Scene,
    task: &Task,
    entries: &Entries,
    error: Error,
) -> Result<Response> {
    let is_doubtful = matches!(error.code(), ProblemCode::Unavailable | ProblemCode::Timeout);
    let summary = view.summary(&error, |name| {
        let is_asked = task.asks.as_deref() == Some(name);
        name == CONFIRM || is_asked || form::is_field(&task.fields, "", name)
    });
    let key = value(entries, "_key").filter(|_| is_doubtful).map(str::to_owned);
    let shown = Shown { entries: Some(entries), refused: summary.at, ..Shown::default() };
    page(view, scene, task, status_of(&error), &summary.markup, shown, key).await
}

async fn page(
    view: &mut View,
    scene: &Scene,
    task: &Task,
    status: StatusCode,
    summary: &Markup,
    shown: Shown<'_>,
    key: Option<String>,
) -> Result<Response> {
    let suggestions = suggestions::of(view, &task.fields).await?;
    let current = task.before.as_ref().filter(|_| task.is_edit);
    let shown = Shown { current, suggestions, ..shown };
    let key = key.unwrap_or_else(|| view.new_key());
    let action = own_url(view, task);
    let tag = shown.entries.and_then(|entries| value(entries, "_match")).map(str::to_owned);
    let tag = tag.or_else(|| task.tag.clone());
    let tone = if task.is_destructive { "btn danger solid" } else { "btn primary" };
    // Where an operation can show what it would change, its form shows that first.
    let is_dry = task.has_dry_run && !task.is_previewed;
    let body = html! {
        div.head { div {
            h1 { (words::visible(&task.title)) }
            @if !task.about.is_empty() { p.facts { (task.about) } }
        } }
        form.form method="post" action=(action) {
            button.sr tabindex="-1" aria-hidden="true" name=[is_dry.then_some(DRY)] value="1" { (task.button) }
            input type="hidden" name="_key" value=(key);
            @if let Some(tag) = tag { input type="hidden" name="_match" value=(tag); }
            (summary)
            @if task.is_destructive { (loss(task)) }
            @else if let Some(affected) = &task.affects { (affected::note(affected)) }
            @if let Some(parameter) = &task.asks { (asked(parameter, &shown)) }
            (form::render(&task.fields, "", &shown))
            @if let Some(text) = &task.confirmation { (confirmations::entry(text, &shown)) }
            div.actions {
                @if !is_dry { button class=(tone) { (task.button) } }
                @if task.has_dry_run {
                    button.btn.primary[is_dry] name=(DRY) value="1" { "Show what would change" }
                }
                a.btn href=(view.url(&task.back)) { "Cancel" }
            }
        }
    };
    let crumbs = crumbs(scene, task);
    view.page_with(status, &task.title, &crumbs, &body)
}

/// Returns the links to the form, with the thing that it changes.
fn crumbs(scene: &Scene, task: &Task) -> Crumbs {
    let mut crumbs = scene.crumbs.clone();
    if let (Some(thing), true) = (&task.before, scene.above.is_none()) {
        let title = title_of(scene.template, thing);
        crumbs.push((title, Some(task.back.clone())));
    }
    let verb = task.title.split(" the ").next().unwrap_or(&task.title);
    crumbs.push((verb.to_owned(), None));
    crumbs
}

/// Returns the URL of the page, without the values that filled in the form.
fn own_url(view: &View, task: &Task) -> String {
    if let Some(action) = &task.action {
        return view.url(action);
    }
    let query = mode(&view.query).map_or_else(String::new, |mode| format!("?{mode}"));
    view.url(&format!("{}{query}", view.path))
}

fn loss(task: &Task) -> Markup {
    html! {
        div."note warn" { (icon("warn")) div {
            strong { "This cannot be undone" }
            @if let Some(thing) = &task.before { (fields::summary(thing)) (fields::signed(thing)) }
            @if let Some(affected) = &task.affects { p { "It affects " (affected.text()) "." } }
        } }
    }
}

fn asked(parameter: &str, shown: &Shown<'_>) -> Markup {
    let typed = shown.entries.and_then(|entries| value(entries, parameter)).unwrap_or_default();
    let anchor = form::anchor(parameter);
    html! {
        div.field {
            label for=(anchor) { (words::label(parameter)) }
            input id=(anchor) name=(parameter) value=(typed) autocomplete="off" required;
        }
    }
}

/// Returns the input of a form: all of it, or what differs from the present state. Members for which
/// the person chose the present state stay as they are.
fn input_of(task: &Task, entries: &Entries) -> Value {
    let chosen = entries.iter().filter(|(_, choice)| choice == "now");
    let theirs: Vec<&str> = chosen.filter_map(|(name, _)| name.strip_prefix("_use/")).collect();
    let current = task.before.as_ref().filter(|_| task.is_edit);
    match current {
        Some(current) if task.replaces => {
            input::replacement(&task.fields, "", entries, current, &theirs)
        }
        current => {
            let mut input = input::read(&task.fields, "", entries, current);
            if let Some(members) = input.as_object_mut() {
                members.retain(|name, _| !theirs.contains(&name.as_str()));
            }
            input
        }
    }
}

/// Shows both versions of a thing that changed while it was edited.
async fn outdated(
    view: &mut View,
    scene: &Scene,
    task: &Task,
    entries: &Entries,
) -> Result<Response> {
    let resources = view.resources.clone();
    let operation = resources.named(&task.operation).ok_or_else(|| Error::not_found("page"))?;
    let read = [operation.path, operation.path.rsplit_once('/').map_or("", |(above, _)| above)];
    let read = read.into_iter().find_map(|path| resources.on(path, &axum::http::Method::GET));
    let read = read.ok_or_else(|| Error::not_found("page"))?;
    let count = read.path.matches('{').count();
    let place: Vec<&str> = task.place.iter().take(count).map(String::as_str).collect();
    let now: Seen<Value> = view.ops.read(read.name, &place, "").await?;
    let differing: Map<String, Value> = match task.is_edit {
        true => match input::read(&task.fields, "", entries, Some(&now.value)) {
            Value::Object(members) => members,
            _ => Map::new(),
        },
        false => Map::new(),
    };
    let labels: BTreeMap<&str, &str> =
        task.fields.iter().map(|field| (&*field.name, &*field.label)).collect();
    let own: Vec<&(String, String)> = entries
        .iter()
        .filter(|(name, _)| !["_match", "_key"].contains(&&**name) && !name.starts_with("_use/"))
        .collect();
    let title = "This object changed while you edited it";
    let body = html! {
        div.head { div { h1 { (title) } p.facts { (words::visible(&task.title)) } } }
        form.form method="post" action=(own_url(view, task)) {
            div."note warn" role="alert" tabindex="-1" id="errors" { (icon("warn")) div {
                strong { "Nothing was changed" }
                @if differing.is_empty() { "Your entries are the same as the present state, or the change has no entries. Send it again if it still is right." }
                @else { "Choose a value for each entry that differs." }
            } }
            input type="hidden" name="_key" value=(view.new_key());
            @if let Some(tag) = &now.tag { input type="hidden" name="_match" value=(tag); }
            @for (name, value) in &own { input type="hidden" name=(name) value=(value); }
            @for (name, mine) in &differing {
                @let anchor = format!("u-{name}");
                fieldset.field {
                    legend { (labels.get(&**name).copied().unwrap_or(name)) }
                    div.choice {
                        input id={ (anchor) "-0" } type="radio" name={ "_use/" (name) } value="now" checked;
                        label for={ (anchor) "-0" } { "Now: " (fields::short(&now.value[name])) }
                    }
                    div.choice {
                        input id={ (anchor) "-1" } type="radio" name={ "_use/" (name) } value="mine";
                        label for={ (anchor) "-1" } { "Yours: " (fields::short(mine)) }
                    }
                }
            }
            div.actions {
                button."btn primary" { (task.button) }
                a.btn href=(view.url(&task.back)) { "Use theirs" }
            }
        }
    };
    let crumbs = scene.crumbs_to(&task.title);
    view.page_with(StatusCode::PRECONDITION_FAILED, title, &crumbs, &body)
}
