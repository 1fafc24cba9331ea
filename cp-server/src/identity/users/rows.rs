//! Users and their identities as they are stored, with their look-up and links.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;

use crate::identity::ids::AuthAccountId;
use crate::identity::leavers;
use crate::kernel::access::caller::Authority;
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::platform::PlatformId;
use crate::kernel::clock::after;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::{Email, ExternalId, Name, ProviderKey, Subject};

crate::record! {
    /// A person.
    User in users {
        id: UserId,
        email: String,
        display_name: Option<Name>,
        is_active: bool,
        is_superadmin: bool,
        external_id: Option<ExternalId>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

crate::record! {
    /// A person's identity at one provider.
    AuthAccount in auth_accounts {
        id: AuthAccountId,
        user_id: UserId,
        provider: String,
        subject: String,
        idp_tenant: Option<String>,
        /// The authority that vouches for the link: null for the platform. A link of an
        /// organization counts for that organization's grants only.
        vouched_by: Option<OrganizationId> = "auth_accounts.organization_id",
        created_at: DateTime<Utc>,
    }
}

impl Resource for User {
    const NOUN: &'static str = "user";
    const PATH: &'static str = "users";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

impl Resource for AuthAccount {
    const NOUN: &'static str = "auth account";
    const PATH: &'static str = "auth-accounts";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

impl User {
    /// Returns the address in the form that is compared.
    pub(super) fn email_key(&self) -> String {
        self.email.to_lowercase()
    }
}

impl PlatformId for UserId {
    const NOUN: &'static str = "user";
}
impl PlatformId for AuthAccountId {
    const NOUN: &'static str = "auth account";
}

pub async fn load<G>(cx: &mut Cx<G>, id: UserId) -> Result<User> {
    let found = cx.tx.select("WHERE id = $1").bind(id).opt().await?;
    found.ok_or_else(|| Error::not_found("user"))
}

/// Returns a user whom the caller names by ID: any user for the platform. Other callers reach the
/// people of their organization. IDs of people are public, and an answer contains the address.
pub async fn load_named(cx: &mut Cx, id: UserId) -> Result<User> {
    if cx.caller.is_of_platform() || cx.caller.user == Some(id) {
        return load(cx, id).await;
    }
    let known = "WHERE id = $1 AND (
           EXISTS (SELECT 1 FROM memberships m
                   WHERE m.user_id = users.id AND m.organization_id = $2)
        OR EXISTS (SELECT 1 FROM auth_accounts a
                   WHERE a.user_id = users.id AND a.organization_id = $2))";
    let found = cx.tx.select(known).bind(id).bind(cx.at).opt().await?;
    found.ok_or_else(|| Error::not_found("user"))
}

/// Returns the user with this address, creating it if there is none.
pub async fn by_email<G>(cx: &mut Cx<G>, email: &Email) -> Result<User> {
    let sql = "INSERT INTO users
               (id, email, email_key, is_active, is_superadmin, created_at, updated_at)
               VALUES ($1, $2, $3, TRUE, FALSE, $4, $4)
               ON CONFLICT (email_key) DO UPDATE SET email_key = excluded.email_key";
    let id = UserId::new(&cx.app.random, cx.now);
    let query = cx.tx.returning(sql).bind(id).bind(email).bind(email.key()).bind(cx.now);
    Ok(query.one().await?)
}

/// Sets the display name of a user.
pub async fn set_display_name<G>(cx: &mut Cx<G>, user: &User, name: &Name) -> Result<()> {
    let sql = "UPDATE users SET display_name = $2, updated_at = $3 WHERE id = $1";
    let at = after(user.updated_at, cx.now);
    cx.tx.q(sql).bind(user.id).bind(name).bind(at).exec().await?;
    Ok(())
}

/// Returns whether the platform links the identity to the user.
pub async fn is_linked<G>(
    cx: &mut Cx<G>,
    user: UserId,
    provider: &ProviderKey,
    subject: &Subject,
) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM auth_accounts
                              WHERE user_id = $1 AND provider = $2 AND subject = $3
                                AND organization_id IS NULL)";
    let query = cx.tx.q(sql).bind(user).bind(provider).bind(subject);
    Ok(query.value().await?.unwrap_or(false))
}

/// An identity that an authority links to a user.
pub struct Link {
    pub user: UserId,
    pub authority: Authority,
    pub provider: String,
    pub subject: String,
    pub idp_tenant: Option<String>,
}

pub async fn insert_link<G>(cx: &mut Cx<G>, link: Link) -> Result<AuthAccount> {
    let (authority, login) = (link.authority.organization(), (&*link.provider, &*link.subject));
    leavers::relink(&mut cx.tx, authority, link.user, login).await?;
    let sql = "INSERT INTO auth_accounts
               (id, user_id, provider, subject, idp_tenant, organization_id, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let insert = cx
        .tx
        .returning(sql)
        .bind(AuthAccountId::new(&cx.app.random, cx.now))
        .bind(link.user)
        .bind(link.provider)
        .bind(link.subject)
        .bind(link.idp_tenant)
        .bind(link.authority.organization())
        .bind(cx.now);
    let taken = || {
        let detail = "`subject` is already linked to a user.";
        Error::new(ProblemCode::AuthAccountTaken, detail).at("subject")
    };
    insert
        .one()
        .await
        .on_conflict("auth_accounts_provider_subject", taken)
        .on_conflict("auth_accounts_organization_provider_subject", taken)
        .on_conflict("reference", || Error::not_found("organization").at("vouched_by"))
}

/// Deletes the links that the organization vouches for.
pub async fn unlink_from(cx: &mut Cx, user: UserId) -> Result<()> {
    let links = cx.tx.select("WHERE organization_id = $1 AND user_id = $2").bind(cx.at).bind(user);
    let links = links.all().await?;
    unlink_all(cx, links).await
}

/// Deletes all links of the user.
pub(super) async fn unlink_everywhere<G>(cx: &mut Cx<G>, user: UserId) -> Result<()> {
    let links = cx.tx.select("WHERE user_id = $1").bind(user).all().await?;
    unlink_all(cx, links).await
}

/// Deletes links. Their logins count as ended from now on.
pub(super) async fn unlink_all<G>(cx: &mut Cx<G>, links: Vec<AuthAccount>) -> Result<()> {
    for link in links {
        let (authority, login) = (link.vouched_by, (&*link.provider, &*link.subject));
        leavers::end_login(&mut cx.tx, authority, link.user_id, login, cx.now).await?;
        cx.tx.q("DELETE FROM auth_accounts WHERE id = $1").bind(link.id).exec().await?;
    }
    Ok(())
}

pub async fn has_auth_account<G>(cx: &mut Cx<G>, user: UserId) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM auth_accounts WHERE user_id = $1)";
    Ok(cx.tx.q(sql).bind(user).value().await?.unwrap_or(false))
}
