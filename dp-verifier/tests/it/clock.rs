//! V14: a clock that was set back revives nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use dp_verifier::ErrorCode::Expired;
use dp_verifier::{Verifier, VerifierBuilder};
use serde_json::json;

use crate::support::*;

fn builder(clock: &Arc<AtomicI64>) -> VerifierBuilder {
    let clock = Arc::clone(clock);
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE);
    builder.jwks(json!({ "keys": [KEY.jwk()] }).to_string()).clock(move || clock.load(Relaxed))
}

fn token(iat: i64, exp: i64) -> String {
    let mut claims = claims();
    (claims["iat"], claims["nbf"], claims["exp"]) = (json!(iat), json!(iat), json!(exp));
    KEY.token(&claims)
}

#[test]
fn v14_a_clock_behind_the_evidence_is_not_believed() {
    let clock = Arc::new(AtomicI64::new(10_000));
    let verifier = builder(&clock).build().unwrap();
    let (old, new) = (token(1_000, 5_000), token(9_000, 20_000));
    assert_refused(verifier.verify(&old), Expired);
    // Nothing is known yet that refutes the clock.
    clock.store(4_000, Relaxed);
    verifier.verify(&old).unwrap();
    assert!(!verifier.clock_is_behind());
    clock.store(10_000, Relaxed);
    verifier.verify(&new).unwrap();
    assert_eq!(verifier.time_floor(), 9_000);
    clock.store(4_000, Relaxed);
    assert!(verifier.clock_is_behind());
    assert_refused(verifier.verify(&old), Expired);
    verifier.verify(&new).unwrap();
    // A few minutes are not worth mentioning.
    clock.store(8_700, Relaxed);
    assert!(!verifier.clock_is_behind());
    clock.store(8_699, Relaxed);
    assert!(verifier.clock_is_behind());
}

#[test]
fn v14_the_floor_survives_a_restart_with_the_app_s_help() {
    let clock = Arc::new(AtomicI64::new(4_000));
    let old = token(1_000, 5_000);
    builder(&clock).build().unwrap().verify(&old).unwrap();
    let restarted = builder(&clock).time_floor(9_000).build().unwrap();
    assert_refused(restarted.verify(&old), Expired);
}

#[test]
fn v14_a_clock_that_was_ahead_for_a_moment_harms_nothing() {
    let clock = Arc::new(AtomicI64::new(i64::MAX));
    let verifier = builder(&clock).build().unwrap();
    let good = token(1_000, 20_000);
    assert_refused(verifier.verify(&good), Expired);
    clock.store(10_000, Relaxed);
    verifier.verify(&good).unwrap();
    clock.store(i64::MIN, Relaxed);
    verifier.verify(&good).unwrap();
    assert!(verifier.clock_is_behind());
}
