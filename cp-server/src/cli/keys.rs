//! `cp-server keys …`

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Map, json};

use super::progress;
use super::target::{Target, object_of, open, say};
use crate::client::Client;
use crate::config::Config;
use crate::kernel::app::App;
use crate::licensing;
use crate::licensing::keys::start::read_file;

#[derive(Subcommand)]
pub(super) enum Keys {
    /// Import a PEM file. The key is published, and signs after a time
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

pub(super) async fn run(config: &Config, target: &Target, keys: Keys) -> anyhow::Result<()> {
    match keys {
        Keys::Import { file } => match open(config, target).await? {
            Client::Local { app, .. } => import(config, &app, &file).await,
            client @ Client::Remote(_) => import_at(config, &client, &file).await,
        },
        Keys::Rekey { new_key_file } => {
            let bar = progress::waiting("sealing");
            let done = config.rekey(new_key_file.as_deref()).await;
            bar.finish_and_clear();
            say(&done?)
        }
        Keys::ExportPublic => {
            let client = open(config, target).await?;
            let jwks = client.answer("keys.jwks", Map::new()).await;
            client.close().await;
            say(std::str::from_utf8(&jwks?)?.trim_end())
        }
    }
}

async fn import(config: &Config, app: &App, file: &Path) -> anyhow::Result<()> {
    let passphrase = config.signing_key_passphrase()?;
    let done = licensing::keys::start::import_file(app, file, passphrase.as_deref()).await;
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

/// Imports the key into a running server, which publishes it as any other key.
async fn import_at(config: &Config, client: &Client, file: &Path) -> anyhow::Result<()> {
    let text = read_file(file)?;
    let passphrase = config.signing_key_passphrase()?;
    let passphrase = passphrase.as_deref().map(|passphrase| passphrase.expose().as_str());
    let key = json!({"pem": text.as_str(), "passphrase": passphrase});
    let made = client.call("keys.create", object_of(key)).await?;
    let kid = made["kid"].as_str().context("the answer has no kid")?;
    let from = made["not_before"].as_str().unwrap_or("its publication");
    say(&format!(
        "{kid} is published. It may sign from {from}: then run `cp-server keys activate {kid}`, or \
         wait until the rotation comes to it."
    ))
}
