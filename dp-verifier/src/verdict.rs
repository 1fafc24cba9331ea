//! How a genuine license stands, from everything that bears on it.

use std::borrow::Cow;
use std::sync::Arc;

use cp_contracts::{OnStale, TokenStatus};

use crate::ErrorCode::{ClockAnomaly, Revoked, StatusStale, Suspended};
use crate::claims::{Rules, Times};
use crate::status_list::ListedStatus;
use crate::{ErrorCode, KeySet, LicenseContext, LicenseState, VerifyError};

/// What time it is to be judged at.
#[derive(Clone, Copy)]
pub(crate) struct CheckTime {
    /// In seconds since 1970.
    pub(crate) now: i64,
    /// By how many seconds the clock is behind, when it is not believed.
    pub(crate) behind: Option<i64>,
    /// Whether that refuses.
    pub(crate) is_strict: bool,
}

impl CheckTime {
    /// A time that is beyond doubt.
    pub(crate) fn at(now: i64) -> Self {
        Self { now, behind: None, is_strict: false }
    }
}

/// The state that is told, and the refusal if there is one.
pub(crate) struct Verdict {
    pub(crate) state: LicenseState,
    pub(crate) refusal: Option<VerifyError>,
}

impl Verdict {
    /// Judges a license by these keys, which have verified its token.
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
            let detail = || format!("this clock is {behind} s behind what was issued");
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
                    Cow::Owned(format!("its status list is {age} s old, and {max} s are allowed"))
                } else if now >= exp.saturating_add(leeway) {
                    Cow::Borrowed("its status list has expired")
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
            // Also what later versions add: neither ignored nor the end of a data plane.
            Some(_) => self.add(LicenseState::Stale, None),
        }
    }

    fn refuse(&mut self, error: VerifyError) {
        if let Some(state) = error.state() {
            self.add(state, Some(error));
        }
    }

    /// What refuses goes before what does not, and then the later state before the earlier one.
    fn add(&mut self, state: LicenseState, refusal: Option<VerifyError>) {
        if (refusal.is_some(), state) >= (self.refusal.is_some(), self.state) {
            *self = Self { state, refusal };
        }
    }
}

/// Why a status other than valid refuses.
fn taken_back(status: TokenStatus) -> VerifyError {
    match status {
        TokenStatus::Suspended => {
            VerifyError::new(Suspended, "its status list says that it is suspended")
        }
        // What this version has no name for is not valid either.
        TokenStatus::Other(value) => {
            VerifyError::new(Revoked, format!("its status list says {value}, which is not valid"))
        }
        _ => VerifyError::new(Revoked, "its status list says that it was revoked"),
    }
}

impl VerifyError {
    /// How the license stands whose token is refused for this; none when the token is not that of
    /// a license.
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
