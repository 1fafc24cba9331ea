//! V14: a clock that was set back revives nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use dp_verifier::ErrorCode::{ClockAnomaly, Expired, SignatureInvalid};
use dp_verifier::{BuildError, LicenseState, Verifier, VerifierBuilder};
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
fn a_clock_behind_the_evidence_is_not_believed() {
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
fn the_floor_survives_a_restart_with_the_app_s_help() {
    let clock = Arc::new(AtomicI64::new(4_000));
    let old = token(1_000, 5_000);
    builder(&clock).build().unwrap().verify(&old).unwrap();
    let restarted = builder(&clock).time_floor(9_000).build().unwrap();
    assert_refused(restarted.verify(&old), Expired);
}

#[test]
fn a_clock_that_was_ahead_for_a_moment_harms_nothing() {
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

#[test]
fn impossible_clock_is_reported_and_refused_in_strict_mode() {
    let clock = Arc::new(AtomicI64::new(10_000));
    let lenient = builder(&clock).time_floor(9_000).build().unwrap();
    let strict = builder(&clock).time_floor(9_000).strict_clock().build().unwrap();
    let (good, over) = (token(1_000, 20_000), token(1_000, 5_000));
    // Twice, for the cache.
    for _ in 0..2 {
        for (now, is_believed) in [(10_000, true), (8_700, true), (8_699, false), (0, false)] {
            clock.store(now, Relaxed);
            let state = lenient.verify(&good).unwrap().state();
            assert_eq!(state == LicenseState::ClockAnomaly, !is_believed, "{now}");
            match is_believed {
                true => assert_eq!(strict.verify(&good).unwrap().state(), state),
                false => assert_refused(strict.verify(&good), ClockAnomaly),
            }
            // What is wrong whatever the time is keeps its own code.
            assert_refused(strict.verify(&over), Expired);
            let forgery = format!("{}{}", &good[..good.len() - 4], "AAAA");
            assert_refused(strict.verify(&forgery), SignatureInvalid);
        }
    }
}

#[test]
fn the_floor_is_kept_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clock.json");
    let clock = Arc::new(AtomicI64::new(10_000));
    let kept = || builder(&clock).state_path(&path).build();
    let (old, new) = (token(1_000, 5_000), token(9_000, 20_000));
    let first = kept().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"{"time_floor":0}"#);
    first.verify(&new).unwrap();
    assert_eq!(first.state_error(), None);
    drop(first);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"{"time_floor":9000}"#);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    clock.store(4_000, Relaxed);
    let second = kept().unwrap();
    assert_eq!(second.time_floor(), 9_000);
    assert_refused(second.verify(&old), Expired);
    assert_eq!(second.verify(&new).unwrap().state(), LicenseState::ClockAnomaly);
    // The app may know better than the file, and the file better than the app.
    let later = builder(&clock).state_path(&path).time_floor(12_000).build().unwrap();
    assert_eq!(later.time_floor(), 12_000);
    let earlier = builder(&clock).state_path(&path).time_floor(1).build().unwrap();
    assert_eq!(earlier.time_floor(), 12_000);
}

#[test]
fn unusable_state_file_is_an_error_of_build() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clock.json");
    let clock = Arc::new(AtomicI64::new(10_000));
    for text in [
        "",
        "9000",
        "{}",
        "\0\0\0\0",
        r#"{"time_floor":9000"#,
        r#"{"time_floor":"9000"}"#,
        r#"{"time_floor":9000.0}"#,
        r#"{"time_floor":-1}"#,
        r#"{"time_floor":253402300800}"#,
        r#"{"time_floor":9000,"time_floor":1}"#,
        r#"{"time_floor":9000,"later":1}"#,
    ] {
        write_private(&path, text);
        let error = builder(&clock).state_path(&path).build().unwrap_err();
        assert!(matches!(error, BuildError::StateFile { .. }), "{text}: {error}");
        let words = error.to_string();
        assert!(words.contains("clock.json") && words.contains("remove it"), "{words}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "evidence is kept");
    }
    let nowhere = builder(&clock).state_path(dir.path().join("no/such/clock.json")).build();
    assert!(matches!(nowhere.unwrap_err(), BuildError::StateFile { .. }));
    builder(&clock).state_path(dir.path()).build().unwrap_err();
}
