//! Scopes as people know them: `group:<id>` is the group's name, with a link to its page.

use std::collections::BTreeMap;

use super::html::{Markup, html};
use super::resources::name_of;
use super::templates::filled;
use super::view::{View, items, query, text};
use super::words;
use crate::kernel::error::Result;

/// The most scopes of a page whose names are read.
const NAMES: usize = 24;

/// The names of scopes, and the pages of what they are about.
#[derive(Default)]
pub(super) struct Scopes(BTreeMap<String, (String, Option<String>)>);

impl Scopes {
    /// Reads the names of these scopes of the organization in view, as far as the caller may.
    pub(super) async fn read(view: &mut View, scopes: &[&str]) -> Result<Self> {
        let mut found = Self::default();
        for &scope in scopes {
            let Some((kind, id)) = scope.split_once(':') else { continue };
            if found.0.len() == NAMES || found.0.contains_key(scope) {
                continue;
            }
            let named = match kind {
                "user" => person(view, id).await?,
                _ => thing(view, kind, id).await?,
            };
            named.map(|named| found.0.insert(scope.to_owned(), named));
        }
        Ok(found)
    }

    /// Returns the words for a scope: "the group Sales", "anna@example.com", "the organization".
    pub(super) fn words(&self, scope: &str) -> String {
        let (kind, id) = scope.split_once(':').unwrap_or((scope, ""));
        match (kind, self.0.get(scope)) {
            ("user", Some((name, _))) => name.clone(),
            (_, Some((name, _))) => format!("the {} {name}", words::spaced(kind)),
            (_, None) if id.is_empty() => format!("the {}", words::spaced(kind)),
            (_, None) => format!("the {} {}", words::spaced(kind), words::short(id)),
        }
    }

    /// The words for a scope, with a link to what it is about.
    pub(super) fn link(&self, scope: &str) -> Markup {
        let words = self.words(scope);
        let page = self.0.get(scope).and_then(|(_, page)| page.as_deref());
        html! {
            @match page {
                Some(page) => a.in-text href=(page) title=(scope) { (words::visible(&words)) },
                None => span title=(scope) { (words::visible(&words)) },
            }
        }
    }
}

async fn person(view: &mut View, id: &str) -> Result<Option<(String, Option<String>)>> {
    let Some(own) = view.in_view().map(|own| own.to_string()) else { return Ok(None) };
    let filter = query([("user_id", id), ("limit", "1")]);
    let found = view.visible("memberships.list", &[&own], &filter).await?;
    let access = format!("/organizations/{own}/memberships/access?{}", query([("user", id)]));
    let name = |seat| (text(seat, "email").to_owned(), Some(view.url(&access)));
    Ok(items(&found).first().map(name))
}

async fn thing(view: &mut View, kind: &str, id: &str) -> Result<Option<(String, Option<String>)>> {
    let resources = view.resources.clone();
    // An agent is a resource.
    let member = if kind == "agent" { "resource_id".to_owned() } else { format!("{kind}_id") };
    let Some(read) = resources.referred(&member) else { return Ok(None) };
    let found = view.visible(read.name, &[id], "").await?;
    let page = view.url(&filled(read.path, &[id.to_owned()]));
    Ok(name_of(&found).map(|name| (name.to_owned(), Some(page))))
}
