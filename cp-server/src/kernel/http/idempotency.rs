//! `Idempotency-Key`: the same request twice is done once.
//!
//! The key belongs to its caller. The answer is stored in the transaction of the change and kept
//! for 24 hours, sealed, because it may hold a license token or a secret that is shown once. A
//! refused request stores nothing, so that it can be sent again with the same key.
//!
//! # Design
//! The seal is bound to the caller, the key and the request, so that an answer opens in its own row
//! only: a person who can write the database and has no key-encryption key cannot read another
//! caller's answer by repeating an own request. An answer that does not open is refused, and not made
//! again: something was done under this key, and doing it twice is what the caller asked to prevent.
//! Shape and status codes: draft-ietf-httpapi-idempotency-key-header-07.

use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use serde::{Deserialize, Serialize};

use crate::kernel::access::caller::Caller;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Answer;
use crate::kernel::secret::{Kek, hex, sha256};

const KEPT: TimeDelta = TimeDelta::hours(24);

/// What the seal of an answer is bound to. `key` is the hash of the caller and its key.
fn purpose(key: &[u8], request: &[u8]) -> String {
    format!("idempotency {} {} v2", hex(key), hex(request))
}

/// A request that wants to be done once.
#[derive(Clone)]
pub struct Once {
    /// Hash of the caller and the key.
    key: Vec<u8>,
    /// Hash of what is asked for.
    request: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    status: u16,
    location: Option<String>,
    body: Option<String>,
}

impl Once {
    /// Reads the header; `None` when there is none or the method does not change anything.
    pub fn of(parts: &Parts, caller: &Caller, body: &[u8]) -> Result<Option<Self>> {
        if !matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
            return Ok(None);
        }
        let mut headers = parts.headers.get_all("idempotency-key").iter();
        let Some(key) = headers.next() else { return Ok(None) };
        let text = key.to_str().ok().filter(|t| (1..=255).contains(&t.len()));
        let (Some(text), None) = (text, headers.next()) else {
            let detail = "Idempotency-Key: send one, of 1 to 255 printable ASCII characters.";
            return Err(Error::bad_request(detail));
        };
        let key = [caller.kind.as_str(), &caller.id.to_string(), text].join("\n");
        let uri = parts.uri.to_string();
        let asked = [parts.method.as_str().as_bytes(), uri.as_bytes(), body].join(&b'\n');
        Ok(Some(Self { key: sha256(key.as_bytes()).into(), request: sha256(&asked).into() }))
    }

    /// One of the many things that the request asks for, each done once.
    pub fn part(&self, name: &str) -> Self {
        let key = [&*self.key, name.as_bytes()].join(&b'\n');
        Self { key: sha256(&key).into(), request: self.request.clone() }
    }

    /// The answer that this key got before.
    pub async fn find(
        &self,
        app: &App,
        tx: &mut Conn,
        now: DateTime<Utc>,
    ) -> Result<Option<Answer>> {
        if tx.writes() {
            // A twin on another connection finishes first; it would collide with this one in
            // whatever is unique of the thing that both make. SQLite has one writer anyway.
            let wait =
                tx.q2("SELECT 1 WHERE $1 IS NOT NULL", "SELECT 1 FROM pg_advisory_xact_lock($1)");
            let lock = i64::from_be_bytes(std::array::from_fn(|at| self.key[at]));
            wait.bind(lock).exec().await?;
        }
        let sql = "SELECT request, answer FROM idempotency_keys
                   WHERE caller_key = $1 AND created_at > $2";
        let found: Option<(Vec<u8>, Vec<u8>)> =
            tx.q(sql).bind(&*self.key).bind(now - KEPT).opt().await?;
        let Some((request, sealed)) = found else { return Ok(None) };
        if request != self.request {
            return Err(Error::new(
                ProblemCode::IdempotencyKeyReused,
                "This Idempotency-Key was used for another request; take a new key.",
            ));
        }
        let Some(plain) = app.kek.open(&purpose(&self.key, &request), &sealed) else {
            let key = hex(&self.key);
            tracing::error!(key, "idempotency_keys.answer is not the one that was stored here");
            return Err(Error::conflict(
                "The answer that is stored for this Idempotency-Key cannot be opened, and the \
                 request is not repeated. Check what the first request did, then use a new key.",
            ));
        };
        let stored: Stored = serde_json::from_slice(&plain).map_err(Error::internal)?;
        Ok(Some(Answer {
            status: StatusCode::from_u16(stored.status).map_err(Error::internal)?,
            location: stored.location,
            body: stored.body.map(Into::into),
            tag: None,
            made: None,
            after: None,
            stream: None,
        }))
    }

    /// Keeps the answer, in the transaction of the change.
    pub async fn keep(
        &self,
        app: &App,
        tx: &mut Conn,
        now: DateTime<Utc>,
        answer: &Answer,
    ) -> Result<()> {
        let body = answer.body.as_ref().map(|b| String::from_utf8_lossy(b).into_owned());
        let stored =
            Stored { status: answer.status.as_u16(), location: answer.location.clone(), body };
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(&stored).map_err(Error::internal)?);
        let purpose = purpose(&self.key, &self.request);
        let sealed = app.kek.seal(&app.random, &purpose, &plain);
        let sql = "INSERT INTO idempotency_keys (caller_key, request, answer, created_at)
                   VALUES ($1, $2, $3, $4)
                   ON CONFLICT (caller_key) DO UPDATE
                   SET request = excluded.request, answer = excluded.answer,
                       created_at = excluded.created_at
                   WHERE idempotency_keys.created_at <= $5";
        let kept = tx
            .q(sql)
            .bind(&*self.key)
            .bind(&*self.request)
            .bind(sealed)
            .bind(now)
            .bind(now - KEPT)
            .exec()
            .await?;
        // A twin on another replica was faster: starting over finds its answer.
        if kept == 0 { Err(Error::stale()) } else { Ok(()) }
    }
}

/// Seals the kept answers under another key-encryption key. One that does not open is left as it is:
/// it is refused when it is asked for, and it must not keep a leaked key in use.
pub async fn reseal(app: &App, tx: &mut Conn, new: &Kek) -> anyhow::Result<()> {
    let sql = "SELECT caller_key, request, answer FROM idempotency_keys";
    let rows: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> = tx.q(sql).all().await?;
    for (key, request, sealed) in rows {
        let resealed = app.kek.reseal(new, &app.random, &purpose(&key, &request), &sealed);
        let Some(sealed) = resealed else { continue };
        let sql = "UPDATE idempotency_keys SET answer = $2 WHERE caller_key = $1";
        tx.q(sql).bind(key).bind(sealed).exec().await?;
    }
    Ok(())
}

/// Forgets the keys that are no longer kept.
pub async fn purge(app: &App) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    let sql = "DELETE FROM idempotency_keys WHERE created_at <= $1";
    let gone = tx.q(sql).bind(app.clock.now() - KEPT).exec().await?;
    tx.commit().await?;
    Ok(gone)
}
