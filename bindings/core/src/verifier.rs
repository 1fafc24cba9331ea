//! The verifier of the bindings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use dp_verifier::cp_contracts::PoolUsage;
use dp_verifier::{KeySet, LeaseContext, LicenseContext, LicenseState};
use serde_json::{Number, Value, json};

use crate::holder::holder;
use crate::wait::block_on;
use crate::{Failure, Leases, Settings};

/// A verifier, whose functions return JSON and [`Failure`]s.
///
/// A clone copies a pointer. Any number of threads may use it.
#[derive(Clone, Debug)]
pub struct Verifier {
    pub(crate) inner: dp_verifier::Verifier,
    /// The clock that stands still, for tests.
    pub(crate) fixed: Option<Arc<AtomicI64>>,
}

impl Verifier {
    /// Creates a verifier from the text of a JSON object with [`Settings`].
    ///
    /// # Errors
    ///
    /// Returns the failure `settings_invalid`, or the code of a refused license file.
    pub fn from_json(settings: &str) -> Result<Self, Failure> {
        Settings::from_json(settings)?.build()
    }

    /// Checks a token now. Does no I/O and never blocks.
    ///
    /// # Errors
    ///
    /// Returns the refusal.
    pub fn verify(&self, token: &str) -> Result<LicenseContext, Failure> {
        Ok(self.inner.verify(token)?)
    }

    /// Checks a token at a time, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// Returns the refusal.
    pub fn verify_at(&self, token: &str, now: i64) -> Result<LicenseContext, Failure> {
        Ok(self.inner.verify_at(token, now)?)
    }

    /// Checks a token with a proof that it is in the issuer's log.
    ///
    /// # Errors
    ///
    /// Returns the refusal.
    pub fn verify_with_proof(&self, token: &str, proof: &str) -> Result<LicenseContext, Failure> {
        Ok(self.inner.verify_with_proof(token, proof)?)
    }

    /// Checks a lease token beside its license. The holder is `{"id"}`, `{"email"}`, `{"user_id"}`,
    /// `{"provider", "subject"}`, or a machine with `{"machine_id"}`, `{"text"}` or `{"components"}`.
    ///
    /// # Errors
    ///
    /// Returns the refusal, or `argument_invalid` for an invalid holder.
    pub fn verify_lease(
        &self,
        lease: &str,
        license: &LicenseContext,
        of: &Value,
    ) -> Result<LeaseContext, Failure> {
        Ok(self.inner.verify_lease(lease, license, &holder(of, license)?)?)
    }

    /// Returns the current state of a license that was admitted earlier.
    #[must_use]
    pub fn state_of(&self, license: &LicenseContext) -> LicenseState {
        self.inner.state_of(license)
    }

    /// Imports a license file.
    ///
    /// # Errors
    ///
    /// Returns the refusal. The verifier is then unchanged.
    pub fn import_file(&self, document: &str) -> Result<Value, Failure> {
        Ok(json!(self.inner.import(document)?))
    }

    /// Imports a status list token.
    ///
    /// # Errors
    ///
    /// Returns the refusal. The verifier is then unchanged.
    pub fn import_status_list(&self, document: &str) -> Result<Value, Failure> {
        Ok(json!(self.inner.import_status_list(document)?))
    }

    /// Replaces the configured keys by those of a key set.
    ///
    /// # Errors
    ///
    /// Returns the failure `argument_invalid` for a refused set.
    pub fn replace_keys(&self, jwks: &str) -> Result<(), Failure> {
        let keys = KeySet::from_json(jwks.as_bytes()).map_err(Failure::argument)?;
        self.inner.replace_keys(keys);
        Ok(())
    }

    /// Returns the license of the data plane's own token.
    ///
    /// # Errors
    ///
    /// Returns the refusal; `token_missing` without a token.
    pub fn current(&self) -> Result<LicenseContext, Failure> {
        Ok(self.inner.current()?)
    }

    /// Returns the data plane's own token. It is a credential.
    #[must_use]
    pub fn current_token(&self) -> Option<String> {
        self.inner.current_token().map(|token| token.to_string())
    }

    /// Waits for the first request for a token's status list, at most some seconds. Returns at once
    /// without a network, and when that request is done.
    pub fn wait_for_status(&self, token: &str) {
        block_on(self.inner.refresh_status(token));
    }

    /// Fetches keys, status lists and the log now, and waits for the outcome. Does nothing when the
    /// keys do not come from a URL.
    ///
    /// # Errors
    ///
    /// Returns the failure `fetch_failed`. The last valid documents stay in use.
    pub fn refresh(&self) -> Result<(), Failure> {
        self.inner.refresh_keys()?;
        self.inner.refresh_status_lists()?;
        Ok(self.inner.refresh_log()?)
    }

    /// Checks in now, and waits for the outcome. Does nothing without check-ins.
    ///
    /// # Errors
    ///
    /// Returns the failure `fetch_failed`.
    pub fn check_in(&self) -> Result<(), Failure> {
        Ok(self.inner.check_in_now()?)
    }

    /// Returns the health of the verifier, for health checks and metrics.
    #[must_use]
    pub fn health(&self) -> Value {
        let keys = self.inner.keys_health().map(|health| {
            json!({
                "fetched_at": health.fetched_at, "last_error": health.last_error,
                "attempts": health.attempts,
            })
        });
        let check_in = self.inner.check_in_health().map(|health| {
            json!({
                "checked_in_at": health.checked_in_at, "code": health.code,
                "next_at": health.next_at, "last_error": health.last_error,
                "attempts": health.attempts,
            })
        });
        let log = self.inner.log_health().map(|health| {
            json!({
                "size": health.checkpoint.map(|checkpoint| checkpoint.size()),
                "anomaly": health.anomaly.map(|anomaly| anomaly.code),
                "checked_at": health.checked_at, "last_error": health.last_error,
            })
        });
        let cache = self.inner.cache_stats();
        let cache = cache.map(|stats| json!({ "hits": stats.hits, "misses": stats.misses }));
        let lists = self.inner.status_lists();
        let warnings: Vec<_> = lists.iter().filter_map(|list| list.warning()).collect();
        json!({
            "keys": keys, "status_lists": lists, "warnings": warnings,
            "status_lists_error": self.inner.status_lists_error(), "check_in": check_in,
            "log": log, "cache": cache, "state_error": self.inner.state_error(),
            "time_floor": match self.inner.time_floor() { i64::MIN => None, floor => Some(floor) },
            "clock_is_behind": self.inner.clock_is_behind(),
        })
    }

    /// Creates the next usage report of the license files' deployment. `counters` has the usage of
    /// each metric, `leases` the use of each pool as [`Leases::take_usage`] returns it.
    ///
    /// # Errors
    ///
    /// Returns the failure `report_invalid`, or `argument_invalid` for other types.
    pub fn usage_report(&self, counters: &Value, leases: &Value) -> Result<String, Failure> {
        let counters: BTreeMap<String, Number> = argument("counters", counters)?;
        let leases: BTreeMap<String, PoolUsage> = argument("leases", leases)?;
        Ok(self.inner.usage_report_with_leases(counters, leases)?)
    }

    /// Returns a client that holds seats, with the deployment's token or a license key.
    #[must_use]
    pub fn leases(&self, credential: &str) -> Leases {
        Leases::new(self.inner.clone(), credential)
    }

    /// Sets the clock of a verifier with the setting `fixed_time`.
    ///
    /// # Errors
    ///
    /// Returns the failure `argument_invalid` without that setting.
    pub fn set_fixed_time(&self, now: i64) -> Result<(), Failure> {
        let detail = "the verifier uses the machine's clock: it has no setting `fixed_time`";
        let fixed = self.fixed.as_ref().ok_or_else(|| Failure::argument(detail))?;
        fixed.store(now, Relaxed);
        Ok(())
    }
}

/// Reads an argument. `null` is an empty map.
fn argument<T: serde::de::DeserializeOwned + Default>(
    name: &str,
    value: &Value,
) -> Result<T, Failure> {
    match value {
        Value::Null => Ok(T::default()),
        value => T::deserialize(value)
            .map_err(|error| Failure::argument(format!("`{name}` is invalid: {error}"))),
    }
}
