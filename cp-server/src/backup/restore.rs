//! Restoring a backup: everything is verified before anything is replaced.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use sqlx::Connection;

use super::Progress;
use super::archive::{Archive, Manifest, TableHead};
use super::continuation::continue_after_restore;
use super::tables::{self, Filling, Table};
use crate::audit;
use crate::audit::high_water::SUFFIX;
use crate::kernel::clock::Clock;
use crate::kernel::db::{Conn, Db, FileOptions, connect_postgres, side_files};
use crate::kernel::drafts::Draft;
use crate::kernel::files::{self, beside, sync_folder};
use crate::kernel::kek;
use crate::kernel::secret::{Kek, hex};

/// The result of a restore.
pub struct Restored {
    pub manifest: Manifest,
    /// The new path of the database that was there before.
    pub set_aside: Option<PathBuf>,
    /// The new paths of the files that SQLite kept beside it.
    pub side_files: Vec<PathBuf>,
}

/// Verifies a backup without touching any database: format, schema, key-encryption key, hash, and
/// every row.
pub async fn check(path: &Path, kek: &Kek, database_url: &str) -> anyhow::Result<Manifest> {
    let mut archive = verified(path, kek, database_url)?;
    archive.check().await?;
    Ok(archive.manifest)
}

/// Opens a backup, and checks everything but its rows. Each row is checked when it is read.
fn verified(path: &Path, kek: &Kek, database_url: &str) -> anyhow::Result<Archive> {
    let mut archive = Archive::open(path)?;
    let known = Db::migrations(database_url);
    let manifest = &archive.manifest;
    if let Some(newer) = manifest.schema.iter().find(|version| !known.contains(version)) {
        bail!(
            "the backup has a newer schema ({newer}; this version knows up to {}): use {} or newer",
            known.last().copied().unwrap_or_default(),
            manifest.product
        );
    }
    manifest.check_seal(kek, kek::CHECK)?;
    archive.check_hash()?;
    Ok(archive)
}

/// Restores a backup into the database at this URL. The database must be empty; an SQLite file that
/// is not empty may be set aside instead.
pub async fn restore(
    path: &Path,
    kek: &Kek,
    clock: &Clock,
    database_url: &str,
    is_replacing: bool,
    progress: Progress<'_>,
) -> anyhow::Result<Restored> {
    let archive = verified(path, kek, database_url)?;
    match database_url.strip_prefix("sqlite:") {
        Some(file) => {
            let file = PathBuf::from(file.trim_start_matches("//"));
            into_file(archive, kek, clock, &file, is_replacing, progress).await
        }
        None => into_postgres(archive, kek, clock, database_url, is_replacing, progress).await,
    }
}

async fn into_file(
    mut archive: Archive,
    kek: &Kek,
    clock: &Clock,
    file: &Path,
    is_replacing: bool,
    progress: Progress<'_>,
) -> anyhow::Result<Restored> {
    check_target(file, is_replacing).await?;
    // The draft is in the same folder, so that one rename replaces the file.
    let path = beside(file, ".restoring");
    files::create_folder(&path)?;
    let draft = Draft::create(&path).context("the restore did not begin")?;
    // Those of a restore that was killed.
    side_files::remove(&path)?;
    if let Err(error) = fill_file(&mut archive, kek, clock, &path, progress).await {
        side_files::remove(&path)?;
        return Err(error);
    }
    ensure!(side_files::is_empty(&beside(&path, "-wal")), "{} is not complete", path.display());
    side_files::remove(&path)?;
    draft.sync()?;
    // Check again, because filling the draft took a while.
    check_target(file, is_replacing).await?;
    let now = clock.now().format("%Y%m%dT%H%M%S%.6fZ");
    let aside = beside(file, &format!(".before-{now}"));
    let is_there = file.exists();
    if is_there {
        // The file also keeps its own name until the rename below, which is one step.
        fs::hard_link(file, &aside)
            .with_context(|| format!("cannot create {}", aside.display()))?;
    }
    // SQLite would read an old write-ahead log into the new file. So these files are away, also
    // after a power cut, before the new file has the name.
    let side_files = side_files::set_aside(file, &aside)?;
    sync_folder(file)?;
    draft.replace(file).with_context(|| format!("cannot create {}", file.display()))?;
    // The high-water mark belongs to the replaced database. It goes last: no server starts between
    // these steps on a file that has lost its end.
    files::move_new(&beside(file, SUFFIX), &beside(&aside, SUFFIX))?;
    sync_folder(file)?;
    let set_aside = is_there.then_some(aside);
    Ok(Restored { manifest: archive.manifest, set_aside, side_files })
}

/// Refuses a file that another process has open: a server would continue to write into the file
/// that is set aside. Refuses an installation unless it is replaced.
async fn check_target(file: &Path, is_replacing: bool) -> anyhow::Result<()> {
    ensure!(tables::is_alone(file).await?, "{} is in use; stop the server first", file.display());
    // A damaged file is kept as well: it may be all that is left.
    ensure!(
        is_replacing || side_files::is_empty(file),
        "{} contains an installation; with --replace it is kept beside the restored one",
        file.display()
    );
    Ok(())
}

async fn fill_file(
    archive: &mut Archive,
    kek: &Kek,
    clock: &Clock,
    draft: &Path,
    progress: Progress<'_>,
) -> anyhow::Result<()> {
    let db = Db::open_sqlite(draft, FileOptions::default()).await?;
    db.migrate_some(&archive.manifest.schema).await?;
    let mut conn = db.snapshot().await?;
    let known = tables::all(&mut conn).await?;
    end(conn).await;
    db.close().await;
    let mut filling = Filling::sqlite(draft).await?;
    fill(archive, &known, &mut filling, progress).await?;
    filling.finish().await?;
    let db = Db::open_sqlite(draft, FileOptions::default()).await?;
    finish(archive, kek, &db, 0).await?;
    continue_after_restore(&db, clock.now()).await?;
    db.close().await;
    Ok(())
}

async fn into_postgres(
    mut archive: Archive,
    kek: &Kek,
    clock: &Clock,
    database_url: &str,
    is_replacing: bool,
    progress: Progress<'_>,
) -> anyhow::Result<Restored> {
    ensure!(
        !is_replacing,
        "--replace is for SQLite files; create a new PostgreSQL database, restore into it, and set \
         CP_DATABASE_URL of the servers to its URL"
    );
    let db =
        Db::open(database_url).await.context("CP_DATABASE_URL: the database cannot be opened")?;
    let mut conn = db.snapshot().await?;
    if !tables::migrated(&mut conn).await?.is_empty() || !tables::all(&mut conn).await?.is_empty() {
        bail!(
            "CP_DATABASE_URL: the database has tables; create a new one (`createdb`), restore into \
             it, and set CP_DATABASE_URL of the servers to its URL"
        );
    }
    drop(conn);
    db.migrate_some(&archive.manifest.schema).await?;
    let known = tables::all(&mut db.snapshot().await?).await?;
    let mut conn = connect_postgres(database_url).await?;
    let mut filling = Filling::postgres(&mut conn).await?;
    fill(&mut archive, &known, &mut filling, progress).await?;
    // The commit publishes rows: no server may start on them before the rest is done.
    filling.mark_as_restoring().await?;
    filling.finish().await?;
    conn.close().await?;
    finish(&archive, kek, &db, 1).await?;
    continue_after_restore(&db, clock.now()).await?;
    db.close().await;
    Ok(Restored { manifest: archive.manifest, set_aside: None, side_files: Vec::new() })
}

/// Writes all rows of the archive.
async fn fill(
    archive: &mut Archive,
    known: &[Table],
    filling: &mut Filling<'_>,
    progress: Progress<'_>,
) -> anyhow::Result<()> {
    for table in known {
        let is_there = archive.manifest.tables.iter().any(|head| head.name == table.name);
        ensure!(is_there, "the backup has no table {}", table.name);
        filling.clear(table).await?;
    }
    let (all, mut done) = (archive.manifest.rows(), 0);
    let mut rows = archive.rows()?;
    for (at, head) in archive.manifest.tables.iter().enumerate() {
        let next = async || {
            let batch = rows.next(at).await?;
            done += batch.len() as u64;
            progress(done, all);
            Some(batch)
        };
        filling.write(&ordered(known, head)?, next).await?;
    }
    rows.finish()
}

/// Returns the table with its columns in the order of the archive's rows.
fn ordered(known: &[Table], head: &TableHead) -> anyhow::Result<Table> {
    let found = known.iter().find(|table| table.name == head.name);
    let table = found.with_context(|| format!("the schema has no table {}", head.name))?;
    let columns = head.columns.iter().map(|name| {
        let column = table.columns.iter().find(|column| column.name == *name).cloned();
        column.with_context(|| format!("the schema has no column {}.{name}", head.name))
    });
    let columns = columns.collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(columns.len() == table.columns.len(), "{}: columns are missing", head.name);
    Ok(Table { name: head.name.clone(), columns })
}

/// Counts the rows, except the marks that the restore itself writes, and migrates the schema.
async fn finish(archive: &Archive, kek: &Kek, db: &Db, marks: u64) -> anyhow::Result<()> {
    let mut conn = db.snapshot().await?;
    for head in &archive.manifest.tables {
        let own = if head.name == "installation" { marks } else { 0 };
        let rows = tables::count(&mut conn, &head.name).await?.saturating_sub(own);
        ensure!(
            rows == head.rows,
            "{}: {rows} rows were restored, but {} were backed up",
            head.name,
            head.rows
        );
    }
    if let Some(head) = &archive.manifest.log {
        let found = audit::head(&mut conn).await?;
        ensure!(
            (found.size, hex(&found.root)) == (head.size, head.root.clone()),
            "the restored log differs from the log that was backed up"
        );
    }
    end(conn).await;
    ensure!(kek::opens(db, kek).await?, "the restored check value cannot be opened");
    db.migrate().await.context("the schema cannot be brought up to date")
}

/// Closes a snapshot. A snapshot that is only dropped may still be open when the file is closed.
async fn end(conn: Conn) {
    match conn {
        Conn::SqliteAlone(conn) => drop(conn.close().await),
        Conn::PostgresAlone(conn) => drop(conn.close().await),
        _ => {}
    }
}
