//! Rehearsals: changes that are tried and never made.
//!
//! # Design
//! A rehearsal runs the statements of the change itself, so no rule is written twice. SQLite has one
//! write lock, and a rehearsal that held it would stop every other change. So on SQLite it works on a
//! copy, which costs the time and the disk space of one. On PostgreSQL it is a transaction that is
//! rolled back. It holds the locks of the rows that it changes until it ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::{Conn, Db};
use crate::kernel::files::{beside, create_private};

/// Numbers the copies of this process.
static COPIES: AtomicU64 = AtomicU64::new(0);

/// A connection to one state of the database. Its changes are visible only to itself, and are gone
/// when it is dropped.
pub struct Rehearsal(pub Conn);

impl Db {
    pub async fn rehearse(&self) -> sqlx::Result<Rehearsal> {
        match self {
            Self::Postgres(database) => {
                let (tx, statements) = database.begin().await?;
                Ok(Rehearsal(Conn::PostgresTx(tx, statements)))
            }
            Self::Sqlite { read, .. } => {
                let path = read.options().get_filename().to_owned();
                let number = COPIES.fetch_add(1, Ordering::Relaxed);
                let suffix = format!(".{}-{number}.copy", std::process::id());
                let copy = CopyFile(beside(&path, &suffix));
                copy.write(Conn::SqliteAlone(read.options().connect().await?)).await?;
                let mut conn = Conn::SqliteAlone(copy.open().await?);
                conn.raw("BEGIN").await?;
                Ok(Rehearsal(conn))
            }
        }
    }
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
struct CopyFile(PathBuf);

impl CopyFile {
    async fn write(&self, mut from: Conn) -> sqlx::Result<()> {
        let path = self.0.to_string_lossy().into_owned();
        // SQLite writes into an empty file, which no other user can read.
        create_private(Path::new(&path))
            .map_err(|error| sqlx::Error::Io(std::io::Error::other(format!("{error:#}"))))?;
        from.q("VACUUM INTO $1").bind(path).exec().await?;
        Ok(())
    }

    async fn open(&self) -> sqlx::Result<sqlx::SqliteConnection> {
        let options = SqliteConnectOptions::new()
            .filename(&self.0)
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(true)
            .pragma("trusted_schema", "OFF");
        options.connect().await
    }
}

impl Drop for CopyFile {
    fn drop(&mut self) {
        // A file that was not created has no name to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}
