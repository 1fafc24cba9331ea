//! me: the identity of the caller, its permissions and their sources.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::memberships::row::{MembershipRole, MembershipStatus};
use super::roles::row::RoleScope;
use crate::identity::ids::{MembershipId, RoleId};
use crate::kernel::access::caller::{Caller, CallerKind, CallerScope, Scope};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::permissions::Permissions;
use crate::kernel::access::policy::{Domain, Grant};
use crate::kernel::db::query::Query;
use crate::kernel::db::record::Record;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, NoFilter, Page};
use crate::tenancy::ids::{GroupId, WorkspaceId};

crate::routes! {
    /// The caller: its identity, its grants and where each grant comes from.
    me:
    /// Returns the caller's identity, permissions and grants.
    GET "/me" ANY => read;
    /// Lists the caller's own memberships, the offered ones included.
    ///
    /// `POST /memberships/{id}/accept` takes an offered seat; `DELETE /memberships/{id}` declines
    /// or leaves it.
    GET "/me/memberships" ANY => list_memberships;
}

/// The caller, as authorization sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Me {
    kind: CallerKind,
    id: Uuid,
    name: String,
    /// The person, if the caller is one.
    user_id: Option<UserId>,
    /// The provider at which the person logged in.
    provider: Option<String>,
    /// The organization that owns that provider; null for a provider of the platform.
    vouched_by: Option<OrganizationId>,
    /// The organization that the caller is restricted to, or a person's first; null on the
    /// platform.
    organization_id: Option<OrganizationId>,
    /// The codes of a person's roles; a token has permissions only.
    roles: Vec<String>,
    /// The product labels that the caller is restricted to; empty means all.
    products: Vec<String>,
    /// The organizations in which the caller has grants, in the order of their slugs.
    organizations: Vec<MyOrganization>,
    /// The caller's permissions anywhere; `grants` shows where each one counts.
    permissions: Vec<&'static str>,
    /// The caller's grants; each one counts in its own part only.
    grants: Vec<Held>,
}

/// An organization in which the caller has grants.
#[derive(Debug, Serialize, JsonSchema)]
struct MyOrganization {
    id: OrganizationId,
    slug: String,
    name: String,
    /// The codes of the roles that a person has in it.
    roles: Vec<String>,
}

/// Permissions on a part of the platform, with their source.
#[derive(Debug, Serialize, JsonSchema)]
struct Held {
    /// `platform`, `organization`, or an area of one: `workspace`, `project`, `deployment`,
    /// `license`, or `group` with all groups below it.
    on: &'static str,
    organization_id: Option<OrganizationId>,
    /// The workspace, project, deployment, license or group.
    id: Option<Uuid>,
    /// A role's code, `service_token`, `license_key` or `system`.
    by: String,
    permissions: Vec<&'static str>,
}

async fn read(cx: &mut Cx<Scope>, _: CallerScope) -> Result<Me> {
    let organizations = my_organizations(cx).await?;
    let caller = &cx.caller;
    let roles = roles(caller, |_| true);
    let anywhere = caller.grants.iter().fold(Permissions::NONE, |a, g| a.union(g.permissions));
    let login = caller.login.as_deref();
    Ok(Me {
        kind: caller.kind,
        id: caller.id,
        name: caller.name.clone(),
        user_id: caller.user,
        provider: login.map(|login| login.provider.clone()),
        vouched_by: login.and_then(|login| login.authority.organization()),
        organization_id: cx.at.organization(),
        roles,
        organizations,
        products: login.map(|login| login.products.clone()).unwrap_or_default(),
        permissions: anywhere.codes(),
        grants: caller.grants.iter().map(Held::from).collect(),
    })
}

async fn my_organizations(cx: &mut Cx<Scope>) -> Result<Vec<MyOrganization>> {
    let ids = cx.caller.organizations();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT id, slug, name FROM organizations WHERE id IN ";
    let query = cx.tx.q(sql).rows([ids], |query, ids| ids.into_iter().fold(query, Query::bind));
    let found: Vec<OwnOrganization> = query.sql(" ORDER BY slug").all().await?;
    let caller = &cx.caller;
    let organizations = found.into_iter().map(|OwnOrganization { id, slug, name }| {
        let roles = roles(caller, |grant| grant.on.organization() == Some(id));
        MyOrganization { id, slug, name, roles }
    });
    Ok(organizations.collect())
}

/// Returns the codes of a person's roles, each once. A token has permissions only.
fn roles(caller: &Caller, is_meant: impl Fn(&Grant) -> bool) -> Vec<String> {
    let mut roles: Vec<String> = Vec::new();
    let is_person = caller.kind == CallerKind::Person;
    for grant in caller.grants.iter().filter(|grant| is_person && is_meant(grant)) {
        if !roles.iter().any(|role| **role == *grant.by) {
            roles.push(grant.by.to_string());
        }
    }
    roles
}

/// A seat of the caller's own, taken or offered.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OwnMembership {
    id: MembershipId,
    organization: OwnOrganization,
    scope: RoleScope,
    workspace_id: Option<WorkspaceId>,
    group_id: Option<GroupId>,
    role: MembershipRole,
    status: MembershipStatus,
    /// Null while the seat is offered.
    accepted_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct OwnOrganization {
    id: OrganizationId,
    slug: String,
    name: String,
}

async fn list_memberships(
    cx: &mut Cx<Scope>,
    _: CallerScope,
    list: List<NoFilter>,
) -> Result<Page<OwnMembership>> {
    // A machine is not a user, so it has no memberships.
    let user = cx.caller.user.unwrap_or(UserId(Uuid::nil()));
    let authority = cx.caller.authority().organization();
    let query = cx
        .tx
        .select("WHERE memberships.user_id = $1")
        .bind(user)
        .and_some(" AND memberships.organization_id = ?", authority);
    let page: Page<Row> = list.page(query).await?;
    Ok(page.map(OwnMembership::from))
}

#[derive(sqlx::FromRow)]
struct Row {
    id: MembershipId,
    organization_id: OrganizationId,
    organization_slug: String,
    organization_name: String,
    scope: RoleScope,
    workspace_id: Option<WorkspaceId>,
    group_id: Option<GroupId>,
    role_id: RoleId,
    role_code: String,
    role_name: String,
    role_rank: i64,
    status: MembershipStatus,
    accepted_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl Record for Row {
    const TABLE: &'static str = "memberships
        JOIN organizations ON organizations.id = memberships.organization_id
        JOIN roles ON roles.id = memberships.role_id";
    const COLUMNS: &'static str = "memberships.id, memberships.organization_id,
        organizations.slug AS organization_slug, organizations.name AS organization_name,
        memberships.scope, memberships.workspace_id, memberships.group_id, memberships.role_id,
        roles.code AS role_code, roles.name AS role_name, roles.rank AS role_rank,
        memberships.status, memberships.accepted_at, memberships.created_at";
    const KEY: &'static str = "memberships.id";
    fn key(&self) -> Uuid {
        self.id.0
    }
}

impl From<Row> for OwnMembership {
    fn from(row: Row) -> Self {
        let (id, slug, name) = (row.organization_id, row.organization_slug, row.organization_name);
        let (role, code) = (row.role_id, row.role_code);
        Self {
            id: row.id,
            organization: OwnOrganization { id, slug, name },
            scope: row.scope,
            workspace_id: row.workspace_id,
            group_id: row.group_id,
            role: MembershipRole { id: role, code, name: row.role_name, rank: row.role_rank },
            status: row.status,
            accepted_at: row.accepted_at,
            created_at: row.created_at,
        }
    }
}

impl From<&Grant> for Held {
    fn from(grant: &Grant) -> Self {
        let (on, id) = match grant.on {
            Domain::Platform => ("platform", None),
            Domain::Organization(_) => ("organization", None),
            Domain::Area(_, area) => (area.kind.as_str(), Some(area.id)),
        };
        let (by, permissions) = (grant.by.to_string(), grant.permissions.codes());
        Self { on, organization_id: grant.on.organization(), id, by, permissions }
    }
}
