//! Copies of agents and connections that other organizations publish.

use super::kinds::ResourceKind;
use super::row::{Resource, ResourceRow, ResourceStatus, load};
use super::rules::free_key;
use crate::governance::bindings::{self, Subject};
use crate::governance::ids::ResourceId;
use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::text::Name;

/// The agent or connection of a listing, as a copy has it.
#[derive(sqlx::FromRow)]
pub struct Original {
    pub kind: ResourceKind,
    pub product: String,
    name: Name,
    description: Option<String>,
    spec: Object,
}

/// Returns the agent or connection of a listing that the caller sees.
pub async fn original(cx: &mut Cx, listing: ResourceId) -> Result<Original> {
    let sql = "SELECT e.kind, e.product, e.name, e.description, e.spec
               FROM resources l JOIN resources e ON e.id = l.parent_id WHERE l.id = $1";
    let found: Option<Original> = cx.tx.q(sql).bind(listing).opt().await?;
    found.ok_or_else(|| Error::not_found("listing"))
}

/// Creates a copy without the secret. An agent has these guardrails of its new organization.
pub async fn create(
    cx: &mut Cx,
    listing: ResourceId,
    original: Original,
    guardrails: &[Subject],
) -> Result<Resource> {
    let key = free_key(cx, original.kind, &original.name).await?;
    let sql = "INSERT INTO resources
               (id, organization_id, kind, key, name, product, description, status, is_public,
                source_id, spec, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)";
    let id = ResourceId::new(&cx.app.random, cx.now);
    let spec = match original.kind {
        // The name of a secret reference means nothing in another organization.
        ResourceKind::Connection => original.spec.changed("spec", |members| {
            members.insert("secret_ref".into(), serde_json::Value::Null);
        })?,
        _ => original.spec,
    };
    let insert = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(original.kind)
        .bind(key)
        .bind(original.name)
        .bind(original.product)
        .bind(original.description)
        .bind(ResourceStatus::Active)
        .bind(false)
        .bind(listing)
        .bind(spec)
        .bind(cx.now);
    insert.exec().await.on_conflict("resources_kind_key", Error::stale)?;
    bindings::set_guardrails(cx, id, guardrails).await?;
    load(cx, id).await
}

/// Returns the organization's newest copy of the listing's agent or connection.
pub async fn newest(cx: &mut Cx, listing: ResourceId) -> Result<Option<Resource>> {
    let tail = "WHERE resources.organization_id = $1 AND resources.source_id = $2
                ORDER BY resources.id DESC LIMIT 1";
    let row: Option<ResourceRow> = cx.tx.select(tail).bind(cx.at).bind(listing).opt().await?;
    Ok(row.map(Resource::from))
}
