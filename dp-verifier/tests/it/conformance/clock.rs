//! Vectors of clocks that are behind the latest verified document.

use dp_verifier::ErrorCode::{ClockAnomaly as Refused, Expired};
use dp_verifier::LicenseState::{ClockAnomaly, Expiring, Valid};
use serde_json::json;

use super::vector::Vector;
use crate::support::*;

pub(super) fn vectors() -> Vec<Vector> {
    let token = KEY.token(&claims());
    let later = {
        let mut claims = claims_with("/iat", json!(NOW + 301));
        claims["nbf"] = json!(NOW + 301);
        KEY.token(&claims)
    };
    let ended = KEY.token(&claims_with("/exp", json!(NOW + 100)));
    vec![
        Vector::new("clock_300_s_behind_is_right", "")
            .set("time_floor", NOW + 300)
            .admits(&token, Valid),
        Vector::new("clock_301_s_behind_is_an_anomaly", "")
            .set("time_floor", NOW + 301)
            .admits(&token, ClockAnomaly),
        Vector::new("strict_clock_300_s_behind_is_right", "")
            .set("time_floor", NOW + 300)
            .set("strict_clock", true)
            .admits(&token, Valid),
        Vector::new("strict_clock_301_s_behind_is_refused", "")
            .set("time_floor", NOW + 301)
            .set("strict_clock", true)
            .refuses(&token, Refused),
        Vector::new(
            "license_set_back_stays_expired",
            "The latest document decides, not the clock.",
        )
        .set("time_floor", NOW + 301)
        .refuses(&ended, Expired),
        Vector::new("verified_token_raises_the_floor", "")
            .at(NOW + 400)
            .admits(&later, Valid)
            .then_at(NOW)
            .admits(&token, ClockAnomaly)
            .then_at(NOW + 1)
            .admits(&token, Valid),
        Vector::new("refused_token_raises_no_floor", "")
            .at(NOW + 400)
            .refuses(
                Key::new("key-1").token(&claims_with("/iat", json!(NOW + 301))),
                dp_verifier::ErrorCode::SignatureInvalid,
            )
            .then_at(NOW)
            .admits(&token, Valid),
        Vector::new("state_file_keeps_the_floor", "A restart forgets no time.")
            .set("state_file", true)
            .at(NOW + 400)
            .takes_list(KEY.list(&list_claims(NOW + 301, 0)))
            .takes_list(KEY.list(&list_claims(NOW + 302, 0)))
            .restarts()
            .then_at(NOW)
            .admits(&token, ClockAnomaly),
        Vector::new("expiring_is_judged_by_the_floor", "")
            .set("time_floor", NOW + 301)
            .set("leeway", 0)
            .at(NOW + 1)
            .admits(KEY.token(&claims_with("/exp", json!(NOW + 302))), Expiring),
    ]
}
