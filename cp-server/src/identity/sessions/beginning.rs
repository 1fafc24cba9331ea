//! The beginning of a session: the row, and the cookie of the browser; and its end.

use axum::http::{HeaderMap, HeaderValue};
use chrono::{DateTime, Utc};

use super::cookies::{self, Cookie};
use crate::identity::ids::SessionId;
use crate::identity::login_caller::Login;
use crate::kernel::access::caller::Scope;
use crate::kernel::db::Conn;
use crate::kernel::db::record::Any;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::secret::sha256;

/// Begins the session of a login by the caller of `cx`. `state` begins one session at most. Returns
/// the session and the cookie that the browser keeps.
pub(in crate::identity) async fn begin(
    cx: &mut Cx<Scope>,
    headers: &HeaderMap,
    login: &Login,
    state: &str,
    expires_at: DateTime<Utc>,
) -> Result<(SessionId, HeaderValue)> {
    let now = cx.now;
    let cookie = Cookie::session(&cx.app)?;
    let secret = cookies::text(cx.app.random.bytes::<32>());
    // A new login ends the earlier session of the same browser.
    if let Some(before) = cookie.find(headers)? {
        end(&mut cx.tx, now, &before).await?;
    }
    let id = SessionId::new(&cx.app.random, now);
    let sql = "INSERT INTO sessions
               (id, secret_hash, state_hash, user_id, organization_id, provider, issuer, subject,
                login, created_at, last_seen_at, expires_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)";
    let user = cx.caller.user;
    let insert = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(sha256(secret.as_bytes()).to_vec())
        .bind(sha256(state.as_bytes()).to_vec())
        .bind(user)
        .bind(login.organization)
        .bind(&login.provider)
        .bind(&login.issuer)
        .bind(&login.subject)
        .bind(Any::bounded("login", serde_json::to_value(login).map_err(Error::internal)?)?)
        .bind(now)
        .bind(expires_at);
    insert.exec().await.on_conflict("sessions_state_hash", || {
        Error::unauthenticated("This login has already been completed. Log in again at /login.")
    })?;
    Ok((id, cookie.set(&secret, expires_at - now)))
}

/// Ends the session of a cookie.
pub(super) async fn end(tx: &mut Conn, now: DateTime<Utc>, secret: &str) -> Result<()> {
    let sql = "UPDATE sessions SET ended_at = $2 WHERE secret_hash = $1 AND ended_at IS NULL";
    tx.q(sql).bind(sha256(secret.as_bytes()).to_vec()).bind(now).exec().await?;
    Ok(())
}
