//! A database that is looked at and not touched: what is evidence stays as it is.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode};
use sqlx::{ConnectOptions, SqliteConnection};

use crate::kernel::db::{Conn, begin_snapshot, connect_postgres};
use crate::kernel::files::beside;

/// How long others are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// One state of the database of this URL, which has to be there. Servers may go on meanwhile.
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
        // Rows come by the thousand: fewer turns of the two threads that pass them on.
        .row_buffer_size(1000)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON");
    // Nobody has it open, and there is nothing but the file. SQLite would make its files beside it.
    if !beside(file, "-wal").exists() {
        return options.immutable(true).connect().await.with_context(cannot);
    }
    let mut conn = options.clone().connect().await.with_context(cannot)?;
    if sqlx::raw_sql("SELECT 1 FROM sqlite_schema").execute(&mut conn).await.is_ok() {
        return Ok(conn);
    }
    // The log cannot be indexed beside the file, where nothing can be written: by nobody else either.
    let options = options.vfs("unix-none").locking_mode(SqliteLockingMode::Exclusive);
    options.connect().await.with_context(cannot)
}
