//! The issuer's log from its URLs, against a real server on loopback.

use std::time::{Duration, Instant};

use dp_verifier::ErrorCode::{LogRolledBack, NotLogged, ProofInvalid, ProofMissing, SplitView};
use dp_verifier::{LicenseState, Verifier, VerifierBuilder, accept_log, log_record};
use serde_json::json;

use crate::fetch_lists::wait_for;
use crate::log::Log;
use crate::server::{Server, answer, ok};
use crate::support::*;

/// A control plane with a key, a token and a log.
struct ControlPlane {
    server: Server,
    log: Log,
    token: String,
}

impl ControlPlane {
    /// With so many entries before the token's and after it.
    fn start(before: u64, after: u64) -> Self {
        let server = Server::start(answer("404 Not Found", "", ""));
        server.answer_at("/jwks.json", ok(&json!({ "keys": [KEY.jwk()] }).to_string()));
        let mut claims = claims_with("/status", None);
        claims["iss"] = json!(server.base());
        let token = KEY.token(&claims);
        let mut log = Log::of(before);
        log.issue(&token);
        (0..after).for_each(|_| log.add("noise"));
        let this = Self { server, log, token };
        this.publish(&this.log, &[]);
        this.server.answer_at(&this.proof_path(), text(&this.log.proof(before)));
        this
    }

    fn proof_path(&self) -> String {
        format!("/api/v1/log/proof?jti={}", claims()["jti"].as_str().unwrap())
    }

    /// Shows a log, and that it extends its first so many entries.
    fn publish(&self, log: &Log, seen: &[u64]) {
        self.server.answer_at("/api/v1/log/checkpoint", text(&log.checkpoint()));
        for from in seen {
            self.server.answer_at(&consistency(*from, log.size()), text(&log.consistency(*from)));
        }
    }

    fn builder(&self) -> VerifierBuilder {
        let builder = Verifier::builder().issuer(self.server.base()).audience(AUDIENCE);
        let builder = builder.jwks_url(self.server.url()).clock(|| NOW);
        builder.log_key(self.log.vkey()).require_inclusion()
    }

    /// A verifier that has seen the log and proved the token.
    fn proved(&self) -> Verifier {
        let verifier = self.builder().build().unwrap();
        wait_for(verifier.refresh_status(&self.token));
        verifier.refresh_log().unwrap();
        verifier.verify(&self.token).unwrap();
        verifier
    }
}

fn consistency(from: u64, to: u64) -> String {
    format!("/api/v1/log/consistency?from={from}&to={to}")
}

fn text(body: &str) -> String {
    answer("200 OK", "Content-Type: text/plain\r\n", body)
}

#[test]
fn a_proof_is_fetched_once_and_the_first_request_may_wait_for_it() {
    let plane = ControlPlane::start(3, 0);
    let verifier = plane.builder().build().unwrap();
    wait_for(verifier.refresh_status(&plane.token));
    for _ in 0..100 {
        assert_eq!(verifier.verify(&plane.token).unwrap().log_index(), Some(3));
    }
    assert_eq!(plane.server.requests_for(&plane.proof_path()).len(), 1);
    verifier.refresh_log().unwrap();
    let health = verifier.log_health().unwrap();
    assert_eq!((health.checkpoint.unwrap().size(), health.checked_at), (4, Some(NOW)));
    assert_eq!((health.anomaly, health.last_error), (None, None));
}

#[test]
fn forged_token_is_not_requested_and_a_genuine_one_once() {
    let plane = ControlPlane::start(3, 0);
    let verifier = plane.builder().build().unwrap();
    for _ in 0..1_000 {
        wait_for(verifier.refresh_status("x.y.z"));
        assert!(verifier.verify("x.y.z").is_err());
        let forged = format!("{}AAAA", &plane.token[..plane.token.len() - 4]);
        assert!(verifier.verify(&forged).is_err());
    }
    assert!(plane.server.requests_for(&plane.proof_path()).is_empty());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                wait_for(verifier.refresh_status(&plane.token));
                verifier.verify(&plane.token).unwrap();
            });
        }
    });
    assert_eq!(plane.server.requests_for(&plane.proof_path()).len(), 1);
}

/// A token that a stolen key has signed: the log knows nothing of it, or of another one.
#[test]
fn a_token_that_is_not_in_the_log_is_refused_and_asked_for_after_the_cooldown() {
    let mut plane = ControlPlane::start(3, 0);
    let mut claims = claims_with("/status", None);
    claims["iss"] = json!(plane.server.base());
    claims["license"]["seat_cap"] = json!(9_999);
    let same_id = KEY.token(&claims);
    let jti = "018f2a00-0000-7000-8000-00000000ffff";
    claims["jti"] = json!(jti);
    let stolen = KEY.token(&claims);
    let verifier = plane.builder().build().unwrap();
    for _ in 0..100 {
        wait_for(verifier.refresh_status(&stolen));
        assert_refused(verifier.verify(&stolen), NotLogged);
    }
    let path = format!("/api/v1/log/proof?jti={jti}");
    assert_eq!(plane.server.requests_for(&path).len(), 1);
    wait_for(verifier.refresh_status(&same_id));
    assert_refused(verifier.verify(&same_id), ProofInvalid);
    wait_for(verifier.refresh_status(&plane.token));
    verifier.verify(&plane.token).unwrap();

    // It may be in the log a moment later.
    let verifier = plane.builder().jwks_cooldown(Duration::ZERO).build().unwrap();
    wait_for(verifier.refresh_status(&stolen));
    let seen = plane.log.size();
    let index = plane.log.issue_with_id(&stolen, jti);
    plane.publish(&plane.log, &[seen]);
    plane.server.answer_at(&path, text(&plane.log.proof(index)));
    wait_for(verifier.refresh_status(&stolen));
    assert_eq!(verifier.verify(&stolen).unwrap().log_index(), Some(index));
}

/// The log is written in turns, and the token was signed a moment ago.
#[test]
fn token_that_is_on_its_way_into_the_log_is_asked_for_again_at_once() {
    let mut plane = ControlPlane::start(3, 0);
    let mut claims = claims_with("/status", None);
    let jti = "018f2a00-0000-7000-8000-00000000ffff";
    (claims["iss"], claims["jti"]) = (json!(plane.server.base()), json!(jti));
    claims["iat"] = json!(NOW - 1);
    let token = KEY.token(&claims);
    // With the pause of 30 seconds that others get.
    let verifier = plane.builder().build().unwrap();
    drop(verifier.verify(&token));
    let path = format!("/api/v1/log/proof?jti={jti}");
    let begun = Instant::now();
    while plane.server.requests_for(&path).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    let seen = plane.log.size();
    let index = plane.log.issue_with_id(&token, jti);
    plane.publish(&plane.log, &[seen]);
    plane.server.answer_at(&path, text(&plane.log.proof(index)));
    while verifier.verify(&token).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it waits for the pause");
        wait_for(verifier.refresh_status(&token));
    }
    assert_eq!(verifier.verify(&token).unwrap().log_index(), Some(index));
}

#[test]
fn a_log_that_cannot_be_asked_is_no_reason_to_refuse_what_was_proved() {
    let plane = ControlPlane::start(3, 0);
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let build = || plane.builder().state_path(&state).build().unwrap();
    let verifier = build();
    wait_for(verifier.refresh_status(&plane.token));
    verifier.verify(&plane.token).unwrap();
    drop(verifier);
    for status in ["500 Internal Server Error", "429 Too Many Requests", "302 Found", "401 X"] {
        plane.server.answer_at(&plane.proof_path(), answer(status, "", ""));
        plane.server.answer_at("/api/v1/log/checkpoint", answer(status, "", ""));
        let verifier = build();
        assert!(verifier.refresh_log().is_err(), "{status}");
        assert_eq!(verifier.verify(&plane.token).unwrap().state(), LicenseState::Valid);
        let health = verifier.log_health().unwrap();
        assert!(health.last_error.is_some() && health.anomaly.is_none(), "{health:?}");
        // But a token that is not proved yet waits for the log.
        let verifier = plane.builder().build().unwrap();
        wait_for(verifier.refresh_status(&plane.token));
        assert_refused(verifier.verify(&plane.token), ProofMissing);
    }
}

#[test]
fn a_log_that_grows_is_well_and_an_old_copy_of_it_too() {
    let mut plane = ControlPlane::start(3, 2);
    let verifier = plane.proved();
    let old = plane.log.clone();
    for _ in 0..5 {
        let seen = plane.log.size();
        plane.log.add("noise");
        plane.publish(&plane.log, &[seen]);
        verifier.refresh_log().unwrap();
        let health = verifier.log_health().unwrap();
        assert_eq!(health.checkpoint.unwrap().size(), plane.log.size());
    }
    // A cache hands out the first one again; the log proves that it has gone on from there.
    let path = consistency(old.size(), plane.log.size());
    plane.server.answer_at(&path, text(&plane.log.consistency(old.size())));
    plane.server.answer_at("/api/v1/log/checkpoint", text(&old.checkpoint()));
    verifier.refresh_log().unwrap();
    let health = verifier.log_health().unwrap();
    assert_eq!((health.checkpoint.unwrap().size(), health.anomaly), (plane.log.size(), None));
}

#[test]
fn restored_backup_is_reported_until_the_log_is_complete() {
    let mut plane = ControlPlane::start(3, 2);
    let old = plane.log.clone();
    plane.log.add("noise");
    plane.publish(&plane.log, &[old.size()]);
    // The proof leads to the older checkpoint, as in a log that has gone on meanwhile.
    let verifier = plane.proved();
    let seen = verifier.log_health().unwrap().checkpoint.unwrap();
    assert_eq!(seen.size(), plane.log.size());
    // Now it has forgotten its last entry, and the way to it.
    plane.publish(&old, &[]);
    plane.server.answer_at(&consistency(old.size(), seen.size()), answer("404 Not Found", "", ""));
    let outcome = verifier.refresh_log().unwrap_err().to_string();
    assert!(
        outcome.starts_with("log_rolled_back: the log has 6 entries, but it had 7 before"),
        "{outcome}"
    );
    let anomaly = verifier.log_health().unwrap().anomaly.unwrap();
    assert_eq!((anomaly.code, anomaly.seen), (LogRolledBack, seen));
    assert_eq!(anomaly.shown.text(), old.checkpoint());
    // A proved token stays admitted, and its state reports the anomaly.
    assert_eq!(verifier.verify(&plane.token).unwrap().state(), LicenseState::LogAnomaly);
    // The newer database is found and put back.
    plane.log.add("noise");
    plane.publish(&plane.log, &[plane.log.size() - 1]);
    verifier.refresh_log().unwrap();
    assert_eq!(verifier.verify(&plane.token).unwrap().state(), LicenseState::Valid);
    // Or goes on from the backup with another history, for which there is no forgiveness.
    let mut fork = old.clone();
    (0..4).for_each(|_| fork.add("other"));
    plane.publish(&fork, &[plane.log.size()]);
    let outcome = verifier.refresh_log().unwrap_err().to_string();
    assert!(outcome.starts_with("split_view: "), "{outcome}");
    plane.log.add("noise");
    plane.publish(&plane.log, &[plane.log.size() - 1]);
    assert!(verifier.refresh_log().is_err());
    assert_eq!(verifier.log_health().unwrap().anomaly.unwrap().code, SplitView);
}

#[test]
fn running_verifier_follows_an_accepted_log() {
    let plane = ControlPlane::start(3, 2);
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let verifier = plane.builder().state_path(&state).build().unwrap();
    wait_for(verifier.refresh_status(&plane.token));
    verifier.refresh_log().unwrap();
    let mut fork = plane.log.clone();
    fork.tree = Log::of(9).tree;
    plane.publish(&fork, &[plane.log.size()]);
    let outcome = verifier.refresh_log().unwrap_err().to_string();
    assert!(outcome.starts_with("split_view: "), "{outcome}");

    accept_log(&state, "restored").unwrap();
    // It learns of that where it would have outcome once more of what it saw.
    let outcome = verifier.refresh_log().unwrap_err().to_string();
    assert!(outcome.contains("has accepted the log"), "{outcome}");
    verifier.refresh_log().unwrap();
    let health = verifier.log_health().unwrap();
    assert_eq!((health.checkpoint.unwrap().text(), health.anomaly), (&*fork.checkpoint(), None));
    assert_eq!(verifier.verify(&plane.token).unwrap().state(), LicenseState::Valid);
    assert_eq!(log_record(&state).unwrap().former.len(), 1);
}

#[test]
fn malformed_proof_is_no_evidence() {
    let mut plane = ControlPlane::start(3, 2);
    let verifier = plane.proved();
    let seen = plane.log.size();
    plane.log.add("noise");
    plane.publish(&plane.log, &[]);
    for garbage in [
        answer("404 Not Found", "", ""),
        answer("502 Bad Gateway", "", ""),
        text("<html>\n"),
        text("x"),
        answer("200 OK", "", &"A".repeat(100_000)),
    ] {
        plane.server.answer_at(&consistency(seen, plane.log.size()), garbage);
        assert!(verifier.refresh_log().is_err());
        let health = verifier.log_health().unwrap();
        assert_eq!((health.checkpoint.unwrap().size(), health.anomaly), (seen, None));
        assert_eq!(verifier.verify(&plane.token).unwrap().state(), LicenseState::Valid);
    }
    plane.server.answer_at("/api/v1/log/checkpoint", text("<html>"));
    assert!(verifier.refresh_log().is_err());
    let stranger = Log::of(9);
    plane.server.answer_at("/api/v1/log/checkpoint", text(&stranger.checkpoint()));
    assert!(verifier.refresh_log().is_err());
    assert_eq!(verifier.log_health().unwrap().anomaly, None);
    plane.publish(&plane.log, &[seen]);
    verifier.refresh_log().unwrap();
}

/// A request whose token is new waits for the proof, and only the first one.
#[cfg(feature = "axum")]
#[test]
fn a_layer_waits_for_the_proof() {
    use axum::{Router, body::Body, http::Request, routing::get};
    use dp_verifier::LicenseLayer;
    use tower::ServiceExt;

    let plane = ControlPlane::start(3, 0);
    let verifier = plane.builder().build().unwrap();
    let app = Router::new().route("/", get(|| async { "hello" }));
    let app = app.layer(LicenseLayer::new(verifier));
    let mut claims = claims_with("/status", None);
    claims["iss"] = json!(plane.server.base());
    claims["jti"] = json!("018f2a00-0000-7000-8000-00000000ffff");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (token, status) in [(&plane.token, 200), (&KEY.token(&claims), 403), (&plane.token, 200)] {
        let request = Request::get("/").header("X-License-Token", token);
        let request = request.body(Body::empty()).unwrap();
        let response = runtime.block_on(app.clone().oneshot(request)).unwrap();
        assert_eq!(response.status(), status);
    }
    assert_eq!(plane.server.requests_for(&plane.proof_path()).len(), 1);
}
