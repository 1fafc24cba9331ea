//! People: what a login makes of a caller.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::grants;
use crate::App;
use crate::kernel::caller::{Caller, CallerKind, LoggedIn, Scope};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{OrganizationId, UserId};
use crate::kernel::permissions::Permissions;
use crate::kernel::policy::{Domain, Grant};
use crate::kernel::secret::sha256;

/// What an identity provider vouches for about the person who logged in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Login {
    /// The provider's key, as it stands in `auth_accounts.provider`.
    pub provider: String,
    /// Who it is there: compared exactly.
    pub subject: String,
    /// Whose own provider it is; `None` for one of the platform. Logins of an organization's own
    /// provider never reach beyond it: its admins decide what that provider says.
    pub organization: Option<OrganizationId>,
    /// The organization that the token names (an id, a slug or an external id), not yet looked up.
    pub account: Option<String>,
    /// The codes of roles, in our words.
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    /// The product labels that the person is narrowed to; none means all.
    pub products: Vec<String>,
    /// Never true but for an issuer that is trusted to say so.
    pub is_superadmin: bool,
    pub name: Option<String>,
    /// When the credential is over.
    pub expires_at: DateTime<Utc>,
}

/// The caller that a login stands for, with the grants of this instant.
///
/// # Errors
/// 403 when nobody is linked to the identity, or the person may not act.
pub async fn caller(app: &App, login: Login) -> Result<Caller> {
    let mut tx = app.db.read();
    let person = find(&mut tx, &login).await?;
    let of_platform = login.organization.is_none();
    let superadmin = of_platform
        && (login.is_superadmin || person.as_ref().is_some_and(|person| person.is_superadmin));
    let mut held = match &person {
        Some(person) if !person.is_active => {
            return Err(Error::new(ProblemCode::Forbidden, "This user is not active."));
        }
        Some(person) => {
            grants::of_person(&mut tx, person.id, login.organization, &login.products).await?
        }
        None => Vec::new(),
    };
    if let Some(organization) = vouched_for(&mut tx, &login).await? {
        held.extend(grants::of_roles(&mut tx, organization, &login.roles).await?);
    }
    if superadmin {
        let (on, permissions) = (Domain::Platform, Permissions::ALL);
        held.insert(0, Grant { on, permissions, by: "SUPERADMIN".into() });
    }
    if let Some(most) = narrowed(&login.scopes) {
        held.iter_mut().for_each(|grant| grant.permissions = grant.permissions.intersection(most));
    }
    // A stranger to this installation: linked to nobody, and with no role that means anything.
    if person.is_none() && held.is_empty() {
        return Err(unlinked(&login));
    }
    let known_as = person.as_ref().map(|person| person.email.clone());
    Ok(Caller {
        kind: CallerKind::Person,
        id: person.as_ref().map_or_else(|| stranger(&login), |person| person.id.0),
        name: login.name.or(known_as).unwrap_or(login.subject),
        user: person.map(|person| person.id),
        scope: match login.organization.or_else(|| first(&held)) {
            Some(organization_id) => Scope::Organization { organization_id },
            None => Scope::Platform,
        },
        grants: held.into(),
        login: Some(Arc::new(LoggedIn { provider: login.provider, products: login.products })),
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

/// The user who is linked to the identity. An organization's own provider knows its members only.
async fn find(tx: &mut Conn, login: &Login) -> Result<Option<Person>> {
    let sql = "SELECT u.id, u.email, u.is_active, u.is_superadmin
               FROM auth_accounts a JOIN users u ON u.id = a.user_id
               WHERE a.provider = $1 AND a.subject = $2
                 AND ($3 OR EXISTS (SELECT 1 FROM memberships m
                                    WHERE m.user_id = u.id AND m.organization_id = $4
                                      AND m.status = 'active'))";
    let query = tx.q(sql).bind(&login.provider).bind(&login.subject);
    let query = query.bind(login.organization.is_none()).bind(login.organization);
    Ok(query.opt().await?)
}

/// The organization in which the provider's roles count: its own, or the one that the token names.
async fn vouched_for(tx: &mut Conn, login: &Login) -> Result<Option<OrganizationId>> {
    if login.roles.is_empty() || login.organization.is_some() {
        return Ok(login.organization);
    }
    let Some(account) = &login.account else { return Ok(None) };
    let sql = "SELECT id FROM organizations WHERE id = $1 OR slug = $2 OR external_id = $2
               ORDER BY CASE WHEN id = $1 THEN 0 WHEN external_id = $2 THEN 1 ELSE 2 END LIMIT 1";
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

/// A stable id for somebody whom only the provider knows.
fn stranger(login: &Login) -> Uuid {
    let hash = sha256(format!("{}\n{}", login.provider, login.subject).as_bytes());
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
