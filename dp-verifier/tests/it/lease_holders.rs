//! Holders of leases: their hashes, and the machines that match a lease.

use dp_verifier::ErrorCode::HolderMismatch;
use dp_verifier::{Fingerprint, Holder, LicenseContext, component_hash, holder_hash};
use serde_json::{Value, json};

use crate::support::*;

fn license() -> LicenseContext {
    verify(&KEY.token(&license_claims())).unwrap()
}

fn license_claims() -> Value {
    claims_with("/license/leasing", json!({ "machines": { "kind": "node", "cap": 5 } }))
}

fn print(parts: &[(&str, &str)]) -> Fingerprint {
    let license = license();
    parts
        .iter()
        .fold(Fingerprint::of(&license), |print, (name, value)| print.component(name, value))
}

/// The hash of a component as the control plane computes it from the value that it receives.
fn stored(name: &str, value: &str) -> String {
    let license_id = license().license_id();
    let key =
        aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, license_id.to_string().as_bytes());
    let sent = base64url(aws_lc_rs::hmac::sign(&key, format!("{name}\0{value}").as_bytes()));
    component_hash(license_id, name, &sent)
}

/// Whether a machine of these parts matches a lease with the components `a`, `b` and `c` of
/// another fingerprint.
fn matches(rule: Option<&str>, parts: &[(&str, &str)]) -> bool {
    let license = claims();
    let components = ["a", "b", "c"].map(|name| stored(name, "1"));
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": license["sub"],
        "jti": "018f2a00-0000-7000-8000-00000000aaaa",
        "iat": NOW, "nbf": NOW, "exp": NOW + 300, "hbnbf": NOW,
        "lease": {
            "license_id": license["license"]["license_id"], "pool": "machines", "kind": "node",
            "holder": "another-machine", "components": components, "borrowed": true,
            "overage": false,
        },
    });
    if let Some(rule) = rule {
        claims["lease"]["match"] = json!(rule);
    }
    let verifier = verifier(&json!({ "keys": [KEY.jwk()] }));
    let license = verifier.verify(&KEY.token(&license_claims())).unwrap();
    let text = KEY.signed("lease+jwt", &claims);
    let checked = verifier.verify_lease(&text, &license, &Holder::machine(&print(parts)));
    match checked {
        Ok(_) => true,
        Err(refused) => {
            assert_eq!(refused.code(), HolderMismatch);
            false
        }
    }
}

#[test]
fn enough_components_match_a_lease() {
    let none: &[(&str, &str)] = &[("a", "2"), ("b", "2"), ("d", "1")];
    let one: &[(&str, &str)] = &[("a", "1"), ("b", "2"), ("c", "2")];
    let two: &[(&str, &str)] = &[("a", "1"), ("b", "1"), ("c", "2")];
    let all: &[(&str, &str)] = &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")];
    for (rule, expected) in [
        (None, [false; 4]),
        (Some("exact"), [false; 4]),
        (Some("any"), [false, true, true, true]),
        (Some("two"), [false, false, true, true]),
        (Some("most"), [false, false, true, true]),
        (Some("all"), [false, false, false, true]),
        (Some("later"), [false; 4]),
    ] {
        assert_eq!([none, one, two, all].map(|parts| matches(rule, parts)), expected, "{rule:?}");
    }
    assert!(!matches(Some("any"), &[]));
}

#[test]
fn hash_has_the_published_form() {
    let id = license().license_id();
    // base64url of the first 16 bytes of SHA-256.
    let expected = |text: &str| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        base64url(&hash.as_ref()[..16])
    };
    assert_eq!(holder_hash(id, "id", "x"), expected(&format!("{id}:id:x")));
    assert_eq!(component_hash(id, "mac", "h"), expected(&format!("{id}:component:mac:h")));
    for (holder, text) in [
        (Holder::user(id), format!("{id}:user:{id}")),
        (Holder::email("Anna@Example.com"), format!("{id}:email:anna@example.com")),
        (Holder::subject("google", "42"), format!("{id}:subject:google|42")),
        (Holder::id("x"), format!("{id}:id:x")),
    ] {
        assert_eq!(holder.hash(id), expected(&text));
        assert_eq!(holder.hash(id), holder.clone().hash(id));
        // Another license has another hash, and the first one stays.
        let other = "018f2a00-0000-7000-8000-00000000ffff".parse().unwrap();
        assert_ne!(holder.hash(other), expected(&text));
        assert_eq!(holder.hash(id), expected(&text));
    }
    assert_eq!(holder_hash(id, "email", "A@B.example"), holder_hash(id, "email", "a@b.example"));
}

#[test]
fn debug_forms_reveal_no_identity() {
    let print = print(&[("mac", "aa:bb:cc")]).text("node-17");
    let holders =
        [Holder::email("anna@example.com"), Holder::id("s3cr3t"), Holder::machine(&print)];
    let shown = format!("{holders:?} {print:?}");
    for secret in [
        "anna",
        "s3cr3t",
        "aa:bb",
        "node-17",
        &Holder::machine(&print).hash(license().license_id()),
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("email") && shown.contains("mac"), "{shown}");
}
