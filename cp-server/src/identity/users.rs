//! Users and their identities at providers.

pub mod rows;

use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::escalation::{refuse_becoming, refuse_but_superadmin};
use super::leavers::{self, LEAVERS};
use super::memberships;
use crate::identity::ids::AuthAccountId;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::platform::{Platform, PlatformRow};
use crate::kernel::clock::after;
use crate::kernel::declaration::{Declaration, Export, Happening};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Created, NoContent, Put};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::http::page::{List, NoFilter, Page};
use crate::kernel::section::Section;
use crate::kernel::text::{Email, ExternalId, Name, ProviderKey, Subject};

pub use rows::{AuthAccount, by_email, load};
use rows::{Link, User, insert_link, unlink_all, unlink_everywhere};

crate::permissions! {
    /// Read people and their identities.
    USERS_READ = "users:read";
    /// Create, change and delete people and link their identities.
    USERS_WRITE = "users:write";
    /// Resolve the identity of a logged-in person.
    USERS_WHOAMI = "users:whoami", kept in suspension;
}

pub static DECLARATION: Declaration =
    Declaration::of_platform("users", "user").permissions(PERMISSIONS).events(&[Happening {
        action: "users.first_login",
        doc: "A person logged in for the first time, and was linked or created.",
    }]);

/// Links that an organization vouches for.
pub static LINKS: Declaration = Declaration::of_organization(
    "auth_accounts",
    "auth account",
    Export::Section(Section::many::<AuthAccount>("identity_links")),
);

crate::routes! {
    /// People, and their identities at identity providers.
    users declares DECLARATION, LINKS, LEAVERS:
    /// Lists the users.
    GET "/users" USERS_READ => list;
    /// Creates a user, or changes the one with this e-mail address.
    POST "/users" USERS_WRITE => upsert, grants;
    /// Reads a user.
    GET "/users/{id}" USERS_READ => read;
    /// Changes a user.
    PATCH "/users/{id}" USERS_WRITE => update, grants;
    /// Deletes a user with their identities and memberships. Audit events stay.
    DELETE "/users/{id}" USERS_WRITE => delete;
    /// Lists the user's identities.
    GET "/users/{id}/auth-accounts" USERS_READ => list_auth_accounts;
    /// Links an identity to the user.
    POST "/users/{id}/auth-accounts" USERS_WRITE => link, grants;
    /// Unlinks an identity.
    DELETE "/auth-accounts/{id}" USERS_WRITE => unlink;
}

/// The address of the operator's own user.
const OPERATOR: &str = "operator@localhost";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserFilter {
    /// Returns the user with this e-mail address only; upper and lower case are equal.
    email: Option<String>,
    /// Returns the user with this external ID only.
    external_id: Option<String>,
    /// Returns only users that are active, or only those that are not.
    is_active: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The e-mail address, which identifies the user to change.
    email: Email,
    /// The display name.
    display_name: Option<Name>,
    /// Whether the user may act; true when absent.
    is_active: Option<bool>,
    /// Whether the user has all permissions of the platform; false when absent. Only superadmins
    /// may set it.
    is_superadmin: Option<bool>,
    /// The caller's own reference, unique among all users.
    external_id: Option<ExternalId>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// The new e-mail address.
    email: Option<Email>,
    /// The new display name. Null removes it.
    #[serde(default)]
    display_name: Patch<Name>,
    /// Whether the user may act.
    is_active: Option<bool>,
    /// Whether the user has all permissions of the platform. Only superadmins may set it.
    is_superadmin: Option<bool>,
    /// The new reference of the caller's own. Null removes it.
    #[serde(default)]
    external_id: Patch<ExternalId>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAuthAccount {
    /// The key of the identity provider.
    provider: ProviderKey,
    /// The person's identifier at the provider, compared exactly.
    subject: Subject,
    /// The tenant of the provider, for the caller's information.
    idp_tenant: Option<Name>,
    /// The organization for whose grants alone the link counts. When absent, the platform vouches
    /// for the link.
    vouched_by: Option<OrganizationId>,
}

async fn list(cx: &mut Cx<Scope>, _: Platform, list: List<UserFilter>) -> Result<Page<User>> {
    let filter = &list.filter;
    let query = cx
        .tx
        .select("WHERE TRUE")
        .and_some(" AND email_key = ?", filter.email.as_ref().map(|e| e.to_lowercase()))
        .and_some(" AND external_id = ?", filter.external_id.as_deref())
        .and_some(" AND is_active = ?", filter.is_active);
    list.page(query).await
}

pub(crate) async fn upsert(cx: &mut Cx<Scope>, _: Platform, new: NewUser) -> Result<Put<User>> {
    if new.is_superadmin.is_some_and(|is_superadmin| is_superadmin) {
        refuse_but_superadmin(&cx.caller)?;
    }
    let known = cx.tx.select("WHERE email_key = $1").bind(new.email.key()).locked();
    let known: Option<User> = known.opt().await?;
    if let Some(known) = known {
        refuse_changing(cx, &known, !known.is_active && new.is_active == Some(true)).await?;
        if new.is_active == Some(false) || new.is_superadmin == Some(false) {
            keep_a_superadmin(cx, known.id).await?;
        }
    }
    let sql = "INSERT INTO users
               (id, email, email_key, display_name, is_active, is_superadmin, external_id,
                created_at, updated_at)
               VALUES ($1, $2, $3, $4, COALESCE($5, TRUE), COALESCE($6, FALSE), $7, $8, $8)
               ON CONFLICT (email_key) DO UPDATE
               SET display_name = COALESCE($4, users.display_name),
                   is_active = COALESCE($5, users.is_active),
                   is_superadmin = COALESCE($6, users.is_superadmin),
                   external_id = COALESCE($7, users.external_id), updated_at = $8";
    let id = UserId::new(&cx.app.random, cx.now);
    let upsert = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(&new.email)
        .bind(new.email.key())
        .bind(new.display_name)
        .bind(new.is_active)
        .bind(new.is_superadmin)
        .bind(new.external_id)
        .bind(cx.now);
    let user: User = upsert.one().await?;
    if user.id == id {
        return Ok(Put::New(user));
    }
    memberships::bump_user(cx, user.id).await?;
    Ok(Put::Known(user))
}

/// Returns the operator's own user, a superadmin, which the first link to the console creates.
pub(super) async fn operator(cx: &mut Cx<Scope>) -> Result<User> {
    let email: Email =
        OPERATOR.parse().map_err(|why: String| Error::internal(anyhow::anyhow!(why)))?;
    let found = cx.tx.select("WHERE email_key = $1").bind(email.key()).opt().await?;
    if let Some(known) = found {
        return Ok(known);
    }
    let (display_name, is_active, external_id) = (None, None, None);
    let is_superadmin = Some(true);
    let new = NewUser { email, display_name, is_active, is_superadmin, external_id };
    match upsert(cx, Platform, new).await? {
        Put::New(user) | Put::Known(user) => Ok(user),
    }
}

/// Returns the user with this address.
pub(super) async fn find(cx: &mut Cx<Scope>, email: &Email) -> Result<User> {
    let found = cx.tx.select("WHERE email_key = $1").bind(email.key()).opt().await?;
    found.ok_or_else(|| Error::not_found("user"))
}

async fn read(cx: &mut Cx<Scope>, PlatformRow(id): PlatformRow<UserId>) -> Result<User> {
    load(cx, id).await
}

async fn update(
    cx: &mut Cx<Scope>,
    PlatformRow(id): PlatformRow<UserId>,
    patch: UserPatch,
) -> Result<User> {
    let found: Option<User> = cx.tx.select("WHERE id = $1").bind(id).locked().opt().await?;
    let before = found.ok_or_else(|| Error::not_found("user"))?;
    if patch.is_superadmin == Some(true) {
        refuse_but_superadmin(&cx.caller)?;
    }
    let is_renamed = patch.email.as_ref().is_some_and(|email| email.key() != before.email_key());
    let is_activated = !before.is_active && patch.is_active == Some(true);
    refuse_changing(cx, &before, is_renamed || is_activated).await?;
    if patch.is_active == Some(false) || patch.is_superadmin == Some(false) {
        keep_a_superadmin(cx, id).await?;
    }
    let display_name = patch.display_name.over(before.display_name);
    let external_id = patch.external_id.over(before.external_id);
    let sql = "UPDATE users
               SET email = COALESCE($2, email), email_key = COALESCE($3, email_key),
                   display_name = $4, is_active = COALESCE($5, is_active),
                   is_superadmin = COALESCE($6, is_superadmin), external_id = $7, updated_at = $8
               WHERE id = $1";
    let update = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(patch.email.as_ref())
        .bind(patch.email.as_ref().map(Email::key))
        .bind(display_name)
        .bind(patch.is_active)
        .bind(patch.is_superadmin)
        .bind(external_id)
        .bind(after(before.updated_at, cx.now));
    let user: User = update.one().await?;
    memberships::bump_user(cx, id).await?;
    Ok(user)
}

/// Refuses to change a superadmin, and to let a caller act as a user that holds more.
async fn refuse_changing(cx: &mut Cx<Scope>, user: &User, lets_act: bool) -> Result<()> {
    if user.is_superadmin {
        return refuse_but_superadmin(&cx.caller);
    }
    if lets_act { refuse_becoming(&cx.caller, &mut cx.tx, user.id).await } else { Ok(()) }
}

/// Refuses to change the last active superadmin.
async fn keep_a_superadmin(cx: &mut Cx<Scope>, but: UserId) -> Result<()> {
    // Locked in one order: of two superadmins who demote each other, one waits and then is the
    // last.
    let all = cx.tx.select("WHERE is_superadmin AND is_active ORDER BY id").locked();
    let all: Vec<User> = all.all().await?;
    if all.len() > 1 || all.iter().all(|user| user.id != but) {
        return Ok(());
    }
    let detail = "This user is the last active superadmin. Create another one first.";
    Err(Error::new(ProblemCode::SystemProtected, detail))
}

async fn delete(cx: &mut Cx<Scope>, PlatformRow(id): PlatformRow<UserId>) -> Result<NoContent> {
    let user = load(cx, id).await?;
    refuse_changing(cx, &user, false).await?;
    keep_a_superadmin(cx, id).await?;
    memberships::refuse_owner(cx, id).await?;
    memberships::bump_user(cx, id).await?;
    // Before the memberships: a login counts as ended in the person's organizations.
    unlink_everywhere(cx, id).await?;
    leavers::forget_seats(&mut cx.tx, id).await?;
    memberships::purge_user(cx, id).await?;
    match cx.tx.q("DELETE FROM users WHERE id = $1").bind(id).exec().await? {
        0 => Err(Error::not_found("user")),
        _ => Ok(NoContent),
    }
}

async fn list_auth_accounts(
    cx: &mut Cx<Scope>,
    PlatformRow(id): PlatformRow<UserId>,
    list: List<NoFilter>,
) -> Result<Page<AuthAccount>> {
    load(cx, id).await?;
    list.page(cx.tx.select("WHERE user_id = $1").bind(id)).await
}

async fn link(
    cx: &mut Cx<Scope>,
    PlatformRow(id): PlatformRow<UserId>,
    new: NewAuthAccount,
) -> Result<Created<AuthAccount>> {
    let user = load(cx, id).await?;
    refuse_changing(cx, &user, true).await?;
    let link = Link {
        user: id,
        authority: new.vouched_by.into(),
        provider: new.provider.into_string(),
        subject: new.subject.into_string(),
        idp_tenant: new.idp_tenant.map(Name::into_string),
    };
    insert_link(cx, link).await.map(Created)
}

async fn unlink(
    cx: &mut Cx<Scope>,
    PlatformRow(id): PlatformRow<AuthAccountId>,
) -> Result<NoContent> {
    let found: Option<AuthAccount> = cx.tx.select("WHERE id = $1").bind(id).opt().await?;
    let found = found.ok_or_else(|| Error::not_found("auth account"))?;
    let user = load(cx, found.user_id).await?;
    refuse_changing(cx, &user, false).await?;
    unlink_all(cx, vec![found]).await?;
    Ok(NoContent)
}
