//! Whatever we accept, jsonwebtoken accepts: a second reader with other authors.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::support::*;

fn peer_accepts(token: &str) -> bool {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    // It has no clock to set; times are compared in tests of our own.
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    let jwk = KEY.jwk();
    let key =
        DecodingKey::from_rsa_components(jwk["n"].as_str().unwrap(), jwk["e"].as_str().unwrap());
    jsonwebtoken::decode::<Value>(token, &key.unwrap(), &validation).is_ok()
}

#[test]
fn a_good_token_is_good_to_both() {
    let token = KEY.token(&claims());
    verify(&token).unwrap();
    assert!(peer_accepts(&token));
}

#[test]
fn accepted_token_is_accepted_by_jsonwebtoken() {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(NOW),
        json!(""),
        json!("https://cp.example"),
        json!("data-plane"),
        json!([]),
        json!(["data-plane"]),
        json!({}),
        json!("018f2a00-0000-7000-8000-000000000003"),
        json!("2.0.0"),
    ];
    let pointers = [
        "/iss",
        "/aud",
        "/sub",
        "/jti",
        "/iat",
        "/nbf",
        "/exp",
        "/license",
        "/status",
        "/enforcement",
        "/contract",
        "/license/seat_cap",
        "/license/features",
        "/license/plan",
        "/license/deployment/id",
        "/later",
    ];
    let mut accepted = 0;
    for pointer in pointers {
        for value in values.iter().cloned().map(Some).chain([None]) {
            let token = KEY.token(&claims_with(pointer, value));
            if verify(&token).is_ok() {
                assert!(peer_accepts(&token), "{pointer}");
                accepted += 1;
            }
        }
    }
    for name in ["alg", "typ", "kid", "crit", "b64", "cty", "later"] {
        for value in values.iter().cloned().map(Some).chain([None]) {
            let token = KEY.sign(header_with(name, value), claims().to_string());
            if verify(&token).is_ok() {
                assert!(peer_accepts(&token), "{name}");
                accepted += 1;
            }
        }
    }
    assert!(accepted > 40, "{accepted} accepted: the comparison has lost its point");
}
