//! Seats: the rules for taking and leaving one, for every kind of membership.

use cp_contracts::ProblemCode;
use serde_json::json;
use sqlx::types::Json;

use super::row::{AcceptedAs, At, MembershipRow, MembershipStatus};
use crate::identity::escalation;
use crate::identity::ids::{InvitationId, MembershipId, RoleId, TokenId};
use crate::identity::invitations::closing;
use crate::identity::inviter::Inviter;
use crate::identity::leavers;
use crate::identity::role_grants::privileges_of;
use crate::identity::roles::row::{self as roles, Role, RoleScope, load_system};
use crate::identity::roles::system::OWNER;
use crate::identity::users::rows as users;
use crate::kernel::access::caller::{Permission, Scope};
use crate::kernel::access::ids::{OrganizationId, ProjectId, UserId};
use crate::kernel::clock::after;
use crate::kernel::db::record::Codes;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::tenancy::quotas::{self, Metric};
use crate::tenancy::workspaces;

/// A seat for a person.
#[derive(Clone)]
pub struct Seat {
    pub user: UserId,
    pub at: At,
    pub role: RoleId,
    pub status: MembershipStatus,
    /// The way in which it was taken; `None` while it is only offered.
    pub accepted: Option<AcceptedAs>,
    /// The caller that offers it.
    pub inviter: Option<Inviter>,
}

/// Refuses a seat that grants what the caller does not hold there.
pub(super) async fn refuse_seat(cx: &mut Cx, at: At, role: &Role, extra: &[String]) -> Result<()> {
    let (caller, tx, org) = (&cx.caller, &mut cx.tx, cx.at);
    let granted = escalation::of_seat(tx, org, at, role.privileges(), extra).await?;
    escalation::refuse_more(caller, tx, org, granted).await
}

/// Refuses to change or end the seat of a member that holds more than the caller.
pub(super) async fn refuse_touching(cx: &mut Cx, seat: &MembershipRow) -> Result<()> {
    let role = roles::load(cx, seat.role_id).await?;
    refuse_seat(cx, seat.at(), &role, &seat.permissions).await.map_err(|error| match error.code() {
        ProblemCode::Forbidden => {
            let detail = "This member holds more than the caller. Only a caller that holds as much \
                          can change or remove the member.";
            Error::new(ProblemCode::Forbidden, detail)
        }
        _ => error,
    })
}

/// Refuses to seat an outsider by a caller in charge of only a part of the organization. Such a
/// caller may seat only members of the organization.
pub(super) async fn refuse_outsider(cx: &mut Cx, user: UserId) -> Result<()> {
    let throughout = cx.caller.may_throughout(cx.at, Permission::MEMBERS_WRITE);
    if throughout || is_member(cx, cx.at, user).await? {
        return Ok(());
    }
    let detail = "Only members of the organization can be added here. Ask an admin of the \
                  organization to invite the person first.";
    Err(Error::new(ProblemCode::Forbidden, detail))
}

/// Returns the first status of a new seat, and the way in which it was accepted.
///
/// A person takes a seat, and no organization binds a person. The seat is `invited` until the
/// person accepts, unless the person is in the organization already. The platform may seat a person
/// itself.
pub(super) async fn first_status(
    cx: &mut Cx,
    user: UserId,
    asked: Option<MembershipStatus>,
) -> Result<(MembershipStatus, Option<AcceptedAs>)> {
    use MembershipStatus::{Active, Invited, Suspended};
    let is_in = is_active(cx, cx.at, user).await?;
    let for_person = cx.caller.is_of_platform();
    let status = match asked {
        Some(Active) if !for_person && !is_in => {
            let detail = "`status` must be `invited`: the person accepts the seat with `POST \
                          /memberships/{id}/accept` or at the first login.";
            return Err(Error::invalid("status", detail));
        }
        Some(status) => status,
        None if is_in => Active,
        None if for_person && users::has_auth_account(cx, user).await? => Active,
        None => Invited,
    };
    let accepted = match status {
        Invited => None,
        Active if is_in => Some(AcceptedAs::Member),
        Active => Some(AcceptedAs::Vendor),
        Suspended => for_person.then_some(AcceptedAs::Vendor),
    };
    Ok((status, accepted))
}

/// Returns whether the person has taken a seat in the organization. The seat stays until the end of the
/// transaction: a request that removes it at the same moment then also removes lower seats.
async fn is_active(cx: &mut Cx, organization: OrganizationId, user: UserId) -> Result<bool> {
    let sql = "SELECT 1 FROM memberships
               WHERE organization_id = $1 AND user_id = $2
                 AND scope = 'organization' AND status = 'active'";
    let kept = "SELECT 1 FROM memberships
                WHERE organization_id = $1 AND user_id = $2
                  AND scope = 'organization' AND status = 'active' FOR KEY SHARE";
    let found: Option<i32> = cx.tx.q2(sql, kept).bind(organization).bind(user).value().await?;
    Ok(found.is_some())
}

/// Takes a seat. One of the organization counts against its quota, in the same statement.
///
/// A seat that the person has already violates no constraint, so a caller may go on after the refusal:
/// PostgreSQL runs no further statement in a transaction in which one has failed.
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
                permissions, accepted_at, accepted_as, inviter, created_at, updated_at)
               SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $12, $13, $14, $10, $10
               WHERE NOT $11 OR (
                   SELECT q.quantity IS NULL OR q.quantity >
                          (SELECT COUNT(*) FROM memberships m
                           WHERE m.organization_id = $2 AND m.scope = 'organization')
                   FROM quotas q WHERE q.organization_id = $2 AND q.metric = 'members')
               ON CONFLICT DO NOTHING";
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
        .bind(counts)
        .bind(seat.accepted.map(|_| cx.now))
        .bind(seat.accepted)
        .bind(seat.inviter.map(Json));
    if insert.exec().await? == 1 {
        if counts {
            closing::revoke(cx, organization, seat.user).await?;
        }
        if seat.status != MembershipStatus::Suspended {
            leavers::readmit(&mut cx.tx, organization, seat.user).await?;
        }
        return Ok(id);
    }
    // An existing member needs no further seat, so a full quota does not matter.
    if !counts || is_member(cx, organization, seat.user).await? {
        return Err(already());
    }
    Err(quotas::exceeded(cx, organization, Metric::Members, 1).await)
}

pub(in crate::identity) fn already() -> Error {
    let detail = "The person is already a member here. Change the membership instead.";
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

/// Seats the first owner, in the transaction that creates the organization.
pub async fn seat_owner(
    cx: &mut Cx<Scope>,
    organization: OrganizationId,
    user: UserId,
) -> Result<()> {
    let role = load_system(cx, OWNER).await?.id;
    let (status, accepted) = (MembershipStatus::Active, Some(AcceptedAs::Vendor));
    let seat = Seat { user, at: At::Organization, role, status, accepted, inviter: None };
    take(cx, organization, seat, Codes::default()).await?;
    Ok(())
}

/// Takes the seats that the organization offers to the person. An offer whose inviter no longer
/// holds what it grants stays open.
pub async fn accept_offers<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    user: UserId,
    how: AcceptedAs,
) -> Result<u64> {
    let tail = "WHERE memberships.organization_id = $1 AND memberships.user_id = $2
                  AND memberships.status = 'invited' ORDER BY memberships.id";
    let offers: Vec<MembershipRow> = cx.tx.select(tail).bind(organization).bind(user).all().await?;
    let mut taken = 0;
    for offer in offers {
        match accept_offer(cx, &offer, how).await {
            Ok(()) => taken += 1,
            Err(error) if *error.code() == ProblemCode::Forbidden => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// Takes one offered seat, if its inviter still holds what it grants.
pub(super) async fn accept_offer<G>(
    cx: &mut Cx<G>,
    offer: &MembershipRow,
    how: AcceptedAs,
) -> Result<()> {
    let (app, organization) = (cx.app.clone(), offer.organization_id);
    let role = privileges_of(offer.role_permissions.iter(), offer.role_rank);
    let granted =
        escalation::of_seat(&mut cx.tx, organization, offer.at(), role, &offer.permissions).await?;
    let inviter = offer.inviter.as_ref().map(|inviter| &inviter.0);
    escalation::refuse_lapsed(&app, &mut cx.tx, organization, inviter, granted).await?;
    let sql = "UPDATE memberships
               SET status = 'active', accepted_at = $2, accepted_as = $3, updated_at = $4
               WHERE id = $1 AND status = 'invited' AND role_id = $5";
    let at = after(offer.updated_at, cx.now);
    let update = cx.tx.q(sql).bind(offer.id).bind(cx.now).bind(how).bind(at).bind(offer.role_id);
    // The offer was withdrawn or changed since the look-up.
    if update.exec().await? == 0 {
        return Err(Error::stale());
    }
    workspaces::bump(cx, organization, offer.workspace_id).await
}

/// Removes a seat; with one of the organization, all seats of the person end.
pub(super) async fn remove(cx: &mut Cx, before: &MembershipRow) -> Result<()> {
    if before.role_code == OWNER {
        return Err(owner_protected("Cannot remove owner"));
    }
    let sql = "DELETE FROM memberships WHERE id = $1 AND organization_id = $2 AND role_id = $3";
    if cx.tx.q(sql).bind(before.id).bind(cx.at).bind(before.role_id).exec().await? == 0 {
        return Err(Error::stale());
    }
    if before.scope == RoleScope::Organization {
        leave(cx, before.user_id).await?;
    } else if !has_seat(cx, before.user_id).await? {
        leavers::end_seat(&mut cx.tx, cx.at, before.user_id, cx.now).await?;
    }
    workspaces::bump(cx, cx.at, before.workspace_id).await
}

/// Returns whether the person has a seat anywhere in the organization.
async fn has_seat(cx: &mut Cx, user: UserId) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM memberships
                              WHERE organization_id = $1 AND user_id = $2)";
    Ok(cx.tx.q(sql).bind(cx.at).bind(user).value().await?.unwrap_or(false))
}

/// Does what follows from the new status of a seat: a suspended member must not come back through an
/// open invitation, and a member with a seat is no leaver.
pub(super) async fn follow_status(
    cx: &mut Cx,
    scope: RoleScope,
    user: UserId,
    status: MembershipStatus,
) -> Result<()> {
    if status != MembershipStatus::Suspended {
        return leavers::readmit(&mut cx.tx, cx.at, user).await;
    }
    match scope {
        RoleScope::Organization => closing::revoke(cx, cx.at, user).await,
        _ => Ok(()),
    }
}

/// Ends the memberships of a person who leaves the organization. The audit event lists the tokens
/// and invitations that the person created.
async fn leave(cx: &mut Cx, user: UserId) -> Result<()> {
    let sql = "DELETE FROM memberships WHERE organization_id = $1 AND user_id = $2";
    cx.tx.q(sql).bind(cx.at).bind(user).exec().await?;
    users::unlink_from(cx, user).await?;
    leavers::end_seat(&mut cx.tx, cx.at, user, cx.now).await?;
    closing::revoke(cx, cx.at, user).await?;
    let sql = "SELECT id FROM service_tokens
               WHERE organization_id = $1 AND created_by = $2 AND revoked_at IS NULL ORDER BY id";
    let tokens: Vec<(TokenId,)> = cx.tx.q(sql).bind(cx.at).bind(user).all().await?;
    let sql = "SELECT id FROM invitations
               WHERE organization_id = $1 AND status = 'pending' AND inviter ->> 'user' = $2
               ORDER BY id";
    let invitations: Vec<(InvitationId,)> =
        cx.tx.q(sql).bind(cx.at).bind(user.to_string()).all().await?;
    let tokens: Vec<_> = tokens.into_iter().map(|(id,)| id).collect();
    let invitations: Vec<_> = invitations.into_iter().map(|(id,)| id).collect();
    let left_behind = json!({"service_tokens": tokens, "invitations": invitations});
    cx.audit.after = Some(json!({"left_behind": left_behind}));
    Ok(())
}

/// Increases the revision of every organization of the person, because answers about the person
/// change.
pub async fn bump_user<G>(cx: &mut Cx<G>, user: UserId) -> Result<()> {
    let sql = "SELECT DISTINCT organization_id FROM memberships WHERE user_id = $1
               ORDER BY organization_id";
    let organizations: Vec<(OrganizationId,)> = cx.tx.q(sql).bind(user).all().await?;
    for (organization,) in organizations {
        workspaces::bump(cx, organization, None).await?;
    }
    Ok(())
}

/// Refuses to remove an owner, who can leave only after a transfer.
pub async fn refuse_owner<G>(cx: &mut Cx<G>, user: UserId) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM organizations WHERE owner_user_id = $1";
    let owned: i64 = cx.tx.q(sql).bind(user).value().await?.unwrap_or(0);
    if owned == 0 {
        return Ok(());
    }
    Err(owner_protected("Cannot remove owner").with("organizations", owned))
}

pub(super) fn owner_protected(what: &str) -> Error {
    let detail = format!("{what}. Transfer the ownership to another member first.");
    Error::new(ProblemCode::OwnerProtected, detail)
}

pub(in crate::identity) fn refuse_granting_ownership(code: &str) -> Result<()> {
    if code != OWNER {
        return Ok(());
    }
    let detail = "`role` cannot be the owner's. Use POST /organizations/{org}/transfer-ownership.";
    Err(Error::new(ProblemCode::UseTransferOwnership, detail).at("role"))
}

pub async fn purge_user<G>(cx: &mut Cx<G>, user: UserId) -> Result<()> {
    cx.tx.q("DELETE FROM memberships WHERE user_id = $1").bind(user).exec().await?;
    Ok(())
}

/// Ends the memberships of a project's workspaces.
pub(super) async fn leave_project(cx: &mut Cx, project: ProjectId) -> Result<()> {
    let sql = "DELETE FROM memberships
               WHERE organization_id = $1
                 AND workspace_id IN (SELECT id FROM workspaces WHERE project_id = $2)";
    cx.tx.q(sql).bind(cx.at).bind(project).exec().await?;
    Ok(())
}
