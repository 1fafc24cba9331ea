//! Admission: who gets in, how often, and what is told to whoever does not.
//!
//! # Design
//! Strangers are held by their address, the known by their credential. What a stranger sends is
//! refused *before* the database is asked anything: a flood of made-up tokens costs a look into a
//! map. A credential that was good a moment ago passes, whatever its neighbours at the same address
//! do.
//!
//! An attempt is counted before its credential is checked, so that many at once cannot all pass, and
//! returned when the credential is good. Every other outcome stays counted: refused, forbidden,
//! unavailable, or a client that went away.
//!
//! A request is charged to the organization that it acts on, in two ways: to the server's own rate,
//! which no plan changes, and to the plan's quota of requests. Only the organization's own callers are
//! charged: the platform's people and tokens have the rates of their credentials and can use up
//! no tenant's share, nor a tenant theirs. A request for what the caller cannot see is charged to no
//! organization but the caller's only one, so that nobody uses up a share from outside.
//!
//! The kernel does not know what an organization's quota is or where it is kept: a slice does, as
//! [`Admit`]. Header fields: draft-ietf-httpapi-ratelimit-headers-10.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use uuid::Uuid;

use super::caller::{self, Caller, Peer, Permission, Scope};
use super::error::{Error, Result};
use super::ids::OrganizationId;
use super::memory::Memory;
use super::rates::{Buckets, Full, Holder, Limit, Rate};
use super::table::Line;
use crate::kernel::app::App;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");
/// For how long a credential that was good is not taken for a guess.
const TRUSTED: TimeDelta = TimeDelta::minutes(10);

/// What is admitted, on each replica; `None` is not bounded.
#[derive(Clone, Debug)]
pub struct Rates {
    /// Requests without a credential, by address.
    pub strangers: Limit,
    /// Credentials that are not good, and what only a guesser repeats: by address.
    pub attempts: Limit,
    /// Requests of one credential.
    pub credential: Limit,
    /// Requests of an organization's callers that act on it.
    pub organization: Limit,
    /// Requests of one credential that sign.
    pub signing: Limit,
    /// Requests of one credential that make, rotate or end signing keys.
    pub keys: Limit,
    /// Requests of one credential that make, rotate or end credentials.
    pub tokens: Limit,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            strangers: Some(Rate::new(1200, 300)),
            attempts: Some(Rate::new(30, 20)),
            credential: Some(Rate::new(30_000, 3000)),
            organization: Some(Rate::new(600, 200)),
            signing: Some(Rate::new(3000, 600)),
            keys: Some(Rate::new(30, 20)),
            tokens: Some(Rate::new(120, 60)),
        }
    }
}

/// The buckets of one replica.
pub struct Gate {
    strangers: Buckets<Holder>,
    attempts: Buckets<Holder>,
    credential: Buckets<Uuid>,
    organization: Buckets<OrganizationId>,
    signing: Buckets<Uuid>,
    keys: Buckets<Uuid>,
    tokens: Buckets<Uuid>,
    /// Credentials that were good, by a hash that nobody outside can foretell.
    good: Memory<u64, ()>,
    /// Attempts whose credentials are being checked: by address and credential, how many.
    checking: Mutex<HashMap<(Holder, u64), usize>>,
    hasher: RandomState,
}

impl Gate {
    pub fn new(rates: &Rates) -> Self {
        Self {
            strangers: Buckets::new(rates.strangers),
            attempts: Buckets::new(rates.attempts),
            credential: Buckets::new(rates.credential),
            organization: Buckets::new(rates.organization),
            signing: Buckets::new(rates.signing),
            keys: Buckets::new(rates.keys),
            tokens: Buckets::new(rates.tokens),
            good: Memory::default(),
            checking: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Counts an attempt. The same credential at the same time is one attempt: a client that has just
    /// been given it may send many requests at once.
    fn attempt(
        &self,
        holder: Holder,
        credential: u64,
        now: DateTime<Utc>,
    ) -> Result<Attempt<'_>, Full> {
        let key = (holder, credential);
        let mut checking = self.checking.lock().unwrap_or_else(PoisonError::into_inner);
        let others = checking.get(&key).copied().unwrap_or(0);
        if others == 0 {
            self.attempts.take(holder, now)?;
        }
        checking.insert(key, others + 1);
        Ok(Attempt { gate: self, key, is_counted: others == 0 })
    }

    /// What the request's own credential is remembered by; `None` when it has none.
    fn credential(&self, headers: &HeaderMap) -> Option<u64> {
        let of = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let both: [Vec<&[u8]>; 2] = [of(header::AUTHORIZATION), of(header::COOKIE)];
        both.iter().any(|values| !values.is_empty()).then(|| self.hasher.hash_one(&both))
    }

    /// The stricter bucket that a line is in.
    fn strict(&self, permission: Permission) -> Option<(&'static str, &Buckets<Uuid>)> {
        match permission {
            Permission::LicensesIssue => Some(("signing", &self.signing)),
            Permission::KeysWrite => Some(("keys", &self.keys)),
            Permission::TokensWrite => Some(("tokens", &self.tokens)),
            _ => None,
        }
    }
}

/// An attempt whose credential is being checked.
struct Attempt<'g> {
    gate: &'g Gate,
    key: (Holder, u64),
    is_counted: bool,
}

impl Attempt<'_> {
    /// The credential is good.
    fn succeeded(self) {
        if self.is_counted {
            self.gate.attempts.give_back(self.key.0);
        }
    }

    /// The answer is another one than success.
    fn failed(self, now: DateTime<Utc>) -> Result<(), Full> {
        if self.is_counted { Ok(()) } else { self.gate.attempts.take(self.key.0, now) }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut checking = self.gate.checking.lock().unwrap_or_else(PoisonError::into_inner);
        match checking.get_mut(&self.key) {
            Some(others) if *others > 1 => *others -= 1,
            _ => {
                checking.remove(&self.key);
            }
        }
    }
}

/// Who sends the request, if they are let in.
pub(super) async fn enter(app: &App, parts: &Parts, line: &Line) -> Result<Caller> {
    let now = app.clock.now();
    let holder = match parts.extensions.get::<Peer>() {
        Some(peer) if app.settings.rate_limits => Holder::from(peer.0),
        // The command line calls operations in its own process; nobody stands at the gate.
        _ if line.permission == Permission::Public => return Ok(Caller::anonymous()),
        _ => {
            let caller = caller::authenticate(app, parts).await?;
            return caller::narrowed(app, caller, parts).await;
        }
    };
    let refuse = |metric: &'static str| move |full: Full| refusal(parts, metric, full);
    if line.permission == Permission::Public {
        app.gate.strangers.take(holder, now).map_err(refuse("address"))?;
        if line.method != Method::GET || line.strict {
            app.gate.attempts.take(holder, now).map_err(refuse("attempts"))?;
        }
        return Ok(Caller::anonymous());
    }
    let Some(credential) = app.gate.credential(&parts.headers) else {
        app.gate.strangers.take(holder, now).map_err(refuse("address"))?;
        return caller::authenticate(app, parts).await;
    };
    let caller = match app.gate.good.recall(&credential, 0, now) {
        Some(()) => match caller::authenticate(app, parts).await {
            // It ended. What else may befall one that was good is no guess.
            Err(error) if *error.code() == ProblemCode::Unauthenticated => {
                app.gate.attempts.take(holder, now).map_err(refuse("attempts"))?;
                return Err(error);
            }
            done => done?,
        },
        None => {
            let attempt = app.gate.attempt(holder, credential, now).map_err(refuse("attempts"))?;
            match caller::authenticate(app, parts).await {
                Ok(caller) => {
                    attempt.succeeded();
                    app.gate.good.keep(credential, (), 0, now + TRUSTED);
                    caller
                }
                Err(error) => {
                    attempt.failed(now).map_err(refuse("attempts"))?;
                    return Err(error);
                }
            }
        }
    };
    app.gate.credential.take(caller.id, now).map_err(refuse("credential"))?;
    if let Some((metric, buckets)) = app.gate.strict(line.permission) {
        buckets.take(caller.id, now).map_err(refuse(metric))?;
    }
    caller::narrowed(app, caller, parts).await
}

fn refusal(parts: &Parts, metric: &'static str, full: Full) -> Error {
    let Full { rate, wait } = full;
    if let Some(desk) = parts.extensions.get::<Desk>() {
        desk.lay(Standing {
            metric,
            limit: rate.burst.into(),
            window: rate.window(),
            remaining: None,
            resets_in: wait,
        });
    }
    let whose = match metric {
        "address" | "attempts" => "this address",
        "organization" => "this organization",
        _ => "this credential",
    };
    let detail = format!(
        "Too many requests of {whose} ({metric}): {} a minute are taken, {} at once; wait {wait} s.",
        rate.per_minute, rate.burst
    );
    Error::rate_limited(detail, wait).with("metric", metric).with("limit", rate.burst)
}

/// Counts a request, and says where the organization stands; `None` when nothing bounds it.
pub trait Admit: Send + Sync {
    fn admit<'a>(&'a self, app: &'a App, organization: OrganizationId) -> AdmitFuture<'a>;

    /// Counts what an admitted request carries: as many requests more. Where there is room for one
    /// of them, all are admitted, and what is left of the window admits none.
    fn charge<'a>(
        &'a self,
        app: &'a App,
        organization: OrganizationId,
        more: i64,
    ) -> AdmitFuture<'a>;
}

pub type AdmitFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<Standing>>> + Send + 'a>>;

/// Where somebody stands in their window.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// What is counted.
    pub metric: &'static str,
    pub limit: i64,
    /// The window's length, in seconds.
    pub window: u32,
    /// `None` when there was no room for this request.
    pub remaining: Option<i64>,
    /// Seconds until the window begins anew.
    pub resets_in: u32,
}

/// What the outermost layer lays out for the standing that authentication finds.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<Mutex<Option<Standing>>>);

impl Desk {
    /// The last one laid is the one that decided.
    fn lay(&self, standing: Standing) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(standing);
    }

    /// Whether an address was refused, not somebody who is known.
    pub fn refused_a_stranger(&self) -> bool {
        let standing = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stranger =
            |s: Standing| s.remaining.is_none() && ["address", "attempts"].contains(&s.metric);
        standing.is_some_and(stranger)
    }

    /// Tells the standing in the answer's headers.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let standing = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Standing { metric, limit, window, remaining, resets_in }) = standing else {
            return;
        };
        let remaining = remaining.unwrap_or(0);
        for (name, value) in [
            (POLICY, format!("\"{metric}\";q={limit};w={window}")),
            (STANDING, format!("\"{metric}\";r={remaining};t={resets_in}")),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Charges the request to the organization that it acts on: `named` finds the one that the path
/// names, if the caller has several.
pub(super) async fn charge(
    app: &App,
    caller: &Caller,
    parts: &Parts,
    line: &Line,
    named: impl AsyncFnOnce() -> Result<Option<OrganizationId>>,
) -> Result<()> {
    if !app.settings.rate_limits || caller.is_of_platform() || caller.is_narrowed {
        return Ok(());
    }
    let own = caller.organizations();
    let organization = match own.len() {
        // Whatever it names: it can act on no other.
        0 | 1 => own.first().copied(),
        _ => named().await?.filter(|organization| own.contains(organization)),
    };
    let Some(organization) = organization else { return Ok(()) };
    app.gate.organization.take(organization, app.clock.now()).map_err(|full| {
        let error = refusal(parts, "organization", full);
        error.with("organization_id", organization.to_string())
    })?;
    if !line.metered || matches!(caller.scope, Scope::Deployment { .. }) {
        return Ok(());
    }
    let Some(standing) = app.admission.admit(app, organization).await? else { return Ok(()) };
    judge(parts, organization, standing)
}

/// Charges an organization for what a request of one of its own callers carries, beside the request
/// itself: an array of a thousand events is a thousand requests. A deployment's token is not charged.
pub async fn charge_content(
    app: &App,
    caller: &Caller,
    parts: &Parts,
    organization: OrganizationId,
    more: usize,
) -> Result<()> {
    let is_own = !caller.is_of_platform() && !caller.is_narrowed;
    let is_deployment = matches!(caller.scope, Scope::Deployment { .. });
    if !app.settings.rate_limits || !is_own || is_deployment || more == 0 {
        return Ok(());
    }
    let more = i64::try_from(more).unwrap_or(i64::MAX);
    match app.admission.charge(app, organization, more).await? {
        Some(standing) => judge(parts, organization, standing),
        None => Ok(()),
    }
}

/// Lays the standing out, and refuses the request that found no room.
fn judge(parts: &Parts, organization: OrganizationId, standing: Standing) -> Result<()> {
    if let Some(desk) = parts.extensions.get::<Desk>() {
        desk.lay(standing);
    }
    let Standing { metric, limit, remaining, resets_in, .. } = standing;
    if remaining.is_some() {
        return Ok(());
    }
    let detail = format!("request quota exceeded: {limit} of {limit} made; wait {resets_in} s.");
    Err(Error::rate_limited(detail, resets_in)
        .with("metric", metric)
        .with("organization_id", organization.to_string())
        .with("limit", limit)
        .with("used", limit)
        .with("requested", 1))
}
