//! The settings of mail.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;

use super::authorities::authorities;
use super::secret_file::secret_or_file;
use super::values::{Hidden, hidden};
use crate::kernel::outbound::mailing::{MailSettings, Relay};

/// The settings of mail.
#[derive(Args, Clone, Debug)]
pub struct MailConfig {
    /// The SMTP server that sends mail for webhooks with `emails`: smtps://USER:PASSWORD@HOST, or
    /// smtp://USER:PASSWORD@HOST for STARTTLS. `smtp://HOST?tls=none` is not encrypted. Without it, no mail
    /// is sent.
    #[arg(long, env = "CP_SMTP_URL", hide_env_values = true, value_parser = hidden, global = true)]
    pub smtp_url: Option<Hidden>,

    /// A file with that URL.
    #[arg(long, env = "CP_SMTP_URL_FILE", global = true, conflicts_with = "smtp_url")]
    pub smtp_url_file: Option<PathBuf>,

    /// The sender of mail, such as licenses@vendor.example. Required with CP_SMTP_URL.
    #[arg(long, env = "CP_MAIL_FROM", global = true)]
    pub mail_from: Option<String>,

    /// A PEM file with certificate authorities that replace the public ones for the SMTP server.
    #[arg(long, env = "CP_SMTP_CA_FILE", global = true)]
    pub smtp_ca_file: Option<PathBuf>,
}

impl MailConfig {
    /// Checks the settings and returns them.
    pub fn settings(&self) -> anyhow::Result<MailSettings> {
        let name = "CP_SMTP_URL";
        let url = secret_or_file(name, self.smtp_url.as_ref(), self.smtp_url_file.as_ref())?;
        let Some(url) = url else { return Ok(MailSettings(None)) };
        let name = if self.smtp_url_file.is_some() { "CP_SMTP_URL_FILE" } else { name };
        let from = self.mail_from.as_deref();
        let from = from.with_context(|| format!("{name} requires CP_MAIL_FROM"))?;
        let authority = |path: &PathBuf| authorities("CP_SMTP_CA_FILE", path);
        let own = self.smtp_ca_file.as_ref().map(authority).transpose()?;
        let relay = Relay::new(url.expose().trim(), from, own).context(name)?;
        Ok(MailSettings(Some(Arc::new(relay))))
    }
}
