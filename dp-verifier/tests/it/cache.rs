//! V15: a remembered token is judged like any other.

use dp_verifier::ErrorCode::{Expired, KidUnknown, NotYetValid, SignatureInvalid};
use dp_verifier::{KeySet, Verifier};
use serde_json::json;

use crate::support::*;

fn cached(tokens: usize) -> Verifier {
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).clock(|| NOW);
    builder.jwks(set()).cache(tokens).build().unwrap()
}

fn set() -> String {
    json!({ "keys": [KEY.jwk(), OTHER_KEY.jwk()] }).to_string()
}

fn hits(verifier: &Verifier) -> u64 {
    verifier.cache_stats().unwrap().hits
}

#[test]
fn a_token_is_verified_once() {
    let verifier = cached(16);
    let token = KEY.token(&claims());
    let first = verifier.verify(&token).unwrap();
    assert_eq!(hits(&verifier), 0);
    let second = verifier.verify(&token).unwrap();
    assert_eq!(hits(&verifier), 1);
    assert_eq!(first, second);
    assert!(std::ptr::eq(first.claims(), second.claims()));
}

#[test]
fn a_remembered_token_ends_to_the_second() {
    let verifier = cached(16);
    let token = KEY.token(&claims());
    let [nbf, exp] = ["nbf", "exp"].map(|name| claims()[name].as_i64().unwrap());
    for _ in 0..2 {
        verifier.verify(&token).unwrap();
        verifier.verify_at(&token, exp + 59).unwrap();
        assert_refused(verifier.verify_at(&token, exp + 60), Expired);
        verifier.verify_at(&token, nbf - 60).unwrap();
        assert_refused(verifier.verify_at(&token, nbf - 61), NotYetValid);
    }
}

#[test]
fn a_remembered_token_ends_with_its_key() {
    let verifier = cached(16);
    let token = KEY.token(&claims());
    verifier.verify(&token).unwrap();
    let without = json!({ "keys": [OTHER_KEY.jwk()] }).to_string();
    verifier.replace_keys(KeySet::from_json(without.as_bytes()).unwrap());
    assert_refused(verifier.verify(&token), KidUnknown);
    verifier.replace_keys(KeySet::from_json(set().as_bytes()).unwrap());
    verifier.verify(&token).unwrap();
    assert_eq!(hits(&verifier), 0);
}

#[test]
fn tokens_that_share_a_part_share_nothing() {
    let verifier = cached(4);
    let token = KEY.token(&claims());
    verifier.verify(&token).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let other = KEY.token(&claims_with("/license/seat_cap", json!(9_999)));
    let (other_message, other_signature) = other.rsplit_once('.').unwrap();
    assert_refused(verifier.verify(&format!("{other_message}.{signature}")), SignatureInvalid);
    assert_refused(verifier.verify(&format!("{message}.{other_signature}")), SignatureInvalid);
    assert_eq!(verifier.verify(&other).unwrap().seat_cap(), 9_999);
    assert_eq!(verifier.verify(&token).unwrap().seat_cap(), 50);
}

#[test]
fn failures_are_not_remembered() {
    let verifier = cached(4);
    let good = KEY.token(&claims());
    verifier.verify(&good).unwrap();
    let (message, _) = good.rsplit_once('.').unwrap();
    for n in 0..1_000 {
        let forged = format!("{message}.{}", base64url(format!("{n:0256}")));
        assert_refused(verifier.verify(&forged), SignatureInvalid);
    }
    verifier.verify(&good).unwrap();
    assert_eq!(hits(&verifier), 1, "forgeries have displaced a genuine token");
}

#[test]
fn the_cache_is_bounded() {
    let verifier = cached(8);
    let tokens: Vec<String> =
        (0..40).map(|n| KEY.token(&claims_with("/license/seat_cap", json!(n)))).collect();
    for (n, token) in tokens.iter().enumerate() {
        assert_eq!(verifier.verify(token).unwrap().seat_cap(), u64::try_from(n).unwrap());
    }
    for (n, token) in tokens.iter().enumerate().rev() {
        assert_eq!(verifier.verify(token).unwrap().seat_cap(), u64::try_from(n).unwrap());
    }
    assert!(hits(&verifier) <= 8, "{}", hits(&verifier));
    assert_eq!(cached(0).cache_stats(), None);
}

#[test]
fn threads_see_the_right_license() {
    let verifier = cached(4);
    let tokens: Vec<String> =
        (0..12).map(|n| KEY.token(&claims_with("/license/seat_cap", json!(n)))).collect();
    std::thread::scope(|scope| {
        for offset in 0..4 {
            let (verifier, tokens) = (&verifier, &tokens);
            scope.spawn(move || {
                for n in (0..600).map(|n| (n + offset * 3) % tokens.len()) {
                    let license = verifier.verify(&tokens[n]).unwrap();
                    assert_eq!(license.seat_cap(), u64::try_from(n).unwrap());
                }
            });
        }
    });
}
