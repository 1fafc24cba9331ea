//! Admission: who gets in, how often, and what is told to whoever does not.
//!
//! # Design
//! Strangers are held by their address, the known by their credential; an organization's callers
//! share its quota besides. What a stranger sends is refused *before* the database is asked
//! anything: a flood of made-up tokens costs a look into a map. A credential that was good a moment
//! ago passes, whatever its neighbours at the same address do.
//!
//! The kernel does not know what an organization's quota is or where it is kept: a slice does, as
//! [`Admit`]. Header fields: draft-ietf-httpapi-ratelimit-headers-10.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use chrono::TimeDelta;
use cp_contracts::ProblemCode;
use uuid::Uuid;

use super::caller::{self, Caller, Peer, Permission};
use super::error::{Error, Result};
use super::ids::OrganizationId;
use super::memory::Memory;
use super::rates::{Buckets, Full, Holder, Limit, Rate};
use super::table::Line;
use crate::App;

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
    signing: Buckets<Uuid>,
    keys: Buckets<Uuid>,
    tokens: Buckets<Uuid>,
    /// Credentials that were good, by a hash that nobody outside can foretell.
    good: Memory<u64, ()>,
    hasher: RandomState,
}

impl Gate {
    pub fn new(rates: &Rates) -> Self {
        Self {
            strangers: Buckets::new(rates.strangers),
            attempts: Buckets::new(rates.attempts),
            credential: Buckets::new(rates.credential),
            signing: Buckets::new(rates.signing),
            keys: Buckets::new(rates.keys),
            tokens: Buckets::new(rates.tokens),
            good: Memory::default(),
            hasher: RandomState::new(),
        }
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

/// Who sends the request, if they are let in.
pub(super) async fn enter(app: &App, parts: &Parts, line: &Line) -> Result<Caller> {
    let now = app.clock.now();
    let holder = match parts.extensions.get::<Peer>() {
        Some(peer) if app.settings.rate_limits => Holder::from(peer.0),
        // The command line calls operations in its own process; nobody stands at the gate.
        _ if line.permission == Permission::Public => return Ok(Caller::anonymous()),
        _ => return caller::authenticate(app, parts).await,
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
    let trusted = app.gate.good.recall(&credential, 0, now).is_some();
    if !trusted {
        app.gate.attempts.room(holder, now).map_err(refuse("attempts"))?;
    }
    let caller = match caller::authenticate(app, parts).await {
        Err(error) if *error.code() == ProblemCode::Unauthenticated => {
            app.gate.attempts.take(holder, now).map_err(refuse("attempts"))?;
            return Err(error);
        }
        done => done?,
    };
    if !trusted {
        app.gate.good.keep(credential, (), 0, now + TRUSTED);
    }
    app.gate.credential.take(caller.id, now).map_err(refuse("credential"))?;
    if let Some((metric, buckets)) = app.gate.strict(line.permission) {
        buckets.take(caller.id, now).map_err(refuse(metric))?;
    }
    Ok(caller)
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

    /// An operation was committed on this replica: what was remembered may be over.
    fn committed(&self, action: &str);
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

/// Counts the request of an organization's own caller; platform callers are not counted.
pub(super) async fn admit(app: &App, caller: &Caller, parts: &Parts) -> Result<()> {
    let Some(organization) = caller.scope.organization() else { return Ok(()) };
    if !app.settings.rate_limits {
        return Ok(());
    }
    let Some(standing) = app.admission.admit(app, organization).await? else { return Ok(()) };
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
