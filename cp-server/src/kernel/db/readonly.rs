//! Read-only access to a database that is evidence and must not change.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode};
use sqlx::{ConnectOptions, SqliteConnection};

use crate::kernel::db::{Conn, begin_snapshot, connect_postgres};
use crate::kernel::files::beside;

/// The maximum wait for other processes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns one state of the database at this URL, which must exist. Servers may continue to run.
pub async fn snapshot(url: &str) -> anyhow::Result<Conn> {
    let Some(file) = url.strip_prefix("sqlite:") else {
        return Ok(Conn::PostgresAlone(begin_snapshot(connect_postgres(url).await?).await?));
    };
    let mut conn = Conn::SqliteAlone(open(Path::new(file.trim_start_matches("//"))).await?);
    conn.q("BEGIN").exec().await?;
    Ok(conn)
}

async fn open(file: &Path) -> anyhow::Result<SqliteConnection> {
    ensure!(file.exists(), "there is no {}", file.display());
    let cannot = || format!("{} cannot be read", file.display());
    let options = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .busy_timeout(PATIENCE)
        // Rows are passed in thousands, which needs fewer switches between the two threads.
        .row_buffer_size(1000)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON");
    // No other process has the file open, and no other file exists. SQLite would create files
    // beside it.
    if !beside(file, "-wal").exists() {
        return options.immutable(true).connect().await.with_context(cannot);
    }
    let mut conn = options.clone().connect().await.with_context(cannot)?;
    if sqlx::raw_sql("SELECT 1 FROM sqlite_schema").execute(&mut conn).await.is_ok() {
        return Ok(conn);
    }
    // The directory is read-only, so SQLite cannot create its index file; no other process can
    // write either.
    let options = options.vfs("unix-none").locking_mode(SqliteLockingMode::Exclusive);
    options.connect().await.with_context(cannot)
}
