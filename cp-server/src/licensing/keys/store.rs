//! The rows of the signing keys.

use anyhow::Context;
use chrono::{DateTime, Utc};
use cp_contracts::{Jwk, LICENSE_TOKEN_ALG, SIGNING_KEY_TYP, SigningKeyClaims};
use zeroize::Zeroizing;

use super::custody;
use super::row::{KeyRow, purpose};
use super::signer::{self, Kept, Signer, SignerPool, compact};
use super::state::KeyState;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::kek;
use crate::kernel::secret::Kek;

/// Returns all keys, oldest first.
pub async fn all(tx: &mut Conn) -> Result<Vec<KeyRow>> {
    let sql = "SELECT kid, state, algorithm, bits, modulus, exponent, sealed, service_key, reason,
                      endorsement, endorsed_by, created_at, published_at, activate_at, activated_at,
                      retired_at, updated_at
               FROM signing_keys ORDER BY created_at, kid";
    Ok(tx.q(sql).all().await?)
}

pub async fn find(tx: &mut Conn, kid: &str) -> Result<KeyRow> {
    let found = all(tx).await?.into_iter().find(|row| row.kid == kid);
    found.ok_or_else(|| Error::not_found("signing key"))
}

pub async fn active(tx: &mut Conn) -> Result<Option<KeyRow>> {
    Ok(all(tx).await?.into_iter().find(|row| row.state == KeyState::Active))
}

/// The first state of a new key.
pub struct InitialState {
    pub state: KeyState,
    pub activate_at: Option<DateTime<Utc>>,
    pub reason: Option<String>,
}

impl InitialState {
    pub fn in_state(state: KeyState) -> Self {
        Self { state, activate_at: None, reason: None }
    }
}

/// Writes a new key, under the lock of [`kek::hold`]: its private half sealed, or its name at the signing
/// service, and its public half signed by the active key. Returns `false` when the key is known in any state: a kid is never
/// used twice.
pub async fn insert(
    app: &App,
    tx: &mut Conn,
    now: DateTime<Utc>,
    key: &dyn Signer,
    initial: InitialState,
) -> Result<bool> {
    kek::hold(app, tx).await?;
    let kid = &key.jwk().kid;
    let (secret, name) = match key.kept()? {
        Kept::Key(der) => (der, None),
        Kept::Name(name) => (Zeroizing::default(), Some(name)),
    };
    let sealed = app.kek.seal(&app.random, &purpose(kid), &secret);
    let numbers = signer::modulus_and_exponent(key.jwk()).map_err(Error::internal)?;
    let (modulus, exponent) = numbers;
    let bits = i64::try_from(modulus.len() * 8).map_err(Error::internal)?;
    let endorser = active(tx).await?;
    let endorsement = match &endorser {
        None => None,
        Some(row) => Some(endorse(app, row, now, key.jwk()).await?),
    };
    let (state, at) = (initial.state, Some(now));
    let sql = "INSERT INTO signing_keys
               (kid, state, algorithm, bits, modulus, exponent, sealed, service_key, reason, endorsement,
                endorsed_by, created_at, published_at, activate_at, activated_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $12)
               ON CONFLICT DO NOTHING";
    let insert = tx
        .q(sql)
        .bind(&**kid)
        .bind(state)
        .bind(LICENSE_TOKEN_ALG)
        .bind(bits)
        .bind(modulus)
        .bind(exponent)
        .bind(sealed)
        .bind(name)
        .bind(initial.reason)
        .bind(endorsement)
        .bind(endorser.map(|row| row.kid))
        .bind(now)
        .bind(at.filter(|_| state != KeyState::Staged))
        .bind(initial.activate_at)
        .bind(at.filter(|_| state == KeyState::Active));
    Ok(insert.exec().await? == 1)
}

/// Signs the active key's statement that the other key is the issuer's too. A data plane that
/// missed several rotations follows these statements from its own key.
async fn endorse(app: &App, by: &KeyRow, now: DateTime<Utc>, jwk: &Jwk) -> Result<String> {
    let claims = SigningKeyClaims {
        iss: app.settings.base_url.clone(),
        iat: now.timestamp(),
        jwk: jwk.clone(),
        extra: serde_json::Map::new(),
    };
    let payload = serde_json::to_vec(&claims).map_err(Error::internal)?;
    let signer = custody::open(app, by).map_err(Error::internal)?;
    let signed = move || compact(signer.as_ref(), SIGNING_KEY_TYP, &payload);
    SignerPool::of(app).run(signed).await
}

/// Moves a key to another state, if its state has not changed since it was read.
pub async fn advance(
    tx: &mut Conn,
    now: DateTime<Utc>,
    key: &KeyRow,
    to: KeyState,
    reason: Option<&str>,
) -> Result<()> {
    let first = |before: Option<DateTime<Utc>>, reached: bool| before.or(reached.then_some(now));
    let is_published = matches!(to, KeyState::Published | KeyState::Active);
    let is_out = matches!(to, KeyState::Retired | KeyState::Compromised);
    let sql = "UPDATE signing_keys
               SET state = $3, reason = $4, published_at = $5, activated_at = $6, retired_at = $7,
                   activate_at = NULL, updated_at = $8
               WHERE kid = $1 AND state = $2";
    let update = tx
        .q(sql)
        .bind(&*key.kid)
        .bind(key.state)
        .bind(to)
        .bind(reason.or(key.reason.as_deref()))
        .bind(first(key.published_at, is_published))
        .bind(first(key.activated_at, to == KeyState::Active))
        .bind(first(key.retired_at, is_out))
        .bind(now);
    match update.exec().await? {
        1 => Ok(()),
        _ => Err(Error::stale()),
    }
}

/// Keeps the key in use until the end of the transaction, which stores something that the key
/// signed. If the key no longer signs, the caller starts over.
pub async fn hold(tx: &mut Conn, kid: &str) -> Result<bool> {
    let held = tx.q2(
        "SELECT 1 FROM signing_keys WHERE kid = $1 AND state = 'active'",
        "SELECT 1 FROM signing_keys WHERE kid = $1 AND state = 'active' FOR SHARE",
    );
    Ok(held.bind(kid).value::<i32>().await?.is_some())
}

/// Seals every key with the new key-encryption key.
pub async fn reseal(app: &App, tx: &mut Conn, new: &Kek) -> anyhow::Result<()> {
    for row in all(tx).await? {
        let sealed = app.kek.reseal(new, &app.random, &purpose(&row.kid), &row.sealed);
        let sealed = sealed.with_context(|| row.sealed_shut())?;
        let sql = "UPDATE signing_keys SET sealed = $2 WHERE kid = $1";
        tx.q(sql).bind(&*row.kid).bind(sealed).exec().await?;
    }
    Ok(())
}
