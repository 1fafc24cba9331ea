//! Projects: the units of work of an organization.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::organizations;
use super::quotas::{self, Metric};
use crate::kernel::access::caller::Permission;
use crate::kernel::access::ids::{OrganizationId, ProjectId};
use crate::kernel::access::place::{Org, OrgList};
use crate::kernel::clock::after;
use crate::kernel::db::record::Object;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::Result;
use crate::kernel::http::answer::{Created, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::http::page::{List, Page};
use crate::kernel::text::{ExternalId, Name, Prose, Reference, Slug};

crate::permissions! {
    /// Read projects.
    PROJECTS_READ = "projects:read",
        held by ["ORGANIZATION_VIEWER", "WORKSPACE_VIEWER", "PROJECT_VIEWER"];
    /// Create, change and move projects, and grant teams roles on them.
    PROJECTS_WRITE = "projects:write",
        held by ["ORGANIZATION_MEMBER", "WORKSPACE_MEMBER", "PROJECT_MEMBER"];
    /// Delete projects.
    PROJECTS_DELETE = "projects:delete",
        held by ["ORGANIZATION_ADMIN", "WORKSPACE_ADMIN", "PROJECT_ADMIN"];
}

/// The export lists projects with their teams, whose table is `project_grants`.
pub static DECLARATION: Declaration =
    Declaration::of_organization("projects", "project", Export::Within("project_grants"))
        .permissions(PERMISSIONS);

crate::routes! {
    /// The units of work of an organization, and the roles that teams have on them.
    projects declares DECLARATION:
    /// Lists the organization's projects.
    GET "/organizations/{org}/projects" PROJECTS_READ => list;
    /// Creates a project, which counts against the quota.
    POST "/organizations/{org}/projects" PROJECTS_WRITE => create, local;
    /// Reads a project.
    GET "/projects/{id}" PROJECTS_READ => read;
    /// Changes a project. `metadata` is merged member by member; null removes a member.
    PATCH "/projects/{id}" PROJECTS_WRITE => update, local;
}

crate::text_enum! { WorkspaceMode {
    LocalPath = "local_path", Clone = "clone", Worktree = "worktree",
} }
crate::text_enum! { GitMode { Hidden = "hidden", Basic = "basic", Advanced = "advanced" } }

crate::record! {
    /// A project: a unit of work.
    Project in projects {
        id: ProjectId,
        organization_id: OrganizationId,
        name: String,
        slug: String,
        description: Option<Prose>,
        repo_url: Option<Reference>,
        default_branch: Option<Reference>,
        local_path: Option<Prose>,
        workspace_mode: Option<WorkspaceMode>,
        git_mode: Option<GitMode>,
        external_id: Option<ExternalId>,
        metadata: Object,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

impl Resource for Project {
    const NOUN: &'static str = "project";
    const PATH: &'static str = "projects";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectFilter {
    /// Returns the project with this slug only.
    slug: Option<String>,
    /// Returns the project with this external ID only.
    external_id: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// The display name.
    name: Name,
    /// Unique in the organization. Derived from the name when absent.
    slug: Option<Slug>,
    /// A description, up to 4,000 characters.
    description: Option<Prose>,
    /// The location of the code: a URL, or another address that git accepts.
    repo_url: Option<Reference>,
    /// The branch that a checkout uses.
    default_branch: Option<Reference>,
    /// The path of the code on the caller's machine.
    local_path: Option<Prose>,
    /// The way in which the code gets into a workspace.
    workspace_mode: Option<WorkspaceMode>,
    /// The git functions that the caller's product shows.
    git_mode: Option<GitMode>,
    /// The caller's own reference, unique in the organization.
    external_id: Option<ExternalId>,
    /// Additional members of the caller's own; empty when absent.
    #[serde(default)]
    metadata: Map<String, Value>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectPatch {
    /// The new display name.
    name: Option<Name>,
    /// The new slug, unique in the organization.
    slug: Option<Slug>,
    /// The new description, up to 4,000 characters. Null removes it.
    #[serde(default)]
    description: Patch<Prose>,
    /// The new location of the code: a URL, or another address that git accepts. Null removes it.
    #[serde(default)]
    repo_url: Patch<Reference>,
    /// The new branch that a checkout uses. Null removes it.
    #[serde(default)]
    default_branch: Patch<Reference>,
    /// The new path of the code on the caller's machine. Null removes it.
    #[serde(default)]
    local_path: Patch<Prose>,
    /// The new way in which the code gets into a workspace. Null removes it.
    #[serde(default)]
    workspace_mode: Patch<WorkspaceMode>,
    /// The new git functions that the caller's product shows. Null removes them.
    #[serde(default)]
    git_mode: Patch<GitMode>,
    /// The new reference of the caller's own. Null removes it.
    #[serde(default)]
    external_id: Patch<ExternalId>,
    /// Metadata to merge member by member; null removes a member. Absent members stay.
    #[serde(default)]
    metadata: Map<String, Value>,
}

async fn list(
    cx: &mut Cx,
    _: OrgList<ProjectId>,
    list: List<ProjectFilter>,
) -> Result<Page<Project>> {
    let (filter, areas) = (&list.filter, cx.caller.areas(cx.at, Permission::PROJECTS_READ));
    let query = cx
        .tx
        .select("WHERE organization_id = $1")
        .bind(cx.at)
        .within::<ProjectId>(areas)
        .and_some(" AND slug = ?", filter.slug.as_deref())
        .and_some(" AND external_id = ?", filter.external_id.as_deref());
    list.page(query).await
}

async fn create(cx: &mut Cx, _: Org, new: NewProject) -> Result<Created<Project>> {
    let slug = Slug::or_from(new.slug, &new.name)?;
    let metadata = Object::default().merged("metadata", new.metadata)?;
    quotas::hold(cx, cx.at, Metric::Projects).await?;
    let sql = "INSERT INTO projects
               (id, organization_id, name, slug, description, repo_url, default_branch, local_path,
                workspace_mode, git_mode, external_id, metadata, created_at, updated_at)
               SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13
               WHERE (SELECT q.quantity IS NULL OR q.quantity >
                             (SELECT COUNT(*) FROM projects p WHERE p.organization_id = $2)
                      FROM quotas q WHERE q.organization_id = $2 AND q.metric = 'projects')";
    let insert = cx
        .tx
        .returning(sql)
        .bind(ProjectId::new(&cx.app.random, cx.now))
        .bind(cx.at)
        .bind(new.name)
        .bind(slug)
        .bind(new.description)
        .bind(new.repo_url)
        .bind(new.default_branch)
        .bind(new.local_path)
        .bind(new.workspace_mode)
        .bind(new.git_mode)
        .bind(new.external_id)
        .bind(metadata)
        .bind(cx.now);
    match insert.opt().await? {
        Some(project) => Ok(Created(project)),
        None => Err(quotas::exceeded(cx, cx.at, Metric::Projects, 1).await),
    }
}

async fn read(cx: &mut Cx, id: ProjectId) -> Result<Project> {
    load(cx, id).await
}

async fn update(cx: &mut Cx, id: ProjectId, patch: ProjectPatch) -> Result<Project> {
    let found = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    let before: Project = found.locked().one().await?;
    let metadata = before.metadata.merged("metadata", patch.metadata)?;
    let sql = "UPDATE projects
               SET name = COALESCE($3, name), slug = COALESCE($4, slug), description = $5,
                   repo_url = $6, default_branch = $7, local_path = $8, workspace_mode = $9,
                   git_mode = $10, external_id = $11, metadata = $12, updated_at = $13
               WHERE id = $1 AND organization_id = $2";
    let update = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(cx.at)
        .bind(patch.name)
        .bind(patch.slug)
        .bind(patch.description.over(before.description))
        .bind(patch.repo_url.over(before.repo_url))
        .bind(patch.default_branch.over(before.default_branch))
        .bind(patch.local_path.over(before.local_path))
        .bind(patch.workspace_mode.over(before.workspace_mode))
        .bind(patch.git_mode.over(before.git_mode))
        .bind(patch.external_id.over(before.external_id))
        .bind(metadata)
        .bind(after(before.updated_at, cx.now));
    Ok(update.one().await?)
}

/// Ends the project, and its rows in this slice.
pub async fn end(cx: &mut Cx, id: ProjectId) -> Result<()> {
    let sql = "DELETE FROM projects WHERE id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(id).bind(cx.at).exec().await?;
    organizations::touch(cx, cx.at).await
}

pub async fn load(cx: &mut Cx, id: ProjectId) -> Result<Project> {
    let found = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    Ok(found.one().await?)
}

/// Returns the number of the organization's projects.
pub async fn count(cx: &mut Cx) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM projects WHERE organization_id = $1";
    Ok(cx.tx.q(sql).bind(cx.at).value().await?.unwrap_or(0))
}

/// Moves the project to another organization, if its quota has room. The foreign keys move the
/// project's own rows.
pub async fn give(cx: &mut Cx, id: ProjectId, to: OrganizationId) -> Result<Project> {
    let before = load(cx, id).await?;
    quotas::hold(cx, to, Metric::Projects).await?;
    let sql = "UPDATE projects SET organization_id = $3, updated_at = $4
               WHERE id = $1 AND organization_id = $2
                 AND (SELECT q.quantity IS NULL OR q.quantity >
                             (SELECT COUNT(*) FROM projects p WHERE p.organization_id = $3)
                      FROM quotas q WHERE q.organization_id = $3 AND q.metric = 'projects')";
    let at = after(before.updated_at, cx.now);
    let update = cx.tx.returning(sql).bind(id).bind(cx.at).bind(to).bind(at);
    match update.opt().await? {
        Some(project) => Ok(project),
        None => Err(quotas::exceeded(cx, to, Metric::Projects, 1).await),
    }
}
