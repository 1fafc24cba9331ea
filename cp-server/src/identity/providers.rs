//! Identity providers: where an organization's people log in.
//!
//! # Design
//! A client secret is written and never told: it lies sealed under the key-encryption key, bound to
//! its row, and no answer, audit event or export reads the column; they read whether there is one.

use anyhow::Context;
use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::oidc::issuers::Provider;
use super::oidc::presets::{ClaimMap, texts};
use super::roles;
use crate::identity::oidc::IdentitySettings;
use crate::kernel::answer::{NoContent, Put, Resource};
use crate::kernel::app::App;
use crate::kernel::app::Part;
use crate::kernel::clock::after;
use crate::kernel::db::Conn;
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::ids::{OrganizationId, ProviderId};
use crate::kernel::json::Patch;
use crate::kernel::kek;
use crate::kernel::page::{List, Page};
use crate::kernel::place::Org;
use crate::kernel::policy::Location;
use crate::kernel::record::{Object, Texts};
use crate::kernel::secret::{Kek, Masked, Secret};
use crate::kernel::text::{Domain, ExternalId, HttpUrl, Locator, ProviderKey, path_segment};

crate::routes! { providers:
    /// Lists the organization's identity providers, by key.
    GET "/organizations/{org}/identity-providers" ProvidersRead => list;
    /// Reads an identity provider; its client secret is masked.
    GET "/organizations/{org}/identity-providers/{key}" ProvidersRead => read;
    /// Sets an identity provider: makes it, or replaces all of it.
    ///
    /// What is absent is empty afterwards, except `client_secret`: absent it stays, and null removes it. A
    /// change of `issuer` requires one of the two. The key is percent-encoded in the path.
    PUT "/organizations/{org}/identity-providers/{key}" ProvidersWrite => put, grants;
    /// Deletes an identity provider.
    DELETE "/organizations/{org}/identity-providers/{key}" ProvidersWrite => delete;
}

crate::text_enum! { ProviderType {
    Saml = "saml",
    Oidc = "oidc",
    Zitadel = "zitadel",
    Auth0 = "auth0",
    Google = "google",
    Microsoft = "microsoft",
    Okta = "okta",
} }
crate::text_enum! { ProviderStatus { Active = "active", Disabled = "disabled" } }

crate::record! {
    /// Where people log in.
    IdentityProvider in identity_providers {
        id: ProviderId,
        organization_id: OrganizationId,
        key: String,
        #[serde(rename = "type")]
        kind: ProviderType = "identity_providers.type",
        issuer: String,
        audience: Option<String>,
        jwks_uri: Option<String>,
        sso_url: Option<String>,
        client_id: Option<String>,
        client_secret: Masked = "identity_providers.client_secret IS NOT NULL",
        /// Where the certificate is kept.
        certificate_ref: Option<String>,
        /// People with such an address log in here.
        email_domains: Texts,
        /// Which of its claims tells what.
        claim_map: Object,
        /// Which role a role of the provider stands for.
        role_map: Object,
        status: ProviderStatus,
        /// Whether the platform lets it have the issuer and audience of another organization.
        shares_issuer: bool,
        metadata: Object,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

const NOUN: &str = "identity provider";

impl Resource for IdentityProvider {
    const NOUN: &'static str = NOUN;
    const PATH: &'static str = "organizations";
    fn name(&self) -> String {
        format!("{}/identity-providers/{}", self.organization_id, path_segment(&self.key))
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderFilter {
    status: Option<ProviderStatus>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProvider {
    pub(super) r#type: ProviderType,
    pub(super) issuer: HttpUrl,
    pub(super) audience: Option<ExternalId>,
    pub(super) jwks_uri: Option<HttpUrl>,
    sso_url: Option<HttpUrl>,
    pub(super) client_id: Option<ExternalId>,
    /// Write-only: 1 to 4,096 characters. Absent leaves it, null removes it.
    #[serde(default)]
    pub(super) client_secret: Patch<Secret<String>>,
    certificate_ref: Option<Locator>,
    #[serde(default)]
    email_domains: Vec<Domain>,
    #[serde(default)]
    pub(super) claim_map: Map<String, Value>,
    #[serde(default)]
    pub(super) role_map: Map<String, Value>,
    #[serde(default = "active")]
    status: ProviderStatus,
    #[serde(default)]
    metadata: Map<String, Value>,
}

fn active() -> ProviderStatus {
    ProviderStatus::Active
}

async fn list(cx: &mut Cx, _: Org, list: List<ProviderFilter>) -> Result<Page<IdentityProvider>> {
    let query = cx
        .tx
        .select("WHERE organization_id = $1")
        .bind(cx.org)
        .and_some(" AND status = ?", list.filter.status);
    list.page_by(query, "identity_providers.key", |found: &IdentityProvider| &found.key).await
}

async fn read(cx: &mut Cx, (_, key): (Org, String)) -> Result<IdentityProvider> {
    find(cx, &key).await?.ok_or_else(|| Error::not_found(NOUN))
}

async fn put(
    cx: &mut Cx,
    (_, key): (Org, String),
    new: NewProvider,
) -> Result<Put<IdentityProvider>> {
    let key: ProviderKey = key.parse().map_err(|e| Error::invalid("key", format!("key: {e}")))?;
    check_maps(&new)?;
    refuse_impersonation(cx).await?;
    cx.trail.target = Some((NOUN, key.to_string()));
    let before = find(cx, key.as_str()).await?;
    refuse_platforms(cx, &key, &new, before.as_ref())?;
    let is_shared = is_shared(cx, &key, &new, before.as_ref()).await?;
    let id = match &before {
        Some(provider) => provider.id,
        None => ProviderId::new(&cx.app.random, cx.now),
    };
    refuse_another_issuers_secret(&new, before.as_ref())?;
    let secret = seal(cx, id, &new.client_secret).await?;
    let sql = if before.is_some() {
        "UPDATE identity_providers
         SET type = $4, issuer = $5, audience = $6, jwks_uri = $7, sso_url = $8, client_id = $9,
             client_secret = CASE WHEN $10 THEN client_secret ELSE $11 END, certificate_ref = $12,
             email_domains = $13, claim_map = $14, role_map = $15, status = $16, metadata = $17,
             updated_at = $18, shares_issuer = $19
         WHERE id = $1 AND organization_id = $2 AND key = $3"
    } else {
        "INSERT INTO identity_providers
         (id, organization_id, key, type, issuer, audience, jwks_uri, sso_url, client_id,
          client_secret, certificate_ref, email_domains, claim_map, role_map, status, metadata,
          created_at, updated_at, shares_issuer)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $10 THEN NULL ELSE $11 END, $12,
                 $13, $14, $15, $16, $17, $18, $18, $19)"
    };
    let write = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(cx.org)
        .bind(&key)
        .bind(new.r#type)
        .bind(new.issuer)
        .bind(new.audience)
        .bind(new.jwks_uri)
        .bind(new.sso_url)
        .bind(new.client_id)
        .bind(matches!(new.client_secret, Patch::Keep))
        .bind(secret)
        .bind(new.certificate_ref)
        .bind(Texts::bounded("email_domains", domains(new.email_domains))?)
        .bind(Object::bounded("claim_map", new.claim_map)?)
        .bind(Object::bounded("role_map", new.role_map)?)
        .bind(new.status)
        .bind(Object::bounded("metadata", new.metadata)?)
        .bind(before.as_ref().map_or(cx.now, |before| after(before.updated_at, cx.now)))
        .bind(is_shared);
    // Somebody else made or deleted it since it was looked for.
    let written = write
        .opt()
        .await
        .on_conflict("identity_providers_key", Error::stale)
        .on_conflict("identity_providers_issuer_audience", issuer_taken)?;
    let provider = written.ok_or_else(Error::stale)?;
    Ok(if before.is_some() { Put::Known(provider) } else { Put::New(provider) })
}

async fn delete(cx: &mut Cx, (_, key): (Org, String)) -> Result<NoContent> {
    let sql = "DELETE FROM identity_providers WHERE organization_id = $1 AND key = $2";
    if cx.tx.q(sql).bind(cx.org).bind(&*key).exec().await? == 0 {
        return Err(Error::not_found(NOUN));
    }
    cx.trail.target = Some((NOUN, key));
    Ok(NoContent)
}

async fn find(cx: &mut Cx, key: &str) -> Result<Option<IdentityProvider>> {
    // No key that was taken holds a U+0000, which PostgreSQL would not even look for.
    if key.contains('\0') {
        return Ok(None);
    }
    let found = cx.tx.select("WHERE organization_id = $1 AND key = $2").bind(cx.org).bind(key);
    Ok(found.opt().await?)
}

/// What is read at every login is of the shape that is read then. Claim maps may say more.
fn check_maps(new: &NewProvider) -> Result<()> {
    ClaimMap::checked(new.r#type, &new.claim_map).map_err(|unfit| {
        Error::invalid(format!("claim_map.{}", unfit.member), unfit.to_string())
    })?;
    match new.role_map.iter().find(|(_, value)| texts(value).is_none()) {
        Some((name, _)) => {
            let field = format!("role_map.{name}");
            let detail = format!("`{field}` must be a string or a list of strings.");
            Err(Error::invalid(field, detail))
        }
        None => Ok(()),
    }
}

/// Refuses a caller that holds less than an owner: whoever says where people log in can be any of
/// them, in any role.
async fn refuse_impersonation(cx: &mut Cx) -> Result<()> {
    let owner = roles::load_system(cx, roles::OWNER).await?.privileges();
    let here = Location::Organization(cx.org);
    cx.caller.refuse_giving(&owner, here, "key").map_err(|error| match error.code() {
        ProblemCode::Forbidden => {
            let detail = "Only a caller that holds all permissions of an owner can say where people \
                          log in.";
            Error::new(ProblemCode::Forbidden, detail)
        }
        _ => error,
    })
}

/// Refuses a key, or an issuer with its audience, of a provider of the platform. A key that the
/// organization had before the platform stays.
fn refuse_platforms(
    cx: &Cx,
    key: &ProviderKey,
    new: &NewProvider,
    before: Option<&IdentityProvider>,
) -> Result<()> {
    let platform = &IdentitySettings::of(&cx.app).providers;
    if before.is_none() && platform.iter().any(|own| own.key == key.as_str()) {
        let detail = format!("`key` {key} is that of a provider of the platform. Use another key.");
        return Err(Error::conflict(detail).at("key"));
    }
    let is_same = |own: &Provider| {
        own.issuer == new.issuer.as_str() && own.expected_audience() == audience(new)
    };
    if platform.iter().any(is_same) { Err(issuer_taken()) } else { Ok(()) }
}

/// Whether the provider shares its issuer and audience with another one: the platform may set it up
/// so, and what it allowed stays for as long as both stay the same.
///
/// # Errors
/// 409 where they are in use, and the platform has not allowed it.
async fn is_shared(
    cx: &mut Cx,
    key: &ProviderKey,
    new: &NewProvider,
    before: Option<&IdentityProvider>,
) -> Result<bool> {
    let is_allowed = cx.caller.is_of_platform()
        || before.is_some_and(|before| {
            let own = before.audience.as_deref().or(before.client_id.as_deref());
            before.shares_issuer && before.issuer == new.issuer.as_str() && own == audience(new)
        });
    let sql = "SELECT EXISTS (SELECT 1 FROM identity_providers
                              WHERE issuer = $1 AND COALESCE(audience, client_id, '') = $2
                                AND status = 'active' AND type <> 'saml'
                                AND NOT (organization_id = $3 AND key = $4))";
    let query = cx.tx.q(sql).bind(&new.issuer).bind(audience(new).unwrap_or_default());
    let is_taken: Option<bool> = query.bind(cx.org).bind(key).value().await?;
    let is_used = new.status == ProviderStatus::Active && new.r#type != ProviderType::Saml;
    match is_used && is_taken.unwrap_or(false) {
        true if !is_allowed => Err(issuer_taken()),
        is_shared => Ok(is_shared),
    }
}

/// The audience that the provider's access tokens have.
fn audience(new: &NewProvider) -> Option<&str> {
    new.audience.as_ref().or(new.client_id.as_ref()).map(ExternalId::as_str)
}

fn issuer_taken() -> Error {
    let detail = "`issuer` is in use with this audience. Use an audience of your own, or ask the \
                  platform to set up this provider.";
    Error::conflict(detail).at("issuer")
}

/// Each domain once, in the order in which they were given.
fn domains(given: Vec<Domain>) -> Vec<String> {
    let mut domains: Vec<String> = Vec::new();
    for domain in given.into_iter().map(Domain::into_string) {
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    domains
}

/// The longest client secret, in bytes.
const SECRET: usize = 4096;

/// Refuses to keep a client secret for another issuer: logins would send it there.
fn refuse_another_issuers_secret(
    new: &NewProvider,
    before: Option<&IdentityProvider>,
) -> Result<()> {
    let Some(before) = before else { return Ok(()) };
    let keeps = matches!(new.client_secret, Patch::Keep) && before.client_secret.is_set();
    if !keeps || before.issuer == new.issuer.as_str() {
        return Ok(());
    }
    let detail = "`client_secret` is required when `issuer` changes, because the stored one belongs \
                  to the former issuer. Send the new one, or null for none.";
    Err(Error::invalid("client_secret", detail))
}

async fn seal(
    cx: &mut Cx,
    id: ProviderId,
    secret: &Patch<Secret<String>>,
) -> Result<Option<Vec<u8>>> {
    let Patch::Set(secret) = secret else { return Ok(None) };
    let plain = secret.expose().as_bytes();
    if !(1..=SECRET).contains(&plain.len()) {
        let detail = format!("client_secret: it takes 1 to {SECRET} bytes");
        return Err(Error::invalid("client_secret", detail));
    }
    let app = cx.app.clone();
    kek::hold(&app, &mut cx.tx).await?;
    Ok(Some(app.kek.seal(&app.random, &purpose(cx.org, id), plain)))
}

/// What the seal is bound to, so that one row's secret cannot pass for another's.
fn purpose(organization: OrganizationId, id: ProviderId) -> String {
    format!("identity provider {organization} {id} client_secret v1")
}

/// The client secret of a provider, to show it to the provider.
pub async fn client_secret(
    app: &App,
    organization: OrganizationId,
    id: ProviderId,
) -> Result<Option<Secret<String>>> {
    let sql = "SELECT client_secret FROM identity_providers
               WHERE id = $1 AND client_secret IS NOT NULL";
    let sealed: Option<Vec<u8>> = app.db.read().q(sql).bind(id).value().await?;
    let Some(sealed) = sealed else { return Ok(None) };
    let closed = || Error::internal(anyhow::anyhow!("client_secret of {id} does not open"));
    let plain = app.kek.open(&purpose(organization, id), &sealed).ok_or_else(closed)?;
    let plain = String::from_utf8(plain.to_vec()).map_err(Error::internal)?;
    Ok(Some(Secret::new(plain)))
}

/// Seals every client secret anew.
pub async fn reseal(app: &App, tx: &mut Conn, new: &Kek) -> anyhow::Result<()> {
    let sql = "SELECT organization_id, id, client_secret FROM identity_providers
               WHERE client_secret IS NOT NULL ORDER BY id";
    let rows: Vec<(OrganizationId, ProviderId, Vec<u8>)> = tx.q(sql).all().await?;
    for (organization, id, sealed) in rows {
        let purpose = purpose(organization, id);
        let sealed = app
            .kek
            .reseal(new, &app.random, &purpose, &sealed)
            .with_context(|| format!("identity_providers.client_secret of {id} does not open"))?;
        let sql = "UPDATE identity_providers SET client_secret = $2 WHERE id = $1";
        tx.q(sql).bind(id).bind(sealed).exec().await?;
    }
    Ok(())
}

pub async fn purge(cx: &mut Cx) -> Result<()> {
    let sql = "DELETE FROM identity_providers WHERE organization_id = $1";
    cx.tx.q(sql).bind(cx.org).exec().await?;
    Ok(())
}
