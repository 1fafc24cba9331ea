//! The caller that a login stands for, with the grants of this instant.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::first_logins::{self, VerifiedIdentity};
use super::role_grants;
use crate::identity::settings::IdentitySettings;
use crate::kernel::access::caller::{Authority, Caller, CallerKind, LoggedIn, Privileges, Scope};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::permissions::Permissions;
use crate::kernel::access::policy::{Domain, Grant};
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::secret::sha256;
use crate::kernel::text::Email;

/// What an identity provider vouches for about the person who logged in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Login {
    /// The provider's key, as it stands in `auth_accounts.provider`.
    pub provider: String,
    /// Empty in a session of a version that did not keep it.
    #[serde(default)]
    pub issuer: String,
    /// Who it is there: compared exactly.
    pub subject: String,
    /// Whose own provider it is; `None` for one of the platform. Logins of an organization's own
    /// provider never reach beyond it: its admins decide what that provider says.
    pub organization: Option<OrganizationId>,
    /// The organization that the token names (its ID or external ID), not yet looked up.
    pub account: Option<String>,
    /// The codes of roles, in our words.
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    /// The product labels that the person is narrowed to; none means all.
    pub products: Vec<String>,
    /// Never true but for an issuer that is trusted to say so.
    pub is_superadmin: bool,
    pub name: Option<String>,
    /// The person's address, if the provider says that it is verified.
    #[serde(default)]
    pub email: Option<String>,
    /// When the credential is over.
    pub expires_at: DateTime<Utc>,
}

impl Login {
    /// Who vouches for the person.
    pub fn authority(&self) -> Authority {
        self.organization.into()
    }
}

/// The caller that a login stands for, with the grants of this instant.
///
/// # Errors
/// 403 when no user is linked to the identity, or the person may not act.
pub async fn caller(app: &App, login: Login) -> Result<Caller> {
    let mut tx = app.db.read();
    let mut person = find(app, &mut tx, &login).await?;
    if person.is_none() && first_login(app, &mut tx, &login).await? {
        tx = app.db.read();
        person = find(app, &mut tx, &login).await?;
    }
    let authority = login.authority();
    let is_superadmin = authority == Authority::Platform
        && (login.is_superadmin || person.as_ref().is_some_and(|person| person.is_superadmin));
    let mut held = match &person {
        Some(person) if !person.is_active => {
            return Err(Error::new(ProblemCode::Forbidden, "This user is not active."));
        }
        Some(person) => {
            role_grants::of_person(&mut tx, person.id, login.organization, &login.products).await?
        }
        None => Vec::new(),
    };
    let roles_in = vouched_for(&mut tx, &login).await?;
    if let Some(organization) = roles_in {
        held.extend(role_grants::of_roles(&mut tx, organization, &login.roles).await?);
    }
    if is_superadmin {
        held.insert(0, Grant::new(Domain::Platform, Privileges::all(), "SUPERADMIN"));
    }
    if let Some(most) = narrowed(&login.scopes) {
        held = held.into_iter().map(|grant| grant.narrowed(most)).collect();
    }
    // A stranger to this installation: linked to no user, and with no role that means anything.
    if person.is_none() && held.is_empty() {
        return Err(unlinked(&login));
    }
    let known_as = person.as_ref().map(|person| person.email.clone());
    let scope = match login.organization.or_else(|| first(&held)) {
        Some(organization_id) => Scope::Organization { organization_id },
        None => Scope::Platform,
    };
    Ok(Caller {
        kind: CallerKind::Person,
        id: principal(&login, person.as_ref().map(|person| person.id)),
        name: login.name.or(known_as).unwrap_or(login.subject),
        user: person.map(|person| person.id),
        scope,
        grants: held.into(),
        ends_at: Some(login.expires_at),
        login: Some(Arc::new(LoggedIn {
            provider: login.provider,
            issuer: login.issuer,
            authority,
            roles: login.roles,
            roles_in,
            is_superadmin: login.is_superadmin,
            products: login.products,
        })),
        is_narrowed: false,
    })
}

#[derive(sqlx::FromRow)]
struct Person {
    id: UserId,
    email: String,
    is_active: bool,
    is_superadmin: bool,
}

/// The user who is linked to the identity.
///
/// A login at a provider of the platform finds the platform's links only. An organization's own
/// provider knows its members only, and no superadmin; a link of the platform counts there unless its
/// key is that of a provider of the platform.
async fn find(app: &App, tx: &mut Conn, login: &Login) -> Result<Option<Person>> {
    let sql = "SELECT u.id, u.email, u.is_active, u.is_superadmin
               FROM auth_accounts a JOIN users u ON u.id = a.user_id
               WHERE a.provider = $1 AND a.subject = $2
                 AND CASE WHEN $3 THEN a.organization_id IS NULL
                          ELSE (a.organization_id = $4 OR a.organization_id IS NULL AND NOT $5)
                               AND NOT u.is_superadmin
                               AND EXISTS (SELECT 1 FROM memberships m
                                           WHERE m.user_id = u.id AND m.organization_id = $4
                                             AND m.status = 'active') END
               ORDER BY CASE WHEN a.organization_id IS NULL THEN 1 ELSE 0 END LIMIT 1";
    let of_platform =
        IdentitySettings::of(app).providers.iter().any(|one| one.key == login.provider);
    let query = tx.q(sql).bind(&login.provider).bind(&login.subject);
    let query = query.bind(login.organization.is_none()).bind(login.organization);
    Ok(query.bind(of_platform).opt().await?)
}

/// Links the identity to the person whom an organization invited by its verified address, in a
/// transaction of its own; false when there is no such person.
async fn first_login(app: &App, tx: &mut Conn, login: &Login) -> Result<bool> {
    let email = login.email.as_ref().and_then(|email| email.parse::<Email>().ok());
    let Some(email) = email else { return Ok(false) };
    let identity = VerifiedIdentity {
        authority: login.authority(),
        provider: &login.provider,
        subject: &login.subject,
        email: &email,
    };
    if !first_logins::is_due(tx, &identity, app.clock.now()).await? {
        return Ok(false);
    }
    let caller = Caller {
        kind: CallerKind::Person,
        id: principal(login, None),
        name: login.name.clone().unwrap_or_else(|| login.subject.clone()),
        login: Some(Arc::new(LoggedIn {
            provider: login.provider.clone(),
            issuer: login.issuer.clone(),
            authority: login.authority(),
            roles: Vec::new(),
            roles_in: None,
            is_superadmin: false,
            products: Vec::new(),
        })),
        ..Caller::anonymous()
    };
    let mut cx = app.change(caller).await?;
    let linked = match first_logins::link(&mut cx, &identity).await {
        // Another request of the same person was first.
        Err(error) if error.is_retryable() => return Ok(true),
        linked => linked?,
    };
    let Some(user) = linked else { return Ok(false) };
    cx.trail.after = Some(json!({"provider": login.provider, "subject": login.subject}));
    let target = ("user", user.to_string());
    cx.finish(FIRST_LOGIN, login.organization, target, Effect::Rights).await?;
    Ok(true)
}

/// The action of the audit event of a first login.
const FIRST_LOGIN: &str = "users.first_login";

/// The organization in which the provider's roles count: its own, or the one that the token names by
/// its ID or by the external ID that the platform set. A slug is the organization's own choice.
async fn vouched_for(tx: &mut Conn, login: &Login) -> Result<Option<OrganizationId>> {
    if login.roles.is_empty() || login.organization.is_some() {
        return Ok(login.organization);
    }
    let Some(account) = &login.account else { return Ok(None) };
    let sql = "SELECT id FROM organizations WHERE id = $1 OR external_id = $2
               ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END LIMIT 1";
    let id = account.parse::<OrganizationId>().unwrap_or(OrganizationId(Uuid::nil()));
    Ok(tx.q(sql).bind(id).bind(account).value().await?)
}

/// The permissions that a token's scopes narrow it to; none of them is a permission of ours in most
/// tokens (`openid email`), which narrows nothing.
fn narrowed(scopes: &[String]) -> Option<Permissions> {
    let ours = scopes.iter().filter_map(|scope| Permissions::parse([scope.as_str()]).ok());
    ours.reduce(Permissions::union)
}

/// Where somebody is at home who has no power over the platform.
fn first(held: &[Grant]) -> Option<OrganizationId> {
    match held.first() {
        Some(Grant { on: Domain::Platform, .. }) => None,
        Some(grant) => grant.on.organization(),
        // With no grant at all, nothing may read as the platform's.
        None => Some(OrganizationId(Uuid::nil())),
    }
}

/// What rates, idempotency keys and events count the caller by: the user and the authority that
/// vouches for the login, or the identity of somebody whom only the provider knows.
fn principal(login: &Login, user: Option<UserId>) -> Uuid {
    let authority = login.organization.map_or_else(String::new, |own| own.to_string());
    let text = match (user, login.organization) {
        (Some(user), None) => return user.0,
        (Some(user), Some(_)) => format!("{authority}\n{user}"),
        (None, _) => [&*authority, &login.issuer, &login.provider, &login.subject].join("\n"),
    };
    let hash = sha256(text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Uuid::new_v8(bytes)
}

fn unlinked(login: &Login) -> Error {
    let detail = format!(
        "No user here is linked to this login: have an admin link provider {:?}, subject {:?} with \
         POST /users/{{id}}/auth-accounts.",
        login.provider, login.subject
    );
    Error::new(ProblemCode::Forbidden, detail)
}
