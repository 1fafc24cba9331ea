//! The verifier: settings, keys, and the check of one token.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use cp_contracts::JwkSet;

use crate::ErrorCode::{KeysUnavailable, KidUnknown, TokenTooLarge};
use crate::cache::Cache;
use crate::claims::Rules;
use crate::clock::TimeFloor;
use crate::error::quoted;
use crate::jws::{self, Kind, MAX_TOKEN};
use crate::rsa::PublicKey;
use crate::{CacheStats, Clock, KeySet, KeySetError, LicenseContext, SystemClock, VerifyError};

/// The longest leeway, in seconds: "no more than a few minutes" (RFC 7519 §4.1.4).
const MAX_LEEWAY: i64 = 300;

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
    /// clock back revives nothing. See [`time_floor`](Self::time_floor).
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says why the token is refused; its [code](VerifyError::code) is stable. The
    /// checks run in a fixed order and the first that fails decides: size, shape, header, key,
    /// signature, and only then the claims.
    pub fn verify(&self, token: &str) -> Result<LicenseContext, VerifyError> {
        self.verify_at(token, self.inner.floor.corrected(self.inner.clock.now()))
    }

    /// Checks a token as if it were `now`, in seconds since 1970-01-01T00:00:00Z.
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
            return Ok(license);
        }
        let payload = jws::open(token, Kind::LICENSE, |kid| self.key(&snapshot, kid, now))?;
        let license = LicenseContext::new(self.inner.rules.judge(&payload, now)?);
        self.inner.floor.raise(license.claims().iat);
        if let Some(cache) = &self.inner.cache {
            cache.keep(token, &snapshot.keys, &license);
        }
        Ok(license)
    }

    /// Whether the times of a license that was found good before still hold.
    fn is_current(&self, license: &LicenseContext, now: i64) -> bool {
        let claims = license.claims();
        self.inner.rules.times(claims.iat, claims.nbf, claims.exp, now).is_ok()
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
    /// An app that keeps this number over restarts, and gives it to
    /// [`VerifierBuilder::time_floor`], is protected from a clock that was set back meanwhile.
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

/// The settings of a [`Verifier`].
#[derive(Default)]
#[must_use]
pub struct VerifierBuilder {
    issuer: Option<String>,
    audience: Option<String>,
    keys: Option<Source>,
    leeway: Option<i64>,
    clock: Option<Arc<dyn Clock>>,
    time_floor: Option<i64>,
    cache: Option<usize>,
    #[cfg(feature = "fetch")]
    fetch: crate::fetch::FetchSettings,
}

enum Source {
    Json(Vec<u8>),
    File(PathBuf),
    #[cfg(feature = "fetch")]
    Url(String),
}

impl VerifierBuilder {
    /// Who issues the tokens: the `iss` of every token must be exactly this. Required.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// For whom tokens are meant: the `aud` of every token must be exactly this. Required.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Takes the issuer's keys from the JSON text of a JWKS.
    pub fn jwks(mut self, json: impl Into<Vec<u8>>) -> Self {
        self.keys = Some(Source::Json(json.into()));
        self
    }

    /// Takes the issuer's keys from a key set of the contract.
    pub fn jwk_set(self, set: &JwkSet) -> Self {
        // Strings cannot fail to be written; an empty text would be refused by `build`.
        self.jwks(serde_json::to_vec(set).unwrap_or_default())
    }

    /// Takes the issuer's keys from a file with a JWKS, read once by [`build`](Self::build).
    pub fn jwks_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.keys = Some(Source::File(path.into()));
        self
    }

    #[cfg(feature = "fetch")]
    pub(crate) fn set_url(&mut self, url: String) {
        self.keys = Some(Source::Url(url));
    }

    #[cfg(feature = "fetch")]
    pub(crate) fn fetch_mut(&mut self) -> &mut crate::fetch::FetchSettings {
        &mut self.fetch
    }

    /// By how many seconds the clocks of issuer and data plane may differ: 0 to 300, 60 by default.
    pub fn leeway(mut self, seconds: u32) -> Self {
        self.leeway = Some(i64::from(seconds));
        self
    }

    /// What time it must be at least, in seconds since 1970: [`Verifier::time_floor`] of an earlier
    /// run.
    pub fn time_floor(mut self, seconds: i64) -> Self {
        self.time_floor = Some(seconds);
        self
    }

    /// How many good tokens to remember, so that seeing one again costs next to nothing: 1,024 by
    /// default, which takes about 5 MB when it is full of usual tokens; 0 switches it off.
    ///
    /// A remembered token is judged by its times again and ends with its key.
    pub fn cache(mut self, tokens: usize) -> Self {
        self.cache = Some(tokens);
        self
    }

    /// Takes the time from elsewhere than the machine's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Makes the verifier.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when a required setting is missing or a setting cannot be used. With a key set
    /// URL that cannot be reached, the verifier is made all the same.
    pub fn build(self) -> Result<Verifier, BuildError> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let issuer = filled(self.issuer).ok_or(BuildError::IssuerMissing)?;
        let audience = filled(self.audience).ok_or(BuildError::AudienceMissing)?;
        let leeway = self.leeway.unwrap_or(60);
        if leeway > MAX_LEEWAY {
            return Err(BuildError::LeewayTooLong);
        }
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let given = |json: &[u8]| {
            let keys = KeySet::from_json(json).map_err(BuildError::KeySet)?;
            Ok(Arc::new(Keys::from_pointee(Snapshot::given(keys))))
        };
        #[cfg(feature = "fetch")]
        let mut refresher = None;
        let keys = match self.keys.ok_or(BuildError::KeysMissing)? {
            Source::Json(json) => given(&json)?,
            Source::File(path) => match std::fs::read(&path) {
                Ok(json) => given(&json)?,
                Err(error) => return Err(BuildError::KeysFile { path, error }),
            },
            #[cfg(feature = "fetch")]
            Source::Url(url) => {
                let started = crate::fetch::start(&url, self.fetch, Arc::clone(&clock))?;
                refresher = Some(started.refresher);
                started.keys
            }
        };
        let rules = Rules { issuer, audience, leeway };
        let cache = Cache::new(self.cache.unwrap_or(1_024));
        Ok(Verifier {
            inner: Arc::new(Inner {
                rules,
                keys,
                clock,
                floor: TimeFloor::new(self.time_floor.unwrap_or(i64::MIN)),
                cache,
                #[cfg(feature = "fetch")]
                refresher,
            }),
        })
    }
}

/// Why a [`Verifier`] could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// No issuer was set.
    IssuerMissing,
    /// No audience was set.
    AudienceMissing,
    /// No source of keys was set.
    KeysMissing,
    /// The leeway exceeds 300 seconds.
    LeewayTooLong,
    /// The key set file could not be read.
    KeysFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The key set is refused.
    KeySet(KeySetError),
    /// The key set URL cannot be used; says why.
    #[cfg(feature = "fetch")]
    KeysUrl(String),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IssuerMissing => f.write_str("an issuer is needed: the control plane's base URL"),
            Self::AudienceMissing => f.write_str("an audience is needed"),
            Self::KeysMissing => f.write_str("a source of keys is needed"),
            Self::LeewayTooLong => write!(f, "the leeway may be at most {MAX_LEEWAY} seconds"),
            Self::KeysFile { path, error } => {
                write!(f, "the key set file {} cannot be read: {error}", path.display())
            }
            Self::KeySet(error) => error.fmt(f),
            #[cfg(feature = "fetch")]
            Self::KeysUrl(why) => write!(f, "the key set URL cannot be used: {why}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::KeysFile { error, .. } => Some(error),
            Self::KeySet(error) => Some(error),
            _ => None,
        }
    }
}

/// Checks a payload before it is signed: everything that [`Verifier::verify`] checks in the claims,
/// at `now` in seconds since 1970-01-01T00:00:00Z and without leeway.
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
    let rules = Rules { issuer: issuer.to_owned(), audience: audience.to_owned(), leeway: 0 };
    rules.judge(payload, now).map(drop)
}
