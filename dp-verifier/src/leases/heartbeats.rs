//! The thread that sends heartbeats and releases.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use cp_contracts::{Lease, LeaseState, ProblemCode};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use ureq::http::Method;

use super::lease_clock::LeaseClock;
use super::schedule::{Job, Schedule};
use super::tenure::{Tenure, end_of, names_license};
use crate::ErrorCode::{LeaseExpired, LeaseOver};
use crate::fetch::{Api, ApiError, Refusal, Shared, State};

/// The bounds of the time in which no heartbeat or release is sent after a failed request.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The time after which a heartbeat is sent again that was refused for a reason of its own, in
/// seconds: after a conflict with another request, and otherwise.
const RETRY: (i64, i64) = (5, 30);

/// The bounds of the time after which a heartbeat is sent again of a lease that the server does not
/// know, in seconds: a quarter of the time to its end.
const UNKNOWN_RETRY: (i64, i64) = (30, 3_600);

/// The time for which the thread repeats refused releases after the app has dropped the client.
const LAST_RELEASES: Duration = Duration::from_secs(300);

/// The time after which the thread looks at the clock again. A machine that was suspended did not
/// count the time.
const GLANCE: Duration = Duration::from_secs(30);

/// The state of the thread.
pub(super) struct Heartbeats<H> {
    shared: Arc<Shared<Schedule<H>>>,
    api: Arc<Api>,
    clock: Arc<LeaseClock>,
    pause: Pause,
    /// Whether a heartbeat comes before the next claim or release. They alternate, so that many claims
    /// delay no heartbeat beyond the end of its lease.
    owes_heartbeat: bool,
    /// The time at which the thread ends despite refused releases, after the app has dropped the
    /// client.
    ends_at: Option<Instant>,
}

/// The time in which no heartbeat or release is sent, because a request failed.
#[derive(Default)]
struct Pause {
    until: Option<Instant>,
    /// The end of the shorter time in which no new release is sent.
    rest_until: Option<Instant>,
    /// The number of failures since the last success.
    failures: u32,
    /// The number of demands that have ended a pause.
    heard: u64,
}

/// The next work of the thread.
enum Task {
    /// A release, and the number of its refusals.
    Release(Arc<Tenure>, u32),
    Job(Job),
    Heartbeat(Arc<Tenure>),
}

impl<H> Heartbeats<H> {
    pub(super) fn new(
        shared: Arc<Shared<Schedule<H>>>,
        api: Arc<Api>,
        clock: Arc<LeaseClock>,
    ) -> Self {
        let pause = Pause::default();
        Self { shared, api, clock, pause, owes_heartbeat: false, ends_at: None }
    }

    pub(super) fn run(mut self) {
        while let Some(task) = self.next() {
            match task {
                Task::Release(tenure, refusals) => self.release(tenure, refusals),
                Task::Job(job) => job(),
                Task::Heartbeat(tenure) => self.heartbeat(&tenure),
            }
        }
    }

    /// Waits until there is work. Returns `None` when the app has dropped all leases, and all of
    /// them are released.
    fn next(&mut self) -> Option<Task> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        loop {
            let now = self.clock.now();
            let ended = state.work.take_ended(now);
            if !ended.is_empty() {
                // A woken task may drop a lease, which needs the lock.
                drop(state);
                ended.iter().for_each(|tenure| tenure.lose(LeaseExpired, None));
                state = shared.state();
                continue;
            }
            if self.pause.heard < state.demanded {
                self.pause.heard = state.demanded;
                self.pause.until = None;
            }
            let paused = self.pause.left();
            let release_in = match state.work.has_new_release {
                true => self.pause.rest(),
                false => paused,
            };
            let may_beat = paused.is_none() && !state.is_over;
            if may_beat
                && std::mem::take(&mut self.owes_heartbeat)
                && let Some(tenure) = state.work.take_due(now)
            {
                return Some(Task::Heartbeat(tenure));
            }
            if (release_in.is_none() || state.is_over)
                && let Some((tenure, refusals)) = state.work.take_release(now)
            {
                self.owes_heartbeat = true;
                return Some(Task::Release(tenure, refusals));
            }
            if state.is_over {
                let left = self.left_for_releases(state.work.release_in())?;
                state = shared.wait(state, Some(left));
                continue;
            }
            if let Some(job) = state.work.jobs.pop_front() {
                self.owes_heartbeat = true;
                return Some(Task::Job(job));
            }
            if may_beat && let Some(tenure) = state.work.take_due(now) {
                return Some(Task::Heartbeat(tenure));
            }
            if state.met < self.pause.heard {
                state.met = self.pause.heard;
                shared.notify();
            }
            let wait = self.wait(&state, now, paused, release_in);
            state = shared.wait(state, Some(wait));
        }
    }

    /// Returns the time until the next release of a client that the app has dropped, or `None` when the
    /// thread must end.
    fn left_for_releases(&mut self, release_in: Option<Duration>) -> Option<Duration> {
        let now = Instant::now();
        let ends_at = match self.ends_at {
            Some(at) => at,
            None => *self.ends_at.insert(now.checked_add(LAST_RELEASES)?),
        };
        let left = ends_at.saturating_duration_since(now);
        let release_in = release_in.filter(|_| !left.is_zero())?;
        Some(release_in.clamp(Duration::from_millis(10), left.max(Duration::from_millis(10))))
    }

    /// Returns the time until there may be work.
    fn wait(
        &self,
        state: &MutexGuard<'_, State<Schedule<H>>>,
        now: i64,
        paused: Option<Duration>,
        release_in: Option<Duration>,
    ) -> Duration {
        let until = |at: i64| {
            let seconds = u64::try_from(at.saturating_sub(now)).unwrap_or_default();
            Duration::from_secs(seconds)
        };
        let end = state.work.first_end().map(until);
        let due = state.work.first_due().map(until);
        let due = due.map(|due| due.max(paused.unwrap_or_default()));
        let release = state.work.release_in().map(|time| time.max(release_in.unwrap_or_default()));
        let first = end.into_iter().chain(due).chain(release).min().unwrap_or(GLANCE);
        // A time in full seconds may be due a little later than it seems.
        first.clamp(Duration::from_millis(100), GLANCE)
    }

    fn heartbeat(&mut self, tenure: &Arc<Tenure>) {
        let path = format!("/leases/{}", tenure.id);
        let body = json!({ "holder": tenure.holder });
        let answer = self.api.send::<Lease>(&Method::PUT, &path, &body);
        match answer {
            Ok(Some(lease)) if lease.id == tenure.id && lease.state != LeaseState::Over => {
                if let Some((at, not_before)) = tenure.renew(lease) {
                    self.clock.note_heartbeat(at, not_before);
                }
                self.succeed();
                self.shared.state().work.place(tenure.id, self.clock.now());
            }
            Ok(Some(lease)) if lease.id == tenure.id => self.lose(tenure, None),
            Ok(_) => self.fail(tenure, None),
            Err(ApiError::Unreachable(_)) => self.fail(tenure, None),
            Err(ApiError::Refused(refusal)) => self.refused(tenure, *refusal),
        }
    }

    fn refused(&mut self, tenure: &Arc<Tenure>, refusal: Refusal) {
        let now = self.clock.now();
        if let Some(until) = borrowed_until(&refusal).filter(|until| until.timestamp() > now) {
            tenure.note_borrowing(until);
            self.succeed();
            self.shared.state().work.place(tenure.id, now);
            return;
        }
        // A server that was restored from a backup does not know the newest leases. It gives their seats
        // to no other holder before a ttl has passed.
        if *refusal.code() == ProblemCode::NotFound
            && refusal.problem.field.is_none()
            && let Some(end) = end_of(&tenure.lease())
        {
            tenure.fail();
            let left = end.saturating_sub(now).checked_div(4).unwrap_or_default();
            let due = now.saturating_add(left.clamp(UNKNOWN_RETRY.0, UNKNOWN_RETRY.1));
            self.shared.state().work.retry_at(tenure.id, due);
            return;
        }
        match refusal.code() {
            ProblemCode::LeaseOver | ProblemCode::NotFound => self.lose(tenure, Some(refusal)),
            _ if names_license(&refusal) => self.lose(tenure, Some(refusal)),
            // The credential was replaced, or the server is overloaded or restarting: for all
            // leases alike.
            _ if matches!(refusal.problem.status, 401 | 403 | 429 | 500..) => {
                self.fail(tenure, refusal.retry_after);
            }
            // The lease keeps its end: the cap was lowered, for example.
            _ => {
                tenure.fail();
                let pause = refusal.retry_after.and_then(|time| i64::try_from(time.as_secs()).ok());
                let is_conflict = *refusal.code() == ProblemCode::Conflict;
                let retry = if is_conflict { RETRY.0 } else { RETRY.1 };
                let due = now.saturating_add(pause.unwrap_or(retry).max(1));
                self.shared.state().work.retry_at(tenure.id, due);
            }
        }
    }

    fn lose(&self, tenure: &Tenure, refusal: Option<Refusal>) {
        self.shared.state().work.remove(tenure.id);
        tenure.lose(LeaseOver, refusal);
    }

    /// Pauses all heartbeats after a failed request.
    fn fail(&mut self, tenure: &Tenure, retry_after: Option<Duration>) {
        tenure.fail();
        self.pause.begin(retry_after);
        let now = self.clock.now();
        self.shared.state().work.retry_at(tenure.id, now);
    }

    fn succeed(&mut self) {
        self.pause.failures = 0;
        (self.pause.until, self.pause.rest_until) = (None, None);
    }

    fn release(&mut self, tenure: Arc<Tenure>, refusals: u32) {
        let path = tenure.release_path();
        match self.api.send::<IgnoredAny>(&Method::DELETE, &path, &Value::Null) {
            Err(ApiError::Unreachable(_)) => {
                self.pause.begin(None);
                let mut state = self.shared.state();
                match state.is_over {
                    // The app is about to end. Leases end by themselves, too.
                    true => state.work.clear_releases(),
                    false => state.work.releases.push_front(tenure),
                }
            }
            // A lease without an end keeps its seat until it is released.
            Err(ApiError::Refused(refusal)) if is_temporary(&refusal) => {
                if *refusal.code() != ProblemCode::Conflict {
                    self.pause.begin(refusal.retry_after);
                }
                let pause = pause_after(refusals).max(refusal.retry_after.unwrap_or_default());
                let refusals = refusals.saturating_add(1);
                self.shared.state().work.release_after(pause, tenure, refusals);
            }
            // The seat is free, or this data plane cannot free it.
            _ => self.succeed(),
        }
    }
}

impl Pause {
    /// Begins a pause.
    fn begin(&mut self, retry_after: Option<Duration>) {
        let retry_after = retry_after.unwrap_or_default().min(PAUSE.1);
        let pause = pause_after(self.failures).max(retry_after);
        self.failures = self.failures.saturating_add(1);
        let now = Instant::now();
        self.until = now.checked_add(pause);
        self.rest_until = now.checked_add(PAUSE.0.max(retry_after));
    }

    /// Returns the rest of the pause.
    fn left(&self) -> Option<Duration> {
        left(self.until)
    }

    /// Returns the time until a new release may be sent: the network may have returned in the pause,
    /// and a seat must be free soon after its last handle is dropped.
    fn rest(&self) -> Option<Duration> {
        left(self.rest_until)
    }
}

/// Returns the pause after this many earlier failures: twice as long as the one before, less up to a
/// quarter at random, so that data planes do not return together.
fn pause_after(failures: u32) -> Duration {
    let doubled = PAUSE.0.saturating_mul(2_u32.saturating_pow(failures.min(8)));
    let random = u32::try_from(RandomState::new().hash_one(0) & 0xff).unwrap_or_default();
    doubled.min(PAUSE.1).mul_f64(1.0 - f64::from(random) / 1_024.0)
}

/// Returns whether the same release may succeed later: the server is overloaded or restarting, or
/// another request changed the lease.
fn is_temporary(refusal: &Refusal) -> bool {
    matches!(refusal.problem.status, 429 | 500..) || *refusal.code() == ProblemCode::Conflict
}

/// Returns the end of the borrowing for which a heartbeat was refused.
fn borrowed_until(refusal: &Refusal) -> Option<DateTime<Utc>> {
    let until = refusal.problem.extra.get("borrowed_until")?.as_str()?;
    let is_borrowed = *refusal.code() == ProblemCode::LeaseBorrowed;
    DateTime::parse_from_rfc3339(until).ok().filter(|_| is_borrowed).map(|until| until.to_utc())
}

fn left(until: Option<Instant>) -> Option<Duration> {
    let left = until?.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

/// Releases everything that waits for the thread, also when it ends by a panic.
impl<H> Drop for Heartbeats<H> {
    fn drop(&mut self) {
        let jobs = {
            let mut state = self.shared.state();
            state.is_over = true;
            state.work.has_ended = true;
            std::mem::take(&mut state.work.jobs)
        };
        self.shared.notify();
        drop(jobs);
    }
}
