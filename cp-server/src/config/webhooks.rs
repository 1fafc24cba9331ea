//! The settings of webhooks.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::authorities::authorities;
use super::values::boolean;
use crate::kernel::outbound::FetchSettings;
use crate::kernel::outbound::proxies::Proxy;
use crate::webhooks::settings::WebhookSettings;

/// The settings of webhooks.
#[derive(Args, Clone, Debug)]
pub struct WebhookConfig {
    /// Hosts, separated by commas, that an organization's webhooks may use although their addresses
    /// are private. Webhooks of the platform may use any host.
    #[arg(long, env = "CP_WEBHOOK_ALLOWED_HOSTS", value_delimiter = ',', global = true)]
    pub webhook_allowed_hosts: Vec<String>,

    /// Whether webhooks may use plain http on this machine: for development.
    #[arg(long, env = "CP_WEBHOOK_ALLOW_LOOPBACK", default_value_t = false, action = ArgAction::Set, value_parser = boolean, global = true)]
    pub webhook_allow_loopback: bool,

    /// A PEM file with certificate authorities that replace the public ones for connections to
    /// webhooks.
    #[arg(long, env = "CP_WEBHOOK_CA_FILE", global = true)]
    pub webhook_ca_file: Option<PathBuf>,

    /// The HTTP proxy through which webhooks are sent: `http://proxy.example:3128`. The server still
    /// resolves and checks each address, and asks the proxy for that address.
    #[arg(long, env = "CP_OUTBOUND_PROXY", global = true)]
    pub outbound_proxy: Option<Proxy>,
}

impl WebhookConfig {
    /// Checks the settings and returns them.
    pub fn settings(&self) -> anyhow::Result<WebhookSettings> {
        let authority = |path: &PathBuf| authorities("CP_WEBHOOK_CA_FILE", path);
        Ok(WebhookSettings(FetchSettings {
            allowed_hosts: self.webhook_allowed_hosts.clone(),
            allow_loopback: self.webhook_allow_loopback,
            authorities: self.webhook_ca_file.as_ref().map(authority).transpose()?,
            proxy: self.outbound_proxy.clone(),
            ..FetchSettings::default()
        }))
    }
}
