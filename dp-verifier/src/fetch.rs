//! Keys from a URL, refreshed by a thread of its own; the status lists that tokens refer to; and the
//! issuer's log.
//!
//! # Design
//!
//! A thread and a blocking client, not tokio: they serve synchronous and asynchronous hosts alike,
//! and one thread is single flight by construction. Checking a token only ever reads the current
//! snapshot; an unknown `kid` asks for a refresh and is refused meanwhile, because a token must not
//! decide that a request waits for the network. Issuers publish a key long before it signs, so a
//! genuine token meets that case only after an outage.

mod error;
mod keys;
mod lists;
mod log;
mod settings;
mod shared;
mod source;
mod store;

use std::sync::Arc;
use std::time::Duration;

use ureq::tls::TlsConfig;

pub use self::error::FetchError;
pub use self::keys::KeysHealth;
use self::keys::Refresher;
use self::lists::ListFetcher;
use self::log::LogFetcher;
pub(crate) use self::settings::FetchSettings;
use crate::Clock;
use crate::keys::{Keys, Withdrawn};
use crate::log::LogBook;
use crate::status_list::StatusLists;

/// What is fetched for a verifier.
pub(crate) struct Fetching {
    pub(crate) keys: Arc<Refresher>,
    pub(crate) lists: ListFetcher,
    /// None when the verifier was given no log key.
    pub(crate) log: Option<LogFetcher>,
}

/// Keys that are being fetched, before there is a verifier that has lists.
pub(crate) struct Started {
    pub(crate) keys: Arc<Keys>,
    refresher: Refresher,
    tls: Option<TlsConfig>,
    cooldown: Duration,
}

impl Started {
    /// Has the status lists and the log fetched as well.
    pub(crate) fn with(
        self,
        lists: &Arc<StatusLists>,
        log: Option<&Arc<LogBook>>,
    ) -> Result<Fetching, String> {
        let keys = Arc::new(self.refresher);
        let issuer = &lists.rules.issuer;
        let log = log.map(|log| LogFetcher::start(log, issuer, self.tls.clone(), self.cooldown));
        let log = log.transpose()?;
        let lists = ListFetcher::start(lists, Arc::clone(&keys), self.tls, self.cooldown)?;
        Ok(Fetching { keys, lists, log })
    }
}

/// Starts to fetch keys. Returns when there are keys, or when the first request has failed.
pub(crate) fn start(
    url: &str,
    settings: FetchSettings,
    clock: Arc<dyn Clock>,
    withdrawn: Withdrawn,
) -> Result<Started, String> {
    let tls = settings.ca.as_deref().map(source::trusting).transpose()?;
    let cooldown = settings.cooldown;
    let (keys, refresher) = keys::start(url, tls.clone(), settings, clock, withdrawn)?;
    Ok(Started { keys, refresher, tls, cooldown })
}
