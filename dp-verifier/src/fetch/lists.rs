//! Status lists from their URLs, by a thread of their own.
//!
//! The thread learns of a list from a token whose signature holds and that names a URL of the
//! issuer; nothing else opens a connection. One thread, so one request at a time, and for each list
//! one per `ttl`, or per cooldown while it fails.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ureq::tls::TlsConfig;

use super::source::{Answer, STATUS_LIST, Source};
use super::{FetchError, Refresher};
use crate::ErrorCode::KidUnknown;
use crate::Verifier;
use crate::status_list::{Slot, StatusLists};

/// The bounds of the time between two requests for a list, whatever its `ttl` says, in seconds.
const TTL: std::ops::RangeInclusive<u64> = 1..=86_400;

impl Verifier {
    /// Asks for all status lists now and waits for the outcome, for seconds if need be; does nothing
    /// when the keys do not come from a URL.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when a list could not be fetched or is refused, and the last good one stays.
    pub fn refresh_status_lists(&self) -> Result<(), FetchError> {
        let Some(fetching) = self.fetching() else { return Ok(()) };
        fetching.lists.shared.refresh_now();
        self.status_lists_error().map_or(Ok(()), |error| Err(FetchError(error)))
    }

    /// Why the last request for a status list failed; none when it succeeded for each.
    #[must_use]
    pub fn status_lists_error(&self) -> Option<String> {
        let fetching = self.fetching()?;
        fetching.lists.shared.state().errors.first().cloned()
    }
}

/// The verifier's end of the thread. Dropping it ends the thread.
pub(crate) struct ListFetcher {
    shared: Arc<Shared>,
}

impl ListFetcher {
    /// Starts the thread.
    pub(super) fn start(
        lists: &Arc<StatusLists>,
        keys: Arc<Refresher>,
        tls: Option<TlsConfig>,
        cooldown: Duration,
    ) -> Result<Self, String> {
        let shared =
            Arc::new(Shared { state: Mutex::new(State::default()), changed: Condvar::new() });
        let fetcher = Fetcher {
            shared: Arc::clone(&shared),
            lists: Arc::downgrade(lists),
            keys,
            tls,
            cooldown,
            jobs: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("dp-verifier-lists".to_owned());
        thread
            .spawn(move || fetcher.run())
            .map_err(|error| format!("no thread can be started: {error}"))?;
        Ok(Self { shared })
    }

    /// From now on fetches a list, when that is not done already.
    pub(crate) fn want(&self, slot: &Arc<Slot>) {
        if slot.asked.claim() {
            let mut state = self.shared.state();
            match state.is_over {
                true => slot.asked.end(),
                false => state.wanted.push(Arc::clone(slot)),
            }
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for ListFetcher {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Lists that the thread has not heard of yet.
    wanted: Vec<Arc<Slot>>,
    /// How often all lists were demanded at once, how many of these demands the thread has heard,
    /// and how many it has met.
    demanded: u64,
    heard: u64,
    met: u64,
    /// What the last request for each list failed for.
    errors: Vec<String>,
    is_over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh_now(&self) {
        let mut state = self.state();
        state.demanded = state.demanded.saturating_add(1);
        let demand = state.demanded;
        self.changed.notify_all();
        let is_early = |state: &mut State| state.met < demand && !state.is_over;
        drop(self.changed.wait_while(state, is_early));
    }
}

/// The thread's own.
struct Fetcher {
    shared: Arc<Shared>,
    /// Not held, so that a verifier that is dropped leaves its state file at once.
    lists: Weak<StatusLists>,
    keys: Arc<Refresher>,
    tls: Option<TlsConfig>,
    cooldown: Duration,
    jobs: Vec<Job>,
}

struct Job {
    slot: Arc<Slot>,
    source: Result<Source, String>,
    due: Instant,
    error: Option<String>,
}

impl Fetcher {
    fn run(mut self) {
        while let Some(index) = self.next_due() {
            let Some(mut job) = (index < self.jobs.len()).then(|| self.jobs.swap_remove(index))
            else {
                continue;
            };
            job.error = self.fetch(&mut job).err();
            let ttl = job.slot.document().and_then(|list| u64::try_from(list.ttl).ok());
            let ttl = ttl.unwrap_or_default().clamp(*TTL.start(), *TTL.end());
            let next = match &job.error {
                None => Duration::from_secs(ttl),
                Some(_) => self.cooldown,
            };
            let now = Instant::now();
            job.due = now.checked_add(next).unwrap_or(now);
            self.jobs.push(job);
            let errors = self.jobs.iter().filter_map(|job| job.error.clone()).collect();
            self.shared.state().errors = errors;
            if let Some(job) = self.jobs.last() {
                job.slot.asked.end();
            }
        }
    }

    /// Waits until a list is due; none when the verifier is gone.
    fn next_due(&mut self) -> Option<usize> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        loop {
            if state.is_over {
                return None;
            }
            let now = Instant::now();
            for slot in state.wanted.drain(..) {
                let source = Source::new(&slot.uri, self.tls.clone(), STATUS_LIST);
                self.jobs.push(Job { slot, source, due: now, error: None });
            }
            if state.heard < state.demanded {
                state.heard = state.demanded;
                self.jobs.iter_mut().for_each(|job| job.due = now);
            }
            let next = self.jobs.iter().enumerate().min_by_key(|(_, job)| job.due);
            let next = next.map(|(index, job)| (index, job.due.saturating_duration_since(now)));
            if let Some((index, left)) = next
                && left.is_zero()
            {
                return Some(index);
            }
            // Every list was asked for since the demand was heard.
            if state.met < state.heard {
                state.met = state.heard;
                shared.changed.notify_all();
            }
            state = match next {
                Some((_, left)) => {
                    let woken = shared.changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Asks for one list and takes it into use.
    fn fetch(&self, job: &mut Job) -> Result<(), String> {
        let source = job.source.as_mut().map_err(|why| format!("{}: {why}", job.slot.uri))?;
        match source.fetch()? {
            Answer::Unchanged => Ok(()),
            Answer::Body { body, etag } => {
                let refused = |why: &str| format!("{}: {why}", job.slot.uri);
                let text = std::str::from_utf8(&body).map_err(|_| refused("is not UTF-8"))?;
                let Some(lists) = self.lists.upgrade() else { return Ok(()) };
                let taken = lists.take_fetched(text, &job.slot);
                taken.map_err(|error| {
                    if error.code() == KidUnknown {
                        self.keys.report_unknown(error.detail());
                    }
                    refused(&error.to_string())
                })?;
                source.remember(body, etag);
                Ok(())
            }
        }
    }
}

/// Whoever waits for a list shall not wait for a thread that is gone.
impl Drop for Fetcher {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_over = true;
        let wanted = state.wanted.drain(..);
        wanted.chain(self.jobs.drain(..).map(|job| job.slot)).for_each(|slot| slot.asked.end());
        self.shared.changed.notify_all();
    }
}
