//! An issuer that signs whatever it is asked to.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dp_verifier::{ErrorCode, LicenseContext, Verifier, VerifyError};
use serde_json::{Map, Value, json};

pub(crate) const ISSUER: &str = "https://cp.example";
pub(crate) const AUDIENCE: &str = "data-plane";
/// The time of all tests, in the middle of the golden license.
pub(crate) const NOW: i64 = 1_768_000_000;

/// Two keys for all tests: making one takes a while.
pub(crate) static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("key-1"));
pub(crate) static OTHER_KEY: LazyLock<Key> = LazyLock::new(|| Key::new("key-2"));

static VERIFIER: LazyLock<Verifier> =
    LazyLock::new(|| verifier(&json!({ "keys": [KEY.jwk(), OTHER_KEY.jwk()] })));

pub(crate) struct Key {
    pub(crate) kid: &'static str,
    pair: KeyPair,
}

impl Key {
    pub(crate) fn new(kid: &'static str) -> Self {
        Self { kid, pair: KeyPair::generate(KeySize::Rsa2048).unwrap() }
    }

    pub(crate) fn n(&self) -> Vec<u8> {
        self.pair.public_key().modulus().big_endian_without_leading_zero().to_vec()
    }

    pub(crate) fn jwk(&self) -> Value {
        json!({
            "kty": "RSA", "n": base64url(self.n()), "e": "AQAB",
            "alg": "RS256", "use": "sig", "kid": self.kid,
        })
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": "RS256", "typ": "license+jwt", "kid": self.kid })
    }

    /// Signs any bytes as header and payload.
    pub(crate) fn sign(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let message = format!("{}.{}", base64url(header), base64url(payload));
        let signature = self.signature(&message);
        format!("{message}.{}", base64url(signature))
    }

    pub(crate) fn signature(&self, message: &str) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
        signature
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(self.header().to_string(), claims.to_string())
    }
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The claims of the golden license, which begins 774,400 s before [`NOW`], without its grace.
pub(crate) fn claims() -> Value {
    let text = include_str!("../../../cp-contracts/golden/2.5.0/license_claims.json");
    let mut claims: Value = serde_json::from_str(text).unwrap();
    claims["enforcement"]["grace_seconds"] = json!(0);
    claims
}

/// The golden claims, with the value at a JSON pointer replaced, or removed.
pub(crate) fn claims_with(pointer: &str, value: impl Into<Option<Value>>) -> Value {
    let mut claims = claims();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let members: &mut Map<String, Value> =
        claims.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    claims
}

pub(crate) fn verifier(jwks: &Value) -> Verifier {
    Verifier::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .jwks(jwks.to_string())
        .clock(|| NOW)
        .build()
        .unwrap()
}

pub(crate) fn verify(token: &str) -> Result<LicenseContext, VerifyError> {
    VERIFIER.verify(token)
}

/// Verifies a payload under the good header, at [`NOW`].
pub(crate) fn verify_payload(payload: impl AsRef<[u8]>) -> Result<LicenseContext, VerifyError> {
    verify(&KEY.sign(KEY.header().to_string(), payload))
}

pub(crate) fn verify_claims(claims: &Value) -> Result<LicenseContext, VerifyError> {
    verify_payload(claims.to_string())
}

/// Verifies the golden claims under a header, at [`NOW`].
pub(crate) fn verify_header(header: impl AsRef<[u8]>) -> Result<LicenseContext, VerifyError> {
    verify(&KEY.sign(header, claims().to_string()))
}

/// The good header with a member replaced, or removed.
pub(crate) fn header_with(name: &str, value: impl Into<Option<Value>>) -> String {
    let mut header = KEY.header();
    let members = header.as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    header.to_string()
}

#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(result: Result<T, VerifyError>, code: ErrorCode) {
    match result {
        Ok(accepted) => panic!("expected {code}, but accepted {accepted:?}"),
        Err(refused) => assert_eq!(refused.code(), code, "{refused}"),
    }
}
