//! What is fetched for a verifier: its settings, its health, and fetching at once.

use std::path::PathBuf;
use std::time::Duration;

use super::builder::VerifierBuilder;
use crate::Verifier;
use crate::fetch::{FetchError, KeysHealth};

impl VerifierBuilder {
    /// Takes the issuer's keys from its JWKS URL, and refreshes them in the background.
    ///
    /// The URL is https, or http on this machine (`localhost`, `127.0.0.0/8`, `[::1]`). Redirects
    /// are not followed, answers over 64 KiB are refused, and a request ends after 5 seconds.
    /// A set that is refused never replaces a good one.
    ///
    /// [`build`](Self::build) waits for the first answer, unless a [stored](Self::jwks_store) set
    /// is at hand. When the control plane cannot be reached, the verifier starts all the same and
    /// refuses with `keys_unavailable` until it can.
    ///
    /// The status lists that tokens refer to are fetched too, from then on when a genuine token
    /// first refers to one; see [`Verifier::refresh_status`].
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.set_url(url.into());
        self
    }

    /// Keeps the last good key set in a file, so that a restart works without the control plane.
    ///
    /// The file is replaced as a whole and readable by its owner only. Give each data plane its own.
    pub fn jwks_store(mut self, path: impl Into<PathBuf>) -> Self {
        self.fetch_mut().store = Some(path.into());
        self
    }

    /// Trusts only the certificate authorities in a PEM file for the JWKS URL, for a control plane
    /// whose certificate is not from a public one. The file is read once by [`build`](Self::build).
    pub fn jwks_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.fetch_mut().ca = Some(path.into());
        self
    }

    /// For how long after its fetch a key set may be used when no newer one can be had: 7 days by
    /// default. Then every token is refused with `keys_unavailable`.
    pub fn jwks_max_stale(mut self, period: Duration) -> Self {
        self.fetch_mut().max_stale = i64::try_from(period.as_secs()).unwrap_or(i64::MAX);
        self
    }

    /// How long an unknown key name waits after a fetch before it causes the next, and a failed
    /// fetch before it is repeated: 30 seconds by default.
    pub fn jwks_cooldown(mut self, period: Duration) -> Self {
        self.fetch_mut().cooldown = period;
        self
    }
}

impl Verifier {
    /// How the fetched keys are doing; none when the keys do not come from a URL.
    #[must_use]
    pub fn keys_health(&self) -> Option<KeysHealth> {
        self.fetching().map(|fetching| fetching.keys.health())
    }

    /// Fetches the keys now and waits for the outcome, for seconds if need be; does nothing when the
    /// keys do not come from a URL.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when the set could not be fetched or is refused, and the last good one stays;
    /// or when it could not be stored.
    pub fn refresh_keys(&self) -> Result<(), FetchError> {
        self.fetching().map_or(Ok(()), |fetching| fetching.keys.refresh_now())
    }

    /// Asks for all status lists now and waits for the outcome, for seconds if need be; does nothing
    /// when the keys do not come from a URL.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when a list could not be fetched or is refused, and the last good one stays.
    pub fn refresh_status_lists(&self) -> Result<(), FetchError> {
        let Some(fetching) = self.fetching() else { return Ok(()) };
        fetching.lists.refresh_now();
        self.status_lists_error().map_or(Ok(()), |error| Err(FetchError(error)))
    }

    /// Why the last request for a status list failed; none when it succeeded for each.
    #[must_use]
    pub fn status_lists_error(&self) -> Option<String> {
        self.fetching()?.lists.last_error()
    }

    /// Asks the issuer's log now whether it extends what was seen of it, and waits for the outcome,
    /// for seconds if need be; does nothing without a [log key](crate::VerifierBuilder::log_key) or
    /// when the keys do not come from a URL.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when the log could not be asked, or contradicts what was seen:
    /// [`log_health`](Self::log_health) tells which.
    pub fn refresh_log(&self) -> Result<(), FetchError> {
        let fetcher = self.fetching().and_then(|fetching| fetching.log.as_ref());
        let Some(fetcher) = fetcher else { return Ok(()) };
        fetcher.refresh_now();
        let health = self.log_health();
        let error = health.and_then(|health| {
            let anomaly = health.anomaly.map(|anomaly| anomaly.error().to_string());
            anomaly.or(health.last_error)
        });
        error.map_or(Ok(()), |error| Err(FetchError(error)))
    }
}
