//! What a state file keeps of the issuer's log, for its operator; and beginning anew.
//!
//! # Design
//!
//! A log that has shown two histories stays suspect for good: no command of the log's own, and no
//! passing of time, may make a verifier forget that. Only the operator does, who has asked the vendor,
//! says why, and keeps the evidence: what was kept is moved aside, never deleted.

use std::path::Path;

use serde::Serialize;

use crate::state_file::{FormerLog, KeptLog, KeptState, StateStore, load};
use crate::tlog::LogEvidence;
use crate::{Clock, ErrorCode, SystemClock, VerifyError};

/// What a [state file](crate::VerifierBuilder::state_path) keeps of the issuer's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogRecord {
    /// The verifier key of the log; none when nothing is kept of any.
    pub key: Option<String>,
    /// How many entries the newest checkpoint that was seen tells of.
    pub size: Option<u64>,
    /// The newest checkpoint that was seen, a signed text.
    pub checkpoint: Option<String>,
    /// Of how many tokens the proof is kept.
    pub proofs: usize,
    /// How the log contradicts what was seen of it.
    pub anomaly: Option<LogEvidence>,
    /// What was kept before the verifier began anew, the oldest first.
    pub former: Vec<FormerLogRecord>,
}

/// What was kept of a log before the verifier began anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FormerLogRecord {
    /// When it began anew, in seconds since 1970-01-01T00:00:00Z.
    pub until: i64,
    /// Why, in the words of the one who let it.
    pub because: String,
    /// The verifier key of the log.
    pub key: String,
    /// The newest checkpoint that was seen until then.
    pub checkpoint: Option<String>,
    /// How it contradicted what was seen of it.
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

/// What a [state file](crate::VerifierBuilder::state_path) keeps of the issuer's log. The file is only
/// read.
///
/// # Errors
///
/// Says why the file cannot be read.
pub fn log_record(state: &Path) -> Result<LogRecord, String> {
    let record = load(state).map_err(|why| format!("the state file {} {why}", state.display()))?;
    record.as_ref().map(LogRecord::of).ok_or_else(|| missing(state))
}

fn missing(state: &Path) -> String {
    format!("there is no state file {}", state.display())
}

/// Lets the verifiers of a [state file](crate::VerifierBuilder::state_path) begin anew with the issuer's
/// log, because its operator has found out why it contradicts what was seen: they take what it shows
/// next. What was kept is moved aside with the reason. A verifier that runs on the file follows when
/// it next writes there.
///
/// # Errors
///
/// Says why not: no reason is given, nothing is kept of a log, or the file cannot be read or written.
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
        let nothing = || VerifyError::new(ErrorCode::StateUnwritable, "keeps nothing of a log");
        record.former_logs.push(FormerLog::of(log.ok_or_else(nothing)?, now, because));
        Ok(LogRecord::of(record))
    });
    accepted.map_err(|error| format!("{}: {}", state.display(), error.detail()))
}
