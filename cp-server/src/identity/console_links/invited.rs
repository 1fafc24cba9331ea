//! Invitation links: people of an organization without an identity provider sign in with them.
//!
//! # Design
//! The organization switches them on with `settings.console_links`. A link is for a member without a
//! linked identity, and never for the platform's staff. Its creator holds everything that the person
//! holds in the organization: a link lets its holder act as the person. The link's use checks all of it
//! again, with the creator's grants of that instant. The session ends after an hour, counts in this
//! organization only, and is no proof of an e-mail address.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rows::{Open, insert};
use crate::identity::escalation::refuse_becoming_in;
use crate::identity::inviter::Inviter;
use crate::identity::login_caller::LINK;
use crate::identity::memberships::{AcceptedAs, MembershipStatus, accept_offers};
use crate::identity::sessions::cookies;
use crate::identity::settings::ConsoleSettings;
use crate::kernel::access::caller::{Caller, CallerKind, LoggedIn, Scope};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::place::Org;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::CreatedHere;
use crate::kernel::http::cx::Cx;
use crate::kernel::secret::ShownOnce;
use crate::tenancy::settings;

crate::routes! { console_links:
    /// Creates a link with which a person of the organization signs in at the console.
    ///
    /// It works once, for 15 minutes, and only this answer contains it. The session ends after an hour
    /// and counts in this organization only. `settings.console_links` of the organization must be true,
    /// and the person has no linked identity. The caller is a person or a caller of the platform, and
    /// holds everything that the person holds in the organization. A new link replaces the person's
    /// earlier ones.
    POST "/organizations/{org}/console-links" MEMBERS_WRITE => create, grants;
}

/// The longest session of an invitation link.
pub(super) const SESSION: TimeDelta = TimeDelta::hours(1);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewConsoleLink {
    /// The person, who is a member of the organization or is invited to it.
    user_id: UserId,
}

/// A link that signs a person in at the console.
#[derive(Debug, Serialize, JsonSchema)]
struct ConsoleLink {
    /// The link. It is a credential until its use.
    url: ShownOnce,
    /// The end of the link.
    expires_at: DateTime<Utc>,
}

async fn create(cx: &mut Cx, _: Org, new: NewConsoleLink) -> Result<CreatedHere<ConsoleLink>> {
    if !ConsoleSettings::of(&cx.app).is_enabled {
        return Err(Error::conflict("The console is disabled. Set CP_CONSOLE to true."));
    }
    cookies::require_https(&cx.app)?;
    refuse_machines(&cx.caller)?;
    let organization = cx.at;
    refuse_becoming_in(&cx.caller, &mut cx.tx, new.user_id, Some(organization)).await?;
    let person = person(cx, organization, new.user_id).await?;
    let sql = "DELETE FROM console_links WHERE user_id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(new.user_id).bind(organization).exec().await?;
    let invited = Some((organization, Inviter::of(&cx.caller)));
    let (url, expires_at) = insert(cx, new.user_id, invited).await?;
    cx.audit.target = Some(("user", new.user_id.to_string()));
    cx.audit.after = Some(json!({"email": person.email, "expires_at": expires_at}));
    Ok(CreatedHere(ConsoleLink { url, expires_at }))
}

/// Refuses the organization's own tokens, and sessions that a link began.
fn refuse_machines(caller: &Caller) -> Result<()> {
    let is_by_link = caller.login.as_ref().is_some_and(|login| login.provider == LINK);
    if caller.is_of_platform() || caller.kind == CallerKind::Person && !is_by_link {
        return Ok(());
    }
    let detail = "Only a caller of the platform, or a person who signed in at an identity provider, \
                  can create a link to the console.";
    Err(Error::new(ProblemCode::Forbidden, detail))
}

/// The person of a link.
#[derive(sqlx::FromRow)]
struct Person {
    email: String,
    is_active: bool,
    is_superadmin: bool,
    status: MembershipStatus,
    is_linked: bool,
    /// The provider of a linked identity that the organization may know.
    provider: Option<String>,
}

/// Returns the person, if a link may be for the person now.
async fn person<G>(cx: &mut Cx<G>, organization: OrganizationId, user: UserId) -> Result<Person> {
    if !settings::has_console_links(&mut cx.tx, organization).await? {
        let detail = "`settings.console_links` must be true (got false).";
        return Err(Error::conflict(detail).at("settings.console_links"));
    }
    let sql = "SELECT u.email, u.is_active, u.is_superadmin, m.status,
                      EXISTS (SELECT 1 FROM auth_accounts a WHERE a.user_id = u.id) AS is_linked,
                      (SELECT a.provider FROM auth_accounts a
                       WHERE a.user_id = u.id
                         AND (a.organization_id IS NULL OR a.organization_id = $1)
                       ORDER BY a.id LIMIT 1) AS provider
               FROM memberships m JOIN users u ON u.id = m.user_id
               WHERE m.organization_id = $1 AND m.user_id = $2 AND m.scope = 'organization'";
    let found: Option<Person> = cx.tx.q(sql).bind(organization).bind(user).opt().await?;
    let person = found.ok_or_else(|| Error::not_found("member").at("user_id"))?;
    let rule = match &person {
        Person { is_superadmin: true, .. } => {
            "`user_id` must not be one of the platform's staff.".to_owned()
        }
        Person { is_active: false, .. } => "`user_id` must be an active person.".to_owned(),
        Person { status: MembershipStatus::Suspended, .. } => {
            "`user_id` must be an active or invited member (got `suspended`).".to_owned()
        }
        Person { provider: Some(provider), .. } => format!(
            "`user_id` must be a person without a linked identity (has one at `{provider}`)."
        ),
        Person { is_linked: true, .. } => {
            "`user_id` must be a person without a linked identity.".to_owned()
        }
        _ => return Ok(person),
    };
    Err(Error::conflict(rule).at("user_id"))
}

/// Returns the person as the caller that uses the link. The person may not be a member yet.
pub(super) fn caller(open: &Open, organization: OrganizationId) -> Caller {
    let login = LoggedIn {
        provider: LINK.to_owned(),
        issuer: String::new(),
        authority: Some(organization).into(),
        roles: Vec::new(),
        roles_in: None,
        is_superadmin: false,
        products: Vec::new(),
        session: None,
    };
    Caller {
        kind: CallerKind::Person,
        id: open.user_id.0,
        name: open.email.clone(),
        user: Some(open.user_id),
        scope: Scope::Organization { organization_id: organization },
        login: Some(Arc::new(login)),
        ..Caller::anonymous()
    }
}

/// Checks all rules of the link again, and takes the seat that is offered to the person.
pub(super) async fn enter(
    cx: &mut Cx<Scope>,
    open: &Open,
    organization: OrganizationId,
) -> Result<()> {
    let found = person(cx, organization, open.user_id).await?;
    let app = cx.app.clone();
    let creator = match &open.inviter {
        Some(inviter) => inviter.0.caller(&app, &mut cx.tx).await?,
        None => Caller::anonymous(),
    };
    let holds = refuse_becoming_in(&creator, &mut cx.tx, open.user_id, Some(organization)).await;
    if holds.is_err() {
        return Err(lapsed());
    }
    if found.status == MembershipStatus::Active {
        return Ok(());
    }
    accept_offers(cx, organization, open.user_id, AcceptedAs::Token).await?;
    match person(cx, organization, open.user_id).await?.status {
        MembershipStatus::Active => Ok(()),
        _ => Err(lapsed()),
    }
}

fn lapsed() -> Error {
    let detail = "The person who created this link no longer holds what you hold. Ask an admin of \
                  the organization for another link.";
    Error::new(ProblemCode::Forbidden, detail)
}
