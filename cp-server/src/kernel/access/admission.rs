//! Admission: authentication, rate limits, and the refusals of both.
//!
//! # Design
//! Rates of strangers count by address, and rates of known callers count by credential. A stranger
//! over its rate is refused *before* any query: a flood of invented tokens costs one look-up in a
//! map. A credential that was valid a moment ago passes, whatever other callers at the same address
//! do.
//!
//! An attempt is counted before its credential is checked, so that concurrent attempts cannot all
//! pass. A valid credential returns the attempt. Every other outcome stays counted: refused,
//! forbidden, unavailable, or a client that disconnected.
//!
//! A request is charged to the organization that it acts on, in two ways. The server's own rate is
//! the same for every plan; the quota of requests is the plan's. Only the organization's own
//! callers are charged. The platform's people and tokens have the rates of their credentials, so
//! they cannot use up a tenant's share, nor a tenant theirs. A request for an object that the
//! caller cannot see is charged to the caller's only organization, if it has just one. So no caller
//! uses up a share from outside.
//!
//! A running data plane sends the requests of `machine` lines by itself, such as a heartbeat for each
//! lease. With a deployment's token only the rate of the credential bounds them, so that they leave
//! the organization's share to its people.
//!
//! A `keyed` line has its credential in the body, so admission follows the body. The same rules apply
//! then.
//!
//! A slice knows the quota of an organization and where it is stored, as
//! [`Admit`](crate::kernel::app::Admit); the kernel does not. Header fields:
//! draft-ietf-httpapi-ratelimit-headers-10.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::Method;
use axum::http::request::Parts;
use chrono::TimeDelta;
use cp_contracts::ProblemCode;
use serde::Deserialize;
use uuid::Uuid;

use crate::kernel::access::authentication;
use crate::kernel::access::buckets::{Full, Holder};
use crate::kernel::access::caller::{Caller, CallerKind, Peer, Permission, Scope, Vouched};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::rate_limits::{LimitHeader, LimitStatus};
use crate::kernel::app::App;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::line::Line;
use crate::kernel::secret::Secret;

/// The time for which a credential that was valid does not count as a guess.
const TRUSTED: TimeDelta = TimeDelta::minutes(10);

/// Authenticates the request within the rate limits, and returns its caller.
pub(in crate::kernel) async fn enter(app: &App, parts: &Parts, line: &Line) -> Result<Caller> {
    let now = app.clock.now();
    let refuse = |metric: &'static str| move |full: Full| refusal(parts, metric, full);
    if parts.extensions.get::<Vouched>().is_some() {
        // The page's own request was admitted. Only the stricter rates count its calls.
        let caller = authentication::authenticate(app, parts).await?;
        take_strict(app, &caller, line).map_err(|(metric, full)| refusal(parts, metric, full))?;
        return Ok(caller);
    }
    let holder = match parts.extensions.get::<Peer>() {
        Some(peer) if app.settings.rate_limits => Holder::from(peer.0),
        // The command line calls operations in its own process; no rate applies.
        _ if line.permission == Permission::PUBLIC => return Ok(Caller::anonymous()),
        _ => {
            let caller = authentication::authenticate(app, parts).await?;
            return authentication::narrowed(app, caller, parts).await;
        }
    };
    if line.keyed {
        return Ok(Caller::anonymous());
    }
    if line.permission == Permission::PUBLIC {
        app.rate_limits.strangers.take(holder, now).map_err(refuse("address"))?;
        if line.method != Method::GET || line.strict {
            app.rate_limits.attempts.take(holder, now).map_err(refuse("attempts"))?;
        }
        return Ok(Caller::anonymous());
    }
    let Some(credential) = app.rate_limits.credential(&parts.headers) else {
        app.rate_limits.strangers.take(holder, now).map_err(refuse("address"))?;
        return authentication::authenticate(app, parts).await;
    };
    let caller = match app.rate_limits.good.recall(&credential, 0, now) {
        Some(()) => match authentication::authenticate(app, parts).await {
            // It has ended. A later failure of a credential that was valid is not a guess.
            Err(error) if *error.code() == ProblemCode::Unauthenticated => {
                app.rate_limits.attempts.take(holder, now).map_err(refuse("attempts"))?;
                return Err(error);
            }
            done => done?,
        },
        None => {
            let attempt =
                app.rate_limits.attempt(holder, credential, now).map_err(refuse("attempts"))?;
            match authentication::authenticate(app, parts).await {
                Ok(caller) => {
                    attempt.succeeded();
                    app.rate_limits.good.keep(credential, (), 0, now + TRUSTED);
                    caller
                }
                Err(error) => {
                    attempt.failed(now).map_err(refuse("attempts"))?;
                    return Err(error);
                }
            }
        }
    };
    app.rate_limits.credential.take(caller.id, now).map_err(refuse("credential"))?;
    if caller.kind == CallerKind::LicenseKey {
        app.rate_limits.license_key.take(caller.id, now).map_err(refuse("license_key"))?;
    }
    take_strict(app, &caller, line).map_err(|(metric, full)| refusal(parts, metric, full))?;
    authentication::narrowed(app, caller, parts).await
}

/// Counts a request of a line with a stricter rate.
fn take_strict(app: &App, caller: &Caller, line: &Line) -> Result<(), (&'static str, Full)> {
    let strict = line.permission.details().rate.filter(|_| app.settings.rate_limits);
    let Some((metric, buckets)) = strict.map(|rate| app.rate_limits.strict(rate)) else {
        return Ok(());
    };
    buckets.take(caller.id, app.clock.now()).map_err(|full| (metric, full))
}

/// The attempt of a request whose credential is in its body: whether it is counted.
#[derive(Clone, Debug, Default)]
pub(in crate::kernel) struct BodyAttempt(Arc<AtomicBool>);

/// Admits a request by the credential in its body. A credential that was valid a moment ago passes, whatever other callers at the same address do.
pub(in crate::kernel) fn enter_by_body(
    app: &App,
    parts: &Parts,
    line: &Line,
    body: &[u8],
) -> Result<()> {
    let Some(peer) = parts.extensions.get::<Peer>().filter(|_| app.settings.rate_limits) else {
        return Ok(());
    };
    if !line.keyed {
        return Ok(());
    }
    let (now, holder) = (app.clock.now(), Holder::from(peer.0));
    let sent: Option<Keyed> = serde_json::from_slice(body).ok();
    let credential = sent.map(|sent| app.rate_limits.credential_in_body(sent.key.expose()));
    if credential.is_some_and(|key| app.rate_limits.good.recall(&key, 0, now).is_some()) {
        return Ok(());
    }
    let refuse = |metric: &'static str| move |full: Full| refusal(parts, metric, full);
    app.rate_limits.strangers.take(holder, now).map_err(refuse("address"))?;
    app.rate_limits.attempts.take(holder, now).map_err(refuse("attempts"))?;
    if let Some(BodyAttempt(is_counted)) = parts.extensions.get() {
        is_counted.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Returns the attempt of a request whose credential in the body is valid, and counts the request
/// of the license key with this ID.
pub fn accept_body(app: &App, parts: &Parts, credential: &str, key: Uuid) -> Result<()> {
    let Some(peer) = parts.extensions.get::<Peer>().filter(|_| app.settings.rate_limits) else {
        return Ok(());
    };
    let now = app.clock.now();
    let attempt = parts.extensions.get::<BodyAttempt>();
    if attempt.is_some_and(|BodyAttempt(is_counted)| is_counted.swap(false, Ordering::Relaxed)) {
        app.rate_limits.attempts.give_back(Holder::from(peer.0));
    }
    let credential = app.rate_limits.credential_in_body(credential);
    app.rate_limits.good.keep(credential, (), 0, now + TRUSTED);
    let refuse = |full: Full| refusal(parts, "license_key", full);
    app.rate_limits.license_key.take(key, now).map_err(refuse)
}

/// The credential in the body of a `keyed` line. The strict reader refuses what this one skips.
#[derive(Deserialize)]
struct Keyed {
    key: Secret<String>,
}

fn refusal(parts: &Parts, metric: &'static str, full: Full) -> Error {
    let Full { rate, wait } = full;
    if let Some(header) = parts.extensions.get::<LimitHeader>() {
        header.set(LimitStatus {
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
        "Too many requests of {whose} ({metric}): at most {} per minute and {} at once. Wait \
         {wait} s.",
        rate.per_minute, rate.burst
    );
    Error::rate_limited(metric, detail, wait).with("limit", rate.burst)
}

/// Charges the request to the organization that it acts on. `named` finds the organization that the
/// path names, if the caller has several.
pub(in crate::kernel) async fn charge(
    app: &App,
    caller: &Caller,
    parts: &Parts,
    line: &Line,
    named: impl AsyncFnOnce() -> Result<Option<OrganizationId>>,
) -> Result<()> {
    let is_vouched = parts.extensions.get::<Vouched>().is_some();
    if !app.settings.rate_limits || caller.is_of_platform() || caller.is_narrowed || is_vouched {
        return Ok(());
    }
    let is_deployment = matches!(caller.scope, Scope::Deployment { .. });
    if is_deployment && line.machine {
        return Ok(());
    }
    let own = caller.organizations();
    let organization = match own.len() {
        // The path does not matter: the caller can act on no other organization.
        0 | 1 => own.first().copied(),
        _ => named().await?.filter(|organization| own.contains(organization)),
    };
    let Some(organization) = organization else { return Ok(()) };
    app.rate_limits.organization.take(organization, app.clock.now()).map_err(|full| {
        let error = refusal(parts, "organization", full);
        error.with("organization_id", organization.to_string())
    })?;
    if !line.metered || is_deployment {
        return Ok(());
    }
    let Some(status) = app.admission.admit(app, organization).await? else { return Ok(()) };
    judge(parts, organization, status)
}

/// Charges an organization for the content of a request of its own callers, in addition to the
/// request itself. An array of a thousand events counts as a thousand requests. A deployment's
/// token is not charged.
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
        Some(status) => judge(parts, organization, status),
        None => Ok(()),
    }
}

/// Stores the status for the answer's headers, and refuses a request beyond the quota.
fn judge(parts: &Parts, organization: OrganizationId, status: LimitStatus) -> Result<()> {
    if let Some(header) = parts.extensions.get::<LimitHeader>() {
        header.set(status);
    }
    let LimitStatus { metric, limit, remaining, resets_in, .. } = status;
    if remaining.is_some() {
        return Ok(());
    }
    let detail = format!("Request quota exceeded: {limit} of {limit} used. Wait {resets_in} s.");
    Err(Error::rate_limited(metric, detail, resets_in)
        .with("organization_id", organization.to_string())
        .with("limit", limit)
        .with("used", limit)
        .with("requested", 1))
}
