//! The write-ahead log that an earlier process left beside an SQLite file.
//!
//! # Design
//! SQLite takes such a log for written if it can be read. But when a sync fails, Linux marks what it
//! could not write as clean: the log reads well from the system's memory, is not on the disk, and no
//! later sync brings it there. What is appended to it then is lost with it in a power cut, although
//! its own sync was good. So before anything is appended, all of the log goes into the file, which is
//! written and synced anew, and the log begins again at its first byte.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::kernel::files::beside;

/// Brings what was committed onto the disk.
///
/// # Errors
/// When the disk does not take it: nothing may be built on it then. A disk without room is no such
/// case, which only a sync that failed before would make one: what is there can be read and served.
pub async fn settle(file: &Path) -> anyhow::Result<()> {
    if !beside(file, "-wal").exists() {
        return Ok(());
    }
    // Whoever else has the file open has done this before; nobody is waited for.
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::ZERO);
    let mut conn = options.connect().await?;
    let settled = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await;
    drop(conn.close().await);
    match settled {
        Err(sqlx::Error::Database(refusal)) if refusal.code().as_deref() == Some("13") => {
            tracing::warn!("the disk is full: the write-ahead log stays as it is");
            Ok(())
        }
        settled => settled.map(drop).with_context(|| {
            format!(
                "what was written into {} before cannot be brought onto the disk",
                file.display()
            )
        }),
    }
}
