//! Sessions: the logins of people at the console.
//!
//! # Design
//! A browser is sent to the identity provider and returns with a code (OpenID Connect, the
//! authorization-code flow with PKCE). The provider's statements about the person then begin a
//! session. The browser stores 256 random bits in a cookie that no script can read. No other site
//! can send it with a change. A row here contains the hash. A session identifies a person, and
//! nothing else: the person's permissions are looked up at every request. So a session ends with
//! its person, membership or provider.

pub(in crate::identity) mod beginning;
pub(in crate::identity) mod cookies;
mod logins;
pub mod own;

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use serde_json::{Value, json};

use self::beginning::end;
use self::cookies::Cookie;
use super::invitations;
use super::login_caller::{self, LINK, Login};
use super::oidc::provider::Provider;
use super::settings::{ConsoleSettings, IdentitySettings};
use crate::identity::ids::SessionId;
use crate::kernel::access::caller::{Caller, CallerKind, LoggedIn, Scope};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::app::{App, Authenticate, CallerFuture, Part};
use crate::kernel::cache::Cache;
use crate::kernel::completion;
use crate::kernel::db::record::Any;
use crate::kernel::db::{Conn, Share};
use crate::kernel::declaration::{Declaration, Export, Happening};
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::raw::Raw;
use crate::kernel::journal::record;
use crate::kernel::journal::record::Entry;
use crate::kernel::secret::sha256;
use crate::tenancy::settings as organization_settings;

pub static DECLARATION: Declaration = Declaration::of_organization(
    "sessions",
    "session",
    Export::LeftOut("a session is the login of a person and ends by itself"),
)
.events(&[
    Happening { action: "sessions.login", doc: "A person logged in with a browser." },
    Happening { action: "sessions.logout", doc: "A person ended a session." },
    Happening { action: "sessions.logout_everywhere", doc: "A person ended all sessions." },
]);

crate::routes! {
    /// The logins of people in a browser.
    sessions declares DECLARATION:
    /// Sends a browser to the identity provider to log in, and then back to `return_to`.
    ///
    /// `provider` is the key of one of the platform's providers; with `organization` (an ID or a
    /// slug), of one of its own. It may be absent if there is only one. `return_to` is a path of
    /// this server, such as `/console`; `/` when absent. `invitation` is the token of an invitation
    /// that the person accepts with the login.
    GET "/login" PUBLIC => login, raw, redirect;
    /// Lists the platform's identity providers at which people log in.
    GET "/login/providers" PUBLIC => list_providers, raw
        returns "application/json";
    /// Receives a browser from the identity provider and begins its session.
    GET "/login/callback" PUBLIC => callback, raw, redirect, may_write, strict;
    /// Ends the session of the cookie. `logout_url` is the URL that logs the browser out at the
    /// provider, too.
    POST "/logout" PUBLIC => logout, raw, strict
        returns "application/json";
    /// Ends all sessions of the person of the cookie's session.
    POST "/logout/everywhere" PUBLIC => logout_everywhere, raw, strict
        returns "application/json";
}

/// The accuracy of `last_seen_at`: it must not cost a write per request.
const SEEN_NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);
/// The time for which an ended session is kept. It is longer than a login may take, so that a
/// login's state is used only once.
const ENDED_KEPT: TimeDelta = TimeDelta::hours(1);

async fn login(raw: Raw) -> Result<Response> {
    logins::begin(&raw.app, &raw.parts).await
}

async fn list_providers(raw: Raw) -> Result<Response> {
    Ok(axum::Json(logins::providers(&raw.app)).into_response())
}

async fn callback(raw: Raw) -> Result<Response> {
    let Raw { app, parts, .. } = raw;
    let done = logins::finish(&app, &parts).await?;
    let now = app.clock.now();
    let expires_at = now + IdentitySettings::of(&app).session.ttl;
    let login = Login { expires_at, ..done.login };
    // A person without a linked user begins no session.
    let caller = login_caller::caller(&app, login.clone()).await?;
    if let Some(token) = &done.invitation {
        invitations::accept_at_login(&app, caller.clone(), token).await?;
    }
    let tx = app.db.begin_for(caller.share()).await?;
    let mut cx = Cx::outside(&app, caller, Scope::Platform, tx);
    let login = Login { issuer: done.provider.issuer.clone(), ..login };
    let begun = beginning::begin(&mut cx, &parts.headers, &login, &done.state, expires_at).await?;
    let (id, cookie) = begun;
    let claimed = json!({"provider": login.provider, "subject": login.subject});
    let event = ("sessions.login", ("session", id.to_string()));
    commit(cx, parts, login.organization, event, claimed).await?;
    let headers = [(header::LOCATION, done.return_to), (header::SET_COOKIE, cookie)];
    let mut response = (axum::http::StatusCode::SEE_OTHER, headers).into_response();
    response.headers_mut().append(header::SET_COOKIE, Cookie::login(&app)?.clear());
    Ok(response)
}

async fn logout(raw: Raw) -> Result<Response> {
    log_out(raw, false).await
}

async fn logout_everywhere(raw: Raw) -> Result<Response> {
    log_out(raw, true).await
}

async fn log_out(raw: Raw, everywhere: bool) -> Result<Response> {
    let Raw { app, parts, .. } = raw;
    let cookie = Cookie::session(&app)?;
    cookies::refuse_other_sites(&app, &parts)?;
    let found = match cookie.find(&parts.headers)? {
        Some(secret) => live(&app, &mut app.db.read(), &secret, app.clock.now()).await?,
        None => None,
    };
    let (mut ended, mut url) = (0, None);
    if let Some(session) = found {
        let now = app.clock.now();
        let caller = session.as_caller();
        let tx = app.db.begin_for(caller.share()).await?;
        let mut cx = Cx::outside(&app, caller, Scope::Platform, tx);
        // An organization's login ends that organization's sessions. A login of the platform, which
        // vouches for the person, ends all.
        let sql = "UPDATE sessions SET ended_at = $1
                   WHERE ended_at IS NULL
                     AND (id = $2
                          OR $3 AND (organization_id IS NULL AND $8 OR organization_id = $9)
                             AND (provider = $4 AND subject = $5 AND issuer = $6 OR user_id = $7)
                          OR $3 AND $8 AND user_id = $7)";
        ended = cx
            .tx
            .q(sql)
            .bind(now)
            .bind(session.id)
            .bind(everywhere)
            .bind(&session.provider)
            .bind(&session.subject)
            .bind(&session.issuer)
            .bind(session.user_id)
            .bind(session.organization_id.is_none())
            .bind(session.organization_id)
            .exec()
            .await?;
        let action = if everywhere { "sessions.logout_everywhere" } else { "sessions.logout" };
        let event = (action, ("session", session.id.to_string()));
        commit(cx, parts, session.organization_id, event, json!({"ended": ended})).await?;
        url = logins::logout_url(&app, session.organization_id, &session.provider).await;
    }
    let body = json!({"ended": ended, "logout_url": url}).to_string();
    let headers = [(header::CONTENT_TYPE, "application/json".to_owned())];
    let mut response = (headers, body).into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie.clear());
    Ok(response)
}

/// Commits with one event, which reports all changes.
async fn commit(
    mut cx: Cx<Scope>,
    parts: Parts,
    organization: Option<OrganizationId>,
    (action, target): (&'static str, (&'static str, String)),
    after: Value,
) -> Result<()> {
    cx.parts = Arc::new(parts);
    let (before, reason, after, issued) = (None, None, Some(after), None);
    let entry = Entry { action, organization, target, before, after, reason, issued };
    record::append(&mut cx, vec![entry]).await?;
    cx.commit(Effect::Rights).await
}

/// The sessions, as the kernel uses them.
#[derive(Default)]
pub struct Sessions {
    /// By the hash of the cookie's secret.
    known: Cache<[u8; 32], Caller>,
}

/// The longest time until a change on another replica is visible.
const REMEMBERED: TimeDelta = TimeDelta::seconds(3);

impl Authenticate for Sessions {
    fn caller<'a>(&'a self, _: &'a App, _: &'a str) -> CallerFuture<'a> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn of_request<'a>(&'a self, app: &'a App, parts: &'a Parts) -> CallerFuture<'a> {
        Box::pin(self.find(app, parts))
    }
}

impl Sessions {
    async fn find(&self, app: &App, parts: &Parts) -> Result<Option<Caller>> {
        let headers: &HeaderMap = &parts.headers;
        if !headers.contains_key(header::COOKIE) {
            return Ok(None);
        }
        let Some(secret) = Cookie::session(app)?.find(headers)? else { return Ok(None) };
        if headers.contains_key(header::AUTHORIZATION) {
            let detail = "Send either the session's cookie or an Authorization header, not both.";
            return Err(Error::bad_request(detail));
        }
        cookies::refuse_other_sites(app, parts)?;
        let (hash, now) = (sha256(secret.as_bytes()), app.clock.now());
        let generation = app.rights.now();
        if let Some(caller) = self.known.recall(&hash, generation, now) {
            return Ok(Some(caller));
        }
        let session = live(app, &mut app.db.read(), &secret, now).await?.ok_or_else(over)?;
        let share = Share::of(session.organization_id.map_or(session.id.0, |own| own.0));
        let login: Login = serde_json::from_value(serde_json::Value::clone(&session.login))
            .map_err(|e| Error::internal(anyhow::Error::new(e).context("sessions.login")))?;
        let login = Login { issuer: session.issuer.clone(), ..login };
        let caller = match login_caller::caller(app, login).await {
            Ok(caller) => of_session(caller, session.id),
            Err(refusal) => {
                // A person without any rights here logs in again after they have changed.
                if *refusal.code() == ProblemCode::Forbidden {
                    note(app, share, now, &secret, true).await?;
                }
                return Err(refusal);
            }
        };
        if now - session.last_seen_at >= SEEN_NOTED_EVERY {
            note(app, share, now, &secret, false).await?;
        }
        let until = session.expires_at.min(now + REMEMBERED);
        self.known.keep(hash, caller.clone(), generation, until);
        Ok(Some(caller))
    }
}

/// A session with its origin.
#[derive(sqlx::FromRow)]
struct Session {
    id: SessionId,
    user_id: Option<UserId>,
    organization_id: Option<OrganizationId>,
    provider: String,
    issuer: String,
    subject: String,
    login: Any,
    last_seen_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// Whether the organization still has the provider.
    has_provider: bool,
}

impl Session {
    /// Returns the person as a caller, for the audit event of their own logout.
    fn as_caller(&self) -> Caller {
        let login = LoggedIn {
            provider: self.provider.clone(),
            issuer: self.issuer.clone(),
            authority: self.organization_id.into(),
            roles: Vec::new(),
            roles_in: None,
            is_superadmin: false,
            products: Vec::new(),
            session: Some(self.id.0),
        };
        Caller {
            kind: CallerKind::Person,
            id: self.user_id.map_or(self.id.0, |user| user.0),
            name: self.subject.clone(),
            user: self.user_id,
            login: Some(Arc::new(login)),
            ..Caller::anonymous()
        }
    }
}

/// Returns the session of a cookie, unless the session or its provider has ended.
async fn live(
    app: &App,
    tx: &mut Conn,
    secret: &str,
    now: DateTime<Utc>,
) -> Result<Option<Session>> {
    let sql = "SELECT s.id, s.user_id, s.organization_id, s.provider, s.issuer, s.subject, s.login,
                      s.last_seen_at, s.expires_at,
                      EXISTS (SELECT 1 FROM identity_providers p
                              WHERE p.organization_id = s.organization_id AND p.key = s.provider
                                AND p.issuer = s.issuer AND p.status = 'active') AS has_provider
               FROM sessions s
               WHERE s.secret_hash = $1 AND s.ended_at IS NULL AND s.expires_at > $2
                 AND s.last_seen_at > $3";
    let idle = IdentitySettings::of(app).session.idle;
    let query = tx.q(sql).bind(sha256(secret.as_bytes()).to_vec()).bind(now).bind(now - idle);
    let found: Option<Session> = query.opt().await?;
    let by_invitation = found.as_ref().filter(|session| session.provider == LINK);
    if let Some(organization) = by_invitation.and_then(|session| session.organization_id)
        && !organization_settings::has_console_links(tx, organization).await?
    {
        return Ok(None);
    }
    let is_of = |session: &Session, provider: &Provider| {
        provider.key == session.provider && provider.issuer == session.issuer
    };
    let is_enabled = ConsoleSettings::of(app).is_enabled;
    Ok(found.filter(|session| match session.organization_id {
        // The caller's look-up checks the membership of a person with an invitation link.
        _ if session.provider == LINK => is_enabled,
        Some(_) => session.has_provider,
        None => IdentitySettings::of(app).providers.iter().any(|one| is_of(session, one)),
    }))
}

/// Records the use of the session, or its end.
async fn note(
    app: &App,
    share: Share,
    now: DateTime<Utc>,
    secret: &str,
    is_over: bool,
) -> Result<()> {
    let (app, secret) = (app.clone(), secret.to_owned());
    completion::to_the_end(async move {
        let mut tx = app.db.begin_for(share).await?;
        if is_over {
            end(&mut tx, now, &secret).await?;
        } else {
            let sql = "UPDATE sessions SET last_seen_at = $2
                       WHERE secret_hash = $1 AND last_seen_at < $2 AND ended_at IS NULL";
            tx.q(sql).bind(sha256(secret.as_bytes()).to_vec()).bind(now).exec().await?;
        }
        Ok(tx.commit().await?)
    })
    .await
}

/// Returns the caller of a login, by its session.
fn of_session(mut caller: Caller, session: SessionId) -> Caller {
    if let Some(login) = caller.login.as_mut().and_then(Arc::get_mut) {
        login.session = Some(session.0);
    }
    caller
}

fn over() -> Error {
    Error::unauthenticated("The session has ended. Log in again at /login.")
}

/// Deletes the sessions that have ended.
pub async fn forget(app: &App) -> Result<u64> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let sql = "DELETE FROM sessions WHERE expires_at <= $1 OR ended_at <= $2";
    let gone = tx.q(sql).bind(now).bind(now - ENDED_KEPT).exec().await?;
    tx.commit().await?;
    Ok(gone)
}

/// Ends every session.
pub async fn end_all(tx: &mut Conn) -> Result<u64> {
    Ok(tx.q("DELETE FROM sessions").exec().await?)
}
