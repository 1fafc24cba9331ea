//! Status lists: which are believed, and what they do to a license.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dp_verifier::ErrorCode::{
    AlgNotAllowed, ClaimsInvalid, Expired, KidMissing, KidUnknown, NotYetValid, Replayed, Revoked,
    SignatureInvalid, StatusStale, Suspended, TokenMalformed, TokenTooLarge, TypWrong,
};
use dp_verifier::LicenseState::{Stale, Valid};
use dp_verifier::cp_contracts::{EntryBits, StatusList};
use dp_verifier::{KeySet, Verifier, VerifierBuilder, check_claims};
use serde_json::{Value, json};

use crate::support::*;

fn verifier() -> Verifier {
    crate::support::verifier(&json!({ "keys": [KEY.jwk()] }))
}

fn builder(clock: &Arc<AtomicI64>) -> VerifierBuilder {
    let clock = Arc::clone(clock);
    let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(jwks);
    builder.clock(move || clock.load(Relaxed))
}

/// The good list with the value at a JSON pointer replaced, or removed.
fn list_with(pointer: &str, value: impl Into<Option<Value>>) -> Value {
    let mut claims = list_claims(NOW, 0);
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let members = claims.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    claims
}

#[test]
fn a_license_that_is_remembered_ends_and_revives_with_the_list() {
    let verifier = verifier();
    let token = KEY.token(&claims_on_stale("degrade"));
    assert_eq!(verifier.verify(&token).unwrap().state(), Stale);
    for (after, status, outcome) in [
        (0, 0, Ok(Valid)),
        (1, 2, Err(Suspended)),
        (2, 0, Ok(Valid)),
        (3, 1, Err(Revoked)),
        (4, 0, Ok(Valid)),
        // What has no name is not valid.
        (5, 3, Err(Revoked)),
    ] {
        let held = verifier.verify(&token);
        let list = KEY.list(&list_claims(NOW - 100 + after, status));
        let taken = verifier.import_status_list(&list).unwrap();
        assert_eq!((taken.uri.as_str(), taken.issued_at), (LIST, NOW - 100 + after));
        assert_eq!(verifier.status_lists(), [taken]);
        let actual = verifier.verify(&token).map(|license| license.state());
        assert_eq!(actual.clone().map_err(|refused| refused.code()), outcome);
        // A license that an app still holds has the same state.
        if let Ok(held) = held {
            let state = verifier.state_of(&held);
            let expected = actual.unwrap_or_else(|refused| refused.state().unwrap());
            assert_eq!(state, expected);
        }
    }
    assert_eq!(verifier.cache_stats().unwrap().misses, 1);
}

#[test]
fn a_list_that_is_not_the_issuer_s_is_not_taken() {
    let verifier = verifier();
    let good = KEY.list(&list_claims(NOW - 1, 2));
    verifier.import_status_list(&good).unwrap();
    let before = verifier.status_lists();
    let claims = list_claims(NOW, 0);
    let header = |name: &str, value: Value| {
        let mut header = json!({ "alg": "RS256", "typ": "statuslist+jwt", "kid": KEY.kid });
        header[name] = value;
        KEY.sign(header.to_string(), claims.to_string())
    };
    let foreign = Key::new("key-1");
    let (message, _) = good.rsplit_once('.').unwrap();
    let mut refused = vec![
        (KEY.token(&claims), TypWrong),
        (KEY.token(&crate::support::claims()), TypWrong),
        (header("typ", json!("JWT")), TypWrong),
        (header("alg", json!("none")), AlgNotAllowed),
        (header("alg", json!("HS256")), AlgNotAllowed),
        (header("kid", json!(null)), KidMissing),
        (header("jwk", KEY.jwk()), TokenMalformed),
        (OTHER_KEY.list(&claims), KidUnknown),
        (foreign.list(&claims), SignatureInvalid),
        (format!("{message}.{}", base64url([0; 256])), SignatureInvalid),
        (format!("{good}."), TokenMalformed),
        ("x".repeat(1024 * 1024 + 1), TokenTooLarge),
        (KEY.list(&list_claims(NOW + 61, 0)), NotYetValid),
        (KEY.list(&list_with("/exp", json!(NOW))), ClaimsInvalid),
        (KEY.list(&list_claims(NOW - 2, 0)), Replayed),
        (KEY.list(&list_claims(NOW - 86_400 - 60, 0)), Replayed),
    ];
    let wrong = |pointer, value: Value| (KEY.list(&list_with(pointer, value)), ClaimsInvalid);
    let zeros = |bytes: u64| StatusList::new(EntryBits::Eight, bytes).encode();
    refused.extend([
        wrong("/sub", json!("https://evil.example/api/v1/status-lists/1")),
        wrong("/sub", json!("https://cp.example.evil.example/1")),
        wrong("/sub", json!("https://cp.example@evil.example/1")),
        wrong("/sub", json!("https://cp.example")),
        wrong("/sub", json!("/api/v1/status-lists/1")),
        wrong("/sub", json!([LIST])),
        wrong("/iat", json!(-1)),
        wrong("/iat", json!(1.0)),
        wrong("/exp", json!(i64::MAX)),
        wrong("/ttl", json!(0)),
        wrong("/ttl", json!(-300)),
        wrong("/ttl", json!(31 * 86_400 + 1)),
        wrong("/ttl", json!(i64::MAX)),
        wrong("/ttl", json!(u64::MAX)),
        wrong("/ttl", json!(1.5)),
        wrong("/ttl", json!(null)),
        wrong("/status_list", json!([2, "eNo76fITAAPfAgc"])),
        wrong("/status_list/bits", json!(3)),
        wrong("/status_list/bits", json!(0)),
        wrong("/status_list/bits", json!(258)),
        wrong("/status_list/bits", json!("2")),
        wrong("/status_list/lst", json!("")),
        wrong("/status_list/lst", json!("eNo76fITAAPfAgc=")),
        wrong("/status_list/lst", json!("eNo76fITAAPfAg")),
        wrong("/status_list/lst", json!("eNo76fITAAPfAgcA")),
        wrong("/status_list/lst", json!(zeros(256 * 1024 + 1))),
    ]);
    for pointer in ["/sub", "/iat", "/exp", "/ttl", "/status_list", "/status_list/bits"] {
        refused.push((KEY.list(&list_with(pointer, None)), ClaimsInvalid));
    }
    for (list, code) in refused {
        let shown: String = list.chars().take(300).collect();
        let taken = verifier.import_status_list(&list);
        assert_eq!(taken.as_ref().map_err(|refused| refused.code()), Err(code), "{shown}");
        assert!(taken.unwrap_err().to_string().len() < 300);
        assert_eq!(verifier.status_lists(), before);
    }
    // What is larger than ours but not absurd is read.
    let large = list_with("/status_list/lst", json!(zeros(256 * 1024)));
    verifier.import_status_list(&KEY.list(&large)).unwrap();
}

#[test]
fn the_extremes_of_a_good_list_are_taken() {
    let verifier = verifier();
    for ttl in [1, 31 * 86_400] {
        verifier.import_status_list(&KEY.list(&list_with("/ttl", json!(ttl)))).unwrap();
    }
    for iat in [NOW, NOW + 60] {
        verifier.import_status_list(&KEY.list(&list_claims(iat, 0))).unwrap();
        // The same again is nothing new, and no harm.
        verifier.import_status_list(&KEY.list(&list_claims(iat, 0))).unwrap();
    }
    let unknown = list_with("/aggregation_uri", json!({ "later": [1] }));
    assert_not_taken(verifier.import_status_list(&KEY.list(&unknown)), Replayed);
    let over = KEY.list(&list_claims(NOW - 86_400 - 60, 0));
    assert_not_taken(self::verifier().import_status_list(&over), Expired);
    let just_expired = Arc::new(AtomicI64::new(NOW + 86_400 + 59));
    let later = builder(&just_expired).build().unwrap();
    later.import_status_list(&format!("{}\r\n", KEY.list(&unknown))).unwrap();
}

#[test]
fn without_a_recent_list_the_token_s_own_rule_decides() {
    let clock = Arc::new(AtomicI64::new(NOW));
    let other_list = || {
        let mut claims = list_claims(NOW, 0);
        claims["status_list"] = json!({ "bits": 1, "lst": "eNrbuRgAAhcBXQ" });
        KEY.list(&claims)
    };
    let soon_over = || {
        let mut claims = list_claims(NOW, 0);
        claims["exp"] = json!(NOW + 100);
        KEY.list(&claims)
    };
    let good = || KEY.list(&list_claims(NOW, 0));
    // The list, how many seconds pass, and whether its word still counts.
    for (list, passed, is_known) in [
        (None, 0, false),
        (Some(good()), 0, true),
        (Some(good()), 3_600, true),
        (Some(good()), 3_601, false),
        // The clock of the issuer is a little ahead.
        (Some(good()), -60, true),
        (Some(soon_over()), 159, true),
        (Some(soon_over()), 160, false),
        // The token's index is beyond its end.
        (Some(other_list()), 0, false),
    ] {
        for (rule, otherwise) in [
            (Some("allow"), Ok(Valid)),
            (Some("degrade"), Ok(Stale)),
            (Some("block"), Err(StatusStale)),
            // A rule of a later version.
            (Some("ask"), Ok(Stale)),
            (None, Ok(Valid)),
        ] {
            clock.store(NOW, Relaxed);
            let verifier = builder(&clock).build().unwrap();
            if let Some(list) = &list {
                verifier.import_status_list(list).unwrap();
            }
            let token = match rule {
                Some(rule) => KEY.token(&claims_on_stale(rule)),
                None => KEY.token(&claims_with("/enforcement", None)),
            };
            clock.store(NOW + passed, Relaxed);
            // Twice, for the cache.
            for _ in 0..2 {
                let actual = verifier.verify(&token).map(|license| license.state());
                let actual = actual.map_err(|refused| refused.code());
                assert_eq!(
                    actual,
                    if is_known { Ok(Valid) } else { otherwise },
                    "{rule:?} {passed}"
                );
            }
        }
    }
}

#[test]
fn a_status_max_age_of_nothing_is_never_met() {
    let verifier = verifier();
    verifier.import_status_list(&KEY.list(&list_claims(NOW, 0))).unwrap();
    for (max_age, expected) in
        [(0, Ok(Valid)), (-1, Err(StatusStale)), (i64::MIN, Err(StatusStale))]
    {
        let mut claims = claims_on_stale("block");
        claims["enforcement"]["status_max_age"] = json!(max_age);
        let actual = verifier.verify(&KEY.token(&claims)).map(|license| license.state());
        assert_eq!(actual.map_err(|refused| refused.code()), expected, "{max_age}");
    }
}

#[test]
fn token_revoked_stays_revoked_with_an_old_list() {
    for (status, code) in [(1, Revoked), (2, Suspended), (3, Revoked)] {
        for rule in ["allow", "degrade", "block"] {
            let clock = Arc::new(AtomicI64::new(NOW));
            let verifier = builder(&clock).build().unwrap();
            let token = KEY.token(&claims_on_stale(rule));
            verifier.import_status_list(&KEY.list(&list_claims(NOW, status))).unwrap();
            for passed in [0, 3_601, 86_400 + 61, 20 * 86_400] {
                clock.store(NOW + passed, Relaxed);
                assert_refused(verifier.verify(&token), code);
            }
        }
    }
}

#[test]
fn a_token_without_status_has_nothing_to_check() {
    let verifier = verifier();
    verifier.import_status_list(&KEY.list(&list_claims(NOW, 1))).unwrap();
    let mut claims = claims_on_stale("block");
    claims.as_object_mut().unwrap().remove("status");
    assert_eq!(verifier.verify(&KEY.token(&claims)).unwrap().state(), Valid);
}

#[test]
fn a_token_never_leads_elsewhere() {
    for uri in [
        "https://evil.example/api/v1/status-lists/1",
        "https://cp.example.evil.example/1",
        "https://cp.example:8443/1",
        "https://cp.example@evil.example/1",
        "http://cp.example/1",
        "https://cp.example",
        "//cp.example/1",
        "",
    ] {
        let claims = claims_with("/status/status_list/uri", json!(uri));
        assert_refused(verify_claims(&claims), ClaimsInvalid);
        let checked = check_claims(claims.to_string().as_bytes(), ISSUER, AUDIENCE, NOW);
        assert_refused(checked, ClaimsInvalid);
    }
    // An issuer whose own name ends with a slash.
    let mut claims = claims_with("/iss", json!("https://cp.example/"));
    let check = |claims: &Value| {
        check_claims(claims.to_string().as_bytes(), "https://cp.example/", AUDIENCE, NOW)
    };
    check(&claims).unwrap();
    claims["status"]["status_list"]["uri"] = json!("https://cp.example.evil.example/");
    assert_refused(check(&claims), ClaimsInvalid);
}

#[test]
fn a_list_is_as_good_as_its_key() {
    let verifier = crate::support::verifier(&json!({ "keys": [KEY.jwk(), OTHER_KEY.jwk()] }));
    let token = KEY.token(&claims_on_stale("degrade"));
    verifier.import_status_list(&OTHER_KEY.list(&list_claims(NOW, 2))).unwrap();
    assert_refused(verifier.verify(&token), Suspended);
    let set = |keys: &[&Key]| {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        KeySet::from_json(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    };
    // The key that has signed the list is gone, and comes back. What the list has taken back stays so.
    verifier.replace_keys(set(&[&KEY]));
    assert_refused(verifier.verify(&token), Suspended);
    assert_not_taken(verifier.import_status_list(&KEY.list(&list_claims(NOW - 1, 0))), Replayed);
    verifier.replace_keys(set(&[&KEY, &OTHER_KEY]));
    assert_refused(verifier.verify(&token), Suspended);
    // That a token holds is believed of a key that is known only.
    verifier.import_status_list(&OTHER_KEY.list(&list_claims(NOW + 1, 0))).unwrap();
    assert_eq!(verifier.verify(&token).unwrap().state(), Valid);
    verifier.replace_keys(set(&[&KEY]));
    assert_eq!(verifier.verify(&token).unwrap().state(), Stale);
}

#[test]
fn each_list_speaks_for_its_own_tokens() {
    let verifier = verifier();
    let uri = |n: usize| format!("https://cp.example/api/v1/status-lists/{n}");
    let token = |n: usize| {
        let mut claims = claims_on_stale("degrade");
        claims["status"]["status_list"]["uri"] = json!(uri(n));
        KEY.token(&claims)
    };
    let list = |n: usize, status: u8| {
        let mut claims = list_claims(NOW, status);
        claims["sub"] = json!(uri(n));
        KEY.list(&claims)
    };
    verifier.import_status_list(&list(1, 1)).unwrap();
    assert_refused(verifier.verify(&token(1)), Revoked);
    assert_eq!(verifier.verify(&token(2)).unwrap().state(), Stale);
    // There is an end to how many are held.
    for n in 3..=64 {
        verifier.import_status_list(&list(n, 0)).unwrap();
    }
    assert_not_taken(verifier.import_status_list(&list(65, 0)), ClaimsInvalid);
    assert_eq!(verifier.verify(&token(65)).unwrap().state(), Stale);
    assert_eq!(verifier.verify(&token(64)).unwrap().state(), Valid);
}

#[test]
fn a_bomb_is_defused() {
    // A full flush makes a megabyte of zeros repeatable: 1,024 of them are a gigabyte.
    let part = {
        let mut part = Vec::with_capacity(1 << 16);
        let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
        deflate.compress_vec(&[0; 1 << 20], &mut part, flate2::FlushCompress::Full).unwrap();
        part
    };
    let bomb = [&[0x78, 0xda], &*part.repeat(500)].concat();
    let list = list_with("/status_list/lst", json!(URL_SAFE_NO_PAD.encode(bomb)));
    let text = KEY.list(&list);
    assert!(text.len() < 1024 * 1024, "{}", text.len());
    assert_not_taken(verifier().import_status_list(&text), ClaimsInvalid);
}
