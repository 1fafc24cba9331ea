//! Issuance: the way from the facts of a license to its signed token.
//!
//! An issuance reads all facts in one statement, applies the rules, builds the claims, checks them
//! as a data plane does, and signs them. This file writes nothing; `bundles/rows.rs` stores signed
//! bundles.

pub mod request;
pub mod signed_bundle;

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use cp_contracts::{
    CONTRACT_VERSION, DeploymentClaims, DeploymentLicenseClaims, LICENSE_TOKEN_ALG,
    LICENSE_TOKEN_MAX_BYTES, LICENSE_TOKEN_TYP, LicenseBodyClaims, LicenseBundleResponse,
    OrganizationClaims, PlanClaims, PoolClaims, ProblemCode, StatusClaim, StatusListRef,
    SubscriptionClaims,
};
use serde_json::{Map, Value, json};

pub use self::request::{Form, NewBundle, Ttl};
pub use self::signed_bundle::SignedBundle;
use super::coverage::{Cause, Terms};
use super::deployments::DeploymentType;
use super::enforcement::{self, EnforcementSettings};
use super::entitlement::{self, FeatureSource};
use super::keys::signer;
use super::leases::settings::{Levels, SettingSource};
pub use super::token_ttl::TokenSettings;
use super::token_ttl::TtlLevels;
use crate::kernel::access::ids::{DeploymentId, OrganizationId};
use crate::kernel::app::{App, Part};
use crate::kernel::db::query::Query;
use crate::kernel::db::record::{Object, Quantities};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::line::BASE;
use crate::kernel::secret::{hex, sha256};
use crate::kernel::text::Name;
use crate::licensing::ids::{BundleId, LicenseId, SubscriptionId};
use crate::licensing::keys::keyring::Keyring;
use crate::licensing::keys::signer::SignerPool;
use crate::licensing::status_lists::StatusLists;

/// The facts that an issuance needs.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct LicenseFacts {
    pub license_id: LicenseId,
    license_seat_cap: Option<i64>,
    license_allow_more_seats: bool,
    license_features: Object,
    license_revision: i64,
    pub file_seq: i64,
    #[sqlx(flatten)]
    terms: Terms,
    pub organization_id: OrganizationId,
    organization_name: String,
    organization_slug: String,
    organization_external_id: Option<String>,
    organization_revision: i64,
    pub deployment_id: DeploymentId,
    deployment_name: String,
    deployment_type: DeploymentType,
    deployment_region: Option<String>,
    deployment_api_base_url: Option<String>,
    subscription_id: SubscriptionId,
    subscription_seat_cap: i64,
    subscription_external_id: Option<String>,
    subscription_features: Object,
    plan_code: String,
    plan_name: String,
    plan_description: Option<String>,
    plan_features: Object,
    organization_features: Option<Object>,
    limits: Quantities,
    #[sqlx(flatten)]
    levels: Levels,
    #[sqlx(flatten)]
    token_ttl: TtlLevels,
}

pub async fn facts<G>(cx: &mut Cx<G>, id: LicenseId) -> Result<LicenseFacts> {
    let found = facts_of(cx, &[id]).await?.pop();
    found.ok_or_else(|| Error::not_found("license"))
}

/// Returns the facts of the licenses that exist, in one statement.
pub async fn facts_of<G>(cx: &mut Cx<G>, ids: &[LicenseId]) -> Result<Vec<LicenseFacts>> {
    let sql = "SELECT l.id AS license_id, l.status AS license_status,
                      l.seat_cap AS license_seat_cap,
                      l.allow_more_seats AS license_allow_more_seats,
                      l.features AS license_features,
                      l.revision AS license_revision, l.file_seq, l.valid_from, l.valid_until, l.grace_days,
                      o.id AS organization_id, o.name AS organization_name,
                      o.slug AS organization_slug, o.external_id AS organization_external_id,
                      o.status AS organization_status, o.revision AS organization_revision,
                      d.id AS deployment_id, d.name AS deployment_name,
                      d.type AS deployment_type, d.region AS deployment_region,
                      d.api_base_url AS deployment_api_base_url, d.status AS deployment_status,
                      s.id AS subscription_id, s.status AS subscription_status,
                      s.seat_cap AS subscription_seat_cap, s.starts_at AS subscription_starts_at,
                      s.ends_at AS subscription_ends_at,
                      s.trial_ends_at AS subscription_trial_ends_at,
                      s.external_id AS subscription_external_id,
                      s.feature_overrides AS subscription_features,
                      p.code AS plan_code, v.name AS plan_name, v.description AS plan_description,
                      v.default_features AS plan_features,
                      e.features AS organization_features, v.limits,
                      v.leasing AS plan_leasing, s.leasing AS subscription_leasing,
                      l.leasing AS license_leasing,
                      v.token_ttl_seconds AS plan_token_ttl,
                      s.token_ttl_seconds AS subscription_token_ttl,
                      l.token_ttl_seconds AS license_token_ttl
               FROM licenses l
               JOIN organizations o ON o.id = l.organization_id
               JOIN deployments d ON d.id = l.deployment_id
               JOIN subscriptions s ON s.id = l.subscription_id
               JOIN plans p ON p.id = s.plan_id
               JOIN plan_versions v ON v.plan_id = s.plan_id AND v.version = s.plan_version
               LEFT JOIN entitlements e ON e.organization_id = l.organization_id
               WHERE l.id IN ";
    let query = cx.tx.q(sql).rows([ids], |query, ids| ids.iter().fold(query, Query::bind));
    Ok(query.all().await?)
}

/// Builds and signs the token on a signing thread.
pub async fn sign(
    app: &App,
    now: DateTime<Utc>,
    facts: LicenseFacts,
    new: &NewBundle,
) -> Result<SignedBundle> {
    facts.terms.covered_at(now).map_err(refused)?;
    let entry = StatusLists::of(app).take(app).await?;
    let (on, new) = (app.clone(), new.clone());
    SignerPool::of(app).run(move || make(&on, now, &facts, &new, entry)).await
}

/// Builds and checks the claims, and signs them.
pub fn make(
    app: &App,
    now: DateTime<Utc>,
    facts: &LicenseFacts,
    new: &NewBundle,
    entry: StatusListRef,
) -> Result<SignedBundle> {
    // Tokens have whole seconds. Rounding down never extends a token.
    let issued_at = now.trunc_subsecs(0);
    let expires_at = expiry(app, facts, issued_at, new.ttl_seconds)?;
    let jti = BundleId::new(&app.random, now);
    let mut claims = claims(app, facts, jti, issued_at, expires_at, new.audience.as_ref());
    let covered = covered_until(facts).map(|end| end - expires_at);
    let enforcement = enforcement::of_token(EnforcementSettings::of(app), new, covered);
    let over_at = expires_at + TimeDelta::seconds(enforcement.grace_seconds);
    claims.status = Some(StatusClaim { status_list: entry, extra: Map::new() });
    claims.enforcement = Some(enforcement);
    let payload = serde_json::to_vec(&claims).map_err(Error::internal)?;
    let signer = Keyring::of(app).active()?;
    check_size(&claims, signer::token_len(signer.jwk(), payload.len()))?;
    // Claims that data planes would refuse are never signed. The other members were checked when
    // they were written; features are free.
    dp_verifier::check_claims(&payload, &claims.iss, &claims.aud, issued_at.timestamp()).map_err(
        |e| Error::invalid("features", format!("`features` would be refused by data planes: {e}.")),
    )?;
    let key_id = signer.jwk().kid.clone();
    let token = signer::compact(signer.as_ref(), LICENSE_TOKEN_TYP, &payload)?;
    let bundle_hash = hex(&sha256(token.as_bytes()));
    Ok(SignedBundle {
        license: facts.license_id,
        organization: facts.organization_id,
        license_revision: facts.license_revision,
        organization_revision: facts.organization_revision,
        over_at,
        file_seq: facts.file_seq,
        response: LicenseBundleResponse {
            license_id: facts.license_id.0,
            jti: jti.0,
            token,
            key_id,
            algorithm: LICENSE_TOKEN_ALG.to_owned(),
            issued_at,
            expires_at,
            payload: claims,
            bundle_hash,
            extra: Map::new(),
        },
    })
}

fn refused(cause: Cause) -> Error {
    let (code, detail) = cause.problem();
    Error::new(code, detail)
}

/// Returns the token's end: the requested one, within the coverage of the license and the
/// subscription.
fn expiry(
    app: &App,
    facts: &LicenseFacts,
    issued_at: DateTime<Utc>,
    ttl: Option<Ttl>,
) -> Result<DateTime<Utc>> {
    let covered = covered_until(facts);
    let wanted = ttl.map_or(facts.token_ttl.explained(app).value, |ttl| ttl.0);
    let expires_at = issued_at + TimeDelta::seconds(wanted);
    match covered {
        Some(end) if expires_at > end && ttl.is_some() => {
            let most = (end - issued_at).num_seconds();
            let detail = format!(
                "`ttl_seconds` must be at most {most}: the license is covered until {}.",
                end.to_rfc3339_opts(SecondsFormat::Secs, true)
            );
            Err(Error::invalid("ttl_seconds", detail).with("max_ttl_seconds", most))
        }
        Some(end) if end <= issued_at => {
            let detail = "The license ends within this second. Renew it first.";
            Err(Error::new(ProblemCode::LicenseExpired, detail))
        }
        Some(end) => Ok(expires_at.min(end)),
        None => Ok(expires_at),
    }
}

/// Returns the end of the coverage by license, subscription and trial, in whole seconds.
fn covered_until(facts: &LicenseFacts) -> Option<DateTime<Utc>> {
    facts.terms.until().map(|end| end.trunc_subsecs(0))
}

fn claims(
    app: &App,
    facts: &LicenseFacts,
    jti: BundleId,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    audience: Option<&Name>,
) -> DeploymentLicenseClaims {
    let base = &app.settings.base_url;
    let own = facts.organization_features.clone().unwrap_or_default();
    let effective = entitlement::overlay([
        (FeatureSource::Plan, &facts.plan_features),
        (FeatureSource::Subscription, &facts.subscription_features),
        (FeatureSource::Organization, &own),
        (FeatureSource::License, &facts.license_features),
    ]);
    let seats = entitlement::seats(
        facts.license_seat_cap,
        facts.license_allow_more_seats,
        facts.subscription_seat_cap,
    );
    let features = effective.into_iter().map(|(name, feature)| (name, feature.value)).collect();
    DeploymentLicenseClaims {
        iss: base.clone(),
        aud: audience
            .map_or_else(|| TokenSettings::of(app).audience.clone(), |a| a.as_str().to_owned()),
        sub: facts.deployment_id.0,
        jti: jti.0,
        iat: issued_at.timestamp(),
        nbf: issued_at.timestamp(),
        exp: expires_at.timestamp(),
        license: LicenseBodyClaims {
            license_id: facts.license_id.0,
            seat_cap: seats.value,
            features,
            organization: OrganizationClaims {
                id: facts.organization_id.0,
                name: facts.organization_name.clone(),
                slug: facts.organization_slug.clone(),
                external_id: facts.organization_external_id.clone(),
                status: facts.terms.organization_status.to_string(),
                extra: Map::new(),
            },
            deployment: DeploymentClaims {
                id: facts.deployment_id.0,
                name: facts.deployment_name.clone(),
                kind: facts.deployment_type.as_str().into(),
                region: facts.deployment_region.clone(),
                api_base_url: facts.deployment_api_base_url.clone(),
                status: facts.terms.deployment_status.to_string(),
                extra: Map::new(),
            },
            subscription: SubscriptionClaims {
                id: facts.subscription_id.0,
                status: facts.terms.subscription_status.to_string(),
                seat_cap: facts.subscription_seat_cap,
                starts_at: Some(facts.terms.subscription_starts_at),
                ends_at: facts.terms.subscription_ends_at,
                trial_ends_at: facts.terms.subscription_trial_ends_at,
                external_id: facts.subscription_external_id.clone(),
                extra: Map::new(),
            },
            plan: PlanClaims {
                code: facts.plan_code.clone(),
                name: facts.plan_name.clone(),
                description: facts.plan_description.clone(),
                default_features: facts.plan_features.clone().into_inner(),
                extra: Map::new(),
            },
            limits: facts.limits.clone().into_inner(),
            unlimited: facts
                .limits
                .iter()
                .filter(|(_, limit)| limit.is_none())
                .map(|(metric, _)| metric.clone())
                .collect(),
            leasing: pools(facts, seats.value),
            extra: Map::new(),
        },
        status: None,
        enforcement: None,
        cp_base_url: Some(base.clone()),
        rbac_endpoint: Some(format!("{base}{BASE}/users/whoami")),
        contract: CONTRACT_VERSION.parse().ok(),
        extra: Map::new(),
    }
}

/// Returns the pools of seats as the token has them.
fn pools(facts: &LicenseFacts, seat_cap: i64) -> BTreeMap<String, PoolClaims> {
    let pools = facts.levels.explained(seat_cap, SettingSource::License);
    let claims = pools.into_iter().map(|(name, pool)| {
        let kind = pool["kind"].value.as_str().unwrap_or_default().into();
        (name, PoolClaims { kind, cap: pool["cap"].value.as_i64(), extra: Map::new() })
    });
    claims.collect()
}

/// Refuses a token that does not fit into a header buffer of 8 KiB, with its largest members.
fn check_size(claims: &DeploymentLicenseClaims, size: usize) -> Result<()> {
    if size <= LICENSE_TOKEN_MAX_BYTES {
        return Ok(());
    }
    let body = serde_json::to_value(&claims.license).map_err(Error::internal)?;
    let mut members: Vec<(usize, String)> = Vec::new();
    for (name, value) in body.as_object().into_iter().flatten() {
        members.push((value.to_string().len(), name.clone()));
        if name == "features" || name == "plan" {
            let inner = value.get("default_features").unwrap_or(value).as_object();
            members.extend(
                inner
                    .into_iter()
                    .flatten()
                    .map(|(f, v)| (v.to_string().len(), format!("{name}.{f}"))),
            );
        }
    }
    members.sort_by(|a, b| b.cmp(a));
    members.truncate(5);
    let largest: Vec<Value> =
        members.iter().map(|(bytes, name)| json!({"member": name, "bytes": bytes})).collect();
    let detail = format!(
        "The token must have at most {LICENSE_TOKEN_MAX_BYTES} bytes to fit into a header (got \
         {size}). Reduce the largest members."
    );
    Err(Error::new(ProblemCode::TokenTooLarge, detail).with("largest_members", largest))
}
