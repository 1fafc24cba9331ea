//! The operator's view of the state file, and its reset.
//!
//! # Design
//!
//! The values in the state file only grow, so one wrong document can spoil it permanently: a file
//! with a wrong number, a date of a clock that was years ahead, a key set without the wrong key.
//! The removal of the file would also remove the log and the reports. So the operator can reset
//! everything else, with a reason. The former content moves aside with the reason and is never
//! deleted. Other processes compare the number of resets.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use uuid::Uuid;

use super::files::KeptFile;
use super::kept::KeptState;
use super::keys::KeptKeys;
use super::store::{StateStore, load};
use crate::{Clock, SystemClock};

/// The content of a [state file](crate::VerifierBuilder::state_path): time, keys, status lists and
/// license files. The log is a [`LogRecord`](crate::LogRecord).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StateRecord {
    /// The time floor, in seconds since 1970-01-01T00:00:00Z.
    pub time_floor: i64,
    /// The newest license file. `None` before the first import.
    pub file: Option<FileRecord>,
    /// The keys that license files have withdrawn.
    pub withdrawn_keys: Vec<WithdrawnKey>,
    /// The issue time of the newest status list, by URL, in seconds since 1970-01-01T00:00:00Z.
    pub status_lists: BTreeMap<String, i64>,
    /// The number of the last usage report. `None` before the first one.
    pub report: Option<i64>,
    /// The contents before each reset, the oldest first.
    pub former: Vec<FormerStateRecord>,
}

/// The newest imported license file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileRecord {
    /// The number of the file.
    pub seq: i64,
    /// The license.
    pub license_id: Uuid,
    /// The deployment.
    pub deployment_id: Uuid,
}

/// A key that a license file has withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WithdrawnKey {
    /// The key ID.
    pub kid: String,
    /// The number of the newest file that omitted the key.
    pub by_file: i64,
}

/// The content of the state file before a reset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FormerStateRecord {
    /// The time of the reset, in seconds since 1970-01-01T00:00:00Z.
    pub until: i64,
    /// The operator's reason.
    pub because: String,
    /// The time floor, in seconds since 1970-01-01T00:00:00Z.
    pub time_floor: i64,
    /// The newest license file.
    pub file: Option<FileRecord>,
    /// The keys that license files had withdrawn.
    pub withdrawn_keys: Vec<WithdrawnKey>,
    /// The issue time of the newest status list, by URL, in seconds since 1970-01-01T00:00:00Z.
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

/// Returns the content of a [state file](crate::VerifierBuilder::state_path), except the log. Does
/// not change the file.
///
/// # Errors
///
/// Returns the reason when the file cannot be read.
pub fn state_record(state: &Path) -> Result<StateRecord, String> {
    let record = load(state).map_err(|why| format!("the state file {} {why}", state.display()))?;
    let missing = || format!("there is no state file {}", state.display());
    record.as_ref().map(StateRecord::of).ok_or_else(missing)
}

/// Resets times, keys, status lists and license files in a [state
/// file](crate::VerifierBuilder::state_path), after a wrong document was imported: its number locks
/// out later documents, its date is in the future, or it omits a key that was not withdrawn. The
/// log, the proofs of tokens and the numbers of usage reports stay. The former content moves aside
/// with the reason.
///
/// After the reset the data plane knows as little as after its installation. Import the newest
/// license file or key set at once. Restart an app that uses the file, because its memory still has
/// the former content.
///
/// # Errors
///
/// Returns the reason when `because` is empty, or when the file cannot be read or written.
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
