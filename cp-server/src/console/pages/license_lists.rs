//! The lists of licenses: each license by its name, whether it is in force, and its end.

use axum::response::Response;
use serde_json::Value;

use crate::console::generic::list;
use crate::console::generic::table::Beside;
use crate::console::html::{html, short_time};
use crate::console::scene::Scene;
use crate::console::view::{View, text};
use crate::console::words;
use crate::kernel::error::Result;

crate::pages! { license_lists:
    /// The licenses of all organizations.
    GET "/licenses" calls [licenses.list_all] => page;
    /// The licenses of an organization.
    GET "/organizations/{org}/licenses" calls [licenses.list, organizations.read] => page;
}

async fn page(view: &mut View) -> Result<Response> {
    let scene = Scene::enter(view).await?;
    let beside: list::ReadBeside = |view, items| Box::pin(beside(view, items));
    list::page(view, scene, list::ByHand { beside: Some(beside), ..Default::default() }).await
}

async fn beside(view: &mut View, licenses: &[Value]) -> Result<Beside> {
    let now = view.now;
    let cells = |license: &Value| {
        let coverage = &license["coverage"];
        let is_covered = coverage["covered"] == true;
        let reason = coverage["reason"].as_str().map_or_else(|| "no".to_owned(), words::spaced);
        let until = words::parse_instant(text(license, "valid_until"));
        vec![
            html! { span class=(if is_covered { "state ok" } else { "state bad" }) { (if is_covered { "yes" } else { &reason }) } },
            html! { @match until { Some(at) => (short_time(at, now)), None => span.quiet { "no end" } } },
        ]
    };
    let cells = licenses.iter().map(cells).collect();
    let (members, titles) = (&["name", "status"], &["In force", "Ends"]);
    Ok(Beside { members, titles, numbers: &[], since: "Created", cells })
}
