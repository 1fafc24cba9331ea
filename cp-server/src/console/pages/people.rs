//! The people of an organization: their roles, where they come from, and how they sign in.

use std::collections::BTreeMap;

use axum::response::Response;
use serde_json::{Value, json};

use crate::console::cookies::Notice;
use crate::console::generic::list;
use crate::console::html::{Markup, card, empty, html, icon, scrolled, short_time, state};
use crate::console::pager::older;
use crate::console::view::{View, given, items, query, text};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;

crate::pages! { people:
    /// The members of an organization, and the open invitations.
    GET "/organizations/{org}/memberships" calls [memberships.list, invitations.list, organizations.read, console_links.create] => members;
    /// Switches sign-in links on or off.
    POST "/organizations/{org}/memberships/links" calls [organizations.update] => switch_links;
    /// The roles of an organization, and what each permits.
    GET "/organizations/{org}/roles" calls [roles.list, roles.list_system, organizations.read] => roles;
}

async fn members(view: &mut View) -> Result<Response> {
    let own = view.enter_organization(&view.part(0)).await?.to_string();
    let asked = given(&view.query);
    let filter = query(asked.into_iter().chain([("limit", "50")]));
    let seen: Seen<Value> = view.ops.read("memberships.list", &[&own], &filter).await?;
    let page = seen.value;
    let seen: Seen<Value> = view.ops.read("organizations.read", &[&own], "").await?;
    let organization = seen.value;
    let open = items(&view.visible("invitations.list", &[&own], "status=pending&limit=20").await?);
    let path = format!("/organizations/{own}");
    let has_links = organization["settings"]["console_links"] == true;
    let people = items(&page);
    let body = html! {
        div.head {
            div { h1 { "People" } p.facts { "Members of the organization, and what each may do." } }
            div.actions {
                @if view.may("roles.list") { a.btn href=(view.url(&format!("{path}/roles"))) { "Roles" } }
                @if view.may("invitations.create") { a.btn href=(view.url(&format!("{path}/invitations?new"))) { "Invite a person" } }
                @if view.may("memberships.create") { a."btn primary" href=(view.url(&format!("{path}/memberships?new"))) { (icon("plus")) "New member" } }
            }
        }
        (list::filters_of(view, "/organizations/{org}/memberships"))
        div.stack {
            section.card aria-label="Members" {
                @if people.is_empty() {
                    (empty("people", "No members", "Add a person by e-mail address; the person's first login takes the seat.", &html! {}))
                } @else {
                    (scrolled(&html! { table.cards-s {
                        thead { tr {
                            th scope="col" { "Person" } th scope="col" { "State" } th scope="col" { "Role" }
                            th scope="col" { "Permissions" } th scope="col" { "Since" } th scope="col" { span.sr { "Actions" } }
                        } }
                        tbody { @for one in &people { (member(view, &path, &organization, has_links, one)) } }
                    } }))
                }
                (older(view, &page))
            }
            @if !open.is_empty() { (invitations(view, &path, &open)) }
            @if view.may("console_links.create") { (sign_in_links(view, &path, has_links)) }
        }
    };
    let crumbs = view.crumbs("People");
    view.page("People", &crumbs, &body)
}

fn member(view: &View, path: &str, organization: &Value, has_links: bool, one: &Value) -> Markup {
    let (key, user) = (text(one, "id"), text(one, "user_id"));
    let is_owner = text(organization, "owner_user_id") == user;
    let count = one["effective_permissions"].as_array().map_or(0, Vec::len);
    let extra = one["permissions"].as_array().map_or(0, Vec::len);
    let link = query([("user_id", user)]);
    html! {
        tr {
            td { a.whole href=(view.url(&format!("/memberships/{key}"))) { (words::visible(text(one, "email"))) } @if is_owner { " " span.tag { "owner" } } }
            td { (state(text(one, "status"))) }
            td data-l="role" { (words::visible(text(&one["role"], "name"))) }
            td data-l="permissions" {
                a href=(view.url(&format!("/memberships/{key}"))) { (words::count(count, "permission")) }
                @if extra > 0 { ", " (extra) " beyond the role" }
            }
            td data-l="since" { @if let Some(at) = words::parse_instant(text(one, "created_at")) { (short_time(at, view.now)) } }
            td.r {
                a."btn s" href=(view.url(&format!("{path}/memberships/access?{}", query([("user", user)])))) { "Why?" } " "
                @if has_links && text(one, "status") != "suspended" && view.may("console_links.create") {
                    a."btn s" href=(view.url(&format!("{path}/console-links?{link}"))) { "Sign-in link…" } " "
                }
                @if !is_owner && view.may("memberships.update") { a."btn s" href=(view.url(&format!("/memberships/{key}?edit"))) { "Change" } }
            }
        }
    }
}

fn invitations(view: &View, path: &str, open: &[Value]) -> Markup {
    let all = html! { a href=(view.url(&format!("{path}/invitations"))) { "All invitations" } };
    let body = html! { ul.rows { @for one in open { li {
        div.grow {
            a.whole href=(view.url(&format!("/invitations/{}", text(one, "id")))) { (words::visible(text(one, "email"))) }
            div.soft {
                (words::visible(text(&one["role"], "name")))
                @if let Some(at) = words::parse_instant(text(one, "expires_at")) { ", until " (short_time(at, view.now)) }
            }
        }
        @if view.may("invitations.resend") { a."btn s" href=(view.url(&format!("/invitations/{}/resend", text(one, "id")))) { "Resend…" } }
        @if view.may("invitations.revoke") { a."btn s danger" href=(view.url(&format!("/invitations/{}?delete", text(one, "id")))) { "Revoke…" } }
    } } } };
    card("h-invitations", "Open invitations", &all, &body)
}

/// What sign-in links are, and where they are switched on.
fn sign_in_links(view: &View, path: &str, has_links: bool) -> Markup {
    let body = html! { div."in stack" {
        p.soft { "A sign-in link is for a person without an identity provider. It works once, for 15 minutes, and only in this organization." }
        @if has_links { p { "Each member without an identity provider has the action “Sign-in link”." } }
        @if view.may("organizations.update") {
            form.actions method="post" action=(view.url(&format!("{path}/memberships/links"))) {
                input type="hidden" name="_key" value=(view.new_key());
                button.btn name="on" value=(!has_links) { (if has_links { "Switch off" } else { "Switch on" }) }
            }
        }
    } };
    card("h-links", "Sign-in links", &state(if has_links { "on" } else { "off" }), &body)
}

async fn switch_links(view: &mut View) -> Result<Response> {
    let own = view.part(0);
    let on = view.entry("on") == Some("true");
    let body = json!({"settings": {"console_links": on}});
    let once = view.once();
    view.ops.change("organizations.update", &[&own], "", &body, &once).await?;
    let words = format!("Sign-in links are {}.", if on { "on" } else { "off" });
    view.cookies.push(Notice::set(view.ops.app(), words, None));
    view.see(&format!("/organizations/{own}/memberships"))
}

async fn roles(view: &mut View) -> Result<Response> {
    let own = view.enter_organization(&view.part(0)).await?.to_string();
    let filter = query(given(&view.query).into_iter().chain([("limit", "100")]));
    let seen: Seen<Value> = view.ops.read("roles.list", &[&own], &filter).await?;
    let mut all = items(&seen.value);
    all.extend(items(&view.visible("roles.list_system", &[], "limit=100").await?));
    all.sort_by_key(|role| (text(role, "scope").to_owned(), -role["rank"].as_i64().unwrap_or(0)));
    let path = format!("/organizations/{own}");
    let body = html! {
        div.head {
            div { h1 { "Roles" } p.facts { "What each role permits. A person gets the permissions of the role, and those of the membership itself." } }
            div.actions {
                @if view.may("roles.create") { a."btn primary" href=(view.url(&format!("{path}/roles?new"))) { (icon("plus")) "New role" } }
            }
        }
        section.card aria-label="Roles" { @for role in &all { (role_fold(view, role)) } }
    };
    let crumbs = view.crumbs("Roles");
    view.page("Roles", &crumbs, &body)
}

/// A role, with its permissions by what they are about.
fn role_fold(view: &View, role: &Value) -> Markup {
    let mut by_noun: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for code in role["permissions"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let (noun, verb) = code.split_once(':').unwrap_or((code, ""));
        by_noun.entry(noun).or_default().push(verb);
    }
    let count: usize = by_noun.values().map(Vec::len).sum();
    html! {
        details.fold {
            summary {
                (words::visible(text(role, "name"))) " "
                span.quiet { (words::spaced(text(role, "scope"))) ", " (words::count(count, "permission")) @if role["is_system"] == false { ", own" } }
            }
            div.in {
                p { a.in-text href=(view.url(&format!("/roles/{}", text(role, "id")))) { code { (text(role, "code")) } } }
                dl."facts wide" { @for (noun, verbs) in &by_noun {
                    dt { (words::spaced(noun)) }
                    dd { @for verb in verbs { span.tag { (if verb.is_empty() { "all" } else { verb }) } " " } }
                } }
            }
        }
    }
}
