//! V7–V10: what the claims must be.

use dp_verifier::ErrorCode::{
    AudienceWrong, ClaimsInvalid, ContractUnsupported, Expired, IssuerWrong, NotYetValid,
};
use dp_verifier::{Verifier, check_claims};
use serde_json::{Value, json};

use crate::support::*;

#[test]
fn the_payload_is_one_strict_object() {
    let good = claims().to_string();
    verify_payload(&good).unwrap();
    verify_payload(format!(" \n\t{good}\r\n")).unwrap();
    let inner = &good[1..good.len() - 1];
    for payload in [
        format!("{{{inner},\"iss\":\"https://cp.example\"}}"),
        format!("{{{inner},\"\\u0069ss\":\"https://cp.example\"}}"),
        format!("{{{inner},\"x\":{{\"a\":1,\"a\":2}}}}"),
        format!("{{{inner},\"x\":[{{\"a\":1,\"a\":2}}]}}"),
        good.replace("\"alerts_enabled\":true", "\"alerts_enabled\":true,\"alerts_enabled\":true"),
        good.replace("\"seat_cap\":50", "\"seat_cap\":50,\"seat_cap\":5000"),
        format!("{{{inner},\"x\":{}1{}}}", "[".repeat(64), "]".repeat(64)),
        format!("{{{inner},\"x\":NaN}}"),
        format!("{{{inner},\"x\":1e999}}"),
        format!("{{{inner},\"x\":01}}"),
        format!("{{{inner},\"x\":'a'}}"),
        format!("{{{inner},\"x\":\"\\ud800\"}}"),
        format!("{{{inner},}}"),
        format!("{{{inner}"),
        format!("{good}{good}"),
        format!("{good}x"),
        format!("{good}\u{0}"),
        format!("[{good}]"),
        format!("\u{feff}{good}"),
        "{}x".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "1".to_owned(),
        "\"\"".to_owned(),
    ] {
        assert_refused(verify_payload(&payload), ClaimsInvalid);
    }
    verify_payload(format!("{{{inner},\"x\":{}1{}}}", "[".repeat(63), "]".repeat(63))).unwrap();
}

#[test]
fn utf8_is_checked_in_unknown_members_too() {
    let good = claims().to_string();
    for bytes in [b"\xff".as_slice(), b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"] {
        let mut payload = good.as_bytes()[..good.len() - 1].to_vec();
        payload.extend(b",\"x\":\"");
        payload.extend(bytes);
        payload.extend(b"\"}");
        assert_refused(verify_payload(payload), ClaimsInvalid);
    }
}

#[test]
fn arrays_are_not_read_as_objects() {
    for pointer in [
        "/license",
        "/license/organization",
        "/license/deployment",
        "/license/subscription",
        "/license/plan",
        "/license/features",
        "/license/plan/default_features",
        "/license/limits",
        "/status",
        "/status/status_list",
        "/enforcement",
    ] {
        let claims = claims();
        let members = claims.pointer(pointer).unwrap().as_object().unwrap();
        let by_position: Vec<&Value> = members.values().collect();
        for wrong in [json!(by_position), json!([]), json!("x"), json!(1), json!(true)] {
            assert_refused(verify_claims(&claims_with(pointer, wrong)), ClaimsInvalid);
        }
    }
}

#[test]
fn issuer_and_audience_are_exact() {
    let not_this = [
        json!("https://cp.example/"),
        json!("HTTPS://CP.EXAMPLE"),
        json!("https://cp.example\u{0}"),
        json!(""),
        json!(1),
        json!({}),
        json!(true),
        Value::Null,
        json!(["https://cp.example"]),
    ];
    for wrong in not_this {
        assert_refused(verify_claims(&claims_with("/iss", wrong)), IssuerWrong);
    }
    assert_refused(verify_claims(&claims_with("/iss", None)), IssuerWrong);
    for wrong in [
        json!("data-plane "),
        json!("Data-Plane"),
        json!(""),
        json!(1),
        Value::Null,
        json!(["data-plane"]),
        json!(["data-plane", "other"]),
        json!([]),
    ] {
        assert_refused(verify_claims(&claims_with("/aud", wrong)), AudienceWrong);
    }
    assert_refused(verify_claims(&claims_with("/aud", None)), AudienceWrong);
}

#[test]
fn subject_and_token_id_are_hyphenated_uuids() {
    for pointer in ["/sub", "/jti"] {
        for wrong in [
            json!("018f2a00000070008000000000000003"),
            json!("{018f2a00-0000-7000-8000-000000000003}"),
            json!("urn:uuid:018f2a00-0000-7000-8000-000000000003"),
            json!("018f2a00-0000-7000-8000-00000000000g"),
            json!("018f2a00-0000-7000-8000-0000000000030"),
            json!("018f2a00-0000-7000-80000-00000000003"),
            json!(""),
            json!(3),
            Value::Null,
        ] {
            assert_refused(verify_claims(&claims_with(pointer, wrong)), ClaimsInvalid);
        }
        assert_refused(verify_claims(&claims_with(pointer, None)), ClaimsInvalid);
    }
    let upper = claims()["jti"].as_str().unwrap().to_uppercase();
    verify_claims(&claims_with("/jti", json!(upper))).unwrap();
}

#[test]
fn the_subject_is_a_uuid_of_the_issuers_choice() {
    let other = json!("018f2a00-0000-7000-8000-0000000000ff");
    verify_claims(&claims_with("/sub", other.clone())).unwrap();
    verify_claims(&claims_with("/license/deployment/id", other)).unwrap();
}

/// A verifier with this leeway, and a token with these times.
fn at(leeway: u32, iat: i64, nbf: i64, exp: i64) -> impl Fn(i64) -> Option<dp_verifier::ErrorCode> {
    let verifier = Verifier::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .jwks(json!({ "keys": [KEY.jwk()] }).to_string())
        .leeway(leeway)
        .build()
        .unwrap();
    let mut claims = claims();
    (claims["iat"], claims["nbf"], claims["exp"]) = (json!(iat), json!(nbf), json!(exp));
    let token = KEY.token(&claims);
    move |now| verifier.verify_at(&token, now).err().map(|refused| refused.code())
}

#[test]
fn time_boundaries_to_the_second() {
    for leeway in [0, 1, 60, 300] {
        let shift = i64::from(leeway);
        let judge = at(leeway, 5_000, 5_000, 9_000);
        assert_eq!(judge(9_000 + shift - 1), None);
        assert_eq!(judge(9_000 + shift), Some(Expired), "expired on the second");
        assert_eq!(judge(5_000 - shift), None);
        assert_eq!(judge(5_000 - shift - 1), Some(NotYetValid));
        // Issued in the future, although valid already.
        let judge = at(leeway, 7_000, 5_000, 9_000);
        assert_eq!(judge(7_000 - shift), None);
        assert_eq!(judge(7_000 - shift - 1), Some(NotYetValid));
        assert_eq!(judge(i64::MAX), Some(Expired));
        assert_eq!(judge(i64::MIN), Some(NotYetValid));
    }
}

#[test]
fn the_default_leeway_is_60_seconds_and_the_largest_300() {
    let exp = claims()["exp"].as_i64().unwrap();
    let verifier = verifier(&json!({ "keys": [KEY.jwk()] }));
    let token = KEY.token(&claims());
    verifier.verify_at(&token, exp + 59).unwrap();
    assert_refused(verifier.verify_at(&token, exp + 60), Expired);
    let builder = Verifier::builder().issuer("i").audience("a").jwks(r#"{"keys":[]}"#);
    assert!(builder.leeway(301).build().is_err());
}

#[test]
fn the_window_must_make_sense() {
    assert_eq!(at(60, 5_000, 5_000, 5_000)(5_000), Some(ClaimsInvalid));
    assert_eq!(at(60, 5_000, 5_001, 5_000)(5_000), Some(ClaimsInvalid));
    assert_eq!(at(60, 5_002, 5_000, 5_001)(5_000), Some(ClaimsInvalid));
    assert_eq!(at(60, 5_001, 5_000, 5_001)(5_000), None);
    assert_eq!(at(0, 0, 0, 1)(0), None);
    assert_eq!(at(0, 0, 0, 253_402_300_799)(0), None);
    assert_eq!(at(0, 0, 0, 253_402_300_800)(0), Some(ClaimsInvalid));
    assert_eq!(at(0, -1, 0, 9_000)(0), Some(ClaimsInvalid));
    assert_eq!(at(0, 0, -1, 9_000)(0), Some(ClaimsInvalid));
}

#[test]
fn dates_are_json_integers() {
    let good = claims().to_string();
    for name in ["iat", "nbf", "exp"] {
        let number = claims()[name].as_i64().unwrap();
        for wrong in [
            format!("{number}.0"),
            format!("{number}e0"),
            format!("1.{number}e10"),
            format!("\"{number}\""),
            "null".to_owned(),
            "true".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            "-0".to_owned(),
            "18446744073709551616".to_owned(),
            "9223372036854775807".to_owned(),
            "9223372036854775808".to_owned(),
            "-9223372036854775808".to_owned(),
            "1e308".to_owned(),
        ] {
            let from = format!("\"{name}\":{number}");
            let payload = good.replacen(&from, &format!("\"{name}\":{wrong}"), 1);
            assert_ne!(payload, good);
            assert_refused(verify_payload(payload), ClaimsInvalid);
        }
        assert_refused(verify_claims(&claims_with(&format!("/{name}"), None)), ClaimsInvalid);
    }
}

/// Every known member: its pointer, whether it is required, and a value of a wrong type.
fn known_members() -> Vec<(&'static str, bool, Value)> {
    let (text, number, object, id) = (json!(1), json!("1"), json!([]), json!("no id"));
    let mut members = vec![
        ("/license", true, object.clone()),
        ("/license/seat_cap", true, number.clone()),
        ("/license/features", true, object.clone()),
        ("/license/organization", true, object.clone()),
        ("/license/organization/name", true, text.clone()),
        ("/license/organization/slug", true, text.clone()),
        ("/license/organization/external_id", false, text.clone()),
        ("/license/organization/status", true, text.clone()),
        ("/license/deployment", true, object.clone()),
        ("/license/deployment/name", true, text.clone()),
        ("/license/deployment/type", true, text.clone()),
        ("/license/deployment/region", false, text.clone()),
        ("/license/deployment/api_base_url", false, text.clone()),
        ("/license/deployment/status", true, text.clone()),
        ("/license/subscription", true, object.clone()),
        ("/license/subscription/status", true, text.clone()),
        ("/license/subscription/seat_cap", true, number.clone()),
        ("/license/subscription/starts_at", false, json!("yesterday")),
        ("/license/subscription/ends_at", false, json!(1)),
        ("/license/subscription/trial_ends_at", false, json!({})),
        ("/license/subscription/external_id", false, text.clone()),
        ("/license/plan", true, object.clone()),
        ("/license/plan/code", true, text.clone()),
        ("/license/plan/name", true, text.clone()),
        ("/license/plan/description", false, text.clone()),
        ("/license/plan/default_features", true, object.clone()),
        ("/license/limits/max_workspaces", false, number.clone()),
        ("/status", false, object.clone()),
        ("/status/status_list", true, object.clone()),
        ("/status/status_list/idx", true, json!(-1)),
        ("/status/status_list/uri", true, text.clone()),
        ("/enforcement", false, object),
        ("/enforcement/status_max_age", true, json!(1.5)),
        ("/enforcement/on_stale", true, text.clone()),
        ("/enforcement/grace_seconds", true, number),
        ("/cp_base_url", false, text.clone()),
        ("/rbac_endpoint", false, text.clone()),
        ("/contract", false, json!("two")),
    ];
    for pointer in ["/license/license_id", "/license/organization/id", "/license/subscription/id"] {
        members.push((pointer, true, id.clone()));
    }
    members
}

#[test]
fn known_members_have_their_type() {
    for (pointer, is_required, wrong) in known_members() {
        assert_refused(verify_claims(&claims_with(pointer, wrong)), ClaimsInvalid);
        let null = verify_claims(&claims_with(pointer, Value::Null));
        let absent = verify_claims(&claims_with(pointer, None));
        if is_required {
            assert_refused(null, ClaimsInvalid);
            assert_refused(absent, ClaimsInvalid);
        } else {
            null.unwrap_or_else(|refused| panic!("{pointer}: {refused}"));
            absent.unwrap_or_else(|refused| panic!("{pointer}: {refused}"));
        }
    }
}

#[test]
fn a_seat_cap_is_a_whole_number_of_people() {
    for wrong in [json!(-1), json!(1.5), json!(1.0), json!(u64::MAX), json!("50"), json!(true)] {
        assert_refused(verify_claims(&claims_with("/license/seat_cap", wrong)), ClaimsInvalid);
    }
    assert_eq!(verify_claims(&claims_with("/license/seat_cap", json!(0))).unwrap().seat_cap(), 0);
    let most = json!(i64::MAX);
    verify_claims(&claims_with("/license/seat_cap", most)).unwrap();
}

#[test]
fn unknown_members_are_kept() {
    for parent in ["", "/license", "/license/organization", "/license/deployment", "/license/plan"]
    {
        let pointer = format!("{parent}/later");
        let value = json!({ "a": [1, null, { "b": 1.5 }] });
        let license = verify_claims(&claims_with(&pointer, value.clone())).unwrap();
        let written = serde_json::to_value(license.claims()).unwrap();
        assert_eq!(written.pointer(&pointer), Some(&value));
    }
}

#[test]
fn an_unknown_major_contract_has_its_own_error() {
    for supported in ["1.0.0", "2.0.0", "2.5.0", "2.999.0", "2.6.0-rc.1"] {
        verify_claims(&claims_with("/contract", json!(supported))).unwrap();
    }
    verify_claims(&claims_with("/contract", None)).unwrap();
    for unsupported in ["0.1.3", "3.0.0", "3.0.0-alpha", "18446744073709551615.0.0"] {
        let claims = claims_with("/contract", json!(unsupported));
        assert_refused(verify_claims(&claims), ContractUnsupported);
    }
    for wrong in [json!("2"), json!("v2.5.0"), json!(2), json!(""), json!(["2.5.0"])] {
        assert_refused(verify_claims(&claims_with("/contract", wrong)), ClaimsInvalid);
    }
    // A later contract may have another shape.
    let mut later = claims_with("/contract", json!("3.0.0"));
    later["license"] = json!("see elsewhere");
    assert_refused(verify_claims(&later), ContractUnsupported);
}

#[test]
fn documents_of_released_contracts_are_accepted() {
    for text in [
        include_str!("../../../cp-contracts/golden/0.1.3/license_claims.json"),
        include_str!("../../../cp-contracts/golden/2.4.0/license_claims.json"),
        include_str!("../../../cp-contracts/golden/2.5.0/license_claims.json"),
        include_str!("../../../cp-contracts/golden/2.6.0/license_claims.json"),
        include_str!("../../../cp-contracts/golden/2.6.0/license_claims_later.json"),
    ] {
        let license = verify_payload(text).unwrap();
        let golden: dp_verifier::cp_contracts::DeploymentLicenseClaims =
            serde_json::from_str(text).unwrap();
        assert_eq!(license.claims(), &golden);
    }
}

#[test]
fn claims_with_several_faults_report_one_in_fixed_order() {
    let mut claims = claims_with("/license", json!([]));
    assert_refused(verify_claims(&claims), ClaimsInvalid);
    claims["exp"] = json!(1_767_300_000);
    assert_refused(verify_claims(&claims), Expired);
    claims["aud"] = json!("other");
    assert_refused(verify_claims(&claims), AudienceWrong);
    claims["iss"] = json!(["https://cp.example"]);
    assert_refused(verify_claims(&claims), IssuerWrong);
    let refused = verify_claims(&claims_with("/license/plan/code", json!(5))).unwrap_err();
    assert_eq!(refused.detail(), "claims: license.plan.code: must be a string");
}

#[test]
fn an_issuer_can_check_claims_before_it_signs() {
    let check =
        |claims: Value, now| check_claims(claims.to_string().as_bytes(), ISSUER, AUDIENCE, now);
    let iat = claims()["iat"].as_i64().unwrap();
    let exp = claims()["exp"].as_i64().unwrap();
    check(claims(), iat).unwrap();
    assert_refused(check(claims(), iat - 1), NotYetValid);
    check(claims(), exp - 1).unwrap();
    assert_refused(check(claims(), exp), Expired);
    assert_refused(check(claims_with("/iss", json!("other")), NOW), IssuerWrong);
    assert_refused(check(claims_with("/license/plan", None), NOW), ClaimsInvalid);
    let large = claims_with("/license/features/pad", json!("x".repeat(12_000)));
    assert_refused(check(large, NOW), dp_verifier::ErrorCode::TokenTooLarge);
}
