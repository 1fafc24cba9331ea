//! Reading and writing of the state file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use super::kept::KeptState;
use crate::ErrorCode::StateUnwritable;
use crate::dates::MAX_DATE;
use crate::files::Lock;
use crate::json::document;
use crate::{VerifyError, files};

/// The maximum size of the file, in bytes.
const MAX_FILE: usize = 16 * 1024 * 1024;

pub(crate) struct StateStore {
    /// The time floor. The next write includes it.
    pub(crate) floor: AtomicI64,
    path: Option<PathBuf>,
    record: Mutex<KeptState>,
    last_error: Mutex<Option<String>>,
}

impl StateStore {
    /// Creates a state without a file, which ends with the process.
    pub(crate) fn in_memory(floor: i64) -> Self {
        let record = Mutex::new(KeptState::default());
        Self { floor: AtomicI64::new(floor), path: None, record, last_error: Mutex::new(None) }
    }

    /// Reads the file, or creates it. A directory that is not writable is an error here already.
    pub(crate) fn open(path: &Path, floor: i64) -> Result<Self, String> {
        // All names of the file have one lock: else one of two processes could miss a revocation.
        let path = &files::resolved(path).map_err(|error| format!("cannot be locked: {error}"))?;
        let _lock = lock(path)?;
        let record = load(path)?.unwrap_or_default();
        let floor = floor.max(record.time_floor);
        let record = KeptState { time_floor: floor.clamp(0, MAX_DATE), ..record };
        save(path, &record)?;
        let path = Some(path.clone());
        let (record, last_error) = (Mutex::new(record), Mutex::new(None));
        Ok(Self { floor: AtomicI64::new(floor), path, record, last_error })
    }

    pub(crate) fn kept(&self) -> KeptState {
        self.locked().clone()
    }

    /// Changes the state and writes it. The state is unchanged when the write fails, or when
    /// `change` refuses.
    pub(crate) fn update<T>(
        &self,
        change: impl FnOnce(&mut KeptState) -> Result<T, VerifyError>,
    ) -> Result<T, VerifyError> {
        self.change(&mut self.locked(), change)
    }

    /// Changes the state even if the write fails. [`last_error`](Self::last_error) reports that
    /// failure.
    pub(crate) fn note<T>(&self, change: impl Fn(&mut KeptState) -> T) -> T {
        let mut record = self.locked();
        match self.change(&mut record, |record| Ok(change(record))) {
            Ok(changed) => changed,
            Err(_) => change(&mut record),
        }
    }

    /// Changes the state in a way that may also lower the time floor.
    pub(super) fn reset(&self, change: impl FnOnce(&mut KeptState)) -> Result<(), VerifyError> {
        let mut record = self.locked();
        self.change(&mut record, |record| {
            change(record);
            self.floor.store(record.time_floor, Relaxed);
            Ok(())
        })
    }

    fn change<T>(
        &self,
        record: &mut KeptState,
        change: impl FnOnce(&mut KeptState) -> Result<T, VerifyError>,
    ) -> Result<T, VerifyError> {
        let mut next = record.clone();
        let unwritable = |why| VerifyError::new(StateUnwritable, format!("the state file {why}"));
        let (mut on_disk, mut _lock) = (None, None);
        if let Some(path) = &self.path {
            _lock = Some(lock(path).map_err(unwritable)?);
            let loaded = load(path).inspect_err(|why| self.set_last_error(Some(why.clone())));
            on_disk = loaded.map_err(unwritable)?;
            let begun = next.former.len();
            next.merge(on_disk.clone().unwrap_or_default());
            if next.former.len() > begun {
                // The operator has reset the state, so the floor of this process is void.
                self.floor.store(next.time_floor, Relaxed);
            }
        }
        let changed = change(&mut next)?;
        next.time_floor = next.time_floor.max(self.floor.load(Relaxed)).clamp(0, MAX_DATE);
        if let Some(path) = &self.path {
            let is_written = on_disk.as_ref() == Some(&next);
            let saved = if is_written { Ok(()) } else { save(path, &next) };
            self.set_last_error(saved.clone().err());
            saved.map_err(unwritable)?;
        }
        *record = next;
        Ok(changed)
    }

    /// Returns the error of the last write, or `None`.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_last_error(&self, error: Option<String>) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    fn locked(&self) -> MutexGuard<'_, KeptState> {
        // Changes are made to a copy, so a panic leaves nothing half done.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the file. Returns `None` when there is no file.
pub(crate) fn load(path: &Path) -> Result<Option<KeptState>, String> {
    let text = match files::read(path, MAX_FILE) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    if files::is_open_to_others(path).map_err(|error| format!("cannot be read: {error}"))? {
        return Err("is open to users other than its owner: check its content, then run chmod 600"
            .to_owned());
    }
    let record = document::<Map<String, Value>>(files::trimmed_bytes(&text))
        .ok()
        .filter(|_| text.len() <= MAX_FILE)
        .and_then(|members| serde_json::from_value(Value::Object(members)).ok())
        .filter(KeptState::is_plausible);
    let refusal = "is damaged, from a later version, or not a state file. Restore it, or remove it: the \
        verifier then starts without the time, revocations and withdrawn keys";
    record.map(Some).ok_or_else(|| refusal.to_owned())
}

fn lock(path: &Path) -> Result<Lock, String> {
    Lock::of(path).map_err(|error| format!("cannot be locked: {error}"))
}

fn save(path: &Path, record: &KeptState) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot be written: {error}");
    let text = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
    if text.len() > MAX_FILE {
        return Err(format!("would exceed {MAX_FILE} bytes"));
    }
    files::replace(path, &text).map_err(failed)
}
