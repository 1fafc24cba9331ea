//! The verifier: settings, keys, and the check of one token.

mod build_error;
pub(crate) mod builder;
#[cfg(feature = "fetch")]
mod fetch;
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
use crate::crypto::sha256_hex;
use crate::fingerprint::TokenFingerprint;
use crate::jws::{self, Kind, MAX_TOKEN};
use crate::keys::{KeyId, SigningKey, Snapshot};
use crate::log::{LogBook, ProofLookup};
use crate::status_list::{StatusLists, StatusRefresh};
use crate::verdict::{CheckTime, Verdict};
use crate::{CacheStats, KeySet, LicenseContext, LicenseState, VerifyError};

/// Checks license tokens of one issuer for one audience.
///
/// It is made once, when the data plane starts, and shared: cloning it copies a pointer, and it may
/// be used from any number of threads. Checking a token does no I/O and never blocks.
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
    /// What is known of the issuer's log; none when the verifier was given no log key.
    pub(crate) log: Option<Arc<LogBook>>,
    /// Whether a clock that cannot be right refuses every token.
    is_strict: bool,
    /// The keys that the app was given; license files add theirs, and withdraw what they leave out.
    /// None when keys are fetched: then files add none.
    pub(crate) pinned: Option<KeySet>,
    pub(crate) bundled_token: ArcSwapOption<String>,
    /// Held while a license file is taken, so that one is taken at a time.
    pub(crate) importing: Mutex<()>,
    cache: Option<Cache>,
    #[cfg(feature = "fetch")]
    fetching: Option<crate::fetch::Fetching>,
}

impl Verifier {
    /// Checks a token now.
    ///
    /// A clock that is more than 5 minutes behind the latest document that was ever verified is not
    /// believed: tokens are then judged at the time when that one was issued, so that setting the
    /// clock back revives nothing. The license is then in the state
    /// [`ClockAnomaly`](LicenseState::ClockAnomaly), or refused with `clock_anomaly` when the
    /// builder was reported [`strict_clock`](VerifierBuilder::strict_clock).
    ///
    /// The status of a token is what the newest status list says that is at hand. A list that says
    /// that the token does not hold is believed however old it is; without one that is recent, the
    /// token's own `enforcement` decides.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says why the token is refused; its [code](VerifyError::code) is stable. The
    /// checks run in a fixed order and the first that fails decides: size, shape, header, key,
    /// signature, and only then the claims. Of what refuses a genuine license, the code is that of
    /// the last [state](LicenseState) in their order.
    pub fn verify(&self, token: &str) -> Result<LicenseContext, VerifyError> {
        self.decide(token, self.time())
    }

    /// Checks a token as if it were `now`, in seconds since 1970-01-01T00:00:00Z, whatever the clock
    /// says.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub fn verify_at(&self, token: &str, now: i64) -> Result<LicenseContext, VerifyError> {
        self.decide(token, CheckTime::at(now))
    }

    /// How a license stands now that was admitted earlier: it may have ended, or been taken back, as
    /// may the key that signed its token. Does no I/O and never blocks.
    #[must_use]
    pub fn state_of(&self, license: &LicenseContext) -> LicenseState {
        let snapshot = self.inner.lists.keys.load();
        if snapshot.withdrawn.has(license.signer()) {
            return LicenseState::Revoked;
        }
        let (rules, keys) = (&self.inner.lists.rules, &snapshot.keys);
        Verdict::of(license, rules, keys, self.time(), self.is_log_suspect()).state
    }

    /// Waits until the status list that a token refers to has been asked for once: for 5 seconds at
    /// most, and for as long again for each other list that is new. Resolves at once when that was
    /// done, when nothing is fetched, and when the token is not genuine. Needs no particular
    /// executor.
    ///
    /// A verifier hears of a list by the first token that refers to it. Until it is there, that
    /// token is stale, and refused if it says `on_stale: block`; an app that awaits this before it
    /// verifies refuses nobody for that. [`LicenseLayer`](crate::LicenseLayer) does.
    pub fn refresh_status(&self, token: &str) -> StatusRefresh {
        let genuine = self.genuine(token, self.time().now).ok();
        genuine.map_or(StatusRefresh { slot: None, proof: None }, |genuine| {
            self.pending(&genuine.license)
        })
    }

    /// What is being asked for, for the first time, that the judgement of a license depends on.
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

    fn time(&self) -> CheckTime {
        let reported = self.inner.lists.clock.now();
        let now = self.inner.lists.floor.corrected(reported);
        let behind = (now != reported).then(|| now.saturating_sub(reported));
        CheckTime { now, behind, is_strict: self.inner.is_strict }
    }

    /// Checks a token now, unless its status is being asked for, for the first time.
    #[cfg(feature = "axum")]
    pub(crate) fn verify_or_wait(&self, token: &str) -> Attempt {
        let time = self.time();
        let genuine = match self.genuine(token, time.now) {
            Ok(genuine) => genuine,
            Err(refused) => return Attempt::Decided(Err(refused)),
        };
        // Looked at before the list is: a list that comes in between is not missed.
        match self.pending(&genuine.license) {
            StatusRefresh { slot: None, proof: None } => {
                Attempt::Decided(self.judge(token, genuine, time))
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

    /// Checks everything about a token but what time it is and whether it was taken back.
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
        if let (Some(slot), Some(fetching)) = (&slot, &self.inner.fetching) {
            fetching.lists.want(slot);
        }
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

    /// The license of a token that is genuine, whatever is to be said of it now.
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
            let detail = "no key set of the issuer is at hand that is recent enough";
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

    /// When the latest document that was verified so far was issued, in seconds since 1970: tokens,
    /// status lists, license files.
    ///
    /// [`VerifierBuilder::state_path`] keeps it over restarts; an app may also do so itself and give
    /// it to [`VerifierBuilder::time_floor`].
    #[must_use]
    pub fn time_floor(&self) -> i64 {
        self.inner.lists.floor.seconds()
    }

    /// Whether the clock is more than 5 minutes behind the [time floor](Self::time_floor): it was
    /// set back, or has lost its time.
    #[must_use]
    pub fn clock_is_behind(&self) -> bool {
        self.inner.lists.floor.refutes(self.inner.lists.clock.now())
    }

    /// Why the [state file](VerifierBuilder::state_path) could not be written the last time; none
    /// when it could, or when there is none.
    #[must_use]
    pub fn state_error(&self) -> Option<String> {
        self.inner.lists.floor.store().last_error()
    }

    /// The token of the newest license file that had one, the
    /// [bundle file](VerifierBuilder::bundle_file) or an [imported](Self::import) one. It is
    /// genuine, and may be over by now. None when there is no such file.
    #[must_use]
    pub fn bundled_token(&self) -> Option<Arc<String>> {
        self.inner.bundled_token.load_full()
    }

    /// How often tokens were found in the cache; none when there is no cache.
    #[must_use]
    pub fn cache_stats(&self) -> Option<CacheStats> {
        self.inner.cache.as_ref().map(Cache::stats)
    }

    /// Replaces the keys, for an app that fetches them in its own way. Keys that a license file has
    /// withdrawn are left out.
    pub fn replace_keys(&self, keys: KeySet) {
        self.inner.lists.keys.replace(keys, i64::MAX);
    }

    pub(crate) fn log(&self) -> Option<&LogBook> {
        self.inner.log.as_deref()
    }

    /// Whether proofs are fetched.
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

/// A token that an issuer has signed, and the keys by which that was found.
struct Genuine {
    license: LicenseContext,
    /// Held without counting: threads would meet at the counter.
    snapshot: Guard<Arc<Snapshot>>,
    /// Whether it was not in the cache.
    is_new: bool,
}

/// What [`Verifier::verify_or_wait`] comes to.
#[cfg(feature = "axum")]
pub(crate) enum Attempt {
    Decided(Result<LicenseContext, VerifyError>),
    Pending(StatusRefresh),
}

/// Checks a payload before it is signed: everything that [`Verifier::verify`] checks in the claims,
/// at `now` in seconds since 1970-01-01T00:00:00Z, without leeway and without grace.
///
/// For issuers, so that no verifier ever meets a genuine token that it must refuse.
///
/// # Errors
///
/// The error with which a verifier would refuse the token.
pub fn check_claims(
    payload: &[u8],
    issuer: &str,
    audience: &str,
    now: i64,
) -> Result<(), VerifyError> {
    // base64url makes 4 characters of 3 bytes; a header and the largest signature need 2,500.
    if payload.len() > (MAX_TOKEN - 2_500) / 4 * 3 {
        let detail = format!("a token of {} bytes of claims is too large", payload.len());
        return Err(VerifyError::new(TokenTooLarge, detail));
    }
    let (issuer, audience) = (issuer.to_owned(), audience.to_owned());
    let rules = Rules { issuer, audience, leeway: 0, max_grace: 0, expiring: 0 };
    let claims = rules.read(payload, now)?;
    rules.times(&Times::of(&claims), now)
}
