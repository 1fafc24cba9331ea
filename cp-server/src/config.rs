//! The settings: each is a flag and a variable, and its doc comment is its reference.

mod authorities;
mod database;
pub mod identity;
pub mod installation;
mod key_files;
pub mod mail;
mod secret_file;
mod secrets;
pub mod signing_service;
mod surface;
pub mod traces;
mod unknown;
mod values;
mod warnings;
pub mod webhooks;

use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::TimeDelta;
use clap::{ArgAction, Args};

use crate::licensing::enforcement::OnStale;
use crate::telemetry::LogFormat;

pub use authorities::authorities;
pub use database::DatabaseUrl;
use secret_file::bootstrap;
pub use surface::Network;
pub use unknown::unknown_variables;
pub use values::{Hidden, Rotation, seconds};
use values::{
    audience, base_url, boolean, hidden, key_bits, license_key_prefix, listen, log_filter,
    rotation, span,
};

/// The settings of a server. Each is a flag or an environment variable. A secret may also be in a
/// file that its `…_FILE` variable names.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Settings")]
pub struct Config {
    /// The address and port to listen on, such as 127.0.0.1:8801 or localhost:8801. `:8801` listens
    /// on that port of every address.
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

    /// A file with the database URL, which may contain a password; replaces CP_DATABASE_URL.
    #[arg(long, env = "CP_DATABASE_URL_FILE", global = true, conflicts_with = "database_url")]
    pub database_url_file: Option<PathBuf>,

    /// The maximum number of database connections of this server: 2 to 1000. The default is four
    /// per core, and at least eight. SQLite uses one per core and one for writing.
    #[arg(long, env = "CP_DATABASE_POOL", value_parser = clap::value_parser!(u32).range(2..=1000), global = true)]
    pub database_pool: Option<u32>,

    /// The public URL of this server, including a path that a proxy strips. It is also the issuer
    /// (`iss`) of its tokens.
    #[arg(
        long,
        env = "CP_BASE_URL",
        default_value = "http://127.0.0.1:8801",
        value_parser = base_url,
        global = true
    )]
    pub base_url: String,

    /// Whether the operator set the base URL, instead of the default.
    #[arg(skip)]
    pub base_url_is_given: bool,

    /// The audience (`aud`) of license tokens.
    #[arg(long, env = "CP_AUDIENCE", default_value = "data-plane", value_parser = audience, global = true)]
    pub audience: String,

    /// Whether the command line set the audience.
    #[arg(skip)]
    pub audience_is_given: bool,

    /// The first service token, at least 16 characters. Without it, the first start generates one.
    /// It prints the token on a terminal; otherwise it writes it to the file `bootstrap-token` in
    /// the keys folder.
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

    /// The key-encryption key: base64 of 32 bytes. By default, the file `kek` in the keys folder,
    /// which the first start creates.
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

    /// The passphrase of that file, if the file is encrypted.
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

    #[command(flatten)]
    pub signing_service: signing_service::SigningServiceConfig,

    /// The size of new signing keys: 2048, 3072 or 4096 bits.
    #[arg(long, env = "CP_SIGNING_KEY_BITS", default_value = "2048", value_parser = key_bits, global = true)]
    pub signing_key_bits: u32,

    /// The age at which a signing key is replaced: 1d to 3650d, or never.
    #[arg(long, env = "CP_KEY_ROTATION", default_value = "90d", value_parser = rotation, global = true)]
    pub key_rotation: Rotation,

    /// How many seconds a data plane may cache the JWKS: 60 to 3600. A new key signs after twice
    /// this time.
    #[arg(long, env = "CP_JWKS_MAX_AGE", default_value_t = 300, value_parser = clap::value_parser!(u32).range(60..=3600), global = true)]
    pub jwks_max_age: u32,

    /// How long a data plane may cache a status list, and so the delay of a revocation: 1m to 1d.
    #[arg(long, env = "CP_STATUS_TTL", default_value = "5m", value_parser = |t: &str| span(t, "1m", "1d"), global = true)]
    pub status_ttl: TimeDelta,

    /// The age of a status list at which a data plane applies CP_ON_STALE: 1m to 3650d.
    #[arg(long, env = "CP_STATUS_MAX_AGE", default_value = "7d", value_parser = |t: &str| span(t, "1m", "3650d"), global = true)]
    pub status_max_age: TimeDelta,

    /// The behavior of a data plane whose status list is too old: allow, degrade or block.
    #[arg(long, env = "CP_ON_STALE", default_value = "degrade", global = true)]
    pub on_stale: OnStale,

    /// How long an expired license token is still accepted: 0s to 90d, but not after the end of the
    /// license.
    #[arg(long, env = "CP_TOKEN_GRACE", default_value = "0s", value_parser = |t: &str| span(t, "0s", "90d"), global = true)]
    pub token_grace: TimeDelta,

    /// The beginning of new license keys, followed by a dash: 1 to 16 letters and digits. The reader of
    /// keys ignores it.
    #[arg(long, env = "CP_LICENSE_KEY_PREFIX", value_parser = license_key_prefix, global = true)]
    pub license_key_prefix: Option<String>,

    /// The lifetime of a license token, unless its request, license, subscription or plan sets one: 1h
    /// to 3650d.
    #[arg(long, env = "CP_BUNDLE_TTL", default_value = "30d", value_parser = |t: &str| span(t, "1h", "3650d"), global = true)]
    pub bundle_ttl: TimeDelta,

    /// How many days the content of audit events is kept, at least 1. By default, it is kept
    /// permanently. The log's leaves are always kept.
    #[arg(long, env = "CP_AUDIT_RETENTION_DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500), global = true)]
    pub audit_retention_days: Option<u32>,

    /// How long an organization that its own people deleted is kept suspended: 0s to 3650d. Until
    /// then, the platform can purge it, with its usage and subscriptions, only with force.
    #[arg(long, env = "CP_DELETION_RETENTION", default_value = "90d", value_parser = |t: &str| span(t, "0s", "3650d"), global = true)]
    pub deletion_retention: TimeDelta,

    /// How long ended leases are kept: 1d to 3650d. Their sums by the hour are always kept.
    #[arg(long, env = "CP_LEASE_HISTORY", default_value = "90d", value_parser = |t: &str| span(t, "1d", "3650d"), global = true)]
    pub lease_history: TimeDelta,

    /// The days before the end of a license or subscription at which an event announces it: 1 to 365,
    /// separated by commas.
    #[arg(long, env = "CP_NOTICE_DAYS", default_value = "30,14,7,1", value_delimiter = ',', value_parser = clap::value_parser!(i64).range(1..=365), global = true)]
    pub notice_days: Vec<i64>,

    /// Whether this server has the web console at /console.
    #[arg(long, env = "CP_CONSOLE", default_value_t = true, action = ArgAction::Set, value_parser = boolean, global = true)]
    pub console: bool,

    #[command(flatten)]
    pub identity: identity::IdentityConfig,

    #[command(flatten)]
    pub webhooks: webhooks::WebhookConfig,

    #[command(flatten)]
    pub mail: mail::MailConfig,

    /// The log level: error, warn, info, debug, trace, or a filter such as info,sqlx=debug.
    #[arg(long, env = "CP_LOG", default_value = "info", value_parser = log_filter, global = true)]
    pub log: String,

    /// The format of log lines.
    #[arg(long, env = "CP_LOG_FORMAT", default_value = "text", ignore_case = true, global = true)]
    pub log_format: LogFormat,

    #[command(flatten)]
    pub traces: traces::TraceConfig,

    #[command(flatten)]
    pub network: Network,
}
