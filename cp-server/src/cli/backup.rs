//! `cp-server backup` and `cp-server restore`.

use std::path::PathBuf;

use clap::Args;

use super::say;
use crate::backup::archive::Manifest;
use crate::backup::{self, restore};
use crate::config::Config;
use crate::kernel::clock::Clock;

pub(super) const BACKUP_EXAMPLES: &str = "Examples:
  cp-server backup                                 into the folder backups, of which 30 are kept
  cp-server backup --out /mnt/backups/ --keep 90
  cp-server backup --out before-upgrade.cpbackup

The key-encryption key is not in a backup, and without it a backup opens nothing: keep a copy of it
somewhere else.";

pub(super) const RESTORE_EXAMPLES: &str = "Examples:
  cp-server restore --check backups/control-plane-20261122T080000.000000Z.cpbackup
  cp-server restore backups/control-plane-20261122T080000.000000Z.cpbackup
  CP_DATABASE_URL=postgres://cp@db/new cp-server restore old.cpbackup

A backup of either database can be restored into either.";

#[derive(Args)]
pub(super) struct Backup {
    /// A file, which must not exist, or a folder (which ends in / if it does not exist).
    #[arg(long, default_value = "backups/")]
    out: PathBuf,
    /// How many backups stay in the folder, the new one among them.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    keep: u16,
}

#[derive(Args)]
pub(super) struct Restore {
    /// The backup.
    file: PathBuf,
    /// Only verify the backup; no database is touched.
    #[arg(long)]
    check: bool,
    /// Set the SQLite file that is there aside instead of refusing.
    #[arg(long, conflicts_with = "check")]
    replace: bool,
}

pub(super) async fn run(config: &Config, backup: Backup) -> anyhow::Result<()> {
    let place = config.place().await?;
    let made = backup::make(&place, &backup.out, backup.keep.into()).await;
    place.db.close().await;
    let made = made?;
    say(&format!("{} has {}.", made.path.display(), told(&made.manifest)))?;
    for path in &made.dropped {
        say(&format!("{} was deleted.", path.display()))?;
    }
    Ok(())
}

pub(super) async fn run_restore(config: &Config, wanted: Restore) -> anyhow::Result<()> {
    let kek = config.existing_kek()?;
    if wanted.check {
        let manifest = restore::check(&wanted.file, &kek, &config.database_url).await?;
        return say(&format!("{} is good: {}.", wanted.file.display(), told(&manifest)));
    }
    let clock = Clock::system();
    let restored =
        restore::restore(&wanted.file, &kek, &clock, &config.database_url, wanted.replace).await?;
    say(&format!("Restored {}.", told(&restored.manifest)))?;
    if let Some(path) = &restored.set_aside {
        say(&format!("The database that was there is {} now.", path.display()))?;
    }
    say(&format!(
        "Start the server now. What happened after {} is not in this database:\n\
         - Revoke again what was revoked since; data planes take the newer status list.\n\
         - Licenses issued since then verify only if their key is in the restored JWKS; issue them anew.\n\
         - License files begin again with an older number; data planes without a network refuse them\n  \
           until the number has passed the one that they took last.\n\
         - Verifiers and monitors that saw a newer checkpoint of the log report log_rolled_back or\n  \
           split_view, rightly. Tell them.",
        restored.manifest.created_at.to_rfc3339()
    ))
}

fn told(manifest: &Manifest) -> String {
    let log = manifest.log.as_ref();
    let log = log.map(|log| format!(", the log up to entry {}", log.size)).unwrap_or_default();
    format!(
        "{} rows in {} tables of {} ({}), made {}{log}",
        manifest.rows(),
        manifest.tables.len(),
        manifest.product,
        manifest.database,
        manifest.created_at.format("%Y-%m-%d %H:%M:%S UTC"),
    )
}
