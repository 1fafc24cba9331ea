//! The settings of a verifier.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cp_contracts::JwkSet;

use super::{Inner, Keys, Snapshot, Verifier};
use crate::bundle::Bundle;
use crate::cache::Cache;
use crate::claims::{MAX_GRACE, Rules};
use crate::clock::TimeFloor;
use crate::files;
use crate::keys::MAX_SET;
use crate::{Clock, KeySet, KeySetError, SystemClock};

/// The longest leeway, in seconds: "no more than a few minutes" (RFC 7519 §4.1.4).
const MAX_LEEWAY: i64 = 300;

/// How long before its end a license is `expiring` unless the app says otherwise: 14 days.
const EXPIRING: Duration = Duration::from_secs(14 * 86_400);

/// The settings of a [`Verifier`].
#[derive(Default)]
#[must_use]
pub struct VerifierBuilder {
    issuer: Option<String>,
    audience: Option<String>,
    keys: Option<Source>,
    bundle: Option<PathBuf>,
    leeway: Option<i64>,
    clock: Option<Arc<dyn Clock>>,
    time_floor: Option<i64>,
    state_path: Option<PathBuf>,
    strict_clock: bool,
    expiring: Option<Duration>,
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

    /// Takes a bundle file, as the control plane's `license export` writes it for a data plane
    /// without a network: `{"token": "…", "jwks": {"keys": […]}, "issued_at": …}`, of at most
    /// 256 KiB, read once by [`build`](Self::build). Other members are ignored.
    ///
    /// The token is [`Verifier::bundled_token`]. The file's keys are believed for no other reason
    /// than that the operator installed the file: whoever can write it can issue licenses, so guard
    /// it like a key set file. When another source of keys is set as well, that one is used and the
    /// file's keys are not even read. `issued_at` is not signed, and nothing follows from it.
    pub fn bundle_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.bundle = Some(path.into());
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

    /// Keeps the [time floor](Verifier::time_floor) in a file, so that a clock that was set back
    /// while the data plane was down is noticed too.
    ///
    /// The file is `{"time_floor": seconds}`, readable by its owner only and replaced as a whole;
    /// [`build`](Self::build) makes it, so that a place that cannot be written is noticed at once.
    /// Later it is written by a thread of its own, so no check waits for it, at most once per minute
    /// by which the floor rises and when the verifier is dropped; failures are told by
    /// [`Verifier::state_error`]. Give each data plane its own.
    pub fn state_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_path = Some(path.into());
        self
    }

    /// Refuses every token with `clock_anomaly` while the clock is more than 5 minutes behind the
    /// [time floor](Verifier::time_floor), instead of only telling it in the license's state.
    pub fn strict_clock(mut self) -> Self {
        self.strict_clock = true;
        self
    }

    /// How long before its end a license is in the state
    /// [`Expiring`](crate::LicenseState::Expiring): 14 days by default. A token that lives no longer
    /// than that is so from its first day.
    pub fn expiring_period(mut self, period: Duration) -> Self {
        self.expiring = Some(period);
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
        let bundle = self.bundle.map(Bundle::read).transpose()?;
        let given = |keys: Result<KeySet, KeySetError>| {
            let keys = keys.map_err(BuildError::KeySet)?;
            Ok(Arc::new(Keys::from_pointee(Snapshot::given(keys))))
        };
        #[cfg(feature = "fetch")]
        let mut refresher = None;
        let keys = match (self.keys, &bundle) {
            (None, None) => return Err(BuildError::KeysMissing),
            (None, Some(bundle)) => given(bundle.keys())?,
            (Some(Source::Json(json)), _) => given(KeySet::from_json(&json))?,
            (Some(Source::File(path)), _) => match files::read(&path, MAX_SET) {
                Ok(json) => given(KeySet::from_json(&json))?,
                Err(error) => return Err(BuildError::KeysFile { path, error }),
            },
            #[cfg(feature = "fetch")]
            (Some(Source::Url(url)), _) => {
                let started = crate::fetch::start(&url, self.fetch, Arc::clone(&clock))?;
                refresher = Some(started.refresher);
                started.keys
            }
        };
        let expiring = self.expiring.unwrap_or(EXPIRING).as_secs();
        let expiring = i64::try_from(expiring).unwrap_or(i64::MAX);
        let floor = TimeFloor::new(self.time_floor.unwrap_or(i64::MIN));
        let floor = match self.state_path {
            None => floor,
            Some(path) => {
                floor.kept_in(&path).map_err(|why| BuildError::StateFile { path, why })?
            }
        };
        Ok(Verifier {
            inner: Arc::new(Inner {
                rules: Rules { issuer, audience, leeway, max_grace: MAX_GRACE, expiring },
                keys,
                clock,
                floor,
                is_strict: self.strict_clock,
                bundled_token: bundle.and_then(Bundle::into_token),
                cache: Cache::new(self.cache.unwrap_or(1_024)),
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
    /// The bundle file cannot be used.
    BundleFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The state file cannot be used.
    StateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
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
            Self::BundleFile { path, why } => {
                write!(f, "the bundle file {} cannot be used: {why}", path.display())
            }
            Self::StateFile { path, why } => {
                write!(f, "the state file {} cannot be used: {why}", path.display())
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
