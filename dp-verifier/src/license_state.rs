//! The states of a license.

use std::fmt;

use serde::{Serialize, Serializer};

/// The state of a genuine license.
///
/// Several states can hold at once. A state that refuses the license then wins over one that does
/// not. Among states of the same kind, the **last in this order** wins, which is the order of
/// `Ord`: a revoked license is `Revoked` even if it has also expired.
///
/// [`Expired`](Self::Expired), [`NotYetValid`](Self::NotYetValid), [`Suspended`](Self::Suspended)
/// and [`Revoked`](Self::Revoked) always refuse. [`Stale`](Self::Stale) refuses when the token says
/// `on_stale: block`, and [`ClockAnomaly`](Self::ClockAnomaly) refuses with
/// [`strict_clock`](crate::VerifierBuilder::strict_clock).
///
/// A [`LicenseContext`](crate::LicenseContext) never has a state that refuses. Such a state is
/// returned by [`VerifyError::state`](crate::VerifyError::state), and by
/// [`Verifier::state_of`](crate::Verifier::state_of) for a license that was admitted earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LicenseState {
    /// Valid for longer than the [expiring period](crate::VerifierBuilder::expiring_period).
    Valid,
    /// Valid, and ends within the [expiring period](crate::VerifierBuilder::expiring_period): time
    /// to ask for a new token. The state begins in the second that is exactly the period before
    /// `exp`.
    Expiring,
    /// Expired, from the second `exp` on, and still admitted: the token grants
    /// `enforcement.grace_seconds`, of which at most 90 days count. The verifier refuses the
    /// license from [`grace_until`](crate::LicenseContext::grace_until) plus the leeway on.
    Grace,
    /// The verifier has no status list that is recent enough for the token's
    /// `enforcement.status_max_age`, and `on_stale` is not `allow`.
    Stale,
    /// The issuer's log contradicts what this verifier has seen before: it is shorter, or it has
    /// another history. See [`Verifier::log_health`](crate::Verifier::log_health).
    LogAnomaly,
    /// The machine's clock is more than 5 minutes behind the issue time of the latest verified
    /// document. The verifier judged the license at that issue time instead.
    ClockAnomaly,
    /// Expired, and any grace period has ended.
    Expired,
    /// Not valid yet.
    NotYetValid,
    /// Suspended by a status list.
    Suspended,
    /// Permanently revoked by a status list.
    Revoked,
}

impl LicenseState {
    /// All states, in order.
    pub const ALL: &'static [Self] = &[
        Self::Valid,
        Self::Expiring,
        Self::Grace,
        Self::Stale,
        Self::LogAnomaly,
        Self::ClockAnomaly,
        Self::Expired,
        Self::NotYetValid,
        Self::Suspended,
        Self::Revoked,
    ];

    /// Returns the state as logs and metrics spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expiring => "expiring",
            Self::Grace => "grace",
            Self::Stale => "stale",
            Self::LogAnomaly => "log_anomaly",
            Self::ClockAnomaly => "clock_anomaly",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for LicenseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for LicenseState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
