//! The error of a failed fetch.

use std::fmt;

/// The reason why keys, status lists or the log could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchError(pub(crate) String);

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FetchError {}
