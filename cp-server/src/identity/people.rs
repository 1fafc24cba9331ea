//! People: what a login makes of a caller.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;

use crate::App;
use crate::kernel::caller::{Caller, CallerKind, Permissions, Scope};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{OrganizationId, UserId};

/// What an identity provider vouches for about the person who logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// The caller that a login stands for.
///
/// # Errors
/// 403 when nobody is linked to the identity, or the person may not act.
pub async fn caller(app: &App, login: Login) -> Result<Caller> {
    let sql = "SELECT u.id, u.email, u.is_active, u.is_superadmin,
                      EXISTS (SELECT 1 FROM memberships m
                              WHERE m.user_id = u.id AND m.organization_id = $3
                                AND m.status = 'active') AS is_member
               FROM auth_accounts a JOIN users u ON u.id = a.user_id
               WHERE a.provider = $1 AND a.subject = $2";
    let mut tx = app.db.read();
    let query = tx.q(sql).bind(&login.provider).bind(&login.subject).bind(login.organization);
    let person: Option<Person> = query.opt().await?;
    let person = person.filter(|person| login.organization.is_none() || person.is_member);
    let Some(person) = person else { return Err(unlinked(&login)) };
    if !person.is_active {
        return Err(Error::new(ProblemCode::Forbidden, "This user is not active."));
    }
    let superadmin = login.organization.is_none() && (person.is_superadmin || login.is_superadmin);
    Ok(Caller {
        kind: CallerKind::Person,
        id: person.id.0,
        name: login.name.unwrap_or(person.email),
        user: Some(person.id),
        scope: match login.organization {
            Some(organization_id) => Scope::Organization { organization_id },
            None => Scope::Platform,
        },
        permissions: if superadmin { Permissions::ALL } else { Permissions::NONE },
    })
}

#[derive(sqlx::FromRow)]
struct Person {
    id: UserId,
    email: String,
    is_active: bool,
    is_superadmin: bool,
    is_member: bool,
}

fn unlinked(login: &Login) -> Error {
    let detail = format!(
        "No user here is linked to this login: have an admin link provider {:?}, subject {:?} with \
         POST /users/{{id}}/auth-accounts, or accept an invitation.",
        login.provider, login.subject
    );
    Error::new(ProblemCode::Forbidden, detail)
}
