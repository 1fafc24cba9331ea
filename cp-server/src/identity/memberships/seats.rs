//! Taking and leaving seats: the rules that hold however somebody becomes a member.

use cp_contracts::ProblemCode;

use super::{MembershipStatus, NewMembership, codes, load, refuse_granting_ownership};
use crate::identity::grants::permissions_of;
use crate::identity::roles::{self, Role, RoleScope};
use crate::identity::users;
use crate::kernel::caller::{Permission, Permissions, Scope};
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::ids::{
    GroupId, MembershipId, OrganizationId, ProjectId, RoleId, UserId, WorkspaceId,
};
use crate::kernel::policy::Location;
use crate::kernel::record::Codes;
use crate::kernel::text::PermissionCode;
use crate::tenancy::quotas::{self, Metric};
use crate::tenancy::workspaces;

/// Where a seat is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Organization,
    Workspace(WorkspaceId),
    Group(GroupId),
}

impl At {
    pub fn scope(self) -> RoleScope {
        match self {
            Self::Organization => RoleScope::Organization,
            Self::Workspace(_) => RoleScope::Workspace,
            Self::Group(_) => RoleScope::Group,
        }
    }

    pub fn workspace(self) -> Option<WorkspaceId> {
        if let Self::Workspace(id) = self { Some(id) } else { None }
    }
}

/// A seat that somebody takes.
#[derive(Clone, Copy)]
pub struct Seat {
    pub user: UserId,
    pub at: At,
    pub role: RoleId,
    pub status: MembershipStatus,
}

pub(super) async fn join(cx: &mut Cx, at: At, new: NewMembership) -> Result<super::Membership> {
    let user = match (new.user_id, &new.email) {
        (Some(id), None) => users::load(cx, id).await?,
        (None, Some(email)) => users::by_email(cx, email).await?,
        _ => {
            let detail = "user_id: name the person by either user_id or email.";
            return Err(Error::invalid("user_id", detail));
        }
    };
    let role = roles::resolve(cx, cx.org, at.scope(), &new.role).await?;
    refuse_granting_ownership(&role.code)?;
    refuse_giving(cx, at, &role, &new.permissions).await?;
    if at != At::Organization {
        refuse_outsider(cx, user.id).await?;
    }
    let status = match new.status {
        Some(status) => status,
        None => first_status(cx, user.id).await?,
    };
    let seat = Seat { user: user.id, at, role: role.id, status };
    let id = take(cx, cx.org, seat, codes(new.permissions)?).await?;
    workspaces::bump(cx, cx.org, at.workspace()).await?;
    Ok(load(cx, id).await?.into())
}

/// Nobody seats somebody who may then do more there than they may themselves.
async fn refuse_giving(cx: &mut Cx, at: At, role: &Role, extra: &[PermissionCode]) -> Result<()> {
    let extra = permissions_of(extra.iter().map(PermissionCode::as_str));
    for (given, field) in [(role.lets(), "role"), (extra, "permissions")] {
        refuse_giving_at(cx, at, given, field).await?;
    }
    Ok(())
}

pub(super) async fn refuse_giving_at(
    cx: &mut Cx,
    at: At,
    given: Permissions,
    field: &'static str,
) -> Result<()> {
    let (caller, tx, org) = (&cx.caller, &mut cx.tx, cx.org);
    match at {
        At::Organization => caller.refuse_giving(given, Location::Organization(org), field),
        At::Workspace(id) => caller.refuse_giving_on(tx, org, id, given, field).await,
        At::Group(id) => caller.refuse_giving_on(tx, org, id, given, field).await,
    }
}

/// Who is in charge of a part of the organization brings in its members, and nobody else.
pub(super) async fn refuse_outsider(cx: &mut Cx, user: UserId) -> Result<()> {
    let throughout = cx.caller.may_throughout(cx.org, Permission::MembersWrite);
    if throughout || is_member(cx, cx.org, user).await? {
        return Ok(());
    }
    let detail = "Only a member of the organization can be taken in here; have one of its admins \
                  invite the person first.";
    Err(Error::new(ProblemCode::Forbidden, detail))
}

/// Active, or invited while nobody knows the person's identity.
pub(super) async fn first_status<G>(cx: &mut Cx<G>, user: UserId) -> Result<MembershipStatus> {
    match users::has_auth_account(cx, user).await? {
        true => Ok(MembershipStatus::Active),
        false => Ok(MembershipStatus::Invited),
    }
}

/// Takes a seat. One of the organization counts against its quota, in this statement.
pub async fn take<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    seat: Seat,
    permissions: Codes,
) -> Result<MembershipId> {
    let counts = seat.at == At::Organization;
    if counts {
        quotas::hold(cx, organization, Metric::Members).await?;
    }
    let group = if let At::Group(id) = seat.at { Some(id) } else { None };
    let id = MembershipId::new(&cx.app.random, cx.now);
    let sql = "INSERT INTO memberships
               (id, organization_id, user_id, scope, workspace_id, group_id, role_id, status,
                permissions, created_at, updated_at)
               SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10
               WHERE NOT $11 OR (
                   SELECT q.quantity IS NULL OR q.quantity >
                          (SELECT COUNT(*) FROM memberships m
                           WHERE m.organization_id = $2 AND m.scope = 'organization')
                   FROM quotas q WHERE q.organization_id = $2 AND q.metric = 'members')";
    let insert = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(organization)
        .bind(seat.user)
        .bind(seat.at.scope())
        .bind(seat.at.workspace())
        .bind(group)
        .bind(seat.role)
        .bind(seat.status)
        .bind(permissions)
        .bind(cx.now)
        .bind(counts);
    let taken = insert
        .exec()
        .await
        .on_conflict("memberships_user_id", already)
        .on_conflict("memberships_workspace_id_user_id", already)
        .on_conflict("memberships_group_id_user_id", already)?;
    if taken == 1 {
        return Ok(id);
    }
    // Who is there already asks for no seat, however full it is.
    if is_member(cx, organization, seat.user).await? {
        return Err(already());
    }
    Err(quotas::exceeded(cx, organization, Metric::Members, 1).await)
}

pub(in crate::identity) fn already() -> Error {
    let detail = "The person is already a member here; change the membership instead.";
    Error::new(ProblemCode::AlreadyMember, detail)
}

pub async fn is_member<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    user: UserId,
) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM memberships WHERE organization_id = $1
                                AND user_id = $2 AND scope = 'organization')";
    Ok(cx.tx.q(sql).bind(organization).bind(user).value().await?.unwrap_or(false))
}

/// The first owner, in the transaction that makes the organization.
pub async fn seat_owner(
    cx: &mut Cx<Scope>,
    organization: OrganizationId,
    user: UserId,
) -> Result<()> {
    let role = roles::system(cx, roles::OWNER).await?;
    let status = MembershipStatus::Active;
    let seat = Seat { user, at: At::Organization, role, status };
    take(cx, organization, seat, Codes::default()).await?;
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
    Err(super::owner_protected("cannot remove owner").with("organizations", owned))
}

pub async fn purge_user<G>(cx: &mut Cx<G>, user: UserId) -> Result<()> {
    cx.tx.q("DELETE FROM memberships WHERE user_id = $1").bind(user).exec().await?;
    Ok(())
}

/// Ends the memberships of a project's workspaces.
pub async fn leave_project(cx: &mut Cx, project: ProjectId) -> Result<()> {
    let sql = "DELETE FROM memberships
               WHERE organization_id = $1
                 AND workspace_id IN (SELECT id FROM workspaces WHERE project_id = $2)";
    cx.tx.q(sql).bind(cx.org).bind(project).exec().await?;
    Ok(())
}

pub async fn purge(cx: &mut Cx) -> Result<()> {
    cx.tx.q("DELETE FROM memberships WHERE organization_id = $1").bind(cx.org).exec().await?;
    Ok(())
}
