//! Service tokens: the credentials of machines.

pub mod authentication;
pub mod rows;
pub mod text;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::roles::system::is_code_of_system;
use crate::identity::ids::TokenId;
use crate::kernel::access::caller::{
    Caller, CallerKind, Permission, Permissions, Privileges, Scope,
};
use crate::kernel::access::ids::DeploymentId;
use crate::kernel::access::place::Org;
use crate::kernel::access::platform::{OrgOrPlatform, Platform};
use crate::kernel::access::policy::Location;
use crate::kernel::db::query::Rows;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Created, NoContent, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::{Between, Moment};
use crate::kernel::http::page::{List, Page};
use crate::kernel::secret::{ShownOnce, sha256};
use crate::kernel::section::Section;
use crate::kernel::text::Name;

pub use rows::ServiceToken;
use rows::{Row, held, insert};
use text::compose;

crate::permissions! {
    /// Create and revoke service tokens.
    TOKENS_WRITE = "tokens:write", implied by ["settings:write"], bounded by Tokens;
    /// Read about service tokens.
    TOKENS_READ = "tokens:read", implied by ["settings:write"];
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "service_tokens",
    "service token",
    Export::Section(Section::many::<ServiceToken>("service_tokens")),
)
.permissions(PERMISSIONS);

crate::routes! {
    /// The credentials of machines.
    service_tokens declares DECLARATION:
    /// Lists the service tokens of the platform and of all organizations.
    GET "/service-tokens" TOKENS_READ => list_all;
    /// Creates a service token of the platform.
    POST "/service-tokens" TOKENS_WRITE => create_for_platform, grants;
    /// Lists the organization's service tokens.
    GET "/organizations/{org}/service-tokens" TOKENS_READ => list;
    /// Creates a service token that is restricted to the organization.
    POST "/organizations/{org}/service-tokens" TOKENS_WRITE => create, grants;
    /// Lists the deployment's service tokens.
    GET "/deployments/{id}/service-tokens" TOKENS_READ => list_for_deployment;
    /// Creates a service token for the deployment, with the permissions of a data plane.
    POST "/deployments/{id}/service-tokens" TOKENS_WRITE => create_for_deployment, grants;
    /// Replaces the token's secret. The old secret works for `overlap_seconds` more.
    POST "/service-tokens/{id}/rotate" TOKENS_WRITE => rotate, grants;
    /// Revokes a service token.
    DELETE "/service-tokens/{id}" TOKENS_WRITE => revoke;
}

/// The permissions that a deployment's token can hold at most.
pub const DATA_PLANE: &[Permission] = &[
    Permission::USERS_WHOAMI,
    Permission::USAGE_WRITE,
    Permission::LIMITS_READ,
    Permission::EFFECTIVE_READ,
    Permission::LEASES_READ,
    Permission::LEASES_WRITE,
    Permission::LICENSES_FETCH,
];

/// A new token. Only this answer shows its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IssuedToken {
    token: ShownOnce,
    #[serde(flatten)]
    service_token: ServiceToken,
}

impl IssuedToken {
    pub fn text(&self) -> &str {
        self.token.expose()
    }
}

impl Resource for IssuedToken {
    const NOUN: &'static str = "service token";
    const PATH: &'static str = "service-tokens";
    fn name(&self) -> String {
        self.service_token.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenFilter {
    /// True returns the tokens that still work; false returns revoked ones. Both when absent.
    active: Option<bool>,
    /// Returns the tokens that this user or service token created.
    created_by: Option<Uuid>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// The display name.
    name: Name,
    /// The codes that the token holds, such as `licenses:issue`; `*` for all.
    permissions: Vec<String>,
    /// The end of the token: in the future, and at most the end of the caller's own token. When
    /// absent, the caller's own token decides.
    expires_at: Option<Moment>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeploymentToken {
    /// The display name.
    name: Name,
    /// The codes that the token holds; all that a data plane needs when absent.
    permissions: Option<Vec<String>>,
    /// The end of the token: in the future, and at most the end of the caller's own token. When
    /// absent, the caller's own token decides.
    expires_at: Option<Moment>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The seconds for which the old secret still works, from 0 to 604,800 (7 days); 0 when absent.
    /// The next rotation ends it at once.
    #[serde(default = "at_once")]
    overlap_seconds: Between<0, 604_800>,
}

fn at_once() -> Between<0, 604_800> {
    Between(0)
}

async fn list_all(
    cx: &mut Cx<Scope>,
    _: Platform,
    list: List<TokenFilter>,
) -> Result<Page<ServiceToken>> {
    let query = cx.tx.select("WHERE TRUE");
    list.page(narrowed(query, &list.filter)).await
}

async fn list(cx: &mut Cx, _: Org, list: List<TokenFilter>) -> Result<Page<ServiceToken>> {
    let query = cx.tx.select("WHERE organization_id = $1").bind(cx.at);
    list.page(narrowed(query, &list.filter)).await
}

async fn list_for_deployment(
    cx: &mut Cx,
    id: DeploymentId,
    list: List<TokenFilter>,
) -> Result<Page<ServiceToken>> {
    let query = cx.tx.select("WHERE deployment_id = $1 AND organization_id = $2");
    let query = query.bind(id).bind(cx.at);
    list.page(narrowed(query, &list.filter)).await
}

fn narrowed<'c>(query: Rows<'c, ServiceToken>, filter: &TokenFilter) -> Rows<'c, ServiceToken> {
    query
        .and_some(" AND (revoked_at IS NULL) = ?", filter.active)
        .and_some(" AND created_by = ?", filter.created_by)
}

async fn create_for_platform(
    cx: &mut Cx<Scope>,
    _: Platform,
    new: NewToken,
) -> Result<Created<IssuedToken>> {
    issue(cx, Scope::Platform, new).await
}

async fn create(cx: &mut Cx, _: Org, new: NewToken) -> Result<Created<IssuedToken>> {
    let scope = Scope::Organization { organization_id: cx.at };
    issue(cx, scope, new).await
}

async fn create_for_deployment(
    cx: &mut Cx,
    id: DeploymentId,
    new: NewDeploymentToken,
) -> Result<Created<IssuedToken>> {
    let all = || DATA_PLANE.iter().map(|p| p.as_str().to_owned()).collect();
    let permissions: Vec<String> = new.permissions.unwrap_or_else(all);
    let most = DATA_PLANE.iter().fold(Permissions::NONE, |set, p| set.with(*p));
    let wanted = privileges(&permissions)?.permissions;
    if wanted.without(most) != Permissions::NONE {
        let detail = format!(
            "`permissions` must be among those of a deployment's token: {:?}.",
            most.codes()
        );
        return Err(Error::invalid("permissions", detail));
    }
    let scope = Scope::Deployment { organization_id: cx.at, deployment_id: id };
    issue(cx, scope, NewToken { name: new.name, permissions, expires_at: new.expires_at }).await
}

async fn issue<G>(cx: &mut Cx<G>, scope: Scope, new: NewToken) -> Result<Created<IssuedToken>> {
    let location = scope.organization().map_or(Location::Platform, Location::Organization);
    cx.caller.refuse_giving(&privileges(&new.permissions)?, location, "permissions")?;
    let expires_at = new.expires_at.map(|at| at.0);
    if expires_at.is_some_and(|at| at <= cx.now) {
        let detail = "`expires_at` must be in the future.";
        return Err(Error::invalid("expires_at", detail));
    }
    let expires_at = no_later_than_parent(&cx.caller, expires_at)?;
    let id = TokenId::new(&cx.app.random, cx.now);
    let text = compose(id, &cx.app.random.bytes());
    let row = Row {
        id,
        scope,
        name: new.name.into_string(),
        codes: new.permissions.into(),
        expires_at,
        created_by: Some(cx.caller.actor_id()).filter(|id| !id.is_nil()),
    };
    let service_token = insert(&mut cx.tx, cx.now, row, text.expose()).await?;
    Ok(Created(IssuedToken { token: text, service_token }))
}

/// Returns the end of a token that the caller creates: no later than that of the caller's token.
///
/// A person's login ends within hours, and does not limit the machines that the person sets up.
fn no_later_than_parent(
    caller: &Caller,
    expires_at: Option<DateTime<Utc>>,
) -> Result<Option<DateTime<Utc>>> {
    let parent = caller.ends_at.filter(|_| caller.kind == CallerKind::ServiceToken);
    match (parent, expires_at) {
        (Some(parent), Some(child)) if child > parent => {
            let at = parent.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            let detail =
                format!("`expires_at` must be at most {at}, when the caller's token ends.");
            Err(Error::invalid("expires_at", detail))
        }
        (parent, child) => Ok(child.or(parent)),
    }
}

async fn rotate(
    cx: &mut Cx<Scope>,
    OrgOrPlatform(id): OrgOrPlatform<TokenId>,
    rotation: Rotation,
) -> Result<IssuedToken> {
    let before = visible(cx, id).await?;
    if before.revoked_at.is_some() {
        return Err(Error::new(ProblemCode::Conflict, "The token is revoked; create a new one."));
    }
    // A new secret has the full power of the token.
    let location = before.organization_id.map_or(Location::Platform, Location::Organization);
    cx.caller.refuse_giving(&privileges(&before.permissions)?, location, "permissions")?;
    let is_own = cx.caller.kind == CallerKind::ServiceToken && cx.caller.id == id.0;
    let ends = cx.caller.ends_at.filter(|_| cx.caller.kind == CallerKind::ServiceToken && !is_own);
    if ends.is_some_and(|ends| before.expires_at.is_none_or(|at| at > ends)) {
        let detail = "The token ends later than the caller's own token, which therefore cannot \
                      rotate it.";
        return Err(Error::new(ProblemCode::Forbidden, detail));
    }
    let text = compose(id, &cx.app.random.bytes());
    let overlap = TimeDelta::seconds(rotation.overlap_seconds.0);
    let sql = "UPDATE service_tokens
               SET previous_hash = secret_hash, previous_until = $2, secret_hash = $3,
                   updated_at = $4
               WHERE id = $1";
    let update = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(cx.now + overlap)
        .bind(sha256(text.expose().as_bytes()).to_vec())
        .bind(cx.now);
    Ok(IssuedToken { token: text, service_token: update.one().await? })
}

async fn revoke(
    cx: &mut Cx<Scope>,
    OrgOrPlatform(id): OrgOrPlatform<TokenId>,
) -> Result<NoContent> {
    let before = visible(cx, id).await?;
    cx.audit.before = serde_json::to_value(before).ok();
    let sql = "UPDATE service_tokens SET revoked_at = COALESCE(revoked_at, $2), updated_at = $2
               WHERE id = $1";
    cx.tx.q(sql).bind(id).bind(cx.now).exec().await?;
    Ok(NoContent)
}

async fn visible(cx: &mut Cx<Scope>, id: TokenId) -> Result<ServiceToken> {
    let query = cx.tx.select("WHERE id = $1").bind(id);
    let query = query.and_some(" AND organization_id = ?", cx.at.organization());
    let found: Option<ServiceToken> = query.opt().await?;
    let found = found.ok_or_else(|| Error::not_found("service token"))?;
    cx.audit.organization = found.organization_id;
    Ok(found)
}

/// Deletes a deployment's tokens, which end with it.
pub async fn purge_deployment(cx: &mut Cx, id: DeploymentId) -> Result<()> {
    let sql = "DELETE FROM service_tokens WHERE deployment_id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(id).bind(cx.at).exec().await?;
    Ok(())
}

/// Returns the privileges of a token: permissions of this server, and codes of data planes that
/// system roles have.
fn privileges(codes: &[String]) -> Result<Privileges> {
    let own = codes.iter().map(String::as_str).filter(|code| !is_code_of_system(code));
    Permissions::parse(own)
        .map_err(|e| Error::invalid("permissions", format!("`permissions` {e}.")))?;
    Ok(held(codes))
}
