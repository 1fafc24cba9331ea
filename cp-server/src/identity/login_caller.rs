//! The caller of a login, with the grants of this instant.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::first_logins::{self, VerifiedIdentity};
use super::leavers::{self, Stranger};
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

/// The key that stands for a link to the console in the place of a provider. No provider has it.
pub const LINK: &str = "link";

/// The statements of an identity provider about the person who logged in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Login {
    /// The provider's key, as in `auth_accounts.provider`.
    pub provider: String,
    /// Empty in a session of a version that did not store it.
    #[serde(default)]
    pub issuer: String,
    /// The person's identifier at the provider, compared exactly.
    pub subject: String,
    /// The organization that owns the provider; `None` for one of the platform. Logins of an
    /// organization's own provider never count outside it: its admins decide what that provider
    /// states.
    pub organization: Option<OrganizationId>,
    /// The organization that the token names (its ID or external ID), not yet looked up.
    pub account: Option<String>,
    /// The codes of roles, as this server names them.
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    /// The product labels that the person is restricted to; empty means all.
    pub products: Vec<String>,
    /// True only for an issuer that is trusted to vouch for superadmins.
    pub is_superadmin: bool,
    pub name: Option<String>,
    /// The person's address, if the provider has verified it.
    #[serde(default)]
    pub email: Option<String>,
    /// The end of the credential.
    pub expires_at: DateTime<Utc>,
}

impl Login {
    /// Returns the authority that vouches for the person.
    pub fn authority(&self) -> Authority {
        self.organization.into()
    }
}

/// Returns the caller of a login, with the grants of this instant.
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
    let mut roles_in = vouched_for(&mut tx, &login).await?;
    if let Some(organization) = roles_in
        && !admits_roles(app, &mut tx, &login, person.as_ref(), organization).await?
    {
        roles_in = None;
    }
    if let Some(organization) = roles_in {
        held.extend(role_grants::of_roles(&mut tx, organization, &login.roles).await?);
    }
    if is_superadmin {
        held.insert(0, Grant::new(Domain::Platform, Privileges::all(), "SUPERADMIN"));
    }
    if let Some(most) = narrowed(&login.scopes) {
        held = held.into_iter().map(|grant| grant.narrowed(most)).collect();
    }
    // A stranger to this installation: linked to no user, and without a known role.
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
            session: None,
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

/// Finds the user that is linked to the identity.
///
/// A login at a provider of the platform finds the platform's links only. An organization's own
/// provider finds its members only, and no superadmin. A link of the platform counts there unless
/// its key is that of a provider of the platform.
///
/// A link to the console names the user itself. In an organization it counts for a member.
async fn find(app: &App, tx: &mut Conn, login: &Login) -> Result<Option<Person>> {
    if login.provider == LINK {
        let Ok(user) = login.subject.parse::<UserId>() else { return Ok(None) };
        let sql = "SELECT u.id, u.email, u.is_active, u.is_superadmin FROM users u
                   WHERE u.id = $1
                     AND ($2 OR NOT u.is_superadmin
                          AND EXISTS (SELECT 1 FROM memberships m
                                      WHERE m.user_id = u.id AND m.organization_id = $3
                                        AND m.status = 'active'))";
        let query = tx.q(sql).bind(user).bind(login.organization.is_none());
        return Ok(query.bind(login.organization).opt().await?);
    }
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
    let of_platform = has_key_of_platform(app, login);
    let query = tx.q(sql).bind(&login.provider).bind(&login.subject);
    let query = query.bind(login.organization.is_none()).bind(login.organization);
    Ok(query.bind(of_platform).opt().await?)
}

/// Returns whether a provider of the platform has the key of the login's provider.
fn has_key_of_platform(app: &App, login: &Login) -> bool {
    IdentitySettings::of(app).providers.iter().any(|one| one.key == login.provider)
}

/// Returns whether the provider's roles count in the organization for the person. `None` is a login
/// that no user is linked to, or one at an organization's provider of a person who is no member.
async fn admits_roles(
    app: &App,
    tx: &mut Conn,
    login: &Login,
    person: Option<&Person>,
    organization: OrganizationId,
) -> Result<bool> {
    if login.roles.is_empty() {
        return Ok(true);
    }
    if let Some(person) = person {
        return leavers::admits(tx, organization, person.id).await;
    }
    let email = login.email.as_ref().and_then(|email| email.parse::<Email>().ok());
    let stranger = Stranger {
        authority: login.organization,
        provider: &login.provider,
        subject: &login.subject,
        email_key: email.map(|email| email.key()),
        has_platform_links: !has_key_of_platform(app, login),
    };
    leavers::admits_stranger(tx, organization, &stranger).await
}

/// Links the identity to the person whom an organization invited by its verified address, in a
/// transaction of its own. Returns false when there is no such person.
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
            session: None,
        })),
        ..Caller::anonymous()
    };
    let mut cx = app.change(caller).await?;
    let linked = match first_logins::link(&mut cx, &identity).await {
        // Another request of the same person linked it first.
        Err(error) if error.is_retryable() => return Ok(true),
        linked => linked?,
    };
    let Some(user) = linked else { return Ok(false) };
    cx.audit.after = Some(json!({"provider": login.provider, "subject": login.subject}));
    let target = ("user", user.to_string());
    cx.finish(FIRST_LOGIN, login.organization, target, Effect::Rights).await?;
    Ok(true)
}

/// The action of the audit event of a first login.
const FIRST_LOGIN: &str = "users.first_login";

/// Returns the organization in which the provider's roles count. It is the provider's own
/// organization, or the one that the token names by its ID or by the external ID that the platform
/// set. A slug does not count, because the organization itself chooses it.
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

/// Returns the permissions that a token's scopes restrict it to. Most tokens have none of this
/// server's permissions as a scope (`openid email`), so they are not restricted.
fn narrowed(scopes: &[String]) -> Option<Permissions> {
    let ours = scopes.iter().filter_map(|scope| Permissions::parse([scope.as_str()]).ok());
    ours.reduce(Permissions::union)
}

/// Returns the first organization of a person without rights on the platform.
fn first(held: &[Grant]) -> Option<OrganizationId> {
    match held.first() {
        Some(Grant { on: Domain::Platform, .. }) => None,
        Some(grant) => grant.on.organization(),
        // A caller without any grant must never count as one of the platform.
        None => Some(OrganizationId(Uuid::nil())),
    }
}

/// Returns the ID by which rates, idempotency keys and events count the caller. It stands for the
/// user and the authority that vouches for the login, or for an identity that is not linked.
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
    // The provider has verified the address already: a further check would not help.
    let or_else = match login.email {
        Some(_) => "with the login that you have here, if you have another one",
        None => "or have the provider verify your e-mail address",
    };
    let detail = format!(
        "No user is linked to this login. If you are invited, accept the invitation at its \
         `accept_url`, {or_else}. Otherwise ask an admin to link provider {:?}, subject {:?} with \
         POST /users/{{id}}/auth-accounts.",
        login.provider, login.subject
    );
    Error::new(ProblemCode::Forbidden, detail)
}
