//! Service tokens: their form offers the permissions of a role, and an end.

use axum::response::Response;
use chrono::{NaiveTime, TimeDelta};
use serde_json::Value;

use crate::console::generic;
use crate::console::generic::{edit, tasks};
use crate::console::html::{Markup, card, html};
use crate::console::scene::Scene;
use crate::console::view::{View, items, mode, query, text};
use crate::console::words;
use crate::kernel::error::{Error, Result};

crate::pages! { tokens:
    /// The service tokens of the platform.
    GET "/service-tokens" calls [service_tokens.list_all, roles.list_system] => list, own_forms;
    /// The service tokens of an organization.
    GET "/organizations/{org}/service-tokens" calls [service_tokens.list, roles.list, roles.list_system] => list_of_organization, own_forms;
}

/// The life of a token for which no end is chosen.
const LIFE: TimeDelta = TimeDelta::days(90);

async fn list(view: &mut View) -> Result<Response> {
    form_or_list(view, None).await
}

async fn list_of_organization(view: &mut View) -> Result<Response> {
    let own = view.enter_organization(&view.part(0)).await?.to_string();
    form_or_list(view, Some(own)).await
}

async fn form_or_list(view: &mut View, own: Option<String>) -> Result<Response> {
    if mode(&view.query) != Some("new") {
        return generic::get(view).await;
    }
    let scope = "scope=organization&limit=100";
    let mut roles = items(&view.visible("roles.list_system", &[], scope).await?);
    if let Some(own) = &own {
        roles.extend(items(&view.visible("roles.list", &[own], scope).await?));
    }
    if view.asked("expires_at").is_none() {
        let day = (view.now + LIFE).date_naive().and_time(NaiveTime::MIN);
        let end = words::form_instant(day.and_utc());
        view.query.push(("expires_at".to_owned(), end));
    }
    let scene = Scene::enter(view).await?;
    let task = tasks::of(view, &scene).await?.ok_or_else(|| Error::not_found("page"))?;
    let presets = presets(view, &roles);
    edit::form_beside(view, &scene, task, &presets).await
}

/// Links that fill in the permissions of a role.
fn presets(view: &View, roles: &[Value]) -> Markup {
    let path = &view.path;
    let link = |role: &Value| {
        let codes = role["permissions"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let pairs = codes.map(|code| ("permissions", code));
        let name = [("name", view.asked("name").unwrap_or_default())];
        let name = name.into_iter().filter(|(_, value)| !value.is_empty());
        view.url(&format!("{path}?new=&{}", query(name.chain(pairs))))
    };
    if roles.is_empty() {
        return html! {};
    }
    let body = html! { div.in {
        p.soft { "Fill in the permissions of a role, and take away what the program does not need." }
        nav.links aria-label="Roles" { @for role in roles { a href=(link(role)) { (words::visible(text(role, "name"))) } } }
    } };
    card("h-presets", "Start from a role", &html! {}, &body)
}
