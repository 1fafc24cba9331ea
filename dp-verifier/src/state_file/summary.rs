//! What a state file keeps, for its operator; and beginning anew with it.
//!
//! # Design
//!
//! What the state file remembers only ever grows, so one bad document can spoil it for good: a file
//! with a number out of the blue, a date of a clock that was years ahead, a key set that left out the
//! wrong key. Removing the file would be a way out, and would lose the log and the reports with it. So
//! its operator may begin anew with the rest, and says why. What was kept is moved aside with the
//! reason, never deleted, and the number of times is what other processes go by.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use uuid::Uuid;

use super::files::KeptFile;
use super::kept::KeptState;
use super::keys::KeptKeys;
use super::store::{StateStore, load};
use crate::{Clock, SystemClock};

/// What a [state file](crate::VerifierBuilder::state_path) keeps of time, keys, status lists and
/// license files. What it keeps of the log is a [`LogRecord`](crate::LogRecord).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StateRecord {
    /// The time that nothing is older than, in seconds since 1970-01-01T00:00:00Z.
    pub time_floor: i64,
    /// The newest license file; none when none was taken.
    pub file: Option<FileRecord>,
    /// The keys that license files have withdrawn.
    pub withdrawn_keys: Vec<WithdrawnKey>,
    /// By URL, when the newest status list was made, in seconds since 1970-01-01T00:00:00Z.
    pub status_lists: BTreeMap<String, i64>,
    /// The number of the last usage report; none when none was made.
    pub report: Option<i64>,
    /// What was kept before the verifier began anew, the oldest first.
    pub former: Vec<FormerStateRecord>,
}

/// The newest license file that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileRecord {
    /// Its number.
    pub seq: i64,
    /// The license.
    pub license_id: Uuid,
    /// The deployment that runs under it.
    pub deployment_id: Uuid,
}

/// A key that a license file has withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WithdrawnKey {
    /// What it was called.
    pub kid: String,
    /// The number of the newest file that left it out.
    pub by_file: i64,
}

/// What was kept before the verifier began anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FormerStateRecord {
    /// When it began anew, in seconds since 1970-01-01T00:00:00Z.
    pub until: i64,
    /// Why, in the words of the one who let it.
    pub because: String,
    /// The time that nothing was older than, in seconds since 1970-01-01T00:00:00Z.
    pub time_floor: i64,
    /// The newest license file.
    pub file: Option<FileRecord>,
    /// The keys that license files had withdrawn.
    pub withdrawn_keys: Vec<WithdrawnKey>,
    /// By URL, when the newest status list was made, in seconds since 1970-01-01T00:00:00Z.
    pub status_lists: BTreeMap<String, i64>,
}

fn file_record(file: Option<&KeptFile>) -> Option<FileRecord> {
    file.map(|file| FileRecord {
        seq: file.seq,
        license_id: file.license_id,
        deployment_id: file.deployment_id,
    })
}

fn withdrawn_keys(keys: &KeptKeys) -> Vec<WithdrawnKey> {
    let withdrawn = keys.iter().filter_map(|key| {
        Some(WithdrawnKey { kid: key.kid.clone(), by_file: key.withdrawn_by()? })
    });
    withdrawn.collect()
}

impl StateRecord {
    fn of(record: &KeptState) -> Self {
        let former = record.former.iter().map(|former| FormerStateRecord {
            until: former.until,
            because: former.because.clone(),
            time_floor: former.time_floor,
            file: file_record(former.file.as_ref()),
            withdrawn_keys: withdrawn_keys(&former.keys),
            status_lists: former.lists.iter().map(|(uri, l)| (uri.clone(), l.iat)).collect(),
        });
        Self {
            time_floor: record.time_floor,
            file: file_record(record.file.as_ref()),
            withdrawn_keys: withdrawn_keys(&record.keys),
            status_lists: record.lists.iter().map(|(uri, l)| (uri.clone(), l.iat)).collect(),
            report: record.report.as_ref().map(|report| report.sequence),
            former: former.collect(),
        }
    }
}

/// What a [state file](crate::VerifierBuilder::state_path) keeps besides the log. The file is only
/// read.
///
/// # Errors
///
/// Says why the file cannot be read.
pub fn state_record(state: &Path) -> Result<StateRecord, String> {
    let record = load(state).map_err(|why| format!("the state file {} {why}", state.display()))?;
    let missing = || format!("there is no state file {}", state.display());
    record.as_ref().map(StateRecord::of).ok_or_else(missing)
}

/// Lets the verifiers of a [state file](crate::VerifierBuilder::state_path) begin anew with times,
/// keys, status lists and license files, because a document that they have taken was wrong: its number
/// locks out later ones, its date is ahead, or it left out a key that was not withdrawn. The log, the
/// proofs of tokens and the numbers of usage reports stay. What was kept is moved aside with the
/// reason.
///
/// From then on the data plane knows as little as after its first installation: give it the newest
/// license file or key set at once. An app that runs on the file keeps in memory what it had taken;
/// start it anew.
///
/// # Errors
///
/// Says why not: no reason is given, or the file cannot be read or written.
pub fn reset_state(state: &Path, because: &str) -> Result<StateRecord, String> {
    if because.trim().is_empty() {
        return Err("the reason is missing".to_owned());
    }
    if !state.exists() {
        return Err(format!("there is no state file {}", state.display()));
    }
    let store = StateStore::open(state, i64::MIN)
        .map_err(|why| format!("the state file {} {why}", state.display()))?;
    let reset = store.reset(|record| record.reset(SystemClock.now(), because));
    reset.map_err(|error| format!("{}: {}", state.display(), error.detail()))?;
    Ok(StateRecord::of(&store.kept()))
}
