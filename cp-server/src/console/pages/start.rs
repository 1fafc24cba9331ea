//! The first page, and the list of everything.

use axum::response::Response;

use crate::console::html::html;
use crate::console::view::View;
use crate::console::words;
use crate::kernel::error::Result;

crate::pages! { start:
    /// The first page: that of the platform, of the person's organization, or a choice of them.
    GET "" calls [overview.platform, issuance.daily, keys.info, log.checkpoint, log.read, audit.list_all] => start;
    /// Every list of the table.
    GET "/all" => everything;
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
