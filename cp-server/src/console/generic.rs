//! The generated pages: any path of the table has a list, a detail or a form.

pub(in crate::console) mod detail;
pub(super) mod edit;
mod effects;
mod fields;
pub(super) mod history;
pub(super) mod list;
mod offers;
pub(super) mod once;
mod preview;
pub(super) mod suggestions;
pub(super) mod table;
pub(super) mod tasks;

use axum::http::Method;
use axum::response::Response;

use super::scene::Scene;
use super::view::View;
use crate::kernel::error::{Error, Result};

/// Answers GET for any path.
pub(super) async fn get(view: &mut View) -> Result<Response> {
    let mut scene = Scene::enter(view).await?;
    if let Some(task) = tasks::of(view, &scene).await? {
        scene.refresh(view);
        return edit::form(view, &scene, task).await;
    }
    let resources = view.resources.clone();
    match resources.on(scene.template, &Method::GET) {
        Some(_) if resources.collection(scene.template).is_some() => {
            list::page(view, scene, list::ByHand::default()).await
        }
        Some(read) => detail::page(view, scene, read).await,
        None => Err(Error::not_found("page")),
    }
}

/// Answers POST for any path that has a form.
pub(super) async fn post(view: &mut View) -> Result<Response> {
    let mut scene = Scene::enter(view).await?;
    match tasks::of(view, &scene).await? {
        Some(task) => {
            scene.refresh(view);
            edit::send(view, &scene, task).await
        }
        None => Err(Error::not_found("page")),
    }
}
