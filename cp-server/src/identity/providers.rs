//! Identity providers: the places at which an organization's people log in.
//!
//! # Design
//! Secrets are write-only: the client secret, and that of the management API. Each is sealed under
//! the key-encryption key, bound to its row. No answer, audit event or export reads the columns;
//! they only read whether a secret exists.

pub mod management;
pub mod of_platform;
pub mod row;
mod secrets;

use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::oidc::presets::{ClaimMap, ProviderType, texts};
use super::oidc::provider::Provider;
use super::roles::row::load_system;
use super::roles::system::OWNER;
use super::settings::IdentitySettings;
use crate::identity::ids::ProviderId;
use crate::kernel::access::place::Org;
use crate::kernel::access::policy::Location;
use crate::kernel::app::Part;
use crate::kernel::clock::after;
use crate::kernel::db::record::{Object, Texts};
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::{NoContent, Put};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::Section;
use crate::kernel::text::{Domain, ExternalId, ProviderKey};

pub use row::IdentityProvider;
use row::{NOUN, NewProvider, ProviderStatus};
use secrets::{
    CLIENT_SECRET, MANAGEMENT_SECRET, refuse_another_issuers_secret, seal, seal_management,
};
pub use secrets::{client_secret, management_access};

crate::permissions! {
    /// Read the identity providers.
    PROVIDERS_READ = "providers:read", implied by ["settings:read"];
    /// Set and delete identity providers. Only owners hold it: an identity provider decides who a
    /// caller is.
    PROVIDERS_WRITE = "providers:write", implied by ["org:delete"];
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "identity_providers",
    NOUN,
    Export::Section(Section::many::<IdentityProvider>("identity_providers").order("key")),
)
.seals(&[CLIENT_SECRET, MANAGEMENT_SECRET])
.permissions(PERMISSIONS);

crate::routes! {
    /// The identity providers at which the people of an organization log in.
    providers declares DECLARATION:
    /// Lists the organization's identity providers, by key.
    GET "/organizations/{org}/identity-providers" PROVIDERS_READ => list;
    /// Reads an identity provider; its client secret is masked.
    GET "/organizations/{org}/identity-providers/{key}" PROVIDERS_READ => read;
    /// Sets an identity provider: creates it, or replaces all of it.
    ///
    /// An absent field becomes empty, except `client_secret` and `management`: an absent one stays,
    /// and null removes it. A change of `issuer` requires both, if they are set. The key is
    /// percent-encoded in the path.
    PUT "/organizations/{org}/identity-providers/{key}" PROVIDERS_WRITE => put, grants;
    /// Deletes an identity provider.
    DELETE "/organizations/{org}/identity-providers/{key}" PROVIDERS_WRITE => delete;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderFilter {
    /// Returns the identity providers with this status only.
    status: Option<ProviderStatus>,
}

async fn list(cx: &mut Cx, _: Org, list: List<ProviderFilter>) -> Result<Page<IdentityProvider>> {
    let query = cx
        .tx
        .select("WHERE organization_id = $1")
        .bind(cx.at)
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
    let key: ProviderKey = key.parse().map_err(|e| Error::invalid("key", format!("`key` {e}.")))?;
    check_maps(&new)?;
    refuse_impersonation(cx).await?;
    cx.audit.target = Some((NOUN, key.to_string()));
    let before = find(cx, key.as_str()).await?;
    refuse_platforms(cx, &key, &new, before.as_ref())?;
    let is_shared = is_shared(cx, &key, &new, before.as_ref()).await?;
    let id = match &before {
        Some(provider) => provider.id,
        None => ProviderId::new(&cx.app.random, cx.now),
    };
    refuse_another_issuers_secret(&new, before.as_ref())?;
    let secret = seal(cx, id, &new.client_secret).await?;
    let management = seal_management(cx, id, &new.issuer, new.management, before.as_ref()).await?;
    let sql = if before.is_some() {
        "UPDATE identity_providers
         SET type = $4, issuer = $5, audience = $6, jwks_uri = $7, sso_url = $8, client_id = $9,
             client_secret = CASE WHEN $10 THEN client_secret ELSE $11 END, certificate_ref = $12,
             email_domains = $13, claim_map = $14, role_map = $15, status = $16, metadata = $17,
             updated_at = $18, shares_issuer = $19,
             management = CASE WHEN $20 THEN management ELSE $21 END,
             management_secret = CASE WHEN $22 THEN management_secret ELSE $23 END
         WHERE id = $1 AND organization_id = $2 AND key = $3"
    } else {
        "INSERT INTO identity_providers
         (id, organization_id, key, type, issuer, audience, jwks_uri, sso_url, client_id,
          client_secret, certificate_ref, email_domains, claim_map, role_map, status, metadata,
          created_at, updated_at, shares_issuer, management, management_secret)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $10 THEN NULL ELSE $11 END, $12,
                 $13, $14, $15, $16, $17, $18, $18, $19, CASE WHEN $20 THEN NULL ELSE $21 END,
                 CASE WHEN $22 THEN NULL ELSE $23 END)"
    };
    let write = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(cx.at)
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
        .bind(is_shared)
        .bind(management.keeps_settings)
        .bind(management.settings)
        .bind(management.keeps_secret)
        .bind(management.secret);
    // Another request created or deleted it since the look-up.
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
    if cx.tx.q(sql).bind(cx.at).bind(&*key).exec().await? == 0 {
        return Err(Error::not_found(NOUN));
    }
    cx.audit.target = Some((NOUN, key));
    Ok(NoContent)
}

pub(in crate::identity) async fn find(cx: &mut Cx, key: &str) -> Result<Option<IdentityProvider>> {
    // No stored key contains a U+0000, which PostgreSQL refuses in a parameter.
    if key.contains('\0') {
        return Ok(None);
    }
    let found = cx.tx.select("WHERE organization_id = $1 AND key = $2").bind(cx.at).bind(key);
    Ok(found.opt().await?)
}

/// Stores the maps of a provider that the caller has read.
///
/// # Errors
/// The operation starts over when another request has changed the provider.
pub(in crate::identity) async fn store_maps(cx: &mut Cx, known: &IdentityProvider) -> Result<()> {
    let sql = "UPDATE identity_providers SET claim_map = $3, role_map = $4, updated_at = $5
               WHERE id = $1 AND updated_at = $2";
    let write = cx.tx.q(sql).bind(known.id).bind(known.updated_at);
    let write = write.bind(known.claim_map.clone()).bind(known.role_map.clone());
    let changed = write.bind(after(known.updated_at, cx.now)).exec().await?;
    if changed == 0 { Err(Error::stale()) } else { Ok(()) }
}

/// Checks the shape of the members that every login reads. Claim maps may have others.
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

/// Refuses a caller that holds less than an owner. A caller that chooses the identity provider can
/// log in as any person, in any role.
pub(in crate::identity) async fn refuse_impersonation(cx: &mut Cx) -> Result<()> {
    let owner = load_system(cx, OWNER).await?.privileges();
    let here = Location::Organization(cx.at);
    cx.caller.refuse_giving(&owner, here, "key").map_err(|error| match error.code() {
        ProblemCode::Forbidden => {
            let detail = "Only callers that hold all permissions of an owner can set or delete \
                          identity providers.";
            Error::new(ProblemCode::Forbidden, detail)
        }
        _ => error,
    })
}

/// Refuses the key, or the issuer with the audience, of a provider of the platform. A key that the
/// organization had before the platform stays.
fn refuse_platforms(
    cx: &Cx,
    key: &ProviderKey,
    new: &NewProvider,
    before: Option<&IdentityProvider>,
) -> Result<()> {
    let platform = &IdentitySettings::of(&cx.app).providers;
    if before.is_none() && platform.iter().any(|own| own.key == key.as_str()) {
        let detail = format!("`key` {key} is used by a provider of the platform. Use another key.");
        return Err(Error::conflict(detail).at("key"));
    }
    let is_same = |own: &Provider| {
        own.issuer == new.issuer.as_str() && own.expected_audience() == audience(new)
    };
    if platform.iter().any(is_same) { Err(issuer_taken()) } else { Ok(()) }
}

/// Returns whether the provider shares its issuer and audience with another one. The platform may
/// allow this, and its permission stays as long as both stay the same.
///
/// # Errors
/// 409 when they are in use, and the platform has not allowed it.
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
    let is_taken: Option<bool> = query.bind(cx.at).bind(key).value().await?;
    let is_used = new.status == ProviderStatus::Active && new.r#type != ProviderType::Saml;
    match is_used && is_taken.unwrap_or(false) {
        true if !is_allowed => Err(issuer_taken()),
        is_shared => Ok(is_shared),
    }
}

/// Returns the audience of the provider's access tokens.
fn audience(new: &NewProvider) -> Option<&str> {
    new.audience.as_ref().or(new.client_id.as_ref()).map(ExternalId::as_str)
}

fn issuer_taken() -> Error {
    let detail = "`issuer` is in use with this audience. Use an audience of your own, or ask the \
                  platform to set up this provider.";
    Error::conflict(detail).at("issuer")
}

/// Returns each domain once, in the given order.
fn domains(given: Vec<Domain>) -> Vec<String> {
    let mut domains: Vec<String> = Vec::new();
    for domain in given.into_iter().map(Domain::into_string) {
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    domains
}
