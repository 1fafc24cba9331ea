//! The verifier: the check of one token.

mod build_error;
pub(crate) mod builder;
#[cfg(feature = "fetch")]
mod check_in;
#[cfg(feature = "fetch")]
mod fetch;
pub(crate) mod lease;
mod log;

use std::fmt;
use std::sync::{Arc, Mutex};

use arc_swap::{ArcSwapOption, Guard};

pub use self::build_error::BuildError;
#[cfg(feature = "fetch")]
use crate::ErrorCode::KidUnknown;
use crate::ErrorCode::{KeysUnavailable, TokenTooLarge};
use crate::cache::Cache;
use crate::claims::{Rules, Times};
use crate::counts;
use crate::crypto::sha256_hex;
use crate::fingerprint::TokenFingerprint;
use crate::jws::{self, Kind, MAX_TOKEN};
use crate::keys::{KeyId, SigningKey, Snapshot};
use crate::lease::LeaseContext;
use crate::log::{LogBook, ProofLookup};
use crate::status_list::{StatusLists, StatusRefresh};
use crate::verdict::{CheckTime, Verdict};
use crate::{CacheStats, KeySet, LicenseContext, LicenseState, VerifyError};

/// A verifier of license tokens of one issuer for one audience.
///
/// Create it once, when the data plane starts, and share it: a clone copies a pointer, and any
/// number of threads may use it. The check of a token does no I/O and never blocks.
///
/// ```
/// use dp_verifier::{ErrorCode, Verifier};
///
/// let verifier = Verifier::builder()
///     .issuer("https://cp.example")
///     .audience("data-plane")
///     .jwks(r#"{"keys":[]}"#)
///     .build()?;
/// let refused = verifier.verify("not.a.token").unwrap_err();
/// assert_eq!(refused.code(), ErrorCode::TokenMalformed);
/// # Ok::<(), dp_verifier::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) lists: Arc<StatusLists>,
    /// The issuer's log. `None` without a log key.
    pub(crate) log: Option<Arc<LogBook>>,
    /// Whether an impossible time of the clock refuses every token.
    is_strict: bool,
    /// The configured keys. License files add their keys, and withdraw the keys that they omit.
    /// `None` when keys are fetched: then files add no keys.
    pub(crate) pinned: Option<KeySet>,
    pub(crate) bundled_token: ArcSwapOption<String>,
    /// The lock of an import, so that imports run one at a time.
    pub(crate) importing: Mutex<()>,
    cache: Option<Cache<LicenseContext>>,
    leases: Option<Cache<LeaseContext>>,
    #[cfg(feature = "fetch")]
    fetching: Option<crate::fetch::Fetching>,
    /// The file with the only trusted authorities of the control plane.
    #[cfg(feature = "fetch")]
    pub(crate) ca: Option<std::path::PathBuf>,
    /// The data plane's own token. Empty without check-ins.
    #[cfg(feature = "fetch")]
    check_ins: std::sync::OnceLock<crate::fetch::CheckIns>,
}

impl Verifier {
    /// Checks a token now.
    ///
    /// A clock that is more than 5 minutes behind the issue time of the latest verified document is
    /// wrong. The verifier then judges tokens at that issue time, so that a clock that was set back
    /// revives no license. The license is in the state
    /// [`ClockAnomaly`](LicenseState::ClockAnomaly), or refused with `clock_anomaly` if
    /// [`strict_clock`](crate::VerifierBuilder::strict_clock) is set.
    ///
    /// The newest status list decides the status of the token. Revoked and suspended statuses count
    /// at any age of the list. Without a recent list, the token's own `enforcement` decides.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError`] when the token is refused; its [code](VerifyError::code) is stable.
    /// The checks run in a fixed order, and the first failure decides: size, shape, header, key,
    /// signature, and only then the claims. When several states refuse a genuine license, the code
    /// is that of the last [state](LicenseState) in their order.
    pub fn verify(&self, token: &str) -> Result<LicenseContext, VerifyError> {
        counts::verified(self.check(token))
    }

    /// Checks a token now, without a count.
    pub(crate) fn check(&self, token: &str) -> Result<LicenseContext, VerifyError> {
        self.decide(token, self.time())
    }

    /// Checks a token at the time `now`, in seconds since 1970-01-01T00:00:00Z, and ignores the
    /// clock.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`verify`](Self::verify).
    pub fn verify_at(&self, token: &str, now: i64) -> Result<LicenseContext, VerifyError> {
        self.decide(token, CheckTime::at(now))
    }

    /// Returns the current state of a license that was admitted earlier: it may have ended or been
    /// revoked, and the key that signed its token may have been withdrawn. Does no I/O and never
    /// blocks.
    #[must_use]
    pub fn state_of(&self, license: &LicenseContext) -> LicenseState {
        let snapshot = self.inner.lists.keys.load();
        if snapshot.withdrawn.has(license.signer()) {
            return LicenseState::Revoked;
        }
        let (rules, keys) = (&self.inner.lists.rules, &snapshot.keys);
        Verdict::of(license, rules, keys, self.time(), self.is_log_suspect()).state
    }

    /// Waits for the first request for a token's status list: at most 5 seconds, and 5 seconds more
    /// for each other new list. Resolves at once after that request, without a network, and for a
    /// token that is not genuine. Needs no particular executor.
    ///
    /// The first token that refers to a list makes the verifier fetch it. Until the list arrives,
    /// the token is stale, and refused if it says `on_stale: block`. An app that awaits this
    /// function before [`verify`](Self::verify) avoids that refusal.
    /// [`LicenseLayer`](crate::LicenseLayer) does so.
    pub fn refresh_status(&self, token: &str) -> StatusRefresh {
        let genuine = self.genuine(token, self.time().now).ok();
        genuine.map_or(StatusRefresh { slot: None, proof: None }, |genuine| {
            self.pending(&genuine.license)
        })
    }

    /// Returns the running first requests that the judgement of a license depends on.
    fn pending(&self, license: &LicenseContext) -> StatusRefresh {
        let slot = license.slot().filter(|slot| slot.first_request.is_pending());
        let log = self.log().filter(|log| log.is_required && license.log_index().is_none());
        let proof = log.and_then(|log| match log.lookup(license.token_id()) {
            Some(ProofLookup::Pending(asked)) if asked.is_pending() => Some(asked),
            _ => None,
        });
        StatusRefresh { slot: slot.cloned(), proof }
    }

    fn is_log_suspect(&self) -> bool {
        self.log().is_some_and(LogBook::is_suspect)
    }

    pub(crate) fn time(&self) -> CheckTime {
        let reported = self.inner.lists.clock.now();
        let now = self.inner.lists.floor.corrected(reported);
        let behind = (now != reported).then(|| now.saturating_sub(reported));
        CheckTime { now, behind, is_strict: self.inner.is_strict }
    }

    /// Checks a token now, unless the first request for its status is running.
    #[cfg(feature = "axum")]
    pub(crate) fn verify_or_wait(&self, token: &str) -> Attempt {
        let time = self.time();
        let genuine = match self.genuine(token, time.now) {
            Ok(genuine) => genuine,
            Err(refused) => return Attempt::Decided(counts::verified(Err(refused))),
        };
        // This check comes before the judgement, so a list that arrives in between counts.
        match self.pending(&genuine.license) {
            StatusRefresh { slot: None, proof: None } => {
                Attempt::Decided(counts::verified(self.judge(token, genuine, time)))
            }
            pending => Attempt::Pending(pending),
        }
    }

    fn decide(&self, token: &str, time: CheckTime) -> Result<LicenseContext, VerifyError> {
        self.judge(token, self.genuine(token, time.now)?, time)
    }

    fn judge(
        &self,
        token: &str,
        genuine: Genuine,
        time: CheckTime,
    ) -> Result<LicenseContext, VerifyError> {
        let Genuine { license, snapshot, is_new } = genuine;
        let keys = &snapshot.keys;
        let is_suspect = self.is_log_suspect();
        let verdict = Verdict::of(&license, &self.inner.lists.rules, keys, time, is_suspect);
        if let Some(refusal) = verdict.refusal {
            return Err(refusal);
        }
        if let Some(log) = self.log() {
            log.judge(&license)?;
        }
        if is_new {
            self.inner.lists.floor.raise(license.claims().iat);
            if let Some(cache) = &self.inner.cache {
                cache.keep(token, keys, &license);
            }
        }
        Ok(license.in_state(verdict.state))
    }

    /// Checks everything about a token except the time and the status.
    fn genuine(&self, token: &str, now: i64) -> Result<Genuine, VerifyError> {
        let lists = &self.inner.lists;
        let snapshot = lists.keys.load();
        if let Some(cache) = &self.inner.cache
            && now <= snapshot.good_until
            && let Some(license) = cache.find(token, &snapshot.keys)
        {
            return Ok(Genuine { license, snapshot, is_new: false });
        }
        let (mut signer, mut name) = (KeyId::default(), Box::default());
        let payload = jws::open(token, Kind::LICENSE, |kid| {
            if self.inner.log.is_some() {
                name = kid.into();
            }
            let key = self.key(&snapshot, kid, now)?;
            signer = key.id;
            Ok(key)
        })?;
        let claims = lists.rules.read(&payload, now)?;
        let status = claims.status.as_ref();
        let slot = status.and_then(|status| lists.slot(&status.status_list.uri));
        #[cfg(feature = "fetch")]
        self.want_list(token, slot.as_ref());
        let fingerprint = self
            .inner
            .log
            .as_ref()
            .map(|_| TokenFingerprint { kid: name, sha256: sha256_hex(token.as_bytes()).into() });
        let license = LicenseContext::new(claims, signer, slot, fingerprint);
        #[cfg(feature = "fetch")]
        if let Some(log) = self.fetching().and_then(|fetching| fetching.log.as_ref()) {
            log.want(license.token_id(), license.claims().iat);
        }
        Ok(Genuine { license, snapshot, is_new: true })
    }

    /// Returns the license of a genuine token, in any state.
    pub(crate) fn genuine_license(&self, token: &str) -> Result<LicenseContext, VerifyError> {
        self.genuine(token, self.time().now).map(|genuine| genuine.license)
    }

    fn key<'k>(
        &self,
        snapshot: &'k Snapshot,
        kid: &str,
        now: i64,
    ) -> Result<&'k SigningKey, VerifyError> {
        if now > snapshot.good_until {
            let detail = "the verifier has no recent key set of the issuer";
            return Err(VerifyError::new(KeysUnavailable, detail));
        }
        snapshot.keys.find(kid).ok_or_else(|| {
            let refusal = snapshot.refusal(kid);
            #[cfg(feature = "fetch")]
            if let (KidUnknown, Some(fetching)) = (refusal.code(), &self.inner.fetching) {
                fetching.keys.report_unknown(kid);
            }
            refusal
        })
    }

    /// Returns the time floor: the issue time of the latest verified token, status list or license
    /// file, in seconds since 1970.
    ///
    /// [`state_path`](crate::VerifierBuilder::state_path) keeps it over restarts. An app may also
    /// store it and pass it to [`time_floor`](crate::VerifierBuilder::time_floor).
    #[must_use]
    pub fn time_floor(&self) -> i64 {
        self.inner.lists.floor.seconds()
    }

    /// Returns whether the clock is more than 5 minutes behind the [time floor](Self::time_floor):
    /// it was set back, or has lost its time.
    #[must_use]
    pub fn clock_is_behind(&self) -> bool {
        self.inner.lists.floor.refutes(self.inner.lists.clock.now())
    }

    /// Returns the error of the last write to the [state file](crate::VerifierBuilder::state_path),
    /// or `None`.
    #[must_use]
    pub fn state_error(&self) -> Option<String> {
        self.inner.lists.floor.store().last_error()
    }

    /// Returns the token of the newest license file with a token: the [bundle
    /// file](crate::VerifierBuilder::bundle_file) or an [imported](Self::import) file. The token is
    /// genuine and may have expired. Returns `None` when there is no such file.
    #[must_use]
    pub fn bundled_token(&self) -> Option<Arc<String>> {
        self.inner.bundled_token.load_full()
    }

    /// Returns the token for requests that bring none.
    #[cfg(feature = "axum")]
    pub(crate) fn own_token(&self) -> Option<Arc<String>> {
        #[cfg(feature = "fetch")]
        let token = self.current_token();
        #[cfg(not(feature = "fetch"))]
        let token = self.bundled_token();
        token
    }

    /// Returns the hits and misses of the cache of licenses, or `None` without a cache.
    #[must_use]
    pub fn cache_stats(&self) -> Option<CacheStats> {
        self.inner.cache.as_ref().map(Cache::stats)
    }

    /// Replaces the keys, for an app that fetches them itself. Keys that a license file has
    /// withdrawn are not used.
    pub fn replace_keys(&self, keys: KeySet) {
        self.inner.lists.keys.replace(keys, i64::MAX);
    }

    pub(crate) fn log(&self) -> Option<&LogBook> {
        self.inner.log.as_deref()
    }

    /// Returns whether proofs are fetched.
    pub(crate) fn asks_the_log(&self) -> bool {
        #[cfg(feature = "fetch")]
        let asks = self.fetching().is_some_and(|fetching| fetching.log.is_some());
        #[cfg(not(feature = "fetch"))]
        let asks = false;
        asks
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    #[cfg(feature = "fetch")]
    pub(crate) fn fetching(&self) -> Option<&crate::fetch::Fetching> {
        self.inner.fetching.as_ref()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("rules", &self.inner.lists.rules).finish_non_exhaustive()
    }
}

/// A genuine token, and the keys that verified it.
struct Genuine {
    license: LicenseContext,
    /// Held without a reference count, which threads would contend for.
    snapshot: Guard<Arc<Snapshot>>,
    /// Whether the token was not in the cache.
    is_new: bool,
}

/// The result of [`Verifier::verify_or_wait`].
#[cfg(feature = "axum")]
pub(crate) enum Attempt {
    Decided(Result<LicenseContext, VerifyError>),
    Pending(StatusRefresh),
}

/// Checks a payload before it is signed: everything that [`Verifier::verify`] checks in the claims,
/// at `now` in seconds since 1970-01-01T00:00:00Z, without leeway and without a grace period.
///
/// Issuers call this function, so that verifiers refuse no genuine token.
///
/// # Errors
///
/// Returns the error with which a verifier would refuse the token.
pub fn check_claims(
    payload: &[u8],
    issuer: &str,
    audience: &str,
    now: i64,
) -> Result<(), VerifyError> {
    // base64url encodes 3 bytes as 4 characters. A header and the largest signature need 2,500.
    if payload.len() > (MAX_TOKEN - 2_500) / 4 * 3 {
        let detail = format!("{} bytes of claims are too large for a token", payload.len());
        return Err(VerifyError::new(TokenTooLarge, detail));
    }
    let (issuer, audience) = (issuer.to_owned(), audience.to_owned());
    let rules = Rules { issuer, audience, leeway: 0, max_grace: 0, expiring: 0 };
    let claims = rules.read(payload, now)?;
    rules.times(&Times::of(&claims), now)
}
