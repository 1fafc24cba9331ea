//! Seats: the client, and the leases that it holds.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dp_verifier::{Claim, Credential, LeaseState, LicenseContext, Verifier};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Failure;
use crate::holder::holder;
use crate::json::object;
use crate::wait::block_on_for;

/// The time after which a wait for the loss of a lease looks whether the app has given the lease up.
const LOOK: Duration = Duration::from_secs(1);

/// A client that claims seats, and keeps them by heartbeats.
#[derive(Clone, Debug)]
pub struct Leases {
    verifier: Verifier,
    inner: dp_verifier::Leases,
}

/// The options of a claim. Times are in seconds.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    label: Option<String>,
    meta: BTreeMap<String, String>,
    ttl: Option<u64>,
    borrow: Option<u64>,
    take_over: bool,
    token: bool,
}

impl Leases {
    pub(crate) fn new(verifier: Verifier, credential: Credential) -> Self {
        let inner = verifier.leases(credential);
        Self { verifier, inner }
    }

    /// Claims a seat of a pool for a holder, and waits for the response, up to 5 seconds. `options`
    /// has `label`, `meta`, `ttl`, `borrow`, `take_over` and `token`, or is `null`. Without a license
    /// the claim is for that of the verifier's own token.
    ///
    /// # Errors
    ///
    /// Returns the code of the control plane, such as `seats_exhausted`, or `unreachable`.
    pub fn acquire(
        &self,
        pool: &str,
        of: &Value,
        options: &Value,
        license: Option<&LicenseContext>,
    ) -> Result<HeldLease, Failure> {
        let options = match options {
            Value::Null => Options::default(),
            options => object(options)
                .map_err(|error| Failure::form(Failure::argument, "`options`", &error))?,
        };
        let license = license.map_or_else(|| self.verifier.current(), |own| Ok(own.clone()))?;
        let mut claim = Claim::new(pool, &holder(of, &license)?);
        if let Some(label) = options.label {
            claim = claim.label(&label);
        }
        for (name, value) in options.meta {
            claim = claim.meta(&name, &value);
        }
        if let Some(seconds) = options.ttl {
            claim = claim.ttl(Duration::from_secs(seconds));
        }
        if let Some(seconds) = options.borrow {
            claim = claim.borrow(Duration::from_secs(seconds));
        }
        if options.take_over {
            claim = claim.take_over();
        }
        if options.token {
            claim = claim.token();
        }
        let lease = self.inner.clone().of(&license).claim(&claim)?;
        Ok(HeldLease { handle: Mutex::new(Some(lease)) })
    }

    /// Sends the heartbeats that are due now, and waits for the outcome.
    pub fn send_heartbeats(&self) {
        self.inner.send_heartbeats();
    }

    /// Returns the use of each pool since the last call.
    #[must_use]
    pub fn take_usage(&self) -> Value {
        json!(self.inner.take_usage())
    }
}

/// A held seat. Its end releases the seat, unless it is kept or borrowed.
#[derive(Debug)]
pub struct HeldLease {
    /// `None` once the app has released or kept the seat.
    handle: Mutex<Option<dp_verifier::HeldLease>>,
}

impl HeldLease {
    fn handle(&self) -> Option<dp_verifier::HeldLease> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take(&self) -> Option<dp_verifier::HeldLease> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the state: `held`, `late`, `borrowed`, `lost`, or `released` after the app gave the
    /// handle up.
    #[must_use]
    pub fn state(&self) -> &'static str {
        self.handle().map_or("released", |handle| name_of(&handle.state()))
    }

    /// Waits until the lease is lost or the app has given it up, at most for a time. The wait does not
    /// keep the seat. Returns whether the wait ended before its time.
    #[must_use]
    pub fn wait_until_lost(&self, time: Duration) -> bool {
        let begun = Instant::now();
        loop {
            let Some(lost) = self.handle().map(|handle| handle.lost()) else { return true };
            let left = time.saturating_sub(begun.elapsed());
            if block_on_for(lost, left.min(LOOK)).is_some() {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    /// Returns the lease: `id`, `state`, `code` of a lost lease, `refusal` of the control plane that
    /// ended it, `expires_at` in seconds since 1970, `token`, and `lease` as the control plane last
    /// described it. Returns only the state after the app gave the handle up.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Some(handle) = self.handle() else { return json!({ "state": "released" }) };
        let state = handle.state();
        let (code, refusal) = match &state {
            LeaseState::Lost(code, refusal) => (Some(*code), refusal.as_ref()),
            _ => (None, None),
        };
        json!({
            "id": handle.id(), "state": name_of(&state), "code": code,
            "refusal": refusal.map(|refusal| &refusal.problem),
            "expires_at": handle.expires_at(), "token": handle.token(), "lease": *handle.lease(),
        })
    }

    /// Borrows the seat for some seconds. Returns the lease token.
    ///
    /// # Errors
    ///
    /// Returns the code of the control plane, or `unreachable`.
    pub fn borrow(&self, seconds: u64) -> Result<String, Failure> {
        Ok(self.live()?.borrow(Duration::from_secs(seconds))?)
    }

    /// Returns a borrowed seat before its end.
    ///
    /// # Errors
    ///
    /// Returns the code of the control plane, or `unreachable`.
    pub fn give_back(&self) -> Result<(), Failure> {
        Ok(self.live()?.give_back()?)
    }

    /// Releases the seat now, and waits for the response. Does nothing the second time.
    ///
    /// # Errors
    ///
    /// Returns the code of the control plane, or `unreachable`.
    pub fn release(&self) -> Result<(), Failure> {
        self.take().map_or(Ok(()), |handle| Ok(handle.release()?))
    }

    /// Keeps the seat at the end of this handle, without heartbeats.
    pub fn keep(&self) {
        if let Some(handle) = self.take() {
            handle.keep();
        }
    }

    fn live(&self) -> Result<dp_verifier::HeldLease, Failure> {
        self.handle().ok_or_else(|| Failure::argument("the app has released the lease"))
    }
}

fn name_of(state: &LeaseState) -> &'static str {
    match state {
        LeaseState::Held => "held",
        LeaseState::Late => "late",
        LeaseState::Borrowed => "borrowed",
        _ => "lost",
    }
}
