//! Privilege escalation: no caller grants more than it holds.
//!
//! # Design
//! Every change that grants something (a seat, a role, an invitation, a group, a project, a link of
//! an identity) declares it as [`Granted`]. [`refuse_more`] compares it with what the caller holds
//! there. An offer that is accepted later stores its [`Inviter`]. Acceptance checks the offer
//! again, with the inviter's grants of that instant, so a person who left cannot grant anything
//! later.

use cp_contracts::ProblemCode;

use super::inviter::Inviter;
use super::memberships::row::At;
use super::role_grants;
use crate::kernel::access::caller::{Caller, Privileges};
use crate::kernel::access::ids::{OrganizationId, ProjectId, UserId};
use crate::kernel::access::policy::{Domain, Location};
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::db::record::Codes;
use crate::kernel::error::{Error, Result};

/// The scope of a grant.
#[derive(Clone, Copy, Debug)]
pub enum On {
    Seat(At),
    Project(ProjectId),
}

/// The privileges that a change grants, and the request field that names them.
#[derive(Debug)]
pub struct Granted {
    pub on: On,
    pub privileges: Privileges,
    pub field: &'static str,
}

/// Returns the privileges of a seat: its role, its extra permissions, and the projects of its
/// group.
pub async fn of_seat(
    tx: &mut Conn,
    organization: OrganizationId,
    at: At,
    mut role: Privileges,
    extra: &[String],
) -> Result<Vec<Granted>> {
    let on = On::Seat(at);
    if let At::Group(_) = at {
        // The rank of a group's role orders roles of groups only.
        role.rank = 0;
    }
    let mut granted = vec![
        Granted { on, privileges: role, field: "role" },
        Granted { on, privileges: role_grants::privileges_of(extra, 0), field: "permissions" },
    ];
    let At::Group(group) = at else { return Ok(granted) };
    let sql = "SELECT p.project_id, r.permissions FROM project_grants p
               JOIN roles r ON r.id = p.role_id
               WHERE p.organization_id = $1 AND p.group_id = $2 ORDER BY p.project_id";
    let projects = tx.q(sql).bind(organization).bind(group);
    for (project, codes) in projects.all::<(ProjectId, Codes)>().await? {
        // The rank of a project's role orders roles of projects only.
        let privileges = role_grants::privileges_of(codes.iter(), 0);
        granted.push(Granted { on: On::Project(project), privileges, field: "group" });
    }
    Ok(granted)
}

/// Refuses privileges that the caller does not hold where they are granted.
pub async fn refuse_more(
    caller: &Caller,
    tx: &mut Conn,
    organization: OrganizationId,
    granted: Vec<Granted>,
) -> Result<()> {
    for Granted { on, privileges, field } in granted {
        match on {
            On::Seat(At::Organization) => {
                caller.refuse_giving(&privileges, Location::Organization(organization), field)
            }
            On::Seat(At::Workspace(id)) => {
                caller.refuse_giving_on(tx, organization, id, &privileges, field).await
            }
            On::Seat(At::Group(id)) => {
                caller.refuse_giving_on(tx, organization, id, &privileges, field).await
            }
            On::Project(id) => {
                caller.refuse_giving_on(tx, organization, id, &privileges, field).await
            }
        }?;
    }
    Ok(())
}

/// Refuses to let a caller act as a user that holds more. A link of an identity, a new address or
/// an activation gives access to everything that the user holds.
pub async fn refuse_becoming(caller: &Caller, tx: &mut Conn, user: UserId) -> Result<()> {
    refuse_becoming_in(caller, tx, user, None).await
}

/// Refuses to let a caller act as a user that holds more in the organization.
pub async fn refuse_becoming_in(
    caller: &Caller,
    tx: &mut Conn,
    user: UserId,
    organization: Option<OrganizationId>,
) -> Result<()> {
    for grant in role_grants::of_every_seat(tx, user, organization).await? {
        let given = Privileges {
            permissions: grant.permissions,
            codes: grant.codes.to_vec(),
            rank: grant.rank,
        };
        let refused = match grant.on {
            Domain::Platform => caller.refuse_giving(&given, Location::Platform, "user"),
            Domain::Organization(organization) => {
                caller.refuse_giving(&given, Location::Organization(organization), "user")
            }
            Domain::Area(organization, area) => {
                caller.refuse_giving(&given, Location::Within(organization, &[area]), "user")
            }
        };
        refused.map_err(|_| {
            let detail = "This user holds more than the caller. Only a caller that holds as much can \
                          link, rename or reactivate the user, or sign the user in.";
            Error::new(ProblemCode::Forbidden, detail)
        })?;
    }
    Ok(())
}

/// Refuses a caller that is not a superadmin.
pub fn refuse_but_superadmin(caller: &Caller) -> Result<()> {
    caller.refuse_giving(&Privileges::all(), Location::Platform, "is_superadmin").map_err(|_| {
        let detail =
            "Only superadmins can create, link, rename, reactivate or delete a superadmin.";
        Error::new(ProblemCode::Forbidden, detail).at("is_superadmin")
    })
}

/// Refuses an offer whose inviter no longer holds what it grants. An offer without an inviter is
/// from a version that stored none.
pub async fn refuse_lapsed(
    app: &App,
    tx: &mut Conn,
    organization: OrganizationId,
    inviter: Option<&Inviter>,
    granted: Vec<Granted>,
) -> Result<()> {
    let Some(inviter) = inviter else { return Ok(()) };
    let caller = inviter.caller(app, tx).await?;
    refuse_more(&caller, tx, organization, granted).await.map_err(|error| match error.code() {
        ProblemCode::Forbidden => {
            let detail = "The person or token that made this offer no longer holds what it grants. \
                          Ask an admin of the organization for a new invitation.";
            Error::new(ProblemCode::Forbidden, detail)
        }
        _ => error,
    })
}
