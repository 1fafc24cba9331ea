//! Contradictions of a log, with the evidence.

use serde::Serialize;

use super::note::Checkpoint;
use crate::ErrorCode::{self, LogRolledBack};
use crate::VerifyError;

/// The contradiction of a log, with the evidence: two checkpoints that the log has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogAnomaly {
    /// `log_rolled_back` or `split_view`.
    pub code: ErrorCode,
    /// When the verifier noticed it, in seconds since 1970-01-01T00:00:00Z.
    pub at: i64,
    /// The checkpoint that the verifier had seen before.
    pub seen: Checkpoint,
    /// The contradicting checkpoint.
    pub shown: Checkpoint,
}

impl LogAnomaly {
    pub(crate) fn error(&self) -> VerifyError {
        let (seen, shown) = (self.seen.size(), self.shown.size());
        let detail = match self.code {
            LogRolledBack => format!("the log has {shown} entries, but it had {seen} before"),
            _ => format!(
                "the log with {shown} entries contradicts the log with {seen} entries that was seen before"
            ),
        };
        VerifyError::new(self.code, detail)
    }
}

/// The evidence of a contradiction: the texts of two checkpoints that the log has signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogEvidence {
    /// `log_rolled_back` or `split_view`.
    pub code: ErrorCode,
    /// When the verifier noticed it, in seconds since 1970-01-01T00:00:00Z.
    pub at: i64,
    /// The checkpoint that the verifier had seen before.
    pub seen: String,
    /// The contradicting checkpoint.
    pub shown: String,
}
