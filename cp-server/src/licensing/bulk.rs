//! Bulk issuance: many licenses in one request, a line of NDJSON for each.
//!
//! Tokens are signed in parallel and their rows written some hundred at a time: one commit, and
//! one wait for the disk, for all of them. A license that is refused, or that changed in between,
//! gets its own line with the problem; the others go on.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cp_contracts::{LicenseBundleResponse, Problem};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::bundles::{self, NewBundle, Signed};
use crate::App;
use crate::audit::{self, Entry};
use crate::kernel::caller::Caller;
use crate::kernel::endpoint::{Cx, Raw, read_body};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{DeploymentId, LicenseId, OrganizationId, SubscriptionId};
use crate::kernel::json;
use crate::kernel::text::Name;

crate::routes! { bundles:
    /// Signs many licenses and streams a line of NDJSON for each: its bundle, or the problem.
    ///
    /// The body names them by `ids` (at most 1,000) or by a `filter`; `ttl_seconds` and `audience`
    /// are those of a single issuance. Each bundle leaves its own audit event.
    POST "/licenses/bundles" LicensesIssue => issue_many, raw;
}

/// Licenses that are signed and committed together.
const CHUNK: usize = 200;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Many {
    ids: Option<Vec<LicenseId>>,
    filter: Option<ManyFilter>,
    ttl_seconds: Option<bundles::Ttl>,
    audience: Option<Name>,
}

/// Active licenses, narrowed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManyFilter {
    organization: Option<OrganizationId>,
    deployment: Option<DeploymentId>,
    subscription: Option<SubscriptionId>,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line {
    Issued { license_id: LicenseId, ok: bool, bundle: Box<LicenseBundleResponse> },
    Refused { license_id: LicenseId, ok: bool, problem: Problem },
}

async fn issue_many(raw: Raw) -> Result<Response> {
    let body = read_body(&raw.parts, raw.body).await?;
    let many: Many = json::read(&body)?;
    let bundle = NewBundle { ttl_seconds: many.ttl_seconds, audience: many.audience };
    let ids = match (many.ids, many.filter) {
        (Some(ids), None) => ids,
        (None, Some(filter)) => matching(&raw.app, &raw.caller, &filter).await?,
        _ => return Err(Error::invalid("ids", "ids: name the licenses by either ids or filter")),
    };
    let (lines, mut answer) = mpsc::channel::<Bytes>(CHUNK);
    let (app, caller) = (raw.app, raw.caller);
    let extensions = raw.parts.extensions;
    tokio::spawn(async move {
        let mut ids = VecDeque::from(ids);
        while !ids.is_empty() {
            let chunk: Vec<LicenseId> = ids.drain(..CHUNK.min(ids.len())).collect();
            for line in issue_chunk(&app, &caller, &extensions, chunk, &bundle).await {
                let Ok(mut text) = serde_json::to_vec(&line) else { return };
                text.push(b'\n');
                // The receiver went away: what is committed stays, the rest is not begun.
                if lines.send(text.into()).await.is_err() {
                    return;
                }
            }
        }
    });
    let lines = stream::poll_fn(move |cx| answer.poll_recv(cx)).map(Ok::<Bytes, Infallible>);
    let body = Body::from_stream(lines);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// The licenses that a filter names, as far as the caller reaches.
async fn matching(app: &App, caller: &Caller, filter: &ManyFilter) -> Result<Vec<LicenseId>> {
    let mut tx = app.db.read();
    let query = tx
        .q("SELECT id FROM licenses WHERE status = 'active'")
        .and_some(" AND organization_id = ?", caller.scope.organization())
        .and_some(" AND organization_id = ?", filter.organization)
        .and_some(" AND deployment_id = ?", filter.deployment)
        .and_some(" AND subscription_id = ?", filter.subscription)
        .sql(" ORDER BY id");
    let ids: Vec<(LicenseId,)> = query.all().await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

async fn issue_chunk(
    app: &App,
    caller: &Caller,
    extensions: &axum::http::Extensions,
    ids: Vec<LicenseId>,
    bundle: &NewBundle,
) -> Vec<Line> {
    let signing = ids.iter().map(|id| sign_one(app, caller, *id, bundle));
    let signed = join_all(signing).await;
    let mut ready = Vec::new();
    let mut lines = Vec::new();
    for (id, signed) in ids.into_iter().zip(signed) {
        match signed {
            Ok(signed) => ready.push((id, signed)),
            Err(error) => lines.push(refused(id, &error)),
        }
    }
    match store_all(app, caller, extensions, &ready).await {
        Ok(()) => lines.extend(ready.into_iter().map(issued)),
        // One of them changed meanwhile, or the database had enough: one by one, each its answer.
        Err(_) => {
            for (id, signed) in ready {
                let one = [(id, signed)];
                let done = store_all(app, caller, extensions, &one).await;
                let [(id, signed)] = one;
                lines.push(match done {
                    Ok(()) => issued((id, signed)),
                    Err(error) => refused(id, &error),
                });
            }
        }
    }
    lines
}

async fn sign_one(app: &App, caller: &Caller, id: LicenseId, bundle: &NewBundle) -> Result<Signed> {
    let mut tx = app.db.read();
    let organization = caller
        .in_organization(&mut tx, id, crate::kernel::caller::Permission::LicensesIssue)
        .await?;
    let mut cx = Cx::outside(app, caller.clone(), organization, tx);
    let facts = bundles::facts(&mut cx, id).await?;
    let now = cx.now;
    drop(cx);
    bundles::sign(app, now, facts, bundle).await
}

async fn store_all(
    app: &App,
    caller: &Caller,
    extensions: &axum::http::Extensions,
    ready: &[(LicenseId, Signed)],
) -> Result<()> {
    if ready.is_empty() {
        return Ok(());
    }
    let tx = app.db.begin().await?;
    let (mut parts, ()) = axum::http::Request::new(()).into_parts();
    parts.extensions = extensions.clone();
    let mut cx = Cx::outside(app, caller.clone(), (), tx);
    cx.parts = std::sync::Arc::new(parts);
    for (_, signed) in ready {
        bundles::store(&mut cx, signed).await?;
        let entry = Entry {
            action: "bundles.issue",
            organization: Some(signed.organization),
            target: ("bundle", signed.response.jti.to_string()),
            before: None,
            after: Some(signed.record()),
            reason: None,
        };
        audit::append(&mut cx, entry).await?;
    }
    cx.tx.commit().await?;
    app.committed("bundles.issue_many");
    Ok(())
}

fn issued((license_id, signed): (LicenseId, Signed)) -> Line {
    Line::Issued { license_id, ok: true, bundle: Box::new(signed.response) }
}

fn refused(license_id: LicenseId, error: &Error) -> Line {
    Line::Refused { license_id, ok: false, problem: error.document() }
}
