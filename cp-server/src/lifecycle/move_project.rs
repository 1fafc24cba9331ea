//! The move of a project to another organization, and its deletion, in all slices.

use schemars::JsonSchema;
use serde::Deserialize;

use super::purge::before_project;
use crate::kernel::access::caller::Permission;
use crate::kernel::access::ids::ProjectId;
use crate::kernel::access::place::{Org, PathTarget};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::NoContent;
use crate::kernel::http::cx::Cx;
use crate::tenancy::organizations;
use crate::tenancy::projects::{self, Project};

crate::routes! { projects:
    /// Deletes a project with its workspaces, artifacts, grants and usage limits.
    ///
    /// Its usage stays with the organization, with the project's ID in `dims`. Audit events stay.
    DELETE "/projects/{id}" PROJECTS_DELETE => delete;
    /// Moves a project to another organization, if that organization's quotas allow it.
    ///
    /// The project's workspaces, artifacts and usage limits move with it. Its grants, its
    /// workspaces' members and its teams do not. Its usage stays with the old organization. The
    /// project is gone from there, so a move requires the permission to delete it.
    POST "/projects/{id}/move" PROJECTS_DELETE => move_to as "projects.move";
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The ID or slug of the target organization. The caller needs `projects:write` there too.
    organization: String,
}

async fn delete(cx: &mut Cx, id: ProjectId) -> Result<NoContent> {
    before_project(cx, id, None).await?;
    projects::end(cx, id).await?;
    Ok(NoContent)
}

async fn move_to(cx: &mut Cx, id: ProjectId, to: Move) -> Result<Project> {
    let caller = cx.caller.clone();
    let to = Org::named(to.organization);
    let to = to.authorize(&caller, &mut cx.tx, Permission::PROJECTS_WRITE).await;
    let to = to.map_err(|error| error.at("organization"))?;
    if to == cx.at {
        let detail = "`organization` must be another organization. The project is in this one.";
        return Err(Error::invalid("organization", detail));
    }
    // Always the lesser ID first, so that two moves in opposite directions do not deadlock.
    for organization in [to.min(cx.at), to.max(cx.at)] {
        organizations::touch(cx, organization).await?;
    }
    before_project(cx, id, Some(to)).await?;
    projects::give(cx, id, to).await
}
