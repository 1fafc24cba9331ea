//! The check of a lease token beside its license.

use cp_contracts::{LEASE_TOKEN_MAX_BYTES, LeaseClaims, TokenStatus};

use super::Verifier;
use crate::ErrorCode::{
    HolderMismatch, LeaseOver, LicenseMismatch, PoolUnknown, Revoked, TokenTooLarge,
};
use crate::claims::Rules;
use crate::error::quoted;
use crate::jws::{self, Kind};
use crate::keys::Snapshot;
use crate::lease::LeaseContext;
use crate::status_list::ListedStatus;
use crate::verdict::{CheckTime, Verdict};
use crate::{Holder, LicenseContext, VerifyError};

/// The name of the pool that every license has, also when its token names no pool.
const SEATS: &str = "seats";

impl Verifier {
    /// Checks a lease token now, beside its license: does this holder have a seat? Does no I/O and
    /// never blocks.
    ///
    /// The lease counts only while the license is admitted, and only for the same issuer,
    /// deployment and license. Its end is exact: the leeway extends no lease. The newest status
    /// list can end a borrowed lease early, at any age of the list.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError`] when the lease or the license is refused. The checks run in a fixed
    /// order, and the first failure decides: the token as in [`verify`](Self::verify), then
    /// `license_mismatch`, the refusal of the license, `lease_expired` or `not_yet_valid`,
    /// `lease_over`, `pool_unknown` and `holder_mismatch`.
    pub fn verify_lease(
        &self,
        token: &str,
        license: &LicenseContext,
        holder: &Holder,
    ) -> Result<LeaseContext, VerifyError> {
        self.decide_lease(token, license, holder, self.time())
    }

    /// Checks a lease token at the time `now`, in seconds since 1970-01-01T00:00:00Z, and ignores
    /// the clock.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`verify_lease`](Self::verify_lease).
    pub fn verify_lease_at(
        &self,
        token: &str,
        license: &LicenseContext,
        holder: &Holder,
        now: i64,
    ) -> Result<LeaseContext, VerifyError> {
        self.decide_lease(token, license, holder, CheckTime::at(now))
    }

    fn decide_lease(
        &self,
        token: &str,
        license: &LicenseContext,
        holder: &Holder,
        time: CheckTime,
    ) -> Result<LeaseContext, VerifyError> {
        let lists = &self.inner.lists;
        let snapshot = lists.keys.load();
        let cached = match &self.inner.leases {
            Some(cache) if time.now <= snapshot.good_until => cache.find(token, &snapshot.keys),
            _ => None,
        };
        let is_new = cached.is_none();
        let lease = match cached {
            Some(lease) => lease,
            None => self.genuine_lease(token, &snapshot, time.now)?,
        };
        is_of(lease.claims(), license)?;
        self.admits(license, &snapshot, time)?;
        lists.rules.lease_times(lease.claims(), time.now)?;
        is_live(&lease, &snapshot)?;
        has_pool(lease.claims(), license)?;
        if !holder.has(&lease.claims().lease) {
            let detail = format!("the lease belongs to another {}", holder.kind());
            return Err(VerifyError::new(HolderMismatch, detail));
        }
        if is_new {
            lists.floor.raise(lease.issued_at());
            if let Some(cache) = &self.inner.leases {
                cache.keep(token, &snapshot.keys, &lease);
            }
        }
        Ok(lease)
    }

    /// Checks everything about a token except the license, the holder, the time and the status.
    fn genuine_lease(
        &self,
        token: &str,
        snapshot: &Snapshot,
        now: i64,
    ) -> Result<LeaseContext, VerifyError> {
        let payload = jws::open(token, Kind::LEASE, |kid| self.key(snapshot, kid, now))?;
        let lists = &self.inner.lists;
        let claims = lists.rules.read_lease(&payload)?;
        let status = claims.status.as_ref();
        let slot = status.and_then(|status| lists.slot(&status.status_list.uri));
        #[cfg(feature = "fetch")]
        if let (Some(slot), Some(fetching)) = (&slot, self.fetching()) {
            fetching.lists.want(slot);
        }
        Ok(LeaseContext::new(claims, slot))
    }

    /// Checks that a license that was admitted earlier is still admitted.
    fn admits(
        &self,
        license: &LicenseContext,
        snapshot: &Snapshot,
        time: CheckTime,
    ) -> Result<(), VerifyError> {
        if snapshot.withdrawn.has(license.signer()) {
            let detail = "the key that signed the license token was withdrawn";
            return Err(VerifyError::new(Revoked, detail));
        }
        let (rules, is_suspect) = (&self.inner.lists.rules, self.is_log_suspect());
        match Verdict::of(license, rules, &snapshot.keys, time, is_suspect).refusal {
            None => Ok(()),
            Some(refusal) => Err(refusal.within("the license")),
        }
    }
}

/// Checks that a lease is of this license.
fn is_of(lease: &LeaseClaims, license: &LicenseContext) -> Result<(), VerifyError> {
    let claims = license.claims();
    let mismatch = |what: &str| {
        let detail = format!("the lease and the license have different {what}");
        Err(VerifyError::new(LicenseMismatch, detail))
    };
    if lease.iss != claims.iss {
        return mismatch("issuers");
    }
    if lease.sub != claims.sub {
        return mismatch("deployments");
    }
    if lease.lease.license_id != license.license_id() {
        return mismatch("license IDs");
    }
    Ok(())
}

/// Checks that no status list has ended the lease.
fn is_live(lease: &LeaseContext, snapshot: &Snapshot) -> Result<(), VerifyError> {
    match lease.listed_status(&snapshot.keys) {
        // A data plane with a borrowed lease may have no network, and the token has an end.
        None | Some(ListedStatus::Unknown(_)) => Ok(()),
        Some(ListedStatus::Known { status: TokenStatus::Valid, .. }) => Ok(()),
        Some(ListedStatus::Known { .. }) => {
            let detail = "the status list says that the lease has ended";
            Err(VerifyError::new(LeaseOver, detail))
        }
    }
}

/// Checks that the license has the pool of a lease.
fn has_pool(lease: &LeaseClaims, license: &LicenseContext) -> Result<(), VerifyError> {
    let pool = &lease.lease.pool;
    if pool == SEATS || license.claims().license.leasing.contains_key(pool) {
        return Ok(());
    }
    let detail = format!("the license token has no pool {}", quoted(pool));
    Err(VerifyError::new(PoolUnknown, detail))
}

/// Checks a payload before it is signed: everything that [`Verifier::verify_lease`] checks in the
/// claims, at `now` in seconds since 1970-01-01T00:00:00Z and without leeway, except the license
/// and the holder.
///
/// Issuers call this function, so that verifiers refuse no genuine token.
///
/// # Errors
///
/// Returns the error with which a verifier would refuse the token.
pub fn check_lease_claims(
    payload: &[u8],
    issuer: &str,
    audience: &str,
    now: i64,
) -> Result<(), VerifyError> {
    // As in `check_claims`; a signature by a key of 8,192 bits needs 1,400 of these characters.
    if payload.len() > (LEASE_TOKEN_MAX_BYTES - 1_700) / 4 * 3 {
        let detail = format!("{} bytes of claims are too large for a lease token", payload.len());
        return Err(VerifyError::new(TokenTooLarge, detail));
    }
    let (issuer, audience) = (issuer.to_owned(), audience.to_owned());
    let rules = Rules { issuer, audience, leeway: 0, max_grace: 0, expiring: 0 };
    let claims = rules.read_lease(payload)?;
    rules.lease_times(&claims, now)
}
