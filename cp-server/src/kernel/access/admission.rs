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
//! [`Admit`](crate::kernel::app::Admit). Header fields: draft-ietf-httpapi-ratelimit-headers-10.

use axum::http::Method;
use axum::http::request::Parts;
use chrono::TimeDelta;
use cp_contracts::ProblemCode;

use crate::kernel::access::authentication;
use crate::kernel::access::buckets::{Full, Holder};
use crate::kernel::access::caller::{Caller, Peer, Permission, Scope};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::rate_limits::{LimitHeader, LimitStatus};
use crate::kernel::app::App;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::line::Line;

/// For how long a credential that was good is not taken for a guess.
const TRUSTED: TimeDelta = TimeDelta::minutes(10);

/// Who sends the request, if they are let in.
pub(in crate::kernel) async fn enter(app: &App, parts: &Parts, line: &Line) -> Result<Caller> {
    let now = app.clock.now();
    let holder = match parts.extensions.get::<Peer>() {
        Some(peer) if app.settings.rate_limits => Holder::from(peer.0),
        // The command line calls operations in its own process; no rate applies.
        _ if line.permission == Permission::PUBLIC => return Ok(Caller::anonymous()),
        _ => {
            let caller = authentication::authenticate(app, parts).await?;
            return authentication::narrowed(app, caller, parts).await;
        }
    };
    let refuse = |metric: &'static str| move |full: Full| refusal(parts, metric, full);
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
            // It ended. What else may befall one that was good is no guess.
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
    if let Some((metric, buckets)) =
        line.permission.details().rate.map(|rate| app.rate_limits.strict(rate))
    {
        buckets.take(caller.id, now).map_err(refuse(metric))?;
    }
    authentication::narrowed(app, caller, parts).await
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
        "Too many requests of {whose} ({metric}): {} a minute are taken, {} at once; wait {wait} s.",
        rate.per_minute, rate.burst
    );
    Error::rate_limited(detail, wait).with("metric", metric).with("limit", rate.burst)
}

/// Charges the request to the organization that it acts on: `named` finds the one that the path
/// names, if the caller has several.
pub(in crate::kernel) async fn charge(
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
    app.rate_limits.organization.take(organization, app.clock.now()).map_err(|full| {
        let error = refusal(parts, "organization", full);
        error.with("organization_id", organization.to_string())
    })?;
    if !line.metered || matches!(caller.scope, Scope::Deployment { .. }) {
        return Ok(());
    }
    let Some(status) = app.admission.admit(app, organization).await? else { return Ok(()) };
    judge(parts, organization, status)
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
        Some(status) => judge(parts, organization, status),
        None => Ok(()),
    }
}

/// Lays the status out, and refuses the request that found no room.
fn judge(parts: &Parts, organization: OrganizationId, status: LimitStatus) -> Result<()> {
    if let Some(header) = parts.extensions.get::<LimitHeader>() {
        header.set(status);
    }
    let LimitStatus { metric, limit, remaining, resets_in, .. } = status;
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
