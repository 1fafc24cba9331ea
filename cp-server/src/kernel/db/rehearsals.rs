//! Rehearsals: changes that are tried and never made.
//!
//! # Design
//! A rehearsal runs the statements of the change itself, so no rule is written twice. SQLite has one
//! write lock, and a rehearsal that held it would stop every other change. So on SQLite it works on a
//! copy, which costs the time and the disk space of one. On PostgreSQL it is a transaction that is
//! rolled back. It holds the locks of the rows that it changes until it ends.
//!
//! The process that writes a copy locks its file. A copy without a lock is of a process that has
//! crashed. A process ID would not say so: in a container each server has the same one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::{Conn, Db, Share, side_files};
use crate::kernel::drafts;
use crate::kernel::files::{beside, create_private};

/// Numbers the copies of this process.
static COPIES: AtomicU64 = AtomicU64::new(0);
/// The end of the name of a copy.
const ENDING: &str = ".copy";

/// A connection to one state of the database. Its changes are visible only to itself, and are gone
/// when it is dropped.
pub struct Rehearsal(pub Conn);

impl Db {
    pub async fn rehearse(&self) -> sqlx::Result<Rehearsal> {
        match self {
            Self::Postgres(database) => database
                .begin(Share::SERVER)
                .await
                .map(|change| Rehearsal(Conn::PostgresTx(change))),
            Self::Sqlite { read, .. } => {
                let path = read.options().get_filename().to_owned();
                self.remove_left_copies()?;
                let copy = CopyFile::create(&path)?;
                copy.write(Conn::SqliteAlone(read.options().connect().await?)).await?;
                let mut conn = Conn::SqliteAlone(copy.open().await?);
                conn.raw("BEGIN").await?;
                Ok(Rehearsal(conn))
            }
        }
    }

    /// Removes the copies of processes that have crashed.
    pub fn remove_left_copies(&self) -> io::Result<()> {
        let Self::Sqlite { read, .. } = self else { return Ok(()) };
        let path = read.options().get_filename().to_owned();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        for entry in std::fs::read_dir(folder.unwrap_or(Path::new(".")))? {
            let entry = entry?;
            let copy = entry.file_name().to_str().and_then(|other| copy_of(name, other));
            if let Some(copy) = copy {
                let copy = entry.path().with_file_name(copy);
                if drafts::remove_left(&copy)? {
                    side_files::remove(&copy)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the name of the copy of a database to which a file belongs: the copy, or a file that
/// SQLite keeps beside it.
fn copy_of(database: &str, file: &str) -> Option<String> {
    let mut suffixes = side_files::SUFFIXES.iter();
    let copy = suffixes.find_map(|suffix| file.strip_suffix(*suffix)).unwrap_or(file);
    let rest = copy.strip_prefix(database)?.strip_suffix(ENDING)?;
    rest.starts_with('.').then(|| copy.to_owned())
}

impl Rehearsal {
    /// Ends the parts of a chunk. On SQLite, what would be needed to undo them leaves the memory.
    pub async fn end_parts(&mut self) -> sqlx::Result<()> {
        match &self.0 {
            Conn::SqliteAlone(_) => self.0.raw("COMMIT; BEGIN").await,
            _ => self.0.raw("RELEASE SAVEPOINT part").await,
        }
    }
}

/// The file of a copy. Its name is removed as soon as the file is open, so no copy outlives its
/// process.
struct CopyFile {
    path: PathBuf,
    /// Held for the life of the name.
    _lock: File,
}

impl CopyFile {
    /// Creates an empty file, which no other user can read, beside the database.
    fn create(database: &Path) -> io::Result<Self> {
        loop {
            let number = COPIES.fetch_add(1, Ordering::Relaxed);
            let path = beside(database, &format!(".{}-{number}{ENDING}", std::process::id()));
            if path.exists() {
                continue;
            }
            create_private(&path).map_err(|error| io::Error::other(format!("{error:#}")))?;
            let file = File::open(&path)?;
            // Another process may have removed it before it was locked.
            if file.try_lock().is_ok() && path.exists() {
                return Ok(Self { path, _lock: file });
            }
        }
    }

    async fn write(&self, mut from: Conn) -> sqlx::Result<()> {
        let path = self.path.to_string_lossy().into_owned();
        from.q("VACUUM INTO $1").bind(path).exec().await?;
        Ok(())
    }

    async fn open(&self) -> sqlx::Result<sqlx::SqliteConnection> {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(true)
            .pragma("trusted_schema", "OFF");
        options.connect().await
    }
}

impl Drop for CopyFile {
    fn drop(&mut self) {
        // A file that was not created has no name to remove. A full disk leaves a journal. It goes
        // first: a journal without its copy would be left for the next start.
        let _ = side_files::remove(&self.path);
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::super::FileOptions;
    use super::*;

    #[tokio::test]
    async fn copies_of_a_crash_are_removed_with_the_files_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let db = Db::open_sqlite(&path, FileOptions::default()).await.unwrap();
        let write = |name: &str| std::fs::write(folder.path().join(name), "x").unwrap();
        let left = ["a.db.1-0.copy", "a.db.1-0.copy-journal", "a.db.1-1.copy-journal"];
        let others = ["a.db.copy-not", "b.db.1-0.copy", "a.db.1-0.copy-more", "a.dbcopy-wal"];
        left.into_iter().chain(others).for_each(write);
        let live = CopyFile::create(&path).unwrap();
        std::fs::write(beside(&live.path, "-journal"), "x").unwrap();
        db.remove_left_copies().unwrap();
        for name in left {
            assert!(!folder.path().join(name).exists(), "{name}");
        }
        for name in others {
            assert!(folder.path().join(name).exists(), "{name}");
        }
        assert!(live.path.exists() && beside(&live.path, "-journal").exists());
        let path = live.path.clone();
        drop(live);
        assert!(!path.exists() && !beside(&path, "-journal").exists());
        db.close().await;
    }
}
