//! The judgement of a genuine license: its times, its status, the log and the clock.

use std::borrow::Cow;
use std::sync::Arc;

use cp_contracts::{OnStale, TokenStatus};

use crate::ErrorCode::{ClockAnomaly, Revoked, StatusStale, Suspended};
use crate::claims::{Rules, Times};
use crate::status_list::ListedStatus;
use crate::{ErrorCode, KeySet, LicenseContext, LicenseState, VerifyError};

/// The time at which a license is judged.
#[derive(Clone, Copy)]
pub(crate) struct CheckTime {
    /// In seconds since 1970.
    pub(crate) now: i64,
    /// The seconds by which the clock is behind the time floor, if it is too far behind.
    pub(crate) behind: Option<i64>,
    /// Whether such a clock refuses the license.
    pub(crate) is_strict: bool,
}

impl CheckTime {
    /// Creates a time that needs no check.
    pub(crate) fn at(now: i64) -> Self {
        Self { now, behind: None, is_strict: false }
    }
}

/// The state of a license, and the refusal if there is one.
pub(crate) struct Verdict {
    pub(crate) state: LicenseState,
    pub(crate) refusal: Option<VerifyError>,
}

impl Verdict {
    /// Judges a license. `keys` have verified its token.
    pub(crate) fn of(
        license: &LicenseContext,
        rules: &Rules,
        keys: &Arc<KeySet>,
        time: CheckTime,
        is_log_suspect: bool,
    ) -> Self {
        let claims = license.claims();
        let mut verdict = Self { state: LicenseState::Valid, refusal: None };
        match rules.times(&Times::of(claims), time.now) {
            Ok(()) => verdict.add(rules.state(claims, time.now), None),
            Err(error) => verdict.refuse(error),
        }
        verdict.add_status(license, keys, time.now, rules.leeway);
        if is_log_suspect {
            verdict.add(LicenseState::LogAnomaly, None);
        }
        if let Some(behind) = time.behind {
            let detail = || format!("this clock is {behind} s behind the latest verified document");
            let refusal = time.is_strict.then(|| VerifyError::new(ClockAnomaly, detail()));
            verdict.add(LicenseState::ClockAnomaly, refusal);
        }
        verdict
    }

    fn add_status(&mut self, license: &LicenseContext, keys: &Arc<KeySet>, now: i64, leeway: i64) {
        let claims = license.claims();
        let Some(status) = &claims.status else { return };
        let stale = match license.listed_status(status.status_list.idx, keys) {
            ListedStatus::Known { status: TokenStatus::Valid, iat, exp } => {
                let age = now.saturating_sub(iat);
                let max = claims.enforcement.as_ref().map_or(i64::MAX, |rule| rule.status_max_age);
                if age > max {
                    Cow::Owned(format!(
                        "the status list is {age} s old; at most {max} s are allowed"
                    ))
                } else if now >= exp.saturating_add(leeway) {
                    Cow::Borrowed("the status list has expired")
                } else {
                    return;
                }
            }
            ListedStatus::Known { status, .. } => return self.refuse(taken_back(status)),
            ListedStatus::Unknown(why) => Cow::Borrowed(why),
        };
        match claims.enforcement.as_ref().map(|rule| &rule.on_stale) {
            None | Some(OnStale::Allow) => {}
            Some(OnStale::Block) => self.refuse(VerifyError::new(StatusStale, stale)),
            // Values of later versions too: they are neither ignored nor fatal for a data plane.
            Some(_) => self.add(LicenseState::Stale, None),
        }
    }

    fn refuse(&mut self, error: VerifyError) {
        if let Some(state) = error.state() {
            self.add(state, Some(error));
        }
    }

    /// Adds a state. Refusals win over other states, and then later states over earlier ones.
    fn add(&mut self, state: LicenseState, refusal: Option<VerifyError>) {
        if (refusal.is_some(), state) >= (self.refusal.is_some(), self.state) {
            *self = Self { state, refusal };
        }
    }
}

/// Returns the refusal of a status other than valid.
fn taken_back(status: TokenStatus) -> VerifyError {
    match status {
        TokenStatus::Suspended => {
            VerifyError::new(Suspended, "the status list says that the license is suspended")
        }
        // A status without a name in this version is not valid either.
        TokenStatus::Other(value) => {
            VerifyError::new(Revoked, format!("the status is {value}, which is not valid"))
        }
        _ => VerifyError::new(Revoked, "the status list says that the license is revoked"),
    }
}

impl VerifyError {
    /// Returns the state of the license whose token was refused, or `None` when the token is not a
    /// genuine license.
    #[must_use]
    pub fn state(&self) -> Option<LicenseState> {
        match self.code() {
            ErrorCode::Revoked => Some(LicenseState::Revoked),
            ErrorCode::Suspended => Some(LicenseState::Suspended),
            ErrorCode::NotYetValid => Some(LicenseState::NotYetValid),
            ErrorCode::Expired => Some(LicenseState::Expired),
            ErrorCode::ClockAnomaly => Some(LicenseState::ClockAnomaly),
            ErrorCode::StatusStale => Some(LicenseState::Stale),
            _ => None,
        }
    }
}
