//! Links to the console: each begins one session of a person, once.
//!
//! # Design
//! A link has 256 random bits, and a row here contains their hash. The operator's links are created by
//! a process that can open the database; no operation does that. An invitation link is for a person of
//! one organization who has no identity provider. A page shows who signs in, and only its form uses the
//! link: previews and scanners of messages send GET requests only. The session is a person's, so the
//! audit log names the person, and deactivating the user ends it.

pub mod invited;
mod rows;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

use self::rows::{Open, insert};
use super::login_caller::{self, LINK, Login};
use super::sessions::{beginning, cookies};
use super::settings::{ConsoleSettings, IdentitySettings};
use super::users;
use crate::kernel::access::caller::Caller;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::declaration::{Declaration, Export, Happening};
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::raw::Raw;
use crate::kernel::http::{endpoint, json};
use crate::kernel::secret::{Secret, ShownOnce, sha256};
use crate::kernel::text::Email;

pub static DECLARATION: Declaration = Declaration::of_organization(
    "console_links",
    "console link",
    Export::LeftOut("a link works for minutes"),
)
.events(&[Happening {
    action: "console_links.use",
    doc: "A person signed in with a link to the console.",
}]);

crate::routes! {
    /// Links with which people sign in at the console.
    console_links declares DECLARATION:
    /// Signs a browser in with the code of a link, which works once.
    ///
    /// The answer sets the cookie of the session, and leads to the console. With `preview`, the answer
    /// describes the link and does not use it.
    POST "/console-links/use" PUBLIC => sign_in as "console_links.use", raw, redirect, strict;
}

/// The largest body, in bytes.
const BODY: usize = 1024;

/// A link that was created now.
pub struct Link {
    pub url: ShownOnce,
    pub email: String,
    pub expires_at: DateTime<Utc>,
}

/// Creates a link for the operator's own user, or for the user with this address.
pub async fn create(app: &App, email: Option<&Email>) -> Result<Link> {
    if !ConsoleSettings::of(app).is_enabled {
        return Err(Error::conflict("The console is disabled. Set CP_CONSOLE to true."));
    }
    cookies::require_https(app)?;
    let mut cx = app.change(Caller::system("command line")).await?;
    let user = match email {
        None => users::operator(&mut cx).await?,
        Some(email) => users::find(&mut cx, email).await?,
    };
    if !user.is_active {
        let detail = format!("The user {} is not active. Activate it first.", user.email);
        return Err(Error::conflict(detail));
    }
    let (url, expires_at) = insert(&mut cx, user.id, None).await?;
    cx.audit.after = Some(json!({"email": user.email, "expires_at": expires_at}));
    cx.finish("console_links.create", None, ("user", user.id.to_string()), Effect::Rights).await?;
    Ok(Link { url, email: user.email, expires_at })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Code {
    code: Secret<String>,
    #[serde(default)]
    preview: bool,
}

async fn sign_in(raw: Raw) -> Result<Response> {
    let Raw { app, parts, body, .. } = raw;
    if !ConsoleSettings::of(&app).is_enabled {
        return Err(Error::not_found("page"));
    }
    cookies::require_https(&app)?;
    let sent: Code = json::read(&endpoint::read_body(&parts, body, BODY).await?)?;
    let now = app.clock.now();
    let open = find(&mut app.db.read(), sent.code.expose(), now).await?;
    if sent.preview {
        let body = json!({"email": open.email, "organization": open.organization,
                          "expires_at": open.expires_at});
        let body = body.to_string();
        return Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response());
    }
    // Another site must not sign a browser in as a person of its choice.
    cookies::refuse_other_sites(&app, &parts)?;
    let ttl = IdentitySettings::of(&app).session.ttl;
    let expires_at = now + if open.inviter.is_some() { ttl.min(invited::SESSION) } else { ttl };
    let login = login(&open, expires_at);
    let caller = match open.organization_id {
        Some(organization) => invited::caller(&open, organization),
        None => login_caller::caller(&app, login.clone()).await?,
    };
    let mut cx = app.change(caller).await?;
    let sql = "UPDATE console_links SET used_at = $2
               WHERE id = $1 AND used_at IS NULL AND expires_at > $2";
    if cx.tx.q(sql).bind(open.id).bind(cx.now).exec().await? == 0 {
        return Err(over());
    }
    if let Some(organization) = open.organization_id {
        invited::enter(&mut cx, &open, organization).await?;
    }
    let code = sent.code.expose();
    let begun = beginning::begin(&mut cx, &parts.headers, &login, code, expires_at).await?;
    let (id, cookie) = begun;
    cx.parts = Arc::new(parts);
    cx.audit.after = Some(json!({"email": open.email, "session_id": id}));
    let target = ("user", open.user_id.to_string());
    cx.finish("console_links.use", open.organization_id, target, Effect::Rights).await?;
    let location = format!("{}/console", app.settings.base_path());
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

async fn find(tx: &mut Conn, code: &str, now: DateTime<Utc>) -> Result<Open> {
    let sql = "SELECT l.id, l.user_id, l.organization_id, o.name AS organization, l.inviter,
                      l.expires_at, u.email
               FROM console_links l JOIN users u ON u.id = l.user_id
               LEFT JOIN organizations o ON o.id = l.organization_id
               WHERE l.code_hash = $1 AND l.used_at IS NULL AND l.expires_at > $2";
    let found = tx.q(sql).bind(sha256(code.as_bytes()).to_vec()).bind(now).opt().await?;
    found.ok_or_else(over)
}

/// Returns the statement of a link: its user, and nothing else.
fn login(open: &Open, expires_at: DateTime<Utc>) -> Login {
    Login {
        provider: LINK.to_owned(),
        issuer: String::new(),
        subject: open.user_id.to_string(),
        organization: open.organization_id,
        account: None,
        roles: Vec::new(),
        scopes: Vec::new(),
        products: Vec::new(),
        is_superadmin: false,
        name: None,
        email: None,
        expires_at,
    }
}

fn over() -> Error {
    let detail = "This link was used before, or it has expired. Ask for another one, or create one \
                  with `cp-server console link`.";
    Error::new(ProblemCode::Unauthenticated, detail)
}

/// Deletes the links whose time has passed.
pub async fn forget(app: &App) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    let sql = "DELETE FROM console_links WHERE expires_at <= $1";
    let gone = tx.q(sql).bind(app.clock.now()).exec().await?;
    tx.commit().await?;
    Ok(gone)
}
