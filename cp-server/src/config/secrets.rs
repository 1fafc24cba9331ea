//! The secret settings, each of which may be in its own file.

use std::io::IsTerminal;

use anyhow::Context;

use super::secret_file::{bootstrap, secret_file, secret_or_file};
use super::values::Hidden;
use super::{Config, DatabaseUrl, database};
use crate::identity::bootstrap::{First, Handover, bootstrap as begin};
use crate::kernel::app::App;

impl Config {
    /// Returns the location of the database.
    pub fn database_url(&self) -> anyhow::Result<DatabaseUrl> {
        let Some(path) = &self.database_url_file else { return Ok(self.database_url.clone()) };
        let read = secret_file(path).and_then(|text| database::read(text.expose().trim()));
        read.with_context(|| format!("CP_DATABASE_URL_FILE: {}", path.display()))
    }

    /// Returns the passphrase of an imported signing key.
    pub fn signing_key_passphrase(&self) -> anyhow::Result<Option<Hidden>> {
        secret_or_file(
            "CP_SIGNING_KEY_PASSPHRASE",
            self.signing_key_passphrase.as_ref(),
            self.signing_key_passphrase_file.as_ref(),
        )
    }

    /// Returns the first token that the operator chose, if any.
    pub(super) fn own_bootstrap_token(&self) -> anyhow::Result<Option<Hidden>> {
        match &self.bootstrap_token_file {
            Some(path) => secret_file(path)
                .and_then(|text| bootstrap(text.expose()))
                .with_context(|| format!("CP_BOOTSTRAP_TOKEN_FILE: {}", path.display()))
                .map(Some),
            None => Ok(self.bootstrap_token.clone()),
        }
    }

    /// Ensures that a service token exists. Only a terminal shows a new one.
    pub async fn first_token(&self, app: &App) -> anyhow::Result<Option<First>> {
        let (own, file) = (self.own_bootstrap_token()?, self.keys_dir.join("bootstrap-token"));
        let handover = match &own {
            Some(own) => Handover::Own(own.expose()),
            None if std::io::stdout().is_terminal() => Handover::Shown,
            None => Handover::File(&file),
        };
        begin(app, handover).await.context("CP_BOOTSTRAP_TOKEN")
    }
}
