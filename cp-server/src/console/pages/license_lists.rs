//! The lists of licenses: each license by its name, whether it is in force, and its end.

use std::collections::BTreeMap;

use axum::response::Response;
use serde_json::Value;

use crate::console::generic::list;
use crate::console::generic::table::Beside;
use crate::console::html::{html, short_time};
use crate::console::scene::Scene;
use crate::console::view::{View, items, text};
use crate::console::words;
use crate::kernel::error::Result;

crate::pages! { license_lists:
    /// The licenses of all organizations.
    GET "/licenses" calls [licenses.list_all] => page;
    /// The licenses of an organization.
    GET "/organizations/{org}/licenses" calls [licenses.list, deployments.list, organizations.read] => page;
}

async fn page(view: &mut View) -> Result<Response> {
    let scene = Scene::enter(view).await?;
    let prepare: list::Prepare = |view, items| Box::pin(name(view, items));
    let beside: list::ReadBeside = |view, items| Box::pin(beside(view, items));
    let by_hand =
        list::ByHand { prepare: Some(prepare), beside: Some(beside), ..list::ByHand::default() };
    list::page(view, scene, by_hand).await
}

/// Names licenses after their deployments. One read has the deployments of an organization.
async fn name(view: &mut View, licenses: &mut [Value]) -> Result<()> {
    let Some(own) = view.in_view().map(|own| own.to_string()) else { return Ok(()) };
    if licenses.iter().all(|license| license["name"].is_string()) {
        return Ok(());
    }
    let found = items(&view.visible("deployments.list", &[&own], "limit=500").await?);
    let names: BTreeMap<&str, &Value> =
        found.iter().map(|one| (text(one, "id"), &one["name"])).collect();
    for license in licenses.iter_mut().filter(|license| license["name"].is_null()) {
        let name = names.get(text(license, "deployment_id")).map(|name| (*name).clone());
        license["name"] = name.unwrap_or_default();
    }
    Ok(())
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
