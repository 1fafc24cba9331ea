//! Cookies: what a browser keeps for us, and from which sites it may send it.
//!
//! # Design
//! `__Host-` binds a cookie to this host and to https (RFC 6265bis, section 4.1.3.2). A server on
//! plain http has that prefix for no cookie, and logs nobody in but on the loopback interface.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use cp_contracts::ProblemCode;
use url::Url;

use crate::kernel::app::App;
use crate::kernel::error::{Error, Result};

/// One of our cookies, by its name.
pub(super) struct Cookie {
    name: String,
    is_secure: bool,
}

impl Cookie {
    /// The session's secret.
    pub(super) fn session(app: &App) -> Result<Self> {
        Self::new(app, "cp_session")
    }

    /// What a login that has begun remembers.
    pub(super) fn login(app: &App) -> Result<Self> {
        Self::new(app, "cp_login")
    }

    fn new(app: &App, name: &str) -> Result<Self> {
        let base = base_url(app)?;
        let is_secure = base.scheme() == "https";
        let prefix = if is_secure { "__Host-" } else { "" };
        Ok(Self { name: format!("{prefix}{name}"), is_secure })
    }

    /// Its value in a request; two of them are a trick.
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
        // Our values are base64url.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }

    pub(super) fn clear(&self) -> HeaderValue {
        self.set("", TimeDelta::zero())
    }
}

pub(super) fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn base_url(app: &App) -> Result<Url> {
    Url::parse(&app.settings.base_url).map_err(Error::internal)
}

/// Refuses a change that another site makes a browser send (S5): what a cookie vouches for must
/// come from a page of our own. Browsers say where a request comes from, and no script can say it
/// for them.
pub(super) fn refuse_other_sites(app: &App, parts: &Parts) -> Result<()> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: &str| match parts.headers.get(name) {
        None => Ok(None),
        Some(value) => value.to_str().map(Some).map_err(|_| ()),
    };
    let own = base_url(app)?.origin().ascii_serialization();
    let is_own = match (text("sec-fetch-site"), text("origin")) {
        (Ok(site), Ok(Some(origin))) => origin == own && site.is_none_or(|s| s == "same-origin"),
        (Ok(Some(site)), Ok(None)) => site == "same-origin",
        _ => false,
    };
    if is_own {
        return Ok(());
    }
    let detail = "A change with a session's cookie must come from a page of this server: send \
                  Origin, or Sec-Fetch-Site: same-origin.";
    Err(Error::new(ProblemCode::Forbidden, detail))
}
