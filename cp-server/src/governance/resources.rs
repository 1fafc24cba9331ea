//! Resources: typed objects of an organization. Six kinds share one mechanism.
//!
//! # Design
//! Resources are addressed by ID, with `kind` in the body: one line serves six kinds. `kinds.rs` has
//! the form of each `spec`. An agent is created with its guardrails in one transaction, so that an
//! agent without a guardrail cannot exist.

pub mod catalogue;
pub mod copies;
pub mod kinds;
pub mod row;
mod rules;
pub mod secrets;

use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use self::kinds::{ResourceKind, Spec};
use self::row::{NOUN, ResourceKey, ResourceRow, ResourceStatus, load};
use self::rules::{free_key, refuse_parent, refuse_vendors};
use self::secrets::{NamedSecrets, SECRET, check, seal};
use super::bindings::kinds::{BindingKind, Effect};
use super::bindings::{self, Grant, NewGrant, Subject, refuse_unguarded};
use super::ids::ResourceId;
use crate::identity::scopes::ScopeRef;
use crate::kernel::access::place::Org;
use crate::kernel::access::products;
use crate::kernel::clock::after;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::{Created, NoContent};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::Section;
use crate::kernel::text::{Label, Name, Prose, like};
use crate::tenancy::organizations;

pub use self::row::Resource;

crate::permissions! {
    /// Read resources.
    RESOURCES_READ = "resources:read", implied by ["org:write"];
    /// Create, change and delete resources.
    RESOURCES_WRITE = "resources:write", implied by ["org:write"];
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "resources",
    NOUN,
    Export::Section(Section::many_shown::<ResourceRow>("resources")),
)
.seals(&[SECRET])
.permissions(PERMISSIONS);

crate::routes! {
    /// Typed objects of organizations: agents, connections, guardrails, patterns, models and listings.
    resources declares DECLARATION:
    /// Lists the organization's resources, newest first.
    GET "/organizations/{org}/resources" RESOURCES_READ => list;
    /// Creates a resource: a guardrail, agent, connection, pattern, model or listing.
    ///
    /// `spec` has the members of the kind. An agent requires `guardrails`.
    POST "/organizations/{org}/resources" RESOURCES_WRITE => create, harmless;
    /// Reads a resource; its secret is masked.
    GET "/resources/{id}" RESOURCES_READ => read;
    /// Changes a resource. `spec` is merged one level deep; null removes a member.
    PATCH "/resources/{id}" RESOURCES_WRITE => update, harmless;
    /// Deletes a resource with its children and bindings.
    ///
    /// Refused with 409 `in_use` when an agent would have no active guardrail of its own.
    DELETE "/resources/{id}" RESOURCES_WRITE => delete, harmless;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceFilter {
    /// Returns the resources of this kind only.
    kind: Option<ResourceKind>,
    /// Returns the resources with this product label only: an exact match.
    product: Option<String>,
    /// Returns the resources with this key only.
    key: Option<String>,
    /// Returns the children of this resource only.
    parent: Option<ResourceId>,
    /// Returns the resources with this status only.
    status: Option<ResourceStatus>,
    /// Returns the resources whose name contains this string; the case of ASCII letters is ignored.
    q: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewResource {
    /// The kind, which never changes.
    kind: ResourceKind,
    /// The display name.
    name: Name,
    /// Unique among the resources of the kind. Derived from the name when absent.
    key: Option<ResourceKey>,
    /// The product label, which never changes; empty (all products) when absent.
    product: Option<Label>,
    /// A description, up to 4,000 characters.
    description: Option<Prose>,
    /// `active` when absent.
    status: Option<ResourceStatus>,
    /// The guardrail of a pattern, or the agent or connection of a listing. It never changes.
    parent_id: Option<ResourceId>,
    /// The members of the kind.
    #[serde(default)]
    spec: Map<String, Value>,
    /// Whether all organizations see a listing or a model; false when absent. Only callers of the
    /// platform may set it.
    #[serde(default)]
    is_public: bool,
    /// The credentials of a connection: 1 to 20 named strings. Write-only.
    secret: Option<NamedSecrets>,
    /// The IDs of an agent's guardrails, 1 to 50 of them. Required for an agent.
    guardrails: Option<Vec<ResourceId>>,
    /// The first bindings of an agent.
    bindings: Option<Vec<FirstBinding>>,
}

/// A binding of a new agent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FirstBinding {
    /// The scope: the organization, a group or a person.
    scope: ScopeRef,
    /// `allow` when absent.
    effect: Option<Effect>,
    /// Empty: agents have no values.
    #[serde(default)]
    value: Map<String, Value>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourcePatch {
    /// The new key, unique among the resources of the kind.
    key: Option<ResourceKey>,
    /// The new display name.
    name: Option<Name>,
    /// The new description, up to 4,000 characters. Null removes it.
    #[serde(default)]
    description: Patch<Prose>,
    /// The new status.
    status: Option<ResourceStatus>,
    /// Members of the kind to set; null removes one. Absent members stay.
    #[serde(default)]
    spec: Map<String, Value>,
    /// Whether all organizations see a listing or a model. Only callers of the platform may set it.
    is_public: Option<bool>,
    /// The new credentials of a connection. Absent leaves them, null removes them.
    #[serde(default)]
    secret: Patch<NamedSecrets>,
    /// All guardrails of an agent, 1 to 50 of them.
    guardrails: Option<Vec<ResourceId>>,
}

async fn list(cx: &mut Cx, _: Org, list: List<ResourceFilter>) -> Result<Page<Resource>> {
    let filter = &list.filter;
    if let Some(product) = &filter.product {
        products::refuse_reading(&cx.caller, product)?;
    }
    let query = cx
        .tx
        .select("WHERE resources.organization_id = $1")
        .bind(cx.at)
        .and_some(" AND resources.kind = ?", filter.kind)
        .and_some(" AND resources.product = ?", filter.product.as_deref())
        .and_some(" AND resources.key = ?", filter.key.as_deref())
        .and_some(" AND resources.parent_id = ?", filter.parent)
        .and_some(" AND resources.status = ?", filter.status)
        .and_some(" AND LOWER(resources.name) LIKE ? ESCAPE '\\'", filter.q.as_deref().map(like));
    let query = products::visible(query, &cx.caller, "resources.product");
    let page: Page<ResourceRow> = list.page(query).await?;
    Ok(page.map(Resource::from))
}

async fn read(cx: &mut Cx, id: ResourceId) -> Result<Resource> {
    let found = load(cx, id).await?;
    products::refuse_reading(&cx.caller, &found.product)?;
    Ok(found)
}

async fn create(cx: &mut Cx, _: Org, new: NewResource) -> Result<Created<Resource>> {
    let product = new.product.map(Label::into_string).unwrap_or_default();
    products::refuse_changing(&cx.caller, &product)?;
    organizations::touch(cx, cx.at).await?;
    let spec = Spec::read(new.kind, new.spec)?;
    refuse_vendors(cx, new.kind, new.is_public, false, &spec, None)?;
    refuse_parent(cx, new.kind, new.parent_id).await?;
    let secret = new.secret.map_or(Patch::Keep, Patch::Set);
    check(cx, &spec, &secret, None).await?;
    let id = ResourceId::new(&cx.app.random, cx.now);
    let guards = match (new.kind, &new.guardrails) {
        (ResourceKind::Agent, ids) => {
            bindings::guardrails(cx, ids.as_deref().unwrap_or_default()).await?
        }
        (_, Some(_)) => return Err(agents_only("guardrails")),
        (_, None) => Vec::new(),
    };
    let grants = match new.bindings {
        Some(_) if new.kind != ResourceKind::Agent => return Err(agents_only("bindings")),
        new => first_bindings(cx, new.unwrap_or_default()).await?,
    };
    let is_chosen = new.key.is_some();
    let key = match new.key {
        Some(key) => key.into_string(),
        None => free_key(cx, new.kind, &new.name).await?,
    };
    let sealed = seal(cx, id, &secret).await?;
    let sql = "INSERT INTO resources
               (id, organization_id, kind, key, name, product, description, status, is_public,
                parent_id, spec, secret, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)";
    let insert = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(new.kind)
        .bind(key)
        .bind(new.name)
        .bind(&*product)
        .bind(new.description)
        .bind(new.status.unwrap_or(ResourceStatus::Active))
        .bind(new.is_public)
        .bind(new.parent_id)
        .bind(spec.stored()?)
        .bind(sealed)
        .bind(cx.now);
    insert
        .exec()
        .await
        .on_conflict("resources_kind_key", || if is_chosen { key_taken() } else { Error::stale() })
        .on_conflict("resources_parent_id", || {
            let detail =
                "`parent_id` has a listing already. An agent or connection has one listing.";
            Error::conflict(detail).at("parent_id")
        })?;
    bindings::set_guardrails(cx, id, &guards).await?;
    let of = Subject { kind: BindingKind::Agent, product, subject: id.to_string() };
    bindings::insert(cx, &of, &grants).await?;
    load(cx, id).await.map(Created)
}

async fn update(cx: &mut Cx, id: ResourceId, patch: ResourcePatch) -> Result<Resource> {
    organizations::touch(cx, cx.at).await?;
    let before = load(cx, id).await?;
    products::refuse_changing(&cx.caller, &before.product)?;
    let mut members = before.spec.clone().into_inner();
    for (name, value) in patch.spec {
        match value {
            Value::Null => drop(members.remove(&name)),
            value => drop(members.insert(name, value)),
        }
    }
    let spec = Spec::read(before.kind, members)?;
    let is_public = patch.is_public.unwrap_or(before.is_public);
    refuse_vendors(cx, before.kind, is_public, before.is_public, &spec, Some(&before.spec))?;
    check(cx, &spec, &patch.secret, Some(&before)).await?;
    let status = patch.status.unwrap_or(before.status);
    if before.kind == ResourceKind::Guardrail && status == ResourceStatus::Disabled {
        refuse_unguarded(cx, id, None).await?;
    }
    match patch.guardrails {
        Some(_) if before.kind != ResourceKind::Agent => return Err(agents_only("guardrails")),
        Some(ids) => {
            let guards = bindings::guardrails(cx, &ids).await?;
            bindings::set_guardrails(cx, id, &guards).await?;
        }
        None => {}
    }
    let sealed = seal(cx, id, &patch.secret).await?;
    let sql = "UPDATE resources
               SET key = COALESCE($3, key), name = COALESCE($4, name), description = $5,
                   status = $6, is_public = $7, spec = $8,
                   secret = CASE WHEN $9 THEN secret ELSE $10 END, updated_at = $11
               WHERE id = $1 AND organization_id = $2";
    let update = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(patch.key)
        .bind(patch.name)
        .bind(patch.description.map(Prose::into_string).over(before.description))
        .bind(status)
        .bind(is_public)
        .bind(spec.stored()?)
        .bind(matches!(patch.secret, Patch::Keep))
        .bind(sealed)
        .bind(after(before.updated_at, cx.now));
    update.exec().await.on_conflict("resources_kind_key", key_taken)?;
    load(cx, id).await
}

async fn delete(cx: &mut Cx, id: ResourceId) -> Result<NoContent> {
    organizations::touch(cx, cx.at).await?;
    let before = load(cx, id).await?;
    products::refuse_changing(&cx.caller, &before.product)?;
    if before.kind == ResourceKind::Guardrail {
        refuse_unguarded(cx, id, None).await?;
    }
    let sql = "DELETE FROM resources WHERE id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(id).bind(cx.at).exec().await?;
    Ok(NoContent)
}

async fn first_bindings(cx: &mut Cx, new: Vec<FirstBinding>) -> Result<Vec<Grant>> {
    let plain =
        |FirstBinding { scope, effect, value }| NewGrant { scope, effect, value, mandatory: false };
    let new = new.into_iter().map(plain).collect();
    let field = |member: &str, n: usize| format!("bindings[{n}].{member}");
    bindings::checked(cx, BindingKind::Agent, new, field).await
}

fn key_taken() -> Error {
    let detail = "`key` is already used by another resource of this kind.";
    Error::new(ProblemCode::CodeTaken, detail).at("key")
}

fn agents_only(field: &'static str) -> Error {
    Error::invalid(field, format!("`{field}` is allowed for agents only."))
}
