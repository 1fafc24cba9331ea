//! The state that a verifier shares with a fetching thread: the thread's work, and demands to do
//! all of it now.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) struct Shared<Work> {
    state: Mutex<State<Work>>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct State<Work> {
    pub(super) work: Work,
    /// The number of demands to do all work now, and the number of met ones.
    pub(super) demanded: u64,
    pub(super) met: u64,
    pub(super) is_over: bool,
}

impl<Work> Shared<Work> {
    pub(super) fn state(&self) -> MutexGuard<'_, State<Work>> {
        // No holder of the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all threads that wait for a change of the state.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until the state changes, or for at most this time.
    pub(super) fn wait<'s>(
        &'s self,
        state: MutexGuard<'s, State<Work>>,
        at_most: Option<Duration>,
    ) -> MutexGuard<'s, State<Work>> {
        match at_most {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                let woken = self.changed.wait_timeout(state, time);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Demands all work now, and waits for it.
    pub(super) fn demand(&self) {
        let mut state = self.state();
        state.demanded = state.demanded.saturating_add(1);
        let demand = state.demanded;
        self.notify();
        let is_early = |state: &mut State<Work>| state.met < demand && !state.is_over;
        drop(self.changed.wait_while(state, is_early));
    }

    /// Ends the work.
    pub(super) fn end(&self) {
        self.state().is_over = true;
        self.notify();
    }
}

/// The verifier's end of a thread. Dropping it ends the thread.
pub(super) struct Owner<Work>(Arc<Shared<Work>>);

impl<Work: Default + Send + 'static> Owner<Work> {
    pub(super) fn start(
        name: &str,
        run: impl FnOnce(Arc<Shared<Work>>) + Send + 'static,
    ) -> Result<Self, String> {
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(thread))
            .map_err(|error| format!("no thread can be started: {error}"))?;
        Ok(Self(shared))
    }
}

impl<Work> Deref for Owner<Work> {
    type Target = Shared<Work>;
    fn deref(&self) -> &Shared<Work> {
        &self.0
    }
}

impl<Work> Drop for Owner<Work> {
    fn drop(&mut self) {
        self.end();
    }
}
