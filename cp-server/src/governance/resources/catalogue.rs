//! The catalogue: the public resources of all organizations, for every caller.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::kinds::{PRIVATE, ResourceKind};
use crate::governance::ids::ResourceId;
use crate::kernel::access::caller::{CallerScope, Scope};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::products;
use crate::kernel::db::record::{Object, Record};
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, Page};
use crate::kernel::text::like;

crate::routes! { resources:
    /// Lists the active public resources of all organizations, newest first.
    GET "/resources" ANY => list_public;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogueFilter {
    /// Returns the resources of this kind only.
    kind: Option<ResourceKind>,
    /// Returns the resources with this product label only: an exact match.
    product: Option<String>,
    /// Returns the resources whose name contains this string; the case of ASCII letters is ignored.
    q: Option<String>,
}

/// A resource that its organization offers to all organizations.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PublicResource {
    id: ResourceId,
    kind: ResourceKind,
    key: String,
    name: String,
    product: String,
    description: Option<String>,
    parent_id: Option<ResourceId>,
    /// The members of the kind, without the caller's own request members and names of variables.
    spec: Object,
    publisher: Publisher,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The organization that offers a resource.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Publisher {
    pub organization_id: OrganizationId,
    pub name: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: ResourceId,
    kind: ResourceKind,
    key: String,
    name: String,
    product: String,
    description: Option<String>,
    parent_id: Option<ResourceId>,
    spec: Object,
    organization_id: OrganizationId,
    publisher: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Record for Row {
    const TABLE: &'static str =
        "resources JOIN organizations ON organizations.id = resources.organization_id";
    const COLUMNS: &'static str = "resources.id, resources.kind, resources.key, resources.name,
        resources.product, resources.description, resources.parent_id, resources.spec,
        resources.organization_id, organizations.name AS publisher, resources.created_at,
        resources.updated_at";
    const KEY: &'static str = "resources.id";
    fn key(&self) -> Uuid {
        self.id.0
    }
}

impl From<Row> for PublicResource {
    fn from(row: Row) -> Self {
        let publisher = Publisher { organization_id: row.organization_id, name: row.publisher };
        Self {
            id: row.id,
            kind: row.kind,
            key: row.key,
            name: row.name,
            product: row.product,
            description: row.description,
            parent_id: row.parent_id,
            spec: row.spec.without(&PRIVATE),
            publisher,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

async fn list_public(
    cx: &mut Cx<Scope>,
    _: CallerScope,
    list: List<CatalogueFilter>,
) -> Result<Page<PublicResource>> {
    let filter = &list.filter;
    if let Some(product) = &filter.product {
        products::refuse_reading(&cx.caller, product)?;
    }
    let query = cx
        .tx
        .select("WHERE resources.is_public AND resources.status = 'active'")
        .and_some(" AND resources.kind = ?", filter.kind)
        .and_some(" AND resources.product = ?", filter.product.as_deref())
        .and_some(" AND LOWER(resources.name) LIKE ? ESCAPE '\\'", filter.q.as_deref().map(like));
    let query = products::visible(query, &cx.caller, "resources.product");
    let page: Page<Row> = list.page(query).await?;
    Ok(page.map(PublicResource::from))
}
