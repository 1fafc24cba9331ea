//! Status lists from their URLs, against a real server on loopback.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use dp_verifier::ErrorCode::{KeysUnavailable, KidUnknown, Revoked, StatusStale, Suspended};
use dp_verifier::LicenseState::{Stale, Valid};
use dp_verifier::{BuildError, ErrorCode, LicenseState, Verifier, VerifierBuilder};
use serde_json::{Value, json};

use crate::server::{Server, answer, ok};
use crate::support::*;

pub(crate) const PATH: &str = "/api/v1/status-lists/1";

/// A control plane with keys and one list.
pub(crate) struct ControlPlane {
    pub(crate) server: Server,
}

impl ControlPlane {
    pub(crate) fn start() -> Self {
        let server = Server::start("");
        server.answer_at("/jwks.json", ok(&json!({ "keys": [KEY.jwk()] }).to_string()));
        Self { server }
    }

    pub(crate) fn builder(&self) -> VerifierBuilder {
        let builder = Verifier::builder().issuer(self.server.base()).audience(AUDIENCE);
        builder.jwks_url(self.server.url()).clock(|| NOW)
    }

    fn verifier(&self) -> Verifier {
        self.builder().build().unwrap()
    }

    pub(crate) fn token(&self, rule: &str) -> String {
        let mut claims = claims_on_stale(rule);
        claims["iss"] = json!(self.server.base());
        claims["status"]["status_list"]["uri"] = json!(self.uri());
        KEY.token(&claims)
    }

    fn uri(&self) -> String {
        format!("{}{PATH}", self.server.base())
    }

    pub(crate) fn list(&self, iat: i64, status: u8) -> Value {
        let mut claims = list_claims(iat, status);
        claims["sub"] = json!(self.uri());
        claims
    }

    pub(crate) fn publish(&self, iat: i64, status: u8) {
        self.server.answer_at(PATH, ok(&KEY.list(&self.list(iat, status))));
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.server.requests_for(PATH)
    }
}

pub(crate) fn wait_for(future: impl Future<Output = ()>) {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        thread::park();
    }
}

/// Waits until it has happened, for 20 seconds at most.
#[track_caller]
pub(crate) fn until(happened: impl Fn() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not happen");
        thread::yield_now();
    }
}

pub(crate) fn outcome(verifier: &Verifier, token: &str) -> Result<LicenseState, ErrorCode> {
    let license = verifier.verify(token);
    license.map(|license| license.state()).map_err(|refused| refused.code())
}

#[test]
fn a_license_ends_and_revives_with_the_issuer_s_list() {
    let plane = ControlPlane::start();
    plane.publish(NOW - 100, 0);
    let verifier = plane.verifier();
    let token = plane.token("block");
    wait_for(verifier.refresh_status(&token));
    assert_eq!(outcome(&verifier, &token), Ok(Valid));
    for (after, status, expected) in
        [(1, 2, Err(Suspended)), (2, 0, Ok(Valid)), (3, 1, Err(Revoked)), (4, 1, Err(Revoked))]
    {
        plane.publish(NOW - 100 + after, status);
        verifier.refresh_status_lists().unwrap();
        assert_eq!(outcome(&verifier, &token), expected);
    }
    let request = &plane.requests()[0];
    assert!(request.to_lowercase().contains("accept: application/statuslist+jwt"), "{request}");
    assert!(!request.contains(&token));
}

#[test]
fn a_running_verifier_sees_a_revocation_within_ttl() {
    let plane = ControlPlane::start();
    let publish = |iat: i64, status: u8| {
        let mut list = plane.list(iat, status);
        list["ttl"] = json!(1);
        plane.server.answer_at(PATH, ok(&KEY.list(&list)));
    };
    publish(NOW - 100, 0);
    let verifier = plane.verifier();
    let token = plane.token("block");
    wait_for(verifier.refresh_status(&token));
    let license = verifier.verify(&token).unwrap();
    publish(NOW - 99, 1);
    until(|| verifier.state_of(&license) != Valid);
    assert_eq!(verifier.state_of(&license), LicenseState::Revoked);
    assert_eq!(outcome(&verifier, &token), Err(Revoked));
}

#[test]
fn the_first_token_of_a_list_asks_for_it_once() {
    let plane = ControlPlane::start();
    plane.publish(NOW - 100, 0);
    let verifier = plane.builder().cache(0).build().unwrap();
    let tokens: Vec<String> =
        ["block", "degrade", "allow"].iter().map(|rule| plane.token(rule)).collect();
    thread::scope(|scope| {
        for token in &tokens {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        wait_for(verifier.refresh_status(token));
                        assert_eq!(outcome(&verifier, token), Ok(Valid));
                    }
                });
            }
        }
    });
    assert_eq!(plane.requests().len(), 1);
    // Nothing to wait for.
    wait_for(verifier.refresh_status("no token"));
    wait_for(verifier.refresh_status(&tokens[0]));
}

#[test]
fn an_unchanged_list_is_not_sent_again() {
    let plane = ControlPlane::start();
    plane.publish(NOW - 100, 2);
    let verifier = plane.verifier();
    let token = plane.token("allow");
    wait_for(verifier.refresh_status(&token));
    plane.server.answer_at(PATH, answer("304 Not Modified", "", ""));
    verifier.refresh_status_lists().unwrap();
    assert!(plane.requests()[1].to_lowercase().contains("if-none-match: \"one\""));
    assert_eq!(outcome(&verifier, &token), Err(Suspended));
}

#[test]
fn without_the_control_plane_the_last_list_serves_until_it_is_too_old() {
    let plane = ControlPlane::start();
    plane.publish(NOW, 0);
    let clock = Arc::new(AtomicI64::new(NOW));
    let time = Arc::clone(&clock);
    let verifier = plane.builder().clock(move || time.load(Relaxed)).build().unwrap();
    let rules = [("allow", Ok(Valid)), ("degrade", Ok(Stale)), ("block", Err(StatusStale))];
    let tokens = rules.map(|(rule, stale)| (plane.token(rule), stale));
    wait_for(verifier.refresh_status(&tokens[0].0));
    plane.server.answer_at(PATH, "");
    verifier.refresh_status_lists().unwrap_err();
    for (passed, is_recent) in [(0, true), (3_600, true), (3_601, false), (80_000, false)] {
        clock.store(NOW + passed, Relaxed);
        for (token, stale) in &tokens {
            let expected = if is_recent { Ok(Valid) } else { *stale };
            assert_eq!(outcome(&verifier, token), expected, "{passed}");
        }
    }
    assert!(verifier.status_lists_error().unwrap().contains(PATH));
    plane.publish(NOW + 80_000, 0);
    verifier.refresh_status_lists().unwrap();
    for (token, _) in &tokens {
        assert_eq!(outcome(&verifier, token), Ok(Valid));
    }
    assert_eq!(verifier.status_lists_error(), None);
}

#[test]
fn a_bad_answer_never_replaces_a_good_list() {
    let plane = ControlPlane::start();
    plane.publish(NOW - 100, 2);
    let verifier = plane.builder().jwks_cooldown(Duration::from_secs(600)).build().unwrap();
    let token = plane.token("allow");
    wait_for(verifier.refresh_status(&token));
    let good = KEY.list(&plane.list(NOW - 50, 0));
    let elsewhere = Server::start(ok(&good));
    let location = format!("Location: {}{PATH}\r\n", elsewhere.base());
    let mut other_list = plane.list(NOW - 50, 0);
    other_list["sub"] = json!(format!("{}x", plane.uri()));
    let mut no_ttl = plane.list(NOW - 50, 0);
    no_ttl["ttl"] = json!(0);
    let mut over = plane.list(NOW - 90, 0);
    over["exp"] = json!(NOW - 61);
    for (bad, why) in [
        (String::new(), PATH),
        ("garbage".to_owned(), PATH),
        (answer("500 Internal Server Error", "", &good), "answers 500"),
        (answer("404 Not Found", "", ""), "answers 404"),
        (answer("302 Found", &location, ""), "redirects (302"),
        (ok(""), "token_missing"),
        (ok("<html>"), "token_malformed"),
        (ok(&"x".repeat(1024 * 1024 + 1)), PATH),
        (ok(&KEY.token(&other_list)), "typ_wrong"),
        (ok(&KEY.list(&other_list)), "not the list's URL"),
        (ok(&KEY.list(&no_ttl)), "ttl"),
        (ok(&KEY.list(&plane.list(NOW - 101, 0))), "replayed"),
        (ok(&KEY.list(&plane.list(NOW - 86_460, 0))), "older than the held list"),
        (ok(&KEY.list(&over)), "expired"),
        (ok(&KEY.list(&plane.list(NOW + 61, 0))), "not_yet_valid"),
        (ok(&OTHER_KEY.list(&plane.list(NOW - 50, 0))), "kid_unknown"),
        (ok(&Key::new("key-1").list(&plane.list(NOW - 50, 0))), "signature_invalid"),
    ] {
        plane.server.answer_at(PATH, bad);
        let error = verifier.refresh_status_lists().unwrap_err().to_string();
        assert!(error.contains(why), "{error} lacks {why}");
        assert_eq!(outcome(&verifier, &token), Err(Suspended));
    }
    assert!(elsewhere.requests().is_empty(), "a redirect was followed");
    plane.server.answer_at(PATH, ok(&good));
    verifier.refresh_status_lists().unwrap();
    assert_eq!(outcome(&verifier, &token), Ok(Valid));
}

/// The issuer's clock was set back, and it has suspended the license since.
#[test]
fn published_list_that_is_older_than_the_held_one_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let plane = ControlPlane::start();
    let builder = || plane.builder().state_path(dir.path().join("state.json"));
    plane.publish(NOW - 100, 0);
    let verifier = builder().build().unwrap();
    let token = plane.token("degrade");
    wait_for(verifier.refresh_status(&token));
    assert_eq!(verifier.status_lists()[0].warning(), None);
    // Also when it would be over by now.
    for iat in [NOW - 3_700, NOW - 86_400 - 3_700] {
        plane.publish(iat, 2);
        let error = verifier.refresh_status_lists().unwrap_err().to_string();
        assert!(error.contains("older than the held list of 2026-01-09T23:05:00Z"), "{error}");
        assert_eq!(outcome(&verifier, &token), Ok(Valid));
        let held = verifier.status_lists().remove(0);
        assert_eq!((held.issued_at, held.older_published), (NOW - 100, Some(iat)));
        let warning = held.warning().unwrap();
        assert!(warning.contains("older") && warning.contains("clock"), "{warning}");
    }
    // So it is after a restart, and until a newer one is published.
    drop(verifier);
    let restarted = builder().build().unwrap();
    wait_for(restarted.refresh_status(&token));
    assert!(restarted.status_lists()[0].older_published.is_some());
    plane.publish(NOW - 99, 2);
    restarted.refresh_status_lists().unwrap();
    assert_eq!(restarted.status_lists()[0].warning(), None);
    assert_eq!(outcome(&restarted, &token), Err(Suspended));
}

#[cfg(feature = "cli")]
#[test]
fn command_warns_of_a_published_list_that_is_older() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let plane = ControlPlane::start();
    let (url, base) = (plane.server.url(), plane.server.base());
    let token = plane.token("degrade");
    let run = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dp-verify"));
        command.args(["--issuer", &base, "--audience", AUDIENCE, "--now", &NOW.to_string()]);
        command.args(["--jwks", &url, "--explain", "--state"]).arg(&state).arg(&token);
        let output = command.output().unwrap();
        let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (line, String::from_utf8(output.stderr).unwrap())
    };
    plane.publish(NOW - 100, 0);
    let (line, words) = run();
    assert_eq!((&line["ok"], line.get("warnings")), (&json!(true), None), "{words}");
    plane.publish(NOW - 3_700, 2);
    let (line, words) = run();
    assert_eq!(line["license"]["state"], "valid");
    let warning = line["warnings"][0].as_str().unwrap();
    assert!(warning.contains("is older than the held list of 2026-01-09T23:05:00Z"), "{warning}");
    assert!(words.contains("Warning: the status list"), "{words}");
}

#[test]
fn only_a_genuine_token_of_this_issuer_opens_a_connection() {
    let plane = ControlPlane::start();
    plane.publish(NOW, 0);
    let elsewhere = Server::start("");
    let verifier = plane.builder().jwks_cooldown(Duration::from_secs(600)).build().unwrap();
    let good = plane.token("block");
    let (message, _) = good.rsplit_once('.').unwrap();
    let mut leading_away = claims_on_stale("block");
    leading_away["iss"] = json!(plane.server.base());
    leading_away["status"]["status_list"]["uri"] = json!(format!("{}{PATH}", elsewhere.base()));
    let mut of_another = leading_away.clone();
    of_another["iss"] = json!(elsewhere.base());
    for token in [
        format!("{message}.{}", base64url([0; 256])),
        KEY.token(&leading_away),
        KEY.token(&of_another),
        "x.y.z".to_owned(),
    ] {
        verifier.verify(&token).unwrap_err();
        wait_for(verifier.refresh_status(&token));
    }
    verifier.refresh_status_lists().unwrap();
    assert!(plane.requests().is_empty() && elsewhere.requests().is_empty());
    // A verifier that was given its keys has no business with the network.
    let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
    let offline = Verifier::builder().issuer(plane.server.base()).audience(AUDIENCE).jwks(jwks);
    let offline = offline.clock(|| NOW).build().unwrap();
    wait_for(offline.refresh_status(&good));
    offline.refresh_status_lists().unwrap();
    assert_refused(offline.verify(&good), StatusStale);
    assert!(plane.requests().is_empty());
}

#[test]
fn a_list_by_a_new_key_has_the_keys_refreshed() {
    let plane = ControlPlane::start();
    let verifier = plane.builder().jwks_cooldown(Duration::ZERO).build().unwrap();
    let keys = json!({ "keys": [KEY.jwk(), OTHER_KEY.jwk()] }).to_string();
    plane.server.answer_at("/jwks.json", ok(&keys));
    plane.server.answer_at(PATH, ok(&OTHER_KEY.list(&plane.list(NOW, 1))));
    let token = plane.token("allow");
    wait_for(verifier.refresh_status(&token));
    until(|| outcome(&verifier, &token) == Err(Revoked));
    assert_refused(verifier.verify("x.y.z"), ErrorCode::TokenMalformed);
}

#[test]
fn a_restart_without_the_control_plane_goes_on_with_the_kept_list() {
    let dir = tempfile::tempdir().unwrap();
    let plane = ControlPlane::start();
    plane.publish(NOW - 10, 2);
    let build = || {
        let builder = plane.builder().state_path(dir.path().join("state.json"));
        builder.jwks_store(dir.path().join("keys.json")).build().unwrap()
    };
    let token = plane.token("allow");
    let verifier = build();
    wait_for(verifier.refresh_status(&token));
    drop(verifier);
    plane.server.answer_at(PATH, "");
    plane.server.answer_at("/jwks.json", "");
    let restarted = build();
    assert_eq!(outcome(&restarted, &token), Err(Suspended));
    plane.publish(NOW - 11, 0);
    let refused = restarted.refresh_status_lists().unwrap_err().to_string();
    assert!(refused.contains("replayed"), "{refused}");
    assert_eq!(outcome(&restarted, &token), Err(Suspended));
}

#[test]
fn a_revocation_takes_effect_even_when_it_cannot_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let plane = ControlPlane::start();
    plane.publish(NOW, 1);
    let verifier = plane.builder().state_path(&state).time_floor(NOW).build().unwrap();
    write_private(&state, "{");
    let token = plane.token("allow");
    wait_for(verifier.refresh_status(&token));
    assert_eq!(outcome(&verifier, &token), Err(Revoked));
    assert!(verifier.state_error().unwrap().contains("damaged"));
}

#[test]
fn files_add_no_keys_to_fetched_ones() {
    let plane = ControlPlane::start();
    let verifier = plane.verifier();
    let mut file = file_claims(1, &[&KEY, &OTHER_KEY]);
    file["iss"] = json!(plane.server.base());
    file["status_list"] = json!(OTHER_KEY.list(&plane.list(NOW, 1)));
    verifier.import(&KEY.file(&file)).unwrap();
    let mut claims = claims_on_stale("allow");
    claims["iss"] = json!(plane.server.base());
    claims["status"]["status_list"]["uri"] = json!(plane.uri());
    assert_refused(verifier.verify(&OTHER_KEY.token(&claims)), KidUnknown);
    // What its list has taken back counts: a fetched key has signed the file.
    assert_eq!(outcome(&verifier, &plane.token("allow")), Err(Revoked));
}

#[test]
fn without_fetched_keys_only_the_file_of_the_last_start_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("license.lic");
    let plane = ControlPlane::start();
    let mut file = file_claims(1, &[&KEY]);
    file["iss"] = json!(plane.server.base());
    file["token"] = json!(plane.token("allow"));
    let vouched = json!({ "iss": file["iss"], "iat": NOW, "jwk": OTHER_KEY.jwk() });
    file["key_chain"] = json!([KEY.signed("signing-key+jwt", &vouched)]);
    std::fs::write(&path, KEY.file(&file)).unwrap();
    let state = dir.path().join("state.json");
    let start = || plane.builder().bundle_file(&path).state_path(&state).build();
    plane.server.answer_at("/jwks.json", "");
    match start().unwrap_err() {
        BuildError::BundleRefused { error, .. } => assert_eq!(error.code(), KeysUnavailable),
        other => panic!("{other}"),
    }
    plane.server.answer_at("/jwks.json", ok(&json!({ "keys": [KEY.jwk()] }).to_string()));
    start().unwrap();
    plane.server.answer_at("/jwks.json", "");
    let restarted = start().unwrap();
    assert_refused(restarted.verify(&restarted.bundled_token().unwrap()), KeysUnavailable);
}

#[cfg(feature = "axum")]
mod layer {
    use axum::body::Body;
    use axum::http::Request;
    use axum::{Router, routing::get};
    use dp_verifier::{LicenseContext, LicenseLayer};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    /// Sends many requests at once; returns their statuses and bodies.
    fn send(verifier: &Verifier, token: &str) -> Vec<(u16, String)> {
        async fn state(license: LicenseContext) -> String {
            license.state().to_string()
        }
        let layer = LicenseLayer::new(verifier.clone()).or_token(None);
        let app = Router::new().route("/", get(state)).layer(layer);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let requests = (0..8).map(|_| {
                let request = Request::get("/").header("x-license-token", token);
                let answer = app.clone().oneshot(request.body(Body::empty()).unwrap());
                tokio::spawn(async {
                    let answer = answer.await.unwrap();
                    let status = answer.status().as_u16();
                    let body = answer.into_body().collect().await.unwrap().to_bytes();
                    (status, String::from_utf8(body.to_vec()).unwrap())
                })
            });
            let mut answers = Vec::new();
            for request in requests.collect::<Vec<_>>() {
                answers.push(request.await.unwrap());
            }
            answers
        })
    }

    #[test]
    fn the_first_requests_wait_for_the_list() {
        for rule in ["allow", "degrade", "block"] {
            let plane = ControlPlane::start();
            plane.publish(NOW, 0);
            let verifier = plane.verifier();
            assert_eq!(send(&verifier, &plane.token(rule)), vec![(200, "valid".to_owned()); 8]);
            assert_eq!(plane.requests().len(), 1);
        }
        let plane = ControlPlane::start();
        plane.publish(NOW, 1);
        let answers = send(&plane.verifier(), &plane.token("allow"));
        assert!(answers.iter().all(|(status, body)| *status == 403 && body.contains("revoked")));
    }

    #[test]
    fn requests_without_a_list_end_in_bounded_time() {
        for (rule, status, word) in
            [("allow", 200, "valid"), ("degrade", 200, "stale"), ("block", 403, "status_stale")]
        {
            let plane = ControlPlane::start();
            let verifier = plane.verifier();
            for _ in 0..2 {
                let answers = send(&verifier, &plane.token(rule));
                assert!(answers.iter().all(|(s, body)| *s == status && body.contains(word)));
            }
        }
    }
}
