//! The high-water mark of the log: its newest checkpoint, in a file beside the SQLite file.
//!
//! # Design
//!
//! A database that has lost its end is consistent in itself: the write-ahead log was removed, or an
//! older copy replaced the file. A server that continued with it would sign a second history for
//! positions that the world has seen. No data plane that saw them would ever trust this log again.
//! So the server refuses to start while the missing part may still be restored. This check cannot
//! distinguish the operator from an attacker who can write to the directory: only a checkpoint kept
//! elsewhere can. PostgreSQL keeps its files where such accidents do not reach them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::key::{self, LogKey, Signed};
use super::stored_hashes::root_at;
use crate::audit::Log;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::files;
use crate::kernel::journal::store;

/// The suffix of the file name, after the name of the database file.
pub const SUFFIX: &str = "-head";

/// Writes a checkpoint of a committed tree to the file.
pub async fn keep(app: &App, signed: &Signed) {
    let kept = async {
        let path = path(&mut app.db.read()).await?;
        path.map_or(Ok(()), |path| files::replace_private(&path, signed.note.as_bytes()))
    };
    if let Err(error) = kept.await {
        tracing::warn!(%error, "the log's newest checkpoint could not be kept beside the database");
    }
}

/// Returns the checkpoint in the file beside this database, if the file exists.
///
/// # Errors
///
/// Fails when the checkpoint is of another log.
pub async fn kept(tx: &mut Conn, key: &LogKey) -> anyhow::Result<Option<(PathBuf, Signed)>> {
    let Some((path, text)) = read(tx).await? else { return Ok(None) };
    let signed = key
        .read_kept(&text)
        .with_context(|| format!("{} belongs to another log", path.display()))?;
    Ok(Some((path, signed)))
}

/// Refuses to start with a database that lost its end.
pub async fn check(app: &App) -> anyhow::Result<()> {
    let mut tx = app.db.read();
    let Some((path, _)) = read(&mut tx).await? else { return Ok(()) };
    let advice = format!(
        "Restore what is missing: the -wal file that was beside it, or the newer copy. To continue \
         with this one, remove {} and run `cp-server restore --already`: data planes that saw more \
         of the log will report it",
        path.display()
    );
    ensure!(
        key::is_made(&mut tx).await?,
        "the database is empty, but a log was signed here before. {advice}"
    );
    let key = Log::of(app).key(app, &mut tx).await?;
    let head = kept(&mut tx, &key).await.with_context(|| advice.clone())?;
    let (Some((_, head)), tree) = (head, store::tree(&mut tx).await?) else { return Ok(()) };
    if head.size > tree.size {
        bail!(
            "the database has lost its end: its log has {} events, and {} were signed, so the last {} \
             are gone. {advice}",
            tree.size,
            head.size,
            head.size - tree.size
        );
    }
    ensure!(
        root_at(&mut tx, head.size).await? == head.root,
        "this is another database: its log does not begin with the {} events that were signed. \
         {advice}",
        head.size
    );
    Ok(())
}

/// Reads the file. Returns `None` for a file without an end of line: a power cut may have left it
/// empty.
async fn read(tx: &mut Conn) -> anyhow::Result<Option<(PathBuf, String)>> {
    let Some(path) = path(tx).await? else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(text) if text.ends_with('\n') => Ok(Some((path, text))),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

async fn path(tx: &mut Conn) -> anyhow::Result<Option<PathBuf>> {
    let sqlite = "SELECT file FROM pragma_database_list WHERE name = 'main'";
    let file = tx.q2(sqlite, "SELECT NULL::text").value::<Option<String>>().await?.flatten();
    Ok(file.map(|file| files::beside(Path::new(&file), SUFFIX)))
}
