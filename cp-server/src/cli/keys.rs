//! `cp-server keys …`

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;

use super::progress;
use super::target::say;
use crate::config::Config;
use crate::config::installation::Purpose;
use crate::kernel::app::Part;
use crate::licensing;
use crate::licensing::keys::keyring::Keyring;

#[derive(Subcommand)]
pub(super) enum Keys {
    /// Import a PEM file; it signs at once if it is the first key, else after a time
    Import {
        /// A PEM file with an RSA private key
        file: PathBuf,
    },
    /// Seal everything in the database under another key-encryption key. Stop the servers first
    Rekey {
        /// A file with the new key, base64 of 32 bytes. By default, a new key is created in the
        /// keys folder
        #[arg(long)]
        new_key_file: Option<PathBuf>,
    },
    /// Print the public keys as a JWKS
    ExportPublic,
}

pub(super) async fn run(config: &Config, keys: Keys) -> anyhow::Result<()> {
    match keys {
        Keys::Import { file } => import(config, file).await,
        Keys::Rekey { new_key_file } => {
            let bar = progress::waiting("sealing");
            let done = config.rekey(new_key_file.as_deref()).await;
            bar.finish_and_clear();
            say(&done?)
        }
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
    let done = licensing::keys::start::import_file(&app, &file, passphrase.as_deref()).await;
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
