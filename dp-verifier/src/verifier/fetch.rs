//! The verifier's functions for fetched keys, status lists and logs: settings, health, refresh.

use std::path::PathBuf;
use std::time::Duration;

use super::builder::VerifierBuilder;
use crate::Verifier;
use crate::fetch::{FetchError, KeysHealth};

impl VerifierBuilder {
    /// Uses the issuer's keys from its JWKS URL, and refreshes them in the background.
    ///
    /// The URL is https, or http on this machine (`localhost`, `127.0.0.0/8`, `[::1]`). The
    /// verifier does not follow redirects, refuses responses over 64 KiB, and ends a request after
    /// 5 seconds. A refused set never replaces a valid one.
    ///
    /// [`build`](Self::build) waits for the first response, unless there is a
    /// [stored](Self::jwks_store) set. When the control plane is unreachable, the verifier starts
    /// anyway and refuses tokens with `keys_unavailable` until the first fetch.
    ///
    /// Status lists are fetched too, each from the first genuine token that refers to it; see
    /// [`Verifier::refresh_status`].
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.set_url(url.into());
        self
    }

    /// Keeps the last valid key set in a file, so that a restart works without the control plane.
    ///
    /// The file is replaced atomically and readable by its owner only. A file that other users may
    /// write is refused. Give each data plane its own file, in a directory that only its user may
    /// write.
    pub fn jwks_store(mut self, path: impl Into<PathBuf>) -> Self {
        self.fetch_mut().store = Some(path.into());
        self
    }

    /// Trusts only the certificate authorities in a PEM file for the control plane: its JWKS URL,
    /// check-ins and leases. It is for a control plane with a private certificate. [`build`](Self::build) reads the file once.
    pub fn jwks_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.fetch_mut().ca = Some(path.into());
        self
    }

    /// Sets the maximum age of a fetched key set: 7 days by default. After that, every token is
    /// refused with `keys_unavailable`.
    pub fn jwks_max_stale(mut self, period: Duration) -> Self {
        self.fetch_mut().max_stale = i64::try_from(period.as_secs()).unwrap_or(i64::MAX);
        self
    }

    /// Sets the minimum time between a fetch and the next one for an unknown key or after a
    /// failure: 30 seconds by default.
    pub fn jwks_cooldown(mut self, period: Duration) -> Self {
        self.fetch_mut().cooldown = period;
        self
    }
}

impl Verifier {
    /// Returns the health of the fetched keys, or `None` when the keys do not come from a URL.
    #[must_use]
    pub fn keys_health(&self) -> Option<KeysHealth> {
        self.fetching().map(|fetching| fetching.keys.health())
    }

    /// Fetches the keys now and waits for the outcome, up to some seconds. Does nothing when the
    /// keys do not come from a URL.
    ///
    /// # Errors
    ///
    /// Returns [`FetchError`] when the set could not be fetched or is refused, or when it could not
    /// be stored. The last valid set stays in use.
    pub fn refresh_keys(&self) -> Result<(), FetchError> {
        self.fetching().map_or(Ok(()), |fetching| fetching.keys.refresh_now())
    }

    /// Fetches all status lists now and waits for the outcome, up to some seconds. Does nothing
    /// when the keys do not come from a URL.
    ///
    /// # Errors
    ///
    /// Returns [`FetchError`] when a list could not be fetched or is refused. The last valid list
    /// stays in use.
    pub fn refresh_status_lists(&self) -> Result<(), FetchError> {
        let Some(fetching) = self.fetching() else { return Ok(()) };
        fetching.lists.refresh_now();
        self.status_lists_error().map_or(Ok(()), |error| Err(FetchError(error)))
    }

    /// Returns the error of the last requests for status lists, or `None` when all succeeded.
    #[must_use]
    pub fn status_lists_error(&self) -> Option<String> {
        self.fetching()?.lists.last_error()
    }

    /// Checks now whether the issuer's log extends its seen history, and waits for the outcome, up
    /// to some seconds. Does nothing without a [log key](crate::VerifierBuilder::log_key), or when
    /// the keys do not come from a URL.
    ///
    /// # Errors
    ///
    /// Returns [`FetchError`] when the request failed, or when the log contradicts its seen
    /// history. [`log_health`](Self::log_health) distinguishes the two.
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
