//! Signing keys: kept sealed in the database, published as the JWKS.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use axum::body::Bytes;
use axum::response::Response;
use chrono::{DateTime, Utc};
use cp_contracts::{Jwk, JwkSet, LICENSE_TOKEN_ALG};
use schemars::JsonSchema;
use serde::Serialize;

use super::key_import;
use super::signer::{LocalKey, Signer};
use crate::App;
use crate::kernel::answer::Document;
use crate::kernel::caller::{Caller, Scope};
use crate::kernel::db::{Conn, Db};
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, Result};
use crate::kernel::installation;
use crate::kernel::page::{NoFilter, Page};
use crate::kernel::place::Platform;
use crate::kernel::secret::{Kek, Secret};
use crate::kernel::table::Raw;

crate::routes! { keys:
    /// The public keys that license tokens are verified with (RFC 7517).
    GET "/.well-known/jwks.json" Public => jwks, raw;
    /// Tells about signing: the active key, the algorithm, how long the JWKS may be cached.
    GET "/signing/info" KeysRead => info;
    /// Lists the signing keys, newest first; never anything private.
    GET "/signing/keys" KeysRead => list;
}

/// The same document where RFC 8615 has it.
pub mod well_known {
    use super::jwks;

    crate::routes! { well_known:
        /// The public keys that license tokens are verified with (RFC 7517).
        GET "/.well-known/jwks.json" Public => jwks, root;
    }
}

/// Seconds that a data plane may use its copy of the JWKS before it asks again.
pub const JWKS_MAX_AGE: u32 = 300;
const JWKS_CACHE: &str = "public, max-age=300, stale-while-revalidate=600, stale-if-error=86400";

crate::text_enum! {
    /// Where a key is in its life.
    KeyState {
        /// It exists and is not published.
        Staged = "staged",
        /// In the JWKS; it may not sign yet.
        Published = "published",
        /// It signs; there is exactly one.
        Active = "active",
        /// In the JWKS until the last token that it signed has expired.
        Retiring = "retiring",
        /// Out of use.
        Retired = "retired",
        /// Out at once: its tokens are not to be trusted.
        Compromised = "compromised",
    }
}

/// A signing key's public half and life.
#[derive(Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct SigningKey {
    kid: String,
    state: KeyState,
    algorithm: String,
    bits: i64,
    created_at: DateTime<Utc>,
    published_at: Option<DateTime<Utc>>,
    activated_at: Option<DateTime<Utc>>,
    retired_at: Option<DateTime<Utc>>,
}

/// How tokens are signed now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SigningInfo {
    issuer: String,
    /// The `kid` of the key that signs.
    active_kid: String,
    algorithm: String,
    jwks_uri: String,
    jwks_max_age_seconds: u32,
    /// How many keys are in each state.
    keys: std::collections::BTreeMap<String, i64>,
}

async fn jwks(raw: Raw) -> Result<Response> {
    let mut response = raw.app.keys.0.load().jwks.render(&raw.parts.headers);
    let any = axum::http::HeaderValue::from_static("*");
    response.headers_mut().insert("access-control-allow-origin", any);
    Ok(response)
}

async fn info(cx: &mut Cx<Scope>, _: Platform) -> Result<SigningInfo> {
    let counts: Vec<(KeyState, i64)> =
        cx.tx.q("SELECT state, COUNT(*) FROM signing_keys GROUP BY state").all().await?;
    let base = &cx.app.settings.base_url;
    Ok(SigningInfo {
        issuer: base.clone(),
        active_kid: cx.app.keys.active()?.jwk().kid.clone(),
        algorithm: LICENSE_TOKEN_ALG.to_owned(),
        jwks_uri: format!("{base}/api/v1/.well-known/jwks.json"),
        jwks_max_age_seconds: JWKS_MAX_AGE,
        keys: counts.into_iter().map(|(state, n)| (state.to_string(), n)).collect(),
    })
}

async fn list(cx: &mut Cx<Scope>, _: Platform, _: NoFilter) -> Result<Page<SigningKey>> {
    let sql = "SELECT kid, state, algorithm, bits, created_at, published_at, activated_at,
                      retired_at
               FROM signing_keys ORDER BY created_at DESC, kid";
    let items = cx.tx.q(sql).all().await?;
    Ok(Page { items, next_cursor: None })
}

/// The keys in this process's memory: tokens are signed and the JWKS is served without asking the
/// database, and also while it is down.
pub struct Keyring(ArcSwap<Loaded>);

struct Loaded {
    active: Option<Arc<dyn Signer>>,
    jwks: Document,
}

impl Loaded {
    fn new(active: Option<Arc<dyn Signer>>, keys: Vec<Jwk>) -> anyhow::Result<Self> {
        let jwks = serde_json::to_vec(&JwkSet { keys })?;
        let jwks = Document::new("application/jwk-set+json", JWKS_CACHE, jwks);
        Ok(Self { active, jwks })
    }
}

impl Default for Keyring {
    fn default() -> Self {
        let none = Document::new("application/jwk-set+json", JWKS_CACHE, r#"{"keys":[]}"#);
        Self(ArcSwap::from_pointee(Loaded { active: None, jwks: none }))
    }
}

impl Keyring {
    pub fn active(&self) -> Result<Arc<dyn Signer>> {
        let loaded = self.0.load();
        let signer = loaded.active.clone();
        signer.ok_or_else(|| Error::unavailable("There is no active signing key.", 60))
    }

    pub fn jwks(&self) -> Bytes {
        self.0.load().jwks.body()
    }

    /// Reads the keys again, when they are not what is in memory.
    pub async fn refresh(&self, app: &App) -> anyhow::Result<()> {
        let mut tx = app.db.read();
        let sql = "SELECT kid, state, modulus, exponent, sealed FROM signing_keys
                   WHERE state IN ('published', 'active', 'retiring') ORDER BY kid";
        let rows: Vec<StoredKey> = tx.q(sql).all().await?;
        drop(tx);
        // Sorted by kid and built from the rows alone: the same bytes on every replica.
        let keys: Vec<Jwk> = rows.iter().map(StoredKey::jwk).collect();
        let before = self.0.load();
        let active = match rows.iter().find(|row| row.state == KeyState::Active) {
            None => None,
            Some(row) => match &before.active {
                Some(signer) if signer.jwk().kid == row.kid => Some(signer.clone()),
                _ => Some(Arc::new(row.unseal(&app.kek)?) as Arc<dyn Signer>),
            },
        };
        self.0.store(Arc::new(Loaded::new(active, keys)?));
        Ok(())
    }
}

#[derive(sqlx::FromRow)]
struct StoredKey {
    kid: String,
    state: KeyState,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    sealed: Vec<u8>,
}

impl StoredKey {
    fn jwk(&self) -> Jwk {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let (n, e) =
            (URL_SAFE_NO_PAD.encode(&self.modulus), URL_SAFE_NO_PAD.encode(&self.exponent));
        Jwk::rs256(self.kid.clone(), n, e)
    }

    fn unseal(&self, kek: &Kek) -> anyhow::Result<LocalKey> {
        let der = kek.open(&purpose(&self.kid), &self.sealed).with_context(|| {
            format!("signing_keys.sealed of {} does not open with the key-encryption key", self.kid)
        })?;
        LocalKey::from_pkcs8(&der)
    }
}

/// What the seal is bound to, so that one key's row cannot pass for another's.
fn purpose(kid: &str) -> String {
    format!("signing key {kid} v1")
}

/// The value that only the key-encryption key of this database opens.
const CHECK: &str = "kek check";

/// Whether the database was made with a key-encryption key already.
pub async fn knows_kek(db: &Db) -> anyhow::Result<bool> {
    Ok(installation::value(&mut db.read(), CHECK).await?.is_some())
}

/// Refuses to go on under another key-encryption key than the one that the database was made with.
pub async fn check_kek(app: &App) -> anyhow::Result<()> {
    let mut tx = app.db.begin().await?;
    let sealed = app.kek.seal(&app.random, CHECK, CHECK.as_bytes());
    installation::set_first(&mut tx, CHECK, &sealed).await?;
    let kept = installation::value(&mut tx, CHECK).await?;
    if kept.and_then(|kept| app.kek.open(CHECK, &kept)).is_none() {
        bail!(
            "the key-encryption key is not the one that this database was made with; put the right \
             one into CP_KEY_ENCRYPTION_KEY or the file kek in CP_KEYS_DIR. Nothing was changed."
        );
    }
    tx.commit().await?;
    Ok(())
}

/// Makes sure that there is an active key: the imported one, the stored one, or a new one.
pub async fn prepare(
    app: &App,
    import: Option<&Path>,
    passphrase: Option<&Secret<String>>,
    bits: u32,
) -> anyhow::Result<()> {
    if let Some(path) = import {
        import_file(app, path, passphrase).await?;
    }
    let mut tx = app.db.read();
    let sql = "SELECT EXISTS (SELECT 1 FROM signing_keys WHERE state = 'active')";
    let active = tx.q(sql).value().await?.unwrap_or(false);
    drop(tx);
    if !active {
        let key = tokio::task::spawn_blocking(move || LocalKey::generate(bits)).await??;
        activate_first(app, &key).await?;
    }
    app.keys.refresh(app).await
}

/// Imports a PEM file as the active key; the key that was active stays published.
pub async fn import_file(
    app: &App,
    path: &Path,
    passphrase: Option<&Secret<String>>,
) -> anyhow::Result<String> {
    let refused = || format!("the signing key {} is refused", path.display());
    let text = crate::kernel::files::read_private(path).with_context(refused)?;
    let text = zeroize::Zeroizing::new(String::from_utf8(text).with_context(refused)?);
    let key = key_import::read_pem(&text, passphrase).with_context(refused)?;
    let kid = key.jwk().kid.clone();
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let sql = "SELECT state FROM signing_keys WHERE kid = $1";
    match tx.q(sql).bind(&*kid).value::<KeyState>().await? {
        Some(KeyState::Active) => return Ok(kid),
        Some(state) => bail!("{}: it is known here already, and {state}", refused()),
        None => {}
    }
    let sql = "UPDATE signing_keys SET state = 'retiring', updated_at = $1 WHERE state = 'active'";
    tx.q(sql).bind(now).exec().await?;
    insert_active(app, &mut tx, &key).await?;
    record(app, tx, "keys.import", &kid).await?;
    app.keys.refresh(app).await?;
    Ok(kid)
}

/// The first key of an installation; of several replicas that start together, one makes it.
async fn activate_first(app: &App, key: &LocalKey) -> anyhow::Result<()> {
    let mut tx = app.db.begin().await?;
    if insert_active(app, &mut tx, key).await? {
        record(app, tx, "keys.generate", &key.jwk().kid).await?;
    }
    Ok(())
}

async fn insert_active(app: &App, tx: &mut Conn, key: &LocalKey) -> anyhow::Result<bool> {
    let kid = &key.jwk().kid;
    let sealed = app.kek.seal(&app.random, &purpose(kid), &key.to_pkcs8()?);
    let (modulus, exponent) = key.modulus_and_exponent();
    let sql = "INSERT INTO signing_keys
               (kid, state, algorithm, bits, modulus, exponent, sealed, created_at, published_at,
                activated_at, updated_at)
               VALUES ($1, 'active', $2, $3, $4, $5, $6, $7, $7, $7, $7)
               ON CONFLICT DO NOTHING";
    let insert = tx
        .q(sql)
        .bind(&**kid)
        .bind(LICENSE_TOKEN_ALG)
        .bind(i64::from(key.bits()))
        .bind(modulus)
        .bind(exponent)
        .bind(sealed)
        .bind(app.clock.now());
    Ok(insert.exec().await? == 1)
}

/// Records what the operator did at the machine, and commits it.
async fn record(app: &App, tx: Conn, action: &'static str, kid: &str) -> anyhow::Result<()> {
    let mut cx = Cx::outside(app, Caller::system("server"), Scope::Platform, tx);
    cx.trail.after = Some(serde_json::json!({"kid": kid, "state": KeyState::Active}));
    crate::audit::record(&mut cx, action, None, ("signing key", kid.to_owned())).await?;
    cx.tx.commit().await?;
    Ok(())
}
