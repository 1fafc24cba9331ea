//! Seats that a request sets as they should be: in the organization, and in its groups.
//!
//! Both functions may run again with the same person and role: then they change nothing.

use cp_contracts::ProblemCode;

use super::seats::{first_status, refuse_seat, refuse_touching};
use super::{
    AcceptedAs, At, MembershipPatch, MembershipRow, MembershipStatus, Seat, load,
    refuse_granting_ownership, take, update,
};
use crate::identity::ids::MembershipId;
use crate::identity::inviter::Inviter;
use crate::identity::roles::row::{self as roles, Role, RoleScope};
use crate::identity::roles::system::VIEWER;
use crate::kernel::access::ids::UserId;
use crate::kernel::clock::after;
use crate::kernel::db::record::Codes;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::tenancy::ids::GroupId;

/// The effect of a request on a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seated {
    New,
    Changed,
    Unchanged,
}

/// The role of a person in a group for whom no role is given.
pub(super) const MEMBER: &str = "GROUP_MEMBER";

/// Seats the person in the organization: as a viewer unless a role is given. A member keeps the
/// role unless one is given.
pub(in crate::identity) async fn in_organization(
    cx: &mut Cx,
    user: UserId,
    role: Option<&str>,
) -> Result<Seated> {
    let tail = "WHERE memberships.organization_id = $1 AND memberships.user_id = $2
                  AND memberships.scope = 'organization'";
    let known: Option<MembershipRow> = cx.tx.select(tail).bind(cx.at).bind(user).opt().await?;
    let role = match (role, &known) {
        (None, Some(_)) => return Ok(Seated::Unchanged),
        (None, None) => roles::load_system(cx, VIEWER).await?,
        (Some(name), _) => roles::resolve(cx, cx.at, RoleScope::Organization, name).await?,
    };
    refuse_granting_ownership(&role.code)?;
    match known {
        Some(before) if before.role_id == role.id => Ok(Seated::Unchanged),
        Some(before) => {
            let role = Some(role.id.to_string());
            let patch = MembershipPatch { role, status: None, permissions: None };
            update(cx, before.id, patch).await?;
            Ok(Seated::Changed)
        }
        None => {
            refuse_seat(cx, At::Organization, &role, &[]).await?;
            seat(cx, At::Organization, user, &role).await?;
            Ok(Seated::New)
        }
    }
}

/// Seats a member of the organization in the group. A member of the group keeps the role unless one
/// is given.
pub async fn in_group(
    cx: &mut Cx,
    group: GroupId,
    user: UserId,
    role: Option<&str>,
) -> Result<Seated> {
    let known = find(cx, group, user).await?;
    if known.is_some() && role.is_none() {
        return Ok(Seated::Unchanged);
    }
    let name = role.unwrap_or(MEMBER);
    let role = roles::resolve(cx, cx.at, RoleScope::Group, name).await?;
    refuse_seat(cx, At::Group(group), &role, &[]).await?;
    let Some(id) = known else {
        seat(cx, At::Group(group), user, &role).await?;
        return Ok(Seated::New);
    };
    let before = load(cx, id).await?;
    refuse_touching(cx, &before).await?;
    if before.role_id == role.id {
        return Ok(Seated::Unchanged);
    }
    let sql = "UPDATE memberships SET role_id = $2, updated_at = $3 WHERE id = $1";
    let at = after(before.updated_at, cx.now);
    cx.tx.q(sql).bind(id).bind(role.id).bind(at).exec().await?;
    Ok(Seated::Changed)
}

/// Returns the person's seat in the group.
pub(super) async fn find(
    cx: &mut Cx,
    group: GroupId,
    user: UserId,
) -> Result<Option<MembershipId>> {
    let sql = "SELECT id FROM memberships
               WHERE organization_id = $1 AND group_id = $2 AND user_id = $3";
    Ok(cx.tx.q(sql).bind(cx.at).bind(group).bind(user).value().await?)
}

async fn seat(cx: &mut Cx, at: At, user: UserId, role: &Role) -> Result<()> {
    let first = first_status(cx, user, None).await?;
    seat_as(cx, at, user, role, first).await
}

/// Seats the person with this status, taken in this way.
pub(super) async fn seat_as(
    cx: &mut Cx,
    at: At,
    user: UserId,
    role: &Role,
    (status, accepted): (MembershipStatus, Option<AcceptedAs>),
) -> Result<()> {
    let inviter = Some(Inviter::of(&cx.caller));
    let seat = Seat { user, at, role: role.id, status, accepted, inviter };
    let taken = take(cx, cx.at, seat, Codes::default()).await;
    taken.map(drop).map_err(|error| match error.code() {
        // Another request seated the person at the same moment.
        ProblemCode::AlreadyMember => Error::stale(),
        _ => error,
    })
}
