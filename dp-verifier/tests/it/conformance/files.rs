//! Vectors of license files.

use dp_verifier::ErrorCode::{
    AlgNotAllowed, ClaimsInvalid, ContractUnsupported, IssuerWrong, KeyWithdrawn, KidUnknown,
    NotYetValid, OtherLicense, Replayed, SignatureInvalid, StateUnwritable, StatusStale, Suspended,
    TokenMalformed, TypWrong,
};
use dp_verifier::LicenseState::Valid;
use serde_json::{Value, json};

use super::documents::{bundle, with};
use super::vector::Vector;
use crate::support::*;

const OTHER: &str = "018f2a00-0000-7000-8000-00000000ffff";

/// A verifier that knows the first key only.
fn vector(name: &str) -> Vector {
    Vector::new(name, "").set("jwks", json!({ "keys": [KEY.jwk()] }))
}

/// A verifier without configured keys that starts with a license file.
fn started(name: &str, file: &str) -> Vector {
    Vector::new(name, "").without("jwks").set("license_file", file)
}

fn token() -> String {
    KEY.token(&claims_on_stale("block"))
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = trust();
    all.extend(order());
    all.extend(withdrawal());
    all.extend(refused_files());
    all.extend(restarts());
    all
}

fn trust() -> Vec<Vector> {
    let file = KEY.file(&bundle(1, &KEY));
    let foreign = Key::new("key-1").file(&bundle(1, &KEY));
    let third = Key::new("key-3");
    let rotated = with(
        with(
            bundle(9, &third),
            "key_chain",
            json!([KEY.endorse(&OTHER_KEY), OTHER_KEY.endorse(&third)]),
        ),
        "jwks",
        json!({ "keys": [third.jwk()] }),
    );
    vec![
        vector("file_by_a_configured_key_is_imported")
            .refuses(token(), StatusStale)
            .takes_file(&file)
            .admits(token(), Valid)
            .about("The file brings the status list that the token requires."),
        started("first_file_is_trusted_on_first_use", &file).admits(token(), Valid),
        started("first_file_by_a_foreign_key_is_refused", &foreign)
            .refuses_settings(Some(SignatureInvalid)),
        started("first_file_by_an_unlisted_key_is_refused", &OTHER_KEY.file(&bundle(1, &KEY)))
            .refuses_settings(Some(KidUnknown)),
        vector("configured_key_checks_the_first_file")
            .set("license_file", OTHER_KEY.file(&bundle(1, &OTHER_KEY)))
            .refuses_settings(Some(KidUnknown)),
        started("second_file_needs_a_key_of_the_first", &file)
            .refuses_file(OTHER_KEY.file(&bundle(2, &OTHER_KEY)), KidUnknown),
        vector("endorsed_keys_lead_over_two_rotations")
            .takes_file(third.file(&rotated))
            .refuses(OTHER_KEY.token(&claims()), KeyWithdrawn),
        vector("endorsement_with_a_gap_is_refused").refuses_file(
            third.file(&with(rotated.clone(), "key_chain", json!([OTHER_KEY.endorse(&third)]))),
            KidUnknown,
        ),
        vector("endorsement_by_an_impostor_is_refused").refuses_file(
            third.file(&with(
                rotated.clone(),
                "key_chain",
                json!([Key::new("key-1").endorse(&third)]),
            )),
            SignatureInvalid,
        ),
        vector("line_end_after_a_file_is_ignored").takes_file(format!("{file}\r\n")),
    ]
}

fn order() -> Vec<Vector> {
    let file = |seq: i64| KEY.file(&bundle(seq, &KEY));
    let refresh = |seq: i64, iat: i64, status: u8| {
        let list = json!(KEY.list(&list_claims(iat, status)));
        KEY.file(&with(file_claims(seq, &[&KEY]), "status_list", list))
    };
    vec![
        vector("same_file_is_replayed").takes_file(file(5)).refuses_file(file(5), Replayed),
        vector("older_file_is_replayed")
            .takes_file(file(5))
            .refuses_file(file(4), Replayed)
            .takes_file(file(6)),
        vector("other_file_of_the_same_number_is_replayed")
            .takes_file(file(5))
            .refuses_file(KEY.file(&with(bundle(5, &KEY), "later", json!(1))), Replayed),
        vector("file_of_another_license_is_refused").takes_file(file(1)).refuses_file(
            KEY.file(&with(file_claims(2, &[&KEY]), "license_id", json!(OTHER))),
            OtherLicense,
        ),
        vector("file_of_another_deployment_is_refused").takes_file(file(1)).refuses_file(
            KEY.file(&with(file_claims(2, &[&KEY]), "sub", json!(OTHER))),
            OtherLicense,
        ),
        vector("refresh_file_suspends")
            .takes_file(file(1))
            .admits(token(), Valid)
            .takes_file(refresh(2, NOW - 10, 2))
            .refuses(token(), Suspended),
        vector("older_list_in_a_newer_file_revives_nothing")
            .takes_file(refresh(1, NOW - 10, 2))
            .takes_file(refresh(2, NOW - 20, 0))
            .refuses(token(), Suspended),
    ]
}

fn withdrawal() -> Vec<Vector> {
    let file = |seq: i64, keys: &[&Key]| KEY.file(&file_claims(seq, keys));
    let both = |seq: i64| file(seq, &[&KEY, &OTHER_KEY]);
    let by_other = || OTHER_KEY.token(&claims());
    vec![
        vector("key_of_a_file_is_trusted").takes_file(both(1)).admits(by_other(), Valid),
        vector("key_that_a_later_file_omits_is_withdrawn")
            .takes_file(both(1))
            .admits(by_other(), Valid)
            .takes_file(file(2, &[&KEY]))
            .refuses(by_other(), KeyWithdrawn)
            .admits(KEY.token(&claims()), Valid),
        vector("withdrawn_key_stays_withdrawn_in_later_files")
            .takes_file(both(1))
            .takes_file(file(2, &[&KEY]))
            .takes_file(both(3))
            .refuses(by_other(), KeyWithdrawn),
        vector("file_by_a_withdrawn_key_is_refused")
            .takes_file(both(1))
            .takes_file(file(2, &[&KEY]))
            .refuses_file(OTHER_KEY.file(&file_claims(3, &[&OTHER_KEY])), KeyWithdrawn),
        Vector::new("configured_key_that_a_file_omits_is_withdrawn", "")
            .admits(by_other(), Valid)
            .takes_file(file(1, &[&KEY]))
            .refuses(by_other(), KeyWithdrawn),
    ]
}

fn refused_files() -> Vec<Vector> {
    let good = bundle(2, &KEY);
    let under = |name: &str, value: Value| {
        let header = json!({ "alg": "RS256", "typ": "license-file+jwt", "kid": KEY.kid });
        KEY.sign(with(header, name, value).to_string(), good.to_string())
    };
    let changed = |name: &str, value: Value| KEY.file(&with(good.clone(), name, value));
    let private = with(KEY.jwk(), "d", json!("AQAB"));
    let bad = [
        ("of_typ_license", KEY.token(&good), TypWrong),
        ("with_alg_none", under("alg", json!("none")), AlgNotAllowed),
        ("with_crit", under("crit", json!(["x"])), TokenMalformed),
        ("of_an_unknown_key", under("kid", json!("key-9")), KidUnknown),
        ("of_a_foreign_key", Key::new("key-1").file(&good), SignatureInvalid),
        ("of_random_text", "x.y.z".to_owned(), TokenMalformed),
        ("of_another_issuer", changed("iss", json!("https://evil.example")), IssuerWrong),
        ("of_a_later_contract", changed("contract", json!("3.0.0")), ContractUnsupported),
        ("with_number_0", changed("seq", json!(0)), ClaimsInvalid),
        ("with_a_number_too_far_ahead", changed("seq", json!(NOW + 10 * 86_400)), ClaimsInvalid),
        ("issued_in_the_future", changed("iat", json!(NOW + 61)), NotYetValid),
        ("with_a_private_key", changed("jwks", json!({ "keys": [private] })), ClaimsInvalid),
        (
            "whose_keys_do_not_verify_its_token",
            changed("jwks", json!({ "keys": [OTHER_KEY.jwk()] })),
            KidUnknown,
        ),
        ("with_a_malformed_token", changed("token", json!("x")), TokenMalformed),
        (
            "with_a_token_of_another_deployment",
            changed("token", json!(KEY.token(&claims_with("/sub", json!(OTHER))))),
            ClaimsInvalid,
        ),
        (
            "with_a_list_in_place_of_the_token",
            changed("token", json!(KEY.list(&list_claims(NOW, 0)))),
            TypWrong,
        ),
        (
            "with_a_list_of_another_url",
            changed(
                "status_list",
                json!(KEY.list(&with(list_claims(NOW, 0), "sub", json!("https://cp.example/2")))),
            ),
            ClaimsInvalid,
        ),
    ];
    let refused = |(name, file, code): (&str, String, _)| {
        vector(&format!("file_{name}_is_refused"))
            .refuses_file(file, code)
            .refuses(token(), StatusStale)
            .about("A refused file changes nothing.")
    };
    bad.into_iter().map(refused).collect()
}

fn restarts() -> Vec<Vector> {
    let first = KEY.file(&bundle(1, &KEY));
    let list = json!(KEY.list(&list_claims(NOW - 10, 2)));
    let refresh = KEY.file(&with(file_claims(2, &[&KEY]), "status_list", list));
    let both = KEY.file(&file_claims(1, &[&KEY, &OTHER_KEY]));
    let one = KEY.file(&file_claims(2, &[&KEY]));
    vec![
        started("file_of_the_last_start_stays_valid", &first)
            .set("state_file", true)
            .restarts()
            .admits(token(), Valid)
            .refuses_file(&first, Replayed),
        vector("number_of_the_newest_file_survives_a_restart")
            .set("state_file", true)
            .takes_file(&refresh)
            .restarts()
            .refuses_file(&first, Replayed)
            .refuses(token(), Suspended),
        vector("withdrawal_survives_a_restart")
            .set("state_file", true)
            .takes_file(both)
            .takes_file(one)
            .restarts()
            .refuses(OTHER_KEY.token(&claims()), KeyWithdrawn),
        vector("damaged_state_file_refuses_the_import")
            .set("state_file", true)
            .step("damage_state_file", json!({}), json!({ "ok": true }))
            .refuses_file(&first, StateUnwritable)
            .refuses(token(), StatusStale)
            .about("An import takes effect only when it is stored."),
    ]
}
