//! Vectors of key sets.

use dp_verifier::ErrorCode::{KeysUnavailable, KidUnknown};
use dp_verifier::LicenseState::Valid;
use serde_json::{Value, json};

use super::documents::with;
use super::vector::Vector;
use crate::support::*;

/// An odd modulus of this many bits.
fn modulus(bits: usize) -> Value {
    let mut octets = vec![0xa5; bits / 8];
    octets[0] = 0x80;
    *octets.last_mut().unwrap() |= 1;
    json!(base64url(octets))
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = refused_sets();
    all.extend(ignored_keys());
    all.extend(replaced_keys());
    all
}

fn refused_sets() -> Vec<Vector> {
    let jwk = |name: &str, value: Value| with(KEY.jwk(), name, value);
    let bad = [
        ("a_duplicate_kid", json!([KEY.jwk(), with(OTHER_KEY.jwk(), "kid", json!("key-1"))])),
        ("a_private_member", json!([OTHER_KEY.jwk(), jwk("d", json!("AQAB"))])),
        ("a_symmetric_key", json!([KEY.jwk(), { "kty": "oct", "kid": "mac", "k": "AQAB" }])),
        ("a_key_of_1024_bits", json!([OTHER_KEY.jwk(), jwk("n", modulus(1_024))])),
        ("an_even_exponent", json!([OTHER_KEY.jwk(), jwk("e", json!("AQAA"))])),
        ("an_exponent_of_3", json!([OTHER_KEY.jwk(), jwk("e", json!("Aw"))])),
        ("a_key_without_kid", json!([with(KEY.jwk(), "kid", None)])),
        ("a_modulus_with_padding", json!([jwk("n", json!(format!("{}=", base64url(KEY.n()))))])),
    ];
    let vector = |(name, keys): (&str, Value)| {
        Vector::new(&format!("key_set_with_{name}_is_refused"), "")
            .set("jwks", json!({ "keys": keys }))
            .refuses_settings(None)
    };
    let mut all: Vec<_> = bad.into_iter().map(vector).collect();
    // As a string, because a JSON reader of the suite would drop one of the members.
    all.push(
        Vector::new(
            "key_set_with_duplicate_members_is_refused",
            "A string is the text of the set.",
        )
        .set("jwks", r#"{"keys":[],"keys":[]}"#)
        .refuses_settings(None),
    );
    all
}

fn ignored_keys() -> Vec<Vector> {
    let jwk = |name: &str, value: Value| with(KEY.jwk(), name, value);
    let others = [
        ("another_type", json!({ "kty": "EC", "crv": "P-256", "x": "", "y": "", "kid": "key-1" })),
        ("another_algorithm", jwk("alg", json!("RS512"))),
        ("encryption", jwk("use", json!("enc"))),
        ("other_operations", jwk("key_ops", json!(["sign"]))),
    ];
    let vector = |(name, key): (&str, Value)| {
        Vector::new(&format!("key_for_{name}_is_ignored"), "")
            .set("jwks", json!({ "keys": [key, OTHER_KEY.jwk()] }))
            .refuses(KEY.token(&claims()), KidUnknown)
            .admits(OTHER_KEY.token(&claims()), Valid)
    };
    let mut all: Vec<_> = others.into_iter().map(vector).collect();
    all.push(
        Vector::new("key_without_alg_and_use_is_used", "")
            .set("jwks", json!({ "keys": [with(with(KEY.jwk(), "alg", None), "use", None)] }))
            .admits(KEY.token(&claims()), Valid),
    );
    all
}

fn replaced_keys() -> Vec<Vector> {
    let replace = |vector: Vector, keys: Value| {
        vector.step("replace_keys", json!({ "jwks": { "keys": keys } }), json!({ "ok": true }))
    };
    let cached =
        Vector::new("cached_token_ends_with_its_key", "").admits(KEY.token(&claims()), Valid);
    vec![
        replace(cached, json!([OTHER_KEY.jwk()]))
            .refuses(KEY.token(&claims()), KidUnknown)
            .admits(OTHER_KEY.token(&claims()), Valid),
        Vector::new("empty_key_set_knows_no_key", "")
            .set("jwks", json!({ "keys": [] }))
            .refuses(KEY.token(&claims()), KidUnknown),
        Vector::new(
            "unreachable_keys_are_unavailable",
            "The verifier is built, and refuses every token.",
        )
        .without("jwks")
        .set("jwks_url", "http://127.0.0.1:1/jwks.json")
        .refuses(KEY.token(&claims()), KeysUnavailable),
        Vector::new("missing_keys_are_refused", "").without("jwks").refuses_settings(None),
        Vector::new("empty_issuer_is_refused", "").set("issuer", "").refuses_settings(None),
        Vector::new("empty_audience_is_refused", "").set("audience", "").refuses_settings(None),
    ]
}
