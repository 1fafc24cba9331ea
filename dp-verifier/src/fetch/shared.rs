//! The state that a verifier shares with a thread: the thread's work, and demands to do all of it
//! now.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) struct Shared<Work> {
    state: Mutex<State<Work>>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct State<Work> {
    pub(crate) work: Work,
    /// The number of demands to do all work now, and the number of met ones.
    pub(crate) demanded: u64,
    pub(crate) met: u64,
    pub(crate) is_over: bool,
}

impl<Work: Default> Default for Shared<Work> {
    fn default() -> Self {
        Self { state: Mutex::new(State::default()), changed: Condvar::new() }
    }
}

impl<Work> Shared<Work> {
    pub(crate) fn state(&self) -> MutexGuard<'_, State<Work>> {
        // No holder of the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all threads that wait for a change of the state.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until the state changes, or for at most this time.
    pub(crate) fn wait<'s>(
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
    pub(crate) fn demand(&self) {
        let mut state = self.state();
        state.demanded = state.demanded.saturating_add(1);
        let demand = state.demanded;
        self.notify();
        let is_early = |state: &mut State<Work>| state.met < demand && !state.is_over;
        drop(self.changed.wait_while(state, is_early));
    }

    /// Ends the work.
    pub(crate) fn end(&self) {
        self.state().is_over = true;
        self.notify();
    }
}

/// The verifier's end of a thread. Dropping it ends the thread.
pub(crate) struct Owner<Work>(Arc<Shared<Work>>);

impl<Work: Default + Send + 'static> Owner<Work> {
    pub(crate) fn start(
        name: &str,
        run: impl FnOnce(Arc<Shared<Work>>) + Send + 'static,
    ) -> Result<Self, String> {
        let shared = Arc::<Shared<Work>>::default();
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
