//! The verifier: settings, keys, and the check of one token.

mod builder;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use self::builder::{BuildError, VerifierBuilder};
use crate::ErrorCode::{ClockAnomaly, KeysUnavailable, KidUnknown, TokenTooLarge};
use crate::cache::Cache;
use crate::claims::{Rules, Times};
use crate::clock::TimeFloor;
use crate::error::quoted;
use crate::jws::{self, Kind, MAX_TOKEN};
use crate::rsa::PublicKey;
use crate::{CacheStats, Clock, KeySet, LicenseContext, LicenseState, VerifyError};

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

struct Inner {
    rules: Rules,
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
    floor: TimeFloor,
    /// Whether a clock that cannot be right refuses every token.
    is_strict: bool,
    bundled_token: Option<String>,
    cache: Option<Cache>,
    #[cfg(feature = "fetch")]
    refresher: Option<crate::fetch::Refresher>,
}

impl Verifier {
    /// Starts a verifier. It needs an issuer, an audience and a source of keys.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::default()
    }

    /// Checks a token now.
    ///
    /// A clock that is more than 5 minutes behind the latest token that was ever verified is not
    /// believed: tokens are then judged at the time when that one was issued, so that setting the
    /// clock back revives nothing. The license is then in the state
    /// [`ClockAnomaly`](LicenseState::ClockAnomaly), or refused with `clock_anomaly` when the
    /// builder was told [`strict_clock`](VerifierBuilder::strict_clock).
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says why the token is refused; its [code](VerifyError::code) is stable. The
    /// checks run in a fixed order and the first that fails decides: size, shape, header, key,
    /// signature, and only then the claims.
    pub fn verify(&self, token: &str) -> Result<LicenseContext, VerifyError> {
        let told = self.inner.clock.now();
        let now = self.inner.floor.corrected(told);
        let license = self.verify_at(token, now)?;
        match (now == told, self.inner.is_strict) {
            (true, _) => Ok(license),
            (false, false) => Ok(license.in_state(LicenseState::ClockAnomaly)),
            (false, true) => {
                let behind = now.saturating_sub(told);
                let detail = format!("this clock is {behind} s behind a token that was issued");
                Err(VerifyError::new(ClockAnomaly, detail))
            }
        }
    }

    /// Checks a token as if it were `now`, in seconds since 1970-01-01T00:00:00Z, whatever the clock
    /// says.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub fn verify_at(&self, token: &str, now: i64) -> Result<LicenseContext, VerifyError> {
        let snapshot = self.inner.keys.load();
        if let Some(cache) = &self.inner.cache
            && now <= snapshot.good_until
            && let Some(license) =
                cache.find(token, &snapshot.keys, |license| self.is_current(license, now))
        {
            let state = self.inner.rules.state(license.claims(), now);
            return Ok(license.in_state(state));
        }
        let payload = jws::open(token, Kind::LICENSE, |kid| self.key(&snapshot, kid, now))?;
        let (claims, state) = self.inner.rules.judge(&payload, now)?;
        let license = LicenseContext::new(claims, state);
        self.inner.floor.raise(license.claims().iat);
        if let Some(cache) = &self.inner.cache {
            cache.keep(token, &snapshot.keys, &license);
        }
        Ok(license)
    }

    /// Whether the times of a license that was found good before still hold.
    fn is_current(&self, license: &LicenseContext, now: i64) -> bool {
        self.inner.rules.times(&Times::of(license.claims()), now).is_ok()
    }

    fn key<'k>(
        &self,
        snapshot: &'k Snapshot,
        kid: &str,
        now: i64,
    ) -> Result<&'k PublicKey, VerifyError> {
        if now > snapshot.good_until {
            let detail = "no key set of the issuer is at hand that is recent enough";
            return Err(VerifyError::new(KeysUnavailable, detail));
        }
        snapshot.keys.find(kid).ok_or_else(|| {
            #[cfg(feature = "fetch")]
            if let Some(refresher) = &self.inner.refresher {
                refresher.report_unknown(kid);
            }
            VerifyError::new(KidUnknown, format!("no key {} is known", quoted(kid)))
        })
    }

    /// When the latest token that was verified so far was issued, in seconds since 1970.
    ///
    /// [`VerifierBuilder::state_path`] keeps it over restarts; an app may also do so itself and give
    /// it to [`VerifierBuilder::time_floor`].
    #[must_use]
    pub fn time_floor(&self) -> i64 {
        self.inner.floor.seconds()
    }

    /// Whether the clock is more than 5 minutes behind the [time floor](Self::time_floor): it was
    /// set back, or has lost its time.
    #[must_use]
    pub fn clock_is_behind(&self) -> bool {
        self.inner.floor.refutes(self.inner.clock.now())
    }

    /// Why the [state file](VerifierBuilder::state_path) could not be written the last time; none
    /// when it could, or when there is none.
    #[must_use]
    pub fn state_error(&self) -> Option<String> {
        self.inner.floor.last_error()
    }

    /// The token of the [bundle file](VerifierBuilder::bundle_file), not yet verified; none when
    /// there is no file or it has only keys.
    #[must_use]
    pub fn bundled_token(&self) -> Option<&str> {
        self.inner.bundled_token.as_deref()
    }

    /// How often tokens were found in the cache; none when there is no cache.
    #[must_use]
    pub fn cache_stats(&self) -> Option<CacheStats> {
        self.inner.cache.as_ref().map(Cache::stats)
    }

    /// Replaces the keys, for an app that fetches them in its own way.
    pub fn replace_keys(&self, keys: KeySet) {
        self.inner.keys.store(Arc::new(Snapshot::given(keys)));
    }

    #[cfg(feature = "fetch")]
    pub(crate) fn refresher(&self) -> Option<&crate::fetch::Refresher> {
        self.inner.refresher.as_ref()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("rules", &self.inner.rules).finish_non_exhaustive()
    }
}

/// The keys in use. Readers take them without waiting while they are replaced.
pub(crate) type Keys = ArcSwap<Snapshot>;

/// A key set, and until when it may be used.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) keys: Arc<KeySet>,
    /// The last second, since 1970; `i64::MAX` for keys that were given rather than fetched.
    pub(crate) good_until: i64,
}

impl Snapshot {
    fn given(keys: KeySet) -> Self {
        Self { keys: Arc::new(keys), good_until: i64::MAX }
    }
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
    rules.judge(payload, now).map(drop)
}
