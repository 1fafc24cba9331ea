//! Signing keys: sealed in the database, and published as the JWKS.

mod custody;
pub mod import;
pub mod keyring;
mod pem;
pub mod rekey;
pub mod rotation;
pub mod row;
pub mod service;
mod settings;
pub mod signer;
pub mod start;
mod state;
pub mod store;
pub mod well_known;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use chrono::{DateTime, Utc};
use cp_contracts::{LICENSE_TOKEN_ALG, ProblemCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::row::KeyRow;
pub use self::settings::KeySettings;
use self::signer::Signer;
pub use self::state::KeyState;
use self::store::InitialState;
use super::bundles::rows as bundles;
use super::licenses::rows as licenses;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::platform::{Platform, PlatformId, PlatformRow};
use crate::kernel::app::Part;
use crate::kernel::declaration::Declaration;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Created, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{NoFilter, Page};
use crate::kernel::http::raw::Raw;
use crate::kernel::kek;
use crate::kernel::secret::Secret;
use crate::kernel::text::{Explanation, KeyId};
use crate::licensing::keys::keyring::Keyring;

crate::permissions! {
    /// Read signing keys.
    KEYS_READ = "keys:read";
    /// Create, import, rotate and retire signing keys.
    KEYS_WRITE = "keys:write", bounded by Keys;
}

pub static DECLARATION: Declaration = Declaration::of_platform("signing_keys", "signing key")
    .permissions(PERMISSIONS)
    .events(start::EVENTS);

crate::routes! {
    /// The signing keys: their states, their rotation and the JWKS.
    keys declares DECLARATION:
    /// Returns the public keys that verify license tokens (RFC 7517).
    GET "/.well-known/jwks.json" PUBLIC => jwks, raw
        returns "application/jwk-set+json";
    /// Returns the state of signing: the active key, the algorithm, the maximum age of the JWKS,
    /// and the next rotation.
    GET "/signing/info" KEYS_READ => info;
    /// Lists the signing keys without their private halves, newest first.
    GET "/signing/keys" KEYS_READ => list;
    /// Generates a signing key, or imports one, and publishes it.
    ///
    /// The key may sign once every data plane has had time to fetch it, from `not_before`.
    POST "/signing/keys" KEYS_WRITE => create, own_transaction, reloads;
    /// Returns a signing key and a summary of the tokens that it signed.
    GET "/signing/keys/{kid}" KEYS_READ => read;
    /// Publishes a staged key.
    POST "/signing/keys/{kid}/publish" KEYS_WRITE => publish, reloads;
    /// Activates a key. The previous active key retires when its tokens have expired.
    ///
    /// The request is refused with 409 `key_not_yet_propagated` while data planes may not have
    /// fetched the key. `emergency` with a `reason` overrides the refusal.
    POST "/signing/keys/{kid}/activate" KEYS_WRITE => activate, reloads;
    /// Retires a key that no live token needs.
    POST "/signing/keys/{kid}/retire" KEYS_WRITE => retire, reloads;
    /// Marks a leaked key as compromised: removes it from the JWKS at once, revokes every token
    /// that it signed, and activates its successor.
    ///
    /// `POST /licenses/bundles` with `{"filter": {"key_id": …}}` issues the licenses again.
    POST "/signing/keys/{kid}/compromise" KEYS_WRITE => compromise, own_transaction, reloads;
    /// Activates the successor of the active key, and publishes the next key.
    POST "/signing/rotate" KEYS_WRITE => rotate, own_transaction, reloads;
}

/// The public half and the state of a signing key.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SigningKey {
    /// The RFC 7638 thumbprint of the public key.
    kid: String,
    state: KeyState,
    algorithm: String,
    bits: i64,
    /// The key's name at the signing service that has its private half; null for a key of this server.
    service_key: Option<String>,
    /// The reason for the key's state.
    reason: Option<String>,
    created_at: DateTime<Utc>,
    published_at: Option<DateTime<Utc>>,
    /// The instant from which the key may sign without an emergency.
    not_before: Option<DateTime<Utc>>,
    /// The instant at which the key becomes active automatically.
    activate_at: Option<DateTime<Utc>>,
    activated_at: Option<DateTime<Utc>>,
    retired_at: Option<DateTime<Utc>>,
    /// A summary of the signed tokens; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<SignedBy>,
}

/// The tokens of a key: the progress of its retirement, or of the replacement of its tokens.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SignedBy {
    /// The number of tokens that are neither expired nor revoked.
    live_bundles: i64,
    revoked_bundles: i64,
    /// The number of organizations with tokens that are neither expired nor revoked.
    organizations: i64,
    /// The instant at which the last of the key's tokens expires.
    last_expires_at: Option<DateTime<Utc>>,
    /// The number of active licenses whose last token this key signed, and which therefore need a
    /// new one.
    licenses_to_reissue: i64,
}

impl SigningKey {
    fn of(row: KeyRow, settings: &KeySettings) -> Self {
        let waits = matches!(row.state, KeyState::Staged | KeyState::Published);
        Self {
            not_before: rotation::not_before(settings, &row).filter(|_| waits),
            kid: row.kid,
            state: row.state,
            algorithm: row.algorithm,
            bits: row.bits,
            service_key: row.service_key,
            reason: row.reason,
            created_at: row.created_at,
            published_at: row.published_at,
            activate_at: row.activate_at,
            activated_at: row.activated_at,
            retired_at: row.retired_at,
            signed: None,
        }
    }
}

impl Resource for SigningKey {
    const NOUN: &'static str = "signing key";
    const PATH: &'static str = "signing/keys";
    fn name(&self) -> String {
        self.kid.clone()
    }
}

impl PlatformId for KeyId {
    const NOUN: &'static str = "signing key";
    const KEY: &'static str = "RFC 7638 thumbprint";
}

/// The current state of signing.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SigningInfo {
    issuer: String,
    /// The `kid` of the active key.
    active_kid: String,
    algorithm: String,
    jwks_uri: String,
    jwks_max_age_seconds: u32,
    /// The instant at which the successor becomes active; absent without automatic rotation.
    next_rotation_at: Option<DateTime<Utc>>,
    /// The number of keys in each state.
    keys: BTreeMap<String, i64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The size in bits: 2048, 3072 or 4096. The server's setting when absent. Not allowed with
    /// `pem`.
    bits: Option<u32>,
    /// An RSA private key to import: PEM of PKCS#1, or of PKCS#8, which may be encrypted. A new key
    /// is generated when absent.
    pem: Option<Secret<String>>,
    /// The passphrase of an encrypted `pem`.
    passphrase: Option<Secret<String>>,
    /// Whether the key is published. `false` keeps it staged.
    #[serde(default = "yes")]
    publish: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// Whether to activate the key before data planes have fetched it. Requires `reason`.
    #[serde(default)]
    emergency: bool,
    /// The reason for the audit event, 1 to 4,000 characters. Required by `emergency`.
    reason: Option<Explanation>,
}

impl Activation {
    /// Returns the reason of an emergency.
    fn emergency<'a>(&'a self, cx: &mut Cx<Scope>) -> Result<Option<&'a str>> {
        let reason = self.reason.as_ref().map(Explanation::as_str);
        cx.audit.reason = reason.map(str::to_owned);
        if self.emergency && reason.is_none() {
            let detail = "`reason` is required by `emergency`. The audit log keeps it.";
            return Err(Error::invalid("reason", detail));
        }
        Ok(reason.filter(|_| self.emergency))
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retirement {
    /// The reason for the audit event, 1 to 4,000 characters.
    reason: Option<Explanation>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compromise {
    /// A description of the incident for the audit event, 1 to 4,000 characters.
    reason: Explanation,
}

async fn jwks(raw: Raw) -> Result<Response> {
    let mut response = Keyring::of(&raw.app).render_jwks(&raw.parts.headers);
    let any = axum::http::HeaderValue::from_static("*");
    response.headers_mut().insert("access-control-allow-origin", any);
    Ok(response)
}

async fn info(cx: &mut Cx<Scope>, _: Platform) -> Result<SigningInfo> {
    let keys = store::all(&mut cx.tx).await?;
    let mut counts = BTreeMap::new();
    for key in &keys {
        *counts.entry(key.state.to_string()).or_insert(0) += 1;
    }
    let active = keys.iter().find(|key| key.state == KeyState::Active);
    let active = active.ok_or_else(|| Error::unavailable("There is no active signing key.", 60))?;
    let (settings, base_url) = (KeySettings::of(&cx.app), &cx.app.settings.base_url);
    Ok(SigningInfo {
        issuer: base_url.clone(),
        active_kid: active.kid.clone(),
        algorithm: LICENSE_TOKEN_ALG.to_owned(),
        jwks_uri: format!("{base_url}/api/v1/.well-known/jwks.json"),
        jwks_max_age_seconds: settings.jwks_max_age,
        next_rotation_at: settings.next_rotation(&keys),
        keys: counts,
    })
}

async fn list(cx: &mut Cx<Scope>, _: Platform, _: NoFilter) -> Result<Page<SigningKey>> {
    let keys = store::all(&mut cx.tx).await?;
    let settings = KeySettings::of(&cx.app);
    let items = keys.into_iter().rev().map(|row| SigningKey::of(row, settings)).collect();
    Ok(Page { items, next_cursor: None })
}

async fn create(cx: &mut Cx<Scope>, _: Platform, new: NewKey) -> Result<Created<SigningKey>> {
    let key = make(cx, &new).await?;
    let kid = key.jwk().kid.clone();
    cx.begin().await?;
    let state = if new.publish { KeyState::Published } else { KeyState::Staged };
    let initial = InitialState::in_state(state);
    if !store::insert(&cx.app, &mut cx.tx, cx.now, key.as_ref(), initial).await? {
        let known = store::find(&mut cx.tx, &kid).await?;
        let detail = format!("The key exists already; it is {}. Import another key.", known.state);
        return Err(Error::conflict(detail));
    }
    let row = store::find(&mut cx.tx, &kid).await?;
    Ok(Created(SigningKey::of(row, KeySettings::of(&cx.app))))
}

async fn make(cx: &mut Cx<Scope>, new: &NewKey) -> Result<Arc<dyn Signer>> {
    let Some(pem) = &new.pem else {
        let bits = new.bits.unwrap_or(KeySettings::of(&cx.app).bits);
        if !matches!(bits, 2048 | 3072 | 4096) {
            let detail = format!("`bits` must be 2048, 3072 or 4096 (got {bits}).");
            return Err(Error::invalid("bits", detail));
        }
        cx.release();
        return custody::make(&cx.app.clone(), bits).await;
    };
    if new.bits.is_some() {
        let detail = "`bits` must be absent with `pem`: an imported key has its own size.";
        return Err(Error::invalid("bits", detail));
    }
    let refused = |error: anyhow::Error| {
        Error::new(ProblemCode::KeyRefused, format!("`pem` is refused: {error:#}.")).at("pem")
    };
    let key = import::read_pem(pem.expose(), new.passphrase.as_ref()).map_err(refused)?;
    cx.release();
    Ok(Arc::new(key))
}

async fn read(cx: &mut Cx<Scope>, PlatformRow(kid): PlatformRow<KeyId>) -> Result<SigningKey> {
    let row = store::find(&mut cx.tx, kid.as_str()).await?;
    detailed(cx, row).await
}

async fn detailed(cx: &mut Cx<Scope>, row: KeyRow) -> Result<SigningKey> {
    let counts = bundles::count_signed_by(cx, &row.kid).await?;
    let signed = SignedBy {
        live_bundles: counts.live,
        revoked_bundles: counts.revoked,
        organizations: counts.organizations,
        last_expires_at: counts.last_expires_at,
        licenses_to_reissue: licenses::count_signed_by(cx, &row.kid).await?,
    };
    Ok(SigningKey { signed: Some(signed), ..SigningKey::of(row, KeySettings::of(&cx.app)) })
}

async fn publish(cx: &mut Cx<Scope>, PlatformRow(kid): PlatformRow<KeyId>) -> Result<SigningKey> {
    kek::hold(&cx.app, &mut cx.tx).await?;
    let key = store::find(&mut cx.tx, kid.as_str()).await?;
    match key.state {
        KeyState::Staged => {
            store::advance(&mut cx.tx, cx.now, &key, KeyState::Published, None).await?;
        }
        state if state.is_public() => {}
        state => {
            let detail = format!("The key is {state}. Such a key cannot be published again.");
            return Err(Error::conflict(detail));
        }
    }
    let row = store::find(&mut cx.tx, kid.as_str()).await?;
    detailed(cx, row).await
}

async fn activate(
    cx: &mut Cx<Scope>,
    PlatformRow(kid): PlatformRow<KeyId>,
    how: Activation,
) -> Result<SigningKey> {
    let emergency = how.emergency(cx)?;
    let row = rotation::activate(cx, kid.as_str(), emergency).await?;
    detailed(cx, row).await
}

async fn retire(
    cx: &mut Cx<Scope>,
    PlatformRow(kid): PlatformRow<KeyId>,
    why: Retirement,
) -> Result<SigningKey> {
    cx.audit.reason = why.reason.map(Explanation::into_string);
    let reason = cx.audit.reason.clone();
    let row = rotation::retire(cx, kid.as_str(), reason.as_deref()).await?;
    detailed(cx, row).await
}

async fn compromise(
    cx: &mut Cx<Scope>,
    PlatformRow(kid): PlatformRow<KeyId>,
    what: Compromise,
) -> Result<SigningKey> {
    let before = store::find(&mut cx.tx, kid.as_str()).await?;
    cx.audit.before = serde_json::to_value(detailed(cx, before).await?).ok();
    let spare = spare(cx).await?;
    cx.begin().await?;
    cx.audit.reason = Some(what.reason.as_str().to_owned());
    rotation::compromise(cx, kid.as_str(), what.reason.as_str(), spare.as_ref()).await?;
    let row = store::find(&mut cx.tx, kid.as_str()).await?;
    detailed(cx, row).await
}

async fn rotate(cx: &mut Cx<Scope>, _: Platform, how: Activation) -> Result<SigningKey> {
    let emergency = how.emergency(cx)?;
    let seen = store::active(&mut cx.tx).await?.map(|key| key.kid);
    let spare = spare(cx).await?;
    cx.begin().await?;
    let row = rotation::rotate(cx, seen.as_deref(), emergency, spare.as_ref()).await?;
    detailed(cx, row).await
}

/// Generates a key while no connection is held.
async fn spare(cx: &mut Cx<Scope>) -> Result<Arc<dyn Signer>> {
    cx.release();
    let app = cx.app.clone();
    custody::make(&app, KeySettings::of(&app).bits).await
}
