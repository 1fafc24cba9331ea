//! Verified lease tokens.

use std::fmt;
use std::sync::Arc;

use cp_contracts::{LeaseClaims, PoolKind};
use uuid::Uuid;

use crate::KeySet;
use crate::status_list::{ListedStatus, Slot};

/// A verified lease token: the proof that a holder has a seat.
///
/// Only [`Verifier::verify_lease`](crate::Verifier::verify_lease) creates this type. A clone copies
/// a pointer. The value does not contain the token.
#[derive(Clone)]
pub struct LeaseContext {
    verified: Arc<VerifiedLease>,
}

/// A token's claims, and the place of its status.
struct VerifiedLease {
    claims: LeaseClaims,
    /// `None` when the token has no status, or there are too many lists.
    slot: Option<Arc<Slot>>,
}

impl LeaseContext {
    pub(crate) fn new(claims: LeaseClaims, slot: Option<Arc<Slot>>) -> Self {
        Self { verified: Arc::new(VerifiedLease { claims, slot }) }
    }

    /// Returns the status of the token, or `None` when it has no status.
    pub(crate) fn listed_status(&self, keys: &Arc<KeySet>) -> Option<ListedStatus> {
        let idx = self.claims().status.as_ref()?.status_list.idx;
        Some(self.verified.slot.as_ref()?.listed_status(idx, keys))
    }

    /// Returns the lease's ID, which is the same for all its tokens.
    #[must_use]
    pub fn lease_id(&self) -> Uuid {
        self.claims().jti
    }

    /// Returns the ID of the license whose seat it is.
    #[must_use]
    pub fn license_id(&self) -> Uuid {
        self.claims().lease.license_id
    }

    /// Returns the name of the pool.
    #[must_use]
    pub fn pool(&self) -> &str {
        &self.claims().lease.pool
    }

    /// Returns the kind of the pool.
    #[must_use]
    pub fn kind(&self) -> &PoolKind {
        &self.claims().lease.kind
    }

    /// Returns the hash of the holder.
    #[must_use]
    pub fn holder(&self) -> &str {
        &self.claims().lease.holder
    }

    /// Returns when the token was issued, in seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn issued_at(&self) -> i64 {
        self.claims().iat
    }

    /// Returns the end of the lease, in seconds since 1970-01-01T00:00:00Z; exclusive.
    #[must_use]
    pub fn expires_at(&self) -> i64 {
        self.claims().exp
    }

    /// Returns whether the lease is borrowed: it needs no heartbeat before its end.
    #[must_use]
    pub fn is_borrowed(&self) -> bool {
        self.claims().lease.borrowed
    }

    /// Returns whether the seat is beyond the pool's cap.
    #[must_use]
    pub fn is_overage(&self) -> bool {
        self.claims().lease.overage
    }

    /// Returns the claims of the token.
    #[must_use]
    pub fn claims(&self) -> &LeaseClaims {
        &self.verified.claims
    }
}

/// Compares the claims.
impl PartialEq for LeaseContext {
    fn eq(&self, other: &Self) -> bool {
        self.claims() == other.claims()
    }
}

impl fmt::Debug for LeaseContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseContext").field("claims", self.claims()).finish_non_exhaustive()
    }
}
