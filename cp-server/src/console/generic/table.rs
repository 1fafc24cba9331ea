//! The table of a list: a row for each item, its columns, and what its rows offer.

use serde_json::Value;

use super::fields::{is_identifier, member};
use super::offers::{Offer, offered, offers};
use crate::console::html::{Markup, html, short_time};
use crate::console::resources::{Collection, Resources, name_of};
use crate::console::scene::Scene;
use crate::console::schema::{self, resolved, type_of};
use crate::console::scopes::Scopes;
use crate::console::selection;
use crate::console::templates::path_of_item;
use crate::console::view::View;
use crate::console::words;
use crate::kernel::clock::shown;

/// The most columns of a list.
const COLUMNS: usize = 6;

/// Columns that a page by hand shows beside those of the answer.
pub(in crate::console) struct Beside {
    /// The members of the answer that have a column.
    pub(in crate::console) members: &'static [&'static str],
    pub(in crate::console) titles: &'static [&'static str],
    /// The titles of columns of numbers.
    pub(in crate::console) numbers: &'static [&'static str],
    /// The title of the instant at which an item was created.
    pub(in crate::console) since: &'static str,
    /// The cells of each row.
    pub(in crate::console) cells: Vec<Vec<Markup>>,
}

/// The columns of a list.
pub(super) struct Table {
    columns: Vec<String>,
    /// The columns of numbers, which are on the right.
    numbers: Vec<String>,
    thing: Option<&'static str>,
    values: Vec<String>,
    /// What a row without a page of its own offers.
    offers: Vec<Offer>,
    /// What can be done with several rows at once.
    several: Vec<&'static selection::Act>,
    beside: Option<Beside>,
    /// The names of the scopes in the rows.
    scopes: Scopes,
}

impl Table {
    pub(super) fn of(
        view: &View,
        resources: &Resources,
        scene: &Scene,
        collection: &Collection<'_>,
        beside: Option<Beside>,
        scopes: Scopes,
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
        let offers = match collection.thing {
            Some(_) => Vec::new(),
            None => offers(view, resources, scene),
        };
        // What names the thing in its path is its name, such as the product of a budget.
        let own = collection.thing.and_then(|thing| thing.rsplit('/').next());
        let own = own.map(|last| last.trim_matches(['{', '}'])).filter(|own| *own != "id");
        if let Some(at) = own.and_then(|own| columns.iter().position(|name| name == own)) {
            let own = columns.remove(at);
            columns.insert(0, own);
        }
        match &beside {
            Some(beside) => columns.retain(|name| beside.members.contains(&&**name)),
            None => {
                columns.truncate(COLUMNS - 1);
                let has_id = members.iter().any(|(name, _)| name == "id");
                // Rows with buttons have no room for an ID.
                if has_id && columns.len() < COLUMNS && offers.is_empty() {
                    columns.push("id".to_owned());
                }
            }
        }
        columns.extend(created);
        let is_number = |(name, schema): &(String, Value)| {
            matches!(type_of(schema), Some("integer" | "number")) && !name.ends_with("_seconds")
        };
        let numbers = members.iter().filter(|&one| is_number(one)).map(|(name, _)| name.clone());
        let numbers = numbers.collect();
        let several = selection::acts(view, collection.thing);
        let (thing, values) = (collection.thing, scene.values.clone());
        Self { columns, numbers, thing, values, offers, several, beside, scopes }
    }

    pub(super) fn render(&self, view: &View, items: &[Value]) -> Markup {
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
                                @for title in self.titles() { th class=[self.side(title)] scope="col" { (title) } }
                            }
                            th class=[self.side(column)] scope="col" { (self.title(column)) }
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

    /// Returns the title of a member's column.
    fn title(&self, column: &str) -> String {
        match (column, &self.beside) {
            ("status", _) => "State".to_owned(),
            ("created_at", Some(beside)) => beside.since.to_owned(),
            _ => words::label(column),
        }
    }

    /// Returns the class of a column's title: numbers are on the right.
    fn side(&self, column: &str) -> Option<&'static str> {
        self.is_number(column).then_some("r")
    }

    fn is_number(&self, column: &str) -> bool {
        let beside = self.beside.as_ref().map_or(&[][..], |beside| beside.numbers);
        beside.contains(&column) || self.numbers.iter().any(|name| name == column)
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
                            td class=[self.side(title)] data-l=(title.to_lowercase()) { (cell) }
                        }
                    }
                    @let label = (n > 0).then(|| match &**column {
                        "status" => "state".to_owned(),
                        column => words::inner_label(column),
                    });
                    td.clip.r[self.is_number(column)] data-l=[label] {
                        @match &path {
                            Some(path) if n == 0 => a.whole href=(view.url(path)) { (self.first(column, item)) },
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
            Value::String(scope) if is_scope(column, scope) => self.scopes.link(scope),
            Value::String(text) => match words::parse_instant(text) {
                Some(at) => short_time(at, view.now),
                None => member(view, column, &item[column], None),
            },
            other => member(view, column, other, None),
        }
    }

    /// The text of a row's link.
    fn first(&self, column: &str, item: &Value) -> Markup {
        let text = item[column].as_str().filter(|text| !text.is_empty());
        let text = match text {
            Some(scope) if is_scope(column, scope) => self.scopes.words(scope),
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
}

/// Whether a value names a scope other than the whole organization, such as `group:<id>`.
fn is_scope(column: &str, value: &str) -> bool {
    column == "scope" && value.contains(':')
}
