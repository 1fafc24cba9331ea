//! Memberships: a person × a scope × a role × a status.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::roles::{self, RoleScope};
use super::users;
use crate::kernel::answer::{Created, NoContent, Resource};
use crate::kernel::caller::Scope;
use crate::kernel::clock::after;
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::ids::{MembershipId, OrganizationId, RoleId, UserId, WorkspaceId};
use crate::kernel::page::{List, Page};
use crate::kernel::place::Org;
use crate::kernel::query::Rows;
use crate::kernel::record::{Codes, Record};
use crate::kernel::text::{Email, PermissionCode};
use crate::tenancy::{organizations, workspaces};

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
    /// Ends a membership.
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
    id: RoleId,
    code: String,
    name: String,
    rank: i64,
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
    join(cx, None, new).await
}

async fn create_in_workspace(
    cx: &mut Cx,
    id: WorkspaceId,
    new: NewMembership,
) -> Result<Created<Membership>> {
    join(cx, Some(id), new).await
}

async fn read(cx: &mut Cx, id: MembershipId) -> Result<Membership> {
    Ok(load(cx, id).await?.into())
}

async fn update(cx: &mut Cx, id: MembershipId, patch: MembershipPatch) -> Result<Membership> {
    let before = load(cx, id).await?;
    let role = match patch.role {
        Some(name) => {
            let role = roles::resolve(cx, cx.org, before.scope, &name).await?;
            refuse_granting_ownership(&role.code)?;
            Some(role.id)
        }
        None => None,
    };
    if before.role_code == roles::OWNER && (role.is_some() || patch.status.is_some()) {
        return Err(owner_protected("cannot change owner role or status"));
    }
    let sql = "UPDATE memberships
               SET role_id = COALESCE($3, role_id), status = COALESCE($4, status),
                   permissions = COALESCE($5, permissions), updated_at = $6
               WHERE id = $1 AND organization_id = $2";
    let update = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.org)
        .bind(role)
        .bind(patch.status)
        .bind(patch.permissions.map(codes))
        .bind(after(before.updated_at, cx.now));
    update.exec().await?;
    workspaces::bump(cx, cx.org, before.workspace_id).await?;
    Ok(load(cx, id).await?.into())
}

async fn delete(cx: &mut Cx, id: MembershipId) -> Result<NoContent> {
    let before = load(cx, id).await?;
    if before.role_code == roles::OWNER {
        return Err(owner_protected("cannot remove owner"));
    }
    let sql = "DELETE FROM memberships WHERE id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(id).bind(cx.org).exec().await?;
    workspaces::bump(cx, cx.org, before.workspace_id).await?;
    Ok(NoContent)
}

async fn transfer_ownership(cx: &mut Cx, _: Org, new: NewOwner) -> Result<Membership> {
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
    let sql = "UPDATE memberships SET role_id = $2, updated_at = $3 WHERE id = $1";
    cx.tx.q(sql).bind(heir).bind(owner.id).bind(cx.now).exec().await?;
    organizations::set_owner(cx, new.user_id).await?;
    workspaces::bump(cx, cx.org, None).await?;
    Ok(load(cx, heir).await?.into())
}

async fn join(
    cx: &mut Cx,
    workspace: Option<WorkspaceId>,
    new: NewMembership,
) -> Result<Created<Membership>> {
    let user = match (new.user_id, &new.email) {
        (Some(id), None) => users::load(cx, id).await?,
        (None, Some(email)) => users::by_email(cx, email).await?,
        _ => {
            let detail = "user_id: name the person by either user_id or email.";
            return Err(Error::invalid("user_id", detail));
        }
    };
    let scope = match workspace {
        Some(_) => RoleScope::Workspace,
        None => RoleScope::Organization,
    };
    let role = roles::resolve(cx, cx.org, scope, &new.role).await?;
    refuse_granting_ownership(&role.code)?;
    let status = match new.status {
        Some(status) => status,
        None if users::has_auth_account(cx, user.id).await? => MembershipStatus::Active,
        None => MembershipStatus::Invited,
    };
    let seat = Seat { user: user.id, workspace, role: role.id, status };
    let id = insert(cx, cx.org, seat, codes(new.permissions)).await?;
    workspaces::bump(cx, cx.org, workspace).await?;
    Ok(Created(load(cx, id).await?.into()))
}

/// A place that somebody takes.
struct Seat {
    user: UserId,
    workspace: Option<WorkspaceId>,
    role: RoleId,
    status: MembershipStatus,
}

async fn insert<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    seat: Seat,
    permissions: Codes,
) -> Result<MembershipId> {
    let already = || {
        let detail = "The person is already a member here; change the membership instead.";
        Error::new(ProblemCode::AlreadyMember, detail)
    };
    let scope = match seat.workspace {
        Some(_) => RoleScope::Workspace,
        None => RoleScope::Organization,
    };
    let id = MembershipId::new(&cx.app.random, cx.now);
    let sql = "INSERT INTO memberships
               (id, organization_id, user_id, scope, workspace_id, role_id, status, permissions,
                created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)";
    let insert = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(organization)
        .bind(seat.user)
        .bind(scope)
        .bind(seat.workspace)
        .bind(seat.role)
        .bind(seat.status)
        .bind(permissions)
        .bind(cx.now);
    insert
        .exec()
        .await
        .on_conflict("memberships_user_id", already)
        .on_conflict("memberships_workspace_id_user_id", already)?;
    Ok(id)
}

/// The first owner, in the transaction that makes the organization.
pub async fn seat_owner(
    cx: &mut Cx<Scope>,
    organization: OrganizationId,
    user: UserId,
) -> Result<()> {
    let sql = "SELECT id FROM roles WHERE organization_id IS NULL AND code = $1";
    let role: RoleId = cx
        .tx
        .q(sql)
        .bind(roles::OWNER)
        .value()
        .await?
        .ok_or_else(|| Error::internal(anyhow::anyhow!("the system roles are not seeded")))?;
    let seat = Seat { user, workspace: None, role, status: MembershipStatus::Active };
    insert(cx, organization, seat, Codes::default()).await?;
    Ok(())
}

/// Turns a person's invitations into memberships: their identity is known now.
pub async fn activate_invited<G>(cx: &mut Cx<G>, user: UserId) -> Result<u64> {
    let sql = "UPDATE memberships SET status = 'active', updated_at = $2
               WHERE user_id = $1 AND status = 'invited'";
    Ok(cx.tx.q(sql).bind(user).bind(cx.now).exec().await?)
}

/// Notes in every organization of the person that answers about them have changed.
pub async fn bump_user<G>(cx: &mut Cx<G>, user: UserId) -> Result<()> {
    let sql = "SELECT DISTINCT organization_id FROM memberships WHERE user_id = $1";
    let organizations: Vec<(OrganizationId,)> = cx.tx.q(sql).bind(user).all().await?;
    for (organization,) in organizations {
        workspaces::bump(cx, organization, None).await?;
    }
    Ok(())
}

/// An owner leaves by a transfer only.
pub async fn refuse_owner<G>(cx: &mut Cx<G>, user: UserId) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM organizations WHERE owner_user_id = $1";
    let owned: i64 = cx.tx.q(sql).bind(user).value().await?.unwrap_or(0);
    if owned == 0 {
        return Ok(());
    }
    Err(owner_protected("cannot remove owner").with("organizations", owned))
}

pub async fn purge_user<G>(cx: &mut Cx<G>, user: UserId) -> Result<()> {
    cx.tx.q("DELETE FROM memberships WHERE user_id = $1").bind(user).exec().await?;
    Ok(())
}

pub async fn purge(cx: &mut Cx) -> Result<()> {
    cx.tx.q("DELETE FROM memberships WHERE organization_id = $1").bind(cx.org).exec().await?;
    Ok(())
}

fn refuse_granting_ownership(code: &str) -> Result<()> {
    if code != roles::OWNER {
        return Ok(());
    }
    let detail = "Ownership is transferred: POST /organizations/{org}/transfer-ownership.";
    Err(Error::new(ProblemCode::UseTransferOwnership, detail).at("role"))
}

fn owner_protected(what: &str) -> Error {
    let detail = format!("{what}: transfer the ownership to another member first.");
    Error::new(ProblemCode::OwnerProtected, detail)
}

fn codes(permissions: Vec<PermissionCode>) -> Codes {
    permissions.into_iter().map(PermissionCode::into_string).collect::<Vec<_>>().into()
}

async fn load(cx: &mut Cx, id: MembershipId) -> Result<MembershipRow> {
    let found = cx.tx.select("WHERE memberships.id = $1 AND memberships.organization_id = $2");
    Ok(found.bind(id).bind(cx.org).one().await?)
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
struct MembershipRow {
    id: MembershipId,
    organization_id: OrganizationId,
    scope: RoleScope,
    workspace_id: Option<WorkspaceId>,
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
        memberships.workspace_id, memberships.user_id, users.email, memberships.role_id,
        roles.code AS role_code, roles.name AS role_name, roles.rank AS role_rank,
        roles.permissions AS role_permissions, memberships.status, memberships.permissions,
        memberships.created_at, memberships.updated_at";
    const KEY: &'static str = "memberships.id";
    fn key(&self) -> Uuid {
        self.id.0
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
