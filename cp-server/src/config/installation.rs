//! Opens an installation by its settings.

use std::sync::Arc;

use anyhow::Context;
use chrono::TimeDelta;

use super::{Config, DatabaseUrl};
use crate::audit;
use crate::audit::erase::Retention;
use crate::audit::verify::Evidence;
use crate::backup::{BackupSource, tables};
use crate::identity::settings::ConsoleSettings;
use crate::kernel::app::{App, base_path};
use crate::kernel::clock::{Clock, Random};
use crate::kernel::db::{Db, other_sessions, readonly, side_files, wal};
use crate::kernel::secret::Kek;
use crate::kernel::{files, kek};
use crate::licensing::enforcement::EnforcementSettings;
use crate::licensing::issuance::TokenSettings;
use crate::licensing::issuer;
use crate::licensing::keys::KeySettings;
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

    /// Opens the database without migrating it, as a backup requires, and the key-encryption key.
    pub async fn place(&self) -> anyhow::Result<BackupSource> {
        let (url, mut kek) = (self.existing_database()?, self.existing_kek());
        let db = Db::open_with(&url, self.database_pool)
            .await
            .context("CP_DATABASE_URL: the database cannot be opened")?;
        if self.given_kek()?.is_none() && self.finish_rekey(&db, &Random::system()).await?.is_some()
        {
            kek = self.existing_kek();
        }
        let kek = kek?;
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
            side_files::check(file).context("CP_DATABASE_URL")?;
            anyhow::ensure!(file.exists(), "CP_DATABASE_URL: there is no {}", file.display());
        }
        Ok(url)
    }

    /// Refuses a database that another process of this program uses.
    pub async fn refuse_in_use(&self) -> anyhow::Result<()> {
        let url = self.database_url()?;
        if let Some(file) = url.file() {
            let is_alone = tables::is_alone(file).await?;
            anyhow::ensure!(is_alone, "{} is in use; stop the server first", file.display());
            return Ok(());
        }
        match other_sessions(&url).await.context("CP_DATABASE_URL")? {
            Some(0) => {}
            Some(others) => anyhow::bail!(
                "CP_DATABASE_URL: {others} other sessions of this program are connected to the \
                 database; stop the servers first"
            ),
            None => tracing::warn!(
                "behind a pooler, this command cannot know whether servers run; they must be stopped"
            ),
        }
        Ok(())
    }

    pub(super) async fn connect(&self, purpose: Purpose) -> anyhow::Result<App> {
        // Check the settings before anything is created.
        let mut settings = self.settings()?;
        let (given, url) = (self.given_kek()?, self.database_url()?);
        self.own_bootstrap_token()?;
        self.signing_key_passphrase()?;
        if let Some(file) = url.file() {
            let is_there = std::fs::metadata(file).is_ok_and(|file| file.len() > 0);
            side_files::check(file).context("CP_DATABASE_URL")?;
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
