//! Opens an installation by its settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use chrono::TimeDelta;

use super::secret_file::secret_file;
use super::{Config, DatabaseUrl};
use crate::audit;
use crate::audit::erase::Retention;
use crate::audit::verify::Evidence;
use crate::backup::{BackupSource, tables};
use crate::identity::settings::ConsoleSettings;
use crate::kernel::app::{App, base_path};
use crate::kernel::clock::{Clock, Random};
use crate::kernel::db::{Db, readonly, wal};
use crate::kernel::secret::Kek;
use crate::kernel::{files, kek};
use crate::licensing::enforcement::EnforcementSettings;
use crate::licensing::issuance::TokenSettings;
use crate::licensing::issuer;
use crate::licensing::keys::KeySettings;
use crate::licensing::keys::rekey::rekey;
use crate::licensing::leases::tenures::LeaseHistory;
use crate::licensing::license_keys::settings::LicenseKeySettings;
use crate::licensing::status_lists::StatusSettings;
use crate::lifecycle::DeletionRetention;
use crate::lifecycle::notices::settings::NoticeDays;
use crate::{Settings, licensing};

/// The purpose for which an installation is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To serve, or to demonstrate that.
    Serving {
        /// Whether the issuer may have changed.
        accept_new_issuer: bool,
    },
    /// To set up an installation, or to change it.
    SettingUp,
    /// To call operations of an existing installation.
    Calling,
}

impl Config {
    /// Opens the database and migrates the installation.
    pub async fn open(&self, purpose: Purpose) -> anyhow::Result<App> {
        let app = self.connect(purpose).await?;
        crate::seed(&app).await?;
        if let Purpose::Serving { accept_new_issuer } = purpose {
            issuer::check(&app, accept_new_issuer).await?;
        }
        let passphrase = self.signing_key_passphrase()?;
        let import = self.signing_private_key_path.as_deref();
        licensing::keys::start::prepare(&app, import, passphrase.as_deref())
            .await
            .context("CP_SIGNING_PRIVATE_KEY_PATH or the stored signing key")?;
        Ok(app)
    }

    /// Returns the path of the base URL.
    pub fn base_path(&self) -> &str {
        base_path(&self.base_url)
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let standard = Settings::new(self.base_url.clone(), self.audience.clone());
        let settings = Settings {
            tokens: TokenSettings { ttl: self.bundle_ttl, ..standard.tokens },
            keys: KeySettings {
                bits: self.signing_key_bits,
                jwks_max_age: self.jwks_max_age,
                rotate_after: self.key_rotation,
                service: self.signing_service.service()?,
            },
            status: StatusSettings {
                ttl: self.status_ttl,
                lifetime: self.status_max_age.max(TimeDelta::days(7)),
            },
            enforcement: EnforcementSettings {
                status_max_age: self.status_max_age,
                on_stale: self.on_stale,
                grace: self.token_grace,
            },
            license_keys: LicenseKeySettings { prefix: self.license_key_prefix.clone() },
            audit_retention: Retention(
                self.audit_retention_days.map(|days| TimeDelta::days(days.into())),
            ),
            deletion_retention: DeletionRetention(self.deletion_retention),
            lease_history: LeaseHistory(self.lease_history),
            webhooks: self.webhooks.settings()?,
            mail: self.mail.settings()?,
            notice_days: NoticeDays(self.notice_days.clone()),
            identity: self.identity.settings()?,
            console: ConsoleSettings { is_enabled: self.console },
            ..standard
        };
        Ok(self.network.over(settings))
    }

    /// Replaces the key-encryption key: seals everything in the database under the new one.
    ///
    /// A given key is read from the file. Otherwise a new one is created in the keys folder. It is
    /// named `kek.new` until the database is sealed under it, so that the next start finishes an
    /// interrupted change. The old key stays as `kek.old`, for the backups that need it.
    pub async fn rekey(&self, file: Option<&Path>) -> anyhow::Result<String> {
        let app = self.connect(Purpose::Calling).await?;
        kek::check(&app).await?;
        let random = Random::system();
        let done = match file {
            Some(path) => {
                let new = Kek::from_setting(&secret_file(path)?)?;
                rekey(&app, &new).await?;
                format!(
                    "Everything is now sealed under the key of {}: set CP_KEY_ENCRYPTION_KEY_FILE of the \
                     servers to it, and start them.",
                    path.display()
                )
            }
            None => {
                anyhow::ensure!(
                    self.key_encryption_key.is_none() && self.key_encryption_key_file.is_none(),
                    "the key-encryption key comes from CP_KEY_ENCRYPTION_KEY; create a new one in a file \
                     with `openssl rand -base64 32` and pass it as --new-key-file"
                );
                let new = Kek::from_file(&self.new_kek_file(), true, &random)?;
                rekey(&app, &new).await?;
                self.finish_rekey(&app.db, &random).await?;
                format!(
                    "Everything is now sealed under a new key in {}; the old one is beside it as \
                     kek.old, for earlier backups. Start the servers again.",
                    self.kek_file().display()
                )
            }
        };
        app.db.close().await;
        Ok(done)
    }

    /// Moves the new key-encryption key into place if the database is sealed under it.
    async fn finish_rekey(&self, db: &Db, random: &Random) -> anyhow::Result<()> {
        let (now, next) = (self.kek_file(), self.new_kek_file());
        if !next.exists() || !now.exists() {
            return Ok(());
        }
        let new = Kek::from_file(&next, false, random)?;
        if kek::is_known(db).await? && kek::opens(db, &new).await? {
            std::fs::rename(&now, self.keys_dir.join("kek.old"))?;
            std::fs::rename(&next, &now)?;
        }
        Ok(())
    }

    fn kek_file(&self) -> PathBuf {
        self.keys_dir.join("kek")
    }

    fn new_kek_file(&self) -> PathBuf {
        self.keys_dir.join("kek.new")
    }

    /// Opens the database without migrating it, as a backup requires, and the key-encryption key.
    pub async fn place(&self) -> anyhow::Result<BackupSource> {
        let (url, kek) = (self.existing_database()?, self.existing_kek()?);
        let db = Db::open_with(&url, self.database_pool)
            .await
            .context("CP_DATABASE_URL: the database cannot be opened")?;
        Ok(BackupSource { db, kek, clock: Clock::system(), random: Random::system() })
    }

    /// Opens the evidence for a verification of the log, read-only.
    pub async fn evidence(&self) -> anyhow::Result<Evidence> {
        let (url, kek) = (self.existing_database()?, self.existing_kek()?);
        let mut tx = readonly::snapshot(&url).await.context("CP_DATABASE_URL")?;
        let key = audit::key::load(&kek, &mut tx).await?;
        Ok(Evidence { tx, key: Arc::new(key) })
    }

    /// Returns the location of the database, and refuses an SQLite file that does not exist.
    fn existing_database(&self) -> anyhow::Result<DatabaseUrl> {
        let url = self.database_url()?;
        if let Some(file) = url.file() {
            anyhow::ensure!(file.exists(), "CP_DATABASE_URL: there is no {}", file.display());
        }
        Ok(url)
    }

    /// Returns the existing key-encryption key: a new one could not open anything.
    pub fn existing_kek(&self) -> anyhow::Result<Kek> {
        match self.given_kek()? {
            Some(kek) => Ok(kek),
            None => Kek::from_file(&self.kek_file(), false, &Random::system()),
        }
    }

    fn given_kek(&self) -> anyhow::Result<Option<Kek>> {
        Ok(match (&self.key_encryption_key_file, &self.key_encryption_key) {
            (Some(path), _) => {
                let text = secret_file(path).context("CP_KEY_ENCRYPTION_KEY_FILE")?;
                Some(Kek::from_setting(&text)?)
            }
            (None, Some(text)) => Some(Kek::from_setting(text)?),
            (None, None) => None,
        })
    }

    async fn connect(&self, purpose: Purpose) -> anyhow::Result<App> {
        // Check the settings before anything is created.
        let mut settings = self.settings()?;
        let (given, url) = (self.given_kek()?, self.database_url()?);
        self.own_bootstrap_token()?;
        self.signing_key_passphrase()?;
        if let Some(file) = url.file() {
            let is_there = std::fs::metadata(file).is_ok_and(|file| file.len() > 0);
            anyhow::ensure!(is_there || purpose != Purpose::Calling, no_database(file.display()));
            files::check_writable(file).context("CP_DATABASE_URL")?;
            wal::settle(file).await.context("CP_DATABASE_URL")?;
        }
        let db = Db::open_with(&url, self.database_pool).await.context(
            "CP_DATABASE_URL: the database cannot be opened; use sqlite:PATH or \
             postgres://USER:PASSWORD@HOST/DATABASE",
        )?;
        if purpose == Purpose::Calling {
            let versions = tables::migrated(&mut db.snapshot().await?).await?;
            anyhow::ensure!(!versions.is_empty(), no_database("installation in it"));
        }
        db.migrate().await.context("CP_DATABASE_URL")?;
        let random = Random::system();
        let kek = match given {
            Some(kek) => kek,
            None => {
                self.finish_rekey(&db, &random).await?;
                let is_first_start = purpose != Purpose::Calling && !kek::is_known(&db).await?;
                Kek::from_file(&self.kek_file(), is_first_start, &random)?
            }
        };
        if !matches!(purpose, Purpose::Serving { .. })
            && let Some(stored) = issuer::stored(&db).await?
        {
            settings.shared.base_url = stored;
        }
        Ok(crate::app(db, Clock::system(), random, kek, settings))
    }
}

fn no_database(what: impl std::fmt::Display) -> String {
    format!(
        "CP_DATABASE_URL: there is no {what}. Start a server first, with `cp-server serve`, or name a \
         running one with --url and --token (CP_URL, CP_TOKEN)"
    )
}
