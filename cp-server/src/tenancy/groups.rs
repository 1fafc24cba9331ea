//! Groups: the people of an organization, as a tree. A root is an org unit, a child a team.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::organizations;
use crate::above;
use crate::kernel::access::caller::Permission;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::{Org, OrgList};
use crate::kernel::access::products;
use crate::kernel::clock::after;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::{Created, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::http::page::{List, Page};
use crate::kernel::text::{ExternalId, Label, Name, Prose, Slug};
use crate::tenancy::ids::GroupId;

crate::permissions! {
    /// Read groups.
    GROUPS_READ = "groups:read", implied by ["org:read", "members:read"];
    /// Create, change and delete groups.
    GROUPS_WRITE = "groups:write", implied by ["org:write"];
}

/// The export lists groups with their members, whose table is `memberships`.
pub static DECLARATION: Declaration =
    Declaration::of_organization("groups", "group", Export::Within("memberships"))
        .permissions(PERMISSIONS);

crate::routes! {
    /// The people of an organization as a tree of units and teams.
    groups declares DECLARATION:
    /// Lists the organization's groups; `parent=none` lists the roots.
    GET "/organizations/{org}/groups" GROUPS_READ => list;
    /// Creates a group, below another group when it has a parent.
    POST "/organizations/{org}/groups" GROUPS_WRITE => create;
    /// Reads a group.
    GET "/groups/{id}" GROUPS_READ => read;
    /// Changes a group; a new `parent_id` moves it with everything below it.
    PATCH "/groups/{id}" GROUPS_WRITE => update;
}

crate::record! {
    /// A group of people in an organization.
    Group in groups {
        id: GroupId,
        organization_id: OrganizationId,
        /// Null for a root.
        parent_id: Option<GroupId>,
        /// The product label that the group is for; empty for all products.
        product: Label,
        name: String,
        /// Unique among the groups of the same parent and product.
        slug: String,
        description: Option<Prose>,
        external_id: Option<ExternalId>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

impl Resource for Group {
    const NOUN: &'static str = "group";
    const PATH: &'static str = "groups";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupFilter {
    /// Returns the groups with this product label only: an exact match.
    product: Option<String>,
    /// Returns the children of this group only, by its ID. `none` returns the roots.
    parent: Option<String>,
    /// Returns the groups with this slug only.
    slug: Option<String>,
    /// Returns the group with this external ID only.
    external_id: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    /// The display name.
    name: Name,
    /// Unique among the groups of the same parent and product. Derived from the name when absent.
    slug: Option<Slug>,
    /// The group above this one; a root when absent.
    parent_id: Option<GroupId>,
    /// The product label that the group is for. It must be the parent's, unless that is empty. When
    /// absent, it is the parent's; empty (all products) for a root.
    product: Option<Label>,
    /// A description, up to 4,000 characters.
    description: Option<Prose>,
    /// The caller's own reference, unique in the organization.
    external_id: Option<ExternalId>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupPatch {
    /// The new display name.
    name: Option<Name>,
    /// The new slug, unique among the groups of the same parent and product.
    slug: Option<Slug>,
    /// The new group above this one. Null makes the group a root.
    #[serde(default)]
    parent_id: Patch<GroupId>,
    /// The new product label; empty for all products. It must be the parent's, unless that is empty.
    product: Option<Label>,
    /// The new description, up to 4,000 characters. Null removes it.
    #[serde(default)]
    description: Patch<Prose>,
    /// The new reference of the caller's own. Null removes it.
    #[serde(default)]
    external_id: Patch<ExternalId>,
}

async fn list(cx: &mut Cx, _: OrgList<GroupId>, list: List<GroupFilter>) -> Result<Page<Group>> {
    let (filter, areas) = (&list.filter, cx.caller.areas(cx.at, Permission::GROUPS_READ));
    if let Some(product) = &filter.product {
        products::refuse_reading(&cx.caller, product)?;
    }
    let query = cx.tx.select("WHERE organization_id = $1").bind(cx.at).within::<GroupId>(areas);
    let query = match filter.parent.as_deref() {
        None => query,
        Some("none") => query.sql(" AND parent_id IS NULL"),
        Some(id) => {
            let id: GroupId = id.parse().map_err(|_| {
                Error::invalid("parent", "`parent` must be a group's ID, or none for the roots.")
            })?;
            query.and(" AND parent_id = ?", id)
        }
    };
    let query = query
        .and_some(" AND product = ?", filter.product.as_deref())
        .and_some(" AND slug = ?", filter.slug.as_deref())
        .and_some(" AND external_id = ?", filter.external_id.as_deref());
    list.page(products::visible(query, &cx.caller, "product")).await
}

async fn create(cx: &mut Cx, _: Org, new: NewGroup) -> Result<Created<Group>> {
    let slug = Slug::or_from(new.slug, &new.name)?;
    let product = match new.parent_id {
        Some(parent) => product_below(cx, parent, new.product).await?,
        None => new.product.map(Label::into_string).unwrap_or_default(),
    };
    products::refuse_changing(&cx.caller, &product)?;
    let NewGroup { name, parent_id, description, external_id, .. } = new;
    let group = Initial { name, slug, parent_id, product, description, external_id };
    insert(cx, cx.at, group).await.map_err(at_parent).map(Created)
}

/// The initial values of a group.
pub struct Initial {
    pub name: Name,
    pub slug: Slug,
    pub parent_id: Option<GroupId>,
    pub product: String,
    pub description: Option<Prose>,
    pub external_id: Option<ExternalId>,
}

pub async fn insert<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    group: Initial,
) -> Result<Group> {
    let sql = "INSERT INTO groups
               (id, organization_id, parent_id, product, name, slug, description, external_id,
                created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)";
    let insert = cx
        .tx
        .returning(sql)
        .bind(GroupId::new(&cx.app.random, cx.now))
        .bind(organization)
        .bind(group.parent_id)
        .bind(group.product)
        .bind(group.name)
        .bind(group.slug)
        .bind(group.description)
        .bind(group.external_id)
        .bind(cx.now);
    named(insert.one().await)
}

/// Returns the product of a new group below a parent.
async fn product_below(cx: &mut Cx, parent: GroupId, product: Option<Label>) -> Result<String> {
    // The parent's product must not change before the group is there.
    organizations::touch(cx, cx.at).await?;
    let sql = "SELECT product FROM groups WHERE id = $1 AND organization_id = $2";
    let above: Option<String> = cx.tx.q(sql).bind(parent).bind(cx.at).value().await?;
    // The foreign key refuses a missing parent.
    let above = above.unwrap_or_default();
    let product = product.map_or_else(|| above.clone(), Label::into_string);
    if above.is_empty() || product == above { Ok(product) } else { Err(other_product()) }
}

/// Refuses a group whose product differs from that of its parent, and such groups below it.
async fn refuse_other_products(cx: &mut Cx, group: &Group) -> Result<()> {
    let sql = "WITH RECURSIVE tree (id, parent_id, product) AS (
                   SELECT g.id, g.parent_id, g.product FROM groups g WHERE g.id = $1
                   UNION ALL SELECT g.id, g.parent_id, g.product
                             FROM groups g JOIN tree t ON g.parent_id = t.id)
               SELECT 1 FROM tree JOIN groups p ON p.id = tree.parent_id
               WHERE p.product <> '' AND p.product <> tree.product LIMIT 1";
    match cx.tx.q(sql).bind(group.id).value::<i32>().await? {
        Some(_) => Err(other_product()),
        None => Ok(()),
    }
}

fn other_product() -> Error {
    let detail = "`product` of a group must be the product of its parent, unless that is empty.";
    Error::invalid("product", detail)
}

/// Refuses to move a group to a place where the caller may not change groups.
async fn refuse_leaving(cx: &mut Cx, parent: Option<GroupId>) -> Result<()> {
    let permission = Permission::GROUPS_WRITE;
    if let Some(parent) = parent {
        let found = cx.caller.in_organization(&mut cx.tx, parent, permission).await;
        return found.map(drop).map_err(|error| error.at("parent_id"));
    }
    if cx.caller.may_throughout(cx.at, permission) {
        return Ok(());
    }
    let detail =
        "`parent_id` can be null only for callers that may change all groups of the organization.";
    Err(Error::new(ProblemCode::Forbidden, detail).at("parent_id"))
}

async fn read(cx: &mut Cx, id: GroupId) -> Result<Group> {
    let group = load(cx, id).await?;
    products::refuse_reading(&cx.caller, group.product.as_str())?;
    Ok(group)
}

async fn update(cx: &mut Cx, id: GroupId, patch: GroupPatch) -> Result<Group> {
    // Two concurrent moves that are valid alone can create a cycle together, so they are
    // serialized.
    organizations::touch(cx, cx.at).await?;
    let before = load(cx, id).await?;
    let product = patch.product.as_ref().unwrap_or(&before.product);
    for product in [&before.product, product] {
        products::refuse_changing(&cx.caller, product.as_str())?;
    }
    let parent = patch.parent_id.over(before.parent_id);
    if parent != before.parent_id {
        refuse_leaving(cx, parent).await?;
    }
    let sql = concat!(
        "UPDATE groups
         SET name = COALESCE($3, name), slug = COALESCE($4, slug), parent_id = $5,
             product = COALESCE($6, product), description = $7, external_id = $8, updated_at = $9
         WHERE id = $1 AND organization_id = $2 AND NOT EXISTS (",
        above!("$5", "SELECT 1 FROM above WHERE above.id = $1"),
        ")"
    );
    let update = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(cx.at)
        .bind(patch.name)
        .bind(patch.slug)
        .bind(parent)
        .bind(patch.product)
        .bind(patch.description.over(before.description))
        .bind(patch.external_id.over(before.external_id))
        .bind(after(before.updated_at, cx.now));
    let updated: Group = named(update.opt().await).map_err(at_parent)?.ok_or_else(|| {
        let detail = "`parent_id` must not be the group itself or a group below it.";
        Error::new(ProblemCode::GroupCycle, detail).at("parent_id")
    })?;
    if updated.parent_id != before.parent_id || updated.product != before.product {
        refuse_other_products(cx, &updated).await?;
    }
    Ok(updated)
}

/// Changes the name and the external ID of a group.
pub async fn rename(
    cx: &mut Cx,
    group: &Group,
    name: &Name,
    external_id: Option<&ExternalId>,
) -> Result<()> {
    let sql = "UPDATE groups SET name = $3, external_id = $4, updated_at = $5
               WHERE id = $1 AND organization_id = $2";
    let at = after(group.updated_at, cx.now);
    let update = cx.tx.q(sql).bind(group.id).bind(cx.at).bind(name).bind(external_id).bind(at);
    update.exec().await?;
    Ok(())
}

/// Ends the group, and its rows in this slice. The caller holds the organization.
pub async fn end(cx: &mut Cx, id: GroupId) -> Result<()> {
    let sql = "DELETE FROM groups WHERE id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(id).bind(cx.at).exec().await?;
    Ok(())
}

pub async fn load(cx: &mut Cx, id: GroupId) -> Result<Group> {
    let found = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    Ok(found.one().await?)
}

/// Names `parent_id` in the error of a missing reference: a group refers to its parent only.
fn at_parent(error: Error) -> Error {
    match error.code() {
        ProblemCode::NotFound => {
            Error::new(ProblemCode::NotFound, "`parent_id`: group not found").at("parent_id")
        }
        _ => error,
    }
}

fn named<T>(done: Result<T, sqlx::Error>) -> Result<T> {
    let taken = || {
        let detail = "`slug` is already used by another group of the same parent and product.";
        Error::new(ProblemCode::SlugTaken, detail).at("slug")
    };
    done.on_conflict("groups_parent_id_product_slug", taken)
        .on_conflict("groups_product_slug", taken)
}
