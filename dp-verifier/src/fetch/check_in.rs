//! The thread that checks in at the control plane, and so renews the data plane's token.
//!
//! # Design
//!
//! The server decides the time of the next check-in. The thread checks in earlier when the token in
//! use is refused for a reason that a new token could cure, once for each such refusal: a license
//! that is revoked for good must not cause a request each minute. The token in use is never
//! removed: it serves until its own end.
//!
//! The key of a new token may be missing, because the issuer's key set could not be fetched. The thread
//! keeps such a token and tries it again soon, without another request. So an outage of the key set
//! neither delays the token until the next check-in nor makes the server sign once more.
//!
//! Times of the server are differences to its own clock, so a wrong clock of this machine shifts no
//! check-in.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use cp_contracts::{CheckIn, CheckInCode};
use serde_json::Value;
use ureq::http::Method;

use super::api::{Api, ApiError};
use super::shared::{Owner, Shared};
use crate::{ErrorCode, counts};

/// The bounds of the time to the next check-in, for any response: the server names at most 12 hours
/// and a tenth.
const NEXT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(48_000));

/// The maximum time in which the server signs nothing after a check-in.
const MAX_QUIET: Duration = Duration::from_secs(3_600);

/// The bounds of the time between two attempts while they fail.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3_600));

/// The time after which the thread looks at the clock and the token again. A machine that was
/// suspended did not count the time.
const GLANCE: Duration = Duration::from_secs(60);

/// The time in which one refusal of the token in use wakes the thread.
const NUDGES: Duration = Duration::from_secs(1);

/// The health of the check-in, for health checks and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckInHealth {
    /// The time of the last response, in seconds since 1970. `None` before the first one.
    pub checked_in_at: Option<i64>,
    /// The server's last judgement of the license.
    pub code: Option<CheckInCode>,
    /// The time of the next check-in, in seconds since 1970.
    pub next_at: Option<i64>,
    /// The error of the last attempt, or `None` when it succeeded.
    pub last_error: Option<String>,
    /// The number of attempts.
    pub attempts: u64,
}

/// The refusal of the token in use: the token's text, and the code.
pub(crate) type Complaint = (Arc<String>, ErrorCode);

/// The owner of the token, which the thread serves. `None` from a function ends the thread: the
/// verifier was dropped.
pub(crate) trait TokenOwner: Send + 'static {
    /// Returns the current time, in seconds since 1970.
    fn now(&self) -> Option<i64>;

    /// Returns the refusal of the token in use that a new token could cure.
    fn complaint(&self) -> Option<Option<Complaint>>;

    /// Returns the body of a request.
    fn request(&self) -> Option<Value>;

    /// Uses a new token.
    fn adopt(&self, token: &str) -> Option<Result<(), NotAdopted>>;
}

/// The reason why a new token is not used.
pub(crate) enum NotAdopted {
    /// The token is refused.
    Refused(String),
    /// The token's key is not known yet.
    Unjudged(String),
}

/// The verifier's end of the thread.
pub(crate) struct CheckInThread {
    shared: Owner<Work>,
}

#[derive(Default)]
struct Work {
    health: CheckInHealth,
    /// Whether the token in use was refused since the last look.
    is_nudged: bool,
    /// The time of the last such report that counts.
    nudged_at: Option<Instant>,
}

impl CheckInThread {
    /// Starts the thread. It does not check in before the first [`demand`](Self::demand).
    pub(crate) fn start(api: Api, path: String, owner: impl TokenOwner) -> Result<Self, String> {
        let shared = Owner::start("dp-verifier-check-in", move |shared| {
            let due = None;
            let thread = Thread {
                shared,
                api,
                path,
                owner,
                due,
                quiet_until: None,
                failures: 0,
                cured: None,
                pending: None,
            };
            thread.run();
        })?;
        Ok(Self { shared })
    }

    /// Demands a check-in now.
    pub(crate) fn demand(&self) {
        let mut state = self.shared.state();
        state.demanded = state.demanded.saturating_add(1);
        self.shared.notify();
    }

    /// Checks in now, and waits for the outcome.
    pub(crate) fn check_in_now(&self) {
        self.shared.demand();
    }

    /// Reports that the token in use was refused. An app may do so with every request, so only one
    /// report in a second wakes the thread.
    pub(crate) fn nudge(&self) {
        let mut state = self.shared.state();
        let is_recent = |at: Instant| at.elapsed() < NUDGES;
        if !state.work.nudged_at.is_some_and(is_recent) {
            state.work.nudged_at = Some(Instant::now());
            state.work.is_nudged = true;
            self.shared.notify();
        }
    }

    pub(crate) fn health(&self) -> CheckInHealth {
        self.shared.state().work.health.clone()
    }
}

/// The state of the thread.
struct Thread<O> {
    shared: Arc<Shared<Work>>,
    api: Api,
    path: String,
    owner: O,
    /// `None` before the first check-in.
    due: Option<Due>,
    /// The end of the time in which only a demand causes a check-in.
    quiet_until: Option<Instant>,
    /// The number of failures since the last success.
    failures: u32,
    /// The refusal for which the thread has checked in.
    cured: Option<Complaint>,
    /// The new token whose key is not known yet.
    pending: Option<Pending>,
}

struct Pending {
    token: String,
    /// The time of the next regular check-in, which brings another token.
    until: Instant,
}

/// The time of the next check-in, by both clocks: a suspended machine stops the second one.
#[derive(Clone, Copy)]
struct Due {
    at: i64,
    instant: Instant,
}

impl<O: TokenOwner> Thread<O> {
    fn run(mut self) {
        while let Some(demand) = self.next() {
            let complaint = self.owner.complaint().flatten();
            let outcome = self.check_in();
            counts::checked_in(match &outcome {
                Ok(Answer { refused: Some(_), .. }) => Err("token_refused"),
                Ok(answer) => Ok(&answer.code),
                Err(_) => Err("failed"),
            });
            let Some(now) = self.owner.now() else { return };
            let (wait, quiet) = match &outcome {
                Ok(Answer { next, quiet, .. }) if self.pending.is_none() => {
                    self.failures = 0;
                    self.cured = complaint;
                    (*next, *quiet)
                }
                outcome => {
                    let retry_after = outcome.as_ref().err().and_then(|failed| failed.retry_after);
                    let pause = self.backoff(retry_after);
                    self.failures = self.failures.saturating_add(1);
                    (pause, pause)
                }
            };
            let instant = Instant::now();
            let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
            let at = now.saturating_add(seconds);
            self.due = instant.checked_add(wait).map(|instant| Due { at, instant });
            self.quiet_until = instant.checked_add(quiet);
            let mut state = self.shared.state();
            let health = &mut state.work.health;
            health.attempts = health.attempts.saturating_add(1);
            health.next_at = Some(at);
            match outcome {
                Ok(answer) => {
                    health.checked_in_at = Some(now);
                    health.code = Some(answer.code);
                    health.last_error = answer.refused;
                }
                Err(failure) => health.last_error = Some(failure.why),
            }
            state.met = state.met.max(demand);
            self.shared.notify();
        }
    }

    /// Waits until a check-in is due. Returns the demands that it meets, or `None` when the
    /// verifier was dropped.
    fn next(&self) -> Option<u64> {
        let mut state = self.shared.state();
        loop {
            if state.is_over {
                return None;
            }
            if state.met < state.demanded {
                return Some(state.demanded);
            }
            let met = state.met;
            state.work.is_nudged = false;
            // The verifier must not be asked under the lock, which its functions use.
            drop(state);
            if self.is_due()? {
                return Some(met);
            }
            let now = Instant::now();
            let left = self.due.map(|due| due.instant.saturating_duration_since(now));
            state = self.shared.state();
            if !state.is_over && !state.work.is_nudged && state.met == state.demanded {
                state = self.shared.wait(state, Some(left.unwrap_or(GLANCE).min(GLANCE)));
            }
        }
    }

    fn is_due(&self) -> Option<bool> {
        // The first check-in is demanded.
        let Some(due) = self.due else { return Some(false) };
        // Both terms of `at` lack a fraction of a second. Before the server's time a check-in could be in
        // vain.
        if self.owner.now()? >= due.at.saturating_add(2) || Instant::now() >= due.instant {
            return Some(true);
        }
        let is_quiet = self.quiet_until.is_some_and(|until| Instant::now() < until);
        let complaint = self.owner.complaint()?;
        Some(!is_quiet && complaint.is_some() && complaint != self.cured)
    }

    fn check_in(&mut self) -> Result<Answer, Failure> {
        let gone = || Failure::because("the verifier was dropped");
        if let Some(pending) = self.pending.take()
            && Instant::now() < pending.until
            && let Err(NotAdopted::Unjudged(why)) =
                self.owner.adopt(&pending.token).ok_or_else(gone)?
        {
            self.pending = Some(pending);
            return Err(Failure::because(&why));
        }
        let body = self.owner.request().ok_or_else(gone)?;
        let response = self.api.send::<CheckIn>(&Method::POST, &self.path, &body);
        let empty = || Failure::because("the response to the check-in is empty");
        let response = response.map_err(Failure::of)?.ok_or_else(empty)?;
        let after = |at: DateTime<Utc>| {
            let wait = at.signed_duration_since(response.server_time);
            wait.to_std().unwrap_or_default()
        };
        let (next, quiet) = (after(response.next_check_in_at), after(response.not_before));
        let (next, quiet) = (next.clamp(NEXT.0, NEXT.1), quiet.min(MAX_QUIET));
        let refused = match response.bundle {
            None => None,
            Some(bundle) => match self.owner.adopt(&bundle.token).ok_or_else(gone)? {
                Ok(()) => None,
                Err(NotAdopted::Refused(why)) => Some(why),
                Err(NotAdopted::Unjudged(why)) => {
                    let until = Instant::now().checked_add(next);
                    self.pending = until.map(|until| Pending { token: bundle.token, until });
                    Some(why)
                }
            },
        };
        Ok(Answer { code: response.code, next, quiet, refused })
    }

    /// Returns the time until the next attempt after a failure: twice that of the failure before,
    /// and up to a quarter more at random, so that data planes do not return together.
    fn backoff(&self, retry_after: Option<Duration>) -> Duration {
        let doubled = BACKOFF.0.saturating_mul(2_u32.saturating_pow(self.failures.min(16)));
        let pause = doubled.min(BACKOFF.1.mul_f64(0.8));
        let random = u32::try_from(RandomState::new().hash_one(0) & 0xff).unwrap_or_default();
        let jittered = pause.mul_f64(1.0 + f64::from(random) / 1_024.0);
        jittered.max(retry_after.unwrap_or_default())
    }
}

/// Wakes the threads that wait for a demand, also when the thread ends by a panic.
impl<O> Drop for Thread<O> {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// The result of a check-in.
struct Answer {
    code: CheckInCode,
    next: Duration,
    quiet: Duration,
    /// The reason why the new token is not used.
    refused: Option<String>,
}

/// The reason why a check-in has no result.
struct Failure {
    why: String,
    retry_after: Option<Duration>,
}

impl Failure {
    fn because(why: &str) -> Self {
        Self { why: why.to_owned(), retry_after: None }
    }

    fn of(error: ApiError) -> Self {
        let retry_after = match &error {
            ApiError::Refused(refusal) => refusal.retry_after,
            ApiError::Unreachable(_) => None,
        };
        Self { why: error.to_string(), retry_after }
    }
}
