//! The files that SQLite keeps beside a database file.
//!
//! # Design
//!
//! SQLite takes a write-ahead log or a journal beside a file for one of that file, and deletes it
//! when the file is empty. Both lose data when the log is of another file
//! (<https://www.sqlite.org/howtocorrupt.html>, section 1.4). So no file gets the name of a
//! database before such files are away.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rustix::fs::{FlockOperation, fcntl_lock};

use crate::kernel::files::{beside, move_new};

/// The suffixes of the names: the write-ahead log, its index, and the journal.
pub const SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Whether the file is missing or has no content.
pub fn is_empty(file: &Path) -> bool {
    !fs::metadata(file).is_ok_and(|found| found.len() > 0)
}

/// Removes the files beside a draft or a copy.
pub fn remove(file: &Path) -> io::Result<()> {
    for suffix in SUFFIXES {
        match fs::remove_file(beside(file, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Moves the files beside a database file to another name of that file. Returns their new paths.
pub fn set_aside(file: &Path, aside: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut moved = Vec::new();
    for suffix in SUFFIXES {
        let path = beside(aside, suffix);
        if move_new(&beside(file, suffix), &path)? {
            moved.push(path);
        }
    }
    Ok(moved)
}

/// Whether no process uses the index of the write-ahead log, which SQLite locks for as long as the
/// database is open. For a database whose file is missing or empty: SQLite itself would delete its
/// log.
pub fn is_alone(file: &Path) -> anyhow::Result<bool> {
    let index = beside(file, "-shm");
    let opened = OpenOptions::new().read(true).write(true).open(&index);
    match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        opened => {
            let index = opened.with_context(|| format!("cannot open {}", index.display()))?;
            Ok(fcntl_lock(&index, FlockOperation::NonBlockingLockExclusive).is_ok())
        }
    }
}

/// Refuses a missing or empty database file whose write-ahead log contains changes.
pub fn check(file: &Path) -> anyhow::Result<()> {
    let log = beside(file, "-wal");
    ensure!(
        !is_empty(file) || is_empty(&log),
        "{} is missing or empty, but {} contains changes to it. Put the file back, or restore a \
         backup: `cp-server restore` sets the log aside. Nothing was changed",
        file.display(),
        log.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_files_move_together_and_replace_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (file, aside) = (folder.path().join("a.db"), folder.path().join("a.db.before"));
        for suffix in SUFFIXES {
            fs::write(beside(&file, suffix), suffix).unwrap();
        }
        assert!(check(&file).is_err(), "the file is missing, and its log is not");
        let moved = set_aside(&file, &aside).unwrap();
        assert_eq!(moved, SUFFIXES.map(|suffix| beside(&aside, suffix)));
        assert!(check(&file).is_ok());
        fs::write(beside(&file, "-wal"), "newer").unwrap();
        assert!(set_aside(&file, &aside).is_err());
        assert_eq!(fs::read(beside(&aside, "-wal")).unwrap(), b"-wal");
        assert_eq!(fs::read(beside(&file, "-wal")).unwrap(), b"newer");
        remove(&file).unwrap();
        assert!(set_aside(&file, &folder.path().join("b")).unwrap().is_empty());
    }
}
