//! Vectors of the claims of a license.

use dp_verifier::ErrorCode::{
    AudienceWrong, ClaimsInvalid, ContractUnsupported, IssuerWrong, SignatureInvalid,
    TokenMalformed,
};
use dp_verifier::LicenseState::Valid;
use serde_json::{Value, json};

use super::vector::Vector;
use crate::support::*;

fn token(pointer: &str, value: impl Into<Option<Value>>) -> String {
    KEY.token(&claims_with(pointer, value))
}

fn payload(payload: impl AsRef<[u8]>) -> String {
    KEY.sign(KEY.header().to_string(), payload)
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = issuer_and_audience();
    all.extend(contract());
    all.extend(json_form());
    all.extend(types());
    all.extend(entitlements());
    all.push(
        Vector::refused(
            "signature_is_checked_before_claims",
            Key::new("key-1").token(&claims_with("/iss", json!("https://other.example"))),
            SignatureInvalid,
        )
        .about("Nothing in an unverified token is read."),
    );
    all
}

fn issuer_and_audience() -> Vec<Vector> {
    let elsewhere = json!("https://other.example");
    let mut both = claims_with("/iss", elsewhere.clone());
    both["aud"] = json!("other");
    vec![
        Vector::refused("iss_of_another_issuer_is_refused", token("/iss", elsewhere), IssuerWrong),
        Vector::refused(
            "iss_with_trailing_slash_is_refused",
            token("/iss", json!("https://cp.example/")),
            IssuerWrong,
        ),
        Vector::refused("iss_missing_is_refused", token("/iss", None), IssuerWrong),
        Vector::refused("iss_in_an_array_is_refused", token("/iss", json!([ISSUER])), IssuerWrong),
        Vector::refused(
            "aud_of_another_audience_is_refused",
            token("/aud", json!("other")),
            AudienceWrong,
        ),
        Vector::refused("aud_missing_is_refused", token("/aud", None), AudienceWrong),
        Vector::refused(
            "aud_in_an_array_is_refused",
            token("/aud", json!([AUDIENCE])),
            AudienceWrong,
        ),
        Vector::refused(
            "aud_in_other_case_is_refused",
            token("/aud", json!("Data-Plane")),
            AudienceWrong,
        ),
        Vector::refused("iss_is_checked_before_aud", KEY.token(&both), IssuerWrong),
        Vector::refused("configured_audience_decides", KEY.token(&claims()), AudienceWrong)
            .set("audience", "another-app"),
    ]
}

fn contract() -> Vec<Vector> {
    vec![
        Vector::refused(
            "contract_of_a_later_major_version_is_refused",
            token("/contract", json!("3.0.0")),
            ContractUnsupported,
        ),
        Vector::refused(
            "contract_of_major_version_0_is_refused",
            token("/contract", json!("0.9.0")),
            ContractUnsupported,
        ),
        Vector::refused(
            "contract_that_is_no_version_is_refused",
            token("/contract", json!("two")),
            ClaimsInvalid,
        ),
        Vector::admitted(
            "contract_of_a_later_minor_version_is_admitted",
            token("/contract", json!("2.99.0")),
            Valid,
        ),
        Vector::admitted("contract_missing_is_admitted", token("/contract", None), Valid),
    ]
}

fn json_form() -> Vec<Vector> {
    let good = claims().to_string();
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let with = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    let bad = [
        ("no_json", "{".to_owned()),
        ("no_object", "[]".to_owned()),
        ("duplicate_exp", with(r#""exp":9999999999"#)),
        ("duplicate_unknown_member", with(r#""x":1,"x":2"#)),
        (
            "duplicate_nested_member",
            good.replacen(r#""seat_cap":50"#, r#""seat_cap":50,"seat_cap":51"#, 1),
        ),
        ("duplicate_in_unknown_member", with(r#""x":[{"a":1,"a":2}]"#)),
        ("duplicate_escaped_member", with(r#""\u0065xp":9999999999"#)),
        ("nesting_over_64", with(&format!(r#""x":{}"#, nested(70)))),
        ("trailing_text", format!("{good} x")),
        ("byte_order_mark", format!("\u{feff}{good}")),
        ("lone_surrogate", with(r#""x":"\ud800""#)),
        ("raw_control_character", with("\"x\":\"\n\"")),
        ("trailing_comma", good.replacen('{', "{,", 1)),
    ];
    let vector = |(name, text): (&str, String)| {
        Vector::refused(&format!("claims_with_{name}_are_refused"), payload(text), ClaimsInvalid)
    };
    let mut all: Vec<_> = bad.into_iter().map(vector).collect();
    let mut not_utf8 = with(r#""x":"?""#).into_bytes();
    let at = not_utf8.iter().position(|byte| *byte == b'?').unwrap();
    not_utf8[at] = 0xff;
    all.push(Vector::refused("claims_that_are_empty_are_malformed", payload(""), TokenMalformed));
    all.push(Vector::refused(
        "claims_that_are_not_utf8_are_refused",
        payload(not_utf8),
        ClaimsInvalid,
    ));
    let deep = payload(with(&format!(r#""x":{}"#, nested(60))));
    all.push(Vector::admitted("claims_with_nesting_of_60_are_admitted", deep, Valid));
    let unknown = token("/later", json!({ "kept": [1, null] }));
    all.push(Vector::admitted("claims_with_unknown_member_are_admitted", unknown, Valid));
    all
}

fn types() -> Vec<Vector> {
    let mut all = Vec::new();
    for name in ["exp", "nbf", "iat", "sub", "jti", "license"] {
        let token = token(&format!("/{name}"), None);
        all.push(Vector::refused(&format!("{name}_missing_is_refused"), token, ClaimsInvalid));
    }
    let bad: [(&str, &str, Value); 16] = [
        ("exp_as_string", "/exp", json!("1769817600")),
        ("exp_as_fraction", "/exp", json!(1_769_817_600.5)),
        ("exp_as_float", "/exp", json!(1_769_817_600.0)),
        ("exp_null", "/exp", Value::Null),
        ("exp_before_nbf", "/exp", json!(1_767_225_599)),
        ("exp_beyond_year_9999", "/exp", json!(253_402_300_800_i64)),
        ("iat_negative", "/iat", json!(-1)),
        ("sub_that_is_no_uuid", "/sub", json!("acme")),
        ("jti_that_is_no_uuid", "/jti", json!(7)),
        ("seat_cap_negative", "/license/seat_cap", json!(-1)),
        ("seat_cap_as_string", "/license/seat_cap", json!("50")),
        ("license_id_that_is_no_uuid", "/license/license_id", json!("x")),
        ("features_as_array", "/license/features", json!([])),
        ("limit_as_string", "/license/limits", json!({ "max_workspaces": "10" })),
        (
            "status_list_of_another_server",
            "/status/status_list/uri",
            json!("https://cp.example.evil/1"),
        ),
        ("status_list_index_negative", "/status/status_list/idx", json!(-1)),
    ];
    for (name, pointer, value) in bad {
        let token = token(pointer, value);
        all.push(Vector::refused(&format!("{name}_is_refused"), token, ClaimsInvalid));
    }
    all
}

fn entitlements() -> Vec<Vector> {
    let limits = json!({ "max_workspaces": -1, "api_calls_per_month": null, "projects": 20 });
    let features = json!({ "max_workspaces": 3, "projects": null, "seats_extra": "many" });
    vec![
        Vector::admitted("declared_limits_decide", token("/license/limits", limits), Valid)
            .about("-1 and null are unlimited; an absent metric is not included.")
            .expects("limits", json!({
                "max_workspaces": "unlimited", "api_calls_per_month": "unlimited", "projects": 20,
                "seats_extra": "not_included",
            })),
        Vector::admitted(
            "integer_feature_is_a_limit_without_a_declared_one",
            {
                let mut claims = claims_with("/license/limits", json!({}));
                claims["license"]["features"] = features;
                claims["license"].as_object_mut().unwrap().remove("unlimited");
                KEY.token(&claims)
            },
            Valid,
        )
        .expects("limits", json!({
            "max_workspaces": 3, "api_calls_per_month": "not_included", "projects": "unlimited",
            "seats_extra": "not_included",
        })),
        Vector::admitted(
            "other_negative_limit_is_not_included",
            token("/license/limits", json!({ "projects": -2 })),
            Valid,
        )
        .expects("limits", json!({ "projects": "not_included" })),
        Vector::admitted(
            "trial_is_admitted_until_its_end",
            {
                let mut claims = claims_with("/license/subscription/status", json!("trialing"));
                claims["exp"] = json!(NOW + 30 * 86_400);
                KEY.token(&claims)
            },
            Valid,
        )
        .expects("license", json!({ "subscription": { "status": "trialing" } })),
    ]
}
