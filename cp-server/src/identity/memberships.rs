//! Memberships: a person × a scope × a role × a status.

pub mod of_groups;
pub mod of_people;
mod seats;

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::grants::permissions_of;
use super::roles::{self, RoleScope};
use crate::kernel::answer::{Created, NoContent, Resource};
use crate::kernel::caller::Permissions;
use crate::kernel::clock::after;
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{GroupId, MembershipId, OrganizationId, RoleId, UserId, WorkspaceId};
use crate::kernel::page::{List, Page};
use crate::kernel::place::Org;
use crate::kernel::query::Rows;
use crate::kernel::record::{Codes, Record};
use crate::kernel::text::{Email, PermissionCode};
use crate::tenancy::{organizations, workspaces};

pub(super) use seats::already;
use seats::join;
pub use seats::{
    At, Seat, activate_invited, bump_user, is_member, leave_project, purge, purge_user,
    refuse_owner, seat_owner, take,
};

crate::routes! { memberships:
    /// Lists the organization's members.
    GET "/organizations/{org}/memberships" MembersRead => list;
    /// Makes a person a member of the organization.
    POST "/organizations/{org}/memberships" MembersWrite => create;
    /// Lists the workspace's members.
    GET "/workspaces/{id}/memberships" MembersRead => list_of_workspace;
    /// Makes a person a member of the workspace.
    POST "/workspaces/{id}/memberships" MembersWrite => create_in_workspace;
    /// Reads a membership.
    GET "/memberships/{id}" MembersRead => read;
    /// Changes a member's role, status or extra permissions.
    PATCH "/memberships/{id}" MembersWrite => update;
    /// Ends a membership; one of the organization with all that the person has below it.
    DELETE "/memberships/{id}" MembersDelete => delete;
    /// Makes an active member the owner; the owner before becomes an admin.
    POST "/organizations/{org}/transfer-ownership" OrgDelete => transfer_ownership;
}

crate::text_enum! {
    MembershipStatus { Invited = "invited", Active = "active", Suspended = "suspended" }
}

/// A person's place in an organization or workspace.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Membership {
    id: MembershipId,
    organization_id: OrganizationId,
    scope: RoleScope,
    workspace_id: Option<WorkspaceId>,
    group_id: Option<GroupId>,
    user_id: UserId,
    email: String,
    role: MembershipRole,
    status: MembershipStatus,
    /// What this member may do beyond the role.
    permissions: Vec<String>,
    /// The role's permissions and the extra ones.
    effective_permissions: Vec<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct MembershipRole {
    pub(super) id: RoleId,
    pub(super) code: String,
    pub(super) name: String,
    pub(super) rank: i64,
}

impl Resource for Membership {
    const NOUN: &'static str = "membership";
    const PATH: &'static str = "memberships";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MembershipFilter {
    status: Option<MembershipStatus>,
    user_id: Option<UserId>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMembership {
    /// Who: this, or `email`.
    user_id: Option<UserId>,
    /// A person whom nobody has met yet is created.
    email: Option<Email>,
    /// A role's id, its code (`ORGANIZATION_ADMIN`), or its short form here (`admin`).
    role: String,
    /// Active when absent, or invited when the person has no identity linked yet.
    status: Option<MembershipStatus>,
    #[serde(default)]
    permissions: Vec<PermissionCode>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MembershipPatch {
    role: Option<String>,
    status: Option<MembershipStatus>,
    permissions: Option<Vec<PermissionCode>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOwner {
    user_id: UserId,
}

async fn list(cx: &mut Cx, _: Org, list: List<MembershipFilter>) -> Result<Page<Membership>> {
    let query = cx
        .tx
        .select("WHERE memberships.organization_id = $1 AND memberships.scope = 'organization'")
        .bind(cx.org);
    page(query, list).await
}

async fn list_of_workspace(
    cx: &mut Cx,
    id: WorkspaceId,
    list: List<MembershipFilter>,
) -> Result<Page<Membership>> {
    let query = cx
        .tx
        .select("WHERE memberships.workspace_id = $1 AND memberships.organization_id = $2")
        .bind(id)
        .bind(cx.org);
    page(query, list).await
}

async fn create(cx: &mut Cx, _: Org, new: NewMembership) -> Result<Created<Membership>> {
    join(cx, At::Organization, new).await.map(Created)
}

async fn create_in_workspace(
    cx: &mut Cx,
    id: WorkspaceId,
    new: NewMembership,
) -> Result<Created<Membership>> {
    join(cx, At::Workspace(id), new).await.map(Created)
}

async fn read(cx: &mut Cx, id: MembershipId) -> Result<Membership> {
    Ok(load(cx, id).await?.into())
}

async fn update(cx: &mut Cx, id: MembershipId, patch: MembershipPatch) -> Result<Membership> {
    let before = load(cx, id).await?;
    if before.role_code == roles::OWNER && (patch.role.is_some() || patch.status.is_some()) {
        return Err(owner_protected("cannot change owner role or status"));
    }
    // Neither does anybody change one who holds more, nor make one of them.
    refuse_touching(cx, id, before.lets()).await?;
    let role = match patch.role {
        Some(name) => {
            let role = roles::resolve(cx, cx.org, before.scope, &name).await?;
            refuse_granting_ownership(&role.code)?;
            cx.caller.refuse_giving_on(&mut cx.tx, cx.org, id, role.lets(), "role").await?;
            Some(role.id)
        }
        None => None,
    };
    if let Some(extra) = &patch.permissions {
        let extra = permissions_of(extra.iter().map(PermissionCode::as_str));
        cx.caller.refuse_giving_on(&mut cx.tx, cx.org, id, extra, "permissions").await?;
    }
    let sql = "UPDATE memberships
               SET role_id = COALESCE($3, role_id), status = COALESCE($4, status),
                   permissions = COALESCE($5, permissions), updated_at = $6
               WHERE id = $1 AND organization_id = $2 AND role_id = $7";
    let update = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.org)
        .bind(role)
        .bind(patch.status)
        .bind(patch.permissions.map(codes).transpose()?)
        .bind(after(before.updated_at, cx.now))
        .bind(before.role_id);
    // Somebody else changed the role since: it may be the owner's now.
    if update.exec().await? == 0 {
        return Err(Error::stale());
    }
    workspaces::bump(cx, cx.org, before.workspace_id).await?;
    Ok(load(cx, id).await?.into())
}

async fn delete(cx: &mut Cx, id: MembershipId) -> Result<NoContent> {
    let before = load(cx, id).await?;
    if before.role_code == roles::OWNER {
        return Err(owner_protected("cannot remove owner"));
    }
    refuse_touching(cx, id, before.lets()).await?;
    let sql = "DELETE FROM memberships WHERE id = $1 AND organization_id = $2 AND role_id = $3";
    if cx.tx.q(sql).bind(id).bind(cx.org).bind(before.role_id).exec().await? == 0 {
        return Err(Error::stale());
    }
    if before.scope == RoleScope::Organization {
        // Whoever leaves the organization leaves its teams and workspaces too.
        let sql = "DELETE FROM memberships WHERE organization_id = $1 AND user_id = $2";
        cx.tx.q(sql).bind(cx.org).bind(before.user_id).exec().await?;
    }
    workspaces::bump(cx, cx.org, before.workspace_id).await?;
    Ok(NoContent)
}

async fn transfer_ownership(cx: &mut Cx, _: Org, new: NewOwner) -> Result<Membership> {
    // First of all, because it holds the organization: of two transfers one sees the other's end.
    organizations::lock(cx).await?;
    let sql = "SELECT id FROM memberships
               WHERE organization_id = $1 AND user_id = $2
                 AND scope = 'organization' AND status = 'active'";
    let heir: Option<MembershipId> = cx.tx.q(sql).bind(cx.org).bind(new.user_id).value().await?;
    let Some(heir) = heir else {
        let detail = "user_id: only an active member can become the owner; member not found.";
        return Err(Error::new(ProblemCode::NotFound, detail).at("user_id"));
    };
    let owner = roles::resolve(cx, cx.org, RoleScope::Organization, roles::OWNER).await?;
    let admin = roles::resolve(cx, cx.org, RoleScope::Organization, roles::ADMIN).await?;
    // The owner is one column of the organization; the roles follow it.
    let sql = "UPDATE memberships SET role_id = $3, updated_at = $4
               WHERE organization_id = $1 AND role_id = $2 AND scope = 'organization'";
    cx.tx.q(sql).bind(cx.org).bind(owner.id).bind(admin.id).bind(cx.now).exec().await?;
    let sql = "UPDATE memberships SET role_id = $2, updated_at = $3
               WHERE id = $1 AND status = 'active'";
    if cx.tx.q(sql).bind(heir).bind(owner.id).bind(cx.now).exec().await? == 0 {
        return Err(Error::stale());
    }
    organizations::set_owner(cx, new.user_id).await?;
    workspaces::bump(cx, cx.org, None).await?;
    Ok(load(cx, heir).await?.into())
}

pub(super) fn refuse_granting_ownership(code: &str) -> Result<()> {
    if code != roles::OWNER {
        return Ok(());
    }
    let detail = "Ownership is transferred: POST /organizations/{org}/transfer-ownership.";
    Err(Error::new(ProblemCode::UseTransferOwnership, detail).at("role"))
}

/// Who holds more than the caller is not the caller's to change.
async fn refuse_touching(cx: &mut Cx, id: MembershipId, held: Permissions) -> Result<()> {
    let refused = cx.caller.refuse_giving_on(&mut cx.tx, cx.org, id, held, "role").await;
    refused.map_err(|error| match error.code() {
        ProblemCode::Forbidden => {
            let detail = "This member holds more than the caller; only somebody who holds as much \
                          can change or remove them.";
            Error::new(ProblemCode::Forbidden, detail)
        }
        _ => error,
    })
}

fn owner_protected(what: &str) -> Error {
    let detail = format!("{what}: transfer the ownership to another member first.");
    Error::new(ProblemCode::OwnerProtected, detail)
}

fn codes(permissions: Vec<PermissionCode>) -> Result<Codes> {
    let codes = permissions.into_iter().map(PermissionCode::into_string).collect();
    Codes::bounded("permissions", codes)
}

async fn load(cx: &mut Cx, id: MembershipId) -> Result<MembershipRow> {
    let found = cx.tx.select("WHERE memberships.id = $1 AND memberships.organization_id = $2");
    Ok(found.bind(id).bind(cx.org).one().await?)
}

/// One membership, for what is not held to its organization by a path.
pub(super) async fn of_organization<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    id: MembershipId,
) -> Result<Membership> {
    let found = cx.tx.select("WHERE memberships.id = $1 AND memberships.organization_id = $2");
    let row: MembershipRow = found.bind(id).bind(organization).one().await?;
    Ok(row.into())
}

async fn page(
    query: Rows<'_, MembershipRow>,
    list: List<MembershipFilter>,
) -> Result<Page<Membership>> {
    let query = query
        .and_some(" AND memberships.status = ?", list.filter.status)
        .and_some(" AND memberships.user_id = ?", list.filter.user_id);
    Ok(list.page(query).await?.map(Membership::from))
}

/// A membership with its role and its person: one statement, never one per member.
#[derive(sqlx::FromRow)]
pub struct MembershipRow {
    id: MembershipId,
    organization_id: OrganizationId,
    scope: RoleScope,
    workspace_id: Option<WorkspaceId>,
    group_id: Option<GroupId>,
    user_id: UserId,
    email: String,
    role_id: RoleId,
    role_code: String,
    role_name: String,
    role_rank: i64,
    role_permissions: Codes,
    status: MembershipStatus,
    permissions: Codes,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Record for MembershipRow {
    const TABLE: &'static str = "memberships
        JOIN roles ON roles.id = memberships.role_id
        JOIN users ON users.id = memberships.user_id";
    const COLUMNS: &'static str = "memberships.id, memberships.organization_id, memberships.scope,
        memberships.workspace_id, memberships.group_id, memberships.user_id, users.email, memberships.role_id,
        roles.code AS role_code, roles.name AS role_name, roles.rank AS role_rank,
        roles.permissions AS role_permissions, memberships.status, memberships.permissions,
        memberships.created_at, memberships.updated_at";
    const KEY: &'static str = "memberships.id";
    fn key(&self) -> Uuid {
        self.id.0
    }
}

impl MembershipRow {
    /// What the member may do here by this membership.
    fn lets(&self) -> Permissions {
        let codes = self.role_permissions.iter().chain(self.permissions.iter());
        permissions_of(codes.map(String::as_str))
    }
}

impl From<MembershipRow> for Membership {
    fn from(row: MembershipRow) -> Self {
        let effective_permissions = roles::union(&row.role_permissions, &row.permissions);
        Self {
            id: row.id,
            organization_id: row.organization_id,
            scope: row.scope,
            workspace_id: row.workspace_id,
            group_id: row.group_id,
            user_id: row.user_id,
            email: row.email,
            role: MembershipRole {
                id: row.role_id,
                code: row.role_code,
                name: row.role_name,
                rank: row.role_rank,
            },
            status: row.status,
            permissions: row.permissions.to_vec(),
            effective_permissions,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
