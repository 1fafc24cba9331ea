//! The app's client for seats.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use cp_contracts::PoolUsage;

use super::claim::Claim;
use super::client::LeaseClient;
use super::error::LeaseError;
use super::held::HeldLease;
use super::lease_clock::LeaseClock;
use crate::fetch::{Api, Credential};
use crate::{Holder, LicenseContext, Verifier};

impl Verifier {
    /// Returns a client that holds seats of a license: with the token of the deployment, or with a
    /// license key. Create it once, and share it: all leases of a client use one thread.
    ///
    /// The requests go to the API of the [check-ins](crate::VerifierBuilder::check_in), or else to
    /// `/api/v1` below the issuer, which must be an https URL, or http on this machine.
    ///
    /// ```no_run
    /// # fn hold(verifier: &dp_verifier::Verifier) -> Result<(), Box<dyn std::error::Error>> {
    /// use dp_verifier::{Fingerprint, Holder};
    ///
    /// let print = Fingerprint::of(&verifier.current()?).machine_id()?;
    /// let seats = verifier.leases("cpat_…");
    /// let lease = seats.acquire("render", &Holder::machine(&print))?;
    /// assert!(lease.state().has_seat());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn leases(&self, credential: impl Into<Credential>) -> Leases {
        let base = self.check_ins().map(|check_ins| check_ins.base.clone());
        let inner = self.inner();
        let base = base.unwrap_or_else(|| {
            let issuer = &inner.lists.rules.issuer;
            format!("{}/api/v1", issuer.strip_suffix('/').unwrap_or(issuer))
        });
        let api = Api::new(&base, &credential.into(), inner.ca.as_deref());
        let clock = LeaseClock::new(Arc::clone(&inner.lists));
        let client = Arc::new(LeaseClient::new(api, clock));
        Leases { client, verifier: self.clone(), license: None }
    }
}

/// The seats of a license: a client of the control plane that claims them, and keeps them by
/// heartbeats. [`Verifier::leases`] creates it; a clone uses the same thread.
#[derive(Clone)]
pub struct Leases {
    client: Arc<LeaseClient>,
    verifier: Verifier,
    /// `None` for the license of the verifier's own token.
    license: Option<LicenseContext>,
}

impl Leases {
    /// Claims seats of this license, instead of the one of the verifier's
    /// [own token](Verifier::current).
    #[must_use]
    pub fn of(mut self, license: &LicenseContext) -> Self {
        self.license = Some(license.clone());
        self
    }

    /// Claims a seat of a pool for a holder, and waits for the response, up to 5 seconds. A holder
    /// that has a seat of the pool gets the same one.
    ///
    /// # Errors
    ///
    /// Returns [`LeaseError`] when there is no license, when the control plane refuses, or when it
    /// does not answer.
    pub fn acquire(&self, pool: &str, holder: &Holder) -> Result<HeldLease, LeaseError> {
        self.claim(&Claim::new(pool, holder))
    }

    /// Claims a seat with options, as [`acquire`](Self::acquire) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`acquire`](Self::acquire).
    pub fn claim(&self, claim: &Claim) -> Result<HeldLease, LeaseError> {
        self.client.claim(&self.license()?, claim).map(HeldLease::new)
    }

    /// Claims a seat as [`acquire`](Self::acquire) does, without blocking. The heartbeat thread sends
    /// the request. Needs no particular executor. When the future is dropped early, the seat is
    /// released.
    pub fn acquire_async(
        &self,
        pool: &str,
        holder: &Holder,
    ) -> impl Future<Output = Result<HeldLease, LeaseError>> + Send + use<> {
        self.claim_async(&Claim::new(pool, holder))
    }

    /// Claims a seat with options, as [`acquire_async`](Self::acquire_async) does.
    pub fn claim_async(
        &self,
        claim: &Claim,
    ) -> impl Future<Output = Result<HeldLease, LeaseError>> + Send + use<> {
        let answer = Arc::new(Answer::default());
        let begun = self.license().and_then(|license| {
            let (client, claim) = (Arc::clone(&self.client), claim.clone());
            let end = AnswerEnd(Arc::clone(&answer));
            self.client.run(Box::new(move || {
                end.0.put(client.claim(&license, &claim).map(HeldLease::new));
            }))
        });
        if let Err(error) = begun {
            answer.put(Err(error));
        }
        poll_fn(move |context| {
            let mut slot = answer.slot();
            match slot.result.take() {
                Some(result) => Poll::Ready(result),
                None => {
                    slot.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }

    /// Sends the heartbeats that are due now, and waits for the outcome. The thread does so by
    /// itself; this function is for an app that knows more, such as that the network has returned.
    pub fn send_heartbeats(&self) {
        self.client.send_heartbeats();
    }

    /// Returns the use of each pool since the last call, for
    /// [usage reports](Verifier::usage_report_with_leases): the greatest number of leases that this
    /// client held at the same time, and the number of claims that found no free seat.
    #[must_use]
    pub fn take_usage(&self) -> BTreeMap<String, PoolUsage> {
        self.client.shared.state().work.take_usage()
    }

    fn license(&self) -> Result<LicenseContext, LeaseError> {
        let license = self.license.clone();
        license.map_or_else(|| self.verifier.current(), Ok).map_err(LeaseError::License)
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let license_id = self.license.as_ref().map(LicenseContext::license_id);
        f.debug_struct("Leases").field("license_id", &license_id).finish_non_exhaustive()
    }
}

/// The result of a job, and the task that waits for it.
#[derive(Default)]
struct Answer {
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    result: Option<Result<HeldLease, LeaseError>>,
    waker: Option<Waker>,
    is_set: bool,
}

impl Answer {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the result, once.
    fn put(&self, result: Result<HeldLease, LeaseError>) {
        let waker = {
            let mut slot = self.slot();
            if std::mem::replace(&mut slot.is_set, true) {
                return;
            }
            slot.result = Some(result);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The thread's end of an answer. Dropping it without a result is an error for the task.
struct AnswerEnd(Arc<Answer>);

impl Drop for AnswerEnd {
    fn drop(&mut self) {
        self.0.put(Err(LeaseError::Unreachable("the heartbeat thread has ended".to_owned())));
    }
}
