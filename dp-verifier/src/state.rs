//! How a license stands.

use std::fmt;

use serde::{Serialize, Serializer};

/// How a verified license stands.
///
/// A token is first admitted or refused: one whose time has not begun, or is over, is an
/// [error](crate::VerifyError) and never a license in some state. Of the states that hold for an
/// admitted one, the first of these is told:
///
/// 1. [`ClockAnomaly`](Self::ClockAnomaly): the other states follow from a clock that is wrong;
/// 2. [`Grace`](Self::Grace);
/// 3. [`Expiring`](Self::Expiring);
/// 4. [`Valid`](Self::Valid).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// The machine's clock is more than 5 minutes behind the latest token that was ever verified, so
    /// the license was judged at the time when that one was issued.
    ClockAnomaly,
}

impl LicenseState {
    /// The state as it stands in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expiring => "expiring",
            Self::Grace => "grace",
            Self::ClockAnomaly => "clock_anomaly",
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
