//! A data plane that renews its token and holds a seat, with the verifier of this repository.

use std::path::Path;

use dp_verifier::{ErrorCode, Holder, LeaseError, LeaseState, Verifier};
use rustix::process::Signal;
use serde_json::json;

use super::cluster::reserved_address;
use super::server::{KEK, Server, command, folder};
use super::tls::until;

const ISSUER: &str = "https://licenses.example.com";

#[test]
fn a_data_plane_checks_in_holds_a_seat_and_outlives_the_server() {
    let folder = folder();
    let start = |listen: &str| {
        let mut command = command(folder.path());
        command.env("CP_KEY_ENCRYPTION_KEY", KEK).env("CP_BASE_URL", ISSUER);
        Server::run(command.env("CP_LISTEN", listen).arg("serve"))
    };
    let address = reserved_address().to_string();
    let mut server = start(&address);
    let license = server.license().trim_end_matches("/bundles").to_owned();
    let leasing = json!({"leasing": {"render": {"kind": "floating", "cap": 1}}});
    let path = format!("/api/v1{license}");
    let (status, found) = server.call("PATCH", &path, Some(leasing), "pool");
    assert_eq!(status, 200, "{found}");
    let deployment = found["deployment_id"].as_str().unwrap().to_owned();
    let tokens = format!("/deployments/{deployment}/service-tokens");
    let token = server.post(&tokens, json!({"name": "data plane"}));
    let token = token["token"].as_str().unwrap();

    let stores = tempfile::tempdir().unwrap();
    let verifier = verifier(&address, &deployment, token, stores.path());
    let found = verifier.current().unwrap();
    assert_eq!(found.deployment().id.to_string(), deployment);
    let seats = verifier.leases(token);
    let lease = seats.acquire("render", &Holder::id("render-01")).unwrap();
    assert!(matches!(lease.state(), LeaseState::Held));
    let refused = seats.acquire("render", &Holder::id("render-02")).unwrap_err();
    let LeaseError::Refused(refusal) = refused else { panic!("{refused}") };
    assert_eq!(refusal.code().as_str(), "seats_exhausted");

    // The server is gone: the license and the seat stay.
    server.signal(Signal::KILL);
    server.wait();
    assert!(verifier.check_in_now().is_err());
    assert!(verifier.current().is_ok() && lease.state().has_seat());
    let unreachable = seats.acquire("render", &Holder::id("render-02")).unwrap_err();
    assert!(matches!(unreachable, LeaseError::Unreachable(_)), "{unreachable}");
    let again = self::verifier(&address, &deployment, token, stores.path());
    assert!(again.current().is_ok(), "the stored token");

    let server = start(&address);
    verifier.check_in_now().unwrap();
    drop(lease);
    // The release is sent by another thread.
    until(|| seats.acquire("render", &Holder::id("render-02")).is_ok(), "the free seat");

    let suspended = server.call("POST", &format!("{path}/suspend"), Some(json!({})), "suspend");
    assert_eq!(suspended.0, 200);
    let refused = seats.acquire("render", &Holder::id("render-03")).unwrap_err();
    let LeaseError::Refused(refusal) = refused else { panic!("{refused}") };
    assert_eq!(refusal.code().as_str(), "license_suspended");
    verifier.check_in_now().unwrap();
    let health = verifier.check_in_health().unwrap();
    assert_eq!(health.code.unwrap().as_str(), "license_suspended");
}

#[test]
fn a_data_plane_sees_a_suspension_when_it_happens() {
    let folder = folder();
    let free = reserved_address();
    let url = format!("http://{free}");
    let mut command = command(folder.path());
    command.env("CP_KEY_ENCRYPTION_KEY", KEK).env("CP_BASE_URL", &url);
    let server = Server::run(command.env("CP_LISTEN", free.to_string()).arg("serve"));
    let license = server.license().trim_end_matches("/bundles").to_owned();
    let (_, found) = server.call("GET", &format!("/api/v1{license}"), None, "x");
    let deployment = found["deployment_id"].as_str().unwrap();
    let tokens = format!("/deployments/{deployment}/service-tokens");
    let token = server.post(&tokens, json!({"name": "data plane"}));
    let verifier = Verifier::builder()
        .issuer(&url)
        .audience("data-plane")
        .jwks_url(format!("{url}/.well-known/jwks.json"))
        .check_in(format!("{url}/api/v1{}", check_in(deployment)), token["token"].as_str().unwrap())
        .build()
        .unwrap();
    until(|| verifier.current().is_ok(), "the license");
    // The list lives for minutes, and the next check-in is as far away.
    let suspend = format!("/api/v1{license}/suspend");
    assert_eq!(server.call("POST", &suspend, Some(json!({})), "suspend").0, 200);
    let refused = || verifier.current().is_err_and(|error| error.code() == ErrorCode::Suspended);
    until(refused, "the suspension");
}

fn check_in(deployment: &str) -> String {
    format!("/deployments/{deployment}/check-in")
}

#[test]
fn a_token_of_another_deployment_is_not_used() {
    let folder = folder();
    let mut command = command(folder.path());
    command.env("CP_KEY_ENCRYPTION_KEY", KEK).env("CP_BASE_URL", ISSUER);
    let server = Server::run(command.arg("serve"));
    let address = server.address.to_string();
    let license = format!("/api/v1{}", server.license().trim_end_matches("/bundles"));
    let found = server.call("GET", &license, None, "x").1;
    let (org, first) = (found["organization_id"].as_str(), found["deployment_id"].as_str());
    let other = json!({"name": "other", "type": "onprem"});
    let other = server.post(&format!("/organizations/{}/deployments", org.unwrap()), other);
    let other = other["id"].as_str().unwrap();
    let token = |deployment: &str| {
        let path = format!("/deployments/{deployment}/service-tokens");
        server.post(&path, json!({"name": deployment}))["token"].as_str().unwrap().to_owned()
    };
    let stores = tempfile::tempdir().unwrap();
    let own = verifier(&address, first.unwrap(), &token(first.unwrap()), stores.path());
    assert!(own.current().is_ok());
    drop(own);
    let foreign = verifier(&address, other, &token(other), stores.path());
    assert_eq!(foreign.current().unwrap_err().code(), ErrorCode::OtherLicense);
}

fn verifier(address: &str, deployment: &str, token: &str, stores: &Path) -> Verifier {
    let url = format!("http://{address}");
    let verifier = Verifier::builder()
        .issuer(ISSUER)
        .audience("data-plane")
        .jwks_url(format!("{url}/.well-known/jwks.json"))
        .jwks_store(stores.join("keys.json"))
        .check_in(format!("{url}/api/v1{}", check_in(deployment)), token)
        .token_store(stores.join("token"));
    verifier.build().unwrap()
}
