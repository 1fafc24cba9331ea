//! V12, V13: keys from a URL, against a real server on loopback that misbehaves on demand.

use std::fs;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use dp_verifier::ErrorCode::{KeysUnavailable, KidUnknown};
use dp_verifier::{Verifier, VerifierBuilder};
use serde_json::json;

use crate::server::{Server, answer, ok};
use crate::support::*;

impl Server {
    fn verifier(&self) -> Verifier {
        self.builder().build().unwrap()
    }

    fn builder(&self) -> VerifierBuilder {
        builder(self.url()).clock(|| NOW)
    }
}

fn builder(url: String) -> VerifierBuilder {
    Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks_url(url)
}

fn set(keys: &[&Key]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

fn token() -> String {
    KEY.token(&claims())
}

#[test]
fn keys_are_there_when_build_returns() {
    let server = Server::start(ok(&set(&[&KEY])));
    let verifier = server.verifier();
    verifier.verify(&token()).unwrap();
    let health = verifier.keys_health().unwrap();
    assert_eq!((health.fetched_at, health.last_error), (Some(NOW), None));
    let request = server.requests().join("");
    assert!(request.starts_with("GET /jwks.json HTTP/1.1"), "{request}");
    assert!(!request.contains(&token()));
}

#[test]
fn an_unchanged_set_is_not_sent_again() {
    let server = Server::start(ok(&set(&[&KEY])));
    let verifier = server.verifier();
    server.answer_with(answer("304 Not Modified", "", ""));
    verifier.refresh_keys().unwrap();
    assert!(server.requests()[1].to_lowercase().contains("if-none-match: \"one\""));
    verifier.verify(&token()).unwrap();
}

#[test]
fn a_bad_answer_never_replaces_a_good_set() {
    let server = Server::start(ok(&set(&[&KEY])));
    let verifier = server.verifier();
    let other = Server::start(ok(&set(&[&OTHER_KEY])));
    let location = format!("Location: {}\r\n", other.url());
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(70_000));
    for (bad, why) in [
        (String::new(), "jwks.json"),
        ("garbage".to_owned(), "jwks.json"),
        (answer("500 Internal Server Error", "", "{\"keys\":[]}"), "answers 500"),
        (answer("404 Not Found", "", ""), "answers 404"),
        (answer("204 No Content", "", ""), "answers 204"),
        (answer("301 Moved Permanently", &location, ""), "redirects (301"),
        (answer("307 Temporary Redirect", "Location: /other.json\r\n", ""), "redirects (307"),
        (ok("<html>"), "is not JSON: it looks like a web page"),
        (ok("{}"), "no array"),
        (ok(&set(&[&KEY, &KEY])), "another key"),
        (ok(&set(&[&KEY]).replace("\"e\"", "\"d\"")), "private"),
        (ok(&huge), "jwks.json"),
        (ok(&set(&[&KEY])).replace("Length: ", "Length: 1"), "jwks.json"),
    ] {
        server.answer_with(bad);
        let error = verifier.refresh_keys().unwrap_err().to_string();
        assert!(error.contains(why), "{error} lacks {why}");
        verifier.verify(&token()).unwrap();
        assert_eq!(verifier.keys_health().unwrap().last_error, Some(error));
    }
    assert!(other.requests().is_empty(), "a redirect was followed");
    server.answer_with(ok(&set(&[&OTHER_KEY])));
    verifier.refresh_keys().unwrap();
    assert_eq!(verifier.keys_health().unwrap().last_error, None);
    // A withdrawn key stops verifying with the next refresh.
    assert_refused(verifier.verify(&token()), KidUnknown);
    verifier.verify(&OTHER_KEY.token(&claims())).unwrap();
}

#[test]
fn a_request_ends_after_five_seconds() {
    let server = Server::start(ok(&set(&[&KEY])));
    let verifier = server.verifier();
    server.hang();
    assert!(verifier.refresh_keys().unwrap_err().to_string().contains("timeout"));
    verifier.verify(&token()).unwrap();
}

#[test]
fn ten_thousand_unknown_keys_cause_no_request() {
    let server = Server::start(ok(&set(&[&KEY])));
    let verifier = server.verifier();
    for n in 0..10_000 {
        let header = header_with("kid", json!(format!("random-{n}")));
        let token = format!("{}.AAAA.AAAA", base64url(header));
        assert_refused(verifier.verify(&token), KidUnknown);
    }
    // The first fetch is younger than the cooldown.
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn an_unknown_key_causes_a_refresh_after_the_cooldown() {
    let server = Server::start(ok(&set(&[&OTHER_KEY])));
    let verifier = server.builder().jwks_cooldown(Duration::ZERO).build().unwrap();
    server.answer_with(ok(&set(&[&OTHER_KEY, &KEY])));
    // Verifying does not wait for the network; the refresh is waited for here instead.
    assert_refused(verifier.verify(&token()), KidUnknown);
    let mut tries = 0;
    while verifier.keys_health().unwrap().attempts < 2 {
        tries += 1;
        assert!(tries < 10_000_000, "no refresh");
        thread::yield_now();
    }
    verifier.verify(&token()).unwrap();
}

#[test]
fn a_malformed_token_causes_no_request() {
    let server = Server::start(ok(&set(&[&KEY])));
    let verifier = server.builder().jwks_cooldown(Duration::ZERO).build().unwrap();
    for header in [json!({ "alg": "none", "kid": "?" }), json!({ "alg": "RS256", "kid": "?" })] {
        let token = format!("{}.AAAA.AAAA", base64url(header.to_string()));
        verifier.verify(&token).unwrap_err();
    }
    verifier.verify("x.y.z").unwrap_err();
    verifier.refresh_keys().unwrap();
    assert_eq!(server.requests().len(), 2, "the first and the demanded one");
}

#[test]
fn a_verifier_starts_without_the_control_plane() {
    let server = Server::start("");
    let verifier = server.verifier();
    assert_refused(verifier.verify(&token()), KeysUnavailable);
    assert!(verifier.keys_health().unwrap().last_error.is_some());
    server.answer_with(ok(&set(&[&KEY])));
    verifier.refresh_keys().unwrap();
    verifier.verify(&token()).unwrap();
}

#[test]
fn a_stored_set_survives_a_restart_without_the_control_plane() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.json");
    let server = Server::start(ok(&set(&[&KEY])));
    drop(server.builder().jwks_store(&file).build().unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file is left");
    server.answer_with("");
    let restarted = server.builder().jwks_store(&file).build().unwrap();
    restarted.verify(&token()).unwrap();
    // Another issuer's keys are not used.
    let elsewhere = builder(format!("{}?other", server.url())).jwks_store(&file).clock(|| NOW);
    assert_refused(elsewhere.build().unwrap().verify(&token()), KeysUnavailable);
}

#[test]
fn a_damaged_store_is_reported_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.json");
    for damage in ["", "{", "{\"url\":1}", "\u{0}"] {
        fs::write(&file, damage).unwrap();
        let server = Server::start("");
        let verifier = server.builder().jwks_store(&file).build().unwrap();
        assert_refused(verifier.verify(&token()), KeysUnavailable);
        server.answer_with(ok(&set(&[&KEY])));
        verifier.refresh_keys().unwrap();
        assert!(fs::read_to_string(&file).unwrap().contains("jwks.json"));
    }
}

#[cfg(unix)]
#[test]
fn store_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.json");
    let server = Server::start(ok(&set(&[&KEY])));
    drop(server.builder().jwks_store(&file).build().unwrap());
    server.answer_with("");
    for (mode, is_used) in [(0o620, false), (0o602, false), (0o666, false), (0o644, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let restarted = server.builder().jwks_store(&file).build().unwrap();
        assert_eq!(restarted.verify(&token()).is_ok(), is_used, "{mode:o}");
    }
}

#[test]
fn keys_are_used_for_so_long_without_the_control_plane() {
    static CLOCK: AtomicI64 = AtomicI64::new(NOW);
    let server = Server::start(ok(&set(&[&KEY])));
    let verifier = builder(server.url())
        .clock(|| CLOCK.load(Ordering::Relaxed))
        .jwks_max_stale(Duration::from_secs(1_000))
        .build()
        .unwrap();
    server.answer_with("");
    verifier.refresh_keys().unwrap_err();
    verifier.verify_at(&token(), NOW + 1_000).unwrap();
    assert_refused(verifier.verify_at(&token(), NOW + 1_001), KeysUnavailable);
    // The control plane is back, and says that nothing has changed.
    CLOCK.store(NOW + 2_000, Ordering::Relaxed);
    server.answer_with(answer("304 Not Modified", "", ""));
    verifier.refresh_keys().unwrap();
    verifier.verify(&token()).unwrap();
}

#[test]
fn a_stored_set_ages_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.json");
    let server = Server::start(ok(&set(&[&KEY])));
    let builder = |now: i64| {
        let max_stale = Duration::from_secs(1_000);
        builder(server.url()).jwks_store(&file).jwks_max_stale(max_stale).clock(move || now)
    };
    drop(builder(NOW).build().unwrap());
    server.answer_with("");
    builder(NOW + 1_000).build().unwrap().verify(&token()).unwrap();
    let stale = builder(NOW + 1_001).build().unwrap();
    assert_refused(stale.verify(&token()), KeysUnavailable);
    // A set from the future is only as fresh as now.
    let early = builder(NOW - 500).build().unwrap();
    assert_refused(early.verify_at(&token(), NOW + 501), KeysUnavailable);
}

#[test]
fn an_unusable_url_is_refused_at_once() {
    let refused = builder("http://cp.example/jwks.json".to_owned()).build().unwrap_err();
    assert!(refused.to_string().contains("use https"), "{refused}");
}
