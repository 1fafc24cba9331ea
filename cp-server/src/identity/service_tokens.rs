//! Service tokens: the credentials of machines.
//!
//! A token reads `cpat_<id>_<secret>_<checksum>`: the id finds the row, the secret (256 random
//! bits) is kept as its SHA-256 only, and the checksum lets a secret scanner, and this server,
//! tell junk without a look-up. All parts are hexadecimal.

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::credentials::compose;
use crate::App;
use crate::kernel::answer::{Created, NoContent, Resource};
use crate::kernel::caller::{Permission, Permissions, Scope};
use crate::kernel::db::Conn;
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{DeploymentId, OrganizationId, TokenId};
use crate::kernel::json::Between;
use crate::kernel::page::{List, Page};
use crate::kernel::place::{AnyOwner, Org, Platform};
use crate::kernel::policy::Location;
use crate::kernel::record::Codes;
use crate::kernel::secret::{ShownOnce, sha256};
use crate::kernel::text::Name;

crate::routes! { service_tokens:
    /// Lists the service tokens of the platform and of all organizations.
    GET "/service-tokens" TokensRead => list_all;
    /// Creates a service token of the platform.
    POST "/service-tokens" TokensWrite => create;
    /// Lists the organization's service tokens.
    GET "/organizations/{org}/service-tokens" TokensRead => list;
    /// Creates a service token that is held to the organization.
    POST "/organizations/{org}/service-tokens" TokensWrite => create_in_organization;
    /// Lists the deployment's service tokens.
    GET "/deployments/{id}/service-tokens" TokensRead => list_of_deployment;
    /// Creates a service token for the deployment: it can do what a data plane needs.
    POST "/deployments/{id}/service-tokens" TokensWrite => create_in_deployment;
    /// Replaces the token's secret. The one before is taken for `overlap_seconds` more.
    POST "/service-tokens/{id}/rotate" TokensWrite => rotate;
    /// Revokes a service token.
    DELETE "/service-tokens/{id}" TokensWrite => revoke;
}

/// What a deployment's token may do at most.
pub const DATA_PLANE: &[Permission] =
    &[Permission::UsersWhoami, Permission::UsageWrite, Permission::LimitsRead];

crate::record! {
    /// A machine's credential, without its secret.
    ServiceToken in service_tokens {
        id: TokenId,
        /// Null for a token of the platform.
        organization_id: Option<OrganizationId>,
        deployment_id: Option<DeploymentId>,
        name: String,
        permissions: Codes,
        expires_at: Option<DateTime<Utc>>,
        last_used_at: Option<DateTime<Utc>>,
        revoked_at: Option<DateTime<Utc>>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

/// A new token, whose text is shown this once.
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
    /// True for those that still work, false for revoked ones.
    active: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    name: Name,
    /// Codes such as `licenses:issue`; `*` for all.
    permissions: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeploymentToken {
    name: Name,
    /// What a data plane needs, when absent.
    permissions: Option<Vec<String>>,
    expires_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// 0 to 7 days; 0 when absent.
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
    list.page(query.and_some(" AND (revoked_at IS NULL) = ?", list.filter.active)).await
}

async fn list(cx: &mut Cx, _: Org, list: List<TokenFilter>) -> Result<Page<ServiceToken>> {
    let query = cx.tx.select("WHERE organization_id = $1").bind(cx.org);
    list.page(query.and_some(" AND (revoked_at IS NULL) = ?", list.filter.active)).await
}

async fn list_of_deployment(
    cx: &mut Cx,
    id: DeploymentId,
    list: List<TokenFilter>,
) -> Result<Page<ServiceToken>> {
    let query = cx.tx.select("WHERE deployment_id = $1 AND organization_id = $2");
    let query = query.bind(id).bind(cx.org);
    list.page(query.and_some(" AND (revoked_at IS NULL) = ?", list.filter.active)).await
}

async fn create(cx: &mut Cx<Scope>, _: Platform, new: NewToken) -> Result<Created<IssuedToken>> {
    issue(cx, Scope::Platform, new).await
}

async fn create_in_organization(
    cx: &mut Cx,
    _: Org,
    new: NewToken,
) -> Result<Created<IssuedToken>> {
    let scope = Scope::Organization { organization_id: cx.org };
    issue(cx, scope, new).await
}

async fn create_in_deployment(
    cx: &mut Cx,
    id: DeploymentId,
    new: NewDeploymentToken,
) -> Result<Created<IssuedToken>> {
    let all = || DATA_PLANE.iter().map(|p| p.as_str().to_owned()).collect();
    let permissions: Vec<String> = new.permissions.unwrap_or_else(all);
    let most = DATA_PLANE.iter().fold(Permissions::NONE, |set, p| set.with(*p));
    let wanted = parse(&permissions)?;
    if wanted.without(most) != Permissions::NONE {
        let detail = format!("permissions: a deployment's token holds at most {:?}", most.codes());
        return Err(Error::invalid("permissions", detail));
    }
    let scope = Scope::Deployment { organization_id: cx.org, deployment_id: id };
    issue(cx, scope, NewToken { name: new.name, permissions, expires_at: new.expires_at }).await
}

async fn issue<G>(cx: &mut Cx<G>, scope: Scope, new: NewToken) -> Result<Created<IssuedToken>> {
    let location = scope.organization().map_or(Location::Platform, Location::Organization);
    cx.caller.refuse_giving(parse(&new.permissions)?, location, "permissions")?;
    if new.expires_at.is_some_and(|at| at <= cx.now) {
        return Err(Error::invalid("expires_at", "expires_at: is in the past"));
    }
    let id = TokenId::new(&cx.app.random, cx.now);
    let text = compose(id, &cx.app.random.bytes());
    let row = Row { id, scope, name: new.name.into_string(), codes: new.permissions.into() };
    let service_token = insert(&mut cx.tx, cx.now, row, new.expires_at, text.expose()).await?;
    Ok(Created(IssuedToken { token: text, service_token }))
}

async fn rotate(
    cx: &mut Cx<Scope>,
    AnyOwner(id): AnyOwner<TokenId>,
    rotation: Rotation,
) -> Result<IssuedToken> {
    let before = visible(cx, id).await?;
    if before.revoked_at.is_some() {
        return Err(Error::new(ProblemCode::Conflict, "The token is revoked; create a new one."));
    }
    // A new secret is the token itself.
    let location = before.organization_id.map_or(Location::Platform, Location::Organization);
    cx.caller.refuse_giving(parse(&before.permissions)?, location, "permissions")?;
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

async fn revoke(cx: &mut Cx<Scope>, AnyOwner(id): AnyOwner<TokenId>) -> Result<NoContent> {
    let before = visible(cx, id).await?;
    cx.trail.before = serde_json::to_value(before).ok();
    let sql = "UPDATE service_tokens SET revoked_at = COALESCE(revoked_at, $2), updated_at = $2
               WHERE id = $1";
    cx.tx.q(sql).bind(id).bind(cx.now).exec().await?;
    Ok(NoContent)
}

async fn visible(cx: &mut Cx<Scope>, id: TokenId) -> Result<ServiceToken> {
    let query = cx.tx.select("WHERE id = $1").bind(id);
    let query = query.and_some(" AND organization_id = ?", cx.org.organization());
    let found: Option<ServiceToken> = query.opt().await?;
    let found = found.ok_or_else(|| Error::not_found("service token"))?;
    cx.trail.organization = found.organization_id;
    Ok(found)
}

/// A deployment's tokens end with it.
pub async fn purge_deployment(cx: &mut Cx, id: DeploymentId) -> Result<()> {
    let sql = "DELETE FROM service_tokens WHERE deployment_id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(id).bind(cx.org).exec().await?;
    Ok(())
}

pub async fn purge(cx: &mut Cx) -> Result<()> {
    cx.tx.q("DELETE FROM service_tokens WHERE organization_id = $1").bind(cx.org).exec().await?;
    Ok(())
}

fn parse(codes: &[String]) -> Result<Permissions> {
    Permissions::parse(codes.iter().map(String::as_str))
        .map_err(|e| Error::invalid("permissions", format!("permissions: {e}")))
}

/// What stands in the row of a new token.
pub(super) struct Row {
    pub(super) id: TokenId,
    pub(super) scope: Scope,
    pub(super) name: String,
    pub(super) codes: Codes,
}

pub(super) async fn insert(
    tx: &mut Conn,
    now: DateTime<Utc>,
    row: Row,
    expires_at: Option<DateTime<Utc>>,
    text: &str,
) -> Result<ServiceToken> {
    let deployment = match row.scope {
        Scope::Deployment { deployment_id, .. } => Some(deployment_id),
        _ => None,
    };
    let sql = "INSERT INTO service_tokens
               (id, organization_id, deployment_id, name, permissions, secret_hash, expires_at,
                created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)";
    let insert = tx
        .returning(sql)
        .bind(row.id)
        .bind(row.scope.organization())
        .bind(deployment)
        .bind(row.name)
        .bind(row.codes)
        .bind(sha256(text.as_bytes()).to_vec())
        .bind(expires_at)
        .bind(now);
    Ok(insert.one().await?)
}

/// `last_used_at` is noted to within this time: it must not cost a write per request.
const USE_NOTED_EVERY: TimeDelta = TimeDelta::minutes(5);

/// Notes, now and then and behind the request's back, that the token is in use.
pub fn note_use(app: &App, id: TokenId, last: Option<DateTime<Utc>>, now: DateTime<Utc>) {
    if last.is_some_and(|at| now - at < USE_NOTED_EVERY) {
        return;
    }
    let app = app.clone();
    tokio::spawn(async move {
        let noted = async {
            let mut tx = app.db.begin().await?;
            let sql = "UPDATE service_tokens SET last_used_at = $2 WHERE id = $1";
            tx.q(sql).bind(id).bind(now).exec().await?;
            tx.commit().await
        };
        if let Err(error) = noted.await {
            tracing::debug!(%error, %id, "the use of a service token was not noted");
        }
    });
}
