//! What an issuer publishes about itself and its keys, remembered.
//!
//! # Design
//! Keys change without notice, and an issuer may be down: a token that names an unknown key makes
//! this server ask again, once per `COOLDOWN` however many such tokens come, and keys that are
//! known keep working for `STALE` when the issuer cannot be asked. One request asks; those that
//! come meanwhile wait for it, or go on with the keys that they know. A signature that does not hold
//! makes this server ask again within the same `COOLDOWN`: a key may change and keep its name.
//!
//! The metadata are another party's document: what this server does not need does not stop it, and
//! an optional member that is `null`, or of another type, counts as absent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::fetch::{ChosenBy, FetchSettings, Fetcher};
use super::key_sets::KeySet;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::json;

/// How soon an issuer that answered is asked again because of an unknown key.
const COOLDOWN: TimeDelta = TimeDelta::seconds(30);
/// How soon one that did not answer is asked again.
const COOLDOWN_AFTER_FAILURE: TimeDelta = TimeDelta::seconds(5);
/// How long a copy is used: what the answer says, within these bounds.
const LEAST_AGE: i64 = 60;
const USUAL_AGE: i64 = 600;
const MOST_AGE: i64 = 3600;
/// How long a copy is used when the issuer cannot be asked.
const STALE: TimeDelta = TimeDelta::hours(24);
/// The most issuers that are remembered.
const ISSUERS: usize = 1000;

/// Where documents come from; two providers that agree on it share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    pub issuer: String,
    /// In place of what the issuer says.
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

/// The documents of all issuers.
pub struct Discoveries {
    pub fetcher: Fetcher,
    known: Mutex<HashMap<Source, Arc<Known>>>,
}

impl Part for Discoveries {}

/// What is known of one issuer.
#[derive(Default)]
struct Known {
    state: Mutex<State>,
    /// Held by the one who asks.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    discovery: Option<Copy<Discovery>>,
    keys: Option<Copy<KeySet>>,
    asked_at: Option<DateTime<Utc>>,
    /// Why the last time brought nothing.
    failure: Option<String>,
    /// When the metadata did not come, and why.
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

    /// The keys to verify a token by that names this one, or none: the set has it, unless its issuer
    /// does not.
    ///
    /// # Errors
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

    /// The keys that the issuer publishes now, if they are others than these and it may be asked.
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
            // The one before may have asked.
            if newer().is_none() && known.state().may_ask(now) {
                self.refresh(source, &known, now).await;
            }
            drop(guard);
        }
        newer()
    }

    /// The issuer's metadata.
    ///
    /// # Errors
    /// 503 when the issuer cannot be asked and has not been for long.
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

    /// Asks for the keys, and remembers what came of it.
    async fn refresh(&self, source: &Source, known: &Known, now: DateTime<Utc>) {
        let asked = self.ask(source, known, now).await;
        known.change(|state| {
            state.asked_at = Some(now);
            match asked {
                Ok(keys) => (state.keys, state.failure) = (Some(keys), None),
                Err(failure) => {
                    tracing::warn!(issuer = source.issuer, failure, "keys were not refreshed");
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
        let keys = KeySet::read(&fetched.body).map_err(|e| format!("{url} is not taken: {e}"))?;
        Ok(Copy::new(keys, now, fetched.max_age))
    }

    /// Asks for the metadata; an older copy does when the issuer is down.
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
        // Whoever begins logins, or sends tokens, does not make it ask all the time.
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
                Discovery::read(&fetched.body).map_err(|e| format!("{url} is not taken: {e}"))?;
            if document.issuer != source.issuer {
                let own = super::tokens::quoted(&document.issuer);
                return Err(format!("{url} is not taken: it says that its issuer is {own}"));
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
        // A clock that was set back must not silence it.
        self.asked_at.is_none_or(|at| (now - at).abs() >= wait)
    }
}

fn unreachable_issuer(issuer: &str, failure: Option<String>) -> Error {
    let failure = failure.unwrap_or_else(|| "its keys are not known yet".into());
    let detail = format!("The identity provider {issuer} cannot be asked for its keys: {failure}.");
    let wait = COOLDOWN_AFTER_FAILURE.num_seconds();
    Error::unavailable(detail, u32::try_from(wait).unwrap_or(5))
}
