//! The published metadata and keys of issuers, cached.
//!
//! # Design
//! Keys change without notice, and an issuer may be down. A token with an unknown key causes a
//! request to its issuer, at most once per `COOLDOWN`. Known keys stay valid for `STALE` when the
//! issuer does not answer. One request runs at a time; concurrent callers wait for it, or continue
//! with the known keys. A signature that does not match causes a request within the same
//! `COOLDOWN`, because a key may change under the same key ID.
//!
//! The metadata are another party's document. Members that this server does not use cannot cause a
//! refusal. An optional member that is `null`, or of another type, counts as absent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::key_sets::KeySet;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::json;
use crate::kernel::outbound::{ChosenBy, FetchSettings, Fetcher};

/// The shortest interval between requests because of an unknown key, after an answer.
const COOLDOWN: TimeDelta = TimeDelta::seconds(30);
/// The shortest interval between requests after a failure.
const COOLDOWN_AFTER_FAILURE: TimeDelta = TimeDelta::seconds(5);
/// The lifetime of a copy: that of the answer, within these bounds.
const LEAST_AGE: i64 = 60;
const USUAL_AGE: i64 = 600;
const MOST_AGE: i64 = 3600;
/// The lifetime of a copy when the issuer does not answer.
const STALE: TimeDelta = TimeDelta::hours(24);
/// The largest number of cached issuers.
const ISSUERS: usize = 1000;

/// The source of documents. Two providers with the same source share the cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    pub issuer: String,
    /// The operator's key set, which replaces that of the metadata.
    pub jwks_uri: Option<String>,
    pub chosen_by: ChosenBy,
}

/// An issuer's metadata (OpenID Connect Discovery 1.0, section 3; RFC 8414, section 2).
#[derive(Clone, Debug)]
pub struct Discovery {
    issuer: String,
    jwks_uri: Option<String>,
    pub authorization_endpoint: Option<String>,
    pub token_endpoint: Option<String>,
    pub end_session_endpoint: Option<String>,
    pub token_endpoint_auth_methods_supported: Vec<String>,
    pub authorization_response_iss_parameter_supported: bool,
}

impl Discovery {
    fn read(text: &[u8]) -> Result<Self, String> {
        let document = json::strict(text)?;
        let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
        let methods = document.get("token_endpoint_auth_methods_supported");
        let methods = methods.and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            issuer: text("issuer").ok_or("it has no issuer")?,
            jwks_uri: text("jwks_uri"),
            authorization_endpoint: text("authorization_endpoint"),
            token_endpoint: text("token_endpoint"),
            end_session_endpoint: text("end_session_endpoint"),
            token_endpoint_auth_methods_supported: methods
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            authorization_response_iss_parameter_supported: document
                .get("authorization_response_iss_parameter_supported")
                .is_some_and(|value| *value == true),
        })
    }
}

/// The cached documents of all issuers.
pub struct Discoveries {
    pub fetcher: Fetcher,
    known: Mutex<HashMap<Source, Arc<Known>>>,
}

impl Part for Discoveries {}

/// The cache of one issuer.
#[derive(Default)]
struct Known {
    state: Mutex<State>,
    /// The lock of the one request that runs.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    discovery: Option<Copy<Discovery>>,
    keys: Option<Copy<KeySet>>,
    asked_at: Option<DateTime<Utc>>,
    /// The reason of the last failure.
    failure: Option<String>,
    /// The instant and reason of the last failure to read the metadata.
    undiscovered: Option<(DateTime<Utc>, String)>,
    used_at: Option<DateTime<Utc>>,
}

/// A copy of a document.
struct Copy<T> {
    document: Arc<T>,
    fetched_at: DateTime<Utc>,
    max_age: TimeDelta,
}

impl<T> Clone for Copy<T> {
    fn clone(&self) -> Self {
        let Self { document, fetched_at, max_age } = self;
        Self { document: document.clone(), fetched_at: *fetched_at, max_age: *max_age }
    }
}

impl<T> Copy<T> {
    fn new(document: T, now: DateTime<Utc>, max_age: Option<i64>) -> Self {
        let max_age = max_age.unwrap_or(USUAL_AGE).clamp(LEAST_AGE, MOST_AGE);
        let max_age = TimeDelta::seconds(max_age);
        Self { document: Arc::new(document), fetched_at: now, max_age }
    }

    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        now - self.fetched_at < self.max_age
    }

    fn is_usable(&self, now: DateTime<Utc>) -> bool {
        now - self.fetched_at < STALE
    }
}

impl Discoveries {
    pub fn new(settings: &FetchSettings) -> Self {
        Self { fetcher: Fetcher::new(settings), known: Mutex::default() }
    }

    /// Returns the keys to verify a token with this key ID or without one. The set contains the
    /// key, unless the issuer lacks it.
    ///
    /// 503 when the issuer does not answer and no cached keys help.
    /// 503 when the issuer cannot be asked and nothing that is known helps.
    pub async fn keys(
        &self,
        source: &Source,
        kid: Option<&str>,
        alg: &str,
        now: DateTime<Utc>,
    ) -> Result<Arc<KeySet>> {
        let known = self.known(source, now);
        let has = |keys: &KeySet| keys.has(kid, alg);
        let state = known.state();
        if let Some(set) = state.keys_with(has, |copy| copy.is_fresh(now)) {
            return Ok(set);
        }
        let guard = match state.keys_with(has, |copy| copy.is_usable(now)) {
            None => known.asking.lock().await,
            Some(set) => match known.asking.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(set),
            },
        };
        let state = known.state();
        let came = state.keys_with(has, |copy| copy.is_fresh(now));
        if came.is_none() && state.may_ask(now) {
            self.refresh(source, &known, now).await;
        }
        drop(guard);
        let state = known.state();
        if let Some(set) = state.keys_with(has, |copy| copy.is_usable(now)) {
            return Ok(set);
        }
        match (state.failure, state.keys) {
            (None, Some(copy)) => Ok(copy.document),
            (failure, _) => Err(unreachable_issuer(&source.issuer, failure)),
        }
    }

    /// Returns the keys that the issuer publishes now, if they differ from these and a request is
    /// allowed.
    pub async fn newer(
        &self,
        source: &Source,
        than: &Arc<KeySet>,
        now: DateTime<Utc>,
    ) -> Option<Arc<KeySet>> {
        let known = self.known(source, now);
        let newer = || {
            let keys = known.state().keys.map(|copy| copy.document);
            keys.filter(|keys| !Arc::ptr_eq(keys, than))
        };
        if newer().is_none() && known.state().may_ask(now) {
            let guard = known.asking.lock().await;
            // The request before may have fetched them.
            if newer().is_none() && known.state().may_ask(now) {
                self.refresh(source, &known, now).await;
            }
            drop(guard);
        }
        newer()
    }

    /// Returns the issuer's metadata.
    ///
    /// # Errors
    /// 503 when the issuer does not answer and the cached copy is too old.
    pub async fn discovery(&self, source: &Source, now: DateTime<Utc>) -> Result<Arc<Discovery>> {
        let known = self.known(source, now);
        let fresh = |state: State| {
            state.discovery.filter(|copy| copy.is_fresh(now)).map(|copy| copy.document)
        };
        if let Some(document) = fresh(known.state()) {
            return Ok(document);
        }
        let _guard = known.asking.lock().await;
        if let Some(document) = fresh(known.state()) {
            return Ok(document);
        }
        let asked = self.discover(source, &known, now).await;
        asked.map_err(|failure| unreachable_issuer(&source.issuer, Some(failure)))
    }

    fn known(&self, source: &Source, now: DateTime<Utc>) -> Arc<Known> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ISSUERS && !all.contains_key(source) {
            let used = |known: &Known| known.state().used_at;
            let oldest = all.iter().min_by_key(|(_, known)| used(known));
            if let Some(oldest) = oldest.map(|(source, _)| source.clone()) {
                all.remove(&oldest);
            }
        }
        let known = all.entry(source.clone()).or_default().clone();
        known.change(|state| state.used_at = Some(now));
        known
    }

    /// Fetches the keys and caches the result.
    async fn refresh(&self, source: &Source, known: &Known, now: DateTime<Utc>) {
        let asked = self.ask(source, known, now).await;
        known.change(|state| {
            state.asked_at = Some(now);
            match asked {
                Ok(keys) => (state.keys, state.failure) = (Some(keys), None),
                Err(failure) => {
                    tracing::warn!(
                        issuer = source.issuer,
                        failure,
                        "keys of an issuer were not refreshed"
                    );
                    state.failure = Some(failure);
                }
            }
        });
    }

    async fn ask(
        &self,
        source: &Source,
        known: &Known,
        now: DateTime<Utc>,
    ) -> Result<Copy<KeySet>, String> {
        let url = match &source.jwks_uri {
            Some(url) => url.clone(),
            None => match known.state().discovery.filter(|copy| copy.is_fresh(now)) {
                Some(copy) => copy.document.jwks_uri.clone(),
                None => self.discover(source, known, now).await?.jwks_uri.clone(),
            }
            .ok_or("its metadata have no jwks_uri")?,
        };
        let fetched = self.fetcher.get(&url, source.chosen_by).await?;
        let keys = KeySet::read(&fetched.body).map_err(|e| format!("{url} is not valid: {e}"))?;
        Ok(Copy::new(keys, now, fetched.max_age))
    }

    /// Fetches the metadata. An older copy replaces them when the issuer does not answer.
    async fn discover(
        &self,
        source: &Source,
        known: &Known,
        now: DateTime<Utc>,
    ) -> Result<Arc<Discovery>, String> {
        let older = |failure: String| {
            let older = known.state().discovery.filter(|copy| copy.is_usable(now));
            older.map(|copy| copy.document).ok_or(failure)
        };
        // Frequent logins or tokens must not cause a request each.
        if let Some((at, failure)) = known.state().undiscovered
            && (now - at).abs() < COOLDOWN_AFTER_FAILURE
        {
            return older(failure);
        }
        let base = source.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let asked = async {
            let fetched = self.fetcher.get(&url, source.chosen_by).await?;
            let document =
                Discovery::read(&fetched.body).map_err(|e| format!("{url} is not valid: {e}"))?;
            if document.issuer != source.issuer {
                let own = super::tokens::quoted(&document.issuer);
                return Err(format!("{url} is not valid: its issuer is {own}"));
            }
            Ok(Copy::new(document, now, fetched.max_age))
        };
        match asked.await {
            Ok(copy) => {
                known.change(|state| {
                    (state.discovery, state.undiscovered) = (Some(copy.clone()), None);
                });
                Ok(copy.document)
            }
            Err(failure) => {
                known.change(|state| state.undiscovered = Some((now, failure.clone())));
                older(failure)
            }
        }
    }
}

impl Known {
    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl State {
    fn keys_with(
        &self,
        has: impl Fn(&KeySet) -> bool,
        good: impl Fn(&Copy<KeySet>) -> bool,
    ) -> Option<Arc<KeySet>> {
        let copy = self.keys.as_ref().filter(|copy| good(copy) && has(&copy.document))?;
        Some(copy.document.clone())
    }

    fn may_ask(&self, now: DateTime<Utc>) -> bool {
        let wait = if self.failure.is_some() { COOLDOWN_AFTER_FAILURE } else { COOLDOWN };
        // A clock that was set back must not block requests to the issuer.
        self.asked_at.is_none_or(|at| (now - at).abs() >= wait)
    }
}

fn unreachable_issuer(issuer: &str, failure: Option<String>) -> Error {
    let failure = failure.unwrap_or_else(|| "its keys are not cached yet".into());
    let detail =
        format!("The keys of the identity provider {issuer} cannot be fetched: {failure}.");
    let wait = COOLDOWN_AFTER_FAILURE.num_seconds();
    Error::unavailable(detail, u32::try_from(wait).unwrap_or(5))
}
