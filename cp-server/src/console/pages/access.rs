//! Why a person can do something: the role in the organization, the groups, and what grants each
//! project and workspace.

use axum::response::Response;
use serde_json::Value;

use crate::console::html::{Markup, card, empty, html, scrolled, state};
use crate::console::view::{View, items, query, text};
use crate::console::words;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::Seen;

crate::pages! { access:
    /// What grants a member access, by workspace.
    GET "/organizations/{org}/memberships/access" calls [memberships.list, workspaces.list_members,
        workspaces.list, workspaces.check_access, directory.list, projects.list, projects.list_groups,
        organizations.read] => access;
}

/// The most workspaces of the page.
const WORKSPACES: usize = 20;
/// The most projects whose grants are read.
const PROJECTS: usize = 20;

/// A workspace, the answer about it, and the membership in it.
struct Row {
    workspace: Value,
    access: Value,
    membership: Option<Value>,
}

async fn access(view: &mut View) -> Result<Response> {
    let own = view.enter_organization(&view.part(0)).await?.to_string();
    let user = view.asked("user").unwrap_or_default().to_owned();
    let filter = query([("user_id", &*user), ("limit", "1")]);
    let seen: Seen<Value> = view.ops.read("memberships.list", &[&own], &filter).await?;
    let seat = items(&seen.value).into_iter().next().filter(|_| !user.is_empty());
    let seat = seat.ok_or_else(|| Error::not_found("member"))?;
    let all = items(&view.visible("workspaces.list", &[&own], "limit=50").await?);
    let mut rows = Vec::new();
    for workspace in all.iter().take(WORKSPACES) {
        let place = [text(workspace, "id")];
        let asked = query([("user", &*user)]);
        let access = view.visible("workspaces.check_access", &place, &asked).await?;
        let inside = view.visible("workspaces.list_members", &place, &filter).await?;
        let membership = items(&inside).into_iter().next();
        rows.push(Row { workspace: workspace.clone(), access, membership });
    }
    let email = query([("email", text(&seat, "email")), ("limit", "1")]);
    let person = items(&view.visible("directory.list", &[&own], &email).await?).into_iter().next();
    let groups = person.map_or(Value::Null, |person| person["groups"].clone());
    let groups = groups.as_array().cloned().unwrap_or_default();
    let (grants, has_more) = project_grants(view, &own, &groups).await?;
    let title = format!("Access of {}", text(&seat, "email"));
    let effective = format!("/organizations/{own}/effective?{}", query([("user", &*user)]));
    let body = html! {
        div.head {
            div { h1 { (words::visible(&title)) } p.facts { "Which membership, and which group, grants what." } }
            div.actions {
                @if view.may("effective.read") { a.btn href=(view.url(&effective)) { "What may they use?" } }
            }
        }
        div.stack {
            (role_card(view, &seat))
            (group_card(view, &groups))
            (project_card(view, &grants))
            @if has_more { p.soft { "The first " (PROJECTS) " projects are shown." } }
            (workspace_card(view, &rows))
            @if all.len() > WORKSPACES { p.soft { "The first " (WORKSPACES) " workspaces are shown." } }
        }
    };
    let list = format!("/organizations/{own}/memberships");
    let crumbs = view.crumbs_below("People", list, &title);
    view.page(&title, &crumbs, &body)
}

/// A project, and the role that a group of the person has on it.
struct Grant {
    project: Value,
    grant: Value,
}

/// Reads the roles that these groups have on projects, and whether there are more projects.
async fn project_grants(
    view: &mut View,
    own: &str,
    groups: &[Value],
) -> Result<(Vec<Grant>, bool)> {
    let is_own = |grant: &Value| groups.iter().any(|group| group["id"] == grant["group_id"]);
    let mut found = Vec::new();
    if groups.is_empty() {
        return Ok((found, false));
    }
    let projects = items(&view.visible("projects.list", &[own], "limit=50").await?);
    for project in projects.iter().take(PROJECTS) {
        let place = [text(project, "id")];
        let granted = items(&view.visible("projects.list_groups", &place, "limit=500").await?);
        let granted = granted.into_iter().filter(is_own);
        found.extend(granted.map(|grant| Grant { project: project.clone(), grant }));
    }
    Ok((found, projects.len() > PROJECTS))
}

fn group_card(view: &View, groups: &[Value]) -> Markup {
    let body = html! {
        @if groups.is_empty() {
            (empty("people", "In no group", "A group gives its members its roles on projects, and what is bound to it.", &html! {}))
        } @else {
            (scrolled(&html! { table.cards-s {
                thead { tr {
                    th scope="col" { "Group" } th scope="col" { "Role in it" } th scope="col" { "Product" }
                    th scope="col" { "State" }
                } }
                tbody { @for group in groups { tr {
                    td { a.whole href=(view.url(&format!("/groups/{}", text(group, "id")))) { (words::visible(text(group, "name"))) } }
                    td data-l="role" { (words::visible(text(&group["role"], "name"))) }
                    td data-l="product" { @match text(group, "product") { "" => span.quiet { "all" }, product => (words::visible(product)) } }
                    td { (state(text(group, "status"))) }
                } } }
            } }))
        }
    };
    card("h-groups", "In groups", &html! {}, &body)
}

fn project_card(view: &View, grants: &[Grant]) -> Markup {
    if grants.is_empty() {
        return html! {};
    }
    let body = scrolled(&html! { table.cards-s {
        thead { tr { th scope="col" { "Project" } th scope="col" { "Role" } th scope="col" { "Why" } } }
        tbody { @for Grant { project, grant } in grants { tr {
            td { a.whole href=(view.url(&format!("/projects/{}", text(project, "id")))) { (words::visible(text(project, "name"))) } }
            td data-l="role" { (words::visible(text(&grant["role"], "name"))) }
            td data-l="why" { "The group " (words::visible(text(grant, "group_name"))) " has this role." }
        } } }
    } });
    card("h-projects", "On projects", &html! {}, &body)
}

fn role_card(view: &View, seat: &Value) -> Markup {
    let codes = |name: &str| {
        let all = seat[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    let (extra, effective) = (codes("permissions"), codes("effective_permissions"));
    let role = &seat["role"];
    let body = html! { div.in { dl."facts wide" {
        dt { "Role" } dd { a.in-text href=(view.url(&format!("/roles/{}", text(role, "id")))) { (words::visible(text(role, "name"))) } }
        dt { "Beyond the role" } dd { @for code in &extra { span.tag { (code) } " " } @if extra.is_empty() { "–" } }
        dt { "Together" } dd { details { summary { (words::count(effective.len(), "permission")) } @for code in &effective { span.tag { (code) } " " } } }
    } } };
    card("h-role", "In the organization", &state(text(seat, "status")), &body)
}

fn workspace_card(view: &View, rows: &[Row]) -> Markup {
    let body = html! {
        @if rows.is_empty() {
            (empty("layers", "No workspaces", "The organization has none that you may see.", &html! {}))
        } @else {
            (scrolled(&html! { table.cards-s {
                thead { tr {
                    th scope="col" { "Workspace" } th scope="col" { "Access" } th scope="col" { "Why" }
                    th scope="col" { "Isolation" }
                } }
                tbody { @for row in rows { tr {
                    td { a.whole href=(view.url(&format!("/workspaces/{}", text(&row.workspace, "id")))) { (words::visible(text(&row.workspace, "name"))) } }
                    td { @if row.access.is_object() { (state(if row.access["allowed"] == true { "allowed" } else { "denied" })) } @else { "–" } }
                    td data-l="why" { (why(row)) }
                    td data-l="isolation" { (words::spaced(text(&row.access, "isolation"))) }
                } } }
            } }))
        }
    };
    card("h-workspaces", "In workspaces", &html! {}, &body)
}

/// Returns which membership grants access to a workspace.
fn why(row: &Row) -> String {
    let role = row.membership.as_ref().map(|seat| text(&seat["role"], "name"));
    match (text(&row.access, "via"), role) {
        ("workspace_membership", Some(role)) => format!("The role {role} in the workspace."),
        ("workspace_membership", None) => "A membership of the workspace.".to_owned(),
        ("organization_membership", _) => "The role in the organization.".to_owned(),
        _ if row.access.is_null() => "You may not see it.".to_owned(),
        _ => "No membership grants it.".to_owned(),
    }
}
