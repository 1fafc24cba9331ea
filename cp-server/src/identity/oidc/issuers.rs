//! Trusted identity providers, and the selection of the provider of a token.
//!
//! Those of the platform are the operator's settings; each organization has its own, as rows.

use cp_contracts::ProblemCode;
use serde_json::{Map, Value};

use super::claims::account;
use super::presets::{ClaimMap, ProviderType};
use super::provider::Provider;
use super::tokens::{Refusal, Token, quoted};
use crate::identity::ids::ProviderId;
use crate::identity::settings::IdentitySettings;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, Result};

/// The largest number of a token's audiences that are looked up.
const AUDIENCES: usize = 32;

/// An organization's own provider, and the names of the organization in its tokens.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: ProviderId,
    organization_id: OrganizationId,
    key: String,
    kind: ProviderType,
    issuer: String,
    audience: Option<String>,
    jwks_uri: Option<String>,
    client_id: Option<String>,
    claim_map: Object,
    role_map: Object,
    external_id: Option<String>,
}

/// The columns of [`Row`].
pub(super) const ROWS: &str = "SELECT p.id, p.organization_id, p.key, p.type AS kind, p.issuer,
    p.audience, p.jwks_uri, p.client_id, p.claim_map, p.role_map, o.external_id
    FROM identity_providers p JOIN organizations o ON o.id = p.organization_id
    WHERE p.status = 'active' AND p.type <> 'saml'";

impl Row {
    /// Returns the claim map. An invalid one is from an older version and means the standard names.
    fn claim_map(&self) -> ClaimMap {
        ClaimMap::new(self.kind, &self.claim_map)
            .or_else(|_| ClaimMap::new(self.kind, &Map::new()))
            .unwrap_or_default()
    }

    /// Returns whether the claims name this organization, by its ID or the external ID that the
    /// platform set.
    ///
    /// Each organization's claim map decides about that organization only, so it cannot make
    /// another organization's tokens ambiguous.
    fn is_named_by(&self, claims: &Map<String, Value>) -> bool {
        let map = self.claim_map();
        account(claims, &map).is_some_and(|name| {
            self.external_id.as_deref() == Some(name) || name.parse() == Ok(self.organization_id)
        })
    }

    pub(super) fn provider(self) -> Provider {
        Provider {
            claim_map: self.claim_map(),
            key: self.key,
            organization: Some(self.organization_id),
            id: Some(self.id),
            kind: self.kind,
            issuer: self.issuer,
            audience: self.audience,
            jwks_uri: self.jwks_uri,
            client_id: self.client_id,
            client_secret: None,
            role_map: self.role_map.into_inner(),
            management: None,
        }
    }
}

/// Returns the provider of a token, by its issuer and audience. Where the platform lets
/// organizations share both, the organization that the token names decides.
///
/// The operator's own providers come first: an organization with the same issuer cannot take over
/// their tokens, or make them ambiguous.
pub async fn of_token(app: &App, token: &Token<'_>) -> Result<Provider> {
    let issuer = token.issuer().ok_or_else(|| refused("it names no issuer (iss)"))?;
    let audiences = token.audiences();
    if audiences.is_empty() || audiences.len() > AUDIENCES {
        return Err(refused(format!("it must have 1 to {AUDIENCES} audiences (aud)")));
    }
    let (is_known, of_platform) = of_platform(app, issuer, &audiences);
    if let Some(provider) = of_platform {
        return Ok(provider.clone());
    }
    let mut tx = app.db.read();
    let mut rows: Vec<Row> = tx
        .q(ROWS)
        .and(" AND p.issuer = ?", issuer)
        .sql(" AND COALESCE(p.audience, p.client_id) IN (VALUES ")
        .rows(&audiences, |query, audience| query.bind(audience.as_str()))
        .sql(") ORDER BY p.id LIMIT 100")
        .all()
        .await?;
    let is_shared = rows.len() > 1;
    if is_shared {
        let is_named = rows.iter().any(|row| row.is_named_by(&token.claims));
        match is_named {
            true => rows.retain(|row| row.is_named_by(&token.claims)),
            false => rows = of_member(&mut tx, rows, token.subject()).await?,
        }
    }
    match rows.pop() {
        Some(row) if rows.is_empty() => Ok(row.provider()),
        found if is_shared || found.is_some() => Err(refused(
            "several organizations have this issuer and audience, and it does not name the \
             organization",
        )),
        _ => Err(unknown(app, issuer, &audiences, is_known).await?),
    }
}

/// Returns the provider of the person's organization, of those that share an issuer and an
/// audience. The platform or that organization must link the subject. Of several, the oldest counts.
async fn of_member(tx: &mut Conn, rows: Vec<Row>, subject: Option<&str>) -> Result<Vec<Row>> {
    let sql = "SELECT m.organization_id, a.provider FROM auth_accounts a
               JOIN memberships m ON m.user_id = a.user_id
               WHERE a.subject = $1 AND m.status = 'active'
                 AND (a.organization_id IS NULL OR a.organization_id = m.organization_id)";
    let seats: Vec<(OrganizationId, String)> = tx.q(sql).bind(subject).all().await?;
    let is_member =
        |row: &Row| seats.iter().any(|(o, p)| *o == row.organization_id && *p == row.key);
    Ok(rows.into_iter().find(is_member).into_iter().collect())
}

/// Returns whether the operator trusts the issuer, and the provider with one of the audiences.
fn of_platform<'a>(
    app: &'a App,
    issuer: &str,
    audiences: &[String],
) -> (bool, Option<&'a Provider>) {
    let providers = IdentitySettings::of(app).providers.iter();
    let of_issuer: Vec<_> = providers.filter(|provider| provider.issuer == issuer).collect();
    let meant = of_issuer.iter().find(|provider| {
        provider.expected_audience().is_some_and(|own| audiences.iter().any(|one| one == own))
    });
    (!of_issuer.is_empty(), meant.copied())
}

async fn unknown(app: &App, issuer: &str, audiences: &[String], is_known: bool) -> Result<Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM identity_providers WHERE issuer = $1)";
    let is_known = is_known || app.db.read().q(sql).bind(issuer).value().await?.unwrap_or(false);
    Ok(if is_known {
        let own = audiences.iter().map(|one| quoted(one)).collect::<Vec<_>>().join(", ");
        refused(format!("its audience (aud) {own} is not that of the identity provider here"))
    } else {
        let detail = "is not trusted here. Set up an identity provider with exactly this issuer";
        refused(format!("its issuer {} {detail}", quoted(issuer)))
    })
}

/// Returns the refusal of a token: 401, with the reason.
pub fn refused(why: impl Into<Refusal>) -> Error {
    let detail = format!("The token is not valid: {}.", why.into());
    Error::new(ProblemCode::Unauthenticated, detail)
}

/// Returns the provider for a login: the one with this key, or the only one.
pub async fn for_login(
    app: &App,
    organization: Option<&str>,
    key: Option<&str>,
) -> Result<Provider> {
    let missing = || Error::not_found("identity provider");
    let mut found = match organization {
        None => IdentitySettings::of(app).providers.clone(),
        Some(text) => of_organization(&mut app.db.read(), text).await?,
    };
    match key {
        Some(key) => found.retain(|provider| provider.key == key),
        None => found.retain(|provider| provider.client_id.is_some()),
    }
    if found.len() > 1 {
        let keys: Vec<&str> = found.iter().map(|provider| &*provider.key).collect();
        let detail = format!(
            "`provider` is required, because there are several. Allowed: {}.",
            keys.join(", ")
        );
        return Err(Error::invalid("provider", detail));
    }
    found.pop().ok_or_else(missing)
}

/// Returns the first provider at which people of the organization can log in: its own, else the
/// platform's.
pub async fn first_for_login(
    app: &App,
    tx: &mut Conn,
    organization: OrganizationId,
) -> Result<Option<Provider>> {
    let own = of_organization(tx, &organization.to_string()).await?;
    let mut all = own.into_iter().chain(IdentitySettings::of(app).providers.iter().cloned());
    Ok(all.find(|provider| provider.client_id.is_some()))
}

/// Returns the providers of the organization with this ID or slug.
async fn of_organization(tx: &mut Conn, organization: &str) -> Result<Vec<Provider>> {
    if organization.contains('\0') {
        return Ok(Vec::new());
    }
    let id = organization.parse().unwrap_or(OrganizationId(uuid::Uuid::nil()));
    let rows = tx.q(ROWS).and(" AND (o.id = ?", id).and(" OR o.slug = ?)", organization);
    let rows: Vec<Row> = rows.sql(" ORDER BY p.key").all().await?;
    Ok(rows.into_iter().map(Row::provider).collect())
}

/// Returns the provider with this key, if it still exists.
pub async fn by_key(
    app: &App,
    organization: Option<OrganizationId>,
    key: &str,
) -> Result<Option<Provider>> {
    let Some(organization) = organization else {
        let mut providers = IdentitySettings::of(app).providers.iter();
        return Ok(providers.find(|provider| provider.key == key).cloned());
    };
    let mut tx = app.db.read();
    let row = tx.q(ROWS).and(" AND p.organization_id = ?", organization).and(" AND p.key = ?", key);
    Ok(row.opt::<Row>().await?.map(Row::provider))
}
