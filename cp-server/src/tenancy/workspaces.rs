//! Workspaces: the environments of an organization.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::isolation::Isolation;
use super::organizations;
use crate::kernel::access::caller::Permission;
use crate::kernel::access::ids::{OrganizationId, ProjectId};
use crate::kernel::access::place::{Org, OrgList};
use crate::kernel::clock::after;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Created, NoContent, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::Section;
use crate::kernel::text::{ExternalId, Name, Prose, Slug};
use crate::tenancy::ids::WorkspaceId;

crate::permissions! {
    /// Read workspaces.
    WORKSPACES_READ = "workspaces:read", implied by ["org:read"];
    /// Create and change workspaces.
    WORKSPACES_WRITE = "workspaces:write", implied by ["org:write"];
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "workspaces",
    "workspace",
    Export::Section(Section::many::<Workspace>("workspaces").order("slug, id")),
)
.permissions(PERMISSIONS)
.before_project(|cx, project, to| Box::pin(leave_project(cx, project, to)));

crate::routes! {
    /// The environments of an organization, such as production or demo.
    workspaces declares DECLARATION:
    /// Lists the organization's workspaces.
    GET "/organizations/{org}/workspaces" WORKSPACES_READ => list;
    /// Creates a workspace; the first one becomes the default.
    POST "/organizations/{org}/workspaces" WORKSPACES_WRITE => create;
    /// Reads a workspace.
    GET "/workspaces/{id}" WORKSPACES_READ => read;
    /// Changes a workspace. `is_default: true` replaces the default before.
    PATCH "/workspaces/{id}" WORKSPACES_WRITE => update;
    /// Deletes a workspace and its memberships. The default workspace can be deleted only if it is
    /// the last.
    DELETE "/workspaces/{id}" WORKSPACES_WRITE => delete;
    /// Returns the authorization revision of a workspace, which shows whether cached answers are
    /// current.
    GET "/workspaces/{id}/rbac-revision" USERS_WHOAMI => rbac_revision, machine;
}

crate::text_enum! { WorkspaceType {
    Prod = "prod", Demo = "demo", Trial = "trial", Sandbox = "sandbox",
} }
crate::text_enum! { WorkspaceStatus { Active = "active", Archived = "archived" } }

crate::record! {
    /// An environment of an organization.
    Workspace in workspaces {
        id: WorkspaceId,
        organization_id: OrganizationId,
        project_id: Option<ProjectId>,
        name: String,
        slug: String,
        #[serde(rename = "type")]
        kind: WorkspaceType = "workspaces.type",
        is_default: bool = "EXISTS (SELECT 1 FROM organizations o WHERE o.default_workspace_id = workspaces.id)",
        /// The workspace's own isolation, or the organization's `isolation_level`.
        isolation: Isolation = "COALESCE(NULLIF(workspaces.isolation, 'inherited'), (SELECT o.settings ->> 'isolation_level' FROM organizations o WHERE o.id = workspaces.organization_id), 'standard')",
        path: Option<Prose>,
        status: WorkspaceStatus,
        external_id: Option<ExternalId>,
        rbac_revision: i64,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

impl Resource for Workspace {
    const NOUN: &'static str = "workspace";
    const PATH: &'static str = "workspaces";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceFilter {
    /// Returns the workspaces with this status only.
    status: Option<WorkspaceStatus>,
    /// Returns the workspaces of this type only.
    r#type: Option<WorkspaceType>,
    /// Returns the workspaces of this project only.
    project: Option<ProjectId>,
    /// Returns the workspace with this slug only.
    slug: Option<String>,
    /// Returns the workspace with this external ID only.
    external_id: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWorkspace {
    /// The display name.
    name: Name,
    /// Unique in the organization. Derived from the name when absent.
    slug: Option<Slug>,
    /// The type of the environment; `prod` when absent.
    #[serde(default = "prod")]
    r#type: WorkspaceType,
    /// The isolation; the `isolation_level` of the organization's settings when absent.
    isolation: Option<Isolation>,
    /// The project of the workspace; the whole organization when absent.
    project_id: Option<ProjectId>,
    /// The path of the workspace, in the caller's own words.
    path: Option<Prose>,
    /// The caller's own reference, unique in the organization.
    external_id: Option<ExternalId>,
    /// Whether the workspace becomes the default; false when absent. The first workspace is always
    /// the default.
    #[serde(default)]
    is_default: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkspacePatch {
    /// The new display name.
    name: Option<Name>,
    /// The new slug, unique in the organization.
    slug: Option<Slug>,
    /// The new type of the environment.
    r#type: Option<WorkspaceType>,
    /// The new isolation. Null restores the `isolation_level` of the organization's settings.
    #[serde(default)]
    isolation: Patch<Isolation>,
    /// The new project of the workspace. Null removes it from its project.
    #[serde(default)]
    project_id: Patch<ProjectId>,
    /// The new path of the workspace, in the caller's own words. Null removes it.
    #[serde(default)]
    path: Patch<Prose>,
    /// The new status.
    status: Option<WorkspaceStatus>,
    /// The new reference of the caller's own. Null removes it.
    #[serde(default)]
    external_id: Patch<ExternalId>,
    /// `true` turns the workspace into the default. `false` is refused for the default workspace.
    is_default: Option<bool>,
}

/// The authorization revision of a workspace.
#[derive(Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct RbacRevision {
    revision: i64,
    updated_at: DateTime<Utc>,
}

fn prod() -> WorkspaceType {
    WorkspaceType::Prod
}

/// The stored value of a workspace without an isolation of its own.
const INHERITED: &str = "inherited";

async fn list(
    cx: &mut Cx,
    _: OrgList<WorkspaceId>,
    list: List<WorkspaceFilter>,
) -> Result<Page<Workspace>> {
    let (filter, areas) = (&list.filter, cx.caller.areas(cx.at, Permission::WORKSPACES_READ));
    let query = cx
        .tx
        .select("WHERE organization_id = $1")
        .bind(cx.at)
        .within::<WorkspaceId>(areas)
        .and_some(" AND status = ?", filter.status)
        .and_some(" AND type = ?", filter.r#type)
        .and_some(" AND project_id = ?", filter.project)
        .and_some(" AND slug = ?", filter.slug.as_deref())
        .and_some(" AND external_id = ?", filter.external_id.as_deref());
    list.page(query).await
}

async fn create(cx: &mut Cx, _: Org, new: NewWorkspace) -> Result<Created<Workspace>> {
    let slug = Slug::or_from(new.slug, &new.name)?;
    let id = WorkspaceId::new(&cx.app.random, cx.now);
    let sql = "INSERT INTO workspaces
               (id, organization_id, name, slug, type, isolation, path, status, external_id,
                project_id, rbac_revision, rbac_updated_at, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', $8, $9, 1, $10, $10, $10)";
    let insert = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(new.name)
        .bind(slug)
        .bind(new.r#type)
        .bind(new.isolation.map_or(INHERITED, Isolation::as_str))
        .bind(new.path)
        .bind(new.external_id)
        .bind(new.project_id)
        .bind(cx.now);
    insert.exec().await.map_err(at_project)?;
    organizations::set_default_workspace(cx, id, !new.is_default).await?;
    load(cx, id).await.map(Created)
}

async fn read(cx: &mut Cx, id: WorkspaceId) -> Result<Workspace> {
    load(cx, id).await
}

async fn update(cx: &mut Cx, id: WorkspaceId, patch: WorkspacePatch) -> Result<Workspace> {
    let found = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    let before: Workspace = found.locked().one().await?;
    if patch.is_default == Some(false) && before.is_default {
        let detail = "`is_default` cannot be unset. Set it on another workspace instead.";
        return Err(Error::invalid("is_default", detail));
    }
    let project = patch.project_id.over(before.project_id);
    if project != before.project_id {
        refuse_joining(cx, project).await?;
    }
    let sql = "UPDATE workspaces
               SET name = COALESCE($3, name), slug = COALESCE($4, slug),
                   type = COALESCE($5, type), isolation = COALESCE($6, isolation),
                   path = $7, status = COALESCE($8, status), external_id = $9, updated_at = $10,
                   project_id = $11,
                   rbac_revision = rbac_revision + 1, rbac_updated_at = $10
               WHERE id = $1 AND organization_id = $2";
    let update = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(patch.name)
        .bind(patch.slug)
        .bind(patch.r#type)
        .bind(match patch.isolation {
            Patch::Keep => None,
            Patch::Clear => Some(INHERITED),
            Patch::Set(own) => Some(own.as_str()),
        })
        .bind(patch.path.over(before.path))
        .bind(patch.status)
        .bind(patch.external_id.over(before.external_id))
        .bind(after(before.updated_at, cx.now))
        .bind(project);
    update.exec().await.map_err(at_project)?;
    if patch.is_default == Some(true) {
        organizations::set_default_workspace(cx, id, false).await?;
    }
    load(cx, id).await
}

/// Refuses to move a workspace into a project in which the caller may not change workspaces: the
/// roles on the project then count in the workspace.
async fn refuse_joining(cx: &mut Cx, project: Option<ProjectId>) -> Result<()> {
    let permission = Permission::WORKSPACES_WRITE;
    let Some(project) = project.filter(|_| !cx.caller.may_throughout(cx.at, permission)) else {
        return Ok(());
    };
    let found = cx.caller.in_organization(&mut cx.tx, project, permission).await;
    found.map(drop).map_err(|error| error.at("project_id"))
}

async fn delete(cx: &mut Cx, id: WorkspaceId) -> Result<NoContent> {
    // The condition enforces the rule: a default can be deleted only if no other workspace is left.
    let sql = "DELETE FROM workspaces WHERE id = $1 AND organization_id = $2
               AND (NOT EXISTS (SELECT 1 FROM organizations o WHERE o.default_workspace_id = $1)
                    OR NOT EXISTS (SELECT 1 FROM workspaces w
                                   WHERE w.organization_id = $2 AND w.id <> $1))";
    if cx.tx.q(sql).bind(id).bind(cx.at).exec().await? == 0 {
        let detail =
            "The default workspace can be deleted only last. Make another one the default first.";
        return Err(Error::new(ProblemCode::InUse, detail));
    }
    organizations::forget_default_workspace(cx, id).await?;
    // Its memberships were deleted with it.
    organizations::touch(cx, cx.at).await?;
    Ok(NoContent)
}

async fn rbac_revision(cx: &mut Cx, id: WorkspaceId) -> Result<RbacRevision> {
    let sql = "SELECT rbac_revision AS revision, rbac_updated_at AS updated_at
               FROM workspaces WHERE id = $1 AND organization_id = $2";
    Ok(cx.tx.q(sql).bind(id).bind(cx.at).one().await?)
}

async fn load(cx: &mut Cx, id: WorkspaceId) -> Result<Workspace> {
    let found = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    Ok(found.one().await?)
}

/// Increases the authorization revision: of one workspace, or of all in the organization.
pub async fn bump<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    workspace: Option<WorkspaceId>,
) -> Result<()> {
    let sql = "UPDATE workspaces SET rbac_revision = rbac_revision + 1, rbac_updated_at = $1
               WHERE organization_id = $2";
    let (now, query) = (cx.now, cx.tx.q(sql));
    query.bind(now).bind(organization).and_some(" AND id = ?", workspace).exec().await?;
    organizations::touch(cx, organization).await
}

/// Deletes the workspaces of a project, with their memberships.
async fn leave_project(cx: &mut Cx, project: ProjectId, to: Option<OrganizationId>) -> Result<()> {
    leave_default(cx, project).await?;
    if to.is_some() {
        return Ok(());
    }
    let sql = "DELETE FROM workspaces WHERE organization_id = $1 AND project_id = $2";
    cx.tx.q(sql).bind(cx.at).bind(project).exec().await?;
    Ok(())
}

/// Moves the organization's default away from a project whose workspaces leave: the oldest of the
/// other workspaces becomes the default, if there is one.
async fn leave_default(cx: &mut Cx, project: ProjectId) -> Result<()> {
    let sql = "SELECT w.id FROM workspaces w JOIN organizations o ON o.default_workspace_id = w.id
               WHERE w.organization_id = $1 AND w.project_id = $2";
    let default: Option<WorkspaceId> = cx.tx.q(sql).bind(cx.at).bind(project).value().await?;
    let Some(default) = default else { return Ok(()) };
    organizations::forget_default_workspace(cx, default).await?;
    let sql = "SELECT id FROM workspaces
               WHERE organization_id = $1 AND (project_id IS NULL OR project_id <> $2)
               ORDER BY id LIMIT 1";
    let next: Option<WorkspaceId> = cx.tx.q(sql).bind(cx.at).bind(project).value().await?;
    match next {
        Some(next) => organizations::set_default_workspace(cx, next, true).await,
        None => Ok(()),
    }
}

/// Besides its organization, a workspace refers only to its project.
fn at_project(error: sqlx::Error) -> Error {
    match Error::from(error) {
        error if *error.code() == ProblemCode::NotFound => {
            Error::new(ProblemCode::NotFound, "`project_id`: project not found").at("project_id")
        }
        error => error,
    }
}
