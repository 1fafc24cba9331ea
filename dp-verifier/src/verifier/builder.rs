//! The settings of a verifier.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cp_contracts::JwkSet;

use arc_swap::ArcSwapOption;

use super::build_error::{BuildError, MAX_LEEWAY};
use super::{Inner, Verifier};
use crate::cache::Cache;
use crate::claims::{MAX_GRACE, Rules};
use crate::files;
use crate::import::FileOrigin;
use crate::jws::Kind;
use crate::keys::{Keys, MAX_SET};
use crate::log::LogBook;
use crate::status_list::StatusLists;
use crate::time_floor::TimeFloor;
use crate::tlog::{LogKey, MAX_PROOF};
use crate::{Clock, ImportError, KeySet, SystemClock};

/// The default size of each cache, in tokens.
const CACHED: usize = 1_024;

/// The default time before its end for which a license is `expiring`: 14 days.
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
    log_key: Option<String>,
    requires_inclusion: Option<bool>,
    #[cfg(feature = "fetch")]
    fetch: crate::fetch::FetchSettings,
    #[cfg(feature = "fetch")]
    check_in: crate::fetch::CheckInSettings,
}

enum Source {
    Json(Vec<u8>),
    File(PathBuf),
    #[cfg(feature = "fetch")]
    Url(String),
}

impl Verifier {
    /// Returns a builder. It requires an issuer, an audience and a source of keys.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::default()
    }
}

impl VerifierBuilder {
    /// Sets the issuer, which must be exactly the `iss` of every token. Required.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Sets the audience, which must be exactly the `aud` of every token. Required.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Uses the issuer's keys from the JSON text of a JWKS.
    pub fn jwks(mut self, json: impl Into<Vec<u8>>) -> Self {
        self.keys = Some(Source::Json(json.into()));
        self
    }

    /// Uses the issuer's keys from a key set of the contract.
    pub fn jwk_set(self, set: &JwkSet) -> Self {
        // Strings always serialize, and `build` would refuse an empty text.
        self.jwks(serde_json::to_vec(set).unwrap_or_default())
    }

    /// Uses the issuer's keys from a file with a JWKS. [`build`](Self::build) reads it once.
    pub fn jwks_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.keys = Some(Source::File(path.into()));
        self
    }

    /// Uses the token, keys and status list of a license file with a token, of at most 512 KiB, as
    /// the control plane exports it for a data plane without a network. [`build`](Self::build)
    /// reads it.
    ///
    /// The signer must be one of these keys: a configured key ([`jwks`](Self::jwks),
    /// [`jwks_file`](Self::jwks_file)), a key of an earlier file in the [state
    /// file](Self::state_path), or a key that one of those endorses. Without any of these keys, the
    /// file is **trusted on first use**, because the operator has installed it. Then guard it like
    /// a key set file. Its keys are used together with the configured ones.
    ///
    /// With a key set URL, the fetched keys check the file, and the file brings no keys. When no
    /// key could be fetched, only the file of the last start is accepted.
    ///
    /// With a state file, a file that is older than an imported one is refused. The file of the
    /// last start stays valid, and newer files may be [imported](Verifier::import) in between.
    ///
    /// The proof that the token is in the [log](Self::log_key) is in the file, or in a second file
    /// whose name has the suffix `.tlog-proof`.
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

    #[cfg(feature = "fetch")]
    pub(crate) fn check_in_mut(&mut self) -> &mut crate::fetch::CheckInSettings {
        &mut self.check_in
    }

    /// Sets the allowed difference between the clocks of issuer and data plane, in seconds: 0 to
    /// 300, 60 by default.
    pub fn leeway(mut self, seconds: u32) -> Self {
        self.leeway = Some(i64::from(seconds));
        self
    }

    /// Sets the time floor, in seconds since 1970: [`Verifier::time_floor`] of an earlier run.
    pub fn time_floor(mut self, seconds: i64) -> Self {
        self.time_floor = Some(seconds);
        self
    }

    /// Keeps the state of the verifier in a file, over restarts:
    ///
    /// - the [time floor](Verifier::time_floor), which reveals a clock that was set back meanwhile;
    /// - the newest status lists, and the number and keys of the newest license file, so that older
    ///   ones are refused;
    /// - the keys that files have withdrawn;
    /// - the number of the last usage report.
    ///
    /// The file is JSON, readable by its owner only, and replaced atomically. A file that other
    /// users may read or write is refused, and so is a damaged one. [`build`](Self::build) creates
    /// the file, so a directory that is not writable is an error at once. A thread writes the time
    /// floor, at most once per minute of rise and when the verifier is dropped, so no check waits
    /// for a write. [`Verifier::state_error`] reports failures. Give each data plane its own file.
    pub fn state_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_path = Some(path.into());
        self
    }

    /// Refuses every token with `clock_anomaly` while the clock is more than 5 minutes behind the
    /// [time floor](Verifier::time_floor). Without this setting, only the license's state reports
    /// it.
    pub fn strict_clock(mut self) -> Self {
        self.strict_clock = true;
        self
    }

    /// Sets the time before its end for which a license is in the state
    /// [`Expiring`](crate::LicenseState::Expiring): 14 days by default. A token with a shorter
    /// lifetime is in that state from its first day.
    pub fn expiring_period(mut self, period: Duration) -> Self {
        self.expiring = Some(period);
        self
    }

    /// Sets the size of the cache of valid license tokens, and of the cache of valid lease tokens:
    /// 1,024 tokens each by default, of which licenses need about 5 MB; 0 disables both caches.
    ///
    /// The times of a cached token are judged again at each check, and a cached token ends with its
    /// key.
    pub fn cache(mut self, tokens: usize) -> Self {
        self.cache = Some(tokens);
        self
    }

    /// Sets the public key of the issuer's log, as `GET /api/v1/log/key` and `cp-server audit key`
    /// return it: `<origin>+<key id>+<base64>`. The key must come from a trusted source, such as
    /// the app's own configuration.
    ///
    /// Every license then needs a [proof](Self::require_inclusion) that it is in the log, unless
    /// the app [admits others too](Self::allow_unlogged). The [state file](Self::state_path) keeps
    /// the newest seen checkpoint and the key: a verifier with that file and without this setting
    /// uses the stored key.
    ///
    /// With a key set URL, the verifier queries the log at the issuer's `/api/v1/log`. The state
    /// [`LogAnomaly`](crate::LicenseState::LogAnomaly) and [`Verifier::log_health`] report a log
    /// that is shorter than before or has another history.
    pub fn log_key(mut self, vkey: impl Into<String>) -> Self {
        self.log_key = Some(vkey.into());
        self
    }

    /// Requires a log key: [`build`](Self::build) fails when none is known.
    ///
    /// Whenever a [log key](Self::log_key) is known, from the settings or the [state
    /// file](Self::state_path), only licenses with a proof that their token is in the issuer's log
    /// are admitted. So a stolen signing key creates no license.
    ///
    /// The proof comes with a license file or [`Verifier::verify_with_proof`]. With a key set URL,
    /// it is fetched once for each token. Until then the token is refused with `proof_missing`.
    pub fn require_inclusion(mut self) -> Self {
        self.requires_inclusion = Some(true);
        self
    }

    /// Also admits licenses without a proof although the [log key](Self::log_key) is known. A
    /// stolen signing key can then create licenses. Existing proofs are still checked, and the log
    /// is still watched.
    pub fn allow_unlogged(mut self) -> Self {
        self.requires_inclusion = Some(false);
        self
    }

    /// Uses another clock than the machine's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError`] when a required setting is missing or a setting cannot be used. An
    /// unreachable key set URL is not an error.
    pub fn build(self) -> Result<Verifier, BuildError> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let issuer = filled(self.issuer).ok_or(BuildError::IssuerMissing)?;
        let audience = filled(self.audience).ok_or(BuildError::AudienceMissing)?;
        let leeway = self.leeway.unwrap_or(60);
        if leeway > MAX_LEEWAY {
            return Err(BuildError::LeewayTooLong);
        }
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let floor = self.time_floor.unwrap_or(i64::MIN);
        let floor = match &self.state_path {
            None => TimeFloor::new(floor),
            Some(path) => TimeFloor::kept_in(path, floor)
                .map_err(|why| BuildError::StateFile { path: path.clone(), why })?,
        };
        let record = floor.store().kept();
        // A forgotten setting must not bypass the log.
        let log_key = self.log_key.as_deref().or_else(|| record.log_key());
        let log_key = log_key.map(str::parse).transpose().map_err(BuildError::LogKey)?;
        let log_key: Option<LogKey> = log_key;
        let unreplaced = log_key.as_ref().map(|key| record.not_replaced(key)).transpose();
        unreplaced.map_err(|error| BuildError::LogKey(error.detail().to_owned()))?;
        let requires_inclusion = self.requires_inclusion.unwrap_or(log_key.is_some());
        if requires_inclusion && log_key.is_none() {
            return Err(BuildError::LogKey("is required for require_inclusion".to_owned()));
        }
        let withdrawn = record.keys.withdrawn();
        let kept = record.file.map(|file| KeySet::of(&file.jwks)).transpose();
        let kept = kept.map_err(BuildError::KeySet)?;
        let bundle =
            FileOrigin::Configured { trusts_itself: self.keys.is_none() && kept.is_none() };
        #[cfg(feature = "fetch")]
        let (mut fetched, ca) = (None, self.fetch.ca.clone());
        let pinned = match self.keys {
            None if kept.is_none() && self.bundle.is_none() => return Err(BuildError::KeysMissing),
            None => Some(KeySet::default()),
            Some(Source::Json(json)) => Some(KeySet::from_json(&json).map_err(BuildError::KeySet)?),
            Some(Source::File(path)) => match files::read(&path, MAX_SET) {
                Ok(json) => {
                    let keys = KeySet::from_json(files::trimmed_bytes(&json));
                    Some(keys.map_err(BuildError::KeySet)?)
                }
                Err(error) => return Err(BuildError::KeysFile { path, error }),
            },
            #[cfg(feature = "fetch")]
            Some(Source::Url(url)) => {
                let clock = Arc::clone(&clock);
                let started = crate::fetch::start(&url, self.fetch, clock, withdrawn.clone());
                fetched = Some(started.map_err(BuildError::KeysUrl)?);
                None
            }
        };
        let expiring = self.expiring.unwrap_or(EXPIRING).as_secs();
        let expiring = i64::try_from(expiring).unwrap_or(i64::MAX);
        let rules = Rules { issuer, audience, leeway, max_grace: MAX_GRACE, expiring };
        let known = pinned.clone().unwrap_or_default().without(&withdrawn);
        let known = known.with(&kept.unwrap_or_default());
        let keys = Arc::new(Keys::new(known, i64::MAX, withdrawn));
        #[cfg(feature = "fetch")]
        let keys = fetched.as_ref().map_or(keys, |fetched| Arc::clone(&fetched.keys));
        let lists = Arc::new(StatusLists::new(rules, keys, clock, floor));
        let log = log_key.map(|key| LogBook::new(key, requires_inclusion, Arc::clone(&lists)));
        let log = log.transpose().map_err(|why| BuildError::StateFile {
            path: self.state_path.unwrap_or_default(),
            why,
        })?;
        let log = log.map(Arc::new);
        #[cfg(feature = "fetch")]
        let fetching = fetched
            .map(|fetched| fetched.with(&lists, log.as_ref(), self.check_in.url.as_ref()))
            .transpose();
        #[cfg(feature = "fetch")]
        let fetching = fetching.map_err(BuildError::KeysUrl)?;
        let verifier = Verifier {
            inner: Arc::new(Inner {
                lists,
                log,
                is_strict: self.strict_clock,
                pinned,
                bundled_token: ArcSwapOption::empty(),
                importing: Mutex::new(()),
                cache: Cache::new(self.cache.unwrap_or(CACHED)),
                leases: Cache::new(self.cache.unwrap_or(CACHED)),
                #[cfg(feature = "fetch")]
                fetching,
                #[cfg(feature = "fetch")]
                ca,
                #[cfg(feature = "fetch")]
                check_ins: std::sync::OnceLock::new(),
            }),
        };
        if let Some(path) = self.bundle {
            let unreadable = |why: String| BuildError::BundleFile { path: path.clone(), why };
            let text = files::read(&path, Kind::LICENSE_FILE.max)
                .map_err(|error| unreadable(error.to_string()))?;
            let text = String::from_utf8(text).map_err(|_| unreadable("is not text".to_owned()))?;
            let proof = match files::read(&files::beside(&path, ".tlog-proof"), MAX_PROOF) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                read => Some(read.map_err(|error| unreadable(format!("its proof: {error}")))?),
            };
            let proof = proof.map(String::from_utf8).transpose();
            let proof = proof.map_err(|_| unreadable("its proof is not text".to_owned()))?;
            let proof = proof.as_deref().map(files::note);
            let taken = verifier.take_file(&text, proof.as_deref(), bundle).map_err(ImportError);
            taken.map_err(|error| BuildError::BundleRefused { path, error })?;
        }
        #[cfg(feature = "fetch")]
        verifier.start_check_ins(self.check_in).map_err(BuildError::CheckIn)?;
        Ok(verifier)
    }
}
