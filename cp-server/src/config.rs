//! The settings: each is a flag and a variable, and its doc comment is the reference.

mod database;
pub mod identity;
mod secret_file;
mod secrets;
mod surface;
mod unknown;
mod values;
mod warnings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use chrono::TimeDelta;
use clap::Args;

use crate::audit;
use crate::audit::erase::Retention;
use crate::audit::verify::Evidence;
use crate::backup::Place;
use crate::backup::tables;
use crate::kernel::app::{App, base_path};
use crate::kernel::clock::{Clock, Random};
use crate::kernel::db::Db;
use crate::kernel::secret::Kek;
use crate::kernel::{db::readonly, db::wal, files, kek};
use crate::licensing::enforcement::{EnforcementSettings, OnStale};
use crate::licensing::issuance::TokenSettings;
use crate::licensing::issuer;
use crate::licensing::keys::KeySettings;
use crate::licensing::keys::rekey::rekey;
use crate::licensing::status_lists::StatusSettings;
use crate::lifecycle::DeletionRetention;
use crate::telemetry::LogFormat;
use crate::{Settings, licensing};

pub use database::DatabaseUrl;
use secret_file::{bootstrap, secret_file};
pub use surface::Network;
pub use unknown::unknown_variables;
pub use values::{Hidden, Rotation};
use values::{audience, base_url, hidden, key_bits, listen, log_filter, rotation, span};

/// How the server is set up. Every setting is a flag or an environment variable; a secret may also
/// stand in a file that its `…_FILE` variable names.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Settings")]
pub struct Config {
    /// Where to listen: address and port, such as 127.0.0.1:8801 or localhost:8801. `:8801` is that
    /// port of every address.
    #[arg(long, env = "CP_LISTEN", default_value = "127.0.0.1:8801", value_parser = listen, global = true)]
    pub listen: SocketAddr,

    /// The database: sqlite:PATH, or postgres://USER:PASSWORD@HOST/DATABASE.
    #[arg(
        long,
        env = "CP_DATABASE_URL",
        default_value = "sqlite:data/control-plane.db",
        hide_env_values = true,
        value_parser = database::read,
        global = true
    )]
    pub database_url: DatabaseUrl,

    /// A file with the database's URL, in place of CP_DATABASE_URL: it may hold a password.
    #[arg(long, env = "CP_DATABASE_URL_FILE", global = true, conflicts_with = "database_url")]
    pub database_url_file: Option<PathBuf>,

    /// The most connections to the database that this server opens: 2 to 1000. Four for each core,
    /// and at least eight, when absent; SQLite opens one for each core, and one to write.
    #[arg(long, env = "CP_DATABASE_POOL", value_parser = clap::value_parser!(u32).range(2..=1000), global = true)]
    pub database_pool: Option<u32>,

    /// The URL under which the world reaches this server, with the path that a
    /// proxy strips; also the issuer (`iss`) of its tokens.
    #[arg(
        long,
        env = "CP_BASE_URL",
        default_value = "http://127.0.0.1:8801",
        value_parser = base_url,
        global = true
    )]
    pub base_url: String,

    /// Whether that is a setting of the operator's, and not the default.
    #[arg(skip)]
    pub base_url_is_given: bool,

    /// The audience (`aud`) of license tokens.
    #[arg(long, env = "CP_AUDIENCE", default_value = "data-plane", value_parser = audience, global = true)]
    pub audience: String,

    /// The first service token, of at least 16 characters. Without it the first start makes one: it
    /// prints the token on a terminal, and otherwise writes it to the file `bootstrap-token` in the
    /// keys folder.
    #[arg(long, env = "CP_BOOTSTRAP_TOKEN", hide_env_values = true, value_parser = bootstrap, global = true)]
    pub bootstrap_token: Option<Hidden>,

    /// A file with the first service token.
    #[arg(
        long,
        env = "CP_BOOTSTRAP_TOKEN_FILE",
        global = true,
        conflicts_with = "bootstrap_token"
    )]
    pub bootstrap_token_file: Option<PathBuf>,

    /// The folder of local keys.
    #[arg(long, env = "CP_KEYS_DIR", default_value = "keys", global = true)]
    pub keys_dir: PathBuf,

    /// The key-encryption key: base64 of 32 bytes. Without it the file `kek` in the keys folder is
    /// used, and created by the first start.
    #[arg(long, env = "CP_KEY_ENCRYPTION_KEY", hide_env_values = true, value_parser = hidden, global = true)]
    pub key_encryption_key: Option<Hidden>,

    /// A file with the key-encryption key.
    #[arg(
        long,
        env = "CP_KEY_ENCRYPTION_KEY_FILE",
        global = true,
        conflicts_with = "key_encryption_key"
    )]
    pub key_encryption_key_file: Option<PathBuf>,

    /// A PEM file with an RSA private key (PKCS#1 or PKCS#8) to import as the active signing key.
    #[arg(long, env = "CP_SIGNING_PRIVATE_KEY_PATH", global = true)]
    pub signing_private_key_path: Option<PathBuf>,

    /// The passphrase of that file, if it is encrypted.
    #[arg(long, env = "CP_SIGNING_KEY_PASSPHRASE", hide_env_values = true, value_parser = hidden, global = true)]
    pub signing_key_passphrase: Option<Hidden>,

    /// A file with that passphrase.
    #[arg(
        long,
        env = "CP_SIGNING_KEY_PASSPHRASE_FILE",
        global = true,
        conflicts_with = "signing_key_passphrase"
    )]
    pub signing_key_passphrase_file: Option<PathBuf>,

    /// The size of new signing keys: 2048, 3072 or 4096 bits.
    #[arg(long, env = "CP_SIGNING_KEY_BITS", default_value = "2048", value_parser = key_bits, global = true)]
    pub signing_key_bits: u32,

    /// After which time a signing key is followed by the next one: 1d to 3650d, or never.
    #[arg(long, env = "CP_KEY_ROTATION", default_value = "90d", value_parser = rotation, global = true)]
    pub key_rotation: Rotation,

    /// Seconds that a data plane may use its copy of the JWKS: 60 to 3600. A new key waits for
    /// twice as long before it signs.
    #[arg(long, env = "CP_JWKS_MAX_AGE", default_value_t = 300, value_parser = clap::value_parser!(u32).range(60..=3600), global = true)]
    pub jwks_max_age: u32,

    /// How long a data plane uses its copy of a status list, and so learns of a revocation: 1m to
    /// 1d.
    #[arg(long, env = "CP_STATUS_TTL", default_value = "5m", value_parser = |t: &str| span(t, "1m", "1d"), global = true)]
    pub status_ttl: TimeDelta,

    /// How old a data plane's status list may be before it does what CP_ON_STALE says: 1m to 3650d.
    #[arg(long, env = "CP_STATUS_MAX_AGE", default_value = "7d", value_parser = |t: &str| span(t, "1m", "3650d"), global = true)]
    pub status_max_age: TimeDelta,

    /// What a data plane does without a status list that is young enough: allow, degrade or block.
    #[arg(long, env = "CP_ON_STALE", default_value = "degrade", global = true)]
    pub on_stale: OnStale,

    /// For how long after its end a license token still works: 0s to 90d, but never longer than the
    /// license is covered.
    #[arg(long, env = "CP_TOKEN_GRACE", default_value = "0s", value_parser = |t: &str| span(t, "0s", "90d"), global = true)]
    pub token_grace: TimeDelta,

    /// How long a license token is valid unless its request says otherwise: 1h to 3650d.
    #[arg(long, env = "CP_BUNDLE_TTL", default_value = "30d", value_parser = |t: &str| span(t, "1h", "3650d"), global = true)]
    pub bundle_ttl: TimeDelta,

    /// For how many days the content of audit events is kept, at least 1; for ever when absent. What
    /// the log's leaves tell of them stays in any case.
    #[arg(long, env = "CP_AUDIT_RETENTION_DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500), global = true)]
    pub audit_retention_days: Option<u32>,

    /// For how long an organization that its own people deleted is kept suspended, with its usage
    /// and subscriptions, before the platform may purge it without force: 0s to 3650d.
    #[arg(long, env = "CP_DELETION_RETENTION", default_value = "90d", value_parser = |t: &str| span(t, "0s", "3650d"), global = true)]
    pub deletion_retention: TimeDelta,

    #[command(flatten)]
    pub identity: identity::IdentityConfig,

    /// What is logged: error, warn, info, debug, trace, or a filter such as info,sqlx=debug.
    #[arg(long, env = "CP_LOG", default_value = "info", value_parser = log_filter, global = true)]
    pub log: String,

    /// How log lines look.
    #[arg(long, env = "CP_LOG_FORMAT", default_value = "text", ignore_case = true, global = true)]
    pub log_format: LogFormat,

    #[command(flatten)]
    pub network: Network,
}

/// What an installation is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To serve, or to show how that is done.
    Serving {
        /// Whether the issuer may be another one than before.
        accept_new_issuer: bool,
    },
    /// To set up an installation, or to change it.
    SettingUp,
    /// To call operations: of an installation that is there.
    Calling,
}

impl Config {
    /// Opens the database and brings the installation up to date.
    pub async fn open(&self, purpose: Purpose) -> anyhow::Result<App> {
        let app = self.connect(purpose).await?;
        crate::seed(&app).await?;
        if let Purpose::Serving { accept_new_issuer } = purpose {
            issuer::check(&app, accept_new_issuer).await?;
        }
        let passphrase = self.signing_key_passphrase()?;
        let import = self.signing_private_key_path.as_deref();
        licensing::keys::start::prepare(&app, import, passphrase.as_ref())
            .await
            .context("CP_SIGNING_PRIVATE_KEY_PATH or the stored signing key")?;
        Ok(app)
    }

    /// The path of the base URL.
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
            audit_retention: Retention(
                self.audit_retention_days.map(|days| TimeDelta::days(days.into())),
            ),
            deletion_retention: DeletionRetention(self.deletion_retention),
            identity: self.identity.settings()?,
            ..standard
        };
        Ok(self.network.over(settings))
    }

    /// Changes the key-encryption key: seals everything in the database under the new one.
    ///
    /// A key of the operator's is read from the file. Otherwise one is made in the keys folder, as
    /// `kek.new` until the database has it, so that an interrupted change is finished by the next
    /// start; the old one stays as `kek.old` for the backups that need it.
    pub async fn rekey(&self, file: Option<&Path>) -> anyhow::Result<String> {
        let app = self.connect(Purpose::Calling).await?;
        kek::check(&app).await?;
        let random = Random::system();
        let done = match file {
            Some(path) => {
                let new = Kek::from_setting(&secret_file(path)?)?;
                rekey(&app, &new).await?;
                format!(
                    "Everything is sealed under the key of {} now: give it to the servers, with \
                     CP_KEY_ENCRYPTION_KEY_FILE, and start them.",
                    path.display()
                )
            }
            None => {
                anyhow::ensure!(
                    self.key_encryption_key.is_none() && self.key_encryption_key_file.is_none(),
                    "the key-encryption key comes from CP_KEY_ENCRYPTION_KEY; make a new one with \
                     `openssl rand -base64 32` in a file and name it with --new-key-file"
                );
                let new = Kek::from_file(&self.new_kek_file(), true, &random)?;
                rekey(&app, &new).await?;
                self.finish_rekey(&app.db, &random).await?;
                format!(
                    "Everything is sealed under a new key in {}; the old one is beside it as \
                     kek.old, for backups that were made before. Start the servers again.",
                    self.kek_file().display()
                )
            }
        };
        app.db.close().await;
        Ok(done)
    }

    /// Puts the new key-encryption key into its place when the database is sealed under it.
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

    /// The database as it is, which a backup must not bring up to date, and its key-encryption key.
    pub async fn place(&self) -> anyhow::Result<Place> {
        let (kek, url) = (self.existing_kek()?, self.database_url()?);
        if let Some(file) = url.file() {
            anyhow::ensure!(file.exists(), "CP_DATABASE_URL: there is no {}", file.display());
        }
        let db = Db::open_with(&url, self.database_pool)
            .await
            .context("CP_DATABASE_URL: cannot be opened")?;
        Ok(Place { db, kek, clock: Clock::system(), random: Random::system() })
    }

    /// What the log can be verified by. The database is only read.
    pub async fn evidence(&self) -> anyhow::Result<Evidence> {
        let kek = self.existing_kek()?;
        let mut tx = readonly::snapshot(&self.database_url()?).await.context("CP_DATABASE_URL")?;
        let key = audit::key::load(&kek, &mut tx).await?;
        Ok(Evidence { tx, key: Arc::new(key) })
    }

    /// The key-encryption key that there is: one that was made now would open nothing.
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
        // What is given is looked at before anything is made.
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
            "CP_DATABASE_URL: the database cannot be opened; give sqlite:PATH or \
             postgres://USER:PASSWORD@HOST/DATABASE",
        )?;
        if purpose == Purpose::Calling {
            let versions = tables::migrated(&mut db.snapshot().await?).await?;
            anyhow::ensure!(!versions.is_empty(), no_database("installation in it"));
        }
        db.migrate().await.context("CP_DATABASE_URL: the schema cannot be brought up to date")?;
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
