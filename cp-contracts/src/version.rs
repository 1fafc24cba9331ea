//! Versions of this contract, and how a reader asks for one.

use std::fmt;

use semver::{Version, VersionReq};

/// The version of the contract that this crate writes: the crate's own version.
pub const CONTRACT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The request header in which a reader says which versions it understands.
pub const CONTRACTS_VERSION_HEADER: &str = "Contracts-Version";

/// A supported major version of the contract. The order is the order of publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ContractVersion {
    /// 1.x: the answer of readers that do not ask.
    V1,
    /// 2.x.
    V2,
}

impl ContractVersion {
    /// Every supported major version, oldest first.
    pub const ALL: &'static [Self] = &[Self::V1, Self::V2];

    /// Decides which answer a reader gets, from the value of its
    /// [`Contracts-Version`](CONTRACTS_VERSION_HEADER) header.
    ///
    /// The value is a semver requirement in Cargo's notation: `2`, `2.4.0` and `^2` all mean "2.x,
    /// at least this"; `>=1, <3` and `*` are ranges. The newest supported major version in which
    /// some released version satisfies it wins; a reader that sends nothing gets 1.x.
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
    /// [`UnsupportedContract`] when no supported version satisfies the requirement, or when it is
    /// not a requirement at all. An HTTP server answers 406.
    pub fn negotiate(requested: Option<&str>) -> Result<Self, UnsupportedContract> {
        let Some(requested) = requested else { return Ok(Self::V1) };
        let supported = VersionReq::parse(requested)
            .ok()
            .and_then(|wanted| Self::ALL.iter().rev().copied().find(|v| v.satisfies(&wanted)));
        supported
            .ok_or_else(|| UnsupportedContract { requested: requested.chars().take(64).collect() })
    }

    /// The major version of a `contract` claim, when it is a supported one.
    #[must_use]
    pub fn of(version: &Version) -> Option<Self> {
        Self::ALL.iter().copied().find(|supported| supported.major() == version.major)
    }

    /// The major version number.
    #[must_use]
    pub fn major(self) -> u64 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// Whether a released version of this major satisfies the requirement.
    ///
    /// The smallest version that satisfies a range is the major's first one, a bound of the range,
    /// or the successor of an exclusive bound, so no list of releases has to be kept.
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

    /// Whether readers may rely on this version existing: 1.x is closed, 2.x goes up to this crate.
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

/// No supported version of the contract satisfies what the reader asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedContract {
    requested: String,
}

impl UnsupportedContract {
    /// What was asked for, cut at 64 characters.
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
            (V2, "2.7.0"),
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
            (V2, "2.7.0-rc.1"),
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
            "2.8",
            ">2.7.0",
            ">=1.5, <1.5",
            "v2",
            "",
            "2.0.0.0",
            "\u{0}",
            "^99999999999999999999",
        ] {
            let error = ContractVersion::negotiate(Some(requested)).unwrap_err().to_string();
            assert!(error.contains("supported are 1.x, 2.x (up to 2.7.0)"), "{requested}: {error}");
        }
        let long = ContractVersion::negotiate(Some(&"9".repeat(9_000))).unwrap_err();
        assert_eq!(long.requested().len(), 64);
    }
}
