//! Inspections: any text, judged as a license token, step by step.
//!
//! # Design
//! dp-verifier judges, with this server's keys and status list, so the answer is that of a data plane.
//! It reports one refusal. The times and the status of a genuine token are independent of each other, so
//! each is reported by itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use cp_contracts::LICENSE_FILE_TYP;
use dp_verifier::{ErrorCode, Verifier, VerifyError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::checks::{Check, CheckStatus};
use super::issuance::TokenSettings;
use super::keys::keyring::Keyring;
use super::status_lists::StatusLists;
use crate::kernel::access::caller::{CallerScope, Scope};
use crate::kernel::app::{App, Part};
use crate::kernel::clock::shown;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::journal::store;
use crate::kernel::secret::Secret;
use crate::kernel::text::Name;

crate::routes! {
    inspections:
    /// Judges any text as a license token, as a data plane does, and stores nothing.
    ///
    /// The checks are `shape`, `header`, `key`, `signature`, `claims`, `audience`, `window`, `status` and
    /// `log`. Checks after one that fails are skipped, except those of a genuine token.
    POST "/bundles/inspect" ANY => inspect as "bundles.inspect", own_transaction, unaudited, harmless;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInspection {
    /// The text to judge: a license token, or a license file with one.
    #[schemars(with = "String", length(min = 1, max = 65_536))]
    token: Secret<String>,
    /// The audience of the data plane. That of the token when absent.
    audience: Option<Name>,
}

crate::text_enum! {
    /// What an inspected text is.
    InspectedForm { Token = "token", File = "file" }
}

/// How a data plane judges a token.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Inspection {
    /// What the text is. Of a license file, its token is judged.
    form: InspectedForm,
    /// Whether a data plane accepts the token now.
    accepted: bool,
    /// Whether this server signed the token, for this audience.
    genuine: bool,
    /// The refusal of dp-verifier, such as `expired`; null when accepted.
    code: Option<&'static str>,
    /// The checks in their order.
    checks: Vec<Check>,
    /// The claims, also of a token that is not genuine; null when they cannot be read.
    claims: Option<Map<String, Value>>,
}

/// The checks of the text, in their order. Their failure ends the inspection.
const OF_THE_TEXT: [&str; 6] = ["shape", "header", "key", "signature", "claims", "audience"];
/// The checks of a genuine token.
const WINDOW: &str = "window";
const STATUS: &str = "status";
const LOG: &str = "log";

async fn inspect(cx: &mut Cx<Scope>, _: CallerScope, new: NewInspection) -> Result<Inspection> {
    let text = new.token.expose().trim();
    let contained = of_file(text);
    let token = contained.as_deref().unwrap_or(text);
    let form = if contained.is_some() { InspectedForm::File } else { InspectedForm::Token };
    let claims = claims(token);
    let own = claims.as_ref().and_then(|claims| claims.get("aud")?.as_str());
    let audience = new.audience.as_ref().map(Name::as_str).or(own);
    let audience = audience.unwrap_or(&TokenSettings::of(&cx.app).audience);
    let verdict = judge(&cx.app, token, audience, claims.as_ref(), cx.now).await?;
    let refusal = verdict.err();
    let failed = refusal.as_ref().map(|error| place(error.code()));
    let mut checks = Vec::new();
    for name in OF_THE_TEXT {
        checks.push(match (&refusal, failed) {
            (Some(error), Some(failed)) if failed == name => refused(name, error),
            (_, Some(failed)) if precedes(failed, name) => Check::skipped(name, "not checked"),
            _ => Check::ok(name, found(name, token, claims.as_ref(), audience)),
        });
    }
    let genuine = !checks.iter().any(|check| check.status != CheckStatus::Ok);
    match claims.as_ref().filter(|_| genuine) {
        Some(claims) => {
            checks.push(window(claims, refusal.as_ref(), cx.now));
            checks.push(status(claims, refusal.as_ref()));
            checks.push(log(cx, claims).await?);
        }
        None => {
            checks.extend([WINDOW, STATUS, LOG].map(|name| Check::skipped(name, "not checked")));
        }
    }
    let code = refusal.map(|error| error.code().as_str());
    Ok(Inspection { form, accepted: code.is_none(), genuine, code, checks, claims })
}

/// Judges the token with this server's keys and status list.
async fn judge(
    app: &App,
    token: &str,
    audience: &str,
    claims: Option<&Map<String, Value>>,
    now: DateTime<Utc>,
) -> Result<std::result::Result<(), VerifyError>> {
    let at = now.timestamp();
    let verifier = Verifier::builder()
        .issuer(&app.settings.base_url)
        .audience(audience)
        .jwk_set(&Keyring::of(app).published())
        .clock(move || at)
        .build()
        .map_err(Error::internal)?;
    let uri =
        claims.and_then(|claims| claims.get("status")?.get("status_list")?.get("uri")?.as_str());
    let list = uri.and_then(|uri| uri.rsplit('/').next()?.parse().ok());
    if let Some(list) = list
        && let Ok(list) = StatusLists::of(app).token(app, list).await
    {
        // A list of another time, after the clock was set back, is none.
        let _ = std::str::from_utf8(&list).map(|list| verifier.import_status_list(list).is_ok());
    }
    Ok(verifier.verify(token).map(drop))
}

/// Returns the claims of a token, which nothing vouches for yet.
fn claims(token: &str) -> Option<Map<String, Value>> {
    segment(token, 1)
}

/// Returns the token in a license file, which nothing vouches for yet.
fn of_file(text: &str) -> Option<String> {
    let is_file = segment(text, 0)?.get("typ").is_some_and(|typ| typ == LICENSE_FILE_TYP);
    let token = is_file.then(|| claims(text)?.get("token")?.as_str().map(str::to_owned));
    token.flatten()
}

fn segment(token: &str, n: usize) -> Option<Map<String, Value>> {
    let encoded = token.split('.').nth(n)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

/// Returns the check that a refusal belongs to.
fn place(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::TokenMissing | ErrorCode::TokenMalformed | ErrorCode::TokenTooLarge => "shape",
        ErrorCode::AlgNotAllowed | ErrorCode::TypWrong | ErrorCode::KidMissing => "header",
        ErrorCode::KidUnknown | ErrorCode::KeyWithdrawn | ErrorCode::KeysUnavailable => "key",
        ErrorCode::SignatureInvalid => "signature",
        ErrorCode::IssuerWrong | ErrorCode::AudienceWrong => "audience",
        ErrorCode::Expired | ErrorCode::NotYetValid | ErrorCode::ClockAnomaly => WINDOW,
        ErrorCode::Revoked | ErrorCode::Suspended | ErrorCode::StatusStale => STATUS,
        _ => "claims",
    }
}

/// Returns whether a check comes before another one. Those of a genuine token come last.
fn precedes(failed: &str, name: &str) -> bool {
    let at = |name: &str| OF_THE_TEXT.iter().position(|one| *one == name);
    match (at(failed), at(name)) {
        (Some(failed), Some(name)) => failed < name,
        _ => false,
    }
}

fn refused(name: &'static str, error: &VerifyError) -> Check {
    Check::fail(name, error.detail(), error.code().advice())
}

/// Describes a check that passed.
fn found(name: &str, token: &str, claims: Option<&Map<String, Value>>, audience: &str) -> String {
    match name {
        "shape" => format!("three segments, {} bytes", token.len()),
        "header" => "RS256, a license".to_owned(),
        "key" => "in the JWKS".to_owned(),
        "signature" => "by this key over this text".to_owned(),
        "claims" => {
            let contract = claims.and_then(|claims| claims.get("contract")?.as_str());
            contract.map_or_else(String::new, |contract| format!("contract {contract}"))
        }
        _ => format!("of this issuer, for `{audience}`"),
    }
}

fn window(claims: &Map<String, Value>, refusal: Option<&VerifyError>, now: DateTime<Utc>) -> Check {
    if let Some(error) = refusal.filter(|error| place(error.code()) == WINDOW) {
        return refused(WINDOW, error);
    }
    let end = claims.get("exp").and_then(Value::as_i64);
    let end = end.and_then(|exp| DateTime::from_timestamp(exp, 0));
    match end {
        Some(end) if end <= now => {
            Check::warn(WINDOW, format!("ended on {}", shown(end)), ErrorCode::Expired.advice())
        }
        Some(end) => Check::ok(WINDOW, format!("ends on {}", shown(end))),
        None => Check::ok(WINDOW, "without an end"),
    }
}

fn status(claims: &Map<String, Value>, refusal: Option<&VerifyError>) -> Check {
    match refusal.filter(|error| place(error.code()) == STATUS) {
        Some(error) => refused(STATUS, error),
        None if claims.contains_key("status") => Check::ok(STATUS, "neither revoked nor suspended"),
        None => Check::skipped(STATUS, "the token names no status list"),
    }
}

async fn log(cx: &mut Cx<Scope>, claims: &Map<String, Value>) -> Result<Check> {
    let jti = claims.get("jti").and_then(|jti| jti.as_str()?.parse::<Uuid>().ok());
    let event = match jti {
        Some(jti) => store::issue_of(&mut cx.tx, jti).await?,
        None => None,
    };
    Ok(match event {
        Some((_, Some(seq))) => Check::ok(LOG, format!("leaf {seq}")),
        Some((_, None)) => Check::ok(LOG, "the log follows within seconds"),
        None => Check::fail(LOG, "the log has no such token", ErrorCode::NotLogged.advice()),
    })
}
