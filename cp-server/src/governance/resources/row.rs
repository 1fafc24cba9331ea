//! Resources as they are stored and shown.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::kinds::ResourceKind;
use crate::governance::ids::ResourceId;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::record::{Object, Record};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer;
use crate::kernel::http::cx::Cx;
use crate::kernel::secret::Masked;
use crate::kernel::section::{ExportRequest, Exported};
use crate::metering::quantity::Quantity;

crate::text_enum! { ResourceStatus { Active = "active", Disabled = "disabled" } }

crate::texts! {
    /// The key of a resource, unique among those of its kind.
    ResourceKey, |text| {
        let fits = (1..=128).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._:/-".contains(c));
        if fits { Ok(text.into()) } else {
            Err("must be a key: 1 to 128 of letters, digits and . _ : / -".into())
        }
    }, {"type": "string", "pattern": "^[A-Za-z0-9._:/-]{1,128}$", "examples": ["gpt-4o"]};
}

pub(super) const NOUN: &str = "resource";

/// A typed object of an organization.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Resource {
    pub id: ResourceId,
    pub organization_id: OrganizationId,
    pub kind: ResourceKind,
    /// Unique among the organization's resources of this kind.
    pub key: String,
    pub name: String,
    /// The product label that the resource is for; empty for all products.
    pub product: String,
    pub description: Option<String>,
    pub status: ResourceStatus,
    /// Whether all organizations see the resource.
    pub is_public: bool,
    /// The guardrail of a pattern, or the agent or connection of a listing.
    pub parent_id: Option<ResourceId>,
    /// The listing of which the resource is a copy.
    pub source_id: Option<ResourceId>,
    /// The members of the kind, with their defaults.
    pub spec: Object,
    pub secret: Masked,
    /// The guardrails of an agent, by key; absent for other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guardrails: Option<Vec<Uuid>>,
    /// The number of installations of a listing; absent for other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installations: Option<i64>,
    /// The rating of a listing; absent for other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rating: Option<Rating>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The stars that people gave a listing.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Rating {
    /// The average, with two decimal places; null without ratings.
    pub average: Option<Quantity>,
    /// The number of people. The last rating of a person counts.
    pub count: i64,
}

impl Rating {
    fn of(stars: i64, count: i64) -> Self {
        // A percentage of a hundred times as much is the quotient, with two decimal places.
        let whole = Quantity::from_parts(count.saturating_mul(100), 0);
        Self { average: Quantity::from_parts(stars, 0).percent_of(whole), count }
    }
}

impl answer::Resource for Resource {
    const NOUN: &'static str = NOUN;
    const PATH: &'static str = "resources";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

/// The columns of a resource.
macro_rules! resource_columns {
    // The rating `r` is the person's last one of the listing: a person can rate in several
    // organizations, and counts once.
    (@last) => {
        "NOT EXISTS (SELECT 1 FROM reactions l
                     WHERE l.listing_id = r.listing_id AND l.kind = 'rating'
                       AND l.reactor_id = r.reactor_id
                       AND (l.updated_at, l.id) > (r.updated_at, r.id))"
    };
    () => {
        concat!(
            "resources.id, resources.organization_id, resources.kind,
        resources.key, resources.name, resources.product, resources.description, resources.status,
        resources.is_public, resources.parent_id, resources.source_id, resources.spec,
        resources.secret IS NOT NULL AS secret,
        CASE WHEN resources.kind = 'agent' THEN COALESCE(
            (SELECT STRING_AGG(b.subject, ' ' ORDER BY g.key)
             FROM bindings b JOIN resources g ON g.id = b.resource_id
             WHERE b.agent_id = resources.id AND b.kind = 'guardrail' AND b.effect = 'allow'),
            '') END AS guardrails,
        CASE WHEN resources.kind = 'listing' THEN
            (SELECT COUNT(*) FROM reactions r
             WHERE r.listing_id = resources.id AND r.kind = 'installation')
            END AS installations,
        CASE WHEN resources.kind = 'listing' THEN
            (SELECT CAST(COALESCE(SUM(r.stars), 0) AS BIGINT) FROM reactions r
             WHERE r.listing_id = resources.id AND r.kind = 'rating'
               AND ",
        resource_columns!(@last),
        ") END AS stars,
        CASE WHEN resources.kind = 'listing' THEN
            (SELECT COUNT(*) FROM reactions r
             WHERE r.listing_id = resources.id AND r.kind = 'rating'
               AND ",
        resource_columns!(@last),
        ") END AS raters,
        resources.created_at, resources.updated_at"
        )
    };
}
pub(in crate::governance) use resource_columns;

/// A resource with the guardrails of an agent and the reactions to a listing, read in one statement.
#[derive(sqlx::FromRow)]
pub struct ResourceRow {
    id: ResourceId,
    organization_id: OrganizationId,
    kind: ResourceKind,
    key: String,
    name: String,
    product: String,
    description: Option<String>,
    status: ResourceStatus,
    is_public: bool,
    parent_id: Option<ResourceId>,
    source_id: Option<ResourceId>,
    spec: Object,
    secret: Masked,
    guardrails: Option<String>,
    installations: Option<i64>,
    stars: Option<i64>,
    raters: Option<i64>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Record for ResourceRow {
    const TABLE: &'static str = "resources";
    const COLUMNS: &'static str = resource_columns!();
    const KEY: &'static str = "resources.id";
    fn key(&self) -> Uuid {
        self.id.0
    }
}

impl From<ResourceRow> for Resource {
    fn from(row: ResourceRow) -> Self {
        let ids = |text: String| text.split(' ').filter_map(|id| id.parse().ok()).collect();
        Self {
            id: row.id,
            organization_id: row.organization_id,
            kind: row.kind,
            key: row.key,
            name: row.name,
            product: row.product,
            description: row.description,
            status: row.status,
            is_public: row.is_public,
            parent_id: row.parent_id,
            source_id: row.source_id,
            spec: row.spec,
            secret: row.secret,
            guardrails: row.guardrails.map(ids),
            installations: row.installations,
            rating: row.stars.zip(row.raters).map(|(stars, count)| Rating::of(stars, count)),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Exported for ResourceRow {
    type Shown = Resource;
    fn shown(self, _: &ExportRequest) -> Resource {
        self.into()
    }
}

/// Returns the resource of the organization.
pub async fn load(cx: &mut Cx, id: ResourceId) -> Result<Resource> {
    let tail = "WHERE resources.id = $1 AND resources.organization_id = $2";
    let row: Option<ResourceRow> = cx.tx.select(tail).bind(id).bind(cx.at).opt().await?;
    row.map(Resource::from).ok_or_else(|| Error::not_found(NOUN))
}
