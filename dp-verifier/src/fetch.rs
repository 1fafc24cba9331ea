//! The fetching of keys, status lists and the issuer's log, and the check-ins, each by a thread.
//!
//! # Design
//!
//! Each thread has a blocking client and does not use tokio. So synchronous and asynchronous hosts
//! work alike, and one thread never sends two requests at once. The check of a token only reads the
//! current snapshot. An unknown `kid` triggers a refresh, and its token is refused meanwhile: a
//! token must not make a request wait for the network. Issuers publish a key long before it signs,
//! so a genuine token meets this case only after an outage.

mod api;
mod check_in;
mod credential;
mod error;
mod keys;
mod list_import;
mod lists;
mod log;
mod own_token;
mod settings;
mod shared;
mod source;
mod store;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use ureq::tls::TlsConfig;

pub use self::api::Refusal;
pub(crate) use self::api::{Api, ApiError};
pub use self::check_in::CheckInHealth;
pub(crate) use self::check_in::{CheckInThread, Complaint, NotAdopted, TokenOwner};
pub use self::credential::Credential;
pub use self::error::FetchError;
pub use self::keys::KeysHealth;
use self::keys::Refresher;
use self::lists::ListFetcher;
use self::log::LogFetcher;
pub(crate) use self::own_token::{CheckIns, TokenPair, Tokens};
pub(crate) use self::settings::{CheckInSettings, FetchSettings};
pub(crate) use self::shared::{Shared, State};
use crate::Clock;
use crate::keys::{Keys, Withdrawn};
use crate::log::LogBook;
use crate::status_list::StatusLists;

/// The fetching threads of a verifier.
pub(crate) struct Fetching {
    pub(crate) keys: Arc<Refresher>,
    pub(crate) lists: ListFetcher,
    /// `None` without a log key.
    pub(crate) log: Option<LogFetcher>,
}

/// The fetching thread of keys, before the verifier and its lists exist.
pub(crate) struct Started {
    pub(crate) keys: Arc<Keys>,
    refresher: Refresher,
    tls: Option<TlsConfig>,
    cooldown: Duration,
}

impl Started {
    /// Starts the threads of the status lists and the log.
    pub(crate) fn with(
        self,
        lists: &Arc<StatusLists>,
        log: Option<&Arc<LogBook>>,
        check_in: Option<&(String, Credential)>,
    ) -> Result<Fetching, String> {
        let keys = Arc::new(self.refresher);
        let issuer = &lists.rules.issuer;
        let log = log.map(|log| LogFetcher::start(log, issuer, self.tls.clone(), self.cooldown));
        let log = log.transpose()?;
        let lists =
            ListFetcher::start(lists, Arc::clone(&keys), self.tls, self.cooldown, check_in)?;
        Ok(Fetching { keys, lists, log })
    }
}

/// Starts the thread of the keys. Returns when there are keys, or when the first request has
/// failed.
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
