//! The settings of a signing service.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Error, ensure};
use clap::Args;

use super::authorities::authorities;
use super::secret_file::secret_or_file;
use super::values::{Hidden, hidden};
use crate::kernel::outbound::FetchSettings;
use crate::licensing::keys::service::SigningService;

/// The settings of a signing service.
#[derive(Args, Clone, Debug)]
pub struct SigningServiceConfig {
    /// The https URL of a service that makes and keeps the signing keys, such as a bridge to a KMS or an
    /// HSM. Without it, the keys are in the database, sealed under the key-encryption key.
    #[arg(
        long,
        env = "CP_SIGNING_SERVICE_URL",
        global = true,
        conflicts_with = "signing_private_key_path"
    )]
    pub signing_service_url: Option<String>,

    /// The bearer token for that service. Required with its URL.
    #[arg(long, env = "CP_SIGNING_SERVICE_TOKEN", hide_env_values = true, value_parser = hidden, global = true)]
    pub signing_service_token: Option<Hidden>,

    /// A file with that token.
    #[arg(
        long,
        env = "CP_SIGNING_SERVICE_TOKEN_FILE",
        global = true,
        conflicts_with = "signing_service_token"
    )]
    pub signing_service_token_file: Option<PathBuf>,

    /// A PEM file with certificate authorities that replace the public ones for that service.
    #[arg(long, env = "CP_SIGNING_SERVICE_CA_FILE", global = true)]
    pub signing_service_ca_file: Option<PathBuf>,
}

impl SigningServiceConfig {
    /// Checks the settings and returns the service.
    pub fn service(&self) -> anyhow::Result<Option<Arc<SigningService>>> {
        let Some(url) = &self.signing_service_url else { return Ok(None) };
        let name = "CP_SIGNING_SERVICE_URL";
        let destinations = FetchSettings { allow_loopback: true, ..FetchSettings::default() };
        destinations.check(url).map_err(Error::msg).context(name)?;
        ensure!(!url.contains(['?', '#']), "{name} must have no query and no fragment");
        let token = secret_or_file(
            "CP_SIGNING_SERVICE_TOKEN",
            self.signing_service_token.as_ref(),
            self.signing_service_token_file.as_ref(),
        )?;
        let token = token.with_context(|| format!("{name} requires CP_SIGNING_SERVICE_TOKEN"))?;
        let authority = |path: &PathBuf| authorities("CP_SIGNING_SERVICE_CA_FILE", path);
        let own = self.signing_service_ca_file.as_ref().map(authority).transpose()?;
        Ok(Some(Arc::new(SigningService::new(url, token, own))))
    }
}
