//! The client that claims and releases seats, and the app's handles of leases.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use cp_contracts::{Lease, LeaseState as Wire, ProblemCode};
use serde_json::Value;
use ureq::http::Method;

use super::claim::Claim;
use super::error::LeaseError;
use super::heartbeats::Heartbeats;
use super::lease_clock::LeaseClock;
use super::schedule::{Job, Schedule};
use super::tenure::{LeaseState, Tenure};
use crate::ErrorCode::LeaseOver;
use crate::LicenseContext;
use crate::fetch::{Api, Shared};

/// The maximum time for which the last handle waits until the leases are released.
const PATIENCE: Duration = Duration::from_secs(2);

/// The client of one credential, and its thread, which starts with the first claim.
pub(super) struct LeaseClient {
    api: Result<Arc<Api>, String>,
    pub(super) clock: Arc<LeaseClock>,
    pub(super) shared: Arc<Shared<Schedule<Handle>>>,
    thread: OnceLock<Result<ThreadId, String>>,
}

/// A handle of a lease, which the app's copies share. Dropping it releases the seat.
pub(super) struct Handle {
    pub(super) tenure: Arc<Tenure>,
    pub(super) client: Arc<LeaseClient>,
    /// Whether the seat stays when the handle is dropped.
    is_kept: Mutex<bool>,
}

impl LeaseClient {
    pub(super) fn new(api: Result<Api, String>, clock: LeaseClock) -> Self {
        let (api, clock) = (api.map(Arc::new), Arc::new(clock));
        Self { api, clock, shared: Arc::default(), thread: OnceLock::new() }
    }

    /// Sends a request about a lease.
    pub(super) fn lease(
        &self,
        method: &Method,
        path: &str,
        body: &Value,
    ) -> Result<Option<Lease>, LeaseError> {
        let api = self.api.as_ref().map_err(|why| LeaseError::Unreachable(why.clone()))?;
        Ok(api.send(method, path, body)?)
    }

    /// Claims a seat of a license.
    pub(super) fn claim(
        self: &Arc<Self>,
        license: &LicenseContext,
        claim: &Claim,
    ) -> Result<(Arc<Handle>, Option<String>), LeaseError> {
        self.start()?;
        let pool = license.claims().license.leasing.get(claim.pool());
        let body = claim.body(pool.map(|pool| &pool.kind));
        let path = format!("/licenses/{}/leases", license.license_id());
        let lease = self.lease(&Method::POST, &path, &body);
        if let Err(LeaseError::Refused(refusal)) = &lease
            && *refusal.code() == ProblemCode::SeatsExhausted
        {
            self.shared.state().work.count_refusal(claim.pool());
        }
        let empty = || LeaseError::Unreachable("the response to the claim is empty".to_owned());
        let mut lease = lease?.filter(|lease| lease.state != Wire::Over).ok_or_else(empty)?;
        let token = lease.token.take();
        // A claim extends a lease, and so has the server's time; but a borrowed lease stays as it is.
        if lease.borrowed_until.is_none() {
            self.clock.note(lease.heartbeat_at.timestamp());
        }
        let holder = claim.holder().to_json(Some(&lease.kind));
        Ok((self.hold(lease, holder), token))
    }

    /// Starts the heartbeats of a lease. A lease that the app holds has one handle.
    fn hold(self: &Arc<Self>, lease: Lease, holder: Value) -> Arc<Handle> {
        let now = self.clock.now();
        let mut state = self.shared.state();
        let known = state.work.handle(lease.id);
        let handle = match known {
            Some(handle) => {
                handle.tenure.renew(lease);
                state.work.place(handle.tenure.id, now);
                handle
            }
            None => {
                let tenure = Arc::new(Tenure::new(lease, holder));
                let client = Arc::clone(self);
                let handle = Arc::new(Handle {
                    tenure: Arc::clone(&tenure),
                    client,
                    is_kept: Mutex::new(false),
                });
                state.work.add(&tenure, &handle, now);
                handle
            }
        };
        self.shared.notify();
        handle
    }

    /// Runs a job on the thread.
    pub(super) fn run(&self, job: Job) -> Result<(), LeaseError> {
        self.start()?;
        let mut state = self.shared.state();
        if state.is_over {
            return Err(LeaseError::Unreachable("the heartbeat thread has ended".to_owned()));
        }
        state.work.jobs.push_back(job);
        self.shared.notify();
        Ok(())
    }

    /// Sends the heartbeats that are due now, and waits for the outcome.
    pub(super) fn send_heartbeats(&self) {
        if matches!(self.thread.get(), Some(Ok(_))) {
            self.shared.demand();
        }
    }

    /// Starts the thread, once.
    fn start(&self) -> Result<(), LeaseError> {
        let started = self.thread.get_or_init(|| {
            let (shared, clock) = (Arc::clone(&self.shared), Arc::clone(&self.clock));
            let api = Arc::clone(self.api.as_ref().map_err(String::clone)?);
            let thread = Heartbeats::new(shared, api, clock);
            let spawned = thread::Builder::new()
                .name("dp-verifier-leases".to_owned())
                .spawn(move || thread.run());
            let failed = |error| format!("no thread can be started: {error}");
            spawned.map(|thread| thread.thread().id()).map_err(failed)
        });
        started.as_ref().map(|_| ()).map_err(|why| LeaseError::Unreachable(why.clone()))
    }
}

/// Waits until the thread has released the leases, for at most [`PATIENCE`]. The thread goes on
/// after that.
impl Drop for LeaseClient {
    fn drop(&mut self) {
        self.shared.end();
        match self.thread.get() {
            // The thread itself may drop the last handle.
            Some(Ok(id)) if *id != thread::current().id() => {}
            _ => return,
        }
        let begun = Instant::now();
        let mut state = self.shared.state();
        while !state.work.has_ended {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return;
            }
            state = self.shared.wait(state, Some(left));
        }
    }
}

impl Handle {
    pub(super) fn state(&self) -> LeaseState {
        let clock = &self.client.clock;
        self.tenure.state_at(clock.now())
    }

    /// Sends a request about this lease, and uses the lease of the response. Returns the token in
    /// it.
    pub(super) fn change(
        &self,
        operation: &str,
        mut body: Value,
    ) -> Result<Option<String>, LeaseError> {
        let path = format!("/leases/{}/{operation}", self.tenure.id);
        if let Some(members) = body.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        let Some(mut lease) = self.client.lease(&Method::POST, &path, &body)? else {
            return Ok(None);
        };
        let token = lease.token.take();
        let has_ended = lease.state == Wire::Over;
        // The last heartbeat of an ended lease may be an old one.
        if let Some((at, not_before)) = self.tenure.renew(lease)
            && !has_ended
        {
            self.client.clock.note_heartbeat(at, not_before);
        }
        if has_ended {
            self.lose();
        } else {
            let now = self.client.clock.now();
            self.client.shared.state().work.place(self.tenure.id, now);
            self.client.shared.notify();
        }
        Ok(token)
    }

    /// Releases the seat now.
    pub(super) fn release(&self) -> Result<(), LeaseError> {
        self.client.lease(&Method::DELETE, &self.tenure.release_path(), &Value::Null)?;
        self.lose();
        Ok(())
    }

    /// Notes that the lease has ended by a request of the app.
    fn lose(&self) {
        self.client.shared.state().work.remove(self.tenure.id);
        self.tenure.lose(LeaseOver, None);
    }

    /// Keeps the seat when the handle is dropped.
    pub(super) fn keep(&self) {
        *self.is_kept.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let is_kept = *self.is_kept.lock().unwrap_or_else(PoisonError::into_inner);
        let needs_release = !is_kept && self.tenure.needs_release(self.client.clock.now());
        let mut state = self.client.shared.state();
        // Another handle of the same lease may exist already.
        if state.work.is_held(self.tenure.id) {
            return;
        }
        state.work.remove(self.tenure.id);
        if needs_release {
            state.work.releases.push_back(Arc::clone(&self.tenure));
            state.work.has_new_release = true;
        }
        self.client.shared.notify();
    }
}
