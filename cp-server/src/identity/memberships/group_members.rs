//! The members of a group; each is a member of the organization too.

use schemars::JsonSchema;
use serde::Deserialize;

use super::seating::{self, MEMBER, Seated, find};
use super::seats::refuse_outsider;
use super::{Membership, MembershipFilter, load, page, refuse_touching};
use crate::identity::users::rows as users;
use crate::kernel::access::ids::UserId;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{NoContent, Put};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, Page};
use crate::tenancy::ids::GroupId;
use crate::tenancy::workspaces;

crate::routes! { groups:
    /// Lists the group's members.
    GET "/groups/{id}/members" MEMBERS_READ => list_members;
    /// Adds a person to the group, or changes the member's role.
    ///
    /// A person outside the organization becomes a viewer of it, which counts against its quota.
    PUT "/groups/{id}/members/{user_id}" MEMBERS_WRITE => put_member, grants;
    /// Removes a person from the group; the person stays a member of the organization.
    DELETE "/groups/{id}/members/{user_id}" MEMBERS_DELETE => remove_member;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupMember {
    /// A role of groups, by ID, code or short form; `member` when absent.
    role: Option<String>,
}

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
    refuse_outsider(cx, user).await?;
    let user = users::load_named(cx, user).await?.id;
    seating::in_organization(cx, user, None).await?;
    let role = member.role.as_deref().unwrap_or(MEMBER);
    let seated = seating::in_group(cx, group, user, Some(role)).await?;
    workspaces::bump(cx, cx.at, None).await?;
    let id = find(cx, group, user).await?.ok_or_else(Error::stale)?;
    let membership = load(cx, id).await?.into();
    Ok(if seated == Seated::New { Put::New(membership) } else { Put::Known(membership) })
}

async fn remove_member(cx: &mut Cx, (group, user): (GroupId, UserId)) -> Result<NoContent> {
    let found = find(cx, group, user).await?.ok_or_else(|| Error::not_found("member"))?;
    let before = load(cx, found).await?;
    if !cx.caller.is_user_in(user, cx.at) {
        refuse_touching(cx, &before).await?;
    }
    cx.audit.before = serde_json::to_value(Membership::from(before)).ok();
    let sql = "DELETE FROM memberships WHERE id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(found).bind(cx.at).exec().await?;
    workspaces::bump(cx, cx.at, None).await?;
    Ok(NoContent)
}
