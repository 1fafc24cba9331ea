//! The health of a verifier: what an app may show to everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use dp_verifier::{HealthReason, KeySet, Verifier, VerifierBuilder};
use serde_json::{Value, json};

use crate::support::*;

fn builder(clock: &Arc<AtomicI64>) -> VerifierBuilder {
    let clock = Arc::clone(clock);
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE);
    let builder = builder.jwks(json!({ "keys": [KEY.jwk()] }).to_string());
    builder.clock(move || clock.load(Relaxed))
}

fn health(verifier: &Verifier) -> Value {
    serde_json::to_value(verifier.health()).unwrap()
}

/// The golden license in a file, with this rule for what happens without a recent status list.
fn file(claims: &Value) -> String {
    let mut file = file_claims(1, &[&KEY]);
    file["token"] = json!(KEY.token(claims));
    KEY.file(&file)
}

#[test]
fn verifier_for_tokens_of_requests_is_ready_with_keys() {
    let verifier = builder(&Arc::new(AtomicI64::new(NOW))).build().unwrap();
    assert_eq!(health(&verifier), json!({ "ready": true, "reasons": [] }));
    assert_eq!(verifier.health().http_status(), 200);
    verifier.replace_keys(KeySet::default());
    assert_eq!(health(&verifier), json!({ "ready": false, "reasons": ["keys_unavailable"] }));
    assert_eq!(verifier.health().http_status(), 503);
}

#[test]
fn status_list_has_an_age() {
    let verifier = builder(&Arc::new(AtomicI64::new(NOW))).build().unwrap();
    verifier.verify(&KEY.token(&claims_on_stale("degrade"))).unwrap();
    verifier.import_status_list(&KEY.list(&list_claims(NOW - 100, 0))).unwrap();
    assert_eq!(
        health(&verifier),
        json!({ "ready": true, "reasons": [], "status_list_age_seconds": 100 })
    );
}

#[test]
fn own_license_has_a_state_and_ages() {
    let clock = Arc::new(AtomicI64::new(NOW));
    let verifier = builder(&clock).build().unwrap();
    let claims = claims();
    verifier.import(&file(&claims)).unwrap();
    let (issued, ends) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert_eq!(
        health(&verifier),
        json!({ "ready": true, "reasons": [], "license": {
            "state": "valid",
            "token_age_seconds": NOW - issued,
            "expires_in_seconds": ends - NOW,
        }})
    );
    // An end is judged: the data plane stays ready, and shows it.
    clock.store(ends + 1_000, Relaxed);
    assert_eq!(
        health(&verifier),
        json!({ "ready": true, "reasons": ["license_refused"], "license": {
            "state": "expired", "code": "expired",
        }})
    );
    // Without keys it cannot be judged.
    verifier.replace_keys(KeySet::default());
    let found = verifier.health();
    assert_eq!(found.reasons[0], HealthReason::KeysUnavailable);
    assert!(!found.ready);
}

#[test]
fn clock_that_was_set_back_is_a_reason() {
    for is_strict in [false, true] {
        let clock = Arc::new(AtomicI64::new(NOW));
        let builder = builder(&clock);
        let builder = if is_strict { builder.strict_clock() } else { builder };
        let verifier = builder.build().unwrap();
        verifier.verify(&KEY.token(&claims())).unwrap();
        clock.store(NOW - 10_000_000, Relaxed);
        let found = verifier.health();
        assert_eq!(found.reasons, [HealthReason::ClockBehind]);
        assert_eq!(found.ready, !is_strict);
    }
}

#[cfg(feature = "fetch")]
#[test]
fn failed_check_in_is_a_reason_without_its_message() {
    let server = crate::control_plane::ControlPlane::start();
    server.issue(&KEY, &server.claims());
    let verifier = server.builder().check_in(server.check_in_url(), "cpat_token").build().unwrap();
    let found = health(&verifier);
    assert_eq!((&found["ready"], &found["reasons"]), (&json!(true), &json!([])));
    assert_eq!(
        (&found["check_in_age_seconds"], &found["license"]["state"]),
        (&json!(0), &json!("valid"))
    );
    server.set_clock(NOW + 100);
    server.set_down(true);
    verifier.check_in_now().unwrap_err();
    let found = health(&verifier);
    assert_eq!((&found["ready"], &found["reasons"]), (&json!(true), &json!(["check_in_failed"])));
    assert_eq!(found["check_in_age_seconds"], 100);
    let text = found.to_string();
    for hidden in ["cpat_token", "127.0.0.1", "http", "eyJ"] {
        assert!(!text.contains(hidden), "{text}");
    }
}
