//! Invitations: seats that are offered to an e-mail address and taken with a token.
//!
//! The token is 32 random bytes and is shown once; the server stores its hash. A holder of the
//! token has read the mail of the address, so acceptance requires no login. It refuses a login of
//! another person. The seat counts against the quota when it is taken, not when it is offered. What
//! it grants is checked against the inviter at both times.

mod acceptance;
pub(in crate::identity) mod closing;
mod row;

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use url::form_urlencoded;

use super::escalation;
use super::inviter::Inviter;
use super::memberships;
use super::oidc::issuers;
use super::roles::row::{self as roles, Role, RoleScope};
use crate::identity::ids::{InvitationId, RoleId};
use crate::kernel::access::ids::{OrganizationId, ProjectId};
use crate::kernel::access::place::Org;
use crate::kernel::clock::after;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::{Created, NoContent, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Between;
use crate::kernel::http::line::BASE;
use crate::kernel::http::page::{List, Page};
use crate::kernel::secret::{ShownOnce, hex, sha256};
use crate::kernel::section::Section;
use crate::kernel::text::{Email, Prose};
use crate::tenancy::ids::WorkspaceId;

pub use acceptance::accept_at_login;
use acceptance::{accept, granted};
pub use acceptance::{is_open, take_all};
pub use row::{Invitation, InvitationRow};
use row::{InvitationStatus, closed};

pub static DECLARATION: Declaration = Declaration::of_organization(
    "invitations",
    "invitation",
    Export::Section(Section::many_shown::<InvitationRow>("invitations")),
)
.before_project(|cx, project, to| Box::pin(leave_project(cx, project, to)));

crate::routes! {
    /// Seats that are offered to e-mail addresses.
    invitations declares DECLARATION:
    /// Lists the organization's invitations.
    GET "/organizations/{org}/invitations" MEMBERS_READ => list;
    /// Invites an e-mail address; only this answer contains the token.
    POST "/organizations/{org}/invitations" MEMBERS_WRITE => create, grants;
    /// Reads an invitation.
    GET "/invitations/{id}" MEMBERS_READ => read;
    /// Creates a new token with a new term; the token before becomes invalid.
    POST "/invitations/{id}/resend" MEMBERS_WRITE => resend, grants;
    /// Revokes an invitation that is still open.
    DELETE "/invitations/{id}" MEMBERS_WRITE => revoke;
    /// Accepts an invitation: takes the seat that the token offers.
    ///
    /// The token is the credential, and no other is required. One that is sent must be valid. `user_id` names the person who
    /// accepts, if it is known. That user, and a caller that is logged in, must have the invited
    /// address. A caller whose identity is not linked yet is linked if its provider has verified
    /// the address.
    POST "/invitations/accept" PUBLIC => accept, own_transaction, grants;
}

/// An invitation with its token. The server sends no mail: the caller sends the URL or the token to
/// the invited person.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NewlyInvited {
    #[serde(flatten)]
    invitation: Invitation,
    token: ShownOnce,
    /// The URL at which the invited person logs in and so accepts the invitation. Null when no
    /// identity provider has a `client_id`.
    accept_url: Option<ShownOnce>,
}

impl Resource for NewlyInvited {
    const NOUN: &'static str = "invitation";
    const PATH: &'static str = "invitations";
    fn name(&self) -> String {
        self.invitation.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationFilter {
    /// Returns the invitations with this status only.
    status: Option<InvitationStatus>,
    /// Returns the invitations of this e-mail address only; upper and lower case are equal.
    email: Option<String>,
}

type Hours = Between<1, 8760>;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    /// The e-mail address to invite.
    email: Email,
    /// A role of the organization, by ID, code or short form; never the owner's.
    role: String,
    /// A workspace to join as well, with the workspace role that is nearest in rank.
    #[serde(alias = "workspace")]
    workspace_id: Option<WorkspaceId>,
    /// A message to the invited person.
    message: Option<Prose>,
    /// The hours until the invitation expires; 168 (a week) when absent.
    expires_in_hours: Option<Hours>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resending {
    /// The hours until the invitation expires again; 168 (a week) when absent.
    expires_in_hours: Option<Hours>,
}

const PREFIX: &str = "cpin_";
const WEEK: Hours = Between(168);

async fn list(cx: &mut Cx, _: Org, list: List<InvitationFilter>) -> Result<Page<Invitation>> {
    let (now, filter) = (cx.now, &list.filter);
    let query = cx
        .tx
        .select("WHERE invitations.organization_id = $1")
        .bind(cx.at)
        .and_some(" AND email_key = ?", filter.email.as_ref().map(|e| e.to_lowercase()));
    // The row of an expired invitation stays `pending` until its address is invited again.
    let query = match filter.status {
        None => query,
        Some(InvitationStatus::Pending) => {
            query.and(" AND invitations.status = 'pending' AND expires_at > ?", now)
        }
        Some(InvitationStatus::Expired) => query
            .sql(" AND (invitations.status = 'expired' OR invitations.status = 'pending'")
            .and(" AND expires_at <= ?)", now),
        Some(status) => query.and(" AND invitations.status = ?", status),
    };
    let page: Page<InvitationRow> = list.page(query).await?;
    Ok(page.map(|row| row.at(now)))
}

async fn create(cx: &mut Cx, _: Org, new: NewInvitation) -> Result<Created<NewlyInvited>> {
    let role = roles::resolve(cx, cx.at, RoleScope::Organization, &new.role).await?;
    memberships::refuse_granting_ownership(&role.code)?;
    refuse_offer(cx, &role, new.workspace_id).await?;
    let email_key = new.email.key();
    let sql = "SELECT EXISTS (SELECT 1 FROM memberships m JOIN users u ON u.id = m.user_id
                              WHERE m.organization_id = $1 AND m.scope = 'organization'
                                AND u.email_key = $2)";
    if cx.tx.q(sql).bind(cx.at).bind(&email_key).value().await?.unwrap_or(false) {
        return Err(memberships::already());
    }
    let sql = "UPDATE invitations SET status = 'expired', updated_at = $3
               WHERE organization_id = $1 AND email_key = $2 AND status = 'pending'
                 AND expires_at <= $3";
    cx.tx.q(sql).bind(cx.at).bind(&email_key).bind(cx.now).exec().await?;
    let id = InvitationId::new(&cx.app.random, cx.now);
    let token = new_token(cx);
    let sql = "INSERT INTO invitations
               (id, organization_id, email, email_key, role_id, workspace_id, message, status,
                token_hash, expires_at, inviter, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9, $11, $10, $10)";
    let insert = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(new.email)
        .bind(email_key)
        .bind(role.id)
        .bind(new.workspace_id)
        .bind(new.message)
        .bind(hash(&token))
        .bind(end(cx.now, new.expires_in_hours))
        .bind(cx.now)
        .bind(Json(Inviter::of(&cx.caller)));
    insert
        .exec()
        .await
        .on_conflict("invitations_email_key", || {
            let detail = "`email` has a pending invitation. Resend or revoke that invitation.";
            Error::new(ProblemCode::InvitationPending, detail).at("email")
        })
        .on_conflict("reference", || match new.workspace_id {
            Some(_) => Error::not_found("workspace").at("workspace_id"),
            // The role was deleted since the look-up.
            None => Error::stale(),
        })?;
    newly_invited(cx, id, token).await.map(Created)
}

async fn read(cx: &mut Cx, id: InvitationId) -> Result<Invitation> {
    Ok(load(cx, id).await?.at(cx.now))
}

async fn resend(cx: &mut Cx, id: InvitationId, resending: Resending) -> Result<NewlyInvited> {
    let before = load(cx, id).await?;
    let role = roles::load(cx, before.role_id).await?;
    refuse_offer(cx, &role, before.workspace_id).await?;
    let token = new_token(cx);
    let sql = "UPDATE invitations
               SET token_hash = $3, expires_at = $4, updated_at = $5, inviter = $6
               WHERE id = $1 AND organization_id = $2 AND status = 'pending'";
    let update = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(hash(&token))
        .bind(end(cx.now, resending.expires_in_hours))
        .bind(after(before.updated_at, cx.now))
        .bind(Json(Inviter::of(&cx.caller)));
    if update.exec().await? == 0 {
        return Err(closed(before.at(cx.now).status));
    }
    newly_invited(cx, id, token).await
}

async fn revoke(cx: &mut Cx, id: InvitationId) -> Result<NoContent> {
    let before = load(cx, id).await?;
    let role = roles::load(cx, before.role_id).await?;
    refuse_offer(cx, &role, before.workspace_id).await?;
    let sql = "UPDATE invitations SET status = 'revoked', updated_at = $3
               WHERE id = $1 AND organization_id = $2 AND status = 'pending'";
    let at = after(before.updated_at, cx.now);
    match cx.tx.q(sql).bind(id).bind(cx.at).bind(at).exec().await? {
        0 => Err(closed(before.status)),
        _ => Ok(NoContent),
    }
}

/// Refuses an offer of privileges that the caller does not hold, the seat in the workspace
/// included.
async fn refuse_offer(cx: &mut Cx, role: &Role, workspace: Option<WorkspaceId>) -> Result<()> {
    let granted = granted(cx, cx.at, role, workspace).await?;
    escalation::refuse_more(&cx.caller, &mut cx.tx, cx.at, granted).await
}

/// Deletes closed invitations to a role, so that the role can be deleted.
pub async fn forget_closed<G>(cx: &mut Cx<G>, role: RoleId) -> Result<()> {
    let sql = "DELETE FROM invitations WHERE role_id = $1 AND status <> 'pending'";
    cx.tx.q(sql).bind(role).exec().await?;
    Ok(())
}

/// Restricts an invitation to the organization when its workspace moves away with the project. When
/// a project ends, the foreign key deletes the invitation.
async fn leave_project(cx: &mut Cx, project: ProjectId, to: Option<OrganizationId>) -> Result<()> {
    if to.is_none() {
        return Ok(());
    }
    let sql = "UPDATE invitations SET workspace_id = NULL
               WHERE organization_id = $1
                 AND workspace_id IN (SELECT id FROM workspaces WHERE project_id = $2)";
    cx.tx.q(sql).bind(cx.at).bind(project).exec().await?;
    Ok(())
}

async fn newly_invited(cx: &mut Cx, id: InvitationId, token: ShownOnce) -> Result<NewlyInvited> {
    let invitation = load(cx, id).await?.at(cx.now);
    let provider = issuers::first_for_login(&cx.app, &mut cx.tx, cx.at).await?;
    let accept_url = provider.map(|provider| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("provider", &provider.key);
        if let Some(organization) = provider.organization {
            query.append_pair("organization", &organization.to_string());
        }
        query.append_pair("invitation", token.expose());
        ShownOnce::new(format!("{}{BASE}/login?{}", cx.app.settings.base_url, query.finish()))
    });
    Ok(NewlyInvited { invitation, token, accept_url })
}

fn new_token(cx: &Cx) -> ShownOnce {
    ShownOnce::new(format!("{PREFIX}{}", hex(&cx.app.random.bytes::<32>())))
}

fn hash(token: &ShownOnce) -> Vec<u8> {
    sha256(token.expose().as_bytes()).to_vec()
}

fn end(now: DateTime<Utc>, hours: Option<Hours>) -> DateTime<Utc> {
    now + TimeDelta::hours(hours.unwrap_or(WEEK).0)
}

async fn load(cx: &mut Cx, id: InvitationId) -> Result<InvitationRow> {
    let found = cx.tx.select("WHERE invitations.id = $1 AND invitations.organization_id = $2");
    Ok(found.bind(id).bind(cx.at).one().await?)
}
