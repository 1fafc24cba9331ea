//! The first page, the page of the person, and the list of everything.

use axum::response::Response;
use serde_json::json;

use crate::console::cookies::{Notice, set_theme, theme};
use crate::console::html::{card, html};
use crate::console::view::View;
use crate::console::words;
use crate::kernel::error::Result;

crate::pages! { start:
    /// The first page: that of the platform, of the person's organization, or a choice of them.
    GET "" calls [organizations.list, licenses.list_all, keys.info, audit.list_all] => start;
    /// Every list of the table.
    GET "/all" => everything;
    /// The person: theme and sessions.
    GET "/me" calls [me.read] => me;
    /// Sets the theme.
    POST "/me" => set;
    /// Ends all sessions of the person.
    POST "/me/end-sessions" calls [sessions.logout_everywhere] => end_sessions;
}

async fn start(view: &mut View) -> Result<Response> {
    if view.ops.caller.is_of_platform() {
        return super::overview::page(view).await;
    }
    match view.me.organizations.as_slice() {
        [only] => {
            let path = format!("/organizations/{}", only.id);
            view.see(&path)
        }
        several => {
            let several = several.to_vec();
            let body = html! {
                div.head { div { h1 { "Your organizations" } } }
                section.card aria-label="Your organizations" {
                    @if several.is_empty() { div.empty { h2 { "No organization yet" } p { "An admin of an organization can add you." } } }
                    ul.rows {
                        @for one in &several {
                            li { div.grow { a.whole href=(view.url(&format!("/organizations/{}", one.id))) { (words::visible(&one.name)) } } }
                        }
                    }
                }
            };
            view.page("Your organizations", &vec![("Your organizations".into(), None)], &body)
        }
    }
}

async fn everything(view: &mut View) -> Result<Response> {
    let resources = view.resources.clone();
    let roots: Vec<_> = resources.roots().filter(|one| view.may(one.name)).collect();
    let body = html! {
        div.head { div { h1 { "Everything" } p.facts { "Every list and question that the API has, with its page." } } }
        section.card aria-label="Lists" {
            ul.rows {
                @for one in &roots {
                    @let segment = one.path.rsplit('/').next().unwrap_or_default();
                    li { div.grow {
                        a.whole href=(view.url(one.path)) { (words::plural(segment)) }
                        div.soft { (one.summary) }
                    } }
                }
            }
        }
    };
    view.page("Everything", &vec![("Everything".into(), None)], &body)
}

async fn me(view: &mut View) -> Result<Response> {
    let chosen = theme(&view.parts.headers).unwrap_or("");
    let themes = [("", "like the system"), ("light", "light"), ("dark", "dark")];
    let choice = html! {
        form."in stack" method="post" action=(view.url("/me")) {
            fieldset."bare field" {
                legend { "Colours" }
                @for (n, (value, label)) in themes.iter().enumerate() {
                    div.choice {
                        input id={ "theme-" (n) } type="radio" name="theme" value=(value) checked[chosen == *value];
                        label for={ "theme-" (n) } { (label) }
                    }
                }
            }
            div.actions { button.btn { "Save" } }
        }
    };
    let sessions = html! {
        form."in stack" method="post" action=(view.url("/me/end-sessions")) {
            p.soft { "Ends every session of yours, on all devices. You sign in again." }
            div.actions { button."btn danger" { "End all sessions" } }
        }
    };
    let none = html! {};
    let body = html! {
        div.head { div { h1 { (words::visible(&view.me.name)) } p.facts { "You, in this console." } } }
        div.halves {
            (card("h-theme", "Theme", &none, &choice))
            (card("h-sessions", "Sessions", &none, &sessions))
        }
    };
    view.page("You", &vec![("You".into(), None)], &body)
}

async fn set(view: &mut View) -> Result<Response> {
    let theme = set_theme(view.ops.app(), view.entry("theme").unwrap_or_default());
    let notice = Notice::set(view.ops.app(), "The theme was saved.".into(), None);
    view.cookies.extend([theme, notice]);
    view.see("/me")
}

async fn end_sessions(view: &mut View) -> Result<Response> {
    view.ops.forward("sessions.logout_everywhere", &json!({})).await?;
    view.see("/sign-in")
}
