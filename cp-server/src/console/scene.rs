//! The place of a page: its path in the table, the things above it, and the links to them.

use serde_json::Value;

use super::resources::{Resources, name_of};
use super::templates::filled;
use super::view::Crumbs;
use super::view::View;
use super::words;
use axum::http::Method;

use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::Seen;

/// The place of a page.
pub(super) struct Scene {
    pub(super) template: &'static str,
    pub(super) values: Vec<String>,
    pub(super) crumbs: Crumbs,
    /// The thing above the page, such as the license of a list of tokens.
    pub(super) above: Option<Value>,
}

impl Scene {
    /// Finds the place of the page, and reads the things above it.
    pub(super) async fn enter(view: &mut View) -> Result<Self> {
        let path = view.path.clone();
        let found = view.resources.place(&path);
        let (template, values) = found.ok_or_else(|| Error::not_found("page"))?;
        let mut scene = Self { template, values, crumbs: Vec::new(), above: None };
        if template.starts_with("/organizations/{org}") {
            view.enter_organization(&scene.values[0].clone()).await?;
        }
        for above in scene.things_above() {
            scene.read_above(view, above).await?;
        }
        scene.add_crumbs(view);
        Ok(scene)
    }

    /// Returns the place of a page by hand, with the links to it.
    pub(super) fn by_hand(template: &'static str, crumbs: Crumbs) -> Self {
        Self { template, values: Vec::new(), crumbs, above: None }
    }

    /// Returns the templates above the page that end in a parameter.
    fn things_above(&self) -> Vec<&'static str> {
        let ends = self.template.match_indices('}').map(|(at, _)| &self.template[..=at]);
        ends.filter(|above| *above != self.template && *above != "/organizations/{org}").collect()
    }

    async fn read_above(&mut self, view: &mut View, template: &'static str) -> Result<()> {
        let resources = view.resources.clone();
        let Some(read) = resources.on(template, &Method::GET) else { return Ok(()) };
        let count = template.matches('{').count();
        let place: Vec<&str> = self.values.iter().take(count).map(String::as_str).collect();
        let seen: Seen<Value> = match view.ops.read(read.name, &place, "").await {
            // The page's own operation may need less.
            Err(error) if error.document().status == 403 => return Ok(()),
            seen => seen?,
        };
        show_owner(view, &seen.value).await?;
        self.above = Some(seen.value);
        Ok(())
    }

    fn add_crumbs(&mut self, view: &View) {
        if let Some(organization) = &view.organization {
            let path = format!("/organizations/{}", organization.id);
            self.crumbs.push((organization.name.clone(), Some(path)));
        }
        let resources = &view.resources;
        if let Some(above) = &self.above {
            let Some(template) = self.things_above().pop() else { return };
            let values = &self.values[..template.matches('{').count()];
            let list = list_of(view, resources, template);
            self.crumbs.extend(list);
            self.crumbs.push((title_of(template, above), Some(filled(template, values))));
        } else if let Some(list) = list_of(view, resources, self.template) {
            self.crumbs.push(list);
        }
    }

    /// Builds the links again, after the page has shown its organization.
    pub(super) fn refresh(&mut self, view: &View) {
        self.crumbs.clear();
        self.add_crumbs(view);
    }

    /// Returns the path of the page.
    pub(super) fn path(&self) -> String {
        filled(self.template, &self.values)
    }

    pub(super) fn place(&self) -> Vec<&str> {
        self.values.iter().map(String::as_str).collect()
    }

    /// Returns the crumbs with the page itself.
    pub(super) fn crumbs_to(&self, title: &str) -> Crumbs {
        let mut crumbs = self.crumbs.clone();
        crumbs.push((title.to_owned(), None));
        crumbs
    }
}

/// Shows the organization of a thing in the frame.
pub(super) async fn show_owner(view: &mut View, thing: &Value) -> Result<()> {
    match thing["organization_id"].as_str() {
        Some(owner) => view.show_organization(owner).await,
        None => Ok(()),
    }
}

/// Returns the link to the list that a thing is in.
fn list_of(view: &View, resources: &Resources, thing: &str) -> Option<(String, Option<String>)> {
    let (above, last) = thing.rsplit_once('/')?;
    if !last.starts_with('{') {
        return None;
    }
    let segment = above.rsplit('/').next()?;
    let title = words::plural(segment);
    if let Some(organization) = view.in_view() {
        let own = format!("/organizations/{{org}}/{segment}");
        if resources.collection(&own).is_some() && thing != "/organizations/{org}" {
            return Some((title, Some(format!("/organizations/{organization}/{segment}"))));
        }
    }
    let is_listed = !above.contains('{') && resources.collection(above).is_some();
    (is_listed && view.ops.caller.is_of_platform()).then(|| (title, Some(above.to_owned())))
}

/// Returns the noun of the things of a path.
pub(super) fn noun_of(template: &str) -> String {
    let mut segments =
        template.split('/').filter(|part| !part.is_empty() && !part.starts_with('{'));
    words::singular(segments.next_back().unwrap_or("page"))
}

/// Returns the title of a thing: its name, or its noun and ID.
pub(super) fn title_of(template: &str, thing: &Value) -> String {
    match name_of(thing) {
        Some(name) => name.to_owned(),
        None if thing["plan_code"].is_string() && thing["seats_from_plan"].is_boolean() => {
            format!("Subscription to {}", thing["plan_code"].as_str().unwrap_or_default())
        }
        None => {
            let id = ["id", "kid", "jti"].into_iter().find_map(|member| thing[member].as_str());
            let noun = words::capitalized(&noun_of(template));
            format!("{noun} {}", id.map(words::short).unwrap_or_default()).trim().to_owned()
        }
    }
}
