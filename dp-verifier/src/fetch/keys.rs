//! The thread that fetches the issuer's keys.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::tls::TlsConfig;

use super::error::FetchError;
use super::settings::FetchSettings;
use super::source::{self, Answer, KEY_SET, Source};
use super::store::{self, Stored};
use crate::keys::{Keys, Withdrawn};
use crate::{Clock, KeySet};

/// The maximum number of unknown key IDs that have triggered a refresh.
const MAX_UNKNOWN: usize = 1_000;

/// The health of a verifier's fetched keys, for health checks and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeysHealth {
    /// When the set in use was last confirmed by the issuer, in seconds since 1970. `None` before
    /// the first set.
    pub fetched_at: Option<i64>,
    /// The error of the last fetch, or `None` when it succeeded.
    pub last_error: Option<String>,
    /// The number of requests.
    pub attempts: u64,
}

/// The verifier's end of the thread. Dropping it ends the thread.
pub(crate) struct Refresher {
    shared: Arc<Shared>,
}

impl Refresher {
    pub(crate) fn health(&self) -> KeysHealth {
        self.shared.state().health.clone()
    }

    /// Fetches the keys now and waits for the outcome.
    pub(crate) fn refresh_now(&self) -> Result<(), FetchError> {
        self.shared.refresh_now()
    }

    /// Triggers a refresh for an unknown key ID, once for each ID.
    pub(crate) fn report_unknown(&self, kid: &str) {
        let mut state = self.shared.state();
        // An ID triggers no second refresh until the set changes. When the set of IDs is full, a
        // client is guessing, and the regular refreshes must suffice.
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
    /// The key IDs that triggered a refresh since the last change of the set.
    unknown: HashSet<String>,
    /// Whether a refresh is due as soon as the cooldown allows it.
    is_wanted: bool,
    /// Whether a refresh is due at once.
    is_demanded: bool,
    is_fetching: bool,
    is_over: bool,
}

/// Starts the thread. Returns when there are keys, or when the first request has failed.
pub(super) fn start(
    url: &str,
    tls: Option<TlsConfig>,
    settings: FetchSettings,
    clock: Arc<dyn Clock>,
    withdrawn: Withdrawn,
) -> Result<(Arc<Keys>, Refresher), String> {
    let mut source = Source::new(url, tls, KEY_SET)?;
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
        .map_err(|error| format!("no thread can be started: {error}"))?;
    if !is_restored {
        shared.wait_for_attempt(0);
    }
    Ok((keys, Refresher { shared }))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No holder of the lock leaves the state half changed.
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

    /// Uses the keys of a response. Fails without effect when the set is refused.
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

    /// Uses these keys, or the same keys as before.
    fn use_from(&self, keys: Option<KeySet>, fetched_at: i64) {
        let good_until = fetched_at.saturating_add(self.settings.max_stale);
        match keys {
            Some(keys) => self.keys.replace(keys, good_until),
            None => self.keys.renew(good_until),
        }
        self.state().health.fetched_at = Some(fetched_at);
    }

    /// Uses the stored set if it is valid. Returns whether it is.
    fn restore(&self, source: &mut Source) -> bool {
        let Some(path) = &self.settings.store else { return false };
        let restored = store::load(path).and_then(|stored: Option<Stored>| {
            let Some(stored) = stored.filter(|stored| source.is_of(stored)) else {
                return Ok(false);
            };
            let body = stored.jwks.into_bytes();
            let keys = KeySet::from_json(&body).map_err(|error| error.to_string())?;
            source.remember(body, stored.etag);
            // A time in the future would extend the use of the set.
            self.use_from(Some(keys), stored.fetched_at.min(self.clock.now()));
            Ok(true)
        });
        restored.unwrap_or_else(|error| {
            self.state().health.last_error = Some(error);
            false
        })
    }

    /// Waits until the next request is due. Returns `false` when the thread must end.
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
        // The response to a running request may be older than this call.
        let seen = state.health.attempts.saturating_add(u64::from(state.is_fetching));
        drop(state);
        self.changed.notify_all();
        self.wait_for_attempt(seen);
        self.state().health.last_error.clone().map_or(Ok(()), |error| Err(FetchError(error)))
    }

    /// Waits until more than `seen` requests have ended.
    fn wait_for_attempt(&self, seen: u64) {
        let state = self.state();
        // Requests end by themselves. The bound is for a thread that died.
        let bound = source::TIMEOUT.saturating_mul(3);
        let is_early = |state: &mut State| state.health.attempts <= seen;
        drop(self.changed.wait_timeout_while(state, bound, is_early));
    }
}
