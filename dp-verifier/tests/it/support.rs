//! An issuer that signs whatever it is asked to.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dp_verifier::cp_contracts::{LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES, StatusList};
use dp_verifier::{ErrorCode, ImportError, LicenseContext, Verifier, VerifyError};
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

    /// Signs a document of another kind.
    pub(crate) fn signed(&self, typ: &str, claims: &Value) -> String {
        let header = json!({ "alg": "RS256", "typ": typ, "kid": self.kid });
        self.sign(header.to_string(), claims.to_string())
    }

    pub(crate) fn list(&self, claims: &Value) -> String {
        self.signed("statuslist+jwt", claims)
    }

    pub(crate) fn file(&self, claims: &Value) -> String {
        self.signed("license-file+jwt", claims)
    }

    /// Vouches for another key.
    pub(crate) fn endorse(&self, other: &Self) -> String {
        let claims = json!({ "iss": ISSUER, "iat": NOW, "jwk": other.jwk() });
        self.signed("signing-key+jwt", &claims)
    }
}

/// Where the golden license's status is found.
pub(crate) const LIST: &str = "https://cp.example/api/v1/status-lists/1";
pub(crate) const IDX: u64 = 4_711;

/// A status list of a day, made at `iat`, in which the golden license has this status.
pub(crate) fn list_claims(iat: i64, status: u8) -> Value {
    let mut list = StatusList::new(LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES);
    list.set(IDX, status.into()).unwrap();
    json!({
        "sub": LIST, "iat": iat, "exp": iat + 86_400, "ttl": 300, "status_list": list.to_claim(),
    })
}

/// A license file of the golden license with this number, without a token.
pub(crate) fn file_claims(seq: i64, keys: &[&Key]) -> Value {
    let claims = claims();
    json!({
        "iss": ISSUER, "sub": claims["sub"], "license_id": claims["license"]["license_id"],
        "seq": seq, "iat": NOW - 100 + seq, "contract": "2.6.0",
        "jwks": { "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() },
    })
}

/// The golden claims with this rule for what happens without a recent status list.
pub(crate) fn claims_on_stale(on_stale: &str) -> Value {
    let rule = json!({ "status_max_age": 3_600, "on_stale": on_stale, "grace_seconds": 0 });
    claims_with("/enforcement", rule)
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The claims of the golden license, which begins 774,400 s before [`NOW`], without its grace, and
/// good whether or not its status is known.
pub(crate) fn claims() -> Value {
    let text = include_str!("../../../cp-contracts/golden/2.6.0/license_claims.json");
    let mut claims: Value = serde_json::from_str(text).unwrap();
    claims["enforcement"]["grace_seconds"] = json!(0);
    claims["enforcement"]["on_stale"] = json!("allow");
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

#[track_caller]
pub(crate) fn assert_not_taken<T: std::fmt::Debug>(
    result: Result<T, ImportError>,
    code: ErrorCode,
) -> String {
    match result {
        Ok(taken) => panic!("expected {code}, but took {taken:?}"),
        Err(refused) => {
            assert_eq!(refused.code(), code, "{refused}");
            refused.to_string()
        }
    }
}

/// Writes a file that only its owner may read, as the state file must be.
pub(crate) fn write_private(path: &std::path::Path, text: impl AsRef<[u8]>) {
    std::fs::write(path, text).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}
