//! Grants: what a team may do on a project.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::escalation::{self, Granted, On};
use super::memberships::row::MembershipRole;
use super::role_grants::privileges_of;
use super::roles::row::{self as roles, Role, RoleScope};
use crate::identity::ids::RoleId;
use crate::kernel::access::ids::ProjectId;
use crate::kernel::db::record::Record;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{NoContent, Put, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, NoFilter, Page};
use crate::kernel::section::{Child, Section};
use crate::tenancy::ids::GroupId;
use crate::tenancy::organizations;
use crate::tenancy::projects::Project;

pub static DECLARATION: Declaration = Declaration::of_organization(
    "project_grants",
    "grant",
    Export::Section(
        Section::tree::<Project, ProjectTeam>("projects")
            .order("projects.slug, project_grants.group_id"),
    ),
)
.before_project(|cx, project, _| Box::pin(leave_project(cx, project)));

/// A team that has a role on a project.
#[derive(Debug, Serialize, JsonSchema, sqlx::FromRow)]
struct ProjectTeam {
    group_id: GroupId,
    /// The role's code.
    role: String,
}

impl Child for ProjectTeam {
    const MEMBER: &'static str = "groups";
    const FROM: &'static str = "projects
        LEFT JOIN project_grants ON project_grants.project_id = projects.id
        LEFT JOIN roles ON roles.id = project_grants.role_id";
    const COLUMNS: &'static str = "project_grants.group_id, roles.code AS role";
    const PRESENT: &'static str = "group_id";
}

crate::routes! { projects declares DECLARATION:
    /// Lists the teams that have a role on the project.
    GET "/projects/{id}/groups" PROJECTS_READ => list_groups;
    /// Grants a team a role on the project, or changes it.
    PUT "/projects/{id}/groups/{group_id}" PROJECTS_WRITE => grant, grants;
    /// Takes a team's role on the project away.
    DELETE "/projects/{id}/groups/{group_id}" PROJECTS_WRITE => withdraw;
}

/// A team's role on a project.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProjectGrant {
    project_id: ProjectId,
    group_id: GroupId,
    group_name: String,
    group_slug: String,
    role: MembershipRole,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Resource for ProjectGrant {
    const NOUN: &'static str = "project grant";
    const PATH: &'static str = "projects";
    fn name(&self) -> String {
        format!("{}/groups/{}", self.project_id, self.group_id)
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Granting {
    /// A role of projects, by id, code or short form; `viewer` when absent.
    role: Option<String>,
}

const VIEWER: &str = "PROJECT_VIEWER";

async fn list_groups(
    cx: &mut Cx,
    id: ProjectId,
    list: List<NoFilter>,
) -> Result<Page<ProjectGrant>> {
    let query = cx
        .tx
        .select("WHERE project_grants.project_id = $1 AND project_grants.organization_id = $2")
        .bind(id)
        .bind(cx.at);
    let page: Page<Row> = list.page(query).await?;
    Ok(page.map(ProjectGrant::from))
}

async fn grant(
    cx: &mut Cx,
    (project, group): (ProjectId, GroupId),
    granting: Granting,
) -> Result<Put<ProjectGrant>> {
    let name = granting.role.as_deref().unwrap_or(VIEWER);
    let role = roles::resolve(cx, cx.at, RoleScope::Project, name).await?;
    refuse_grant(cx, project, &role).await?;
    let role = role.id;
    let known = find(cx, project, group).await?;
    if let Some(before) = &known {
        let before = roles::load(cx, before.role_id).await?;
        refuse_grant(cx, project, &before).await?;
    }
    let known = known.is_some();
    let sql = "INSERT INTO project_grants
               (organization_id, project_id, group_id, role_id, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $5)
               ON CONFLICT (project_id, group_id) DO UPDATE
               SET role_id = excluded.role_id, updated_at = excluded.updated_at";
    let upsert = cx.tx.q(sql).bind(cx.at).bind(project).bind(group).bind(role).bind(cx.now);
    // The project was found by the path, so what is missing is the group.
    upsert.exec().await.map_err(|error| match Error::from(error) {
        error if *error.code() == cp_contracts::ProblemCode::NotFound => Error::not_found("group"),
        error => error,
    })?;
    organizations::touch(cx, cx.at).await?;
    let granted = find(cx, project, group).await?.ok_or_else(Error::stale)?.into();
    Ok(if known { Put::Known(granted) } else { Put::New(granted) })
}

async fn withdraw(cx: &mut Cx, (project, group): (ProjectId, GroupId)) -> Result<NoContent> {
    let found = find(cx, project, group).await?.ok_or_else(|| Error::not_found("group"))?;
    let role = roles::load(cx, found.role_id).await?;
    refuse_grant(cx, project, &role).await?;
    cx.trail.before = serde_json::to_value(ProjectGrant::from(found)).ok();
    let sql = "DELETE FROM project_grants
               WHERE organization_id = $1 AND project_id = $2 AND group_id = $3";
    cx.tx.q(sql).bind(cx.at).bind(project).bind(group).exec().await?;
    organizations::touch(cx, cx.at).await?;
    Ok(NoContent)
}

/// Refuses a role on the project that gives what the caller does not hold there. Its rank orders roles
/// of projects only.
async fn refuse_grant(cx: &mut Cx, project: ProjectId, role: &Role) -> Result<()> {
    let privileges = privileges_of(role.permissions.iter(), 0);
    let granted = vec![Granted { on: On::Project(project), privileges, field: "role" }];
    escalation::refuse_more(&cx.caller, &mut cx.tx, cx.at, granted).await
}

async fn find(cx: &mut Cx, project: ProjectId, group: GroupId) -> Result<Option<Row>> {
    let tail = "WHERE project_grants.organization_id = $1 AND project_grants.project_id = $2
                  AND project_grants.group_id = $3";
    Ok(cx.tx.select(tail).bind(cx.at).bind(project).bind(group).opt().await?)
}

/// Ends every grant on a project that goes to another organization: its teams stay behind.
async fn leave_project(cx: &mut Cx, project: ProjectId) -> Result<()> {
    let sql = "DELETE FROM project_grants WHERE organization_id = $1 AND project_id = $2";
    cx.tx.q(sql).bind(cx.at).bind(project).exec().await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    project_id: ProjectId,
    group_id: GroupId,
    group_name: String,
    group_slug: String,
    role_id: RoleId,
    role_code: String,
    role_name: String,
    role_rank: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Record for Row {
    const TABLE: &'static str = "project_grants
        JOIN groups ON groups.id = project_grants.group_id
        JOIN roles ON roles.id = project_grants.role_id";
    const COLUMNS: &'static str = "project_grants.project_id, project_grants.group_id,
        groups.name AS group_name, groups.slug AS group_slug, project_grants.role_id,
        roles.code AS role_code, roles.name AS role_name, roles.rank AS role_rank,
        project_grants.created_at, project_grants.updated_at";
    const KEY: &'static str = "project_grants.group_id";
    fn key(&self) -> Uuid {
        self.group_id.0
    }
}

impl From<Row> for ProjectGrant {
    fn from(row: Row) -> Self {
        let (id, code) = (row.role_id, row.role_code);
        Self {
            project_id: row.project_id,
            group_id: row.group_id,
            group_name: row.group_name,
            group_slug: row.group_slug,
            role: MembershipRole { id, code, name: row.role_name, rank: row.role_rank },
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
