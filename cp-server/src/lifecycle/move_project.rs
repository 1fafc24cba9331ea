//! Moves a project to another organization, or ends it, in all slices.

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
    /// Its usage stays the organization's, with the project's id in `dims`. Audit events stay.
    DELETE "/projects/{id}" PROJECTS_DELETE => delete;
    /// Moves a project to another organization, if its quotas have room.
    ///
    /// Its workspaces, artifacts and usage limits come along; who has a place in them, and its teams,
    /// do not. Its usage stays where it was used. Here it is gone, so it takes what deleting it takes.
    POST "/projects/{id}/move" PROJECTS_DELETE => move_to as "projects.move";
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The id or slug of an organization in which the caller may write projects too.
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
        return Err(Error::invalid("organization", "organization: the project is there already"));
    }
    // Always the lesser id first: two moves in opposite directions do not wait for each other.
    for organization in [to.min(cx.at), to.max(cx.at)] {
        organizations::touch(cx, organization).await?;
    }
    before_project(cx, id, Some(to)).await?;
    projects::give(cx, id, to).await
}
