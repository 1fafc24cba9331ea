//! Vectors of status lists.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dp_verifier::ErrorCode::{
    AlgNotAllowed, ClaimsInvalid, Expired, KidMissing, KidUnknown, NotYetValid, Replayed, Revoked,
    SignatureInvalid, StatusStale, Suspended, TokenMalformed, TypWrong,
};
use dp_verifier::LicenseState::{Stale, Valid};
use dp_verifier::cp_contracts::{EntryBits, StatusList};
use serde_json::{Value, json};

use super::documents::{list_of, with};
use super::vector::Vector;
use crate::support::*;

fn list(iat: i64, status: u8) -> String {
    KEY.list(&list_claims(iat, status))
}

fn token(on_stale: &str) -> String {
    KEY.token(&claims_on_stale(on_stale))
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = statuses();
    all.extend(ages());
    all.extend(refused_lists());
    all
}

fn statuses() -> Vec<Vector> {
    let token = token("degrade");
    let no_status = KEY.token(&with(claims_on_stale("block"), "status", None));
    let no_rule = KEY.token(&with(claims(), "enforcement", None));
    vec![
        Vector::new("status_valid_is_admitted", "").takes_list(list(NOW, 0)).admits(&token, Valid),
        Vector::new("status_revoked_is_refused", "")
            .takes_list(list(NOW, 1))
            .refuses(&token, Revoked),
        Vector::new("status_suspended_is_refused", "")
            .takes_list(list(NOW, 2))
            .refuses(&token, Suspended),
        Vector::new("status_without_a_name_is_refused", "Every status other than 0 refuses.")
            .takes_list(list(NOW, 3))
            .refuses(&token, Revoked),
        Vector::new("status_of_another_index_changes_nothing", "")
            .takes_list(KEY.list(&list_of(IDX + 1, NOW, 1)))
            .takes_list(KEY.list(&list_of(IDX + 1, NOW + 1, 2)))
            .admits(&token, Valid),
        Vector::new("newer_list_revokes_a_cached_token", "")
            .takes_list(list(NOW - 10, 0))
            .admits(&token, Valid)
            .takes_list(list(NOW - 9, 1))
            .refuses(&token, Revoked),
        Vector::new("newer_list_ends_a_suspension", "")
            .takes_list(list(NOW - 10, 2))
            .refuses(&token, Suspended)
            .takes_list(list(NOW - 9, 0))
            .admits(&token, Valid),
        Vector::new("older_list_is_refused_and_revives_nothing", "")
            .takes_list(list(NOW - 10, 1))
            .refuses_list(list(NOW - 11, 0), Replayed)
            .refuses(&token, Revoked),
        Vector::new("stricter_list_of_the_same_second_counts", "")
            .takes_list(list(NOW, 0))
            .takes_list(list(NOW, 1))
            .refuses(&token, Revoked),
        Vector::new("token_without_status_has_no_status_check", "").admits(no_status, Valid),
        Vector::new("token_without_enforcement_allows_a_missing_list", "").admits(no_rule, Valid),
        Vector::new("revoked_and_expired_is_revoked", "The strictest state decides the code.")
            .at(NOW + 30 * 86_400)
            .takes_list(list(NOW + 30 * 86_400, 1))
            .refuses(&token, Revoked),
        Vector::new("revocation_survives_a_restart", "")
            .set("state_file", true)
            .takes_list(list(NOW - 10, 1))
            .restarts()
            .refuses(&token, Revoked)
            .refuses_list(list(NOW - 11, 0), Replayed),
    ]
}

fn ages() -> Vec<Vector> {
    // `claims_on_stale` allows an age of 3,600 s.
    let old = |age: i64| list(NOW - age, 0);
    let short =
        |status: u8| KEY.list(&with(list_claims(NOW - 100, status), "exp", json!(NOW + 100)));
    let mut all = vec![
        Vector::new("list_at_the_maximum_age_is_recent", "")
            .takes_list(old(3_600))
            .admits(token("block"), Valid),
        Vector::new("list_beyond_the_maximum_age_blocks", "")
            .takes_list(old(3_601))
            .refuses(token("block"), StatusStale),
        Vector::new("list_beyond_the_maximum_age_degrades", "")
            .takes_list(old(3_601))
            .admits(token("degrade"), Stale),
        Vector::new("list_beyond_the_maximum_age_is_allowed", "")
            .takes_list(old(3_601))
            .admits(token("allow"), Valid),
        Vector::new("missing_list_blocks", "").refuses(token("block"), StatusStale),
        Vector::new("missing_list_degrades", "").admits(token("degrade"), Stale),
        Vector::new("missing_list_is_allowed", "").admits(token("allow"), Valid),
        Vector::new("unknown_rule_degrades", "").admits(token("quarantine"), Stale),
        Vector::new("list_in_its_last_second_is_recent", "")
            .takes_list(short(0))
            .then_at(NOW + 159)
            .admits(token("block"), Valid),
        Vector::new("expired_list_blocks", "")
            .takes_list(short(0))
            .then_at(NOW + 160)
            .refuses(token("block"), StatusStale),
        Vector::new("expired_list_still_revokes", "Revocations count at any age.")
            .takes_list(short(1))
            .then_at(NOW + 200_000)
            .refuses(token("allow"), Revoked),
        Vector::new("old_list_still_suspends", "")
            .takes_list(list(NOW - 80_000, 2))
            .refuses(token("allow"), Suspended),
    ];
    let mut beyond = claims_on_stale("block");
    beyond["status"]["status_list"]["idx"] = json!(70_000);
    all.push(
        Vector::new("index_beyond_the_list_blocks", "")
            .takes_list(list(NOW, 0))
            .refuses(KEY.token(&beyond), StatusStale),
    );
    all
}

fn refused_lists() -> Vec<Vector> {
    let claims = list_claims(NOW, 0);
    let under = |name: &str, value: Value| {
        let header = json!({ "alg": "RS256", "typ": "statuslist+jwt", "kid": KEY.kid });
        KEY.sign(with(header, name, value).to_string(), claims.to_string())
    };
    let changed = |name: &str, value: Value| KEY.list(&with(claims.clone(), name, value));
    let lst = |lst: String| changed("status_list", json!({ "bits": 2, "lst": lst }));
    let bomb = StatusList::new(EntryBits::Eight, 256 * 1_024 + 1).encode();
    let good = claims["status_list"]["lst"].as_str().unwrap().to_owned();
    let octets = URL_SAFE_NO_PAD.decode(&good).unwrap();
    let twice = claims.to_string().replacen('{', r#"{"iat":1,"#, 1);
    let header = json!({ "alg": "RS256", "typ": "statuslist+jwt", "kid": KEY.kid }).to_string();
    let day_ago = NOW - 86_400;
    let bad = [
        ("of_typ_jwt", under("typ", json!("JWT")), TypWrong),
        ("of_typ_license", KEY.token(&claims), TypWrong),
        ("with_alg_none", under("alg", json!("none")), AlgNotAllowed),
        ("without_kid", under("kid", json!(null)), KidMissing),
        ("of_an_unknown_key", under("kid", json!("key-9")), KidUnknown),
        ("with_jwk", under("jwk", KEY.jwk()), TokenMalformed),
        ("of_a_foreign_key", Key::new("key-1").list(&claims), SignatureInvalid),
        ("issued_in_the_future", list(NOW + 61, 0), NotYetValid),
        ("expired", list(day_ago - 60, 0), Expired),
        ("of_another_server", changed("sub", json!("https://evil.example/1")), ClaimsInvalid),
        (
            "of_a_similar_server",
            changed("sub", json!("https://cp.example.evil.example/1")),
            ClaimsInvalid,
        ),
        ("with_ttl_0", changed("ttl", json!(0)), ClaimsInvalid),
        ("with_ttl_over_31_days", changed("ttl", json!(31 * 86_400 + 1)), ClaimsInvalid),
        ("that_ends_before_it_begins", changed("exp", json!(NOW)), ClaimsInvalid),
        ("with_3_bits", changed("status_list", json!({ "bits": 3, "lst": good })), ClaimsInvalid),
        ("with_text_that_is_no_base64url", lst("%".to_owned()), ClaimsInvalid),
        ("with_a_cut_stream", lst(base64url(&octets[..octets.len() - 5])), ClaimsInvalid),
        (
            "with_a_changed_checksum",
            lst(base64url([&octets[..octets.len() - 1], &[0xa5]].concat())),
            ClaimsInvalid,
        ),
        (
            "with_octets_after_the_stream",
            lst(base64url([&octets[..], &[0]].concat())),
            ClaimsInvalid,
        ),
        ("over_256_kib", changed("status_list", json!({ "bits": 8, "lst": bomb })), ClaimsInvalid),
        ("with_duplicate_iat", KEY.sign(header, twice), ClaimsInvalid),
    ];
    let vector = |(name, list, code): (&str, String, _)| {
        Vector::new(&format!("list_{name}_is_refused"), "")
            .refuses_list(list, code)
            .admits(token("degrade"), Stale)
    };
    bad.into_iter().map(vector).collect()
}
