//! Work on threads of this module, and errors.
//!
//! # Design
//!
//! The work waits for the network, up to some seconds. The pool of libuv has four threads by default, and all
//! of Node's file system and name look-ups use it. So four requests to a slow control plane would stop these. The
//! work has threads of its own, which end when they are idle.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dp_verifier_bindings::{Failure, guarded};
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, Error, Result};

/// The maximum number of threads. Further work waits for a free one.
const MAX_THREADS: usize = 16;

/// The time after which an idle thread ends.
const IDLE: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

static POOL: Pool = Pool {
    state: Mutex::new(State { queue: VecDeque::new(), threads: 0, idle: 0 }),
    changed: Condvar::new(),
};

struct Pool {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    queue: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        // No holder of the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs work on a thread.
    fn run(&'static self, work: Work) {
        let mut state = self.state();
        state.queue.push_back(work);
        if state.idle >= state.queue.len() || state.threads >= MAX_THREADS {
            self.changed.notify_one();
            return;
        }
        let thread = std::thread::Builder::new().name("dp-verifier-node".to_owned());
        match thread.spawn(|| self.serve()) {
            Ok(_) => state.threads = state.threads.saturating_add(1),
            Err(_) if state.threads > 0 => {}
            // Without any thread, the work is late but done: a promise must end.
            Err(_) => {
                let work = state.queue.pop_back();
                drop(state);
                work.into_iter().for_each(|work| work());
            }
        }
    }

    fn serve(&self) {
        let mut state = self.state();
        loop {
            if let Some(work) = state.queue.pop_front() {
                drop(state);
                // A panic must not end the thread.
                drop(guarded(|| {
                    work();
                    Ok(())
                }));
                state = self.state();
                continue;
            }
            state.idle = state.idle.saturating_add(1);
            let woken = self.changed.wait_timeout(state, IDLE);
            let (woken, time) = woken.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle = state.idle.saturating_sub(1);
            if time.timed_out() && state.queue.is_empty() {
                state.threads = state.threads.saturating_sub(1);
                return;
            }
        }
    }
}

/// Runs a function on a thread. Returns a promise of its result.
pub(crate) fn job<'e, T: ToNapiValue + Send + 'static>(
    env: &'e Env,
    work: impl FnOnce() -> std::result::Result<T, Failure> + Send + 'static,
) -> Result<Object<'e>> {
    let (deferred, promise) = env.create_deferred::<T, Box<dyn FnOnce(Env) -> Result<T>>>()?;
    let run = move || match guarded(work) {
        Ok(value) => deferred.resolve(Box::new(move |_| Ok(value))),
        Err(failure) => deferred.reject(error(failure)),
    };
    POOL.run(Box::new(run));
    Ok(promise)
}

/// Drops a value on a thread, because the drop may wait for the network.
pub(crate) fn drop_later<T: Send + 'static>(value: T) {
    POOL.run(Box::new(move || drop(value)));
}

/// Returns the error of a failure: its JSON.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes values")]
pub(crate) fn error(failure: Failure) -> Error {
    Error::from_reason(failure.to_json().to_string())
}

/// Reads a whole number. Node converts NaN to 0 and rounds fractions, so a faulty count would admit too much.
pub(crate) fn whole(name: &str, number: f64) -> Result<i64> {
    // Numbers of JavaScript are exact up to 2^53.
    let is_exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "the number is whole and small enough")]
    let whole = number as i64;
    let invalid = || Failure::argument(format!("`{name}` must be a whole number up to 2^53"));
    is_exact.then_some(whole).ok_or_else(|| error(invalid()))
}

/// Reads a whole number of at least 0.
pub(crate) fn count(name: &str, number: f64) -> Result<u64> {
    let negative = |_| error(Failure::argument(format!("`{name}` must be at least 0")));
    u64::try_from(whole(name, number)?).map_err(negative)
}
