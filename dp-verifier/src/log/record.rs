//! The operator's view of the issuer's log, and its acceptance after a contradiction.
//!
//! # Design
//!
//! A log that has shown two histories stays suspect permanently. Neither the log nor the passing of
//! time clears it. Only the operator does, with a reason, after a question to the vendor. The
//! evidence moves aside and is never deleted.

use std::path::Path;

use serde::Serialize;

use crate::state_file::{FormerLog, KeptLog, KeptState, StateStore, load};
use crate::tlog::LogEvidence;
use crate::{Clock, ErrorCode, SystemClock, VerifyError};

/// The issuer's log in a [state file](crate::VerifierBuilder::state_path).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogRecord {
    /// The verifier key of the log. `None` when the file has no log.
    pub key: Option<String>,
    /// The number of entries in the newest seen checkpoint.
    pub size: Option<u64>,
    /// The newest seen checkpoint, a signed text.
    pub checkpoint: Option<String>,
    /// The number of stored proofs.
    pub proofs: usize,
    /// The contradiction of the log.
    pub anomaly: Option<LogEvidence>,
    /// The earlier logs, the oldest first.
    pub former: Vec<FormerLogRecord>,
}

/// A log from before the operator accepted a log, or from before another log key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FormerLogRecord {
    /// The time of that change, in seconds since 1970-01-01T00:00:00Z.
    pub until: i64,
    /// The operator's reason, or the new log key.
    pub because: String,
    /// The verifier key of the log.
    pub key: String,
    /// The newest checkpoint that was seen until then.
    pub checkpoint: Option<String>,
    /// The contradiction of the log.
    pub anomaly: Option<LogEvidence>,
}

impl LogRecord {
    fn of(record: &KeptState) -> Self {
        let log = record.log.as_ref();
        let former = record.former_logs.iter().map(|former| FormerLogRecord {
            until: former.until,
            because: former.because.clone(),
            key: former.log.vkey().to_owned(),
            checkpoint: former.log.checkpoint().map(|(_, text)| text.to_owned()),
            anomaly: former.log.evidence(),
        });
        Self {
            key: log.map(|log| log.vkey().to_owned()),
            size: log.and_then(KeptLog::checkpoint).map(|(size, _)| size),
            checkpoint: log.and_then(KeptLog::checkpoint).map(|(_, text)| text.to_owned()),
            proofs: log.map_or(0, KeptLog::proofs),
            anomaly: log.and_then(KeptLog::evidence),
            former: former.collect(),
        }
    }
}

/// Returns the issuer's log in a [state file](crate::VerifierBuilder::state_path). Does not change
/// the file.
///
/// # Errors
///
/// Returns the reason when the file cannot be read.
pub fn log_record(state: &Path) -> Result<LogRecord, String> {
    let record = load(state).map_err(|why| format!("the state file {} {why}", state.display()))?;
    record.as_ref().map(LogRecord::of).ok_or_else(|| missing(state))
}

fn missing(state: &Path) -> String {
    format!("there is no state file {}", state.display())
}

/// Accepts the issuer's log in a [state file](crate::VerifierBuilder::state_path) after the
/// operator has clarified a contradiction: the verifiers then follow the log from its next
/// checkpoint. The stored log moves aside with the reason. A running verifier follows at its next
/// write to the file.
///
/// # Errors
///
/// Returns the reason when `because` is empty, when the file has no log, or when the file cannot be
/// read or written.
pub fn accept_log(state: &Path, because: &str) -> Result<LogRecord, String> {
    if because.trim().is_empty() {
        return Err("the reason is missing".to_owned());
    }
    if !state.exists() {
        return Err(missing(state));
    }
    let store = StateStore::open(state, i64::MIN)
        .map_err(|why| format!("the state file {} {why}", state.display()))?;
    let now = SystemClock.now().max(store.kept().time_floor);
    let accepted = store.update(|record| {
        let log = record.log.take();
        let nothing = || VerifyError::new(ErrorCode::StateUnwritable, "the state file has no log");
        record.former_logs.push(FormerLog::of(log.ok_or_else(nothing)?, now, because));
        Ok(LogRecord::of(record))
    });
    accepted.map_err(|error| format!("{}: {}", state.display(), error.detail()))
}
