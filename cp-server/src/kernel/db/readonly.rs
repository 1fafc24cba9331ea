//! Read-only access to a database that is evidence and must not change.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use rusqlite::{Connection, OpenFlags};
use url::Url;

use crate::kernel::db::direct::Readers;
use crate::kernel::db::{Conn, begin_snapshot, connect_postgres};
use crate::kernel::files::beside;

/// The maximum wait for other processes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns one state of the database at this URL, which must exist. Servers may continue to run.
pub async fn snapshot(url: &str) -> anyhow::Result<Conn> {
    let Some(file) = url.strip_prefix("sqlite:") else {
        return Ok(Conn::PostgresAlone(begin_snapshot(connect_postgres(url).await?).await?));
    };
    let conn = open(Path::new(file.trim_start_matches("//")))?;
    Ok(Conn::SqliteRead(Readers::alone(conn).begin().await?))
}

fn open(file: &Path) -> anyhow::Result<Connection> {
    ensure!(file.exists(), "there is no {}", file.display());
    let cannot = || format!("{} cannot be read", file.display());
    // No other process has the file open, and no other file exists. SQLite would create files
    // beside it.
    if !beside(file, "-wal").exists() {
        return connect(file, "?immutable=1", None).with_context(cannot);
    }
    if let Ok(conn) = connect(file, "", None)
        && conn.execute_batch("SELECT 1 FROM sqlite_schema").is_ok()
    {
        return Ok(conn);
    }
    // The directory is read-only, so SQLite cannot create its index file; no other process can
    // write either.
    let conn = connect(file, "", Some("unix-none")).with_context(cannot)?;
    conn.pragma_update(None, "locking_mode", "EXCLUSIVE").with_context(cannot)?;
    Ok(conn)
}

/// Connects with these URI parameters (<https://www.sqlite.org/uri.html>) and this VFS.
fn connect(file: &Path, parameters: &str, vfs: Option<&str>) -> anyhow::Result<Connection> {
    let uri = Url::from_file_path(std::path::absolute(file)?);
    let uri = uri.map_err(|()| anyhow!("the path has no URI"))?;
    let uri = format!("{uri}{parameters}");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let conn = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(uri, flags, vfs),
        None => Connection::open_with_flags(uri, flags),
    }?;
    conn.busy_timeout(PATIENCE)?;
    conn.pragma_update(None, "trusted_schema", "OFF")?;
    conn.pragma_update(None, "cell_size_check", "ON")?;
    Ok(conn)
}
