//! The errors of the builder.

use std::fmt;
use std::path::PathBuf;

use crate::{ImportError, KeySetError};

/// The maximum leeway, in seconds: "no more than a few minutes" (RFC 7519 §4.1.4).
pub(super) const MAX_LEEWAY: i64 = 300;

/// The reason why a [`Verifier`](crate::Verifier) could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// No issuer was set.
    IssuerMissing,
    /// No audience was set.
    AudienceMissing,
    /// No source of keys was set.
    KeysMissing,
    /// The leeway exceeds 300 seconds.
    LeewayTooLong,
    /// The key set file could not be read.
    KeysFile {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The bundle file cannot be read.
    BundleFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The bundle file is refused.
    BundleRefused {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: ImportError,
    },
    /// The state file cannot be used.
    StateFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The log key is missing although inclusion is required, or it cannot be read; has the reason.
    LogKey(String),
    /// The key set is refused.
    KeySet(KeySetError),
    /// The key set URL cannot be used; has the reason.
    #[cfg(feature = "fetch")]
    KeysUrl(String),
    /// The settings of check-ins cannot be used; has the reason.
    #[cfg(feature = "fetch")]
    CheckIn(String),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IssuerMissing => {
                f.write_str("an issuer is required: the control plane's base URL")
            }
            Self::AudienceMissing => f.write_str("an audience is required"),
            Self::KeysMissing => f.write_str("a source of keys is required"),
            Self::LeewayTooLong => write!(f, "the leeway must be at most {MAX_LEEWAY} seconds"),
            Self::KeysFile { path, error } => {
                write!(f, "the key set file {} cannot be read: {error}", path.display())
            }
            Self::BundleFile { path, why } => {
                write!(f, "the bundle file {} cannot be read: {why}", path.display())
            }
            Self::BundleRefused { path, error } => {
                write!(f, "the bundle file {} is refused: {error}", path.display())
            }
            Self::StateFile { path, why } => {
                write!(f, "the state file {} {why}", path.display())
            }
            Self::LogKey(why) => write!(f, "the log key {why}"),
            Self::KeySet(error) => error.fmt(f),
            #[cfg(feature = "fetch")]
            Self::KeysUrl(why) => write!(f, "the key set URL cannot be used: {why}"),
            #[cfg(feature = "fetch")]
            Self::CheckIn(why) => write!(f, "the check-in cannot be used: {why}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::KeysFile { error, .. } => Some(error),
            Self::BundleRefused { error, .. } => Some(error),
            Self::KeySet(error) => Some(error),
            _ => None,
        }
    }
}
