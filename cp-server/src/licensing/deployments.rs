//! Deployments: the data-plane installations that licenses are for.

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::coverage::marks::{self, Changed};
use crate::identity::service_tokens;
use crate::kernel::access::ids::{DeploymentId, OrganizationId};
use crate::kernel::access::place::Org;
use crate::kernel::clock::after;
use crate::kernel::db::record::Object;
use crate::kernel::db::search::Search;
use crate::kernel::db::tags::Tags;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::Result;
use crate::kernel::http::answer::{Created, NoContent, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::{Moment, Patch};
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::Section;
use crate::kernel::text::{ExternalId, HttpUrl, Name, Tag};
use crate::tenancy::organizations;

crate::permissions! {
    /// Read deployments.
    DEPLOYMENTS_READ = "deployments:read", implied by ["org:read"];
    /// Create and change deployments.
    DEPLOYMENTS_WRITE = "deployments:write";
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "deployments",
    "deployment",
    Export::Section(Section::many::<Deployment>("deployments")),
)
.permissions(PERMISSIONS);

crate::routes! {
    /// The installations of the data plane that licenses are for.
    deployments declares DECLARATION:
    /// Lists the organization's deployments.
    GET "/organizations/{org}/deployments" DEPLOYMENTS_READ => list;
    /// Creates a deployment.
    POST "/organizations/{org}/deployments" DEPLOYMENTS_WRITE => create, local;
    /// Returns a deployment.
    GET "/deployments/{id}" DEPLOYMENTS_READ => read;
    /// Changes a deployment. Its tokens are suspended while it is not active.
    PATCH "/deployments/{id}" DEPLOYMENTS_WRITE => update, local;
    /// Deletes a deployment that never had a license. Retire others with PATCH.
    DELETE "/deployments/{id}" DEPLOYMENTS_WRITE => delete, local;
}

crate::text_enum! { DeploymentType as "DeploymentKind" { Cloud = "cloud", Onprem = "onprem", Demo = "demo" } }
pub use super::statuses::DeploymentStatus;

crate::record! {
    /// One data-plane installation.
    Deployment in deployments {
        id: DeploymentId,
        organization_id: OrganizationId,
        name: Name,
        #[serde(rename = "type")]
        kind: DeploymentType = "deployments.type",
        region: Option<Name>,
        api_base_url: Option<HttpUrl>,
        status: DeploymentStatus,
        external_id: Option<ExternalId>,
        /// The vendor's own values.
        metadata: Object,
        tags: Tags,
        /// The instant of the last check-in, to the minute, or of the last usage report.
        last_seen_at: Option<DateTime<Utc>>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

impl Resource for Deployment {
    const NOUN: &'static str = "deployment";
    const PATH: &'static str = "deployments";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentFilter {
    /// Only deployments with this status.
    status: Option<DeploymentStatus>,
    /// Only deployments of this type.
    r#type: Option<DeploymentType>,
    /// Only deployments with exactly this name.
    name: Option<String>,
    /// Only the deployment with this `external_id`.
    external_id: Option<String>,
    /// Only deployments that have been silent since this instant: without a check-in and a usage
    /// report, and created before it.
    silent_since: Option<Moment>,
    /// Only deployments with this tag.
    tag: Option<Tag>,
    /// Only deployments whose name begins with this text in upper or lower case. Also the
    /// deployment with this ID or `external_id`.
    q: Option<Search>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeployment {
    /// The display name, 1 to 255 characters.
    name: Name,
    /// The kind of installation. `cloud` when absent.
    #[serde(default = "cloud")]
    r#type: DeploymentType,
    /// The region in which the deployment runs, 1 to 255 characters.
    region: Option<Name>,
    /// The base URL of the deployment's API.
    api_base_url: Option<HttpUrl>,
    /// The caller's own reference, unique within the organization.
    external_id: Option<ExternalId>,
    /// The caller's own values, as an object of at most 64 KiB. The organization's people see them.
    #[serde(default)]
    metadata: Map<String, Value>,
    /// At most 50 tags, each 1 to 64 characters. Lists filter by `tag`.
    #[serde(default)]
    tags: Tags,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentPatch {
    /// The display name, 1 to 255 characters.
    name: Option<Name>,
    /// The kind of installation.
    r#type: Option<DeploymentType>,
    /// The region in which the deployment runs. Null removes it.
    #[serde(default)]
    region: Patch<Name>,
    /// The base URL of the deployment's API. Null removes it.
    #[serde(default)]
    api_base_url: Patch<HttpUrl>,
    /// The status. Tokens of a deployment that is not `active` are suspended.
    status: Option<DeploymentStatus>,
    /// The caller's own reference, unique within the organization. Null removes it.
    #[serde(default)]
    external_id: Patch<ExternalId>,
    /// Metadata to merge member by member; null removes a member. Absent members stay.
    #[serde(default)]
    metadata: Map<String, Value>,
    /// The tags, which replace all tags of the deployment.
    tags: Option<Tags>,
}

fn cloud() -> DeploymentType {
    DeploymentType::Cloud
}

async fn list(cx: &mut Cx, _: Org, list: List<DeploymentFilter>) -> Result<Page<Deployment>> {
    let filter = &list.filter;
    let query = cx
        .tx
        .select("WHERE organization_id = $1")
        .bind(cx.at)
        .and_some(" AND status = ?", filter.status)
        .and_some(" AND type = ?", filter.r#type)
        .and_some(" AND name = ?", filter.name.as_deref())
        .and_some(" AND external_id = ?", filter.external_id.as_deref())
        .and_some(
            " AND COALESCE(last_seen_at, created_at) < ?",
            filter.silent_since.map(DateTime::from),
        )
        .tagged(filter.tag.as_ref(), "tags")
        .search(filter.q.as_ref(), &["name"], &["external_id"]);
    list.page(query).await
}

pub(crate) async fn create(cx: &mut Cx, _: Org, new: NewDeployment) -> Result<Created<Deployment>> {
    let sql = "INSERT INTO deployments
               (id, organization_id, name, type, region, api_base_url, status, external_id,
                created_at, updated_at, metadata, tags)
               VALUES ($1, $2, $3, $4, $5, $6, 'active', $7, $8, $8, $9, $10)";
    let insert = cx
        .tx
        .returning(sql)
        .bind(DeploymentId::new(&cx.app.random, cx.now))
        .bind(cx.at)
        .bind(new.name)
        .bind(new.r#type)
        .bind(new.region)
        .bind(new.api_base_url)
        .bind(new.external_id)
        .bind(cx.now)
        .bind(Object::default().merged("metadata", new.metadata)?)
        .bind(new.tags);
    Ok(Created(insert.one().await?))
}

async fn read(cx: &mut Cx, id: DeploymentId) -> Result<Deployment> {
    let found = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    Ok(found.one().await?)
}

pub(crate) async fn update(
    cx: &mut Cx,
    id: DeploymentId,
    patch: DeploymentPatch,
) -> Result<Deployment> {
    let found = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    let before: Deployment = found.locked().one().await?;
    let sql = "UPDATE deployments
               SET name = COALESCE($3, name), type = COALESCE($4, type), region = $5,
                   api_base_url = $6, status = COALESCE($7, status), external_id = $8,
                   updated_at = $9, metadata = $10, tags = $11
               WHERE id = $1 AND organization_id = $2";
    let update = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(cx.at)
        .bind(patch.name)
        .bind(patch.r#type)
        .bind(patch.region.over(before.region))
        .bind(patch.api_base_url.over(before.api_base_url))
        .bind(patch.status)
        .bind(patch.external_id.over(before.external_id))
        .bind(after(before.updated_at, cx.now))
        .bind(before.metadata.merged("metadata", patch.metadata)?)
        .bind(patch.tags.unwrap_or(before.tags));
    let deployment: Deployment = update.one().await?;
    organizations::touch(cx, cx.at).await?;
    if deployment.status != before.status {
        marks::update(cx, cx.at, Changed::Deployment(id)).await?;
    }
    Ok(deployment)
}

async fn delete(cx: &mut Cx, id: DeploymentId) -> Result<NoContent> {
    service_tokens::purge_deployment(cx, id).await?;
    let sql = "DELETE FROM deployments WHERE id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(id).bind(cx.at).exec().await?;
    Ok(NoContent)
}

/// The time without a usage report after which a deployment that uses files is silent.
const REPORTS: TimeDelta = TimeDelta::days(100);

/// Stores the instant of the deployment's last usage report. Locks its row until the end of the
/// transaction.
pub async fn seen(cx: &mut Cx, id: DeploymentId) -> Result<()> {
    let sql = "UPDATE deployments SET last_seen_at = $3, silent_at = $4
               WHERE id = $1 AND organization_id = $2";
    let update = cx.tx.q(sql).bind(id).bind(cx.at).bind(cx.now);
    update.bind(cx.now + REPORTS).exec().await?;
    Ok(())
}

/// Expects usage reports of a deployment from now on: it gets files.
pub async fn expect_reports(cx: &mut Cx, id: DeploymentId) -> Result<()> {
    let sql = "UPDATE deployments SET silent_at = $3
               WHERE id = $1 AND organization_id = $2 AND silent_at IS NULL";
    cx.tx.q(sql).bind(id).bind(cx.at).bind(cx.now + REPORTS).exec().await?;
    Ok(())
}

/// Returns the instant of the deployment's last contact.
pub async fn last_seen(cx: &mut Cx, id: DeploymentId) -> Result<Option<DateTime<Utc>>> {
    Ok(read(cx, id).await?.last_seen_at)
}

/// Stores the instant of a check-in, unless the stored one is not as old as `age`. An instant that is as
/// far ahead is from a clock that was set back. Without another contact the deployment is silent after
/// `patience`.
pub async fn see(cx: &mut Cx, id: DeploymentId, age: TimeDelta, patience: TimeDelta) -> Result<()> {
    let sql = "UPDATE deployments SET last_seen_at = $3, silent_at = $6
               WHERE id = $1 AND organization_id = $2
                 AND (last_seen_at IS NULL OR last_seen_at <= $4 OR last_seen_at >= $5)";
    let update = cx.tx.q(sql).bind(id).bind(cx.at).bind(cx.now);
    let update = update.bind(cx.now - age).bind(cx.now + age);
    update.bind(cx.now + patience).exec().await?;
    Ok(())
}
