//! Vectors of times at their exact edges.

use dp_verifier::ErrorCode::{Expired, NotYetValid};
use dp_verifier::LicenseState::{Expiring, Grace, Valid};
use serde_json::{Value, json};

use super::vector::Vector;
use crate::support::*;

/// The golden claims, valid for 30 days from [`NOW`], with a period of grace.
fn month(grace: i64) -> Value {
    let mut claims = claims();
    claims["iat"] = json!(NOW);
    claims["nbf"] = json!(NOW);
    claims["exp"] = json!(EXP);
    claims["enforcement"]["grace_seconds"] = json!(grace);
    claims
}

const EXP: i64 = NOW + 30 * 86_400;
const DAY: i64 = 86_400;

pub(super) fn vectors() -> Vec<Vector> {
    let token = KEY.token(&month(0));
    let graced = KEY.token(&month(DAY));
    let at = |now: i64, name: &str| Vector::new(name, "").at(now);
    let future = KEY.token(&claims_with("/iat", json!(NOW + 60)));
    let too_far = KEY.token(&claims_with("/iat", json!(NOW + 61)));
    let mut trial = month(0);
    trial["license"]["subscription"]["status"] = json!("trialing");
    let trial = KEY.token(&trial);
    let endless = KEY.token(&month(400 * DAY));
    vec![
        at(NOW - 61, "nbf_beyond_the_leeway_is_refused").refuses(&token, NotYetValid),
        at(NOW - 60, "nbf_at_the_leeway_is_admitted").admits(&token, Valid),
        at(NOW, "nbf_now_is_admitted").admits(&token, Valid),
        at(NOW, "iat_at_the_leeway_is_admitted").admits(future, Valid),
        at(NOW, "iat_beyond_the_leeway_is_refused").refuses(too_far, NotYetValid),
        at(EXP - 14 * DAY - 1, "expiring_begins_14_days_before_exp_not_yet").admits(&token, Valid),
        at(EXP - 14 * DAY, "expiring_begins_14_days_before_exp").admits(&token, Expiring),
        at(EXP - 1, "second_before_exp_is_admitted").admits(&token, Expiring),
        at(EXP, "exp_now_is_admitted_within_the_leeway").admits(&token, Expiring),
        at(EXP + 59, "last_second_of_the_leeway_is_admitted").admits(&token, Expiring),
        at(EXP + 60, "exp_at_the_leeway_is_refused").refuses(&token, Expired),
        at(EXP - 1, "leeway_0_second_before_exp_is_admitted")
            .set("leeway", 0)
            .admits(&token, Expiring),
        at(EXP, "leeway_0_exp_now_is_refused").set("leeway", 0).refuses(&token, Expired),
        at(NOW, "leeway_0_nbf_now_is_admitted").set("leeway", 0).admits(&token, Valid),
        at(NOW - 1, "leeway_0_second_before_nbf_is_refused")
            .set("leeway", 0)
            .refuses(&token, NotYetValid),
        at(EXP + 299, "leeway_300_last_second_is_admitted")
            .set("leeway", 300)
            .admits(&token, Expiring),
        at(EXP + 300, "leeway_300_exp_at_the_leeway_is_refused")
            .set("leeway", 300)
            .refuses(&token, Expired),
        Vector::new("leeway_301_is_refused", "The largest leeway is 300 s.")
            .set("leeway", 301)
            .refuses_settings(None),
        at(EXP - 1, "second_before_grace_is_expiring").admits(&graced, Expiring),
        at(EXP, "grace_begins_with_exp").admits(&graced, Grace),
        at(EXP + DAY + 59, "last_second_of_grace_and_leeway_is_admitted").admits(&graced, Grace),
        at(EXP + DAY + 60, "grace_at_the_leeway_is_refused").refuses(&graced, Expired),
        at(EXP + 90 * DAY + 59, "grace_counts_for_90_days").admits(&endless, Grace),
        at(EXP + 90 * DAY + 60, "grace_beyond_90_days_is_refused").refuses(&endless, Expired),
        at(EXP + 60, "ended_trial_is_refused").refuses(trial, Expired),
        at(NOW, "cached_token_expires")
            .about("The times of a cached token are judged at each check.")
            .admits(&token, Valid)
            .then_at(EXP)
            .admits(&token, Expiring)
            .then_at(EXP + 60)
            .refuses(&token, Expired),
    ]
}
