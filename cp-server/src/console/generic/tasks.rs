//! The change that a form makes: its operation, its words and the state before it.

use axum::http::Method;
use serde_json::{Map, Value};

use super::effects;
use crate::console::affected::{self, Affected};
use crate::console::generic::history::past;
use crate::console::resources::{Operation, Resources};
use crate::console::scene::{Scene, noun_of, show_owner, title_of};
use crate::console::schema::Field;
use crate::console::templates::{filled, path_of_item};
use crate::console::view::{View, items, mode, query};
use crate::console::words;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::Seen;

/// The change that a form makes.
pub(in crate::console) struct Task {
    pub(in crate::console) operation: String,
    /// The values of the operation's path.
    pub(in crate::console) place: Vec<String>,
    /// The parameter of the path that the form asks for.
    pub(in crate::console) asks: Option<String>,
    pub(in crate::console) fields: Vec<Field>,
    /// Whether the input is the query string.
    pub(in crate::console) in_query: bool,
    pub(in crate::console) title: String,
    /// What the button says: the verb first.
    pub(in crate::console) button: String,
    pub(in crate::console) about: String,
    /// Whether the change cannot be undone.
    pub(in crate::console) is_destructive: bool,
    /// The text to type.
    pub(in crate::console) confirmation: Option<String>,
    /// The state that the change is about, and whether the form shows it.
    pub(in crate::console) before: Option<Value>,
    pub(in crate::console) is_edit: bool,
    /// Whether the operation resets the members that the input lacks.
    pub(in crate::console) replaces: bool,
    pub(in crate::console) tag: Option<String>,
    /// The page to return to.
    pub(in crate::console) back: String,
    /// The page after the change, unless the answer names one.
    pub(in crate::console) then: String,
    /// The sentence about the change.
    pub(in crate::console) done: String,
    /// The path to which the form posts, unless it is that of the page.
    pub(in crate::console) action: Option<String>,
    /// Members of the input that the form does not ask for.
    pub(in crate::console) fixed: Map<String, Value>,
    /// Whether the operation can show what it would change.
    pub(in crate::console) has_dry_run: bool,
    /// Whether the page shows what it would change.
    pub(in crate::console) is_previewed: bool,
    /// What the change affects beyond the thing itself.
    pub(in crate::console) affects: Option<Affected>,
    /// The form that reverses the change, and its title.
    pub(in crate::console) undo: Option<(String, String)>,
    /// The page after the change: this path, with the ID of what was created at its end.
    pub(in crate::console) follows: Option<String>,
}

/// The member of an input that asks what would change.
pub(in crate::console) const DRY_RUN: &str = "dry_run";

/// Actions that end something permanently.
const FINAL: [&str; 5] = ["revoke", "compromise", "purge", "delete", "reset"];

/// The most pages of a list in which a thing is looked for.
const PAGES: usize = 4;

/// Changes of a license that its tokens and its data plane feel.
const AFFECTING: [&str; 3] = ["licenses.suspend", "licenses.revoke", "licenses.transfer"];

/// Returns the change of this page's form; `None` for a page without a form.
pub(in crate::console) async fn of(view: &mut View, scene: &Scene) -> Result<Option<Task>> {
    let resources = view.resources.clone();
    let (template, path) = (scene.template, scene.path());
    let asked = mode(&view.query);
    let is = |mode: &str| asked == Some(mode);
    let read = resources.on(template, &Method::GET);
    let is_list = resources.collection(template).is_some();
    if is("new") {
        let (operation, asks) = resources.adding(template).ok_or_else(none)?;
        let noun = noun_of(operation.path);
        let mut task = Task::of(view, operation, scene.values.clone());
        task.asks = asks.map(str::to_owned);
        task.title = operation.title_of_adding(&noun);
        task.button = operation.button_of_adding(&noun);
        (task.back, task.then) = (path.clone(), path);
        task.done = format!("The {noun} was created.");
        return Ok(Some(task));
    }
    if is("edit") && !is_list {
        let patch = resources.on(template, &Method::PATCH);
        let operation = patch.or_else(|| resources.on(template, &Method::PUT)).ok_or_else(none)?;
        let mut task = Task::of(view, operation, scene.values.clone());
        match (read, list_above(&resources, template)) {
            (Some(read), _) => task.see(view, read).await?,
            (None, Some(list)) => task.find(view, template, list).await?,
            (None, None) => {}
        }
        let name = task.name(template);
        task.is_edit = true;
        task.title = format!("Change {name}");
        task.button = "Change".to_owned();
        (task.back, task.then) = (path.clone(), path);
        task.done = format!("{} was changed.", words::capitalized(&name));
        return Ok(Some(task));
    }
    let puts = [Method::POST, Method::PUT].iter().any(|one| resources.on(template, one).is_some());
    let deletes = resources.on(template, &Method::DELETE).is_some();
    if is("delete") || read.is_none() && deletes && !puts {
        let operation = resources.on(template, &Method::DELETE).ok_or_else(none)?;
        let mut task = Task::of(view, operation, scene.values.clone());
        if let Some(read) = read.filter(|_| !is_list) {
            task.see(view, read).await?;
        }
        task.end(template, view.in_view().map(|id| id.to_string()));
        if let ("organizations.delete", Some(own)) = (operation.name, view.in_view()) {
            task.affects = affected::of_organization(view, &own.to_string()).await?;
        }
        return Ok(Some(task));
    }
    if read.is_some() {
        return Ok(None);
    }
    let post = resources.on(template, &Method::POST);
    let operation = post.or_else(|| resources.on(template, &Method::PUT)).ok_or_else(none)?;
    let mut task = Task::of(view, operation, scene.values.clone());
    let (above, verb) = template.rsplit_once('/').unwrap_or((template, ""));
    if let Some(list) = list_above(&resources, template) {
        task.find(view, template, list).await?;
    } else if let Some(read) =
        resources.on(above, &Method::GET).filter(|_| resources.collection(above).is_none())
    {
        task.see(view, read).await?;
    }
    let is_new = resources.collection_named(verb) || operation.name.ends_with(".create");
    task.act(above, verb, &scene.values, is_new);
    if AFFECTING.contains(&operation.name) {
        let ids: Vec<&str> = task.place.iter().map(String::as_str).collect();
        task.affects = affected::of_licenses(view, &ids).await?;
    }
    if resources.on(above, &Method::GET).is_none() {
        // Such as `/signing/rotate`: the list beside it.
        let near = resources.below(above).find(|one| resources.collection(one.path).is_some());
        task.back = near.map_or_else(String::new, |list| filled(list.path, &scene.values));
        task.then = task.back.clone();
    }
    Ok(Some(task))
}

fn none() -> Error {
    Error::not_found("page")
}

/// Returns the list of the things of a path that ends in a parameter.
fn list_above<'r>(resources: &'r Resources, template: &str) -> Option<&'r Operation> {
    let (above, _) = template.rsplit_once('/').filter(|(_, last)| last.starts_with('{'))?;
    resources.collection(above).map(|collection| collection.list)
}

impl Task {
    /// Begins the change of an operation.
    pub(in crate::console) fn of(view: &View, operation: &Operation, place: Vec<String>) -> Self {
        let mut fields = view.resources.fields(operation);
        let has_dry_run = fields.iter().any(|field| field.name == DRY_RUN);
        fields.retain(|field| field.name != DRY_RUN);
        Self {
            operation: operation.name.to_owned(),
            place,
            asks: None,
            fields,
            has_dry_run,
            is_previewed: false,
            in_query: operation.input.is_none(),
            title: String::new(),
            button: String::new(),
            about: effects::of(operation.name)
                .map_or_else(|| operation.about.clone(), str::to_owned),
            is_destructive: false,
            confirmation: None,
            before: None,
            is_edit: false,
            replaces: operation.method == Method::PUT,
            tag: None,
            back: String::new(),
            then: String::new(),
            done: String::new(),
            action: None,
            fixed: Map::new(),
            affects: None,
            undo: None,
            follows: None,
        }
    }

    /// Reads the state before the change.
    pub(in crate::console) async fn see(
        &mut self,
        view: &mut View,
        read: &Operation,
    ) -> Result<()> {
        let count = read.path.matches('{').count();
        let place: Vec<&str> = self.place.iter().take(count).map(String::as_str).collect();
        let seen: Seen<Value> = match view.ops.read(read.name, &place, "").await {
            // A PUT may create what does not exist yet.
            Err(error) if error.document().status == 404 && !self.in_query && !place.is_empty() => {
                return match self.operation.rsplit('.').next() {
                    Some("put") => Ok(()),
                    _ => Err(error),
                };
            }
            seen => seen?,
        };
        show_owner(view, &seen.value).await?;
        (self.before, self.tag) = (Some(seen.value), seen.tag);
        Ok(())
    }

    /// Finds the state before the change in a list, where things have no read of their own. The last
    /// value of the path names the thing.
    async fn find(&mut self, view: &mut View, template: &str, list: &Operation) -> Result<()> {
        let member = template.rsplit('/').next().unwrap_or_default().trim_matches(['{', '}']);
        let Some((wanted, above)) = self.place.split_last() else { return Ok(()) };
        let above: Vec<&str> = above.iter().map(String::as_str).collect();
        let mut cursor = String::new();
        for _ in 0..PAGES {
            let more = (!cursor.is_empty()).then_some(("cursor", &*cursor));
            let filter = query([("limit", "500")].into_iter().chain(more));
            let page = view.visible(list.name, &above, &filter).await?;
            if let Some(found) = items(&page).into_iter().find(|one| one[member] == **wanted) {
                (self.before, self.is_edit) = (Some(found), true);
                return Ok(());
            }
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        Ok(())
    }

    /// Returns the words for the thing: its noun and its name.
    fn name(&self, template: &str) -> String {
        let noun = noun_of(template);
        match &self.before {
            Some(thing) if thing["deployment_name"].is_string() && thing["name"].is_null() => {
                format!("the {noun} of {}", title_of(template, thing))
            }
            Some(thing) if crate::console::resources::name_of(thing).is_some() => {
                format!("the {noun} {}", title_of(template, thing))
            }
            _ => format!("the {noun}"),
        }
    }

    /// Describes a deletion.
    fn end(&mut self, template: &str, organization: Option<String>) {
        let name = self.name(template);
        self.title = format!("Delete {name}");
        self.button = format!("Delete the {}", noun_of(template));
        self.is_destructive = true;
        self.confirm(template);
        let above = template.rsplit_once('/').map_or("", |(above, _)| above);
        let segment = above.rsplit('/').next().unwrap_or_default();
        self.back = filled(template, &self.place);
        self.then = match (above.contains('{'), organization, template.ends_with('}')) {
            (_, _, false) => self.back.clone(),
            (true, ..) => filled(above, &self.place),
            (false, Some(organization), _) if segment != "organizations" && segment != "users" => {
                format!("/organizations/{organization}/{segment}")
            }
            _ => above.to_owned(),
        };
        self.done = format!("{} was deleted.", words::capitalized(&name));
    }

    /// Describes an action.
    fn act(&mut self, above: &str, verb: &str, values: &[String], is_list: bool) {
        if verb.starts_with('{') {
            return self.put(above, values);
        }
        let name = self.name(above);
        let about_thing = above.ends_with('}');
        let verb_words = words::label(verb);
        self.title = match (is_list, about_thing) {
            (true, _) => format!("New {}", words::singular(verb)),
            (false, true) => format!("{verb_words} {name}"),
            (false, false) => {
                format!("{verb_words} {}", words::plural(verb_of(above)).to_lowercase())
            }
        };
        self.button = match (is_list, about_thing) {
            (true, _) => format!("Create the {}", words::singular(verb)),
            (false, true) => format!("{verb_words} the {}", noun_of(above)),
            (false, false) => verb_words,
        };
        self.is_destructive = FINAL.contains(&verb);
        if self.is_destructive {
            self.confirm(above);
        }
        if verb == "suspend" {
            for field in self.fields.iter_mut().filter(|field| field.name == "reason") {
                field.is_required = true;
            }
        }
        self.back = filled(above, values);
        self.then = self.back.clone();
        self.done = match (is_list, about_thing && !verb.contains('-')) {
            (true, _) => format!("The {} was created.", words::singular(verb)),
            (false, true) => format!("{} was {}.", words::capitalized(&name), past(verb)),
            (false, false) => format!("{}: done.", self.title),
        };
    }

    /// Describes the change of a thing that has no page of its own, such as a quota.
    fn put(&mut self, list: &str, values: &[String]) {
        let (noun, value) = (noun_of(list), values.last().map_or("", String::as_str));
        self.title = format!("Change the {noun} {value}");
        self.button = format!("Change the {noun}");
        self.back = filled(list, values);
        self.then = self.back.clone();
        self.done = format!("The {noun} {value} was changed.");
    }

    /// Requires the name of the thing, or the beginning of its ID.
    fn confirm(&mut self, template: &str) {
        let id = self.place.last().map(|id| id.chars().take(8).collect::<String>());
        let name = self.before.as_ref().and_then(crate::console::resources::name_of);
        let text = name.map(str::to_owned).or(id.filter(|_| template.ends_with('}')));
        self.confirmation = Some(text.unwrap_or_else(|| "delete".to_owned()));
    }

    /// Returns the page after the change.
    pub(in crate::console) fn next(
        &self,
        location: Option<&str>,
        body: &Value,
        view: &View,
    ) -> String {
        if let Some(path) = &self.follows {
            return format!("{path}{}", body["id"].as_str().unwrap_or_default());
        }
        if let Some(location) = location {
            return crate::console::templates::page_of(location).to_owned();
        }
        let resources = &view.resources;
        let thing = resources.collection(self.template_of(view)).and_then(|list| list.thing);
        let own = thing.and_then(|thing| path_of_item(thing, &self.place, body));
        own.filter(|_| !self.in_query).unwrap_or_else(|| self.then.clone())
    }

    fn template_of<'v>(&self, view: &'v View) -> &'v str {
        view.resources.named(&self.operation).map_or("", |one| one.path)
    }
}

fn verb_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
