//! How a license stands: to the second, and in the stated order.

use dp_verifier::ErrorCode::{ClaimsInvalid, Expired, NotYetValid};
use dp_verifier::LicenseState::{self, Expiring, Grace, Valid};
use dp_verifier::{ErrorCode, Verifier, check_claims};
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::*;

const DAY: i64 = 86_400;
const EXP: i64 = 1_000 * DAY;

/// The golden claims, over at [`EXP`], with this enforcement.
fn until_exp(enforcement: Value) -> Value {
    let mut claims = claims_with("/enforcement", enforcement);
    (claims["iat"], claims["nbf"], claims["exp"]) = (json!(0), json!(0), json!(EXP));
    claims
}

fn grace(seconds: i64) -> Value {
    json!({ "status_max_age": 3_600, "on_stale": "allow", "grace_seconds": seconds })
}

/// The state of such a token at times counted from its end, or why it is refused. Each is asked
/// twice, the second time of a cache.
fn states(enforcement: Value) -> impl Fn(i64) -> Result<LicenseState, ErrorCode> {
    let token = KEY.token(&until_exp(enforcement));
    let verifier = verifier(&json!({ "keys": [KEY.jwk()] }));
    move |after| {
        let judge = || {
            let license = verifier.verify_at(&token, EXP.saturating_add(after));
            license.map(|license| license.state()).map_err(|refused| refused.code())
        };
        let first = judge();
        assert_eq!(first, judge());
        first
    }
}

#[test]
fn a_license_is_expiring_14_days_before_its_end() {
    for enforcement in [Value::Null, grace(0), grace(3_600)] {
        let state = states(enforcement);
        assert_eq!(state(-14 * DAY - 1), Ok(Valid));
        assert_eq!(state(-14 * DAY), Ok(Expiring));
        assert_eq!(state(-1), Ok(Expiring));
        assert_eq!(state(-EXP - 60), Ok(Valid));
        assert_eq!(state(-EXP - 61), Err(NotYetValid));
    }
}

#[test]
fn the_expiring_period_can_be_set() {
    let token = KEY.token(&until_exp(Value::Null));
    for (period, seconds) in [(Duration::ZERO, 0), (Duration::from_secs(10), 10)] {
        let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).expiring_period(period);
        let verifier = builder.jwks(json!({ "keys": [KEY.jwk()] }).to_string()).build().unwrap();
        let state = |now| verifier.verify_at(&token, now).unwrap().state();
        assert_eq!(state(EXP - seconds - 1), Valid);
        assert_eq!(state(EXP - seconds), Expiring);
    }
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE);
    let builder = builder.expiring_period(Duration::MAX).jwks(r#"{"keys":[]}"#);
    builder.build().unwrap();
}

#[test]
fn without_grace_the_end_is_the_end() {
    // A negative grace takes nothing away: the token says when it ends.
    for enforcement in [Value::Null, grace(0), grace(-1), grace(i64::MIN)] {
        let state = states(enforcement);
        assert_eq!(state(59), Ok(Expiring), "the leeway is not grace");
        assert_eq!(state(60), Err(Expired));
        assert_eq!(state(i64::MAX), Err(Expired));
    }
}

#[test]
fn grace_lasts_to_the_second() {
    for seconds in [1, 59, 3_600, 90 * DAY] {
        let state = states(grace(seconds));
        assert_eq!(state(-1), Ok(Expiring));
        assert_eq!(state(0), Ok(Grace));
        assert_eq!(state(seconds - 1), Ok(Grace));
        assert_eq!(state(seconds + 59), Ok(Grace));
        assert_eq!(state(seconds + 60), Err(Expired));
        assert_eq!(state(i64::MAX), Err(Expired));
    }
}

#[test]
fn grace_is_90_days_at_most() {
    for seconds in [90 * DAY + 1, 365 * DAY, i64::MAX] {
        let state = states(grace(seconds));
        assert_eq!(state(90 * DAY + 59), Ok(Grace));
        assert_eq!(state(90 * DAY + 60), Err(Expired));
    }
    let mut claims = until_exp(grace(i64::MAX));
    let last = 253_402_300_799_i64;
    (claims["iat"], claims["nbf"], claims["exp"]) = (json!(NOW), json!(NOW), json!(last));
    let license = verify_claims(&claims).unwrap();
    assert_eq!(license.expires_at(), last);
    assert_eq!(license.grace_until(), last + 90 * DAY);
}

#[test]
fn license_returns_its_end() {
    let verifier = verifier(&json!({ "keys": [KEY.jwk()] }));
    for (enforcement, expected) in
        [(Value::Null, 0), (grace(-5), 0), (grace(7), 7), (grace(i64::MAX), 90 * DAY)]
    {
        let token = KEY.token(&until_exp(enforcement));
        let license = verifier.verify_at(&token, EXP).unwrap();
        assert_eq!(license.grace_until(), EXP + expected);
    }
}

#[test]
fn grace_does_not_excuse_anything_else() {
    let mut claims = until_exp(grace(DAY));
    let token = |claims: &Value| KEY.token(claims);
    let verifier = verifier(&json!({ "keys": [KEY.jwk()] }));
    claims["license"]["plan"] = json!(1);
    assert_refused(verifier.verify_at(&token(&claims), EXP + 1), ClaimsInvalid);
    assert_refused(verifier.verify_at(&token(&claims), EXP + DAY + 60), Expired);
    // An issuer does not sign what has expired already.
    let claims = until_exp(grace(DAY)).to_string();
    assert_refused(check_claims(claims.as_bytes(), ISSUER, AUDIENCE, EXP), Expired);
}

#[test]
fn the_states_have_names() {
    for (state, name) in [
        (Valid, "valid"),
        (Expiring, "expiring"),
        (Grace, "grace"),
        (LicenseState::ClockAnomaly, "clock_anomaly"),
    ] {
        assert_eq!((state.as_str(), state.to_string()), (name, name.to_owned()));
        assert_eq!(json!(state), json!(name));
    }
}
