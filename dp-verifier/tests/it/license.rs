//! V17, and the functions of a license.

use std::time::Duration;

use dp_verifier::{LicenseContext, LicenseState, Limit};
use serde_json::{Value, json};

use crate::support::*;

fn license() -> LicenseContext {
    verify_claims(&claims()).unwrap()
}

fn with_features(features: Value) -> LicenseContext {
    verify_claims(&claims_with("/license/features", features)).unwrap()
}

#[test]
fn a_refused_token_never_gives_a_license() {
    // The type system's part is a doctest of `LicenseContext`.
    for claims in [claims_with("/exp", json!(1_767_225_601)), claims_with("/license", json!({}))] {
        assert!(verify_claims(&claims).is_err());
    }
}

#[test]
fn verifiers_and_licenses_are_shared_between_threads() {
    fn is_shared<T: Clone + Send + Sync + 'static>() {}
    is_shared::<dp_verifier::Verifier>();
    is_shared::<LicenseContext>();
    is_shared::<dp_verifier::VerifyError>();
}

#[test]
fn a_feature_is_on_when_it_is_true() {
    let license =
        with_features(json!({ "on": true, "off": false, "n": 1, "s": "true", "z": null }));
    assert!(license.has_feature("on"));
    for name in ["off", "n", "s", "z", "absent", ""] {
        assert!(!license.has_feature(name), "{name}");
    }
    assert_eq!(license.feature("s"), Some(&json!("true")));
    assert_eq!(license.feature("z"), Some(&Value::Null));
    assert_eq!(license.feature("absent"), None);
}

#[test]
fn an_absent_limit_is_never_unlimited() {
    let limits = json!({ "ten": 10, "none": 0, "all": null, "minus": -1, "odd": -2, "both": 3 });
    let mut claims = claims_with("/license/limits", limits);
    claims["license"]["features"] = json!({
        "f_ten": 10, "f_all": null, "f_minus": -1, "f_odd": -7, "f_float": 1.5, "f_text": "10",
        "f_true": true, "f_large": u64::MAX, "both": 99,
    });
    let license = verify_claims(&claims).unwrap();
    for (name, expected) in [
        ("ten", Limit::AtMost(10)),
        ("none", Limit::AtMost(0)),
        ("all", Limit::Unlimited),
        ("minus", Limit::Unlimited),
        ("odd", Limit::NotIncluded),
        ("both", Limit::AtMost(3)),
        ("f_ten", Limit::AtMost(10)),
        ("f_all", Limit::Unlimited),
        ("f_minus", Limit::Unlimited),
        ("f_odd", Limit::NotIncluded),
        ("f_float", Limit::NotIncluded),
        ("f_text", Limit::NotIncluded),
        ("f_true", Limit::NotIncluded),
        ("f_large", Limit::AtMost(u64::MAX)),
        ("absent", Limit::NotIncluded),
    ] {
        assert_eq!(license.limit(name), expected, "{name}");
    }
}

#[test]
fn license_returns_its_parties_and_term() {
    let license = license();
    assert_eq!(license.organization().slug, "acme");
    assert_eq!(license.deployment().name, "acme-prod");
    assert_eq!(license.subscription().seat_cap, 100);
    assert_eq!(license.plan().code, "enterprise");
    assert_eq!(license.seat_cap(), 50);
    assert_eq!(license.license_id().to_string(), "018f2a00-0000-7000-8000-000000000001");
    assert_eq!(license.token_id().to_string(), "018f2a00-0000-7000-8000-000000000005");
    let exp = license.expires_at();
    assert_eq!(license.expires_in(exp - 90), Duration::from_secs(90));
    assert_eq!(license.expires_in(exp + 1), Duration::ZERO);
    assert_eq!(license.expires_in(i64::MAX), Duration::ZERO);
    assert_eq!(license.clone(), license);
}

#[test]
fn the_logged_form_has_no_token() {
    let token = KEY.token(&claims());
    let license = verify(&token).unwrap();
    let logged = serde_json::to_value(&license).unwrap();
    assert_eq!(logged["state"], "valid");
    assert_eq!(logged["expires_at"], "2026-01-31T00:00:00Z");
    assert_eq!(logged["organization"]["name"], "Acme GmbH");
    assert_eq!(logged["token_id"], "018f2a00-0000-7000-8000-000000000005");
    for part in token.split('.') {
        assert!(!logged.to_string().contains(part));
        assert!(!format!("{license:?}").contains(part));
    }
}

#[test]
fn refusal_of_missing_entitlement_can_be_returned() {
    let mut claims = claims_with("/license/limits", json!({ "max_workspaces": 3, "none": 0 }));
    claims["license"]["features"] = json!({ "on": true });
    let license = verify_claims(&claims).unwrap();
    license.require_feature("on").unwrap();
    license.require_another("max_workspaces", 2).unwrap();
    license.require_state(&[LicenseState::Valid, LicenseState::Expiring]).unwrap();
    let refusals = [
        (license.require_feature("off"), "feature_not_included", "the feature \"off\""),
        (license.require_another("max_workspaces", 3), "limit_reached", "includes 3 of"),
        (license.require_another("absent", 0), "limit_reached", "not include \"absent\""),
        (
            license.require_state(&[LicenseState::Grace]),
            "license_state_insufficient",
            "state valid",
        ),
        (license.require_state(&[]), "license_state_insufficient", "state valid"),
    ];
    for (refusal, code, words) in refusals {
        let refused = refusal.unwrap_err();
        assert_eq!(refused.code(), code);
        assert!(refused.to_string().contains(words), "{refused}");
    }
}
