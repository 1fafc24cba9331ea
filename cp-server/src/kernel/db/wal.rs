//! The write-ahead log that an earlier process left beside an SQLite file.
//!
//! # Design
//!
//! SQLite trusts such a log if it can be read. But when a sync fails, Linux marks the pages that it
//! could not write as clean. The log then reads well from memory, is not on the disk, and no later
//! sync writes it. A power cut loses it together with everything appended since, although the later
//! sync succeeded. So before anything is appended, the whole log is folded into the file, which is
//! written and synced again. The log then begins at its first byte.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::kernel::files::beside;

/// Writes committed changes to the disk.
///
/// # Errors
/// Fails when the disk refuses them: nothing may be built on such a state. A full disk is no such
/// case, because only an earlier failed sync would make it one: the existing data can be read and
/// served.
pub async fn settle(file: &Path) -> anyhow::Result<()> {
    if !beside(file, "-wal").exists() {
        return Ok(());
    }
    // Another process that has the file open has done this already, so do not wait.
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::ZERO);
    let mut conn = options.connect().await?;
    let settled = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await;
    drop(conn.close().await);
    match settled {
        Err(sqlx::Error::Database(refusal)) if refusal.code().as_deref() == Some("13") => {
            tracing::warn!("the disk is full: the write-ahead log stays unchanged");
            Ok(())
        }
        settled => settled.map(drop).with_context(|| {
            format!("earlier changes to {} cannot be written to the disk", file.display())
        }),
    }
}
