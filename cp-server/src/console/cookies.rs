//! The cookies of the pages: the theme, the zone of times, and the notice of a change.
//!
//! None is a credential. A notice is sealed, so that no other page can write its words.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::kernel::app::App;

const PURPOSE: &str = "console notice v1";
const NOTICE: &str = "cp_notice";
const THEME: &str = "cp_theme";
const ZONE: &str = "cp_zone";
/// How long a notice waits for its page.
const LIFE: TimeDelta = TimeDelta::seconds(60);

/// One line about a change, which the next page shows.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Notice {
    pub(super) text: String,
    /// The form that reverses the change, and its title.
    pub(super) undo: Option<(String, String)>,
    until: DateTime<Utc>,
}

impl Notice {
    /// Returns the cookie of a notice.
    pub(super) fn set(app: &App, text: String, undo: Option<(String, String)>) -> HeaderValue {
        let notice = Self { text, undo, until: app.clock.now() + LIFE };
        let plain = serde_json::to_vec(&notice).unwrap_or_default();
        let sealed = URL_SAFE_NO_PAD.encode(app.kek.seal(&app.random, PURPOSE, &plain));
        cookie(app, NOTICE, &sealed, LIFE.num_seconds())
    }

    /// Returns the notice of a request, and the cookie that removes it.
    pub(super) fn take(app: &App, headers: &HeaderMap) -> Option<(Self, HeaderValue)> {
        let sealed = find(headers, NOTICE)?;
        let plain = app.kek.open(PURPOSE, &URL_SAFE_NO_PAD.decode(sealed).ok()?)?;
        let notice: Self = serde_json::from_slice(&plain).ok()?;
        let is_current = notice.until > app.clock.now();
        is_current.then(|| (notice, cookie(app, NOTICE, "", 0)))
    }
}

/// Returns the theme of a request: `light` or `dark`; by default, that of the system.
pub(super) fn theme(headers: &HeaderMap) -> Option<&'static str> {
    let chosen = find(headers, THEME)?;
    ["light", "dark"].into_iter().find(|known| *known == chosen)
}

pub(super) fn set_theme(app: &App, theme: &str) -> HeaderValue {
    match theme {
        "light" | "dark" => cookie(app, THEME, theme, 400 * 86_400),
        _ => cookie(app, THEME, "", 0),
    }
}

/// Returns the zone in which the script shows times: a name of the time zone database, or `browser`.
pub(super) fn zone(headers: &HeaderMap) -> Option<String> {
    find(headers, ZONE).filter(|zone| is_zone(zone)).map(str::to_owned)
}

pub(super) fn set_zone(app: &App, zone: &str) -> HeaderValue {
    match is_zone(zone) {
        true => cookie(app, ZONE, zone, 400 * 86_400),
        false => cookie(app, ZONE, "", 0),
    }
}

/// Whether a text may name a zone, such as `America/Argentina/Buenos_Aires` or `Etc/GMT+5`.
fn is_zone(zone: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
    !zone.is_empty() && zone.len() <= 64 && zone.chars().all(is_part)
}

fn cookie(app: &App, name: &str, value: &str, seconds: i64) -> HeaderValue {
    let path = match app.settings.base_path() {
        "" => "/",
        base => base,
    };
    let secure = if app.settings.base_url.starts_with("https:") { "; Secure" } else { "" };
    let text =
        format!("{name}={value}; Path={path}; Max-Age={seconds}{secure}; HttpOnly; SameSite=Lax");
    // The values are base64url and words of this file.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

fn find<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|one| one.split_once('='));
    pairs.find(|(known, _)| known.trim() == name).map(|(_, value)| value.trim())
}
