//! One tenure of a seat: its times, its state, and the tasks that wait for its end.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use chrono::{DateTime, Utc};
use cp_contracts::Lease;
use serde_json::Value;
use uuid::Uuid;

use super::lease_clock::LeaseClock;
use crate::ErrorCode::{self, LeaseExpired, LeaseOver};
use crate::fetch::Refusal;

/// The bounds of the time by which a heartbeat may be late before the state says so, in seconds: a
/// tenth of the time that is left for it.
const SLACK: (i64, i64) = (2, 60);

/// That time for a lease that lasts until its release, in seconds.
const LONG_SLACK: i64 = 3_600;

/// The state of a held lease.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LeaseState {
    /// The holder has the seat, and the last heartbeat succeeded.
    Held,
    /// The holder has the seat, and a heartbeat is missing: perhaps the network is gone. The lease
    /// ends at [`expires_at`](crate::HeldLease::expires_at) unless a heartbeat succeeds.
    Late,
    /// The holder has the seat until the end of the borrowing, and needs no heartbeat.
    Borrowed,
    /// The holder has no seat any more. The code is [`LeaseExpired`] when no heartbeat succeeded in
    /// time, and [`LeaseOver`] when the control plane refused the lease, with its refusal.
    ///
    /// [`LeaseExpired`]: ErrorCode::LeaseExpired
    /// [`LeaseOver`]: ErrorCode::LeaseOver
    Lost(ErrorCode, Option<Arc<Refusal>>),
}

impl LeaseState {
    /// Returns whether the holder has the seat.
    #[must_use]
    pub fn has_seat(&self) -> bool {
        !matches!(self, Self::Lost(..))
    }
}

/// A tenure, which the app's handles and the thread share.
pub(super) struct Tenure {
    pub(super) id: Uuid,
    /// The holder as requests spell it: the control plane shows a lease only to its holder.
    pub(super) holder: Value,
    state: Mutex<State>,
}

struct State {
    lease: Arc<Lease>,
    /// Whether the last heartbeat failed.
    is_failing: bool,
    lost: Option<(ErrorCode, Option<Arc<Refusal>>)>,
    /// The tasks that wait for the end, each by a number of its own.
    waiting: HashMap<u64, Waker>,
    numbers: u64,
}

impl Tenure {
    pub(super) fn new(lease: Lease, holder: Value) -> Self {
        let (id, lease) = (lease.id, Arc::new(lease));
        let waiting = HashMap::new();
        let state = State { lease, is_failing: false, lost: None, waiting, numbers: 0 };
        Self { id, holder, state: Mutex::new(state) }
    }

    /// Returns the lease of the last response.
    pub(super) fn lease(&self) -> Arc<Lease> {
        Arc::clone(&self.locked().lease)
    }

    /// Returns the path of the request that releases the lease. It names the holder's hash.
    pub(super) fn release_path(&self) -> String {
        let hash = self.lease().holder.hash.clone();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match hash.bytes().all(is_plain) {
            true => format!("/leases/{}?holder={hash}", self.id),
            false => format!("/leases/{}", self.id),
        }
    }

    /// Returns the state at `now`, by the clock of leases.
    pub(super) fn state_at(&self, now: i64) -> LeaseState {
        let state = self.locked();
        if let Some((code, refusal)) = &state.lost {
            return LeaseState::Lost(*code, refusal.clone());
        }
        let lease = &state.lease;
        match end_of(lease) {
            Some(end) if now >= end => LeaseState::Lost(LeaseExpired, None),
            _ if lease.borrowed_until.is_some() => LeaseState::Borrowed,
            _ if state.is_failing || now >= late_from(lease) => LeaseState::Late,
            _ => LeaseState::Held,
        }
    }

    /// Replaces the lease by that of a response. Returns the time of its heartbeat and the time before
    /// which another one changes nothing, if that heartbeat is new to this process.
    pub(super) fn renew(&self, lease: Lease) -> Option<(i64, i64)> {
        let mut state = self.locked();
        let is_new = state.lease.heartbeat_at != lease.heartbeat_at;
        let times = (lease.heartbeat_at.timestamp(), lease.not_before.timestamp());
        state.lease = Arc::new(lease);
        state.is_failing = false;
        is_new.then_some(times)
    }

    /// Notes that another request has borrowed the seat until this time, which is then the lease's
    /// end.
    pub(super) fn note_borrowing(&self, until: DateTime<Utc>) {
        let mut state = self.locked();
        let mut lease = Lease::clone(&state.lease);
        // The app itself may have borrowed the seat for longer meanwhile.
        let until = lease.borrowed_until.map_or(until, |known| known.max(until));
        (lease.borrowed_until, lease.expires_at) = (Some(until), Some(until));
        state.lease = Arc::new(lease);
        state.is_failing = false;
    }

    /// Notes a failed heartbeat.
    pub(super) fn fail(&self) {
        self.locked().is_failing = true;
    }

    /// Ends the lease for its holder. The first reason stays.
    pub(super) fn lose(&self, code: ErrorCode, refusal: Option<Refusal>) {
        let waiting = {
            let mut state = self.locked();
            state.lost.get_or_insert_with(|| (code, refusal.map(Arc::new)));
            std::mem::take(&mut state.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Wakes a task when the lease is lost. `number` is that of the same wait.
    fn wake_at_loss(&self, number: &mut Option<u64>, waker: &Waker) {
        let mut state = self.locked();
        if state.lost.is_some() {
            return;
        }
        let number = *number.get_or_insert_with(|| {
            state.numbers = state.numbers.wrapping_add(1);
            state.numbers
        });
        state.waiting.insert(number, waker.clone());
    }

    /// Ends a wait. A lease may last for months, and each request of an app may wait for its end.
    fn forget(&self, number: u64) {
        let waker = self.locked().waiting.remove(&number);
        drop(waker);
    }

    /// Returns whether the control plane may still count the seat as this holder's, and would accept
    /// its release.
    pub(super) fn needs_release(&self, now: i64) -> bool {
        match self.state_at(now) {
            LeaseState::Held | LeaseState::Late => true,
            LeaseState::Borrowed => false,
            // A license that is reinstated brings its leases back.
            LeaseState::Lost(code, refusal) => {
                code == LeaseOver && refusal.is_some_and(|refusal| names_license(&refusal))
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // No holder of the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The future that resolves when a lease is lost. It does not keep the seat.
pub(super) struct Loss {
    tenure: Arc<Tenure>,
    clock: Arc<LeaseClock>,
    number: Option<u64>,
}

impl Loss {
    pub(super) fn of(tenure: &Arc<Tenure>, clock: &Arc<LeaseClock>) -> Self {
        Self { tenure: Arc::clone(tenure), clock: Arc::clone(clock), number: None }
    }
}

impl Future for Loss {
    type Output = LeaseState;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<LeaseState> {
        let Self { tenure, clock, number } = &mut *self;
        // The task is registered before the state is read, so no end is missed.
        tenure.wake_at_loss(number, context.waker());
        match tenure.state_at(clock.now()) {
            state @ LeaseState::Lost(..) => Poll::Ready(state),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Loss {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.tenure.forget(number);
        }
    }
}

/// Returns whether a refusal concerns the license, not only one lease.
pub(super) fn names_license(refusal: &Refusal) -> bool {
    use cp_contracts::ProblemCode as Code;
    matches!(
        refusal.code(),
        Code::OrganizationSuspended
            | Code::DeploymentInactive
            | Code::SubscriptionInactive
            | Code::LicenseRevoked
            | Code::LicenseSuspended
            | Code::LicenseExpired
            | Code::LicenseNotYetValid
    )
}

/// Returns the end of a lease without another heartbeat, in seconds since 1970, rounded up: a lease
/// is never shorter than the control plane says.
pub(super) fn end_of(lease: &Lease) -> Option<i64> {
    let up = |at: DateTime<Utc>| {
        at.timestamp().saturating_add(i64::from(at.timestamp_subsec_nanos() > 0))
    };
    let [expires, borrowed] = [lease.expires_at, lease.borrowed_until].map(|at| at.map(up));
    // A borrowed lease lasts at least as long as its borrowing.
    expires.max(borrowed)
}

/// Returns the time from which on the heartbeat of a lease is late.
fn late_from(lease: &Lease) -> i64 {
    let next = lease.next_at.timestamp();
    let slack = match end_of(lease) {
        Some(end) => {
            let left = end.saturating_sub(next);
            left.checked_div(10).unwrap_or_default().clamp(SLACK.0, SLACK.1)
        }
        None => LONG_SLACK,
    };
    next.saturating_add(slack)
}
