//! `cp-server keys …`

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Map, json};

use super::target::{Target, object_of, say, show};
use crate::config::Config;
use crate::config::installation::Purpose;
use crate::kernel::app::Part;
use crate::licensing;
use crate::licensing::keys::keyring::Keyring;

#[derive(Subcommand)]
pub(super) enum Keys {
    /// List the signing keys.
    List(Target),
    /// Show the signing configuration, and when the next rotation is due.
    Info(Target),
    /// Show a key and the number of tokens that it signed.
    Show {
        kid: String,
        #[command(flatten)]
        target: Target,
    },
    /// Create a key and publish it. It signs after a rotation.
    Generate {
        /// 2048, 3072 or 4096.
        #[arg(long)]
        bits: Option<u32>,
        #[command(flatten)]
        target: Target,
    },
    /// Import a PEM file. The first key signs at once; any other key is published, and signs after
    /// data planes have had time to fetch it.
    Import { file: PathBuf },
    /// Activate a published key, so that it signs.
    Activate {
        kid: String,
        #[command(flatten)]
        emergency: Emergency,
        #[command(flatten)]
        target: Target,
    },
    /// Activate the successor key, and publish the next one.
    Rotate {
        #[command(flatten)]
        emergency: Emergency,
        #[command(flatten)]
        target: Target,
    },
    /// Retire a key whose tokens have all expired.
    Retire {
        kid: String,
        #[command(flatten)]
        target: Target,
    },
    /// Withdraw a leaked key at once: its successor signs, and its tokens are revoked.
    Compromise {
        kid: String,
        /// The reason; the audit log records it.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
    /// Seal everything in the database under another key-encryption key. Stop the servers first.
    Rekey {
        /// A file with the new key, base64 of 32 bytes. By default, a new key is created in the
        /// keys folder.
        #[arg(long)]
        new_key_file: Option<PathBuf>,
    },
    /// Print the public keys as a JWKS.
    ExportPublic,
}

#[derive(Args)]
pub(super) struct Emergency {
    /// Do not wait until data planes have fetched the key.
    #[arg(long, requires = "reason")]
    emergency: bool,
    /// The reason; the audit log records it.
    #[arg(long)]
    reason: Option<String>,
}

pub(super) async fn run(config: &Config, keys: Keys) -> anyhow::Result<()> {
    match keys {
        Keys::List(target) => show(config, &target, "keys.list", Map::new()).await,
        Keys::Info(target) => show(config, &target, "keys.info", Map::new()).await,
        Keys::Show { kid, target } => {
            show(config, &target, "keys.read", object_of(json!({"kid": kid}))).await
        }
        Keys::Generate { bits, target } => {
            show(config, &target, "keys.create", object_of(json!({"bits": bits}))).await
        }
        Keys::Import { file } => import(config, file).await,
        Keys::Activate { kid, emergency, target } => {
            let args = json!({
                "kid": kid, "emergency": emergency.emergency, "reason": emergency.reason,
            });
            show(config, &target, "keys.activate", object_of(args)).await
        }
        Keys::Rotate { emergency, target } => {
            let args = json!({"emergency": emergency.emergency, "reason": emergency.reason});
            show(config, &target, "keys.rotate", object_of(args)).await
        }
        Keys::Retire { kid, target } => {
            show(config, &target, "keys.retire", object_of(json!({"kid": kid}))).await
        }
        Keys::Compromise { kid, reason, target } => {
            let args = object_of(json!({"kid": kid, "reason": reason}));
            show(config, &target, "keys.compromise", args).await
        }
        Keys::Rekey { new_key_file } => say(&config.rekey(new_key_file.as_deref()).await?),
        Keys::ExportPublic => {
            let app = config.open(Purpose::Calling).await?;
            let jwks = Keyring::of(&app).jwks();
            app.db.close().await;
            say(std::str::from_utf8(&jwks)?)
        }
    }
}

async fn import(config: &Config, file: PathBuf) -> anyhow::Result<()> {
    let app = config.open(Purpose::SettingUp).await.context("the keys could not be opened")?;
    let passphrase = config.signing_key_passphrase()?;
    let done = licensing::keys::start::import_file(&app, &file, passphrase.as_ref()).await;
    app.db.close().await;
    let imported = done?;
    match imported.activate_at {
        None => say(&format!("{} is the active signing key.", imported.kid)),
        Some(at) => say(&format!(
            "{} is published, and signs from {at}: data planes need this time to fetch it.",
            imported.kid
        )),
    }
}
