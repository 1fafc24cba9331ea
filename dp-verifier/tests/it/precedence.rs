//! The state that wins when several hold: every combination, against a model.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use dp_verifier::LicenseState::{self, *};
use dp_verifier::Verifier;
use serde_json::{Value, json};

use crate::support::*;

const NBF: i64 = 1_000_000;
const EXP: i64 = 10_000_000;
const DAY: i64 = 86_400;

/// The documented order.
const ORDER: [LicenseState; 10] = [
    Valid,
    Expiring,
    Grace,
    Stale,
    LogAnomaly,
    ClockAnomaly,
    Expired,
    NotYetValid,
    Suspended,
    Revoked,
];

#[test]
fn the_order_is_as_documented() {
    assert_eq!(LicenseState::ALL, ORDER);
    assert!(ORDER.is_sorted());
    for state in ORDER {
        assert_eq!(json!(state), json!(state.to_string()));
    }
}

/// One case: when it is, what the list says, the rule without a list, and the clock.
struct Case {
    time: LicenseState,
    status: Option<u8>,
    rule: &'static str,
    is_clock_behind: bool,
    is_strict: bool,
}

impl Case {
    fn now(&self) -> i64 {
        match self.time {
            NotYetValid => NBF - 61,
            Valid => NBF,
            Expiring => EXP - 14 * DAY,
            Grace => EXP,
            Expired => EXP + DAY + 60,
            other => panic!("{other} is no time"),
        }
    }

    /// What holds, and whether it refuses.
    fn facts(&self) -> Vec<(bool, LicenseState)> {
        let mut facts = vec![(matches!(self.time, Expired | NotYetValid), self.time)];
        match (self.status, self.rule) {
            (Some(0), _) | (None, "allow") => {}
            (None, rule) => facts.push((rule == "block", Stale)),
            (Some(2), _) => facts.push((true, Suspended)),
            (Some(_), _) => facts.push((true, Revoked)),
        }
        if self.is_clock_behind {
            facts.push((self.is_strict, ClockAnomaly));
        }
        facts
    }

    fn check(&self) {
        let (is_refused, state) = self
            .facts()
            .into_iter()
            .max_by_key(|(is_fatal, state)| (*is_fatal, ORDER.iter().position(|s| s == state)))
            .unwrap();
        let clock = Arc::new(AtomicI64::new(NBF));
        let time = Arc::clone(&clock);
        let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
        let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(jwks);
        let builder = builder.clock(move || time.load(Relaxed));
        let builder = if self.is_strict { builder.strict_clock() } else { builder };
        let verifier = builder.build().unwrap();
        // Admitted when it was good, and held since.
        let token = KEY.token(&license(self.rule));
        let admitted = match self.rule {
            // It is not admitted before there is a list.
            "block" => None,
            _ => Some(verifier.verify(&token).unwrap()),
        };
        let now = self.now();
        clock.store(now, Relaxed);
        if let Some(status) = self.status {
            verifier.import_status_list(&KEY.list(&list_claims(now - 10, status))).unwrap();
        }
        if self.is_clock_behind {
            verifier.verify(&KEY.token(&beacon(now))).unwrap();
            clock.store(now - 301, Relaxed);
        }
        for _ in 0..2 {
            match verifier.verify(&token) {
                Ok(license) => assert_eq!((false, license.state()), (is_refused, state)),
                Err(refused) => {
                    assert_eq!((true, refused.state()), (is_refused, Some(state)));
                    let code = if state == Stale { "status_stale" } else { state.as_str() };
                    assert_eq!(refused.code().as_str(), code);
                }
            }
        }
        if let Some(license) = admitted {
            assert_eq!(verifier.state_of(&license), state);
        }
    }
}

fn license(rule: &str) -> Value {
    let mut claims = claims_on_stale(rule);
    (claims["iat"], claims["nbf"], claims["exp"]) = (json!(0), json!(NBF), json!(EXP));
    claims["enforcement"]["grace_seconds"] = json!(DAY);
    claims
}

/// A license of now, which testifies to the time.
fn beacon(now: i64) -> Value {
    let mut claims = claims();
    (claims["iat"], claims["nbf"], claims["exp"]) = (json!(now), json!(now), json!(now + 1));
    claims.as_object_mut().unwrap().remove("status");
    claims
}

#[test]
fn refusing_state_precedes_the_later_state() {
    for time in [NotYetValid, Valid, Expiring, Grace, Expired] {
        for status in [None, Some(0), Some(1), Some(2), Some(3)] {
            for rule in ["allow", "degrade", "block"] {
                for (is_clock_behind, is_strict) in [(false, true), (true, false), (true, true)] {
                    Case { time, status, rule, is_clock_behind, is_strict }.check();
                }
            }
        }
    }
}
