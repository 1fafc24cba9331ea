//! Organizations: the tenants. Creation and deletion cross all slices and are in `lifecycle.rs`;
//! this file has the row itself.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::settings;
use crate::kernel::access::caller::{CallerScope, Permission, Scope};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::place::Org;
use crate::kernel::clock::after;
use crate::kernel::db::query::Query;
use crate::kernel::db::record::Object;
use crate::kernel::db::search::Search;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::Section;
use crate::kernel::text::{Domain, Explanation, ExternalId, Name, Slug};
use crate::tenancy::ids::WorkspaceId;

crate::permissions! {
    /// Create organizations.
    ORG_CREATE = "org:create";
    /// Read an organization.
    ORG_READ = "org:read", held by ["ORGANIZATION_VIEWER", "WORKSPACE_VIEWER"];
    /// Change an organization.
    ORG_WRITE = "org:write", held by ["ORGANIZATION_ADMIN", "WORKSPACE_ADMIN"];
    /// Delete an organization: suspend it, or on the platform purge it.
    ORG_DELETE = "org:delete", held by ["ORGANIZATION_OWNER", "WORKSPACE_OWNER"];
    /// Export all data of an organization. Only owners hold it: an export is all of the data.
    ORG_EXPORT = "org:export", implied by ["org:delete"], kept in suspension;
    /// Import organizations, people, plans, licenses and what belongs to them.
    IMPORTS_WRITE = "imports:write";
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "organizations",
    "organization",
    Export::Section(Section::one::<Organization>("organization")),
)
.owner("id")
.permissions(PERMISSIONS);

crate::routes! {
    /// The customers of the vendor: each is a tenant with its own people, plans and licenses.
    organizations declares DECLARATION:
    /// Lists the organizations that the caller may read: on the platform all, otherwise the caller's
    /// own.
    GET "/organizations" ORG_READ => list;
    /// Reads an organization.
    GET "/organizations/{org}" ORG_READ => read;
}

crate::text_enum! {
    OrganizationStatus { Active = "active", Suspended = "suspended" }
}

crate::record! {
    /// A customer: the tenant that owns everything else.
    Organization in organizations {
        id: OrganizationId,
        name: String,
        slug: String,
        /// While the organization is suspended, nothing is issued or renewed; reads still work.
        status: OrganizationStatus,
        external_id: Option<ExternalId>,
        email_domain: Option<Domain>,
        owner_user_id: Option<UserId>,
        default_workspace_id: Option<WorkspaceId>,
        settings: Object,
        metadata: Object,
        /// Grows with every change that can affect an authorization or entitlement answer.
        revision: i64,
        /// The end of the retention after the organization's own people deleted it.
        retained_until: Option<DateTime<Utc>>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

impl Resource for Organization {
    const NOUN: &'static str = "organization";
    const PATH: &'static str = "organizations";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationFilter {
    /// Returns the organizations with this status only.
    status: Option<OrganizationStatus>,
    /// Returns the organization with this slug only.
    slug: Option<String>,
    /// Returns the organization with this external ID only.
    external_id: Option<String>,
    /// Returns the organizations whose name or slug begins with this text in upper or lower case.
    /// Also the organization with this ID or external ID.
    q: Option<Search>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationPatch {
    /// The new display name.
    name: Option<Name>,
    /// The new slug, unique among all organizations.
    slug: Option<Slug>,
    /// The new status. Only callers of the platform may set it.
    status: Option<OrganizationStatus>,
    /// The caller's own reference, unique among all organizations. Null removes it. Only callers of
    /// the platform may set it.
    #[serde(default)]
    external_id: Patch<ExternalId>,
    /// The e-mail domain of the organization's people, unique among all organizations. Null removes
    /// it. Only callers of the platform may set it.
    #[serde(default)]
    email_domain: Patch<Domain>,
    /// Settings to merge, one level deep; null removes a member. Absent members stay.
    #[serde(default)]
    settings: Map<String, Value>,
    /// Metadata to merge member by member; null removes a member. Absent members stay.
    #[serde(default)]
    metadata: Map<String, Value>,
    /// Why, for the audit log.
    reason: Option<Explanation>,
}

impl OrganizationPatch {
    /// Returns the first field of the patch that only the vendor may set: the status, and the names
    /// by which others find the organization.
    pub fn of_the_vendor(&self) -> Option<&'static str> {
        [
            (self.status.is_some(), "status"),
            (!matches!(self.external_id, Patch::Keep), "external_id"),
            (!matches!(self.email_domain, Patch::Keep), "email_domain"),
        ]
        .into_iter()
        .find_map(|(given, field)| given.then_some(field))
    }
}

async fn list(
    cx: &mut Cx<Scope>,
    _: CallerScope,
    list: List<OrganizationFilter>,
) -> Result<Page<Organization>> {
    let filter = &list.filter;
    let is_visible = |id: &OrganizationId| cx.caller.may_throughout(*id, Permission::ORG_READ);
    let own: Option<Vec<OrganizationId>> = match cx.caller.on_platform(Permission::ORG_READ) {
        Ok(()) => None,
        Err(_) => Some(cx.caller.organizations().into_iter().filter(is_visible).collect()),
    };
    let query = cx
        .tx
        .select("WHERE TRUE")
        .and_some(" AND status = ?", filter.status)
        .and_some(" AND slug = ?", filter.slug.as_deref())
        .and_some(" AND external_id = ?", filter.external_id.as_deref())
        .search(filter.q.as_ref(), &["name", "slug"], &["external_id"]);
    let query = match own {
        None => query,
        Some(own) => query.sql(" AND id IN ").rows([own], |q, own| own.iter().fold(q, Query::bind)),
    };
    list.page(query).await
}

async fn read(cx: &mut Cx, _: Org) -> Result<Organization> {
    load(cx).await
}

pub async fn update(cx: &mut Cx, patch: OrganizationPatch) -> Result<Organization> {
    let before: Organization = cx.tx.select("WHERE id = $1").bind(cx.at).locked().one().await?;
    cx.audit.reason = patch.reason.map(Explanation::into_string);
    let merged = before.settings.changed("settings", |own| settings::merge(own, patch.settings))?;
    settings::check(&merged)?;
    let metadata = before.metadata.merged("metadata", patch.metadata)?;
    let external_id = patch.external_id.over(before.external_id);
    let email_domain = patch.email_domain.over(before.email_domain);
    let sql = "UPDATE organizations
               SET name = $2, slug = $3, status = $4, external_id = $5, email_domain = $6,
                   settings = $7, metadata = $8, revision = revision + 1, updated_at = $9,
                   retained_until = CASE WHEN $4 = 'active' THEN NULL ELSE retained_until END
               WHERE id = $1";
    let update = cx
        .tx
        .returning(sql)
        .bind(cx.at)
        .bind(patch.name.map_or(before.name, Name::into_string))
        .bind(patch.slug.map_or(before.slug, Slug::into_string))
        .bind(patch.status.unwrap_or(before.status))
        .bind(external_id)
        .bind(email_domain)
        .bind(merged)
        .bind(metadata)
        .bind(after(before.updated_at, cx.now));
    Ok(update.one().await?)
}

/// Returns the organization of the operation.
pub async fn load(cx: &mut Cx) -> Result<Organization> {
    Ok(cx.tx.select("WHERE id = $1").bind(cx.at).one().await?)
}

/// The initial values of an organization.
pub struct NewOrganization {
    pub name: Name,
    pub slug: Option<Slug>,
    pub external_id: Option<ExternalId>,
    pub email_domain: Option<Domain>,
    pub owner: Option<UserId>,
    pub settings: Map<String, Value>,
    pub metadata: Map<String, Value>,
}

/// The number of suffixes that are tried behind a slug that was derived from a name.
const SLUG_ATTEMPTS: u32 = 50;

pub async fn insert(cx: &mut Cx<Scope>, new: NewOrganization) -> Result<Organization> {
    let merged = Object::default().changed("settings", |own| {
        own.insert("isolation_level".into(), "standard".into());
        settings::merge(own, new.settings);
    })?;
    settings::check(&merged)?;
    let metadata = Object::default().merged("metadata", new.metadata)?;
    let chosen = new.slug.is_some();
    let slug = match new.slug {
        Some(slug) => slug,
        None => free_slug(cx, &new.name).await?,
    };
    let sql = "INSERT INTO organizations
               (id, name, slug, status, external_id, email_domain, owner_user_id, settings,
                metadata, revision, created_at, updated_at)
               VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $8, 1, $9, $9)";
    let insert = cx
        .tx
        .returning(sql)
        .bind(OrganizationId::new(&cx.app.random, cx.now))
        .bind(new.name)
        .bind(slug)
        .bind(new.external_id)
        .bind(new.email_domain)
        .bind(new.owner)
        .bind(merged)
        .bind(metadata)
        .bind(cx.now);
    insert.one().await.map_err(Error::from).map_err(|error| match error.code() {
        // Another request took the slug since: try the next one.
        ProblemCode::SlugTaken if !chosen => Error::stale(),
        _ => error,
    })
}

/// Returns a slug derived from the name that is free now; the unique index decides.
async fn free_slug(cx: &mut Cx<Scope>, name: &Name) -> Result<Slug> {
    let Some(stem) = Slug::from_name(name.as_str()) else {
        return Ok(Slug::random(&cx.app.random));
    };
    for n in 0..SLUG_ATTEMPTS {
        let slug = if n == 0 { stem.clone() } else { stem.numbered(n) };
        let sql = "SELECT 1 FROM organizations WHERE slug = $1";
        if cx.tx.q(sql).bind(&slug).value::<i32>().await?.is_none() {
            return Ok(slug);
        }
    }
    Ok(Slug::random(&cx.app.random))
}

/// Increases the revision, because the rights or entitlements of the organization changed.
pub async fn touch<G>(cx: &mut Cx<G>, id: OrganizationId) -> Result<()> {
    let sql = "UPDATE organizations SET revision = revision + 1 WHERE id = $1";
    cx.tx.q(sql).bind(id).exec().await?;
    Ok(())
}

/// Locks the organization at the revision that was read, until the end of the transaction.
pub async fn hold<G>(cx: &mut Cx<G>, id: OrganizationId, revision: i64) -> Result<()> {
    let held = cx.tx.q2(
        "SELECT 1 FROM organizations WHERE id = $1 AND revision = $2",
        "SELECT 1 FROM organizations WHERE id = $1 AND revision = $2 FOR SHARE",
    );
    match held.bind(id).bind(revision).value::<i32>().await? {
        Some(_) => Ok(()),
        None => Err(Error::stale()),
    }
}

pub async fn set_owner(cx: &mut Cx, user: UserId) -> Result<()> {
    let at = lock(cx).await?;
    let sql = "UPDATE organizations
               SET owner_user_id = $2, revision = revision + 1, updated_at = $3 WHERE id = $1";
    cx.tx.q(sql).bind(cx.at).bind(user).bind(at).exec().await?;
    Ok(())
}

/// Locks the organization until the end of the transaction, and returns the instant of its change.
/// The instant is always later than that of the change before.
pub async fn lock(cx: &mut Cx) -> Result<DateTime<Utc>> {
    let before: Organization = cx.tx.select("WHERE id = $1").bind(cx.at).locked().one().await?;
    Ok(after(before.updated_at, cx.now))
}

/// Sets the default workspace, also the first one. One statement suffices: the default is one
/// column.
pub async fn set_default_workspace(
    cx: &mut Cx,
    workspace: WorkspaceId,
    only_first: bool,
) -> Result<()> {
    let sql = "UPDATE organizations SET default_workspace_id = $2
               WHERE id = $1 AND (default_workspace_id IS NULL OR NOT $3)";
    cx.tx.q(sql).bind(cx.at).bind(workspace).bind(only_first).exec().await?;
    Ok(())
}

/// Clears the default workspace: the last workspace was deleted.
pub async fn forget_default_workspace(cx: &mut Cx, workspace: WorkspaceId) -> Result<()> {
    let sql = "UPDATE organizations SET default_workspace_id = NULL
               WHERE id = $1 AND default_workspace_id = $2";
    cx.tx.q(sql).bind(cx.at).bind(workspace).exec().await?;
    Ok(())
}

/// Suspends the organization. This ends the retention of a deleted one.
pub async fn suspend(cx: &mut Cx, retained_until: Option<DateTime<Utc>>) -> Result<Organization> {
    let at = lock(cx).await?;
    let sql = "UPDATE organizations
               SET status = 'suspended', revision = revision + 1, updated_at = $2,
                   retained_until = COALESCE(retained_until, $3)
               WHERE id = $1";
    Ok(cx.tx.returning(sql).bind(cx.at).bind(at).bind(retained_until).one().await?)
}
