//! Backups: the whole database at one moment, in one file.
//!
//! # Design
//!
//! A backup contains rows, not pages. One format serves both databases, so an installation can move
//! from a file to PostgreSQL through its backup. Restored rows have passed every constraint of the
//! schema. A backup reads one snapshot on its own connection while the servers continue. Old
//! backups are deleted after success, never before.

pub mod archive;
pub mod continuation;
pub mod restore;
pub mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};

use self::archive::{Archive, LogHead, Manifest, Writer};
use crate::audit;
use crate::kernel::clock::{Clock, Random};
use crate::kernel::db::{Conn, Db, installation};
use crate::kernel::drafts::{self, Draft};
use crate::kernel::files::{beside, sync_folder};
use crate::kernel::kek;
use crate::kernel::secret::{Kek, hex};

/// The prefix and suffix of backup names in a folder. Other files there are never deleted.
const BEGIN: &str = "control-plane-";
const END: &str = ".cpbackup";
/// The end of the name of a backup that is being written, after its name.
const DRAFT: &str = ".draft";

/// The value of the installation that has the instant of the newest backup.
const LAST: &str = "last backup";

/// The migration that added the log.
const LOG: i64 = 13;

/// The installation to back up or restore.
pub struct BackupSource {
    pub db: Db,
    pub kek: Kek,
    pub clock: Clock,
    pub random: Random,
}

/// A callback that receives the number of finished rows and of all rows.
pub type Progress<'p> = &'p (dyn Fn(u64, u64) + Sync);

/// The callback of callers that show no progress.
pub const SILENT: Progress<'static> = &|_, _| {};

/// The number of rows between two calls of a [`Progress`].
const PROGRESS_EVERY: u64 = 1000;

/// A finished backup.
pub struct Made {
    pub path: PathBuf,
    pub manifest: Manifest,
    /// The paths of older backups that were deleted.
    pub dropped: Vec<PathBuf>,
    /// Why the database could not record the backup, which is good nevertheless.
    pub unrecorded: Option<anyhow::Error>,
}

/// Creates a backup: in a file that must not exist, or in a folder under a generated name. In a
/// folder, the newest `keep` backups remain.
pub async fn make(
    place: &BackupSource,
    out: &Path,
    keep: usize,
    progress: Progress<'_>,
) -> anyhow::Result<Made> {
    let now = place.clock.now();
    let is_folder = out.is_dir() || out.as_os_str().to_string_lossy().ends_with('/');
    let path = if is_folder { folder_name(out, now)? } else { out.to_owned() };
    ensure!(!path.exists(), "{} exists; a backup never replaces a file", path.display());
    if is_folder {
        remove_left_drafts(out)?;
    }
    let draft = Draft::create(&beside(&path, DRAFT)).context("the backup did not begin")?;
    let manifest = write(place, &draft, now, progress)
        .await
        .with_context(|| format!("{} was not written", path.display()))?;
    // A hard link fails when the name exists; a rename would overwrite the file.
    let linked = fs::hard_link(draft.path(), &path);
    drop(draft);
    linked.with_context(|| format!("cannot create {}", path.display()))?;
    sync_folder(&path)?;
    let dropped = if is_folder { drop_oldest(out, &path, keep)? } else { Vec::new() };
    let unrecorded = record(&place.db, now).await.err();
    Ok(Made { path, manifest, dropped, unrecorded })
}

/// Records the instant of a backup in the database, for the metrics of its servers.
async fn record(db: &Db, at: DateTime<Utc>) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    installation::set(&mut tx, LAST, at.to_rfc3339().as_bytes()).await?;
    Ok(tx.commit().await?)
}

/// Returns the instant of the newest backup of this database.
pub async fn last(tx: &mut Conn) -> anyhow::Result<Option<DateTime<Utc>>> {
    let Some(value) = installation::value(tx, LAST).await? else { return Ok(None) };
    let at = String::from_utf8(value).ok().and_then(|text| text.parse().ok());
    Ok(Some(at.context("installation.value of `last backup` is not an instant")?))
}

async fn write(
    place: &BackupSource,
    draft: &Draft,
    now: DateTime<Utc>,
    progress: Progress<'_>,
) -> anyhow::Result<Manifest> {
    let mut conn = place.db.bulk_snapshot().await?;
    let product = concat!("cp-server ", env!("CARGO_PKG_VERSION")).to_owned();
    let mut manifest = Manifest::new(product, now, place.db.name());
    manifest.schema = tables::migrated(&mut conn).await?;
    ensure!(!manifest.schema.is_empty(), "there is no installation in this database");
    let Some(check) = kek::check_value(&mut conn).await? else {
        bail!("no server was ever started on this database: there is nothing to back up");
    };
    ensure!(
        place.kek.open(kek::CHECK, &check).is_some(),
        "this is not the key-encryption key of this database; a backup is sealed under that key"
    );
    manifest.kek_check = STANDARD.encode(check);
    manifest.log = log_head(&mut conn, &manifest.schema).await?;
    let mut writer = Writer::new(draft.handle()?, manifest)?;
    let (tables, mut all, mut done) = (tables::all(&mut conn).await?, 0, 0);
    for table in &tables {
        all += tables::count(&mut conn, &table.name).await?;
    }
    for table in &tables {
        writer.begin(table)?;
        let row = |cells: Vec<_>| {
            done += 1;
            if done % PROGRESS_EVERY == 0 {
                progress(done, all);
            }
            writer.row(&cells)
        };
        tables::read(&mut conn, table, row).await?;
    }
    let manifest = writer.finish(&place.kek, &place.random)?;
    // A backup that cannot be read back is useless, so read it back.
    let mut archive = Archive::open(draft.path())?;
    archive.manifest.check_seal(&place.kek, kek::CHECK)?;
    archive.check().await?;
    Ok(manifest)
}

/// Returns the head of the log; `None` for a schema from before the log.
async fn log_head(conn: &mut Conn, schema: &[i64]) -> anyhow::Result<Option<LogHead>> {
    if !schema.contains(&LOG) {
        return Ok(None);
    }
    let head = audit::head(conn).await?;
    Ok(Some(LogHead { size: head.size, root: hex(&head.root), checkpoint: head.checkpoint }))
}

fn folder_name(folder: &Path, now: DateTime<Utc>) -> anyhow::Result<PathBuf> {
    if !folder.exists() {
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .recursive(true)
            .create(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    let name =
        |more: &str| folder.join(format!("{BEGIN}{}{more}{END}", now.format("%Y%m%dT%H%M%S%.6fZ")));
    Ok(name(""))
}

/// Removes what backups of this folder that were killed have left: each is as large as a backup.
fn remove_left_drafts(folder: &Path) -> anyhow::Result<()> {
    let ending = format!("{END}{DRAFT}");
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(BEGIN) || !name.ends_with(&ending) {
            continue;
        }
        if let Err(error) = drafts::remove_left(&path) {
            tracing::warn!(%error, "{} was left by a backup and cannot be removed", path.display());
        }
    }
    Ok(())
}

/// Deletes the oldest backups of a folder, but never the new one.
fn drop_oldest(folder: &Path, new: &Path, keep: usize) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(BEGIN) && name.ends_with(END) && path != new {
            found.push(path);
        }
    }
    // The names contain the times.
    found.sort();
    found.truncate((found.len() + 1).saturating_sub(keep.max(1)));
    for path in &found {
        fs::remove_file(path).with_context(|| format!("cannot delete {}", path.display()))?;
    }
    Ok(found)
}
