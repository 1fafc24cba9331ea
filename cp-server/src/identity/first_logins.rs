//! First logins: link an identity to the invited person with its verified address.
//!
//! # Design
//! An authority vouches only for its own people. The platform's providers vouch for any address. An
//! organization's provider, and its tokens, vouch for the people whom that organization invited.
//! Such a link counts for that organization's grants only. Each authority links a person once. No
//! authority links a superadmin: an e-mail address must not give access to the platform.
//!
//! A first login accepts the offers to a person without a login. A person who has a login accepts
//! offers explicitly, so that no organization binds a person of another one.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;

use super::invitations;
use super::memberships::{self, AcceptedAs};
use super::users::rows::{self as users, Link};
use crate::kernel::access::caller::{Authority, Scope};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::text::Email;

/// An identity whose provider has verified the address.
pub struct VerifiedIdentity<'a> {
    pub authority: Authority,
    pub provider: &'a str,
    pub subject: &'a str,
    pub email: &'a Email,
}

/// The facts that decide whether the identity may be linked to the person with its address.
#[derive(sqlx::FromRow)]
struct Candidate {
    id: UserId,
    is_active: bool,
    is_superadmin: bool,
    /// Whether this authority has linked the person before.
    is_linked: bool,
    /// Whether another authority has linked the person before.
    is_linked_elsewhere: bool,
    /// Whether the authority's organization offered a seat or seated the person; for the platform,
    /// any organization.
    is_offered: bool,
    /// Whether the person has taken a seat of the authority's organization.
    is_seated: bool,
    /// Whether the person has taken a seat in another organization than the authority's. An offer of
    /// another organization must neither keep the person out of this one, nor be visible to it.
    is_elsewhere: bool,
}

impl Candidate {
    /// Returns whether the person has no login and, for an organization, no seat in another one.
    fn is_new(&self) -> bool {
        !self.is_linked_elsewhere && !self.is_elsewhere
    }

    /// Returns whether the authority may link the person. An organization links its own people, and
    /// those who have taken one of its seats; it does not bind people of others.
    fn may_be_linked_by(&self, authority: Authority) -> bool {
        let vouches = authority == Authority::Platform || self.is_new() || self.is_seated;
        self.is_active && !self.is_superadmin && !self.is_linked && vouches
    }
}

/// Returns whether a link is worth a transaction: strangers do not queue for the writer.
pub async fn is_due(
    tx: &mut Conn,
    identity: &VerifiedIdentity<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let candidate = find(tx, identity).await?;
    let is_offered = candidate.as_ref().is_some_and(|candidate| candidate.is_offered);
    let may_be_linked =
        candidate.is_none_or(|candidate| candidate.may_be_linked_by(identity.authority));
    Ok(may_be_linked && (is_offered || is_invited(tx, identity, now).await?))
}

/// Links the identity to the invited person, and accepts the offers to a person without any login.
/// `None` when nothing is offered, or when the authority may not vouch for the person.
pub async fn link(cx: &mut Cx<Scope>, identity: &VerifiedIdentity<'_>) -> Result<Option<UserId>> {
    let candidate = find(&mut cx.tx, identity).await?;
    let is_offered = candidate.as_ref().is_some_and(|candidate| candidate.is_offered);
    if !is_offered && !is_invited(&mut cx.tx, identity, cx.now).await? {
        return Ok(None);
    }
    let is_new = candidate.as_ref().is_none_or(Candidate::is_new);
    let user = match candidate {
        Some(candidate) if !candidate.may_be_linked_by(identity.authority) => return Ok(None),
        Some(candidate) => candidate.id,
        None => users::by_email(cx, identity.email).await?.id,
    };
    let link = Link {
        user,
        authority: identity.authority,
        provider: identity.provider.to_owned(),
        subject: identity.subject.to_owned(),
        idp_tenant: None,
    };
    users::insert_link(cx, link).await.map_err(|error| match error.code() {
        // Two concurrent first logins: the other one linked the identity.
        ProblemCode::AuthAccountTaken => Error::stale(),
        _ => error,
    })?;
    if is_new {
        accept_all(cx, identity, user).await?;
    }
    memberships::bump_user(cx, user).await?;
    Ok(Some(user))
}

/// Takes every seat that organizations of the authority offer to a new person.
async fn accept_all(
    cx: &mut Cx<Scope>,
    identity: &VerifiedIdentity<'_>,
    user: UserId,
) -> Result<()> {
    let organization = identity.authority.organization();
    invitations::take_all(cx, &identity.email.key(), organization).await?;
    let sql = "SELECT DISTINCT organization_id FROM memberships
               WHERE user_id = $1 AND status = 'invited'";
    let offers = cx.tx.q(sql).bind(user).and_some(" AND organization_id = ?", organization);
    for (organization,) in offers.all::<(OrganizationId,)>().await? {
        memberships::accept_offers(cx, organization, user, AcceptedAs::FirstLogin).await?;
    }
    Ok(())
}

async fn is_invited(
    tx: &mut Conn,
    identity: &VerifiedIdentity<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let organization = identity.authority.organization();
    invitations::is_open(tx, &identity.email.key(), organization, now).await
}

async fn find(tx: &mut Conn, identity: &VerifiedIdentity<'_>) -> Result<Option<Candidate>> {
    let sql = "SELECT u.id, u.is_active, u.is_superadmin,
                      EXISTS (SELECT 1 FROM auth_accounts a WHERE a.user_id = u.id
                              AND ($2 AND a.organization_id IS NULL OR a.organization_id = $3)
                             ) AS is_linked,
                      EXISTS (SELECT 1 FROM auth_accounts a WHERE a.user_id = u.id
                              AND CASE WHEN $2 THEN a.organization_id IS NOT NULL
                                       ELSE a.organization_id IS NULL OR a.organization_id <> $3 END
                             ) AS is_linked_elsewhere,
                      EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = u.id
                              AND m.status <> 'suspended' AND ($2 OR m.organization_id = $3)
                             ) AS is_offered,
                      EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = u.id
                              AND m.status = 'active' AND m.organization_id = $3) AS is_seated,
                      EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = u.id
                              AND NOT $2 AND m.organization_id <> $3
                              AND m.accepted_at IS NOT NULL) AS is_elsewhere
               FROM users u WHERE u.email_key = $1";
    let organization = identity.authority.organization();
    let query = tx.q(sql).bind(identity.email.key()).bind(organization.is_none());
    // A comparison with NULL would be unknown.
    let none = OrganizationId(uuid::Uuid::nil());
    Ok(query.bind(organization.unwrap_or(none)).opt().await?)
}
