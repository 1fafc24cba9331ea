//! The wait for the status list of the own token, against a real server on loopback.

use std::thread;
use std::time::{Duration, Instant};

use dp_verifier::ErrorCode::Revoked;
use dp_verifier::LicenseState::Valid;
use dp_verifier::{Holder, LicenseState, Verifier};
use serde_json::json;

use crate::fetch_lists::{ControlPlane, PATH, outcome, until, wait_for};
use crate::server::{Server, answer};
use crate::support::*;

/// A verifier with a token and the credential of a data plane, whose check-ins go to this server.
fn watching(plane: &ControlPlane, base: &str) -> Verifier {
    let url = format!("{base}/api/v1/deployments/018f2a00-0000-7000-8000-000000000003/check-in");
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("token");
    write_private(&store, plane.token("block"));
    plane.builder().check_in(url, "cpat_token").token_store(store).build().unwrap()
}

/// The requests for the list that may wait.
fn waiting(plane: &ControlPlane) -> Vec<String> {
    let is_waiting = |request: &String| request.to_lowercase().contains("prefer: wait=25");
    plane.requests().into_iter().filter(is_waiting).collect()
}

#[test]
fn data_plane_with_a_credential_waits_for_a_revocation() {
    let plane = ControlPlane::start();
    let publish = |iat: i64, status: u8| {
        let list = KEY.list(&plane.list(iat, status));
        let headers = "ETag: \"one\"\r\nPreference-Applied: wait=25\r\n";
        plane.server.answer_at(PATH, answer("200 OK", headers, &list));
    };
    publish(NOW - 100, 0);
    let verifier = watching(&plane, &plane.server.base());
    let token = plane.token("block");
    wait_for(verifier.refresh_status(&token));
    let license = verifier.verify(&token).unwrap();
    // Both threads have fetched the list.
    until(|| plane.requests().len() >= 2);
    publish(NOW - 99, 1);
    // The list's time to live is five minutes.
    until(|| verifier.state_of(&license) != Valid);
    assert_eq!(outcome(&verifier, &token), Err(Revoked));
    let request = waiting(&plane)[0].to_lowercase();
    assert!(request.contains("authorization: bearer cpat_token"), "{request}");
    assert!(request.contains("if-none-match: \"one\""), "{request}");
}

#[test]
fn other_tokens_do_not_lead_the_watch_away_from_the_own_list() {
    let plane = ControlPlane::start();
    let publish = |iat: i64, status: u8| {
        let list = KEY.list(&plane.list(iat, status));
        let headers = "ETag: \"one\"\r\nPreference-Applied: wait=25\r\n";
        plane.server.answer_at(PATH, answer("200 OK", headers, &list));
    };
    publish(NOW - 100, 0);
    let verifier = watching(&plane, &plane.server.base());
    wait_for(verifier.refresh_status(&plane.token("block")));
    let license = verifier.current().unwrap();
    until(|| !waiting(&plane).is_empty());
    // A token that a request brings, and a lease token, with lists of their own.
    let [second, third] = ["/api/v1/status-lists/2", "/api/v1/status-lists/3"];
    let status = |path: &str| {
        let uri = format!("{}{path}", plane.server.base());
        json!({ "status_list": { "idx": IDX, "uri": uri } })
    };
    let mut claims = claims_on_stale("allow");
    claims["iss"] = json!(plane.server.base());
    claims["status"] = status(second);
    wait_for(verifier.refresh_status(&KEY.token(&claims)));
    let lease = json!({
        "iss": claims["iss"], "aud": AUDIENCE, "sub": claims["sub"],
        "jti": "018f2a00-0000-7000-8000-00000000aaaa",
        "iat": NOW, "nbf": NOW, "exp": NOW + 300, "hbnbf": NOW, "status": status(third),
        "lease": {
            "license_id": claims["license"]["license_id"], "pool": "seats", "kind": "seat",
            "holder": Holder::id("a").hash(license.license_id()), "borrowed": true,
            "overage": false,
        },
    });
    let lease = KEY.signed("lease+jwt", &lease);
    verifier.verify_lease(&lease, &license, &Holder::id("a")).unwrap();
    until(|| !plane.server.requests_for(third).is_empty());
    publish(NOW - 99, 1);
    until(|| verifier.state_of(&license) == LicenseState::Revoked);
    for path in [second, third] {
        let requests = plane.server.requests_for(path);
        assert!(
            !requests.iter().any(|head| head.to_lowercase().contains("prefer")),
            "{requests:?}"
        );
    }
}

#[test]
fn list_that_changed_between_two_requests_is_watched_on() {
    let plane = ControlPlane::start();
    // The server has another list than the request, so it does not wait.
    let publish = |iat: i64, status: u8| {
        let list = KEY.list(&plane.list(iat, status));
        plane.server.answer_at(PATH, answer("200 OK", &format!("ETag: \"{iat}\"\r\n"), &list));
    };
    publish(NOW - 100, 0);
    let verifier = watching(&plane, &plane.server.base());
    let token = plane.token("block");
    wait_for(verifier.refresh_status(&token));
    let license = verifier.verify(&token).unwrap();
    // Both threads have fetched the list.
    until(|| plane.requests().len() >= 2);
    for (iat, status, state) in [(NOW - 99, 2, LicenseState::Suspended), (NOW - 98, 0, Valid)] {
        publish(iat, status);
        until(|| verifier.state_of(&license) == state);
    }
    assert_eq!(outcome(&verifier, &token), Ok(Valid));
}

#[test]
fn credential_goes_to_the_server_of_the_check_ins_only() {
    let (plane, other) = (ControlPlane::start(), Server::start(""));
    plane.publish(NOW - 100, 0);
    let verifier = watching(&plane, &other.base());
    let token = plane.token("block");
    wait_for(verifier.refresh_status(&token));
    verifier.refresh_status_lists().unwrap();
    let has_credential = |request: &String| request.to_lowercase().contains("authorization");
    assert!(!plane.requests().iter().any(has_credential));
    assert!(!plane.server.requests().iter().any(has_credential));
}

#[test]
fn server_that_does_not_wait_gets_no_further_requests() {
    let plane = ControlPlane::start();
    plane.publish(NOW - 100, 0);
    let verifier = watching(&plane, &plane.server.base());
    let token = plane.token("block");
    wait_for(verifier.refresh_status(&token));
    until(|| !waiting(&plane).is_empty());
    let until = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < until {
        thread::yield_now();
    }
    assert_eq!(waiting(&plane).len(), 1);
}
