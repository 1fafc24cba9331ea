//! Service tokens: their form offers the permissions of a role, and an end.

use axum::response::Response;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde_json::Value;

use crate::console::generic;
use crate::console::generic::table::Beside;
use crate::console::generic::{edit, list, tasks};
use crate::console::html::{Markup, card, html, short_time, state};
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
    match mode(&view.query) {
        Some("new") => {}
        Some(_) => return generic::get(view).await,
        None => {
            let scene = Scene::enter(view).await?;
            let beside: list::ReadBeside = |view, items| Box::pin(beside(view, items));
            let by_hand = list::ByHand { beside: Some(beside), sort: Some(by_last_use) };
            return list::page(view, scene, by_hand).await;
        }
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

/// Brings the tokens that were used last to the top, and those that never were to the end.
fn by_last_use(tokens: &mut [Value]) {
    let used = |token: &Value| words::parse_instant(text(token, "last_used_at"));
    tokens.sort_by_key(|token| std::cmp::Reverse(used(token)));
}

/// Returns the columns of what a token may have, besides its name.
async fn beside(view: &mut View, items: &[Value]) -> Result<Beside> {
    let cells = |token: &Value| {
        let at = |name: &str| words::parse_instant(text(token, name));
        let is_over = at("expires_at").is_some_and(|at| at <= view.now);
        let status = match (token["revoked_at"].is_null(), is_over) {
            (false, _) => "revoked",
            (true, true) => "expired",
            (true, false) => "active",
        };
        let instant = |at: Option<DateTime<Utc>>, none: &str| {
            html! { @match at { Some(at) => (short_time(at, view.now)), None => span.quiet { (none) } } }
        };
        let permissions = token["permissions"].as_array().map_or(0, Vec::len);
        vec![
            state(status),
            html! { (words::count(permissions, "permission")) },
            instant(at("last_used_at"), "never"),
            instant(at("expires_at"), "no end"),
        ]
    };
    let cells = items.iter().map(cells).collect();
    let titles = &["State", "Permits", "Last used", "Ends"];
    Ok(Beside { members: &["name"], titles, numbers: &[], since: "Created", cells })
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
