//! Versions of this contract, and their negotiation.

use std::fmt;

use semver::{Version, VersionReq};

/// The version of the contract that this crate writes: the crate's own version.
pub const CONTRACT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The request header that names the versions a reader understands.
pub const CONTRACTS_VERSION_HEADER: &str = "Contracts-Version";

/// A supported major version of the contract. The order is the order of publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ContractVersion {
    /// 1.x: the version for readers that name none.
    V1,
    /// 2.x.
    V2,
}

impl ContractVersion {
    /// All supported major versions, oldest first.
    pub const ALL: &'static [Self] = &[Self::V1, Self::V2];

    /// Selects the version for a reader, from the value of its
    /// [`Contracts-Version`](CONTRACTS_VERSION_HEADER) header.
    ///
    /// The value is a semver requirement in Cargo's notation: `2`, `2.4.0` and `^2` all mean "2.x,
    /// at least this version"; `>=1, <3` and `*` are ranges. The newest supported major version
    /// with a released version that satisfies the requirement wins. A reader without the header
    /// gets 1.x.
    ///
    /// ```
    /// use cp_contracts::ContractVersion::{self, V1, V2};
    ///
    /// assert_eq!(ContractVersion::negotiate(None)?, V1);
    /// assert_eq!(ContractVersion::negotiate(Some("2.4.0"))?, V2);
    /// assert_eq!(ContractVersion::negotiate(Some(">=1, <3"))?, V2);
    /// assert!(ContractVersion::negotiate(Some("3")).is_err());
    /// # Ok::<(), cp_contracts::UnsupportedContract>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`UnsupportedContract`] when no supported version satisfies the requirement, or when
    /// the value is not a requirement. An HTTP server responds with 406.
    pub fn negotiate(requested: Option<&str>) -> Result<Self, UnsupportedContract> {
        let Some(requested) = requested else { return Ok(Self::V1) };
        let supported = VersionReq::parse(requested)
            .ok()
            .and_then(|wanted| Self::ALL.iter().rev().copied().find(|v| v.satisfies(&wanted)));
        supported
            .ok_or_else(|| UnsupportedContract { requested: requested.chars().take(64).collect() })
    }

    /// Returns the major version of a `contract` claim, or `None` when it is not supported.
    #[must_use]
    pub fn of(version: &Version) -> Option<Self> {
        Self::ALL.iter().copied().find(|supported| supported.major() == version.major)
    }

    /// Returns the major version number.
    #[must_use]
    pub fn major(self) -> u64 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// Returns whether a released version of this major version satisfies the requirement.
    ///
    /// The smallest version in a range is the first of the major version, a bound of the range, or
    /// the successor of an exclusive bound. So this function needs no list of releases.
    fn satisfies(self, wanted: &VersionReq) -> bool {
        let bounds = wanted.comparators.iter().flat_map(|c| {
            let (minor, patch) = (c.minor.unwrap_or(0), c.patch.unwrap_or(0));
            let bound = Version { pre: c.pre.clone(), ..Version::new(c.major, minor, patch) };
            let next_minor = Version::new(c.major, minor.saturating_add(1), 0);
            [bound, Version::new(c.major, minor, patch.saturating_add(1)), next_minor]
        });
        bounds
            .chain([Version::new(self.major(), 0, 0)])
            .any(|v| v.major == self.major() && self.released(&v) && wanted.matches(&v))
    }

    /// Returns whether this version exists: 1.x is closed, and 2.x ends at this crate's version.
    fn released(self, version: &Version) -> bool {
        match self {
            Self::V1 => true,
            Self::V2 => Version::parse(CONTRACT_VERSION).is_ok_and(|current| *version <= current),
        }
    }
}

impl fmt::Display for ContractVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.x", self.major())
    }
}

/// The error of a reader that requires an unsupported version of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedContract {
    requested: String,
}

impl UnsupportedContract {
    /// Returns the requirement, cut at 64 characters.
    #[must_use]
    pub fn requested(&self) -> &str {
        &self.requested
    }
}

impl fmt::Display for UnsupportedContract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no supported contract version satisfies {:?}; supported are", self.requested)?;
        for (i, version) in ContractVersion::ALL.iter().enumerate() {
            write!(f, "{} {version}", if i == 0 { "" } else { "," })?;
        }
        write!(f, " (up to {CONTRACT_VERSION})")
    }
}

impl std::error::Error for UnsupportedContract {}

#[cfg(test)]
mod tests {
    use super::ContractVersion::{self, V1, V2};

    #[test]
    fn the_newest_satisfying_major_wins() {
        let cases = [
            (V1, "1"),
            (V1, "1.0.0"),
            (V1, "1.3"),
            (V1, "=1.2.0"),
            (V1, ">1.2, <2"),
            (V1, "<2"),
            (V2, "2"),
            (V2, "2.4.0"),
            (V2, "2.11.0"),
            (V2, "^2"),
            (V2, "~2.4"),
            (V2, "=2.4.0"),
            (V2, "2.*"),
            (V2, "*"),
            (V2, ">=1, <3"),
            (V2, ">=1"),
            (V2, ">1.9"),
            (V2, " ^2 "),
            (V2, ">2.3.9"),
            (V2, "<2.3"),
            (V2, "2.11.0-rc.1"),
        ];
        for (expected, requested) in cases {
            assert_eq!(ContractVersion::negotiate(Some(requested)), Ok(expected), "{requested}");
        }
    }

    #[test]
    fn unsupported_names_the_supported() {
        for requested in [
            "3",
            "0",
            "2.12",
            ">2.11.0",
            ">=1.5, <1.5",
            "v2",
            "",
            "2.0.0.0",
            "\u{0}",
            "^99999999999999999999",
        ] {
            let error = ContractVersion::negotiate(Some(requested)).unwrap_err().to_string();
            assert!(
                error.contains("supported are 1.x, 2.x (up to 2.11.0)"),
                "{requested}: {error}"
            );
        }
        let long = ContractVersion::negotiate(Some(&"9".repeat(9_000))).unwrap_err();
        assert_eq!(long.requested().len(), 64);
    }
}
