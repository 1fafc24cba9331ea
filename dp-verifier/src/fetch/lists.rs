//! The thread that fetches status lists.
//!
//! The thread fetches a list once a genuine token names its URL, which must be the issuer's.
//! Nothing else opens a connection. The thread sends one request at a time, and for each list one
//! per `ttl`, or one per cooldown while the list fails. With a credential, `watch.rs` learns of
//! changes of the own license's list sooner.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ureq::tls::TlsConfig;

use super::credential::Credential;
use super::keys::Refresher;
use super::list_import;
use super::shared::{Owner, Shared};
use super::source::{STATUS_LIST, Source};
use super::watch::ListWatcher;
use crate::status_list::{Slot, StatusLists};

/// The bounds of the time between two requests for a list, for any `ttl`, in seconds.
const TTL: std::ops::RangeInclusive<u64> = 1..=86_400;

/// The verifier's end of the thread.
pub(crate) struct ListFetcher {
    shared: Owner<Work>,
    /// `None` without a credential.
    watcher: Option<ListWatcher>,
}

impl ListFetcher {
    /// Starts the thread, and that which watches the own license's list with the credential of these
    /// check-ins.
    pub(super) fn start(
        lists: &Arc<StatusLists>,
        keys: Arc<Refresher>,
        tls: Option<TlsConfig>,
        cooldown: Duration,
        check_in: Option<&(String, Credential)>,
    ) -> Result<Self, String> {
        let lists = Arc::downgrade(lists);
        let watcher = check_in.map(|(url, credential)| {
            let watched = (Weak::clone(&lists), Arc::clone(&keys), tls.clone());
            ListWatcher::start(watched, cooldown, (url.clone(), credential.header()))
        });
        let watcher = watcher.transpose()?;
        let shared = Owner::start("dp-verifier-lists", move |shared| {
            Fetcher { shared, lists, keys, tls, cooldown, heard: 0, jobs: Vec::new() }.run();
        })?;
        Ok(Self { shared, watcher })
    }

    /// Fetches all lists now and waits for the outcome.
    pub(crate) fn refresh_now(&self) {
        self.shared.demand();
    }

    /// Returns the error of the last requests, or `None` when all succeeded.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.shared.state().work.errors.first().cloned()
    }

    /// Starts to fetch a list, once.
    pub(crate) fn want(&self, slot: &Arc<Slot>) {
        if slot.first_request.claim() {
            let mut state = self.shared.state();
            match state.is_over {
                true => slot.first_request.end(),
                false => state.work.wanted.push(Arc::clone(slot)),
            }
            self.shared.notify();
        }
    }

    /// Watches this list, that of the data plane's own license, instead of the one before. Does nothing
    /// without a credential.
    pub(crate) fn watch(&self, slot: &Arc<Slot>) {
        if let Some(watcher) = &self.watcher {
            watcher.watch(slot);
        }
    }
}

#[derive(Default)]
struct Work {
    /// Lists that are new to the thread.
    wanted: Vec<Arc<Slot>>,
    /// The errors of the last requests.
    errors: Vec<String>,
}

/// The state of the thread.
struct Fetcher {
    shared: Arc<Shared<Work>>,
    /// A weak reference, so that a dropped verifier releases its state file at once.
    lists: Weak<StatusLists>,
    keys: Arc<Refresher>,
    tls: Option<TlsConfig>,
    cooldown: Duration,
    /// The number of demands that the thread has begun to meet.
    heard: u64,
    jobs: Vec<Job>,
}

struct Job {
    slot: Arc<Slot>,
    source: Result<Source, String>,
    due: Instant,
    /// The number of demands that had been heard before the last request.
    heard: u64,
    error: Option<String>,
}

impl Fetcher {
    fn run(mut self) {
        while let Some(index) = self.next_due() {
            let Some(mut job) = (index < self.jobs.len()).then(|| self.jobs.swap_remove(index))
            else {
                continue;
            };
            job.heard = self.heard;
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
            self.shared.state().work.errors = errors;
            if let Some(job) = self.jobs.last() {
                job.slot.first_request.end();
            }
        }
    }

    /// Waits until a list is due. Returns `None` when the verifier was dropped.
    fn next_due(&mut self) -> Option<usize> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        loop {
            if state.is_over {
                return None;
            }
            let now = Instant::now();
            for slot in state.work.wanted.drain(..) {
                let source = Source::new(&slot.uri, self.tls.clone(), STATUS_LIST);
                self.jobs.push(Job { slot, source, due: now, heard: 0, error: None });
            }
            if self.heard < state.demanded {
                self.heard = state.demanded;
                self.jobs.iter_mut().for_each(|job| job.due = now);
            }
            // Every list was requested since the demand. Failing lists may be due again already, so a demand
            // that waits until no list is due may never be met.
            if state.met < self.heard && self.jobs.iter().all(|job| job.heard >= self.heard) {
                state.met = self.heard;
                shared.notify();
            }
            let next = self.jobs.iter().enumerate().min_by_key(|(_, job)| job.due);
            let next = next.map(|(index, job)| (index, job.due.saturating_duration_since(now)));
            if let Some((index, left)) = next
                && left.is_zero()
            {
                return Some(index);
            }
            state = shared.wait(state, next.map(|(_, left)| left));
        }
    }

    fn fetch(&self, job: &mut Job) -> Result<(), String> {
        let source = job.source.as_mut().map_err(|why| format!("{}: {why}", job.slot.uri))?;
        list_import::fetch(source, &job.slot, &self.lists, &self.keys)
    }
}

/// Wakes all tasks that wait for a list, also when the thread ends by a panic.
impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.end();
        let wanted = std::mem::take(&mut self.shared.state().work.wanted);
        let slots = wanted.into_iter().chain(self.jobs.drain(..).map(|job| job.slot));
        slots.for_each(|slot| slot.first_request.end());
    }
}
