//! How a log contradicts itself.

use serde::Serialize;

use super::note::Checkpoint;
use crate::ErrorCode::{self, LogRolledBack};
use crate::VerifyError;

/// How a log contradicts itself, with the evidence: two texts that it has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogAnomaly {
    /// `log_rolled_back` or `split_view`.
    pub code: ErrorCode,
    /// When it was noticed, in seconds since 1970-01-01T00:00:00Z.
    pub at: i64,
    /// What was seen before.
    pub seen: Checkpoint,
    /// What was shown then.
    pub shown: Checkpoint,
}

impl LogAnomaly {
    pub(crate) fn error(&self) -> VerifyError {
        let (seen, shown) = (self.seen.size(), self.shown.size());
        let detail = match self.code {
            LogRolledBack => format!("the log has {shown} entries, and {seen} were seen before"),
            _ => format!(
                "the log of {shown} entries does not agree with the one of {seen} that was seen before"
            ),
        };
        VerifyError::new(self.code, detail)
    }
}

/// Two texts that a log has signed and that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogEvidence {
    /// `log_rolled_back` or `split_view`.
    pub code: ErrorCode,
    /// When it was noticed, in seconds since 1970-01-01T00:00:00Z.
    pub at: i64,
    /// What was seen before.
    pub seen: String,
    /// What was shown then.
    pub shown: String,
}
