//! The settings of what faces the network: connections, proxies, TLS, rates.

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
    /// A PEM file with the certificate chain to serve HTTPS with; read again when it changes, and
    /// on SIGHUP.
    #[arg(long, env = "CP_TLS_CERT", requires = "tls_key", global = true)]
    pub tls_cert: Option<PathBuf>,

    /// A PEM file with the certificate's private key; only its owner may read it.
    #[arg(long, env = "CP_TLS_KEY", requires = "tls_cert", global = true)]
    pub tls_key: Option<PathBuf>,

    /// Addresses and networks of proxies whose X-Forwarded-For, X-Forwarded-Proto and Forwarded are
    /// believed, such as 10.0.0.0/8,::1. Nobody else's are.
    #[arg(
        long,
        env = "CP_TRUSTED_PROXIES",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub trusted_proxies: Proxies,

    /// Connections that are open at once.
    #[arg(long, env = "CP_MAX_CONNECTIONS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000), global = true)]
    pub max_connections: u32,

    /// Connections of one address (IPv6: of one /64) that are open at once; those of trusted
    /// proxies are not counted.
    #[arg(long, env = "CP_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_000_000), global = true)]
    pub max_connections_per_address: u32,

    /// For how long the head of a request, a TLS handshake or an idle connection is waited for: 1s
    /// to 10m. A proxy's own idle time is shorter.
    #[arg(long, env = "CP_HEADER_TIMEOUT", default_value = "10s", value_parser = |t: &str| span(t, "1s", "10m"), global = true)]
    pub header_timeout: chrono::TimeDelta,

    /// How long a request may take until its answer begins: 1s to 10m.
    #[arg(long, env = "CP_REQUEST_TIMEOUT", default_value = "30s", value_parser = |t: &str| span(t, "1s", "10m"), global = true)]
    pub request_timeout: chrono::TimeDelta,

    /// For how long a client may take nothing of its answer: 1s to 10m.
    #[arg(long, env = "CP_WRITE_TIMEOUT", default_value = "30s", value_parser = |t: &str| span(t, "1s", "10m"), global = true)]
    pub write_timeout: chrono::TimeDelta,

    /// Bytes a second that a client must take of an answer, on average over twice CP_WRITE_TIMEOUT
    /// in which it is waited for: 0 to 1000000.
    #[arg(long, env = "CP_WRITE_RATE", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(0..=1_000_000), global = true)]
    pub write_rate: u32,

    /// Whether rates are held to: those below, and the organizations' quotas of requests per
    /// minute. Each replica counts for itself.
    #[arg(long, env = "CP_RATE_LIMITS", default_value_t = true, action = ArgAction::Set, value_parser = boolean, global = true)]
    pub rate_limits: bool,

    /// Requests without a credential, of one address: so many a minute, and so many at once; or off.
    #[arg(long, env = "CP_RATE_ADDRESS", default_value = "1200:300", value_parser = limit, global = true)]
    pub rate_address: Limit,

    /// Credentials that are refused, and logins, of one address.
    #[arg(long, env = "CP_RATE_ATTEMPTS", default_value = "30:20", value_parser = limit, global = true)]
    pub rate_attempts: Limit,

    /// Requests of one credential.
    #[arg(long, env = "CP_RATE_CREDENTIAL", default_value = "30000:3000", value_parser = limit, global = true)]
    pub rate_credential: Limit,

    /// Requests of an organization's own people and tokens that act on it, those of its deployments
    /// included. No plan changes this; the platform's callers are not counted.
    #[arg(long, env = "CP_RATE_ORGANIZATION", default_value = "600:200", value_parser = limit, global = true)]
    pub rate_organization: Limit,

    /// Requests of one credential that sign license tokens.
    #[arg(long, env = "CP_RATE_SIGNING", default_value = "3000:600", value_parser = limit, global = true)]
    pub rate_signing: Limit,

    /// Requests of one credential that change signing keys.
    #[arg(long, env = "CP_RATE_KEYS", default_value = "30:20", value_parser = limit, global = true)]
    pub rate_keys: Limit,

    /// Requests of one credential that make, rotate or revoke credentials.
    #[arg(long, env = "CP_RATE_TOKENS", default_value = "120:60", value_parser = limit, global = true)]
    pub rate_tokens: Limit,
}

impl Network {
    /// The certificate and key to serve with, if there are any.
    pub fn tls(&self) -> anyhow::Result<Option<Arc<Tls>>> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Ok(Some(Arc::new(Tls::open(cert, key)?))),
            (None, None) => Ok(None),
            _ => bail!("CP_TLS_CERT and CP_TLS_KEY are given together, or neither of them"),
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

// clap takes a bare `Option` for a setting that may be absent.
fn limit(text: &str) -> anyhow::Result<Limit> {
    if text == "off" { Ok(None) } else { text.parse().map(Some) }
}
