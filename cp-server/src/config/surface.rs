//! The network settings: connections, proxies, TLS, rate limits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use clap::{ArgAction, Args};

use super::values::{boolean, span};
use crate::Settings;
use crate::kernel::access::buckets::Limit;
use crate::kernel::access::rate_limits::Rates;
use crate::kernel::app::SharedSettings;
use crate::server::limits::Surface;
use crate::server::proxies::Proxies;
use crate::server::tls::Tls;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub struct Network {
    /// A PEM file with the certificate chain for HTTPS. The server reloads it when it changes, and
    /// on SIGHUP.
    #[arg(long, env = "CP_TLS_CERT", requires = "tls_key", global = true)]
    pub tls_cert: Option<PathBuf>,

    /// A PEM file with the private key of the certificate. Only its owner may read it.
    #[arg(long, env = "CP_TLS_KEY", requires = "tls_cert", global = true)]
    pub tls_key: Option<PathBuf>,

    /// Addresses and networks of trusted proxies, such as 10.0.0.0/8,::1. The server accepts
    /// X-Forwarded-For, X-Forwarded-Proto and Forwarded only from them.
    #[arg(
        long,
        env = "CP_TRUSTED_PROXIES",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub trusted_proxies: Proxies,

    /// The maximum number of open connections.
    #[arg(long, env = "CP_MAX_CONNECTIONS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000), global = true)]
    pub max_connections: u32,

    /// The maximum number of open connections per address (IPv6: per /64). Connections of trusted
    /// proxies are not counted.
    #[arg(long, env = "CP_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_000_000), global = true)]
    pub max_connections_per_address: u32,

    /// How long the server waits for a request head, for a TLS handshake, and on an idle
    /// connection: 1s to 10m. The idle timeout of a proxy must be shorter.
    #[arg(long, env = "CP_HEADER_TIMEOUT", default_value = "10s", value_parser = |t: &str| span(t, "1s", "10m"), global = true)]
    pub header_timeout: chrono::TimeDelta,

    /// How long a request may run until its response begins: 1s to 10m.
    #[arg(long, env = "CP_REQUEST_TIMEOUT", default_value = "30s", value_parser = |t: &str| span(t, "1s", "10m"), global = true)]
    pub request_timeout: chrono::TimeDelta,

    /// How long a client may stall while it receives a response: 1s to 10m.
    #[arg(long, env = "CP_WRITE_TIMEOUT", default_value = "30s", value_parser = |t: &str| span(t, "1s", "10m"), global = true)]
    pub write_timeout: chrono::TimeDelta,

    /// The minimum rate in bytes per second at which a client must receive a response: 0 to
    /// 1000000. It is averaged over twice CP_WRITE_TIMEOUT of waiting.
    #[arg(long, env = "CP_WRITE_RATE", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(0..=1_000_000), global = true)]
    pub write_rate: u32,

    /// Whether rate limits apply: those below, and the request quotas of organizations. Each
    /// replica counts separately.
    #[arg(long, env = "CP_RATE_LIMITS", default_value_t = true, action = ArgAction::Set, value_parser = boolean, global = true)]
    pub rate_limits: bool,

    /// Requests without a credential, per address: N:BURST means N per minute and BURST at once; or
    /// off.
    #[arg(long, env = "CP_RATE_ADDRESS", default_value = "1200:300", value_parser = limit, global = true)]
    pub rate_address: Limit,

    /// Refused credentials and logins, per address.
    #[arg(long, env = "CP_RATE_ATTEMPTS", default_value = "30:20", value_parser = limit, global = true)]
    pub rate_attempts: Limit,

    /// Requests per credential.
    #[arg(long, env = "CP_RATE_CREDENTIAL", default_value = "30000:3000", value_parser = limit, global = true)]
    pub rate_credential: Limit,

    /// Requests of an organization's own people and tokens that act on it, including its
    /// deployments without their check-ins, heartbeats and whoami. No plan changes this limit;
    /// callers of the platform are not counted.
    #[arg(long, env = "CP_RATE_ORGANIZATION", default_value = "600:200", value_parser = limit, global = true)]
    pub rate_organization: Limit,

    /// Requests that sign license tokens, per credential.
    #[arg(long, env = "CP_RATE_SIGNING", default_value = "3000:600", value_parser = limit, global = true)]
    pub rate_signing: Limit,

    /// Requests that change signing keys, per credential.
    #[arg(long, env = "CP_RATE_KEYS", default_value = "30:20", value_parser = limit, global = true)]
    pub rate_keys: Limit,

    /// Requests that create, rotate or revoke credentials, per credential.
    #[arg(long, env = "CP_RATE_TOKENS", default_value = "120:60", value_parser = limit, global = true)]
    pub rate_tokens: Limit,

    /// Requests per license key: claims, heartbeats, releases and validations.
    #[arg(long, env = "CP_RATE_LICENSE_KEY", default_value = "120:60", value_parser = limit, global = true)]
    pub rate_license_key: Limit,
}

impl Network {
    /// Returns the certificate and key for HTTPS, if configured.
    pub fn tls(&self) -> anyhow::Result<Option<Arc<Tls>>> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Ok(Some(Arc::new(Tls::open(cert, key)?))),
            (None, None) => Ok(None),
            _ => bail!("CP_TLS_CERT and CP_TLS_KEY must be set together"),
        }
    }

    pub(super) fn over(&self, settings: Settings) -> Settings {
        let time = |span: chrono::TimeDelta| span.to_std().unwrap_or(Duration::MAX);
        Settings {
            surface: Surface {
                connections: size(self.max_connections),
                connections_per_address: size(self.max_connections_per_address),
                header_time: time(self.header_timeout),
                request_time: time(self.request_timeout),
                write_time: time(self.write_timeout),
                write_rate: self.write_rate,
                proxies: self.trusted_proxies.clone(),
            },
            shared: SharedSettings {
                rate_limits: self.rate_limits,
                rates: Rates {
                    strangers: self.rate_address,
                    attempts: self.rate_attempts,
                    credential: self.rate_credential,
                    organization: self.rate_organization,
                    signing: self.rate_signing,
                    keys: self.rate_keys,
                    tokens: self.rate_tokens,
                    license_key: self.rate_license_key,
                },
                ..settings.shared
            },
            ..settings
        }
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

// clap treats a bare `Option` as a setting that may be absent.
fn limit(text: &str) -> anyhow::Result<Limit> {
    if text == "off" { Ok(None) } else { text.parse().map(Some) }
}
