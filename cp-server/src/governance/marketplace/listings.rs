//! The listings that a person sees.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::governance::effective::facts::Question;
use crate::governance::effective::{listings, person};
use crate::governance::ids::ResourceId;
use crate::governance::resources::Resource;
use crate::governance::resources::catalogue::Publisher;
use crate::governance::resources::kinds::ResourceKind;
use crate::governance::resources::row::{ResourceRow, resource_columns};
use crate::identity::scopes::ScopeRef;
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::place::Org;
use crate::kernel::db::query::Query;
use crate::kernel::db::record::Record;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, Page};
use crate::kernel::text::{Label, like};
use crate::tenancy::ids::GroupId;

crate::text_enum! { EntityKind { Agent = "agent", Connection = "connection" } }

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarketplaceFilter {
    /// The product label; empty when absent. Listings of all products are included.
    product: Option<Label>,
    /// The person. Another person than the caller requires `bindings:read` in the organization.
    user: Option<UserId>,
    /// Restricts the person's groups to this one and those above it.
    group: Option<GroupId>,
    /// Returns the listings of this kind of entity only.
    entity: Option<EntityKind>,
    /// Returns the listings that are featured, or that are not.
    featured: Option<bool>,
    /// Returns the listings that are verified, or that are not.
    verified: Option<bool>,
    /// Returns the listings whose name contains this string; the case of ASCII letters is ignored.
    q: Option<String>,
}

crate::text_enum! {
    /// The reason that a person sees a listing.
    VisibilityMode {
        /// All people of the organization see it.
        Global = "global",
        /// A binding grants it.
        Granted = "granted",
        /// Another organization publishes it.
        Public = "public",
    }
}

/// A listing that a person sees.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MarketplaceListing {
    #[serde(flatten)]
    listing: Resource,
    entity: Entity,
    publisher: Publisher,
    visibility: Visibility,
    /// Whether the person, or for a listing of another organization the organization, installed it.
    installed: bool,
    /// The stars that the person gave; null without a rating.
    own_rating: Option<i64>,
}

/// The agent or connection of a listing.
#[derive(Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Entity {
    #[sqlx(rename = "entity_kind")]
    kind: ResourceKind,
    #[sqlx(rename = "entity_id")]
    id: ResourceId,
    #[sqlx(rename = "entity_key")]
    key: String,
    #[sqlx(rename = "entity_name")]
    name: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Visibility {
    mode: VisibilityMode,
    /// The scope whose binding grants the listing.
    matched: Option<ScopeRef>,
}

/// The condition that a listing is in the marketplace.
macro_rules! published {
    () => {
        "resources.kind = 'listing' AND resources.status = 'active'
         AND CAST(resources.spec -> 'published' AS TEXT) = 'true'"
    };
}
pub(super) use published;

pub(super) async fn list(
    cx: &mut Cx,
    _: Org,
    list: List<MarketplaceFilter>,
) -> Result<Page<MarketplaceListing>> {
    let filter = &list.filter;
    let product = filter.product.as_ref().map(ToString::to_string).unwrap_or_default();
    let user = person(cx, &product, filter.user)?;
    let question =
        Question { group: filter.group, ..Question::of_listings(cx.at, product.clone(), user) };
    let seen = listings(&mut cx.tx, &question, filter.user.is_some(), cx.now).await?;
    let seen: HashMap<ResourceId, Option<ScopeRef>> =
        seen.into_iter().map(|one| (one.id, one.matched)).collect();
    let at = cx.at;
    let query = cx.tx.select(CANDIDATES).bind(at).bind(user);
    let query = match seen.is_empty() {
        true => query.sql("FALSE"),
        false => query
            .sql("resources.id IN ")
            .rows([&seen], |query, seen| seen.keys().copied().fold(query, Query::bind)),
    };
    let query = query
        .sql(" OR resources.organization_id <> $1 AND resources.is_public AND ")
        .sql(published!())
        .and(" AND resources.product IN ('', ?))", &*product)
        .and_some(" AND e.kind = ?", filter.entity)
        .and_some(" AND (CAST(resources.spec -> 'featured' AS TEXT) = 'true') = ?", filter.featured)
        .and_some(" AND (CAST(resources.spec -> 'verified' AS TEXT) = 'true') = ?", filter.verified)
        .and_some(" AND LOWER(resources.name) LIKE ? ESCAPE '\\'", filter.q.as_deref().map(like));
    let page: Page<Row> = list.page(query).await?;
    Ok(page.map(|row| row.shown(at, &seen)))
}

/// The listings that a page may show. Without them, each page would read the resources of all
/// organizations.
const CANDIDATES: &str = "WHERE resources.id IN
        (SELECT p.id FROM resources p WHERE p.is_public
         UNION ALL SELECT p.id FROM resources p WHERE p.organization_id = $1 AND p.kind = 'listing')
    AND (resources.organization_id = $1 AND ";

/// A listing for a person. `$1` is the organization, `$2` the person.
#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    listing: ResourceRow,
    #[sqlx(flatten)]
    entity: Entity,
    publisher_id: OrganizationId,
    publisher: String,
    installed: bool,
    own_rating: Option<i64>,
}

impl Record for Row {
    const TABLE: &'static str = "resources JOIN resources e ON e.id = resources.parent_id
        JOIN organizations o ON o.id = resources.organization_id";
    const COLUMNS: &'static str = concat!(
        resource_columns!(),
        ", e.kind AS entity_kind, e.id AS entity_id, e.key AS entity_key, e.name AS entity_name,
         o.id AS publisher_id, o.name AS publisher,
         EXISTS (SELECT 1 FROM reactions i
                 WHERE i.organization_id = $1 AND i.kind = 'installation'
                   AND i.listing_id = resources.id
                   AND i.reactor_id = CASE WHEN o.id = $1 THEN $2 ELSE $1 END) AS installed,
         (SELECT s.stars FROM reactions s
          WHERE s.organization_id = $1 AND s.kind = 'rating' AND s.listing_id = resources.id
            AND s.reactor_id = $2) AS own_rating"
    );
    const KEY: &'static str = "resources.id";
    fn key(&self) -> Uuid {
        self.listing.key()
    }
}

impl Row {
    fn shown(
        self,
        at: OrganizationId,
        seen: &HashMap<ResourceId, Option<ScopeRef>>,
    ) -> MarketplaceListing {
        let listing = Resource::from(self.listing);
        let matched = seen.get(&listing.id).copied().flatten();
        let mode = match matched {
            _ if self.publisher_id != at => VisibilityMode::Public,
            Some(_) => VisibilityMode::Granted,
            None => VisibilityMode::Global,
        };
        MarketplaceListing {
            listing,
            entity: self.entity,
            publisher: Publisher { organization_id: self.publisher_id, name: self.publisher },
            visibility: Visibility { mode, matched },
            installed: self.installed,
            own_rating: self.own_rating,
        }
    }
}
