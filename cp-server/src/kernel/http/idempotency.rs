//! `Idempotency-Key`: a repeated request is executed once.
//!
//! The key belongs to its caller. The response is stored in the transaction of the change and kept
//! for 24 hours. It is sealed, because it may contain a license token or a secret that is shown
//! once. A refused request stores nothing, so that it can be repeated with the same key.
//!
//! # Design
//!
//! The seal is bound to the caller, the key and the request, so that a response opens only in its
//! own row. A person who can write to the database but lacks the key-encryption key cannot read
//! another caller's response by repeating an own request. A response that cannot be opened is
//! refused and not recomputed. The request was executed under this key, and the caller asked not to
//! execute it twice. Shape and status codes: draft-ietf-httpapi-idempotency-key-header-07.

use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use serde::{Deserialize, Serialize};

use crate::kernel::access::caller::{Caller, CallerKind};
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Answer;
use crate::kernel::secret::{Kek, hex, sha256};

const KEPT: TimeDelta = TimeDelta::hours(24);

/// Returns the purpose of a response's seal. `key` is the hash of the caller and its key.
fn purpose(key: &[u8], request: &[u8]) -> String {
    format!("idempotency {} {} v2", hex(key), hex(request))
}

/// A request that must be executed at most once.
#[derive(Clone)]
pub struct Once {
    /// The hash of the caller and the key.
    key: Vec<u8>,
    /// The hash of the request.
    request: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    status: u16,
    location: Option<String>,
    body: Option<String>,
}

impl Once {
    /// Reads the header; `None` when it is absent or the method changes nothing.
    pub fn of(parts: &Parts, caller: &Caller, body: &[u8]) -> Result<Option<Self>> {
        if !matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
            return Ok(None);
        }
        let mut headers = parts.headers.get_all("idempotency-key").iter();
        let Some(key) = headers.next() else { return Ok(None) };
        let text = key.to_str().ok().filter(|t| (1..=255).contains(&t.len()));
        let (Some(text), None) = (text, headers.next()) else {
            let detail =
                "`Idempotency-Key` must be a single value of 1 to 255 printable ASCII characters.";
            return Err(Error::bad_request(detail));
        };
        // Callers without a credential are many, and share no keys: for them the body is the caller.
        let caller_id = match caller.kind {
            CallerKind::Anonymous => hex(&sha256(body)),
            _ => caller.id.to_string(),
        };
        let key = [caller.kind.as_str(), &caller_id, text].join("\n");
        let uri = parts.uri.to_string();
        let asked = [parts.method.as_str().as_bytes(), uri.as_bytes(), body].join(&b'\n');
        Ok(Some(Self { key: sha256(key.as_bytes()).into(), request: sha256(&asked).into() }))
    }

    /// Returns the key of one part of the request, each of which is executed once.
    pub fn part(&self, name: &str) -> Self {
        let key = [&*self.key, name.as_bytes()].join(&b'\n');
        Self { key: sha256(&key).into(), request: self.request.clone() }
    }

    /// Returns the response that this key got before.
    pub async fn find(
        &self,
        app: &App,
        tx: &mut Conn,
        now: DateTime<Utc>,
    ) -> Result<Option<Answer>> {
        if tx.writes() {
            // A twin on another connection must finish first: otherwise both collide in unique
            // values of the thing that both create. SQLite has only one writer.
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
                "This `Idempotency-Key` was used for another request; use a new key.",
            ));
        }
        let Some(plain) = app.kek.open(&purpose(&self.key, &request), &sealed) else {
            let key = hex(&self.key);
            tracing::error!(
                key,
                "idempotency_keys.answer differs from the response that was stored"
            );
            return Err(Error::conflict(
                "The stored response for this `Idempotency-Key` cannot be opened, and the request is \
                 not repeated. Check the effect of the first request, then use a new key.",
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

    /// Stores the response in the transaction of the change.
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
        // A twin on another replica was faster: starting over finds its response.
        if kept == 0 { Err(Error::stale()) } else { Ok(()) }
    }
}

/// Seals the stored responses under another key-encryption key. A response that cannot be opened is
/// left unchanged: a request for it is refused, and it must not keep a leaked key in use.
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

/// Deletes the keys whose time has passed.
pub async fn purge(app: &App) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    let sql = "DELETE FROM idempotency_keys WHERE created_at <= $1";
    let gone = tx.q(sql).bind(app.clock.now() - KEPT).exec().await?;
    tx.commit().await?;
    Ok(gone)
}
