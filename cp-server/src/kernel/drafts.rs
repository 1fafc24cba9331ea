//! Drafts: files that a process writes before they get their name.
//!
//! # Design
//!
//! A process locks its draft. A draft without a lock is of a process that has crashed, and may be
//! removed. A process ID in the name would not say so: in a container each process has the same
//! one. On a file system without locks no draft counts as left, so none is removed there.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// A locked file. Its name is removed when it is dropped, unless it was moved.
pub struct Draft {
    path: PathBuf,
    file: File,
    is_moved: bool,
}

impl Draft {
    /// Creates an empty file with mode 0600. It replaces the draft of a process that has crashed.
    ///
    /// # Errors
    /// Fails when another process is writing this draft, which stays unchanged.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot create {}", path.display());
        let busy = || format!("another process is writing {}", path.display());
        ensure!(remove_left(path).with_context(cannot)?, busy());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(path).with_context(cannot)?;
        // Another process may have found it before it was locked.
        let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        ensure!(!is_taken && is_at(&file, path), busy());
        Ok(Self { path: path.to_owned(), file, is_moved: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns another handle of the file, for a writer that owns its file.
    pub fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Moves the file to its name, and replaces the file that has it.
    pub fn replace(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_moved = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_moved {
            // The draft may be the file that fills the disk. The next one with its name removes it if
            // this fails.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a draft that no process is writing. Returns whether no draft has the name any more.
pub fn remove_left(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        opened => opened?,
    };
    // The lock is held until the name is gone: the name of another draft is not removed.
    if file.try_lock().is_err() || !is_at(&file, path) {
        return Ok(!path.exists());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

/// Whether the path is the name of this open file.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |found: Metadata| (found.dev(), found.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(own), Ok(there)) => id(own) == id(there),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draft_in_use_is_refused_and_draft_of_a_crash_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.draft");
        fs::write(&path, "left by a crash").unwrap();
        let draft = Draft::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let error = Draft::create(&path).err().unwrap().to_string();
        assert!(error.contains("another process is writing"), "{error}");
        assert!(!remove_left(&path).unwrap() && path.exists());
        // A writer with a handle of its own holds the lock as well.
        let handle = draft.handle().unwrap();
        drop(draft);
        assert!(!path.exists());
        drop(handle);
        let (draft, end) = (Draft::create(&path).unwrap(), folder.path().join("a"));
        draft.replace(&end).unwrap();
        assert!(end.exists() && !path.exists());
        assert!(remove_left(&path).unwrap());
    }

    #[test]
    fn draft_in_a_missing_folder_is_refused_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let error = Draft::create(&folder.path().join("none/a.draft")).err().unwrap();
        let text = format!("{error:#}");
        assert!(text.contains("none/a.draft") && text.contains("No such file"), "{text}");
    }
}
