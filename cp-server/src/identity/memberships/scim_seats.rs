//! Seats of the people whom an organization's identity provider provisions (SCIM).
//!
//! # Design
//! The organization has made its identity provider the authority over who belongs to it. So the
//! provider may end the seat of any member, also of one that holds more than the provider's token.
//! The owner is the exception: an organization must not lose its owner to a mistake in a directory.
//! A seat that it gives is that of a viewer. Its token must hold what the seat grants, like every
//! other caller.

use super::seating::seat_as;
use super::seats::{first_status, refuse_seat, remove};
use super::{AcceptedAs, At, MembershipRow, MembershipStatus};
use crate::identity::invitations::closing;
use crate::identity::leavers;
use crate::identity::roles::row as roles;
use crate::identity::roles::system::VIEWER;
use crate::kernel::access::ids::UserId;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::tenancy::ids::GroupId;
use crate::tenancy::workspaces;

/// Seats the person in the organization as a viewer.
///
/// `taken` is how the person took an earlier seat that the provider ended: that person is back in.
/// All others are offered the seat, as by any caller of an organization.
pub async fn seat(cx: &mut Cx, user: UserId, taken: Option<AcceptedAs>) -> Result<()> {
    let role = roles::load_system(cx, VIEWER).await?;
    refuse_seat(cx, At::Organization, &role, &[]).await?;
    let (status, accepted) = match taken {
        Some(_) => (MembershipStatus::Active, taken),
        None => first_status(cx, user, None).await?,
    };
    seat_as(cx, At::Organization, user, &role, (status, accepted)).await?;
    workspaces::bump(cx, cx.at, None).await
}

/// Ends the person's seats. Returns how the person had taken the one in the organization; `None` if
/// it was only offered, or if there is none.
///
/// # Errors
/// Fails with 409 for the owner.
pub async fn unseat(cx: &mut Cx, user: UserId) -> Result<Option<AcceptedAs>> {
    let tail = "WHERE memberships.organization_id = $1 AND memberships.user_id = $2
                  AND memberships.scope = 'organization'";
    let found: Option<MembershipRow> = cx.tx.select(tail).bind(cx.at).bind(user).opt().await?;
    let Some(seat) = found else { return Ok(None) };
    remove(cx, &seat).await?;
    Ok(seat.accepted_as.filter(|_| seat.accepted_at.is_some()))
}

/// Records that a person who has no seat is to get none, and revokes the open invitations to the
/// addresses by which the provider knows the person.
pub async fn keep_out(cx: &mut Cx, user: UserId, addresses: &[String]) -> Result<()> {
    leavers::end_seat(&mut cx.tx, cx.at, user, cx.now).await?;
    closing::revoke(cx, cx.at, user).await?;
    for address in addresses {
        closing::revoke_to(cx, cx.at, &address.to_lowercase()).await?;
    }
    Ok(())
}

/// Removes the person from the group, if the person is in it.
pub async fn leave_group(cx: &mut Cx, group: GroupId, user: UserId) -> Result<()> {
    let sql = "DELETE FROM memberships
               WHERE organization_id = $1 AND group_id = $2 AND user_id = $3";
    cx.tx.q(sql).bind(cx.at).bind(group).bind(user).exec().await?;
    Ok(())
}
