//! The health of a verifier, for the app's own health check and metrics.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::keys::Snapshot;
use crate::{ErrorCode, LicenseContext, LicenseState, Verifier, VerifyError};

/// The health of a verifier at an instant.
///
/// It contains codes and ages only: no token, no URL, no name and no message. So an app may return it
/// from a public health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether the verifier can judge tokens, the data plane's own one included. A license that has
    /// ended or was revoked is judged: it makes no data plane unready.
    pub ready: bool,
    /// What an operator should look at, the most important first.
    pub reasons: Vec<HealthReason>,
    /// The time since the issuer confirmed the keys. `None` for keys that are not fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_age_seconds: Option<i64>,
    /// The time since the issue of the oldest held status list. `None` without a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_list_age_seconds: Option<i64>,
    /// The time since the last response to a check-in. `None` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_in_age_seconds: Option<i64>,
    /// The data plane's own license. `None` when tokens come with requests only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseHealth>,
}

/// The health of the data plane's own license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LicenseHealth {
    /// The state. `None` for a token that is not genuine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<LicenseState>,
    /// The code of the refusal, or `None` when the license is admitted.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub code: Option<ErrorCode>,
    /// The time since the issue of the token. `None` when it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_age_seconds: Option<i64>,
    /// The time until the token ends, without its grace period. `None` when it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<i64>,
}

/// A reason for a look at a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HealthReason {
    /// There are no keys, or they are too old. Every token is refused.
    KeysUnavailable,
    /// The own license cannot be judged now.
    LicenseUnjudged,
    /// The own license is refused.
    LicenseRefused,
    /// The clock is behind the latest verified document.
    ClockBehind,
    /// The issuer's log contradicts its seen history.
    LogAnomaly,
    /// The last request for keys failed. The known keys serve.
    KeysNotFetched,
    /// The last request for a status list failed, or the published list is older than the held one.
    StatusListsNotFetched,
    /// The last check-in failed, or brought a token that is refused.
    CheckInFailed,
    /// The last request to the issuer's log failed.
    LogNotFetched,
    /// The state file cannot be written.
    StateUnwritable,
}

impl HealthReason {
    /// Returns the reason as logs and metrics spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeysUnavailable => "keys_unavailable",
            Self::LicenseUnjudged => "license_unjudged",
            Self::LicenseRefused => "license_refused",
            Self::ClockBehind => "clock_behind",
            Self::LogAnomaly => "log_anomaly",
            Self::KeysNotFetched => "keys_not_fetched",
            Self::StatusListsNotFetched => "status_lists_not_fetched",
            Self::CheckInFailed => "check_in_failed",
            Self::LogNotFetched => "log_not_fetched",
            Self::StateUnwritable => "state_unwritable",
        }
    }
}

impl fmt::Display for HealthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for HealthReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

fn as_text<S: Serializer>(code: &Option<ErrorCode>, serializer: S) -> Result<S::Ok, S::Error> {
    code.map(ErrorCode::as_str).serialize(serializer)
}

impl Health {
    /// Returns the HTTP status for a readiness check: 200 or 503.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        if self.ready { 200 } else { 503 }
    }
}

impl Verifier {
    /// Returns the health now. Does no I/O and never blocks.
    #[must_use]
    pub fn health(&self) -> Health {
        let lists = &self.inner().lists;
        let time = self.time();
        let snapshot = lists.keys.load();
        let age = |at: i64| time.now.saturating_sub(at).max(0);
        let license = self.own_license();
        let refusal = license.as_ref().and_then(|license| license.as_ref().err());
        let is_unjudged = refusal.is_some_and(|refusal| refusal.code().http_status() == 503);
        let is_strictly_behind = time.is_strict && time.behind.is_some();
        let found = [
            (HealthReason::KeysUnavailable, are_unavailable(&snapshot, time.now)),
            (HealthReason::LicenseUnjudged, is_unjudged),
            (HealthReason::LicenseRefused, refusal.is_some() && !is_unjudged),
            (HealthReason::ClockBehind, time.behind.is_some()),
            (HealthReason::LogAnomaly, self.log_health().is_some_and(|log| log.anomaly.is_some())),
            (HealthReason::KeysNotFetched, self.has_fetch_error()),
            (HealthReason::StatusListsNotFetched, self.has_list_error()),
            (HealthReason::CheckInFailed, self.has_check_in_error()),
            (
                HealthReason::LogNotFetched,
                self.log_health().is_some_and(|log| log.last_error.is_some()),
            ),
            (HealthReason::StateUnwritable, self.state_error().is_some()),
        ];
        let reasons: Vec<_> =
            found.into_iter().filter_map(|(reason, is_so)| is_so.then_some(reason)).collect();
        let is_blocked = |reason: &HealthReason| {
            matches!(reason, HealthReason::KeysUnavailable | HealthReason::LicenseUnjudged)
        };
        let issued = lists.documents().iter().map(|(list, _)| list.iat).min();
        Health {
            ready: !is_strictly_behind && !reasons.iter().any(is_blocked),
            reasons,
            keys_age_seconds: self.keys_confirmed_at().map(age),
            status_list_age_seconds: issued.map(age),
            check_in_age_seconds: self.checked_in_at().map(age),
            license: license.map(|license| match license {
                Ok(license) => LicenseHealth {
                    state: Some(license.state()),
                    code: None,
                    token_age_seconds: Some(age(license.claims().iat)),
                    expires_in_seconds: Some(license.expires_at().saturating_sub(time.now).max(0)),
                },
                Err(refusal) => LicenseHealth {
                    state: refusal.state(),
                    code: Some(refusal.code()),
                    token_age_seconds: None,
                    expires_in_seconds: None,
                },
            }),
        }
    }

    /// Sets the gauges of the ages, and describes all metrics, for the recorder of the crate
    /// `metrics`. Call it before each scrape.
    ///
    /// The other metrics change by themselves: the checks of tokens, the check-ins, and the held
    /// leases.
    #[cfg(feature = "metrics")]
    pub fn record_metrics(&self) {
        use crate::counts::{CHECK_INS, LEASES, VERIFICATIONS};
        metrics::describe_counter!(VERIFICATIONS, "Checked tokens, by the outcome and its code.");
        metrics::describe_counter!(CHECK_INS, "Check-ins, by the server's code or the failure.");
        metrics::describe_gauge!(LEASES, "Held seats, by pool.");
        let health = self.health();
        let license = health.license.as_ref();
        for (name, help, value) in [
            (
                "dp_verifier_ready",
                "Whether tokens can be judged: 1 or 0.",
                Some(i64::from(health.ready)),
            ),
            (
                "dp_verifier_keys_age_seconds",
                "The time since the issuer confirmed the keys.",
                health.keys_age_seconds,
            ),
            (
                "dp_verifier_status_list_age_seconds",
                "The time since the issue of the oldest held status list.",
                health.status_list_age_seconds,
            ),
            (
                "dp_verifier_check_in_age_seconds",
                "The time since the last response to a check-in.",
                health.check_in_age_seconds,
            ),
            (
                "dp_verifier_token_age_seconds",
                "The time since the issue of the data plane's own token.",
                license.and_then(|license| license.token_age_seconds),
            ),
            (
                "dp_verifier_token_expires_in_seconds",
                "The time until the data plane's own token ends; 0 when it is refused.",
                license.map(|license| license.expires_in_seconds.unwrap_or(0)),
            ),
        ] {
            metrics::describe_gauge!(name, help);
            if let Some(value) = value {
                // An age of more than 68 years is as good as one of 68 years.
                metrics::gauge!(name).set(f64::from(i32::try_from(value).unwrap_or(i32::MAX)));
            }
        }
    }

    /// Returns the outcome for the data plane's own token, or `None` when tokens come with requests
    /// only.
    fn own_license(&self) -> Option<Result<LicenseContext, VerifyError>> {
        #[cfg(feature = "fetch")]
        if self.check_ins().is_some() {
            return Some(self.check_current());
        }
        self.bundled_token().map(|token| self.check(&token))
    }

    fn has_list_error(&self) -> bool {
        let lists = self.inner().lists.documents();
        let is_older = lists.iter().any(|(_, older_published)| older_published.is_some());
        #[cfg(feature = "fetch")]
        let has_failed = self.status_lists_error().is_some();
        #[cfg(not(feature = "fetch"))]
        let has_failed = false;
        is_older || has_failed
    }
}

#[cfg(feature = "fetch")]
impl Verifier {
    fn has_fetch_error(&self) -> bool {
        self.keys_health().is_some_and(|keys| keys.last_error.is_some())
    }

    fn keys_confirmed_at(&self) -> Option<i64> {
        self.keys_health()?.fetched_at
    }

    fn has_check_in_error(&self) -> bool {
        self.check_in_health().is_some_and(|check_in| check_in.last_error.is_some())
    }

    fn checked_in_at(&self) -> Option<i64> {
        self.check_in_health()?.checked_in_at
    }
}

#[cfg(not(feature = "fetch"))]
impl Verifier {
    fn has_fetch_error(&self) -> bool {
        false
    }

    fn keys_confirmed_at(&self) -> Option<i64> {
        None
    }

    fn has_check_in_error(&self) -> bool {
        false
    }

    fn checked_in_at(&self) -> Option<i64> {
        None
    }
}

fn are_unavailable(snapshot: &Snapshot, now: i64) -> bool {
    snapshot.keys.is_empty() || now > snapshot.good_until
}
