//! Suspending an organization, and reactivating it.

use axum::response::Response;
use serde_json::{Map, Value};

use crate::console::generic::edit;
use crate::console::generic::tasks::Task;
use crate::console::scene::Scene;
use crate::console::view::View;
use crate::console::words;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::Seen;

crate::pages! { suspension:
    /// Asks why the organization is suspended.
    GET "/organizations/{org}/suspend" calls [organizations.update, organizations.read, overview.organization] => ask_suspend;
    /// Suspends the organization.
    POST "/organizations/{org}/suspend" calls [organizations.update, organizations.read, overview.organization] => suspend;
    /// Asks whether to reactivate the organization.
    GET "/organizations/{org}/reactivate" calls [organizations.update, organizations.read, overview.organization] => ask_reactivate;
    /// Reactivates the organization.
    POST "/organizations/{org}/reactivate" calls [organizations.update, organizations.read, overview.organization] => reactivate;
}

/// From this number of data planes on, a suspension asks for the name of the organization.
const MANY: i64 = 10;

async fn ask_suspend(view: &mut View) -> Result<Response> {
    let (scene, task) = task(view, "suspended").await?;
    edit::form(view, &scene, task).await
}

async fn suspend(view: &mut View) -> Result<Response> {
    let (scene, task) = task(view, "suspended").await?;
    edit::send(view, &scene, task).await
}

async fn ask_reactivate(view: &mut View) -> Result<Response> {
    let (scene, task) = task(view, "active").await?;
    edit::form(view, &scene, task).await
}

async fn reactivate(view: &mut View) -> Result<Response> {
    let (scene, task) = task(view, "active").await?;
    edit::send(view, &scene, task).await
}

/// Returns the change of the organization's status.
async fn task(view: &mut View, status: &str) -> Result<(Scene, Task)> {
    let own = view.enter_organization(&view.part(0)).await?.to_string();
    let seen: Seen<Value> = view.ops.read("organizations.read", &[&own], "").await?;
    let overview = view.visible("overview.organization", &[&own], "").await?;
    let planes = overview["deployments"]["value"].as_i64().unwrap_or(0);
    let name = seen.value["name"].as_str().unwrap_or_default().to_owned();
    let resources = view.resources.clone();
    let operation =
        resources.named("organizations.update").ok_or_else(|| Error::not_found("page"))?;
    let mut task = Task::of(view, operation, vec![own.clone()]);
    task.fields.retain(|field| field.name == "reason");
    task.fixed = Map::from_iter([("status".to_owned(), Value::from(status))]);
    task.tag = seen.tag;
    task.back = format!("/organizations/{own}");
    task.then = task.back.clone();
    let count = words::count(usize::try_from(planes).unwrap_or(0), "data plane");
    if status == "suspended" {
        task.fields.iter_mut().for_each(|field| field.is_required = true);
        task.title = format!("Suspend the organization {name}");
        task.button = "Suspend the organization".to_owned();
        task.about = format!(
            "Its licenses are refused, and its people change nothing, until it is reactivated. It has \
             {count}. Those with a network know it within minutes, the others with their next file."
        );
        task.confirmation = (planes >= MANY).then(|| name.clone());
        task.done = format!("The organization {name} was suspended.");
        task.undo = Some((format!("{}/reactivate", task.back), "Reactivate".to_owned()));
    } else {
        task.title = format!("Reactivate the organization {name}");
        task.button = "Reactivate the organization".to_owned();
        task.about = format!("Its licenses are in force again. It has {count}.");
        task.done = format!("The organization {name} was reactivated.");
        task.undo = Some((format!("{}/suspend", task.back), "Suspend".to_owned()));
    }
    let crumbs = vec![
        ("Organizations".to_owned(), Some("/organizations".to_owned())),
        (name, Some(task.back.clone())),
    ];
    Ok((Scene::by_hand("/organizations/{org}", crumbs), task))
}
