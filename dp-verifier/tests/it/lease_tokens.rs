//! Lease tokens: a holder has a seat, beside a valid license, until the end of the lease.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use dp_verifier::ErrorCode::*;
use dp_verifier::cp_contracts::LEASE_TOKEN_MAX_BYTES;
use dp_verifier::{
    Holder, LeaseContext, LicenseContext, Verifier, VerifyError, check_lease_claims,
};
use serde_json::{Value, json};

use crate::support::*;

/// The index of the borrowed lease in the status list.
const LEASE_IDX: u64 = 4_712;

fn holder() -> Holder {
    Holder::id("session-1")
}

/// The golden license with a pool `render`.
fn license_claims() -> Value {
    claims_with("/license/leasing", json!({ "render": { "kind": "floating", "cap": 5 } }))
}

/// A lease of the golden license's pool `render`, from a minute ago until 300 s from now.
fn lease_claims() -> Value {
    let license = claims();
    let license_id = license["license"]["license_id"].as_str().unwrap().parse().unwrap();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": license["sub"],
        "jti": "018f2a00-0000-7000-8000-00000000aaaa",
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 300, "hbnbf": NOW - 10,
        "lease": {
            "license_id": license["license"]["license_id"], "pool": "render", "kind": "floating",
            "holder": holder().hash(license_id), "borrowed": false, "overage": false,
        },
        "contract": "2.10.0",
    })
}

fn with(pointer: &str, value: impl Into<Option<Value>>) -> Value {
    let mut claims = lease_claims();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let members = claims.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    claims
}

fn borrowed() -> Value {
    let mut claims = with("/lease/borrowed", json!(true));
    claims["status"] = json!({ "status_list": { "idx": LEASE_IDX, "uri": LIST } });
    claims
}

fn lease(claims: &Value) -> String {
    KEY.signed("lease+jwt", claims)
}

fn verifier() -> Verifier {
    crate::support::verifier(&json!({ "keys": [KEY.jwk(), OTHER_KEY.jwk()] }))
}

fn license(verifier: &Verifier) -> LicenseContext {
    verifier.verify(&KEY.token(&license_claims())).unwrap()
}

fn check(claims: &Value) -> Result<LeaseContext, VerifyError> {
    let verifier = verifier();
    verifier.verify_lease(&lease(claims), &license(&verifier), &holder())
}

/// A list in which the borrowed lease has this status.
fn list(iat: i64, status: u8) -> String {
    use dp_verifier::cp_contracts::{LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES, StatusList};
    let mut list = StatusList::new(LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES);
    list.set(LEASE_IDX, status.into()).unwrap();
    KEY.list(&json!({
        "sub": LIST, "iat": iat, "exp": iat + 86_400, "ttl": 300, "status_list": list.to_claim(),
    }))
}

#[test]
fn lease_of_the_holder_is_admitted() {
    let admitted = check(&lease_claims()).unwrap();
    assert_eq!(admitted.pool(), "render");
    assert_eq!(admitted.kind().as_str(), "floating");
    assert_eq!(admitted.expires_at(), NOW + 300);
    assert_eq!(admitted.issued_at(), NOW - 60);
    assert!(!admitted.is_borrowed() && !admitted.is_overage());
    assert_eq!(json!(admitted.claims()), lease_claims());
    assert_eq!(admitted.lease_id().to_string(), "018f2a00-0000-7000-8000-00000000aaaa");
}

#[test]
fn transplanted_lease_is_refused() {
    let other = json!("018f2a00-0000-7000-8000-00000000ffff");
    assert_refused(check(&with("/lease/license_id", other.clone())), LicenseMismatch);
    assert_refused(check(&with("/sub", other.clone())), LicenseMismatch);
    assert_refused(check(&with("/iss", json!("https://other.example"))), IssuerWrong);
    assert_refused(check(&with("/aud", json!("another"))), AudienceWrong);
    // The same lease beside the license of another deployment, and beside one of another issuer
    // that signs with the same key.
    let verifier = verifier();
    let mut elsewhere = license_claims();
    elsewhere["sub"] = other.clone();
    elsewhere["license"]["deployment"]["id"] = other;
    let elsewhere = verifier.verify(&KEY.token(&elsewhere)).unwrap();
    let text = lease(&lease_claims());
    assert_refused(verifier.verify_lease(&text, &elsewhere, &holder()), LicenseMismatch);
    let foreign = Verifier::builder().issuer("https://other.example").audience(AUDIENCE);
    let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
    let foreign = foreign.jwks(jwks).clock(|| NOW).build().unwrap();
    let mut claims = license_claims();
    claims["iss"] = json!("https://other.example");
    claims["status"] = Value::Null;
    let theirs = foreign.verify(&KEY.token(&claims)).unwrap();
    assert_refused(verifier.verify_lease(&text, &theirs, &holder()), LicenseMismatch);
    assert_refused(foreign.verify_lease(&text, &theirs, &holder()), IssuerWrong);
}

#[test]
fn license_token_and_lease_token_are_never_confused() {
    let verifier = verifier();
    let license = license(&verifier);
    // With their own types, and with each other's type around the wrong claims.
    let license_token = KEY.token(&license_claims());
    assert_refused(verifier.verify_lease(&license_token, &license, &holder()), TypWrong);
    assert_refused(verifier.verify(&lease(&lease_claims())), TypWrong);
    let disguised = KEY.signed("lease+jwt", &license_claims());
    assert_refused(verifier.verify_lease(&disguised, &license, &holder()), ClaimsInvalid);
    assert_refused(verifier.verify(&KEY.token(&lease_claims())), ClaimsInvalid);
    for typ in ["JWT", "statuslist+jwt", "license-file+jwt", "lease-pool+jwt", ""] {
        let text = KEY.signed(typ, &lease_claims());
        assert_refused(verifier.verify_lease(&text, &license, &holder()), TypWrong);
    }
    let list = list(NOW, 0);
    assert_refused(verifier.verify_lease(&list, &license, &holder()), TypWrong);
}

#[test]
fn lease_ends_to_the_second_and_begins_within_the_leeway() {
    let verifier = verifier();
    let license = license(&verifier);
    let text = lease(&lease_claims());
    let at = |now| verifier.verify_lease_at(&text, &license, &holder(), now);
    // Uncached, then cached.
    for _ in 0..2 {
        at(NOW + 299).unwrap();
        assert_refused(at(NOW + 300), LeaseExpired);
        at(NOW - 120).unwrap();
        assert_refused(at(NOW - 121), NotYetValid);
    }
    let future = with("/iat", json!(NOW + 61));
    assert_refused(check(&future), NotYetValid);
}

#[test]
fn lease_counts_only_while_the_license_does() {
    static CLOCK: AtomicI64 = AtomicI64::new(NOW);
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE);
    let jwks = json!({ "keys": [KEY.jwk(), OTHER_KEY.jwk()] }).to_string();
    let verifier = builder.jwks(jwks).clock(|| CLOCK.load(Relaxed)).build().unwrap();
    let mut short = license_claims();
    short["exp"] = json!(NOW + 100);
    let license = verifier.verify(&KEY.token(&short)).unwrap();
    let text = lease(&lease_claims());
    let check = || verifier.verify_lease(&text, &license, &holder());
    check().unwrap();
    CLOCK.store(NOW + 159, Relaxed);
    check().unwrap();
    CLOCK.store(NOW + 160, Relaxed);
    assert_refused(check(), Expired);
    CLOCK.store(NOW, Relaxed);
    verifier.import_status_list(&KEY.list(&list_claims(NOW, 2))).unwrap();
    assert_refused(check(), Suspended);
    verifier.import_status_list(&KEY.list(&list_claims(NOW + 1, 1))).unwrap();
    assert_refused(check(), Revoked);
}

#[test]
fn borrowed_lease_ends_with_its_status_entry_and_needs_no_list() {
    let verifier = verifier();
    let license = license(&verifier);
    let text = lease(&borrowed());
    let check = || verifier.verify_lease(&text, &license, &holder());
    assert!(check().unwrap().is_borrowed());
    verifier.import_status_list(&list(NOW, 0)).unwrap();
    check().unwrap();
    // Long after the list has expired, the lease still counts.
    let mut long = borrowed();
    long["exp"] = json!(NOW + 400_000);
    let text_of_long = lease(&long);
    let late = NOW + 300_000;
    verifier.verify_lease_at(&text_of_long, &license, &holder(), late).unwrap();
    for (n, status) in [(1, 1), (2, 2), (3, 3)] {
        verifier.import_status_list(&list(NOW + n, status)).unwrap();
        assert_refused(check(), LeaseOver);
        assert_refused(
            verifier.verify_lease_at(&text_of_long, &license, &holder(), late),
            LeaseOver,
        );
    }
}

#[test]
fn lease_on_a_list_of_another_server_is_refused() {
    let mut claims = borrowed();
    claims["status"]["status_list"]["uri"] = json!("https://other.example/list");
    assert_refused(check(&claims), ClaimsInvalid);
}

#[test]
fn pool_must_be_in_the_license() {
    assert_refused(check(&with("/lease/pool", json!("build"))), PoolUnknown);
    // Every license has this pool.
    check(&with("/lease/pool", json!("seats"))).unwrap();
}

#[test]
fn lease_of_another_holder_is_refused() {
    let verifier = verifier();
    let license = license(&verifier);
    let text = lease(&lease_claims());
    let check = |holder: &Holder| verifier.verify_lease(&text, &license, holder);
    check(&holder()).unwrap();
    for other in [Holder::id("session-2"), Holder::email("session-1"), Holder::id("")] {
        assert_refused(check(&other), HolderMismatch);
    }
    // A hit in the cache is judged for the holder that asks.
    check(&holder()).unwrap();
}

#[test]
fn malformed_lease_is_refused() {
    for (claims, code) in [
        (with("/exp", json!(NOW - 60)), ClaimsInvalid),
        (with("/exp", None), ClaimsInvalid),
        (with("/hbnbf", None), ClaimsInvalid),
        (with("/jti", json!("x")), ClaimsInvalid),
        (with("/lease", None), ClaimsInvalid),
        (with("/lease/borrowed", json!("true")), ClaimsInvalid),
        (with("/lease/holder", json!(7)), ClaimsInvalid),
        (with("/lease/match", json!(2)), ClaimsInvalid),
        (with("/contract", json!("3.0.0")), ContractUnsupported),
        (with("/iss", None), IssuerWrong),
        (with("/aud", json!([AUDIENCE])), AudienceWrong),
    ] {
        assert_refused(check(&claims), code);
    }
    let twice = lease_claims().to_string().replacen('{', "{\"exp\":9999999999,", 1);
    let header = json!({ "alg": "RS256", "typ": "lease+jwt", "kid": KEY.kid }).to_string();
    let verifier = verifier();
    let license = license(&verifier);
    let text = KEY.sign(&header, twice);
    assert_refused(verifier.verify_lease(&text, &license, &holder()), ClaimsInvalid);
    let large = lease(&with("/later", json!("x".repeat(LEASE_TOKEN_MAX_BYTES))));
    assert_refused(verifier.verify_lease(&large, &license, &holder()), TokenTooLarge);
    let forged = Key::new("key-1").signed("lease+jwt", &lease_claims());
    assert_refused(verifier.verify_lease(&forged, &license, &holder()), SignatureInvalid);
    assert_refused(verifier.verify_lease("", &license, &holder()), TokenMissing);
    // Unknown members and absent optional ones are fine.
    check(&with("/lease/later", json!({ "kept": true }))).unwrap();
    check(&with("/contract", None)).unwrap();
}

#[test]
fn clock_set_back_revives_no_lease() {
    static CLOCK: AtomicI64 = AtomicI64::new(NOW);
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE);
    let jwks = json!({ "keys": [KEY.jwk(), OTHER_KEY.jwk()] }).to_string();
    let verifier = builder.jwks(jwks).clock(|| CLOCK.load(Relaxed)).build().unwrap();
    let license = license(&verifier);
    let text = lease(&lease_claims());
    CLOCK.store(NOW + 1_000, Relaxed);
    assert_refused(verifier.verify_lease(&text, &license, &holder()), LeaseExpired);
    // A later lease raises the time floor.
    let mut later = lease_claims();
    later["iat"] = json!(NOW + 1_000);
    later["exp"] = json!(NOW + 2_000);
    verifier.verify_lease(&lease(&later), &license, &holder()).unwrap();
    assert_eq!(verifier.time_floor(), NOW + 1_000);
    CLOCK.store(NOW, Relaxed);
    assert_refused(verifier.verify_lease(&text, &license, &holder()), LeaseExpired);
}

#[test]
fn lease_token_is_verified_once_and_ends_with_its_key() {
    let verifier = verifier();
    let license = license(&verifier);
    let text = lease(&lease_claims());
    let check = || verifier.verify_lease(&text, &license, &holder());
    let (first, second) = (check().unwrap(), check().unwrap());
    assert!(std::ptr::eq(first.claims(), second.claims()));
    let without = json!({ "keys": [OTHER_KEY.jwk()] }).to_string();
    verifier.replace_keys(dp_verifier::KeySet::from_json(without.as_bytes()).unwrap());
    assert_refused(check(), KidUnknown);
}

#[test]
fn lease_of_the_contract_is_read() {
    let golden = include_str!("../../../cp-contracts/golden/2.11.0/lease_claims.json");
    let claims: Value = serde_json::from_str(golden).unwrap();
    let now = claims["iat"].as_i64().unwrap();
    check_lease_claims(golden.as_bytes(), ISSUER, AUDIENCE, now).unwrap();
}

#[test]
fn issuer_checks_the_claims_that_a_verifier_checks() {
    let check =
        |claims: &Value| check_lease_claims(claims.to_string().as_bytes(), ISSUER, AUDIENCE, NOW);
    check(&lease_claims()).unwrap();
    assert_refused(check(&with("/nbf", json!(NOW + 1))), NotYetValid);
    assert_refused(check(&with("/exp", json!(NOW))), LeaseExpired);
    assert_refused(check(&with("/iss", json!("x"))), IssuerWrong);
    assert_refused(check(&license_claims()), ClaimsInvalid);
    let large = with("/later", json!("x".repeat(LEASE_TOKEN_MAX_BYTES / 2)));
    assert_refused(check(&large), TokenTooLarge);
}
