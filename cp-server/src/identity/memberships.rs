//! Memberships: a person × a scope × a role × a status.

pub mod group_members;
pub mod person_organizations;
pub mod row;
pub mod scim_seats;
pub mod seating;
mod seats;

use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::inviter::Inviter;
use super::roles::row::{self as roles, RoleScope};
use super::roles::system::{ADMIN, OWNER};
use super::users::rows as users;
use crate::identity::ids::MembershipId;
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::personal::Own;
use crate::kernel::access::place::Org;
use crate::kernel::clock::after;
use crate::kernel::db::query::Rows;
use crate::kernel::db::record::Codes;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::{Child, Section};
use crate::kernel::text::{Email, PermissionCode};
use crate::tenancy::groups::Group;
use crate::tenancy::ids::WorkspaceId;
use crate::tenancy::{organizations, workspaces};

pub use row::{AcceptedAs, At, Membership, MembershipRole, MembershipRow, MembershipStatus};
pub use seats::{
    Seat, accept_offers, bump_user, is_member, purge_user, refuse_owner, seat_owner, take,
};
use seats::{
    accept_offer, first_status, follow_status, leave_project, owner_protected, refuse_outsider,
    refuse_seat, refuse_touching, remove,
};
pub(super) use seats::{already, refuse_granting_ownership};

crate::permissions! {
    /// Read memberships.
    MEMBERS_READ = "members:read",
        held by ["ORGANIZATION_VIEWER", "WORKSPACE_VIEWER", "GROUP_ADMIN"];
    /// Create and change memberships.
    MEMBERS_WRITE = "members:write",
        held by ["ORGANIZATION_ADMIN", "WORKSPACE_ADMIN", "GROUP_ADMIN"];
    /// End memberships.
    MEMBERS_DELETE = "members:delete",
        held by ["ORGANIZATION_ADMIN", "WORKSPACE_ADMIN", "GROUP_ADMIN"];
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "memberships",
    "membership",
    Export::Sections(&[
        Section::many_shown::<MembershipRow>("memberships")
            .condition("AND memberships.scope <> 'group'"),
        Section::tree::<Group, GroupSeat>("groups").order("groups.slug, groups.id, memberships.id"),
    ]),
)
.permissions(PERMISSIONS)
.before_project(|cx, project, _| Box::pin(leave_project(cx, project)));

/// A member of a group.
#[derive(Debug, Serialize, JsonSchema, sqlx::FromRow)]
struct GroupSeat {
    user_id: UserId,
    email: String,
    /// The role's code.
    role: String,
    status: MembershipStatus,
}

impl Child for GroupSeat {
    const MEMBER: &'static str = "members";
    const FROM: &'static str = "groups LEFT JOIN memberships ON memberships.group_id = groups.id
        LEFT JOIN users ON users.id = memberships.user_id
        LEFT JOIN roles ON roles.id = memberships.role_id";
    const COLUMNS: &'static str =
        "memberships.user_id, users.email, roles.code AS role, memberships.status";
    const PRESENT: &'static str = "user_id";
}

crate::routes! {
    /// The seats of people in organizations and workspaces, each with a role.
    memberships declares DECLARATION:
    /// Lists the organization's members.
    GET "/organizations/{org}/memberships" MEMBERS_READ => list;
    /// Adds a person to the organization as a member.
    POST "/organizations/{org}/memberships" MEMBERS_WRITE => create, grants;
    /// Lists the workspace's members.
    GET "/workspaces/{id}/memberships" MEMBERS_READ => list_in_workspace as "workspaces.list_members";
    /// Adds a person to the workspace as a member.
    POST "/workspaces/{id}/memberships" MEMBERS_WRITE => create_in_workspace as "workspaces.add_member", grants;
    /// Reads a membership.
    GET "/memberships/{id}" MEMBERS_READ => read;
    /// Changes a member's role, status or extra permissions.
    PATCH "/memberships/{id}" MEMBERS_WRITE => update, grants;
    /// Accepts a seat that is offered to the caller, and all seats below it.
    ///
    /// The inviter must still hold what the seat grants.
    POST "/memberships/{id}/accept" ANY => accept, grants;
    /// Transfers the ownership to an active member; the owner before becomes an admin.
    POST "/organizations/{org}/transfer-ownership" ORG_DELETE => transfer_ownership as "organizations.transfer_ownership", grants;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MembershipFilter {
    /// Returns the memberships with this status only.
    status: Option<MembershipStatus>,
    /// Returns the memberships of this person only.
    user_id: Option<UserId>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMembership {
    /// The person, by ID. Either this or `email` is required. Callers other than the platform reach
    /// people of the organization only.
    user_id: Option<UserId>,
    /// The person, by e-mail address; created if there is none.
    email: Option<Email>,
    /// A role's ID, its code (`ORGANIZATION_ADMIN`), or its short form here (`admin`).
    role: String,
    /// When absent, `active` for a member of the organization, else `invited`. Only callers of the
    /// platform may set `active` for another person.
    status: Option<MembershipStatus>,
    /// Permission codes beyond those of the role; none when absent.
    #[serde(default)]
    permissions: Vec<PermissionCode>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MembershipPatch {
    /// The new role: its ID, code or short form.
    role: Option<String>,
    /// The new status. Before the person accepts, only the platform may set `active`.
    status: Option<MembershipStatus>,
    /// The new permission codes beyond those of the role. They replace the ones before.
    permissions: Option<Vec<PermissionCode>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOwner {
    /// The new owner, who must be an active member.
    user_id: UserId,
}

async fn list(cx: &mut Cx, _: Org, list: List<MembershipFilter>) -> Result<Page<Membership>> {
    let query = cx
        .tx
        .select("WHERE memberships.organization_id = $1 AND memberships.scope = 'organization'")
        .bind(cx.at);
    page(query, list).await
}

async fn list_in_workspace(
    cx: &mut Cx,
    id: WorkspaceId,
    list: List<MembershipFilter>,
) -> Result<Page<Membership>> {
    let query = cx
        .tx
        .select("WHERE memberships.workspace_id = $1 AND memberships.organization_id = $2")
        .bind(id)
        .bind(cx.at);
    page(query, list).await
}

pub(crate) async fn create(cx: &mut Cx, _: Org, new: NewMembership) -> Result<Created<Membership>> {
    join(cx, At::Organization, new).await.map(Created)
}

async fn create_in_workspace(
    cx: &mut Cx,
    id: WorkspaceId,
    new: NewMembership,
) -> Result<Created<Membership>> {
    join(cx, At::Workspace(id), new).await.map(Created)
}

async fn join(cx: &mut Cx, at: At, new: NewMembership) -> Result<Membership> {
    // What the caller lacks is refused before the person is looked up, whether there is one or not.
    let role = roles::resolve(cx, cx.at, at.scope(), &new.role).await?;
    refuse_granting_ownership(&role.code)?;
    let extra = codes(new.permissions)?;
    refuse_seat(cx, at, &role, &extra).await?;
    let user = match (new.user_id, &new.email) {
        (Some(id), None) => {
            if at != At::Organization {
                refuse_outsider(cx, id).await?;
            }
            users::load_named(cx, id).await.map_err(|error| error.at("user_id"))?
        }
        (None, Some(email)) => {
            let user = users::by_email(cx, email).await?;
            if at != At::Organization {
                refuse_outsider(cx, user.id).await?;
            }
            user
        }
        _ => {
            let detail = "Exactly one of `user_id` and `email` is required.";
            return Err(Error::invalid("user_id", detail));
        }
    };
    let (status, accepted) = first_status(cx, user.id, new.status).await?;
    let inviter = Some(Inviter::of(&cx.caller));
    let seat = Seat { user: user.id, at, role: role.id, status, accepted, inviter };
    let id = take(cx, cx.at, seat, extra).await?;
    workspaces::bump(cx, cx.at, at.workspace()).await?;
    Ok(load(cx, id).await?.into())
}

async fn read(cx: &mut Cx, id: MembershipId) -> Result<Membership> {
    Ok(load(cx, id).await?.into())
}

pub(crate) async fn update(
    cx: &mut Cx,
    id: MembershipId,
    patch: MembershipPatch,
) -> Result<Membership> {
    let before = load(cx, id).await?;
    if before.role_code == OWNER && (patch.role.is_some() || patch.status.is_some()) {
        return Err(owner_protected("Cannot change owner role or status"));
    }
    refuse_touching(cx, &before).await?;
    let role = match patch.role {
        Some(name) => {
            let role = roles::resolve(cx, cx.at, before.scope, &name).await?;
            refuse_granting_ownership(&role.code)?;
            role
        }
        None => roles::load(cx, before.role_id).await?,
    };
    let extra =
        patch.permissions.map(codes).transpose()?.unwrap_or_else(|| before.permissions.clone());
    refuse_seat(cx, before.at(), &role, &extra).await?;
    let status = patch.status.unwrap_or(before.status);
    let accepted = match status {
        MembershipStatus::Invited => None,
        _ if before.accepted_at.is_some() => before.accepted_as,
        MembershipStatus::Suspended => None,
        MembershipStatus::Active if cx.caller.is_of_platform() => Some(AcceptedAs::Vendor),
        MembershipStatus::Active => {
            let detail = "`status` cannot be `active` before the person accepts the seat.";
            return Err(Error::new(ProblemCode::StatusChangeRefused, detail).at("status"));
        }
    };
    let accepted_at = match status {
        MembershipStatus::Invited => None,
        _ => before.accepted_at.or(accepted.map(|_| cx.now)),
    };
    let sql = "UPDATE memberships
               SET role_id = $3, status = $4, permissions = $5, updated_at = $6, accepted_at = $8,
                   accepted_as = $9, inviter = $10
               WHERE id = $1 AND organization_id = $2 AND role_id = $7";
    // The last person who changed an offer is its inviter.
    let inviter = match status {
        MembershipStatus::Invited => Some(Json(Inviter::of(&cx.caller))),
        _ => before.inviter,
    };
    let update = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(role.id)
        .bind(status)
        .bind(extra)
        .bind(after(before.updated_at, cx.now))
        .bind(before.role_id)
        .bind(accepted_at)
        .bind(accepted)
        .bind(inviter);
    // Another request changed the role since: it may be the owner's now.
    if update.exec().await? == 0 {
        return Err(Error::stale());
    }
    if status != before.status {
        follow_status(cx, before.scope, before.user_id, status).await?;
    }
    workspaces::bump(cx, cx.at, before.workspace_id).await?;
    Ok(load(cx, id).await?.into())
}

/// Ends a membership. Returns the person, if the person leaves the organization by it.
pub async fn end(cx: &mut Cx, id: MembershipId) -> Result<Option<UserId>> {
    let before = load(cx, id).await?;
    if before.role_code != OWNER && !cx.caller.is_user_in(before.user_id, cx.at) {
        refuse_touching(cx, &before).await?;
    }
    remove(cx, &before).await?;
    Ok((before.scope == RoleScope::Organization).then_some(before.user_id))
}

async fn accept(cx: &mut Cx, Own(id): Own<MembershipId>) -> Result<Membership> {
    let offer = load(cx, id).await?;
    if offer.status == MembershipStatus::Active {
        return Ok(offer.into());
    }
    accept_offer(cx, &offer, AcceptedAs::Person).await?;
    if offer.scope == RoleScope::Organization {
        accept_offers(cx, cx.at, offer.user_id, AcceptedAs::Person).await?;
    }
    Ok(load(cx, id).await?.into())
}

async fn transfer_ownership(cx: &mut Cx, _: Org, new: NewOwner) -> Result<Membership> {
    // This comes first, because it locks the organization: of two transfers, one waits for the
    // other.
    organizations::lock(cx).await?;
    let sql = "SELECT id FROM memberships
               WHERE organization_id = $1 AND user_id = $2
                 AND scope = 'organization' AND status = 'active'";
    let heir: Option<MembershipId> = cx.tx.q(sql).bind(cx.at).bind(new.user_id).value().await?;
    let Some(heir) = heir else {
        let detail = "`user_id` must be an active member of the organization: member not found.";
        return Err(Error::new(ProblemCode::NotFound, detail).at("user_id"));
    };
    let owner = roles::resolve(cx, cx.at, RoleScope::Organization, OWNER).await?;
    refuse_seat(cx, At::Organization, &owner, &[]).await?;
    let admin = roles::resolve(cx, cx.at, RoleScope::Organization, ADMIN).await?;
    // The owner is one column of the organization; the roles follow it.
    let sql = "UPDATE memberships SET role_id = $3, updated_at = $4
               WHERE organization_id = $1 AND role_id = $2 AND scope = 'organization'";
    cx.tx.q(sql).bind(cx.at).bind(owner.id).bind(admin.id).bind(cx.now).exec().await?;
    let sql = "UPDATE memberships SET role_id = $2, updated_at = $3
               WHERE id = $1 AND status = 'active'";
    if cx.tx.q(sql).bind(heir).bind(owner.id).bind(cx.now).exec().await? == 0 {
        return Err(Error::stale());
    }
    organizations::set_owner(cx, new.user_id).await?;
    workspaces::bump(cx, cx.at, None).await?;
    Ok(load(cx, heir).await?.into())
}

fn codes(permissions: Vec<PermissionCode>) -> Result<Codes> {
    let codes = permissions.into_iter().map(PermissionCode::into_string).collect();
    Codes::bounded("permissions", codes)
}

async fn load(cx: &mut Cx, id: MembershipId) -> Result<MembershipRow> {
    let found = cx.tx.select("WHERE memberships.id = $1 AND memberships.organization_id = $2");
    Ok(found.bind(id).bind(cx.at).one().await?)
}

/// Returns one membership, for paths that do not restrict it to its organization.
pub(super) async fn of_organization<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    id: MembershipId,
) -> Result<Membership> {
    let found = cx.tx.select("WHERE memberships.id = $1 AND memberships.organization_id = $2");
    let row: MembershipRow = found.bind(id).bind(organization).one().await?;
    Ok(row.into())
}

/// Returns the person's seat in the organization.
pub(super) async fn of_person<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    user: UserId,
) -> Result<Option<Membership>> {
    let tail = "WHERE memberships.organization_id = $1 AND memberships.user_id = $2
                  AND memberships.scope = 'organization'";
    let row: Option<MembershipRow> = cx.tx.select(tail).bind(organization).bind(user).opt().await?;
    Ok(row.map(Membership::from))
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
