//! `cp-server backup` and `cp-server restore`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use super::progress;
use super::target::say;
use crate::backup::archive::{Archive, Manifest};
use crate::backup::continuation::{self, CONTINUED, RETURNED};
use crate::backup::{self, restore};
use crate::config::Config;
use crate::kernel::clock::Clock;
use crate::kernel::kek::CHECK;
use crate::kernel::secret::Kek;

pub(super) const BACKUP_EXAMPLES: &str = "Examples:
  cp-server backup                                 into the folder backups, which keeps the newest 30
  cp-server backup --out /mnt/backups/ --keep 90
  cp-server backup --out before-upgrade.cpbackup

A backup does not contain the key-encryption key, and is useless without it: keep a copy of the key
somewhere else.";

pub(super) const RESTORE_EXAMPLES: &str = "Examples:
  cp-server restore --check backups/control-plane-20261122T080000.000000Z.cpbackup
  cp-server restore backups/control-plane-20261122T080000.000000Z.cpbackup
  CP_DATABASE_URL=postgres://cp@db/new cp-server restore old.cpbackup
  cp-server restore --already                      after pg_restore, a snapshot or a copied file

A backup of either database can be restored into either.";

#[derive(Args)]
pub(super) struct Backup {
    /// A file that must not exist, or a folder. The name of a folder that does not exist must end
    /// in /.
    #[arg(long, default_value = "backups/")]
    out: PathBuf,
    /// The number of backups that stay in the folder, including the new one.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    keep: u16,
}

#[derive(Args)]
pub(super) struct Restore {
    /// The backup.
    #[arg(required_unless_present = "already")]
    file: Option<PathBuf>,
    /// Only verify the backup; do not touch any database.
    #[arg(long)]
    check: bool,
    /// Set an existing SQLite file aside instead of refusing.
    #[arg(long, conflicts_with = "check")]
    replace: bool,
    /// The database was restored by other means, such as a dump, a snapshot or a copied file: only
    /// continue its numbers past those issued since. Stop the servers first.
    #[arg(long, conflicts_with_all = ["file", "check", "replace"])]
    already: bool,
}

pub(super) async fn run(config: &Config, backup: Backup) -> anyhow::Result<()> {
    let place = config.place().await?;
    let bar = progress::rows();
    let shown = |done, all| progress::show(&bar, done, all);
    let made = backup::make(&place, &backup.out, backup.keep.into(), &shown).await;
    bar.finish_and_clear();
    place.db.close().await;
    let made = made?;
    say(&format!("{} contains {}.", made.path.display(), summary(&made.manifest)))?;
    for path in &made.dropped {
        say(&format!("{} was deleted.", path.display()))?;
    }
    if let Some(error) = &made.unrecorded {
        tracing::warn!(%error, "the metrics of the servers will not show this backup");
    }
    Ok(())
}

pub(super) async fn run_restore(config: &Config, wanted: Restore) -> anyhow::Result<()> {
    let Some(file) = wanted.file else { return run_already(config).await };
    let (kek, url) = (kek_of(config, &file)?, config.database_url()?);
    if wanted.check {
        let bar = progress::waiting("verifying the backup");
        let manifest = restore::check(&file, &kek, &url).await;
        bar.finish_and_clear();
        return say(&format!("{} is good: {}.", file.display(), summary(&manifest?)));
    }
    let clock = Clock::system();
    let bar = progress::rows();
    let shown = |done, all| progress::show(&bar, done, all);
    let restored = restore::restore(&file, &kek, &clock, &url, wanted.replace, &shown).await;
    bar.finish_and_clear();
    let restored = restored?;
    say(&format!("Restored {}.", summary(&restored.manifest)))?;
    if let Some(path) = &restored.set_aside {
        say(&format!("The previous database is now {}.", path.display()))?;
    }
    for path in &restored.side_files {
        say(&format!("A file that SQLite kept beside it is now {}.", path.display()))?;
    }
    say(CONTINUED)?;
    say(&format!(
        "What happened after {} is not in this database:\n{RETURNED}\n\
         - Licenses issued since then verify only if their key is in the restored JWKS; issue them again.\n\
         - Verifiers and monitors that saw a newer checkpoint of the log correctly report log_rolled_back\n  \
         or split_view. Inform their operators.\n\
         Then start the server.",
        restored.manifest.created_at.to_rfc3339()
    ))
}

/// Returns the present key-encryption key, and names another file with the key of this backup.
fn kek_of(config: &Config, file: &Path) -> anyhow::Result<Kek> {
    let (kek, manifest) = (config.existing_kek(), Archive::open(file)?.manifest);
    let is_present = kek.as_ref().is_ok_and(|kek| manifest.is_sealed_under(kek, CHECK));
    if !is_present && let Some(path) = config.kek_file_of(&manifest) {
        let path = std::path::absolute(&path).unwrap_or(path);
        bail!(
            "this is not the key-encryption key of this backup, which is in {0}; set \
             CP_KEY_ENCRYPTION_KEY_FILE={0} for this command, and for the servers of the restored \
             database until `keys rekey`",
            path.display()
        );
    }
    kek
}

/// Continues a database that was restored by other means than a backup of this product.
async fn run_already(config: &Config) -> anyhow::Result<()> {
    config.refuse_in_use().await?;
    let place = config.place().await?;
    let done = continuation::of_copy(&place).await;
    place.db.close().await;
    done?;
    say(CONTINUED)?;
    say(&format!("What happened since the copy was made is not in this database:\n{RETURNED}"))
}

fn summary(manifest: &Manifest) -> String {
    let log = manifest.log.as_ref();
    let log = log.map(|log| format!(", the log up to entry {}", log.size)).unwrap_or_default();
    format!(
        "{} rows in {} tables of {} ({}), created {}{log}",
        manifest.rows(),
        manifest.tables.len(),
        manifest.product,
        manifest.database,
        manifest.created_at.format("%Y-%m-%d %H:%M:%S UTC"),
    )
}
