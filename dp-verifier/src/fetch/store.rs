//! The file with the last valid key set.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files;

/// The maximum size of the file: a set, escaped as a string, and a few members.
const MAX_FILE: u64 = 256 * 1024;

/// The content of the file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) url: String,
    /// In seconds since 1970.
    pub(super) fetched_at: i64,
    pub(super) etag: Option<String>,
    /// The key set as it was fetched. It is validated again when the file is read.
    pub(super) jwks: String,
}

/// Reads the file. Returns `None` when there is no file. Refuses a file that other users may write: they
/// could add keys.
pub(super) fn load(path: &Path) -> Result<Option<Stored>, String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if files::is_writable_by_others(&file).map_err(failed)? {
        return Err(format!("{} may be written by users other than its owner", path.display()));
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Replaces the file. A user who can write keys into it can issue licenses.
pub(super) fn save(path: &Path, stored: &Stored) -> Result<(), String> {
    let write = || files::replace(path, &serde_json::to_vec(stored)?);
    write().map_err(|error| format!("{} cannot be written: {error}", path.display()))
}
