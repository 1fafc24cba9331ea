//! Artifacts: the files of a project's runs. The storage quota limits their sizes.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::quotas::{self, Metric, Mode};
use crate::kernel::access::areas::AreaKind;
use crate::kernel::access::caller::Permission;
use crate::kernel::access::ids::{OrganizationId, ProjectId};
use crate::kernel::access::place::OrgList;
use crate::kernel::db::record::Object;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::Result;
use crate::kernel::http::answer::{Created, NoContent, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Between;
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::Section;
use crate::kernel::text::{Prose, Reference};

crate::ids! {
    ArtifactId, "artifact" of artifacts.organization_id in &[AreaKind::Project],
        "SELECT 'project' AS kind, a.project_id AS id FROM artifacts a WHERE a.id = $1";
}

crate::permissions! {
    /// Read artifacts.
    ARTIFACTS_READ = "artifacts:read",
        held by ["ORGANIZATION_VIEWER", "WORKSPACE_VIEWER", "PROJECT_VIEWER"];
    /// Create artifacts.
    ARTIFACTS_WRITE = "artifacts:write",
        held by ["ORGANIZATION_MEMBER", "WORKSPACE_MEMBER", "PROJECT_MEMBER"];
    /// Delete artifacts.
    ARTIFACTS_DELETE = "artifacts:delete",
        held by ["ORGANIZATION_ADMIN", "WORKSPACE_ADMIN", "PROJECT_ADMIN"];
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "artifacts",
    "artifact",
    Export::Section(Section::many::<Artifact>("artifacts")),
)
.permissions(PERMISSIONS)
.before_project(|cx, project, to| Box::pin(leave_project(cx, project, to)));

crate::routes! {
    /// The files of the runs of a project, which the storage quota counts.
    artifacts declares DECLARATION:
    /// Lists the organization's artifacts.
    GET "/organizations/{org}/artifacts" ARTIFACTS_READ => list;
    /// Records an artifact; its size counts against the storage quota.
    POST "/projects/{id}/artifacts" ARTIFACTS_WRITE => create, harmless;
    /// Reads an artifact.
    GET "/artifacts/{id}" ARTIFACTS_READ => read;
    /// Deletes an artifact and returns its storage to the quota.
    DELETE "/artifacts/{id}" ARTIFACTS_DELETE => delete, harmless;
}

crate::record! {
    /// An artifact of a step of a run.
    Artifact in artifacts {
        id: ArtifactId,
        organization_id: OrganizationId,
        project_id: ProjectId,
        run_id: Reference,
        step_id: Reference,
        #[serde(rename = "type")]
        kind: Reference = "artifacts.type",
        path: Prose,
        size_bytes: i64,
        mime_type: Option<Reference>,
        metadata: Object,
        created_at: DateTime<Utc>,
    }
}

impl Resource for Artifact {
    const NOUN: &'static str = "artifact";
    const PATH: &'static str = "artifacts";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactFilter {
    /// Returns the artifacts of this project only.
    project: Option<ProjectId>,
    /// Returns the artifacts of this run only: an exact match of `run_id`.
    run: Option<String>,
    /// Returns the artifacts of this step only: an exact match of `step_id`.
    step: Option<String>,
    /// Returns the artifacts of this type only: an exact match.
    r#type: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewArtifact {
    /// The run that created the artifact, in the caller's own words.
    run_id: Reference,
    /// The step of the run, in the caller's own words.
    step_id: Reference,
    /// The type of the artifact, in the caller's own words, such as `report`.
    r#type: Reference,
    /// The path at which the caller stores the artifact.
    path: Prose,
    /// The size in bytes, from 0 to 2^53; 0 when absent. It counts against the storage quota.
    size_bytes: Option<Between<0, { 1 << 53 }>>,
    /// The media type, such as `text/html`.
    mime_type: Option<Reference>,
    /// Additional members of the caller's own; empty when absent.
    #[serde(default)]
    metadata: Map<String, Value>,
}

async fn list(
    cx: &mut Cx,
    _: OrgList<ArtifactId>,
    list: List<ArtifactFilter>,
) -> Result<Page<Artifact>> {
    let (filter, areas) = (&list.filter, cx.caller.areas(cx.at, Permission::ARTIFACTS_READ));
    let query = cx
        .tx
        .select("WHERE organization_id = $1")
        .bind(cx.at)
        .within::<ArtifactId>(areas)
        .and_some(" AND project_id = ?", filter.project)
        .and_some(" AND run_id = ?", filter.run.as_deref())
        .and_some(" AND step_id = ?", filter.step.as_deref())
        .and_some(" AND type = ?", filter.r#type.as_deref());
    list.page(query).await
}

async fn create(cx: &mut Cx, project: ProjectId, new: NewArtifact) -> Result<Created<Artifact>> {
    let size = new.size_bytes.map_or(0, |size| size.0);
    quotas::shift(cx, cx.at, Metric::StorageBytes, size, Mode::Enforce).await?;
    quotas::hold(cx, cx.at, Metric::ArtifactsPerRun).await?;
    let sql = "INSERT INTO artifacts
               (id, organization_id, project_id, run_id, step_id, type, path, size_bytes,
                mime_type, metadata, created_at)
               SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
               WHERE (SELECT q.quantity IS NULL OR q.quantity >
                             (SELECT COUNT(*) FROM artifacts a
                              WHERE a.organization_id = $2 AND a.run_id = $4)
                      FROM quotas q
                      WHERE q.organization_id = $2 AND q.metric = 'artifacts_per_run')";
    let insert = cx
        .tx
        .returning(sql)
        .bind(ArtifactId::new(&cx.app.random, cx.now))
        .bind(cx.at)
        .bind(project)
        .bind(&new.run_id)
        .bind(new.step_id)
        .bind(new.r#type)
        .bind(new.path)
        .bind(size)
        .bind(new.mime_type)
        .bind(Object::bounded("metadata", new.metadata)?)
        .bind(cx.now);
    if let Some(artifact) = insert.opt().await? {
        return Ok(Created(artifact));
    }
    let sql = "SELECT COUNT(*) FROM artifacts WHERE organization_id = $1 AND run_id = $2";
    let used = cx.tx.q(sql).bind(cx.at).bind(&new.run_id).value().await?.unwrap_or(0);
    let quota = quotas::of(cx, cx.at, Metric::ArtifactsPerRun).await?;
    Err(quotas::refusal(cx.at, Metric::ArtifactsPerRun, quotas::Quota { used, ..quota }, 1)
        .with("run_id", new.run_id.into_string()))
}

async fn read(cx: &mut Cx, id: ArtifactId) -> Result<Artifact> {
    let found = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    Ok(found.one().await?)
}

async fn delete(cx: &mut Cx, id: ArtifactId) -> Result<NoContent> {
    // The deleted row returns the size: of two concurrent requests, only one reduces the storage.
    let sql = "DELETE FROM artifacts WHERE id = $1 AND organization_id = $2";
    let gone: Artifact = cx.tx.returning(sql).bind(id).bind(cx.at).one().await?;
    quotas::shift(cx, cx.at, Metric::StorageBytes, -gone.size_bytes, Mode::Enforce).await?;
    Ok(NoContent)
}

/// Returns the storage of a project to the quota: its artifacts end with the project, or move to
/// another organization.
async fn leave_project(cx: &mut Cx, project: ProjectId, to: Option<OrganizationId>) -> Result<()> {
    let size = size_of(cx, project).await?;
    quotas::shift(cx, cx.at, Metric::StorageBytes, -size, Mode::Enforce).await?;
    if let Some(to) = to {
        return quotas::shift(cx, to, Metric::StorageBytes, size, Mode::Enforce).await;
    }
    let sql = "DELETE FROM artifacts WHERE organization_id = $1 AND project_id = $2";
    cx.tx.q(sql).bind(cx.at).bind(project).exec().await?;
    Ok(())
}

/// Returns the size of the project's artifacts, and locks it until the end of the transaction.
async fn size_of(cx: &mut Cx, project: ProjectId) -> Result<i64> {
    quotas::hold(cx, cx.at, Metric::StorageBytes).await?;
    let sql = "SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM artifacts
               WHERE organization_id = $1 AND project_id = $2";
    Ok(cx.tx.q(sql).bind(cx.at).bind(project).value().await?.unwrap_or(0))
}
