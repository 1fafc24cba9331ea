//! The members of a group. Whoever joins one is a member of the organization too.

use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::seats::{first_status, refuse_outsider, refuse_seat};
use super::{At, Membership, MembershipFilter, Seat, is_member, load, page, refuse_touching, take};
use crate::identity::ids::MembershipId;
use crate::identity::inviter::Inviter;
use crate::identity::roles::row::{self as roles, RoleScope};
use crate::identity::roles::system::VIEWER;
use crate::identity::users::rows as users;
use crate::kernel::access::ids::UserId;
use crate::kernel::db::record::Codes;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{NoContent, Put};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, Page};
use crate::tenancy::ids::GroupId;
use crate::tenancy::workspaces;

crate::routes! { groups:
    /// Lists the group's members.
    GET "/groups/{id}/members" MEMBERS_READ => list_members;
    /// Makes a person a member of the group, or changes the member's role.
    ///
    /// Somebody who is not in the organization becomes a viewer of it, which counts against its
    /// quota.
    PUT "/groups/{id}/members/{user_id}" MEMBERS_WRITE => put_member, grants;
    /// Takes a person out of the group; the organization keeps its member.
    DELETE "/groups/{id}/members/{user_id}" MEMBERS_DELETE => remove_member;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupMember {
    /// A role of groups, by id, code or short form; `member` when absent.
    role: Option<String>,
}

const MEMBER: &str = "GROUP_MEMBER";

async fn list_members(
    cx: &mut Cx,
    id: GroupId,
    list: List<MembershipFilter>,
) -> Result<Page<Membership>> {
    let query = cx
        .tx
        .select("WHERE memberships.group_id = $1 AND memberships.organization_id = $2")
        .bind(id)
        .bind(cx.at);
    page(query, list).await
}

async fn put_member(
    cx: &mut Cx,
    (group, user): (GroupId, UserId),
    member: GroupMember,
) -> Result<Put<Membership>> {
    let user = users::load(cx, user).await?.id;
    let name = member.role.as_deref().unwrap_or(MEMBER);
    let role = roles::resolve(cx, cx.at, RoleScope::Group, name).await?;
    refuse_seat(cx, At::Group(group), &role, &[]).await?;
    refuse_outsider(cx, user).await?;
    let (status, accepted) = first_status(cx, user, None).await?;
    let inviter = Some(Inviter::of(&cx.caller));
    let seat = Seat { user, at: At::Group(group), role: role.id, status, accepted, inviter };
    if !is_member(cx, cx.at, user).await? {
        let viewer = roles::load_system(cx, VIEWER).await?;
        refuse_seat(cx, At::Organization, &viewer, &[]).await?;
        let seat = Seat { at: At::Organization, role: viewer.id, ..seat.clone() };
        take(cx, cx.at, seat, Codes::default()).await.map_err(|error| match error.code() {
            // Made a member by somebody else in this moment.
            ProblemCode::AlreadyMember => Error::stale(),
            _ => error,
        })?;
    }
    let known = find(cx, group, user).await?;
    let membership = match known {
        Some(id) => {
            let before = load(cx, id).await?;
            refuse_touching(cx, &before).await?;
            let sql = "UPDATE memberships SET role_id = $2, updated_at = $3 WHERE id = $1";
            cx.tx.q(sql).bind(id).bind(role.id).bind(cx.now).exec().await?;
            id
        }
        None => take(cx, cx.at, seat, Codes::default()).await.map_err(|error| {
            if *error.code() == ProblemCode::AlreadyMember { Error::stale() } else { error }
        })?,
    };
    workspaces::bump(cx, cx.at, None).await?;
    let membership = load(cx, membership).await?.into();
    Ok(if known.is_some() { Put::Known(membership) } else { Put::New(membership) })
}

async fn remove_member(cx: &mut Cx, (group, user): (GroupId, UserId)) -> Result<NoContent> {
    let found = find(cx, group, user).await?.ok_or_else(|| Error::not_found("member"))?;
    let before = load(cx, found).await?;
    if !cx.caller.is_user_in(user, cx.at) {
        refuse_touching(cx, &before).await?;
    }
    cx.trail.before = serde_json::to_value(Membership::from(before)).ok();
    let sql = "DELETE FROM memberships WHERE id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(found).bind(cx.at).exec().await?;
    workspaces::bump(cx, cx.at, None).await?;
    Ok(NoContent)
}

async fn find(cx: &mut Cx, group: GroupId, user: UserId) -> Result<Option<MembershipId>> {
    let sql = "SELECT id FROM memberships
               WHERE organization_id = $1 AND group_id = $2 AND user_id = $3";
    Ok(cx.tx.q(sql).bind(cx.at).bind(group).bind(user).value().await?)
}
