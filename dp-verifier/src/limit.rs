//! How much of a metric a license includes.

/// The amount of a metric that a license includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// No limit. Only an explicit `null` or -1 in the license is unlimited.
    Unlimited,
    /// At most this many.
    AtMost(u64),
    /// Nothing: the license does not name the metric, or not as a number.
    NotIncluded,
}

impl Limit {
    /// Returns whether one more is included when `used` are in use.
    ///
    /// ```
    /// use dp_verifier::Limit;
    ///
    /// assert!(Limit::AtMost(10).allows_another(9));
    /// assert!(!Limit::AtMost(10).allows_another(10));
    /// assert!(Limit::Unlimited.allows_another(u64::MAX));
    /// assert!(!Limit::NotIncluded.allows_another(0));
    /// ```
    #[must_use]
    pub fn allows_another(self, used: u64) -> bool {
        match self {
            Self::Unlimited => true,
            Self::AtMost(limit) => used < limit,
            Self::NotIncluded => false,
        }
    }

    /// Reads a declared number: -1 and `null` mean unlimited, other negative numbers mean nothing.
    pub(crate) fn declared(number: Option<i64>) -> Self {
        match number {
            None | Some(-1) => Self::Unlimited,
            Some(number) => u64::try_from(number).map_or(Self::NotIncluded, Self::AtMost),
        }
    }
}
