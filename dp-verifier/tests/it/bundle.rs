//! Bundle files: a token together with the keys that it is checked with.

use std::fs;

use dp_verifier::ErrorCode::KidUnknown;
use dp_verifier::{BuildError, Verifier, VerifierBuilder};
use serde_json::{Value, json};

use crate::support::*;

fn builder() -> VerifierBuilder {
    Verifier::builder().issuer(ISSUER).audience(AUDIENCE).clock(|| NOW)
}

fn build(text: impl AsRef<[u8]>) -> Result<Verifier, BuildError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("license.json");
    fs::write(&path, text).unwrap();
    builder().bundle_file(&path).build()
}

fn bundle() -> Value {
    json!({
        "token": KEY.token(&claims()), "jwks": { "keys": [KEY.jwk()] },
        "issued_at": "2026-01-01T00:00:00Z", "later": [1],
    })
}

#[test]
fn a_bundle_has_a_token_and_its_keys() {
    let verifier = build(bundle().to_string()).unwrap();
    let token = verifier.bundled_token().unwrap();
    assert_eq!(verifier.verify(token).unwrap().seat_cap(), 50);
    let only_keys = build(json!({ "jwks": { "keys": [KEY.jwk()] } }).to_string()).unwrap();
    assert_eq!(only_keys.bundled_token(), None);
    only_keys.verify(token).unwrap();
}

#[test]
fn pinned_keys_win_over_the_file_s_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("license.json");
    let pinned = json!({ "keys": [OTHER_KEY.jwk()] }).to_string();
    // Not even its faults matter.
    for jwks in [json!({ "keys": [KEY.jwk()] }), json!(null), json!({ "keys": [{ "d": "" }] })] {
        let mut bundle = bundle();
        bundle["jwks"] = jwks;
        fs::write(&path, bundle.to_string()).unwrap();
        let first = builder().bundle_file(&path).jwks(pinned.as_str()).build().unwrap();
        let last = builder().jwks(pinned.as_str()).bundle_file(&path).build().unwrap();
        for verifier in [first, last] {
            let token = verifier.bundled_token().unwrap();
            assert_refused(verifier.verify(token), KidUnknown);
        }
    }
}

#[test]
fn v11_the_keys_of_a_bundle_are_judged_like_any_others() {
    let mut private = KEY.jwk();
    private["d"] = json!("AQAB");
    for jwks in [
        json!({ "keys": [KEY.jwk(), KEY.jwk()] }),
        json!({ "keys": [private] }),
        json!({ "keys": {} }),
        json!({}),
        json!([]),
        json!(null),
        json!("{}"),
    ] {
        let mut bundle = bundle();
        bundle["jwks"] = jwks.clone();
        let refused = build(bundle.to_string()).unwrap_err();
        assert!(matches!(refused, BuildError::KeySet(_)), "{jwks}: {refused}");
    }
}

#[test]
fn a_file_that_is_no_bundle_is_refused_in_words() {
    let large = format!("{{\"later\":\"{}\"}}", "x".repeat(256 * 1024));
    for text in ["", "[]", "{", "{}{}", r#"{"token":[]}"#, r#"{"token":"a","token":"b"}"#, &large] {
        let refused = build(text).unwrap_err();
        assert!(matches!(refused, BuildError::BundleFile { .. }), "{refused}");
        assert!(refused.to_string().contains("license.json cannot be used: "), "{refused}");
    }
    let absent = builder().bundle_file("/does/not/exist").build().unwrap_err();
    assert!(matches!(absent, BuildError::BundleFile { .. }), "{absent}");
}
