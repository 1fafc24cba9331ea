//! A held lease.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cp_contracts::Lease;
use serde_json::json;
use uuid::Uuid;

use super::client::Handle;
use super::error::LeaseError;
use super::tenure::{LeaseState, Loss, end_of};

/// A seat that the control plane has given to a holder, with the heartbeats that keep it.
///
/// A clone is another handle of the same seat. When the last handle is dropped, the seat is released
/// within 2 seconds. The drop itself waits only if it drops the whole client too.
#[derive(Clone)]
#[must_use = "dropping a lease releases the seat"]
pub struct HeldLease {
    handle: Arc<Handle>,
    token: Option<Arc<str>>,
}

impl HeldLease {
    pub(super) fn new((handle, token): (Arc<Handle>, Option<String>)) -> Self {
        Self { handle, token: token.map(Arc::from) }
    }

    /// Returns the state now. Does no I/O.
    ///
    /// Without the network the lease is held until [`expires_at`](Self::expires_at), and then lost.
    /// The time since the last response counts by the verifier's clock and the [time
    /// floor](crate::Verifier::time_floor). A clock that is set back does not prolong the lease. A refusal of the control plane that names the license, such
    /// as `license_suspended`, counts at once.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        self.handle.state()
    }

    /// Returns the end of the lease without another heartbeat, in seconds since
    /// 1970-01-01T00:00:00Z, or `None` for a lease that lasts until its release.
    #[must_use]
    pub fn expires_at(&self) -> Option<i64> {
        end_of(&self.lease())
    }

    /// Waits until the lease is lost. The wait does not keep the seat, and needs no particular
    /// executor.
    pub fn lost(&self) -> impl Future<Output = LeaseState> + Send + use<> {
        Loss::of(&self.handle.tenure, &self.handle.client.clock)
    }

    /// Returns the lease as the control plane last described it.
    #[must_use]
    pub fn lease(&self) -> Arc<Lease> {
        self.handle.tenure.lease()
    }

    /// Returns the lease's ID.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.handle.tenure.id
    }

    /// Returns the lease token of the claim, if the claim [asked](crate::Claim::token) for one or
    /// [borrowed](crate::Claim::borrow) the seat. It is a credential.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Borrows the seat for this time, from now on. Returns the lease token, for
    /// [checks](crate::Verifier::verify_lease) without a network. A borrowed seat stays when the
    /// handle is dropped. With a license key, claim the seat by [`borrow`](crate::Claim::borrow)
    /// instead.
    ///
    /// # Errors
    ///
    /// Returns [`LeaseError`] when the control plane refuses or does not answer.
    pub fn borrow(&self, time: Duration) -> Result<String, LeaseError> {
        let token = self.handle.change("borrow", json!({ "seconds": time.as_secs() }))?;
        token.ok_or_else(|| LeaseError::Unreachable("the response has no lease token".to_owned()))
    }

    /// Returns a borrowed seat before its end, if the pool allows that. A license key may not do so.
    ///
    /// # Errors
    ///
    /// Returns [`LeaseError`] when the control plane refuses or does not answer.
    pub fn give_back(&self) -> Result<(), LeaseError> {
        self.handle.change("return", json!({})).map(|_| ())
    }

    /// Releases the seat now, and waits for the response. All handles of the seat are then lost.
    ///
    /// # Errors
    ///
    /// Returns [`LeaseError`] when the control plane refuses or does not answer.
    pub fn release(self) -> Result<(), LeaseError> {
        self.handle.release()
    }

    /// Keeps the seat after the last handle is dropped, without heartbeats. That suits machines
    /// whose leases last until their release: the next claim of the same holder returns the same
    /// seat.
    pub fn keep(self) {
        self.handle.keep();
    }
}

impl fmt::Debug for HeldLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("HeldLease");
        let lease = self.lease();
        shown.field("id", &self.id()).field("pool", &lease.pool).field("state", &self.state());
        shown.finish_non_exhaustive()
    }
}
