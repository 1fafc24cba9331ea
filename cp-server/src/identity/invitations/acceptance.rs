//! The acceptance of invitations: with the token, or by the first login of the invited address.

use axum::http::header::AUTHORIZATION;
use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::row::{InvitationRow, InvitationStatus, closed};
use crate::identity::escalation::{self, Granted};
use crate::identity::ids::MembershipId;
use crate::identity::memberships::{self, AcceptedAs, At, Membership, MembershipStatus, Seat};
use crate::identity::roles::row::{self as roles, Role};
use crate::identity::users::rows::{self as users, User};
use crate::kernel::access::authentication;
use crate::kernel::access::caller::{Caller, CallerKind, Scope};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::platform::PublicPath;
use crate::kernel::app::App;
use crate::kernel::clock::after;
use crate::kernel::db::Conn;
use crate::kernel::db::record::Codes;
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Created, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::secret::{Secret, sha256};
use crate::kernel::text::Email;
use crate::tenancy::ids::WorkspaceId;
use crate::tenancy::workspaces;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Acceptance {
    /// The token of the invitation. It is the credential of this request.
    token: Secret<String>,
    /// The person who accepts. When absent, found or created by the invited address.
    user_id: Option<UserId>,
}

pub(super) async fn accept(
    cx: &mut Cx<Scope>,
    _: PublicPath,
    acceptance: Acceptance,
) -> Result<Created<Membership>> {
    // Before the transaction, because this may send a request to an identity provider.
    match authentication::authenticate(&cx.app, &cx.parts).await {
        Ok(caller) => cx.caller = caller,
        // The cookie of an ended session counts as none. A caller that sends a header means it.
        Err(error)
            if *error.code() == ProblemCode::Unauthenticated
                && !cx.parts.headers.contains_key(AUTHORIZATION) => {}
        Err(error) => return Err(error),
    }
    cx.begin().await?;
    let seat = accept_as(cx, &acceptance.token, acceptance.user_id).await?;
    Ok(Created(seat))
}

/// Accepts the invitation for the person who has logged in with its link.
pub async fn accept_at_login(app: &App, caller: Caller, token: &Secret<String>) -> Result<()> {
    let mut cx = app.change(caller).await?;
    let seat = accept_as(&mut cx, token, None).await?;
    cx.audit.after = serde_json::to_value(&seat).ok();
    let (organization, target) = (cx.audit.organization, (Membership::NOUN, seat.name()));
    cx.finish("invitations.accept", organization, target, Effect::Rights).await
}

async fn accept_as(
    cx: &mut Cx<Scope>,
    token: &Secret<String>,
    user_id: Option<UserId>,
) -> Result<Membership> {
    let hash = sha256(token.expose().as_bytes()).to_vec();
    let found: Option<InvitationRow> =
        cx.tx.select("WHERE token_hash = $1").bind(&*hash).opt().await?;
    let found = found.ok_or_else(|| Error::not_found("invitation"))?;
    let (organization, key) = (found.organization_id, found.email.to_lowercase());
    cx.audit.organization = Some(organization);
    let has_address = |user: &User| user.email.to_lowercase() == key;
    if let Some(id) = user_id
        && !has_address(&users::load(cx, id).await?)
    {
        let detail = "`user_id` must be the person of the invited e-mail address.";
        return Err(Error::new(ProblemCode::Forbidden, detail).at("user_id"));
    }
    let is_person = cx.caller.kind == CallerKind::Person;
    let user = match cx.caller.user {
        Some(id) => Some(users::load(cx, id).await?).filter(has_address),
        None => None,
    };
    // The mail was forwarded, or the link was opened in another person's browser. An organization's
    // login does not count for another organization's invitations.
    let may_accept = |user: &User| cx.caller.is_user_in(user.id, organization);
    if is_person && !user.as_ref().is_some_and(may_accept) {
        let detail = "The invitation is for another e-mail address than that of the logged-in \
                      person. Log out, and accept it as the invited person.";
        return Err(Error::new(ProblemCode::Forbidden, detail));
    }
    // The first login of this person, or an earlier click, has accepted it already. Or the person
    // got a seat in another way, which revoked it.
    if is_person
        && matches!(found.status, InvitationStatus::Accepted | InvitationStatus::Revoked)
        && let Some(user) = &user
        && let Some(seat) = memberships::of_person(cx, organization, user.id).await?
    {
        return Ok(seat);
    }
    // Only the reader of the address and the inviter know the token.
    let how = if is_person { AcceptedAs::Person } else { AcceptedAs::Token };
    let id = take(cx, found, how).await?;
    memberships::of_organization(cx, organization, id).await
}

/// Takes the seat of an open invitation for the person with its address, creating the person if
/// there is none. It succeeds once, and only while the inviter holds what it grants.
async fn take(cx: &mut Cx<Scope>, found: InvitationRow, how: AcceptedAs) -> Result<MembershipId> {
    let organization = found.organization_id;
    // The invitation is closed first: of two concurrent acceptances, one waits here and finds it
    // closed.
    let sql = "UPDATE invitations SET status = 'accepted', accepted_at = $3, updated_at = $4
               WHERE id = $1 AND token_hash = $2 AND status = 'pending' AND expires_at > $3";
    let at = after(found.updated_at, cx.now);
    let update = cx.tx.q(sql).bind(found.id).bind(&*found.token_hash).bind(cx.now).bind(at);
    if update.exec().await? == 0 {
        return Err(closed(found.at(cx.now).status));
    }
    let role = roles::load(cx, found.role_id).await?;
    let granted = granted(cx, organization, &role, found.workspace_id).await?;
    let inviter = found.inviter.as_ref().map(|inviter| &inviter.0);
    let app = cx.app.clone();
    escalation::refuse_lapsed(&app, &mut cx.tx, organization, inviter, granted).await?;
    let email: Email = found.email.parse().map_err(|_| {
        Error::internal(anyhow::anyhow!(
            "invitations.email of {} is not an e-mail address",
            found.id
        ))
    })?;
    let user = users::by_email(cx, &email).await?.id;
    // A person without a login has no data that the organization could learn from this answer.
    let is_new = how == AcceptedAs::Token && !users::has_auth_account(cx, user).await?;
    let accepted = Some(if is_new { AcceptedAs::FirstLogin } else { how });
    let (status, inviter) = (MembershipStatus::Active, found.inviter.map(|inviter| inviter.0));
    let (at, role) = (At::Organization, role.id);
    let seat = Seat { user, at, role, status, accepted, inviter };
    let id = memberships::take(cx, organization, seat.clone(), Codes::default()).await?;
    if let Some(workspace) = found.workspace_id {
        let role = role_in_workspace(cx, found.role_rank).await?.id;
        let seat = Seat { at: At::Workspace(workspace), role, ..seat };
        match memberships::take(cx, organization, seat, Codes::default()).await {
            // The person keeps the seat that they have in the workspace.
            Err(error) if *error.code() == ProblemCode::AlreadyMember => {}
            taken => drop(taken?),
        }
    }
    workspaces::bump(cx, organization, None).await?;
    Ok(id)
}

/// Returns the privileges that an acceptance grants.
pub(super) async fn granted<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    role: &Role,
    workspace: Option<WorkspaceId>,
) -> Result<Vec<Granted>> {
    let (at, privileges) = (At::Organization, role.privileges());
    let mut granted = escalation::of_seat(&mut cx.tx, organization, at, privileges, &[]).await?;
    if let Some(workspace) = workspace {
        let (at, role) = (At::Workspace(workspace), role_in_workspace(cx, role.rank).await?);
        let privileges = role.privileges();
        let of_workspace = escalation::of_seat(&mut cx.tx, organization, at, privileges, &[]);
        let of_workspace = of_workspace.await?.into_iter();
        granted.extend(of_workspace.map(|one| Granted { field: "workspace_id", ..one }));
    }
    Ok(granted)
}

/// Returns the system's workspace role of this rank; an invitation never creates an owner.
async fn role_in_workspace<G>(cx: &mut Cx<G>, rank: i64) -> Result<Role> {
    let tail = "WHERE organization_id IS NULL AND scope = 'workspace' AND rank <= $1
                ORDER BY rank DESC";
    Ok(cx.tx.select(tail).bind(rank.clamp(1, 3)).one().await?)
}

/// Takes the seats of the open invitations to an address, at the person's first login. An
/// invitation that has lapsed, or for which the quota has no room, stays open. One to a person who
/// has a seat already is revoked. None of these refusals is a failed statement.
pub async fn take_all(
    cx: &mut Cx<Scope>,
    email_key: &str,
    organization: Option<OrganizationId>,
) -> Result<()> {
    for found in open(&mut cx.tx, email_key, organization, cx.now).await? {
        let (id, status) = (found.id, found.status);
        let Err(error) = take(cx, found, AcceptedAs::FirstLogin).await else { continue };
        let status = match error.code() {
            ProblemCode::Forbidden | ProblemCode::QuotaExceeded => status,
            ProblemCode::AlreadyMember => InvitationStatus::Revoked,
            _ => return Err(error),
        };
        let sql = "UPDATE invitations SET status = $2, accepted_at = NULL WHERE id = $1";
        cx.tx.q(sql).bind(id).bind(status).exec().await?;
    }
    Ok(())
}

/// Returns whether the address has an open invitation, of this organization or of any.
pub async fn is_open(
    tx: &mut Conn,
    email_key: &str,
    organization: Option<OrganizationId>,
    now: DateTime<Utc>,
) -> Result<bool> {
    Ok(!open(tx, email_key, organization, now).await?.is_empty())
}

async fn open(
    tx: &mut Conn,
    email_key: &str,
    organization: Option<OrganizationId>,
    now: DateTime<Utc>,
) -> Result<Vec<InvitationRow>> {
    let query = tx
        .select("WHERE invitations.email_key = $1 AND invitations.status = 'pending'")
        .bind(email_key)
        .and(" AND invitations.expires_at > ?", now)
        .and_some(" AND invitations.organization_id = ?", organization);
    Ok(query.sql(" ORDER BY invitations.id LIMIT 100").all().await?)
}
