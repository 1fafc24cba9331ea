//! The token itself: one spelling, one meaning, and a signature by a key of its issuer.
//!
//! # Design
//! The order is fixed: size, shape, header, algorithm, type, key, signature, claims (RFC 8725).
//! Before the signature is verified, only `iss`, `aud`, `sub` and the organization's name are read
//! from the payload. They serve only to choose among trusted providers.
//!
//! Rejected: jsonwebtoken 11. It accepts duplicate claims, ignores `crit` and compares `exp` and
//! `nbf` with the system clock instead of the clock of the server.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::presets::texts;
use crate::kernel::http::json;

/// The longest token, in bytes.
const LONGEST: usize = 16 * 1024;
/// The longest header segment, in bytes of base64url.
const LONGEST_HEADER: usize = 2048;
/// The accepted difference of clocks.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);
/// The last second of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// Header members that change the meaning of a signature, or the source of its key.
const FORBIDDEN: [&str; 9] = ["crit", "b64", "jku", "jwk", "x5u", "x5c", "zip", "enc", "cty"];

/// The accepted algorithms. There is no symmetric one, and no `none`.
const ALGORITHMS: [&str; 11] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
];

/// Claims that only an ID token has (OpenID Connect Core 1.0, sections 2 and 3.3.2.11).
const OF_ID_TOKENS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

/// A token that is well-formed, but not verified yet.
#[derive(Debug)]
pub struct Token<'t> {
    /// The signed part of the token.
    pub message: &'t str,
    pub signature: Vec<u8>,
    pub alg: String,
    /// The key ID; absent when the issuer has only one key.
    pub kid: Option<String>,
    typ: Option<String>,
    pub claims: Map<String, Value>,
}

/// The reason of a token's refusal, for its sender. It repeats only short names from the token.
pub type Refusal = String;

impl<'t> Token<'t> {
    /// Returns whether the string has the shape of a signed JWT: opaque and encrypted tokens do
    /// not.
    pub fn is_like(text: &str) -> bool {
        text.split('.').count() == 3 && text.starts_with("ey")
    }

    /// Reads a token; the signature and claims are not checked yet.
    pub fn read(text: &'t str) -> Result<Self, Refusal> {
        if text.len() > LONGEST {
            return Err(format!("it has more than {LONGEST} bytes"));
        }
        let parts = text.rsplit_once('.').and_then(|(message, signature)| {
            let (header, payload) = message.split_once('.')?;
            Some((message, header, payload, signature))
        });
        let (message, header, payload, signature) =
            parts.ok_or("it does not have three segments joined by dots")?;
        if header.len() > LONGEST_HEADER {
            return Err(format!("its header has more than {LONGEST_HEADER} bytes"));
        }
        let mut header = object(header).map_err(|e| format!("its header {e}"))?;
        // A null member counts as absent, except `crit`, which a reader must not ignore.
        header.retain(|name, value| !value.is_null() || name == "crit");
        let text_of = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{name} in its header is not a string")),
        };
        let alg = text_of("alg")?.unwrap_or_default();
        if !ALGORITHMS.contains(&&*alg) {
            return Err(format!("its algorithm is not one of {}", ALGORITHMS.join(", ")));
        }
        if let Some(name) = FORBIDDEN.iter().find(|name| header.contains_key(**name)) {
            return Err(format!("its header has {name}, which is not allowed"));
        }
        let kid = text_of("kid")?.filter(|kid| !kid.is_empty());
        if kid.as_ref().is_some_and(|kid| kid.len() > 256) {
            return Err("kid in its header has more than 256 bytes".into());
        }
        let typ = text_of("typ")?;
        let signature = decode(signature).filter(|signature| !signature.is_empty());
        let signature = signature.ok_or("its signature is not base64url, or is missing")?;
        let mut claims = object(payload).map_err(|e| format!("its payload {e}"))?;
        claims.retain(|_, value| !value.is_null());
        Ok(Self { message, signature, alg, kid, typ, claims })
    }

    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }

    /// Returns the audiences; none when the claim is not a string or a list of strings.
    pub fn audiences(&self) -> Vec<String> {
        self.claims.get("aud").and_then(texts).unwrap_or_default()
    }

    /// Checks that the token is an access token. A license, an ID token or a logout token is none,
    /// whatever its signature (RFC 8725, section 3.12).
    pub fn check_is_access_token(&self) -> Result<(), Refusal> {
        match &*self.media_type() {
            "" | "jwt" | "at+jwt" => {}
            "license+jwt" => return Err("it is a license, not an access token".into()),
            _ => return Err("its type (typ) is not that of an access token".into()),
        }
        if let Some(name) = OF_ID_TOKENS.iter().find(|name| self.claims.contains_key(**name)) {
            return Err(format!("it is an ID token (it has {name}); send the access token"));
        }
        self.check_not_marked("events", "it is a logout token or an event")?;
        // The marks of other tokens at Keycloak and Cognito.
        for (name, others) in [
            ("typ", ["id", "refresh", "offline", "logout"]),
            ("token_use", ["id", "refresh", "offline", "logout"]),
        ] {
            let mark = self.claims.get(name).and_then(Value::as_str).unwrap_or_default();
            if others.contains(&&*mark.to_ascii_lowercase()) {
                return Err(format!("it is not an access token according to its {name}"));
            }
        }
        Ok(())
    }

    /// Checks that the token is an ID token for this client, and of this very login (OpenID Connect
    /// Core 1.0, section 3.1.3.7).
    pub fn check_is_id_token(&self, client_id: &str, nonce: &str) -> Result<(), Refusal> {
        if !matches!(&*self.media_type(), "" | "jwt") {
            return Err("its type (typ) is not that of an ID token".into());
        }
        self.check_not_marked("events", "it is a logout token or an event")?;
        let audiences = self.audiences();
        if !audiences.iter().any(|audience| audience == client_id) {
            return Err(format!("its audience is not the client {}", quoted(client_id)));
        }
        match self.claims.get("azp") {
            None if audiences.len() == 1 => {}
            Some(Value::String(azp)) if azp == client_id => {}
            _ => return Err("it was issued to another client (azp)".into()),
        }
        if self.claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
            return Err("its nonce is not that of this login".into());
        }
        Ok(())
    }

    fn check_not_marked(&self, name: &str, refusal: &str) -> Result<(), Refusal> {
        if self.claims.contains_key(name) { Err(refusal.to_owned()) } else { Ok(()) }
    }

    /// Returns the type without the optional prefix of media types (RFC 7515, section 4.1.9).
    fn media_type(&self) -> String {
        let typ = self.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
        typ.strip_prefix("application/").unwrap_or(&typ).to_owned()
    }

    /// Checks the times of the token, and returns its end.
    pub fn check_times(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, Refusal> {
        let exp = self.time("exp")?.ok_or("it has no exp")?;
        let iat = self.time("iat")?.ok_or("it has no iat")?;
        let nbf = self.time("nbf")?.unwrap_or(iat);
        if now >= exp + LEEWAY {
            return Err("it has expired (exp). Log in again".into());
        }
        if now + LEEWAY < nbf.max(iat) {
            return Err("it is not valid yet (nbf, iat). Compare the clocks".into());
        }
        if exp < iat || exp <= nbf {
            return Err("its end (exp) is before its beginning".into());
        }
        Ok(exp)
    }

    /// Returns a NumericDate, which may have a fraction (RFC 7519, section 2), cut to microseconds.
    fn time(&self, name: &str) -> Result<Option<DateTime<Utc>>, Refusal> {
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        let whole = value.as_i64().filter(|at| (0..=LAST_SECOND).contains(at));
        let micros = whole.map(|at| at * 1_000_000).or_else(|| {
            let at = value.as_f64().filter(|_| !value.is_i64());
            let at = at.filter(|at| (0.0..LAST_SECOND as f64 + 1.0).contains(at))?;
            #[expect(clippy::cast_possible_truncation, reason = "the range is checked above")]
            let micros = (at * 1e6) as i64;
            Some(micros)
        });
        let at = micros.and_then(DateTime::from_timestamp_micros);
        at.map(Some)
            .ok_or_else(|| format!("its {name} is not a number of seconds from 1970 to 9999"))
    }
}

/// Reads a segment that is a JSON object, strictly.
fn object(segment: &str) -> Result<Map<String, Value>, Refusal> {
    let bytes = decode(segment).ok_or("is not canonical base64url")?;
    match json::strict(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err("is not a JSON object".into()),
        Err(error) => Err(format!("is not valid JSON: {error}")),
    }
}

/// Decodes base64url without padding, white space or other spellings of the same bytes (RFC 4648,
/// sections 3.5 and 5).
pub fn decode(segment: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(segment).ok()
}

pub use crate::kernel::text::quoted;
