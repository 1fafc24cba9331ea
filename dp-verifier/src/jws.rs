//! The signature layer: a compact JWS (RFC 7515) of one kind, and the key that its header names.

use std::borrow::Cow;

use cp_contracts::{
    LEASE_TOKEN_MAX_BYTES, LEASE_TOKEN_TYP, LICENSE_FILE_TYP, LICENSE_TOKEN_ALG, LICENSE_TOKEN_TYP,
    SIGNING_KEY_TYP, STATUS_LIST_TYP,
};
use serde_json::{Map, Value};

use crate::ErrorCode::{
    AlgNotAllowed, KidMissing, SignatureInvalid, TokenMalformed, TokenMissing, TokenTooLarge,
    TypWrong,
};
use crate::VerifyError;
use crate::base64url::decode;
use crate::error::quoted;
use crate::json::{Fault, Read, Reader, document, keep, keep_unknown};
use crate::keys::SigningKey;

/// The maximum length of a license token, in bytes. Issuers stay under 6 KiB.
pub(crate) const MAX_TOKEN: usize = 16 * 1024;

/// The maximum length of the header segment, in bytes of base64url.
const MAX_HEADER: usize = 1024;

/// Header members that change the meaning of a signature or the source of its key. Issuers never
/// write them, and a reader that honoured one could be misled (RFC 8725 §3.10).
const FORBIDDEN: [&str; 11] =
    ["crit", "b64", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "zip", "enc", "cty"];

/// A kind of signed document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The `typ` that the header must have. `None` accepts every JWS, for test vectors.
    typ: Option<&'static str>,
    /// The maximum length of the text, in bytes.
    pub(crate) max: usize,
}

impl Kind {
    pub(crate) const LICENSE: Self = Self::of(LICENSE_TOKEN_TYP, MAX_TOKEN);
    pub(crate) const LEASE: Self = Self::of(LEASE_TOKEN_TYP, LEASE_TOKEN_MAX_BYTES);
    pub(crate) const STATUS_LIST: Self = Self::of(STATUS_LIST_TYP, 1024 * 1024);
    pub(crate) const LICENSE_FILE: Self = Self::of(LICENSE_FILE_TYP, 512 * 1024);
    pub(crate) const SIGNING_KEY: Self = Self::of(SIGNING_KEY_TYP, 8 * 1024);

    const fn of(typ: &'static str, max: usize) -> Self {
        Self { typ: Some(typ), max }
    }

    #[cfg(test)]
    pub(crate) const ANY: Self = Self { typ: None, max: MAX_TOKEN };
}

/// Checks everything about a token that does not depend on its claims. Returns the payload.
///
/// The order is fixed: size, shape, header, `alg`, `typ`, forbidden members, `kid`, key, signature.
/// The function calls `key_of` only after all previous checks.
pub(crate) fn open<'k>(
    token: &str,
    kind: Kind,
    key_of: impl FnOnce(&str) -> Result<&'k SigningKey, VerifyError>,
) -> Result<Vec<u8>, VerifyError> {
    let malformed = |detail: &'static str| VerifyError::new(TokenMalformed, detail);
    if token.is_empty() {
        return Err(VerifyError::new(TokenMissing, "the token is missing"));
    }
    if token.len() > kind.max {
        let detail = format!("the text has more than {} bytes", kind.max);
        return Err(VerifyError::new(TokenTooLarge, detail));
    }
    let parts = token.rsplit_once('.').and_then(|(message, signature)| {
        let (header, payload) = message.split_once('.')?;
        Some((message, header, payload, signature))
    });
    let Some((message, header, payload, signature)) = parts else {
        return Err(malformed("the token must be three segments joined by dots"));
    };
    let may_be_empty = kind.typ.is_none();
    if header.is_empty() || signature.is_empty() || (payload.is_empty() && !may_be_empty) {
        return Err(malformed("the token has an empty segment"));
    }
    if header.len() > MAX_HEADER {
        let detail = format!("the header has more than {MAX_HEADER} bytes");
        return Err(VerifyError::new(TokenTooLarge, detail));
    }
    let [header, payload, signature] = [header, payload, signature].map(decode);
    let (Some(header), Some(payload), Some(signature)) = (header, payload, signature) else {
        return Err(malformed("the token is not canonical base64url"));
    };
    let header: Header = document(&header)
        .map_err(|fault| VerifyError::new(TokenMalformed, format!("header: {fault}")))?;
    let kid = header.kid_of(kind)?;
    let key = key_of(kid)?;
    if !key.key.verifies(message.as_bytes(), &signature) {
        let detail = format!("the signature is not by key {} over this text", quoted(kid));
        return Err(VerifyError::new(SignatureInvalid, detail));
    }
    Ok(payload)
}

/// Returns the payload of an unchecked JWS, for documents that bring the keys to check them by. The
/// caller must call [`open`] before it uses the content.
pub(crate) fn unchecked_payload(text: &str) -> Result<Vec<u8>, VerifyError> {
    let mut segments = text.split('.').map(decode);
    match (segments.next(), segments.next(), segments.next(), segments.next()) {
        (Some(Some(_)), Some(Some(payload)), Some(Some(_)), None) => Ok(payload),
        _ => Err(VerifyError::new(TokenMalformed, "the text must be three segments of base64url")),
    }
}

/// The members of the header. A member of a wrong type counts as unusable.
struct Header<'a> {
    alg: Option<Member<'a>>,
    typ: Option<Member<'a>>,
    kid: Option<Member<'a>>,
    others: Map<String, Value>,
}

impl Header<'_> {
    fn kid_of(&self, kind: Kind) -> Result<&str, VerifyError> {
        match text(&self.alg) {
            Some(LICENSE_TOKEN_ALG) => {}
            Some(other) => {
                let detail = format!("alg is {}, not RS256", quoted(other));
                return Err(VerifyError::new(AlgNotAllowed, detail));
            }
            None => return Err(VerifyError::new(AlgNotAllowed, "alg is not a string")),
        }
        match (kind.typ, text(&self.typ)) {
            (None, _) => {}
            (Some(expected), Some(typ)) if is_type(typ, expected) => {}
            (Some(expected), Some(typ)) => {
                let detail = format!("typ is {}, not {expected}", quoted(typ));
                return Err(VerifyError::new(TypWrong, detail));
            }
            (Some(_), None) => return Err(VerifyError::new(TypWrong, "typ is not a string")),
        }
        if let Some(name) = FORBIDDEN.iter().find(|name| self.others.contains_key(**name)) {
            let detail = format!("the header has {name}, which is not allowed");
            return Err(VerifyError::new(TokenMalformed, detail));
        }
        text(&self.kid)
            .filter(|kid| !kid.is_empty())
            .ok_or_else(|| VerifyError::new(KidMissing, "the header names no key"))
    }
}

/// Compares media types, ignoring case. The prefix `application/` may be absent (RFC 7515 §4.1.9).
fn is_type(typ: &str, expected: &str) -> bool {
    const PREFIX: &str = "application/";
    let short = match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => typ,
    };
    short.eq_ignore_ascii_case(expected)
}

enum Member<'a> {
    Text(Cow<'a, str>),
    Other,
}

fn text<'h>(member: &'h Option<Member<'_>>) -> Option<&'h str> {
    match member {
        Some(Member::Text(text)) => Some(text),
        Some(Member::Other) | None => None,
    }
}

impl<'a> Read<'a> for Member<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        if reader.at_string() {
            return reader.string().map(Self::Text);
        }
        Value::read(reader).map(|_| Self::Other)
    }
}

impl<'a> Read<'a> for Header<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let mut header = Header { alg: None, typ: None, kid: None, others: Map::new() };
        reader.object(|reader, name| match &*name {
            "alg" => keep(reader, "alg", &mut header.alg),
            "typ" => keep(reader, "typ", &mut header.typ),
            "kid" => keep(reader, "kid", &mut header.kid),
            _ => keep_unknown(reader, name, &mut header.others),
        })?;
        Ok(header)
    }
}

#[cfg(test)]
mod tests;
