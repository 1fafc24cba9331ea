//! The verifier of the bindings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use dp_verifier::cp_contracts::PoolUsage;
use std::time::Duration;

use dp_verifier::{Credential, KeySet, LeaseContext, LicenseContext, LicenseState};
use serde_json::{Number, Value, json};

use crate::holder::holder;
use crate::json::object;
use crate::wait::block_on_for;
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

    /// Checks a lease token beside its license at a time, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// Returns the refusal, or `argument_invalid` for an invalid holder.
    pub fn verify_lease_at(
        &self,
        lease: &str,
        license: &LicenseContext,
        of: &Value,
        now: i64,
    ) -> Result<LeaseContext, Failure> {
        Ok(self.inner.verify_lease_at(lease, license, &holder(of, license)?, now)?)
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
        // The futures of the verifier end earlier, by the limits of its requests.
        let _ended = block_on_for(self.inner.refresh_status(token), Duration::MAX);
    }

    /// Fetches keys, status lists and the log now, each also when another one fails, and waits for the
    /// outcome. Does nothing when the keys do not come from a URL.
    ///
    /// # Errors
    ///
    /// Returns the failure `fetch_failed` of the first one. The last valid documents stay in use.
    pub fn refresh(&self) -> Result<(), Failure> {
        let keys = self.inner.refresh_keys();
        let lists = self.inner.refresh_status_lists();
        let log = self.inner.refresh_log();
        Ok(keys.and(lists).and(log)?)
    }

    /// Checks in now, and waits for the outcome. Does nothing without check-ins.
    ///
    /// # Errors
    ///
    /// Returns the failure `fetch_failed`.
    pub fn check_in(&self) -> Result<(), Failure> {
        Ok(self.inner.check_in_now()?)
    }

    /// Returns whether the verifier can judge tokens, the reasons to look at it, and ages, with
    /// `http_status` for a readiness check. Contains codes and numbers only, so it may be public.
    #[must_use]
    pub fn readiness(&self) -> Value {
        let health = self.inner.health();
        let mut value = json!(health);
        if let Some(members) = value.as_object_mut() {
            members.insert("http_status".to_owned(), health.http_status().into());
        }
        value
    }

    /// Returns the details of the verifier's health, for operators and metrics. They have URLs and
    /// messages, so they are not for the public.
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
            let anomaly = health.anomaly;
            json!({
                "size": health.checkpoint.as_ref().map(|checkpoint| checkpoint.size()),
                "checkpoint": health.checkpoint.as_ref().map(|checkpoint| checkpoint.text()),
                "anomaly": anomaly.as_ref().map(|anomaly| anomaly.code),
                "anomaly_at": anomaly.as_ref().map(|anomaly| anomaly.at),
                "seen": anomaly.as_ref().map(|anomaly| anomaly.seen.text()),
                "shown": anomaly.as_ref().map(|anomaly| anomaly.shown.text()),
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

    /// Returns a client that holds seats, with the deployment's token or a license key. A string in
    /// the form of the issuer's license keys is a license key.
    #[must_use]
    pub fn leases(&self, credential: &str) -> Leases {
        Leases::new(self.inner.clone(), credential.into())
    }

    /// Returns a client that holds seats with a license key, also with one that the vendor imported
    /// from another system.
    #[must_use]
    pub fn leases_of_license_key(&self, license_key: &str) -> Leases {
        Leases::new(self.inner.clone(), Credential::license_key(license_key))
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
        value => object(value)
            .map_err(|error| Failure::form(Failure::argument, &format!("`{name}`"), &error)),
    }
}
