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

mod lists;
mod log;
mod shared;
mod source;
mod store;

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::tls::TlsConfig;

use self::lists::ListFetcher;
use self::log::LogFetcher;
use self::source::{Answer, KEY_SET, Source};
use self::store::Stored;
use crate::keys::{Keys, Withdrawn};
use crate::log::LogBook;
use crate::status_list::StatusLists;
use crate::{BuildError, Clock, KeySet, Verifier, VerifierBuilder};

/// How many unknown key names are remembered as having been asked for.
const MAX_UNKNOWN: usize = 1_000;

#[derive(Clone)]
pub(crate) struct FetchSettings {
    /// Where the last good set is kept over restarts.
    store: Option<PathBuf>,
    /// The PEM file of the only authorities to trust; none for the public ones.
    ca: Option<PathBuf>,
    /// For how many seconds after its fetch a set may be used.
    max_stale: i64,
    /// How soon after a fetch an unknown key or a failure may cause the next.
    cooldown: Duration,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self { store: None, ca: None, max_stale: 7 * 86_400, cooldown: Duration::from_secs(30) }
    }
}

impl VerifierBuilder {
    /// Takes the issuer's keys from its JWKS URL, and refreshes them in the background.
    ///
    /// The URL is https, or http on this machine (`localhost`, `127.0.0.0/8`, `[::1]`). Redirects
    /// are not followed, answers over 64 KiB are refused, and a request ends after 5 seconds.
    /// A set that is refused never replaces a good one.
    ///
    /// [`build`](Self::build) waits for the first answer, unless a [stored](Self::jwks_store) set
    /// is at hand. When the control plane cannot be reached, the verifier starts all the same and
    /// refuses with `keys_unavailable` until it can.
    ///
    /// The status lists that tokens refer to are fetched too, from then on when a genuine token
    /// first refers to one; see [`Verifier::refresh_status`].
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.set_url(url.into());
        self
    }

    /// Keeps the last good key set in a file, so that a restart works without the control plane.
    ///
    /// The file is replaced as a whole and readable by its owner only. Give each data plane its own.
    pub fn jwks_store(mut self, path: impl Into<PathBuf>) -> Self {
        self.fetch_mut().store = Some(path.into());
        self
    }

    /// Trusts only the certificate authorities in a PEM file for the JWKS URL, for a control plane
    /// whose certificate is not from a public one. The file is read once by [`build`](Self::build).
    pub fn jwks_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.fetch_mut().ca = Some(path.into());
        self
    }

    /// For how long after its fetch a key set may be used when no newer one can be had: 7 days by
    /// default. Then every token is refused with `keys_unavailable`.
    pub fn jwks_max_stale(mut self, period: Duration) -> Self {
        self.fetch_mut().max_stale = i64::try_from(period.as_secs()).unwrap_or(i64::MAX);
        self
    }

    /// How long an unknown key name waits after a fetch before it causes the next, and a failed
    /// fetch before it is repeated: 30 seconds by default.
    pub fn jwks_cooldown(mut self, period: Duration) -> Self {
        self.fetch_mut().cooldown = period;
        self
    }
}

/// How a verifier's fetched keys are doing, for health checks and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeysHealth {
    /// When the set in use was last known to be the issuer's, in seconds since 1970; none when
    /// there has never been one.
    pub fetched_at: Option<i64>,
    /// Why the last attempt to fetch it failed; none when it succeeded.
    pub last_error: Option<String>,
    /// How many requests were made.
    pub attempts: u64,
}

/// Why keys could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchError(pub(crate) String);

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FetchError {}

impl Verifier {
    /// How the fetched keys are doing; none when the keys do not come from a URL.
    #[must_use]
    pub fn keys_health(&self) -> Option<KeysHealth> {
        self.fetching().map(|fetching| fetching.keys.shared.state().health.clone())
    }

    /// Fetches the keys now and waits for the outcome, for seconds if need be; does nothing when the
    /// keys do not come from a URL.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when the set could not be fetched or is refused, and the last good one stays;
    /// or when it could not be stored.
    pub fn refresh_keys(&self) -> Result<(), FetchError> {
        self.fetching().map_or(Ok(()), |fetching| fetching.keys.shared.refresh_now())
    }
}

/// What is fetched for a verifier.
pub(crate) struct Fetching {
    pub(crate) keys: Arc<Refresher>,
    pub(crate) lists: ListFetcher,
    /// None when the verifier was given no log key.
    pub(crate) log: Option<LogFetcher>,
}

/// The verifier's end of the thread. Dropping it ends the thread.
pub(crate) struct Refresher {
    shared: Arc<Shared>,
}

impl Refresher {
    /// Asks for a refresh because something names a key that is not in the set; what, is told so
    /// that it asks once.
    pub(crate) fn report_unknown(&self, kid: &str) {
        let mut state = self.shared.state();
        // A name that was asked for in vain is not asked for again until the set changes. When the
        // memory is full of names, somebody is guessing, and regular refreshes have to do.
        if state.unknown.len() < MAX_UNKNOWN && state.unknown.insert(kid.to_owned()) {
            state.is_wanted = true;
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
    }
}

struct Shared {
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
    settings: FetchSettings,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    health: KeysHealth,
    /// Key names that caused a refresh since the set last changed.
    unknown: HashSet<String>,
    /// Whether a refresh is due as soon as the cooldown allows it.
    is_wanted: bool,
    /// Whether a refresh is due at once.
    is_demanded: bool,
    is_fetching: bool,
    is_over: bool,
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
    ) -> Result<Fetching, BuildError> {
        let keys = Arc::new(self.refresher);
        let issuer = &lists.rules.issuer;
        let log = log.map(|log| LogFetcher::start(log, issuer, self.tls.clone(), self.cooldown));
        let log = log.transpose().map_err(BuildError::KeysUrl)?;
        let lists = ListFetcher::start(lists, Arc::clone(&keys), self.tls, self.cooldown);
        Ok(Fetching { keys, lists: lists.map_err(BuildError::KeysUrl)?, log })
    }
}

/// Starts the thread. Returns when there are keys, or when the first request has failed.
pub(crate) fn start(
    url: &str,
    settings: FetchSettings,
    clock: Arc<dyn Clock>,
    withdrawn: Withdrawn,
) -> Result<Started, BuildError> {
    let tls = settings.ca.as_deref().map(source::trusting).transpose();
    let tls = tls.map_err(BuildError::KeysUrl)?;
    let mut source = Source::new(url, tls.clone(), KEY_SET).map_err(BuildError::KeysUrl)?;
    let cooldown = settings.cooldown;
    let keys = Arc::new(Keys::new(KeySet::default(), i64::MIN, withdrawn));
    let health = KeysHealth { fetched_at: None, last_error: None, attempts: 0 };
    let state = State {
        health,
        unknown: HashSet::new(),
        is_wanted: false,
        is_demanded: false,
        is_fetching: true,
        is_over: false,
    };
    let shared = Arc::new(Shared {
        keys: Arc::clone(&keys),
        clock,
        settings,
        state: Mutex::new(state),
        changed: Condvar::new(),
    });
    let is_restored = shared.restore(&mut source);
    let thread = Arc::clone(&shared);
    std::thread::Builder::new()
        .name("dp-verifier-keys".to_owned())
        .spawn(move || thread.run(&mut source))
        .map_err(|error| BuildError::KeysUrl(format!("no thread can be started: {error}")))?;
    if !is_restored {
        shared.wait_for_attempt(0);
    }
    Ok(Started { keys, refresher: Refresher { shared }, tls, cooldown })
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, source: &mut Source) {
        loop {
            let outcome = source.fetch().and_then(|answer| self.adopt(source, answer));
            let next = match &outcome {
                Ok(()) => source.max_age(),
                Err(_) => self.settings.cooldown,
            };
            let mut state = self.state();
            state.health.attempts = state.health.attempts.saturating_add(1);
            state.health.last_error = outcome.err();
            state.is_fetching = false;
            self.changed.notify_all();
            if !self.wait(state, next) {
                return;
            }
        }
    }

    /// Takes an answer into use. Fails without effect when the set is refused.
    fn adopt(&self, source: &mut Source, answer: Answer) -> Result<(), String> {
        let fetched_at = self.clock.now();
        let keys = match answer {
            Answer::Unchanged => None,
            Answer::Body { body, etag } => {
                let keys = KeySet::from_json(&body).map_err(|error| error.to_string())?;
                source.remember(body, etag);
                self.state().unknown.clear();
                Some(keys)
            }
        };
        self.use_from(keys, fetched_at);
        match (&self.settings.store, source.last_good()) {
            (Some(path), Some(body)) => store::save(path, &source.stored(body, fetched_at)),
            _ => Ok(()),
        }
    }

    /// Uses these keys, or the same as before, from now on.
    fn use_from(&self, keys: Option<KeySet>, fetched_at: i64) {
        let good_until = fetched_at.saturating_add(self.settings.max_stale);
        match keys {
            Some(keys) => self.keys.replace(keys, good_until),
            None => self.keys.renew(good_until),
        }
        self.state().health.fetched_at = Some(fetched_at);
    }

    /// Takes the stored set into use, when there is a good one.
    fn restore(&self, source: &mut Source) -> bool {
        let Some(path) = &self.settings.store else { return false };
        let restored = store::load(path).and_then(|stored: Option<Stored>| {
            let Some(stored) = stored.filter(|stored| source.is_of(stored)) else {
                return Ok(false);
            };
            let body = stored.jwks.into_bytes();
            let keys = KeySet::from_json(&body).map_err(|error| error.to_string())?;
            source.remember(body, stored.etag);
            // A time in the future would keep the set in use for longer than allowed.
            self.use_from(Some(keys), stored.fetched_at.min(self.clock.now()));
            Ok(true)
        });
        restored.unwrap_or_else(|error| {
            self.state().health.last_error = Some(error);
            false
        })
    }

    /// Waits until the next request is due. Returns false when there shall be none.
    fn wait(&self, mut state: MutexGuard<'_, State>, next: Duration) -> bool {
        let ended = Instant::now();
        loop {
            let due = match (state.is_over, state.is_demanded, state.is_wanted) {
                (true, ..) => return false,
                (_, true, _) => Duration::ZERO,
                (_, _, true) => self.settings.cooldown.min(next),
                _ => next,
            };
            let left = due.saturating_sub(ended.elapsed());
            if left.is_zero() {
                (state.is_demanded, state.is_wanted) = (false, false);
                state.is_fetching = true;
                return true;
            }
            let woken = self.changed.wait_timeout(state, left);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn refresh_now(&self) -> Result<(), FetchError> {
        let mut state = self.state();
        state.is_demanded = true;
        // A request that is under way may have been answered before now.
        let seen = state.health.attempts.saturating_add(u64::from(state.is_fetching));
        drop(state);
        self.changed.notify_all();
        self.wait_for_attempt(seen);
        self.state().health.last_error.clone().map_or(Ok(()), |error| Err(FetchError(error)))
    }

    /// Waits until more than `seen` requests have ended.
    fn wait_for_attempt(&self, seen: u64) {
        let state = self.state();
        // The requests end by themselves; the bound is for a thread that died.
        let bound = source::TIMEOUT.saturating_mul(3);
        let is_early = |state: &mut State| state.health.attempts <= seen;
        drop(self.changed.wait_timeout_while(state, bound, is_early));
    }
}
