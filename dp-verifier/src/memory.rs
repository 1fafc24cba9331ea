//! What a data plane must not forget, in a file.
//!
//! # Design
//!
//! Everything here only ever grows: times, the lists' dates, the numbers of files and reports. So two
//! processes that share the file, such as an app and `dp-verify` beside it, lose nothing: before a
//! write, what the file says meanwhile is merged in, under a lock.

mod former;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cp_contracts::EncodedStatusList;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

pub(crate) use self::former::FormerState;
pub use self::former::{
    FileRecord, FormerStateRecord, StateRecord, WithdrawnKey, reset_state, state_record,
};
use crate::ErrorCode::StateUnwritable;
use crate::crypto::sha256_hex;
use crate::dates::{MAX_DATE, is_date};
use crate::files::Lock;
use crate::json::document;
use crate::log::{FormerLog, KeptLog};
use crate::status_list::{Document, MAX_LISTS};
use crate::trust::KeptKeys;
use crate::{VerifyError, files};

/// Larger files are none of ours, in bytes.
const MAX_FILE: usize = 16 * 1024 * 1024;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// In seconds since 1970, like all times here.
    pub(crate) time_floor: i64,
    /// By URL, the newest list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) lists: BTreeMap<String, KeptList>,
    /// What license files have said of keys.
    #[serde(default, skip_serializing_if = "KeptKeys::is_empty")]
    pub(crate) keys: KeptKeys,
    /// The newest license file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<KeptFile>,
    /// The last usage report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<KeptReport>,
    /// The issuer's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<KeptLog>,
    /// What was kept of it, or of another log, before the verifier began anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former_logs: Vec<FormerLog>,
    /// What was kept of everything else before the verifier began anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former: Vec<FormerState>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptList {
    pub(crate) iat: i64,
    token: String,
    /// What this list and others of the same second have taken back; none when there was no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merged: Option<EncodedStatusList>,
}

impl KeptList {
    pub(crate) fn of(document: &Document) -> Self {
        let merged = document.is_merged.then(|| document.list.to_claim());
        Self { iat: document.iat, token: document.text.as_ref().to_owned(), merged }
    }

    /// The list, which was found genuine when it was kept.
    pub(crate) fn read(&self) -> Result<Document, VerifyError> {
        Document::read(&self.token, self.merged.as_ref())
    }

    /// Keeps it unless a newer one is kept; of two of the same second, what either has taken back.
    /// Returns whether it is not older.
    pub(crate) fn keep_in(self, lists: &mut BTreeMap<String, Self>, uri: &str) -> bool {
        let kept = match lists.get(uri) {
            Some(kept) if kept.iat > self.iat => return false,
            Some(kept) if kept.iat == self.iat && *kept != self => kept,
            _ => {
                lists.insert(uri.to_owned(), self);
                return true;
            }
        };
        if let (Ok(kept), Ok(new)) = (kept.read(), self.read()) {
            lists.insert(uri.to_owned(), Self::of(&new.stricter(&kept)));
        }
        true
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptFile {
    pub(crate) license_id: Uuid,
    pub(crate) deployment_id: Uuid,
    pub(crate) seq: i64,
    /// When the first file that was taken was made: from then on usage is to be reported.
    pub(crate) since: i64,
    /// Of its bytes.
    pub(crate) sha256: String,
    /// Of the bytes of the newest file with a token, which an app goes on being started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bundle_sha256: Option<String>,
    pub(crate) jwks: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoint: Option<String>,
}

impl KeptFile {
    /// Whether a file with this hash is the newest one, or the newest with a token.
    pub(crate) fn is(&self, sha256: &str) -> bool {
        self.sha256 == sha256 || self.bundle_sha256.as_deref() == Some(sha256)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptReport {
    pub(crate) sequence: i64,
    /// Of its bytes.
    pub(crate) sha256: String,
    /// The end of the time that it is about.
    pub(crate) until: i64,
}

impl KeptReport {
    pub(crate) fn of(sequence: i64, until: i64, text: &str) -> Self {
        Self { sequence, sha256: sha256_hex(text.as_bytes()), until }
    }
}

impl Record {
    /// What either knows.
    fn merge(&mut self, other: Self) {
        match self.former.len().cmp(&other.former.len()) {
            // Who has begun anew more often knows more.
            Ordering::Less => {
                self.time_floor = other.time_floor;
                (self.lists, self.keys, self.file) = (other.lists, other.keys, other.file);
                self.former = other.former;
            }
            Ordering::Greater => {}
            Ordering::Equal => {
                self.merge_documents(other.time_floor, other.lists, other.keys, other.file);
            }
        }
        let is_later = |report: &KeptReport| {
            self.report.as_ref().is_none_or(|ours| ours.sequence < report.sequence)
        };
        if let Some(report) = other.report.filter(is_later) {
            self.report = Some(report);
        }
        match self.former_logs.len().cmp(&other.former_logs.len()) {
            // Likewise.
            Ordering::Less => (self.log, self.former_logs) = (other.log, other.former_logs),
            Ordering::Greater => {}
            Ordering::Equal => match (&mut self.log, other.log) {
                (Some(ours), Some(its)) => ours.merge(its),
                (ours @ None, its) => *ours = its,
                (Some(_), None) => {}
            },
        }
    }

    fn merge_documents(
        &mut self,
        time_floor: i64,
        lists: BTreeMap<String, KeptList>,
        keys: KeptKeys,
        file: Option<KeptFile>,
    ) {
        self.time_floor = self.time_floor.max(time_floor);
        for (uri, list) in lists {
            if self.lists.len() < MAX_LISTS || self.lists.contains_key(&uri) {
                list.keep_in(&mut self.lists, &uri);
            }
        }
        self.keys.merge(keys);
        let is_newer = |file: &KeptFile| self.file.as_ref().is_none_or(|ours| ours.seq < file.seq);
        if let Some(file) = file.filter(is_newer) {
            self.file = Some(file);
        }
    }

    fn is_plausible(&self) -> bool {
        is_date(self.time_floor)
            && self.lists.len() <= MAX_LISTS
            && self.lists.values().all(|list| is_date(list.iat))
            && self.keys.is_plausible()
            && self.file.as_ref().is_none_or(|file| file.seq >= 1)
            && self.report.as_ref().is_none_or(|report| report.sequence >= 1)
    }
}

pub(crate) struct Memory {
    /// What nothing is older than; written with whatever is written next.
    pub(crate) floor: AtomicI64,
    path: Option<PathBuf>,
    record: Mutex<Record>,
    last_error: Mutex<Option<String>>,
}

impl Memory {
    /// A memory that ends with the process.
    pub(crate) fn passing(floor: i64) -> Self {
        let record = Mutex::new(Record::default());
        Self { floor: AtomicI64::new(floor), path: None, record, last_error: Mutex::new(None) }
    }

    /// What the file remembers; makes the file, so that a place that cannot be written is noticed.
    pub(crate) fn open(path: &Path, floor: i64) -> Result<Self, String> {
        let _lock = lock(path)?;
        let record = load(path)?.unwrap_or_default();
        let floor = floor.max(record.time_floor);
        let record = Record { time_floor: floor.clamp(0, MAX_DATE), ..record };
        save(path, &record)?;
        let path = Some(path.to_owned());
        let (record, last_error) = (Mutex::new(record), Mutex::new(None));
        Ok(Self { floor: AtomicI64::new(floor), path, record, last_error })
    }

    pub(crate) fn record(&self) -> Record {
        self.locked().clone()
    }

    /// Changes what is remembered, and writes it. Nothing has changed when that fails, or when
    /// `change` refuses.
    pub(crate) fn update<T>(
        &self,
        change: impl FnOnce(&mut Record) -> Result<T, VerifyError>,
    ) -> Result<T, VerifyError> {
        self.change(&mut self.locked(), change)
    }

    /// Changes what is remembered, also when it cannot be written; [`last_error`](Self::last_error)
    /// tells of that.
    pub(crate) fn note<T>(&self, change: impl Fn(&mut Record) -> T) -> T {
        let mut record = self.locked();
        match self.change(&mut record, |record| Ok(change(record))) {
            Ok(changed) => changed,
            Err(_) => change(&mut record),
        }
    }

    /// Begins anew: also the time may be earlier afterwards.
    fn reset(&self, change: impl FnOnce(&mut Record)) -> Result<(), VerifyError> {
        let mut record = self.locked();
        self.change(&mut record, |record| {
            change(record);
            self.floor.store(record.time_floor, Relaxed);
            Ok(())
        })
    }

    fn change<T>(
        &self,
        record: &mut Record,
        change: impl FnOnce(&mut Record) -> Result<T, VerifyError>,
    ) -> Result<T, VerifyError> {
        let mut next = record.clone();
        let unwritable = |why| VerifyError::new(StateUnwritable, format!("the state file {why}"));
        let (mut on_disk, mut _lock) = (None, None);
        if let Some(path) = &self.path {
            _lock = Some(lock(path).map_err(unwritable)?);
            let loaded = load(path).inspect_err(|why| self.tell(Some(why.clone())));
            on_disk = loaded.map_err(unwritable)?;
            let begun = next.former.len();
            next.merge(on_disk.clone().unwrap_or_default());
            if next.former.len() > begun {
                // The operator has begun anew with the file: what this process knew is no floor.
                self.floor.store(next.time_floor, Relaxed);
            }
        }
        let changed = change(&mut next)?;
        next.time_floor = next.time_floor.max(self.floor.load(Relaxed)).clamp(0, MAX_DATE);
        if let Some(path) = &self.path {
            let is_written = on_disk.as_ref() == Some(&next);
            let saved = if is_written { Ok(()) } else { save(path, &next) };
            self.tell(saved.clone().err());
            saved.map_err(unwritable)?;
        }
        *record = next;
        Ok(changed)
    }

    /// Why the file could not be written the last time.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, error: Option<String>) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    fn locked(&self) -> MutexGuard<'_, Record> {
        // A change is made to a copy, so a panic leaves nothing half done.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the file; none when there is none.
pub(crate) fn load(path: &Path) -> Result<Option<Record>, String> {
    let text = match files::read(path, MAX_FILE) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    if files::is_open_to_others(path).map_err(|error| format!("cannot be read: {error}"))? {
        return Err(
            "is open to others than its owner: chmod 600 it, if nobody has changed it".to_owned()
        );
    }
    let record = document::<Map<String, Value>>(files::trimmed_bytes(&text))
        .ok()
        .filter(|_| text.len() <= MAX_FILE)
        .and_then(|members| serde_json::from_value(Value::Object(members)).ok())
        .filter(Record::is_plausible);
    let refusal = "is damaged, of a later version, or not a state file; without it the verifier \
        starts with no memory of the time and of what was taken back: remove it if that is right";
    record.map(Some).ok_or_else(|| refusal.to_owned())
}

fn lock(path: &Path) -> Result<Lock, String> {
    Lock::of(path).map_err(|error| format!("cannot be locked: {error}"))
}

fn save(path: &Path, record: &Record) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot be written: {error}");
    let text = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
    if text.len() > MAX_FILE {
        return Err(format!("would have more than {MAX_FILE} bytes"));
    }
    files::replace(path, &text).map_err(failed)
}
