//! A list: filters, columns of scalars, and the way to older items.

use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::table::{Beside, Table};
use crate::console::form::anchor;
use crate::console::html::{Markup, empty, html, icon};
use crate::console::icons;
use crate::console::pager::pager;
use crate::console::resources::{Collection, Resources};
use crate::console::scene::{Scene, noun_of};
use crate::console::schema::{Control, Field};
use crate::console::scopes::Scopes;
use crate::console::view::{View, items, parameters, query, value};
use crate::console::words;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::Seen;

/// The most filters beside the button; the others are folded.
const FILTERS: usize = 5;
/// Parameters that are no filters.
const CONTROLS: [&str; 4] = ["cursor", "limit", "after", "wait"];

/// Reads the columns beside those of the items.
pub(in crate::console) type ReadBeside =
    for<'v> fn(&'v mut View, &'v [Value]) -> BoxFuture<'v, Result<Beside>>;

/// What a page by hand adds to a list.
#[derive(Clone, Copy, Default)]
pub(in crate::console) struct ByHand {
    pub(in crate::console) beside: Option<ReadBeside>,
    /// Brings the items of a page in an order of its own.
    pub(in crate::console) sort: Option<fn(&mut [Value])>,
}

pub(in crate::console) async fn page(
    view: &mut View,
    scene: Scene,
    by_hand: ByHand,
) -> Result<Response> {
    let resources = view.resources.clone();
    let collection =
        resources.collection(scene.template).ok_or_else(|| Error::not_found("page"))?;
    let filters = filters(&collection);
    let asked = parameters(&view.query, &collection.list.query);
    let asked: Vec<(&str, &str)> = asked.iter().map(|(name, value)| (&**name, &**value)).collect();
    let has_limit = collection.list.query.iter().any(|field| field.name == "limit");
    let limit = has_limit.then_some(("limit", "50"));
    let text = query(asked.iter().copied().chain(limit));
    let place = scene.place();
    let read = view.ops.read::<Value>(collection.list.name, &place, &text).await;
    let (status, page, summary) = match read {
        Ok(Seen { value, .. }) => (StatusCode::OK, value, None),
        // A filter was refused.
        Err(error) if matches!(error.document().status, 400 | 422) && !asked.is_empty() => {
            let summary =
                view.summary(&error, |name| filters.iter().any(|field| field.name == name));
            (StatusCode::UNPROCESSABLE_ENTITY, Value::Null, Some(summary))
        }
        // A question without its parameters.
        Err(error)
            if error.document().status == 422 && filters.iter().any(|one| one.is_required) =>
        {
            (StatusCode::OK, Value::Null, None)
        }
        Err(error) => return Err(error),
    };
    let page = newest(view, &collection, &place, page).await?;
    let mut items = items(&page);
    if let Some(sort) = by_hand.sort {
        sort(&mut items);
    }
    let title = words::plural(scene.template.rsplit('/').next().unwrap_or_default());
    let is_filtered =
        filters.iter().any(|field| view.asked(&field.name).is_some_and(|v| !v.trim().is_empty()));
    let beside = match by_hand.beside {
        Some(read) => Some(read(view, &items).await?),
        None => None,
    };
    let named = items.iter().filter_map(|item| item["scope"].as_str());
    let scopes = Scopes::read(view, &named.collect::<Vec<_>>()).await?;
    let table = Table::of(view, &resources, &scene, &collection, beside, scopes);
    let body = html! {
        div.head {
            div { h1 { (title) } p.facts { (resources.described(collection.list)) } }
            (actions(view, &resources, &scene))
        }
        @if let Some(summary) = &summary { div.stack { (summary.markup) } br; }
        (filter_form(view, &filters, is_filtered))
        section.card aria-label=(title) {
            @if items.is_empty() { (nothing(view, &resources, &scene, &title, is_filtered)) }
            @else { (table.render(view, &items)) }
            (pages(view, &collection, &page, &items))
        }
    };
    let mut crumbs = scene.crumbs.clone();
    crumbs.push((title.clone(), None));
    view.page_with(status, &title, &crumbs, &body)
}

/// Returns the newest page of a stream, which begins at its end.
async fn newest(
    view: &mut View,
    collection: &Collection<'_>,
    place: &[&str],
    page: Value,
) -> Result<Value> {
    let is_stream = collection.next.is_some_and(|(_, parameter)| parameter == "after");
    let (Some(head), true) = (page["head"].as_i64(), is_stream) else { return Ok(page) };
    if value(&view.query, "after").is_some() {
        return Ok(page);
    }
    let after = (head - 50).max(-1).to_string();
    let asked = parameters(&view.query, &collection.list.query);
    let pairs = asked.iter().map(|(name, value)| (&**name, &**value));
    let text = query(pairs.chain([("after", &*after), ("limit", "50")]));
    let seen: Seen<Value> = view.ops.read(collection.list.name, place, &text).await?;
    Ok(seen.value)
}

fn actions(view: &View, resources: &Resources, scene: &Scene) -> Markup {
    let adding = resources.adding(scene.template).filter(|(add, _)| view.may(add.name));
    let others: Vec<_> =
        resources.actions(scene.template).filter(|one| view.may(one.name)).collect();
    html! {
        div.actions {
            @for one in &others {
                @let segment = one.path.rsplit('/').next().unwrap_or_default();
                a.btn href=(view.url(&format!("{}/{segment}", scene.path()))) { (words::label(segment)) "…" }
            }
            @if let Some((add, _)) = adding {
                a."btn primary" href=(view.url(&format!("{}?new", scene.path()))) {
                    (icon("plus")) (add.title_of_adding(&noun_of(add.path)))
                }
            }
        }
    }
}

fn filter_form(view: &View, filters: &[&Field], is_filtered: bool) -> Markup {
    if filters.is_empty() {
        return html! {};
    }
    let (shown, folded) = filters.split_at(filters.len().min(FILTERS));
    let is_used = |field: &&&Field| view.asked(&field.name).is_some_and(|text| !text.is_empty());
    let path = view.url(&view.path);
    html! {
        form.filters action=(path) role="search" aria-label="Filters" {
            @for field in shown { (filter(view, field)) }
            button.btn { "Apply" }
            @if is_filtered { a."btn plain" href=(path) { "Clear" } }
            @if !folded.is_empty() {
                details.more open[folded.iter().any(|field| is_used(&field))] {
                    summary { "More filters" }
                    div.filters { @for field in folded { (filter(view, field)) } }
                }
            }
        }
    }
}

/// Returns the filters of a list for its page by hand.
pub(in crate::console) fn filters_of(view: &View, list: &str) -> Markup {
    let resources = view.resources.clone();
    let Some(collection) = resources.collection(list) else { return html! {} };
    let filters = filters(&collection);
    let is_filtered =
        filters.iter().any(|field| view.asked(&field.name).is_some_and(|v| !v.trim().is_empty()));
    filter_form(view, &filters, is_filtered)
}

/// Returns the filters of a collection.
fn filters<'c>(collection: &Collection<'c>) -> Vec<&'c Field> {
    let all = collection.list.query.iter();
    let mut all: Vec<&Field> = all.filter(|field| !CONTROLS.contains(&&*field.name)).collect();
    all.sort_by_key(|field| (field.name != "q", field.name != "status"));
    all
}

fn filter(view: &View, field: &Field) -> Markup {
    let (text, anchor) = (view.asked(&field.name).unwrap_or_default(), anchor(&field.name));
    let label = if field.name == "q" { "Search" } else { &field.label };
    html! {
        label for=(anchor) title=(field.hint) { (label)
            @match &field.control {
                Control::Choice(words) => select id=(anchor) name=(field.name) {
                    option value="" { "any" }
                    @for word in words { option value=(word) selected[text == *word] { (words::spaced(word)) } }
                },
                Control::Flag => select id=(anchor) name=(field.name) {
                    option value="" { "any" }
                    option value="true" selected[text == "true"] { "yes" }
                    option value="false" selected[text == "false"] { "no" }
                },
                Control::Instant => input id=(anchor) name=(field.name) value=(text) placeholder="2026-12-24 09:00" autocomplete="off";,
                _ => input id=(anchor) name=(field.name) value=(text) autocomplete="off";,
            }
        }
    }
}

fn nothing(
    view: &View,
    resources: &Resources,
    scene: &Scene,
    title: &str,
    is_filtered: bool,
) -> Markup {
    let segment = scene.template.rsplit('/').next().unwrap_or_default();
    let is_question = collection_asks(resources, scene);
    if is_question && !is_filtered {
        let text = "The answer depends on the fields above.";
        return empty("find", "Fill in the fields", text, &html! {});
    }
    if is_filtered {
        let next = html! { a.btn href=(view.url(&view.path)) { "Clear the filters" } };
        return empty("find", "No match", "Nothing fits these filters.", &next);
    }
    let adding = resources.adding(scene.template).filter(|(add, _)| view.may(add.name));
    let next = html! {
        @if let Some((add, _)) = adding {
            a.btn href=(view.url(&format!("{}?new", scene.path()))) { (add.title_of_adding(&noun_of(add.path))) }
        }
    };
    let list = resources.on(scene.template, &Method::GET);
    let about = list.map(|list| resources.described(list)).unwrap_or_default();
    empty(icons::of(segment), &format!("No {} yet", title.to_lowercase()), &about, &next)
}

/// Whether a list needs parameters.
fn collection_asks(resources: &Resources, scene: &Scene) -> bool {
    let list = resources.on(scene.template, &Method::GET);
    list.is_some_and(|list| list.query.iter().any(|field| field.is_required))
}

fn pages(view: &View, collection: &Collection<'_>, page: &Value, items: &[Value]) -> Markup {
    let Some((member, parameter)) = collection.next else { return html! {} };
    let next = match &page[member] {
        Value::String(cursor) => Some(cursor.clone()),
        Value::Number(after) if !items.is_empty() && page["head"] != page[member] => {
            Some(after.to_string())
        }
        _ => None,
    };
    let label = if parameter == "after" { "Newer" } else { "Older" };
    pager(view, parameter, next.as_deref(), label)
}
