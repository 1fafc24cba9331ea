//! The data plane's own token: check-ins, against a control plane on loopback.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use dp_verifier::ErrorCode::{Expired, KidUnknown, OtherLicense, Revoked, TokenMissing};
use dp_verifier::cp_contracts::{CONTRACT_VERSION, CheckInCode};
use dp_verifier::{BuildError, Credential, Holder, KeySet, Verifier, VerifierBuilder};
use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, DEPLOYMENT};
use crate::server::{Server, ok};
use crate::support::*;

const OTHER_DEPLOYMENT: &str = "018f2a00-0000-7000-8000-00000000ffff";

fn builder(server: &ControlPlane) -> VerifierBuilder {
    server.builder().check_in(server.check_in_url(), "cpat_token")
}

fn checking_in(server: &ControlPlane) -> Verifier {
    builder(server).build().unwrap()
}

/// A control plane, its token, and a data plane that has checked in with it.
fn checked_in() -> (ControlPlane, Value, Verifier) {
    let server = ControlPlane::start();
    let first = token(&server, 1, NOW + 1_000);
    server.issue(&KEY, &first);
    let verifier = checking_in(&server);
    (server, first, verifier)
}

/// The claims of the server's license, in another token with this number.
fn token(server: &ControlPlane, n: u8, exp: i64) -> Value {
    let mut claims = server.claims();
    claims["jti"] = json!(format!("018f2a00-0000-7000-8000-0000000000{n:02x}"));
    claims["exp"] = json!(exp);
    claims
}

fn jti(claims: &Value) -> Value {
    claims["jti"].clone()
}

#[track_caller]
fn assert_current(verifier: &Verifier, claims: &Value) {
    assert_eq!(json!(verifier.current().unwrap().token_id()), jti(claims));
}

#[track_caller]
fn eventually(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing happened");
        std::thread::yield_now();
    }
}

/// A status list of the server in which the golden token has this status.
fn list(server: &ControlPlane, status: u8) -> String {
    let mut claims = list_claims(NOW, status);
    claims["sub"] = json!(format!("{}/list", server.base()));
    KEY.list(&claims)
}

#[test]
fn built_verifier_has_a_license() {
    let (server, first, verifier) = checked_in();
    assert_current(&verifier, &first);
    let (method, path, credential, body) = server.requests().remove(0);
    assert_eq!(
        (&*method, path, &*credential),
        ("POST", format!("/api/v1/deployments/{DEPLOYMENT}/check-in"), "Bearer cpat_token")
    );
    let version = concat!("dp-verifier/", env!("CARGO_PKG_VERSION"));
    assert_eq!(body, json!({ "contract": CONTRACT_VERSION, "verifier": version }));
    let health = verifier.check_in_health().unwrap();
    assert_eq!(health.code, Some(CheckInCode::Valid));
    assert_eq!((health.checked_in_at, health.next_at), (Some(NOW), Some(NOW + 3_600)));
    assert_eq!((health.last_error, health.attempts), (None, 1));
    // The license of the leases, too.
    let lease = verifier.leases("cpat_token").acquire("render", &Holder::id("a")).unwrap();
    assert!(lease.state().has_seat());
}

#[test]
fn next_check_in_names_the_token_in_use() {
    let (server, first, verifier) = checked_in();
    let second = token(&server, 2, NOW + 2_000);
    server.issue(&KEY, &second);
    verifier.check_in_now().unwrap();
    assert_eq!(server.sent("POST")[1]["jti"], jti(&first));
    assert_current(&verifier, &second);
    // Without a new token the old one stays.
    server.answer_check_ins(json!({ "code": "valid" }));
    verifier.check_in_now().unwrap();
    assert_eq!(server.sent("POST")[2]["jti"], jti(&second));
    assert_current(&verifier, &second);
}

#[test]
fn refused_license_is_reported_and_the_token_serves_until_its_end() {
    let (server, first, verifier) = checked_in();
    server.answer_check_ins(json!({ "code": "license_suspended" }));
    verifier.check_in_now().unwrap();
    let health = verifier.check_in_health().unwrap();
    assert_eq!(health.code, Some(CheckInCode::LicenseSuspended));
    assert_current(&verifier, &first);
    server.set_clock(NOW + 1_059);
    assert_current(&verifier, &first);
    server.set_clock(NOW + 1_060);
    assert_refused(verifier.current(), Expired);
}

#[test]
fn failed_check_in_changes_nothing() {
    let (server, first, verifier) = checked_in();
    server.set_down(true);
    verifier.check_in_now().unwrap_err();
    assert_current(&verifier, &first);
    let health = verifier.check_in_health().unwrap();
    assert!(health.last_error.unwrap().contains("check-in"));
    // Half a minute at least, and twice as much after each failure.
    let first_pause = health.next_at.unwrap() - NOW;
    assert!((30..38).contains(&first_pause), "{first_pause}");
    for _ in 0..12 {
        verifier.check_in_now().unwrap_err();
    }
    let pause = verifier.check_in_health().unwrap().next_at.unwrap() - NOW;
    assert!((2_880..=3_600).contains(&pause), "{pause}");
    server.set_down(false);
    server.answer_check_ins(json!({ "problem": "not_found" }));
    let error = verifier.check_in_now().unwrap_err();
    assert!(error.to_string().contains("not_found"), "{error}");
    assert_current(&verifier, &first);
}

#[test]
fn wrong_token_of_a_check_in_is_not_used() {
    let (server, first, verifier) = checked_in();
    let mut elsewhere = token(&server, 2, NOW + 2_000);
    elsewhere["sub"] = json!(OTHER_DEPLOYMENT);
    let mut foreign = token(&server, 3, NOW + 2_000);
    foreign["iss"] = json!("https://other.example");
    for (key, claims, why) in [
        (&*KEY, &elsewhere, "other_license"),
        (&*KEY, &foreign, "issuer_wrong"),
        (&*OTHER_KEY, &token(&server, 4, NOW + 2_000), "kid_unknown"),
    ] {
        server.issue(key, claims);
        let error = verifier.check_in_now().unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_current(&verifier, &first);
    }
}

#[test]
fn revoked_token_is_replaced_at_once() {
    let server = ControlPlane::start();
    let mut first = token(&server, 1, NOW + 1_000);
    first["status"] =
        json!({ "status_list": { "idx": IDX, "uri": format!("{}/list", server.base()) } });
    server.issue(&KEY, &first);
    let verifier = checking_in(&server);
    assert_current(&verifier, &first);
    let second = token(&server, 2, NOW + 2_000);
    server.issue(&KEY, &second);
    verifier.import_status_list(&list(&server, 1)).unwrap();
    // The refusal of the token in use wakes the thread.
    assert_refused(verifier.current(), Revoked);
    eventually(|| verifier.current().is_ok());
    assert_current(&verifier, &second);
    assert_eq!(server.sent("POST")[1]["jti"], jti(&first));
    assert_eq!(server.sent("POST")[1]["status_list_iat"], json!(NOW));
}

#[test]
fn revoked_license_causes_one_check_in_only() {
    let server = ControlPlane::start();
    let mut first = token(&server, 1, NOW + 1_000);
    first["status"] =
        json!({ "status_list": { "idx": IDX, "uri": format!("{}/list", server.base()) } });
    server.issue(&KEY, &first);
    let verifier = checking_in(&server);
    server.answer_check_ins(json!({ "code": "license_revoked" }));
    verifier.import_status_list(&list(&server, 1)).unwrap();
    assert_refused(verifier.current(), Revoked);
    eventually(|| verifier.check_in_health().unwrap().code == Some(CheckInCode::LicenseRevoked));
    // Further refusals wake the thread, which then waits for the regular time.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1_200) {
        assert_refused(verifier.current(), Revoked);
        std::thread::yield_now();
    }
    assert_eq!(server.sent("POST").len(), 2);
}

#[test]
fn token_of_an_unknown_key_is_replaced_at_once() {
    let (server, first, verifier) = checked_in();
    let second = token(&server, 2, NOW + 2_000);
    server.issue(&OTHER_KEY, &second);
    let other = json!({ "keys": [OTHER_KEY.jwk()] }).to_string();
    verifier.replace_keys(KeySet::from_json(other.as_bytes()).unwrap());
    assert_refused(verifier.current(), KidUnknown);
    eventually(|| verifier.current().is_ok());
    assert_current(&verifier, &second);
    assert_another_is_wanted(&server.sent("POST")[1], &first);
}

/// The server would think that the token is good. It answers for the license of this token.
#[track_caller]
fn assert_another_is_wanted(request: &Value, of: &Value) {
    assert_eq!((&request["jti"], &request["want"]), (&jti(of), &json!("token")));
}

#[test]
fn expired_token_is_replaced_by_one_of_the_same_license() {
    let (server, first, verifier) = checked_in();
    let second = token(&server, 2, NOW + 9_000);
    server.issue(&KEY, &second);
    server.set_clock(NOW + 1_060);
    assert_refused(verifier.current(), Expired);
    eventually(|| verifier.current().is_ok());
    assert_current(&verifier, &second);
    assert_another_is_wanted(&server.sent("POST")[1], &first);
    verifier.check_in_now().unwrap();
    assert_eq!(server.sent("POST")[2].get("want"), None);
}

fn set(keys: &[&Key]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

/// A data plane that checks in, and fetches its keys from another server.
fn fetching(server: &ControlPlane, keys: &Server) -> Verifier {
    let builder = server.keyless_builder().jwks_url(keys.url());
    builder.check_in(server.check_in_url(), "cpat_token").build().unwrap()
}

#[test]
fn list_of_each_new_token_is_watched() {
    let (server, keys) = (ControlPlane::start(), Server::start(ok(&set(&[&KEY]))));
    let path = |n: u8| format!("/api/v1/status-lists/{n}");
    let issue = |n: u8| {
        let mut claims = token(&server, n, NOW + 1_000);
        let uri = format!("{}{}", server.base(), path(n));
        claims["status"] = json!({ "status_list": { "idx": IDX, "uri": uri } });
        server.issue(&KEY, &claims);
    };
    // Both threads request the list at once, and again after half a minute at the earliest.
    let is_watched = |n: u8| {
        let requests = server.requests();
        requests.iter().filter(|(_, requested, ..)| *requested == path(n)).count() == 2
    };
    issue(1);
    let verifier = fetching(&server, &keys);
    eventually(|| is_watched(1));
    issue(2);
    verifier.check_in_now().unwrap();
    eventually(|| is_watched(2));
}

#[test]
fn new_token_waits_for_its_key() {
    let (server, keys) = (ControlPlane::start(), Server::start(ok(&set(&[&KEY]))));
    let (first, second) = (token(&server, 1, NOW + 1_000), token(&server, 2, NOW + 2_000));
    server.issue(&KEY, &first);
    let verifier = fetching(&server, &keys);
    assert_current(&verifier, &first);
    keys.answer_with("");
    server.issue(&OTHER_KEY, &second);
    let error = verifier.check_in_now().unwrap_err();
    assert!(error.to_string().contains("kid_unknown"), "{error}");
    assert_current(&verifier, &first);
    let health = verifier.check_in_health().unwrap();
    let pause = health.next_at.unwrap() - NOW;
    assert!((30..=38).contains(&pause), "{pause}");
    assert_eq!((health.code, health.checked_in_at), (Some(CheckInCode::Valid), Some(NOW)));
    // The next attempt is for the same token: the server must not sign each time.
    verifier.check_in_now().unwrap_err();
    assert_eq!(server.sent("POST").len(), 2);
    keys.answer_with(ok(&set(&[&KEY, &OTHER_KEY])));
    server.answer_check_ins(json!({ "code": "valid" }));
    verifier.check_in_now().unwrap();
    assert_current(&verifier, &second);
    assert_eq!(server.sent("POST")[2]["jti"], jti(&second));
    assert_eq!(verifier.check_in_health().unwrap().next_at, Some(NOW + 3_600));
}

#[test]
fn license_key_cannot_check_in() {
    let server = ControlPlane::start();
    let key = "01234-56789-ABCDE-FGHJK-MNP8N";
    for key in [Credential::from(key), Credential::license_key("of another system")] {
        let refused = server.builder().check_in(server.check_in_url(), key).build().unwrap_err();
        assert!(matches!(refused, BuildError::CheckIn(_)));
        assert!(refused.to_string().contains("the deployment's token"), "{refused}");
    }
    assert!(server.requests().is_empty());
}

#[test]
fn token_before_serves_while_the_newest_is_refused() {
    let (server, first, verifier) = checked_in();
    let mut second = token(&server, 2, NOW + 2_000);
    second["status"] =
        json!({ "status_list": { "idx": IDX, "uri": format!("{}/list", server.base()) } });
    second["enforcement"]["on_stale"] = json!("block");
    server.issue(&KEY, &second);
    verifier.check_in_now().unwrap();
    assert_current(&verifier, &first);
    assert_eq!(**verifier.current_token().unwrap(), *KEY.token(&first));
    verifier.import_status_list(&list(&server, 0)).unwrap();
    assert_current(&verifier, &second);
}

#[test]
fn stored_token_starts_without_the_control_plane() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let server = ControlPlane::start();
    let first = token(&server, 1, NOW + 1_000);
    server.issue(&KEY, &first);
    let restart = || builder(&server).token_store(&path).build().unwrap();
    drop(restart());
    assert_eq!(fs::read_to_string(&path).unwrap(), KEY.token(&first));
    assert_private(&path);
    server.set_down(true);
    let verifier = restart();
    assert_current(&verifier, &first);
    // The thread checks in by itself.
    eventually(|| verifier.check_in_health().unwrap().attempts > 0);
    assert_current(&verifier, &first);
    server.set_down(false);
    let second = token(&server, 2, NOW + 2_000);
    server.issue(&KEY, &second);
    verifier.check_in_now().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), KEY.token(&second));
    assert_private(&path);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

fn assert_private(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn stored_token_of_another_deployment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let server = ControlPlane::start();
    server.set_down(true);
    let start = || builder(&server).token_store(&path).build().unwrap();
    let mut elsewhere = token(&server, 1, NOW + 1_000);
    elsewhere["sub"] = json!(OTHER_DEPLOYMENT);
    write_private(&path, KEY.token(&elsewhere));
    assert_refused(start().current(), OtherLicense);
    // The deployment is checked before the signature, which needs keys.
    write_private(&path, OTHER_KEY.token(&elsewhere));
    assert_refused(start().current(), OtherLicense);
    // A forged token of this deployment is refused as every token is.
    write_private(&path, OTHER_KEY.token(&token(&server, 1, NOW + 1_000)));
    assert_refused(start().current(), KidUnknown);
    for damage in ["", "x", "a.b.c"] {
        write_private(&path, damage);
        start().current().unwrap_err();
    }
    fs::remove_file(&path).unwrap();
    assert_refused(start().current(), TokenMissing);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        write_private(&path, KEY.token(&token(&server, 1, NOW + 1_000)));
        assert!(start().current().is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_refused(start().current(), TokenMissing);
    }
    // The next check-in replaces the file.
    server.set_down(false);
    server.issue(&KEY, &token(&server, 1, NOW + 1_000));
    assert!(start().current().is_ok());
    assert_private(&path);
}

#[test]
fn unusable_settings_are_refused_at_once() {
    let server = ControlPlane::start();
    let base = server.base();
    for (url, why) in [
        (format!("{base}/api/v1/deployments/{DEPLOYMENT}"), "/check-in"),
        (format!("{base}/api/v1/deployments/x/check-in"), "/check-in"),
        (format!("{base}/api/v1/{DEPLOYMENT}/check-in"), "/check-in"),
        (format!("http://cp.example/deployments/{DEPLOYMENT}/check-in"), "use https"),
    ] {
        let refused = server.builder().check_in(url, "cpat_token").build().unwrap_err();
        assert!(matches!(refused, BuildError::CheckIn(_)));
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let refused = server.builder().token_store("/nowhere").build().unwrap_err();
    assert!(refused.to_string().contains("requires check-ins"), "{refused}");
    let without = server.builder().build().unwrap();
    assert_refused(without.current(), TokenMissing);
    assert_eq!(without.check_in_health(), None);
    without.check_in_now().unwrap();
}
