//! The metrics of a verifier, as an app renders them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use dp_verifier::Holder;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;

use crate::control_plane::ControlPlane;
use crate::support::*;

/// The recorder of this process. The other tests count, too, so these tests look at differences.
fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).unwrap();
        handle
    })
}

fn value(sample: &str) -> Option<f64> {
    let text = recorder().render();
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

#[track_caller]
fn eventually(sample: &str, expected: f64) {
    let begun = Instant::now();
    while value(sample) != Some(expected) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{sample}: {:?}", value(sample));
        std::thread::yield_now();
    }
}

#[test]
fn checks_of_tokens_are_counted_by_outcome_and_code() {
    let local = PrometheusBuilder::new().build_recorder();
    let handle = local.handle();
    let verifier = verifier(&json!({ "keys": [KEY.jwk()] }));
    let token = KEY.token(&claims());
    metrics::with_local_recorder(&local, || {
        verifier.verify(&token).unwrap();
        verifier.verify(&token).unwrap();
        verifier.verify("not.a.token").unwrap_err();
        verifier.verify("").unwrap_err();
        let _ = verifier.health();
    });
    let text = handle.render();
    for (outcome, code, count) in [
        ("admitted", "valid", 2),
        ("refused", "token_malformed", 1),
        ("refused", "token_missing", 1),
    ] {
        let sample = format!(
            "dp_verifier_verifications_total{{outcome=\"{outcome}\",code=\"{code}\"}} {count}\n"
        );
        assert!(text.contains(&sample), "{text}");
    }
    assert!(!text.contains(&token) && !text.contains("cp.example"), "{text}");
}

#[test]
fn check_ins_and_held_leases_are_counted() {
    let _ = recorder();
    let server = ControlPlane::start();
    let mut claims = server.claims();
    let pool = "pool-of-the-metrics";
    claims["license"]["leasing"] = json!({ pool: { "kind": "floating", "cap": 5 } });
    server.issue(&KEY, &claims);
    let count = |outcome: &str| {
        value(&format!("dp_verifier_check_ins_total{{outcome=\"{outcome}\"}}")).unwrap_or(0.0)
    };
    let (valid, failed) = (count("valid"), count("failed"));
    let verifier = server.builder().check_in(server.check_in_url(), "cpat_token").build().unwrap();
    assert!(count("valid") > valid);
    let seats = verifier.leases("cpat_token");
    let sample = format!("dp_verifier_leases_held{{pool=\"{pool}\"}}");
    let first = seats.acquire(pool, &Holder::id("a")).unwrap();
    let second = seats.acquire(pool, &Holder::id("b")).unwrap();
    assert_eq!(value(&sample), Some(2.0));
    drop(first);
    eventually(&sample, 1.0);
    drop(second);
    drop(seats);
    eventually(&sample, 0.0);
    server.set_down(true);
    verifier.check_in_now().unwrap_err();
    assert!(count("failed") > failed);
}

#[test]
fn ages_are_gauges_with_help() {
    let local = PrometheusBuilder::new().build_recorder();
    let handle = local.handle();
    let server = ControlPlane::start();
    let claims = server.claims();
    server.issue(&KEY, &claims);
    let verifier = server.builder().check_in(server.check_in_url(), "cpat_token").build().unwrap();
    server.set_clock(NOW + 60);
    metrics::with_local_recorder(&local, || verifier.record_metrics());
    let text = handle.render();
    let (issued, ends) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    for (name, value) in [
        ("dp_verifier_ready", 1),
        ("dp_verifier_check_in_age_seconds", 60),
        ("dp_verifier_token_age_seconds", NOW + 60 - issued),
        ("dp_verifier_token_expires_in_seconds", ends - NOW - 60),
    ] {
        assert!(text.contains(&format!("\n{name} {value}\n")), "{text}");
        assert!(text.contains(&format!("# HELP {name} ")), "{text}");
    }
    assert!(!text.contains("dp_verifier_keys_age_seconds "), "the keys are not fetched: {text}");
}
