//! A list: filters, columns of scalars, and the way to older items.

use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::fields::{is_identifier, member};
use super::offers::{Offer, offered, offers};
use crate::console::form::anchor;
use crate::console::html::{Markup, empty, html, icon, short_time};
use crate::console::icons;
use crate::console::pager::pager;
use crate::console::resources::{Collection, Resources, name_of};
use crate::console::scene::{Scene, noun_of};
use crate::console::schema::{self, Control, Field, resolved};
use crate::console::selection;
use crate::console::templates::path_of_item;
use crate::console::view::{View, given, items, query, value};
use crate::console::words;
use crate::kernel::clock::shown;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::Seen;

/// The most columns of a list.
const COLUMNS: usize = 6;
/// Parameters that are no filters.
const CONTROLS: [&str; 4] = ["cursor", "limit", "after", "wait"];

/// Columns that a page by hand shows beside those of the answer.
pub(in crate::console) struct Beside {
    /// The members of the answer that have a column.
    pub(in crate::console) members: &'static [&'static str],
    pub(in crate::console) titles: &'static [&'static str],
    /// The cells of each row.
    pub(in crate::console) cells: Vec<Vec<Markup>>,
}

/// Reads the columns beside those of the items.
pub(in crate::console) type ReadBeside =
    for<'v> fn(&'v mut View, &'v [Value]) -> BoxFuture<'v, Result<Beside>>;

pub(in crate::console) async fn page(
    view: &mut View,
    scene: Scene,
    read_beside: Option<ReadBeside>,
) -> Result<Response> {
    let resources = view.resources.clone();
    let collection =
        resources.collection(scene.template).ok_or_else(|| Error::not_found("page"))?;
    let filters: Vec<&Field> =
        collection.list.query.iter().filter(|field| !CONTROLS.contains(&&*field.name)).collect();
    let asked = given(&view.query);
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
        Err(error) => return Err(error),
    };
    let page = newest(view, &collection, &place, page).await?;
    let items = items(&page);
    let title = words::plural(scene.template.rsplit('/').next().unwrap_or_default());
    let is_filtered =
        filters.iter().any(|field| view.asked(&field.name).is_some_and(|v| !v.trim().is_empty()));
    let beside = match read_beside {
        Some(read) => Some(read(view, &items).await?),
        None => None,
    };
    let table = Table::of(view, &resources, &scene, &collection, beside);
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
    let kept = view.query.iter().filter(|(_, value)| !value.is_empty());
    let pairs = kept.map(|(name, value)| (&**name, &**value));
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
    let (shown, folded) = filters.split_at(filters.len().min(5));
    let path = view.url(&view.path);
    html! {
        form.filters action=(path) role="search" aria-label="Filters" {
            @for field in shown { (filter(view, field)) }
            @for field in folded.iter().filter(|field| view.asked(&field.name).is_some_and(|v| !v.is_empty())) {
                (filter(view, field))
            }
            button.btn { "Apply" }
            @if is_filtered { a."btn plain" href=(path) { "Clear" } }
        }
    }
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
                Control::Instant => input id=(anchor) name=(field.name) value=(text) placeholder="2026-12-24T09:00:00Z";,
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

/// The columns of a list.
struct Table {
    columns: Vec<String>,
    thing: Option<&'static str>,
    values: Vec<String>,
    /// What a row without a page of its own offers.
    offers: Vec<Offer>,
    /// What can be done with several rows at once.
    several: Vec<&'static selection::Act>,
    beside: Option<Beside>,
}

impl Table {
    fn of(
        view: &View,
        resources: &Resources,
        scene: &Scene,
        collection: &Collection<'_>,
        beside: Option<Beside>,
    ) -> Self {
        let members = resources.members(collection.item);
        let is_owner = |name: &str| name == "organization_id" && view.in_view().is_some();
        let unimportant = ["updated_at", "revision", "id", "metadata", "created_by", "external_id"];
        let required = resolved(&resources.schemas, collection.item)["required"].clone();
        let is_required = |name: &str| {
            required.as_array().is_some_and(|all| all.iter().any(|one| one == name))
                || ["name", "display_name"].contains(&name)
        };
        let fits = |(name, schema): &&(String, Value)| {
            schema::is_scalar(schema)
                && is_required(name)
                && !unimportant.contains(&&**name)
                && !is_owner(name)
        };
        let mut columns: Vec<String> =
            members.iter().filter(fits).map(|(name, _)| name.clone()).collect();
        let created =
            columns.iter().position(|name| name == "created_at").map(|at| columns.remove(at));
        match &beside {
            Some(beside) => columns.retain(|name| beside.members.contains(&&**name)),
            None => {
                columns.truncate(COLUMNS - 1);
                if members.iter().any(|(name, _)| name == "id") && columns.len() < COLUMNS {
                    columns.push("id".to_owned());
                }
            }
        }
        columns.extend(created);
        let offers = match collection.thing {
            Some(_) => Vec::new(),
            None => offers(view, resources, scene),
        };
        let several = selection::acts(view, collection.thing);
        let (thing, values) = (collection.thing, scene.values.clone());
        Self { columns, thing, values, offers, several, beside }
    }

    fn render(&self, view: &View, items: &[Value]) -> Markup {
        let table = self.table(view, items);
        if self.several.is_empty() {
            return table;
        }
        html! {
            form method="post" action=(view.url(selection::PATH)) {
                (table)
                div."in actions" {
                    span.soft { "With the selected:" }
                    @for act in &self.several { button."btn s" name="act" value=(act.name) { (words::label(act.name)) "…" } }
                }
            }
        }
    }

    fn table(&self, view: &View, items: &[Value]) -> Markup {
        html! {
            div.scroll tabindex="0" role="group" aria-label="Table, scrolls sideways" {
                table.cards-s {
                    thead { tr {
                        @if !self.several.is_empty() { th scope="col" { span.sr { "Selected" } } }
                        @for (n, column) in self.columns.iter().enumerate() {
                            @if n + 1 == self.columns.len() {
                                @for title in self.titles() { th scope="col" { (title) } }
                            }
                            th scope="col" { (words::label(column)) }
                        }
                        @if !self.offers.is_empty() { th scope="col" { span.sr { "Actions" } } }
                    } }
                    tbody { @for (n, item) in items.iter().enumerate() { (self.row(view, item, n)) } }
                }
            }
        }
    }

    /// Returns the titles of the columns before the last one.
    fn titles(&self) -> &'static [&'static str] {
        self.beside.as_ref().map_or(&[], |beside| beside.titles)
    }

    fn row(&self, view: &View, item: &Value, at: usize) -> Markup {
        let path = self.thing.and_then(|thing| path_of_item(thing, &self.values, item));
        let key = item["id"].as_str().unwrap_or_default();
        let cells = self.beside.as_ref().and_then(|beside| beside.cells.get(at));
        html! {
            tr {
                @if !self.several.is_empty() {
                    td { input type="checkbox" name="id" value=(key) aria-label={ "Select " (words::short(key)) }; }
                }
                @for (n, column) in self.columns.iter().enumerate() {
                    @if let (true, Some(cells)) = (n + 1 == self.columns.len(), cells) {
                        @for (title, cell) in self.titles().iter().zip(cells) {
                            td data-l=(title.to_lowercase()) { (cell) }
                        }
                    }
                    @let label = (n > 0).then(|| words::spaced(column));
                    td.clip data-l=[label] {
                        @match &path {
                            Some(path) if n == 0 => a.whole href=(view.url(path)) { (first(column, item)) },
                            _ => (self.cell(view, column, item)),
                        }
                    }
                }
                @if !self.offers.is_empty() {
                    td.r {
                        @for (title, template, filling) in &self.offers {
                            @if let Some(path) = offered(template, &self.values, item, filling.as_deref()) {
                                a."btn s" href=(view.url(&path)) { (title) } " "
                            }
                        }
                    }
                }
            }
        }
    }

    fn cell(&self, view: &View, column: &str, item: &Value) -> Markup {
        match &item[column] {
            Value::String(text) => match words::parse_instant(text) {
                Some(at) => short_time(at, view.now),
                None => member(view, column, &item[column], None),
            },
            other => member(view, column, other, None),
        }
    }
}

/// The text of a row's link.
fn first(column: &str, item: &Value) -> Markup {
    let text = item[column].as_str().filter(|text| !text.is_empty());
    let text = match text {
        Some(text) if is_identifier(column) => words::short(text),
        Some(text) => match words::parse_instant(text) {
            Some(at) => shown(at),
            None => words::visible(text).into_owned(),
        },
        None => {
            let id = item["id"].as_str().or(item["kid"].as_str()).map(words::short);
            name_of(item).map(str::to_owned).or(id).unwrap_or_else(|| item[column].to_string())
        }
    };
    html! { (text) }
}
