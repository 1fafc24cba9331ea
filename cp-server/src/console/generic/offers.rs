//! What the rows of a list offer that have no pages of their own.

use axum::http::Method;
use serde_json::Value;

use crate::console::resources::Resources;
use crate::console::scene::Scene;
use crate::console::templates::path_of_item;
use crate::console::view::{View, query};
use crate::console::words;

/// What a row offers: a title, a path template, and the members whose values fill in a form.
pub(super) type Offer = (String, String, Option<Vec<String>>);

/// Returns what the rows of a list without things offer.
pub(super) fn offers(view: &View, resources: &Resources, scene: &Scene) -> Vec<Offer> {
    let segment = scene.template.rsplit('/').next().unwrap_or_default();
    let mut offers = Vec::new();
    if let Some(delete) =
        resources.on(scene.template, &Method::DELETE).filter(|one| view.may(one.name))
    {
        let names = delete.query.iter().map(|field| field.name.clone()).collect();
        offers.push(("Delete…".to_owned(), format!("{}?delete", scene.template), Some(names)));
    }
    for row in [format!("/{segment}/{{id}}"), format!("{}/", scene.template)] {
        let template = match row.ends_with('/') {
            false => Some(row),
            true => resources
                .adding(scene.template)
                .and_then(|(add, asks)| asks.map(|_| add.path.to_owned())),
        };
        let Some(template) = template else { continue };
        for action in resources.actions(&template).filter(|one| view.may(one.name)) {
            let verb = action.path.rsplit('/').next().unwrap_or_default();
            offers.push((format!("{}…", words::label(verb)), action.path.to_owned(), None));
        }
        if resources.on(&template, &Method::DELETE).is_some_and(|one| view.may(one.name)) {
            offers.push(("Delete…".to_owned(), format!("{template}?delete"), None));
        }
    }
    offers
}

/// Returns the path of an offer for a row.
pub(super) fn offered(
    template: &str,
    values: &[String],
    item: &Value,
    filling: Option<&[String]>,
) -> Option<String> {
    let (path, mode) = template.split_once('?').map_or((template, ""), |(path, mode)| (path, mode));
    let Some(names) = filling else {
        let (thing, verb) = match path.ends_with('}') {
            true => (path, String::new()),
            false => path.rsplit_once('/').map(|(thing, verb)| (thing, format!("/{verb}")))?,
        };
        let mode = if mode.is_empty() { String::new() } else { format!("?{mode}") };
        return Some(format!("{}{verb}{mode}", path_of_item(thing, values, item)?));
    };
    let path = crate::console::templates::filled(path, values);
    let pairs = names.iter().filter_map(|name| Some((&**name, item[name].as_str()?)));
    Some(format!("{path}?{mode}=&{}", query(pairs)))
}
