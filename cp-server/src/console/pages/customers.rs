//! The list of organizations, with the plan, the licenses and the seats of each.

use axum::response::Response;
use serde_json::Value;

use crate::console::generic::list;
use crate::console::generic::table::Beside;
use crate::console::html::{html, quantity, scalar};
use crate::console::scene::Scene;
use crate::console::view::{View, query, text};
use crate::kernel::error::Result;

crate::pages! { customers:
    /// Finds one customer among many.
    GET "/organizations" calls [organizations.list, overview.organizations] => page;
}

async fn page(view: &mut View) -> Result<Response> {
    let scene = Scene::enter(view).await?;
    // Other callers see their own organizations, of which the platform's summary says nothing.
    let beside: Option<list::ReadBeside> = match view.ops.caller.is_of_platform() {
        true => Some(|view, items| Box::pin(beside(view, items))),
        false => None,
    };
    list::page(view, scene, list::ByHand { beside, ..list::ByHand::default() }).await
}

/// Reads the summaries of the organizations of a page, all at once.
async fn beside(view: &mut View, items: &[Value]) -> Result<Beside> {
    let ids: Vec<&str> = items.iter().map(|one| text(one, "id")).collect();
    let found = match ids.is_empty() {
        true => Value::Null,
        false => {
            let ids = query([("ids", &*ids.join(","))]);
            view.visible("overview.organizations", &[], &ids).await?
        }
    };
    let cells = |one: &Value| {
        let seats = html! {
            span.num { (quantity(&one["used_seats"])) " of " (quantity(&one["seats"])) }
        };
        vec![scalar(&one["plan_code"]), scalar(&one["licenses"]), seats]
    };
    let cells = found["organizations"].as_array().into_iter().flatten().map(cells).collect();
    let titles: &[&str] = if found.is_null() { &[] } else { &["Plan", "Licenses", "Seats"] };
    let (members, numbers) = (&["name", "status"], &["Licenses", "Seats"]);
    Ok(Beside { members, titles, numbers, since: "Since", cells })
}
