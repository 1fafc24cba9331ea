//! Cookies: the values that a browser stores for this server, and the sites that may send them.
//!
//! # Design
//! `__Host-` binds a cookie to this host and to https (RFC 6265bis, section 4.1.3.2). Over plain
//! http the prefix cannot be used; logins are then allowed on the loopback interface only.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use cp_contracts::ProblemCode;
use url::Url;

use crate::kernel::app::App;
use crate::kernel::error::{Error, Result};
use crate::kernel::text::quoted;

/// A cookie of this server, by its name.
pub(in crate::identity) struct Cookie {
    name: String,
    is_secure: bool,
}

impl Cookie {
    /// Returns the cookie of a session's secret.
    pub(super) fn session(app: &App) -> Result<Self> {
        Self::new(app, "cp_session")
    }

    /// Returns the cookie of a login in progress.
    pub(super) fn login(app: &App) -> Result<Self> {
        Self::new(app, "cp_login")
    }

    fn new(app: &App, name: &str) -> Result<Self> {
        let base = base_url(app)?;
        let is_secure = base.scheme() == "https";
        let prefix = if is_secure { "__Host-" } else { "" };
        Ok(Self { name: format!("{prefix}{name}"), is_secure })
    }

    /// Returns its value in a request; two of them are an attack.
    pub(super) fn find(&self, headers: &HeaderMap) -> Result<Option<String>> {
        let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(name, _)| name.trim() == self.name);
        match (found.next(), found.next()) {
            (found, None) => Ok(found.map(|(_, value)| value.trim().to_owned())),
            _ => Err(Error::bad_request(format!("The cookie {} is sent twice.", self.name))),
        }
    }

    pub(super) fn set(&self, value: &str, lasts: TimeDelta) -> HeaderValue {
        let (name, seconds) = (&self.name, lasts.num_seconds());
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text =
            format!("{name}={value}; Path=/; Max-Age={seconds}{secure}; HttpOnly; SameSite=Lax");
        // The values of this server are base64url.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }

    pub(super) fn clear(&self) -> HeaderValue {
        self.set("", TimeDelta::zero())
    }
}

pub(in crate::identity) fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(in crate::identity) fn base_url(app: &App) -> Result<Url> {
    Url::parse(&app.settings.base_url).map_err(Error::internal)
}

/// Refuses a change that another site makes a browser send (S5): the request with a cookie must
/// come from a page of this server. Browsers state the origin of a request, and no script can forge
/// it.
pub(in crate::identity) fn refuse_other_sites(app: &App, parts: &Parts) -> Result<()> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: &str| match parts.headers.get(name) {
        None => Ok(None),
        Some(value) => value.to_str().map(Some).map_err(|_| ()),
    };
    let own = base_url(app)?.origin().ascii_serialization();
    let (site, origin) = (text("sec-fetch-site"), text("origin"));
    let is_own = match (site, origin) {
        (Ok(site), Ok(Some(origin))) => origin == own && site.is_none_or(|s| s == "same-origin"),
        (Ok(Some(site)), Ok(None)) => site == "same-origin",
        _ => false,
    };
    if is_own {
        return Ok(());
    }
    let detail = match (site, origin) {
        (_, Ok(Some(origin))) if origin != own => {
            let got = quoted(origin);
            format!(
                "`Origin` must be `{own}` (got {got}). Send the request from a page of this server."
            )
        }
        (Ok(Some(site)), _) => {
            let got = quoted(site);
            format!(
                "`Sec-Fetch-Site` must be `same-origin` (got {got}). Send the request from a page of \
                 this server."
            )
        }
        _ => format!(
            "A change with a session's cookie must come from a page of this server: send \
             `Origin: {own}`, or `Sec-Fetch-Site: same-origin`."
        ),
    };
    Err(Error::new(ProblemCode::Forbidden, detail))
}

/// Refuses to begin a session over plain http, but on the loopback interface.
pub(in crate::identity) fn require_https(app: &App) -> Result<()> {
    let base = base_url(app)?;
    let on_loopback = ["localhost", "127.0.0.1", "[::1]"].contains(&base.host_str().unwrap_or(""));
    if base.scheme() == "https" || on_loopback {
        return Ok(());
    }
    Err(Error::conflict("Logins require HTTPS. Set CP_BASE_URL to an https URL."))
}
