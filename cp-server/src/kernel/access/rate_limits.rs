//! Rate limits: the buckets of one replica, and the headers that report them.
//!
//! [`admission`](crate::kernel::access::admission) decides which bucket a request is charged to.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::kernel::access::buckets::{Buckets, Full, Holder, Limit, Rate};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::cache::Cache;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATUS: HeaderName = HeaderName::from_static("ratelimit");

/// A stricter rate of one credential, which bounds the requests of a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StrictRate {
    /// Requests that sign.
    Signing,
    /// Requests that create, rotate or end signing keys.
    Keys,
    /// Requests that create, rotate or end credentials.
    Tokens,
}

/// The admitted rates of each replica; `None` is unlimited.
#[derive(Clone, Debug)]
pub struct Rates {
    /// Requests without a credential, by address.
    pub strangers: Limit,
    /// Credentials that are not valid, and other requests that only a guesser repeats: by address.
    pub attempts: Limit,
    /// Requests of one credential.
    pub credential: Limit,
    /// Requests of an organization's callers that act on it.
    pub organization: Limit,
    /// Requests of one credential that sign.
    pub signing: Limit,
    /// Requests of one credential that create, rotate or end signing keys.
    pub keys: Limit,
    /// Requests of one credential that create, rotate or end credentials.
    pub tokens: Limit,
    /// Requests of one license key, in the header or in the body.
    pub license_key: Limit,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            strangers: Some(Rate::new(1200, 300)),
            attempts: Some(Rate::new(30, 20)),
            credential: Some(Rate::new(30_000, 3000)),
            organization: Some(Rate::new(600, 200)),
            signing: Some(Rate::new(3000, 600)),
            keys: Some(Rate::new(30, 20)),
            tokens: Some(Rate::new(120, 60)),
            license_key: Some(Rate::new(120, 60)),
        }
    }
}

/// The buckets of one replica.
pub struct RateLimits {
    pub(in crate::kernel) strangers: Buckets<Holder>,
    pub(in crate::kernel) attempts: Buckets<Holder>,
    pub(in crate::kernel) credential: Buckets<Uuid>,
    pub(in crate::kernel) organization: Buckets<OrganizationId>,
    signing: Buckets<Uuid>,
    keys: Buckets<Uuid>,
    tokens: Buckets<Uuid>,
    pub(in crate::kernel) license_key: Buckets<Uuid>,
    /// Credentials that were valid, by a hash that outsiders cannot predict.
    pub(in crate::kernel) good: Cache<u64, ()>,
    /// Attempts whose credentials are being checked: the number by address and credential.
    checking: Mutex<HashMap<(Holder, u64), usize>>,
    hasher: RandomState,
}

impl RateLimits {
    pub fn new(rates: &Rates) -> Self {
        Self {
            strangers: Buckets::new(rates.strangers),
            attempts: Buckets::new(rates.attempts),
            credential: Buckets::new(rates.credential),
            organization: Buckets::new(rates.organization),
            signing: Buckets::new(rates.signing),
            keys: Buckets::new(rates.keys),
            tokens: Buckets::new(rates.tokens),
            license_key: Buckets::new(rates.license_key),
            good: Cache::default(),
            checking: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Counts an attempt. Concurrent requests with the same credential are one attempt: a client
    /// with a new credential may send many requests at once.
    pub(in crate::kernel) fn attempt(
        &self,
        holder: Holder,
        credential: u64,
        now: DateTime<Utc>,
    ) -> Result<Attempt<'_>, Full> {
        let key = (holder, credential);
        let mut checking = self.checking.lock().unwrap_or_else(PoisonError::into_inner);
        let others = checking.get(&key).copied().unwrap_or(0);
        if others == 0 {
            self.attempts.take(holder, now)?;
        }
        checking.insert(key, others + 1);
        Ok(Attempt { limits: self, key, is_counted: others == 0 })
    }

    /// Returns the hash of the request's own credential; `None` without one.
    pub(in crate::kernel) fn credential(&self, headers: &HeaderMap) -> Option<u64> {
        let of = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let both: [Vec<&[u8]>; 2] = [of(header::AUTHORIZATION), of(header::COOKIE)];
        both.iter().any(|values| !values.is_empty()).then(|| self.hasher.hash_one(&both))
    }

    /// Returns the hash of a credential in a request's body.
    pub(in crate::kernel) fn credential_in_body(&self, credential: &str) -> u64 {
        self.hasher.hash_one(credential)
    }

    /// Returns the stricter bucket of a line.
    pub(in crate::kernel) fn strict(&self, rate: StrictRate) -> (&'static str, &Buckets<Uuid>) {
        match rate {
            StrictRate::Signing => ("signing", &self.signing),
            StrictRate::Keys => ("keys", &self.keys),
            StrictRate::Tokens => ("tokens", &self.tokens),
        }
    }
}

/// An attempt whose credential is being checked.
pub(in crate::kernel) struct Attempt<'g> {
    limits: &'g RateLimits,
    key: (Holder, u64),
    is_counted: bool,
}

impl Attempt<'_> {
    /// Ends the attempt: the credential is valid.
    pub(in crate::kernel) fn succeeded(self) {
        if self.is_counted {
            self.limits.attempts.give_back(self.key.0);
        }
    }

    /// Keeps the attempt counted: the answer is not a success.
    pub(in crate::kernel) fn failed(self, now: DateTime<Utc>) -> Result<(), Full> {
        if self.is_counted { Ok(()) } else { self.limits.attempts.take(self.key.0, now) }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut checking = self.limits.checking.lock().unwrap_or_else(PoisonError::into_inner);
        match checking.get_mut(&self.key) {
            Some(others) if *others > 1 => *others -= 1,
            _ => {
                checking.remove(&self.key);
            }
        }
    }
}

/// The state of a caller's window.
#[derive(Clone, Copy, Debug)]
pub struct LimitStatus {
    /// The counted metric.
    pub metric: &'static str,
    pub limit: i64,
    /// The window's length, in seconds.
    pub window: u32,
    /// `None` when there was no room for this request.
    pub remaining: Option<i64>,
    /// Seconds until the next window begins.
    pub resets_in: u32,
}

/// The slot in which authentication stores the status for the outermost layer.
#[derive(Clone, Debug, Default)]
pub struct LimitHeader(Arc<Mutex<Option<LimitStatus>>>);

impl LimitHeader {
    /// Stores a status. The last one decides.
    pub(in crate::kernel) fn set(&self, status: LimitStatus) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    /// Returns whether an address was refused, not a known caller.
    pub fn refused_a_stranger(&self) -> bool {
        let status = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stranger =
            |s: LimitStatus| s.remaining.is_none() && ["address", "attempts"].contains(&s.metric);
        status.is_some_and(stranger)
    }

    /// Writes the status into the answer's headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        let status = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(LimitStatus { metric, limit, window, remaining, resets_in }) = status else {
            return;
        };
        let remaining = remaining.unwrap_or(0);
        for (name, value) in [
            (POLICY, format!("\"{metric}\";q={limit};w={window}")),
            (STATUS, format!("\"{metric}\";r={remaining};t={resets_in}")),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}
