//! The thread that learns of a revocation when it happens.
//!
//! # Design
//!
//! With the credential of its check-ins, a data plane may wait at the control plane for another
//! status list (`Prefer: wait`, RFC 7240 §4.3). This thread waits for the list of the data plane's
//! own token. Tokens that requests bring, and lease tokens, do not lead it to another list. The
//! other thread fetches all lists as without a credential, so a control plane, proxy or cache that
//! does not wait costs one more request each five minutes. The credential is sent to the server of
//! the check-ins only.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ureq::tls::TlsConfig;

use super::keys::Refresher;
use super::list_import;
use super::shared::{Owner, Shared};
use super::source::{STATUS_LIST, Source, is_same_server};
use crate::status_list::{Slot, StatusLists};

/// The minimum time between two requests, for any server.
const PAUSE: Duration = Duration::from_secs(1);
/// The time until the next request to a server that does not wait.
const UNAPPLIED: Duration = Duration::from_secs(300);

/// The verifier's end of the thread.
pub(super) struct ListWatcher {
    shared: Owner<Work>,
}

#[derive(Default)]
struct Work {
    /// The list to watch, once.
    wanted: Option<Arc<Slot>>,
    /// The list that was last wanted.
    last: Option<Arc<Slot>>,
}

struct Watcher {
    shared: Arc<Shared<Work>>,
    lists: Weak<StatusLists>,
    keys: Arc<Refresher>,
    tls: Option<TlsConfig>,
    cooldown: Duration,
    /// The URL of the check-ins, and the header `Authorization`.
    check_in: (String, String),
}

impl ListWatcher {
    pub(super) fn start(
        (lists, keys, tls): (Weak<StatusLists>, Arc<Refresher>, Option<TlsConfig>),
        cooldown: Duration,
        check_in: (String, String),
    ) -> Result<Self, String> {
        let shared = Owner::start("dp-verifier-watch", move |shared| {
            Watcher { shared, lists, keys, tls, cooldown, check_in }.run();
        })?;
        Ok(Self { shared })
    }

    /// Watches this list instead of the one before.
    pub(super) fn watch(&self, slot: &Arc<Slot>) {
        let mut state = self.shared.state();
        if !state.work.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, slot)) {
            state.work.wanted = Some(Arc::clone(slot));
            state.work.last = Some(Arc::clone(slot));
            self.shared.notify();
        }
    }
}

impl Watcher {
    fn run(self) {
        let (mut watched, mut due) = (None, None);
        while let Some(wanted) = self.next(due) {
            if let Some(slot) = wanted {
                watched = self.source(&slot).map(|source| (slot, source));
            }
            let Some((slot, source)) = &mut watched else {
                due = None;
                continue;
            };
            let pause = match list_import::fetch(source, slot, &self.lists, &self.keys) {
                // The other thread reports errors.
                Err(_) => self.cooldown.max(PAUSE),
                // A list that changed between two requests is a reason to answer at once.
                Ok(()) if source.has_changed() || source.has_waited() => PAUSE,
                Ok(()) => UNAPPLIED,
            };
            due = Instant::now().checked_add(pause);
        }
    }

    /// Waits for another list to watch, or until this time. Returns `None` when the verifier was
    /// dropped.
    fn next(&self, due: Option<Instant>) -> Option<Option<Arc<Slot>>> {
        let mut state = self.shared.state();
        loop {
            if state.is_over {
                return None;
            }
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            let wanted = state.work.wanted.take();
            if wanted.is_some() || left.is_some_and(|left| left.is_zero()) {
                return Some(wanted);
            }
            state = self.shared.wait(state, left);
        }
    }

    fn source(&self, slot: &Slot) -> Option<Source> {
        let (url, authorization) = &self.check_in;
        if !is_same_server(url, &slot.uri) {
            return None;
        }
        let source = Source::new(&slot.uri, self.tls.clone(), STATUS_LIST).ok()?;
        Some(source.waiting(authorization.clone()))
    }
}
