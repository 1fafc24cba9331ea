//! How a license stands.

use std::fmt;

use serde::{Serialize, Serializer};

/// How a genuine license stands.
///
/// Several of these can hold at once. Then what refuses the license is told before what does not,
/// and of either kind the **last in this order**, which is the order of `Ord`: a revoked license is
/// `Revoked` whether or not it has expired as well. [`Expired`](Self::Expired),
/// [`NotYetValid`](Self::NotYetValid), [`Suspended`](Self::Suspended) and [`Revoked`](Self::Revoked)
/// always refuse, [`Stale`](Self::Stale) does when the token says `on_stale: block`, and
/// [`ClockAnomaly`](Self::ClockAnomaly) when the verifier was told
/// [`strict_clock`](crate::VerifierBuilder::strict_clock).
///
/// A [`LicenseContext`](crate::LicenseContext) is never handed out in a state that refuses; those
/// are told by [`VerifyError::state`](crate::VerifyError::state), and by
/// [`Verifier::state_of`](crate::Verifier::state_of) for a license that was admitted earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LicenseState {
    /// Good for longer than the [expiring period](crate::VerifierBuilder::expiring_period).
    Valid,
    /// Good, and ends within the [expiring period](crate::VerifierBuilder::expiring_period): time to
    /// ask for a new token. The second that is exactly the period before `exp` belongs to it.
    Expiring,
    /// Expired, from the second `exp` on, and still admitted because the token itself grants
    /// `enforcement.grace_seconds`, of which 90 days count at most. It is refused from
    /// [`grace_until`](crate::LicenseContext::grace_until) plus the leeway on.
    Grace,
    /// No status list says that the license still holds and is young enough for the token's
    /// `enforcement.status_max_age`, and its `on_stale` is not `allow`.
    Stale,
    /// The issuer's log contradicts what this verifier has seen of it: it is shorter, or it has
    /// another history. See [`Verifier::log_health`](crate::Verifier::log_health).
    LogAnomaly,
    /// The machine's clock is more than 5 minutes behind the latest document that was ever verified,
    /// so the license was judged at the time when that one was issued.
    ClockAnomaly,
    /// Over, and its grace as well.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// A status list says that the license does not hold for now.
    Suspended,
    /// A status list says that the token was taken back for good.
    Revoked,
}

impl LicenseState {
    /// Every state, in their order.
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

    /// The state as it stands in logs and metrics.
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
