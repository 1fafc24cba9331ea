//! Suspending an organization, and reactivating it.

use axum::response::Response;
use cp_contracts::ProblemCode;
use serde_json::{Map, Value};

use crate::console::affected;
use crate::console::generic::edit;
use crate::console::generic::tasks::Task;
use crate::console::scene::Scene;
use crate::console::view::View;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::Seen;

crate::pages! { suspension:
    /// Asks why the organization is suspended.
    GET "/organizations/{org}/suspend" calls [organizations.update, organizations.read, licenses.affected] => ask;
    /// Suspends the organization.
    POST "/organizations/{org}/suspend" calls [organizations.update, organizations.read, licenses.affected] => change;
    /// Asks whether to reactivate the organization.
    GET "/organizations/{org}/reactivate" calls [organizations.update, organizations.read, licenses.affected] => ask;
    /// Reactivates the organization.
    POST "/organizations/{org}/reactivate" calls [organizations.update, organizations.read, licenses.affected] => change;
}

async fn ask(view: &mut View) -> Result<Response> {
    let (scene, task) = task(view).await?;
    edit::form(view, &scene, task).await
}

async fn change(view: &mut View) -> Result<Response> {
    let (scene, task) = task(view).await?;
    edit::send(view, &scene, task).await
}

/// Returns the change of the organization's status.
async fn task(view: &mut View) -> Result<(Scene, Task)> {
    let is_suspension = view.path.ends_with("/suspend");
    let own = view.enter_organization(&view.part(0)).await?.to_string();
    let seen: Seen<Value> = view.ops.read("organizations.read", &[&own], "").await?;
    if !view.ops.caller.is_of_platform() {
        let detail = "Only callers of the platform may change the status of an organization.";
        return Err(Error::new(ProblemCode::Forbidden, detail));
    }
    let affected = affected::of_organization(view, &own).await?;
    let name = seen.value["name"].as_str().unwrap_or_default().to_owned();
    let resources = view.resources.clone();
    let operation =
        resources.named("organizations.update").ok_or_else(|| Error::not_found("page"))?;
    let mut task = Task::of(view, operation, vec![own.clone()]);
    task.fields.retain(|field| field.name == "reason");
    let status = if is_suspension { "suspended" } else { "active" };
    task.fixed = Map::from_iter([("status".to_owned(), status.into())]);
    task.tag = seen.tag;
    task.back = format!("/organizations/{own}");
    task.then = task.back.clone();
    if is_suspension {
        task.fields.iter_mut().for_each(|field| field.is_required = true);
        task.title = format!("Suspend the organization {name}");
        task.button = "Suspend the organization".to_owned();
        task.about = "Its licenses are refused, and its people change nothing, until it is \
                      reactivated. Data planes with a network know it within minutes, the others \
                      with their next file."
            .to_owned();
        let is_large = affected.as_ref().is_none_or(|one| one.data_planes() >= affected::MANY);
        task.confirmation = is_large.then(|| name.clone());
        task.affects = affected;
        task.done = format!("The organization {name} was suspended.");
        task.undo = Some((format!("{}/reactivate", task.back), "Reactivate".to_owned()));
    } else {
        task.title = format!("Reactivate the organization {name}");
        task.button = "Reactivate the organization".to_owned();
        let count = affected.map(|one| format!(" This affects {}.", one.text()));
        task.about = format!("Its licenses are in force again.{}", count.unwrap_or_default());
        task.done = format!("The organization {name} was reactivated.");
        task.undo = Some((format!("{}/suspend", task.back), "Suspend".to_owned()));
    }
    let crumbs = vec![
        ("Organizations".to_owned(), Some("/organizations".to_owned())),
        (name, Some(task.back.clone())),
    ];
    Ok((Scene::by_hand("/organizations/{org}", crumbs), task))
}
