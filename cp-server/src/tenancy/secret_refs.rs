//! References to secrets: the location of a secret, and never the secret itself.
//!
//! A secret value in a request is an unknown field, so it is refused by name before anything is
//! stored.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use crate::kernel::access::ids::{OrganizationId, ProjectId};
use crate::kernel::access::place::Org;
use crate::kernel::clock::after;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::{NoContent, Put, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Moment;
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::Section;
use crate::kernel::text::{ExternalId, Locator, Name, SecretName, path_segment};
use crate::tenancy::organizations;

crate::ids! {
    SecretRefId, "secret reference";
}

crate::permissions! {
    /// Read references to secrets.
    SECRETS_READ = "secrets:read", implied by ["settings:read"];
    /// Set and delete references to secrets.
    SECRETS_WRITE = "secrets:write", implied by ["settings:write"];
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "secret_refs",
    "secret reference",
    Export::Section(Section::many::<SecretRef>("secret_refs").order("name, id")),
)
.permissions(PERMISSIONS)
.before_project(|cx, project, _| Box::pin(refuse_project(cx, project)));

crate::routes! {
    /// References to secrets in other systems. The server never stores the secrets.
    secret_refs declares DECLARATION:
    /// Lists the organization's references to secrets, by name.
    GET "/organizations/{org}/secret-refs" SECRETS_READ => list;
    /// Sets a reference of the organization, or of one project: creates it, or replaces all of it.
    PUT "/organizations/{org}/secret-refs/{name}" SECRETS_WRITE => put;
    /// Deletes a reference of the organization, or of one project.
    ///
    /// Refused with 409 `in_use` while a connection names it and no other reference has the name.
    DELETE "/organizations/{org}/secret-refs/{name}" SECRETS_WRITE => delete;
}

crate::record! {
    /// The location of a secret.
    SecretRef in secret_refs {
        id: SecretRefId,
        organization_id: OrganizationId,
        /// Null for the whole organization.
        project_id: Option<ProjectId>,
        name: String,
        /// The system that stores the secret, such as `vault`.
        provider: String,
        /// The name of the secret in that system.
        #[serde(rename = "ref")]
        locator: String = "secret_refs.ref",
        created_by: Option<String>,
        rotated_at: Option<DateTime<Utc>>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

const NOUN: &str = "secret reference";

impl Resource for SecretRef {
    const NOUN: &'static str = NOUN;
    const PATH: &'static str = "organizations";
    fn name(&self) -> String {
        let path = format!("{}/secret-refs/{}", self.organization_id, path_segment(&self.name));
        match self.project_id {
            Some(project) => format!("{path}?project={project}"),
            None => path,
        }
    }
}

/// The owner of a reference: a project, or `none` for the whole organization.
#[derive(Clone, Copy, Debug)]
pub struct Whose(Option<ProjectId>);

impl FromStr for Whose {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            text => {
                text.parse().map(|id| Self(Some(id))).map_err(|_| "must be a project's ID, or none")
            }
        }
    }
}

impl<'de> Deserialize<'de> for Whose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Whose {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Whose".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"type": "string", "description": "A project's ID, or `none`."})
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRefFilter {
    /// Returns the references of this project only; `none` returns those of the whole organization.
    /// All of them when absent.
    project: Option<Whose>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecretRef {
    /// The system that stores the secret, such as `vault`.
    provider: Name,
    /// The name of the secret in that system; never the secret itself.
    r#ref: Locator,
    /// The creator of the secret, in the caller's own words.
    created_by: Option<ExternalId>,
    /// The last rotation of the secret.
    rotated_at: Option<Moment>,
    /// The project of the reference; the whole organization when absent or `none`.
    project: Option<Whose>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// The project of the reference; the whole organization when absent or `none`.
    project: Option<Whose>,
}

async fn list(cx: &mut Cx, _: Org, list: List<SecretRefFilter>) -> Result<Page<SecretRef>> {
    let query = cx.tx.select("WHERE organization_id = $1").bind(cx.at);
    let query = match list.filter.project {
        None => query,
        Some(Whose(None)) => query.sql(" AND project_id IS NULL"),
        Some(Whose(Some(project))) => query.and(" AND project_id = ?", project),
    };
    list.page_by(query, "secret_refs.name", |found: &SecretRef| &found.name).await
}

async fn put(cx: &mut Cx, (_, name): (Org, String), new: NewSecretRef) -> Result<Put<SecretRef>> {
    let name: SecretName =
        name.parse().map_err(|e| Error::invalid("name", format!("`name` {e}.")))?;
    cx.audit.target = Some((NOUN, name.to_string()));
    let Whose(project) = new.project.unwrap_or(Whose(None));
    let before = find(cx, project, name.as_str()).await?;
    cx.audit.before = before.as_ref().and_then(|before| serde_json::to_value(before).ok());
    let id = match &before {
        Some(reference) => reference.id,
        None => SecretRefId::new(&cx.app.random, cx.now),
    };
    let sql = if before.is_some() {
        "UPDATE secret_refs
         SET provider = $5, ref = $6, created_by = $7, rotated_at = $8, updated_at = $9
         WHERE id = $1 AND organization_id = $2 AND name = $4
           AND (project_id = $3 OR project_id IS NULL AND $3 IS NULL)"
    } else {
        "INSERT INTO secret_refs
         (id, organization_id, project_id, name, provider, ref, created_by, rotated_at, created_at,
          updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)"
    };
    let write = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(cx.at)
        .bind(project)
        .bind(&name)
        .bind(new.provider)
        .bind(new.r#ref)
        .bind(new.created_by)
        .bind(new.rotated_at.map(|at| at.0))
        .bind(before.as_ref().map_or(cx.now, |before| after(before.updated_at, cx.now)));
    // Another request created or deleted it since the look-up.
    let written = write
        .opt()
        .await
        .on_conflict("secret_refs_name", Error::stale)
        .on_conflict("secret_refs_project_id_name", Error::stale)
        .on_conflict("reference", || Error::not_found("project").at("project"))?;
    let reference = written.ok_or_else(Error::stale)?;
    Ok(if before.is_some() { Put::Known(reference) } else { Put::New(reference) })
}

async fn delete(cx: &mut Cx, (_, name): (Org, String), which: Which) -> Result<NoContent> {
    let Whose(project) = which.project.unwrap_or(Whose(None));
    // New connections hold the organization, too, before they look for the reference.
    organizations::touch(cx, cx.at).await?;
    let before = find(cx, project, &name).await?.ok_or_else(|| Error::not_found(NOUN))?;
    refuse_used(cx, "s.id = $2", before.id.0).await?;
    cx.audit.target = Some((NOUN, name));
    cx.audit.before = serde_json::to_value(&before).ok();
    let sql = "DELETE FROM secret_refs WHERE id = $1 AND organization_id = $2";
    match cx.tx.q(sql).bind(before.id).bind(cx.at).exec().await? {
        0 => Err(Error::not_found(NOUN)),
        _ => Ok(NoContent),
    }
}

async fn find(cx: &mut Cx, project: Option<ProjectId>, name: &str) -> Result<Option<SecretRef>> {
    // No stored name contains a U+0000, which PostgreSQL refuses in a parameter.
    if name.contains('\0') {
        return Ok(None);
    }
    let query = cx.tx.select("WHERE organization_id = $1 AND name = $2").bind(cx.at).bind(name);
    let query = match project {
        Some(project) => query.and(" AND project_id = ?", project),
        None => query.sql(" AND project_id IS NULL"),
    };
    Ok(query.opt().await?)
}

/// Refuses the end or the move of a project whose references connections name.
async fn refuse_project(cx: &mut Cx, project: ProjectId) -> Result<()> {
    organizations::touch(cx, cx.at).await?;
    refuse_used(cx, "s.project_id IS NOT NULL AND s.project_id = $2", project.0).await
}

/// Refuses to withdraw the references that fulfill the condition while a connection names one of
/// them and no other reference has the name.
///
/// # Errors
/// 409 `in_use` with at most 20 of the connections, and their number.
async fn refuse_used(cx: &mut Cx, withdrawn: &'static str, by: Uuid) -> Result<()> {
    let sql = "SELECT r.id, COUNT(*) OVER () AS count FROM resources r
               WHERE r.organization_id = $1 AND r.kind = 'connection'
                 AND EXISTS (SELECT 1 FROM secret_refs s
                             WHERE s.organization_id = $1 AND s.name = r.spec ->> 'secret_ref'
                               AND ";
    let query = cx.tx.q(sql).bind(cx.at).bind(by).sql(withdrawn).sql(
        ") AND NOT EXISTS (SELECT 1 FROM secret_refs s
                           WHERE s.organization_id = $1 AND s.name = r.spec ->> 'secret_ref'
                             AND NOT (",
    );
    let used: Vec<(Uuid, i64)> =
        query.sql(withdrawn).sql(")) ORDER BY r.id LIMIT 20").all().await?;
    let Some((_, count)) = used.first() else { return Ok(()) };
    let detail = format!(
        "{count} connections name the secret reference in `spec.secret_ref`. Change or delete them \
         first."
    );
    let connections: Vec<Uuid> = used.iter().map(|(id, _)| *id).collect();
    let refused = Error::new(ProblemCode::InUse, detail);
    Err(refused.with("connections", connections).with("count", count))
}
