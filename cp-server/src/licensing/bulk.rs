//! Bulk issuance: one request for many licenses, with one line of NDJSON for each.
//!
//! Tokens are signed in parallel, and some hundred rows are written at a time, with one commit and
//! one wait for the disk. A license that is refused, or that changed in between, has its own line
//! with the problem. The other licenses continue.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use cp_contracts::{LicenseBundleResponse, Problem};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::bundles::rows as bundles;
use super::issuance::{self, LicenseFacts, NewBundle, SignedBundle};
use crate::kernel::access::caller::{Caller, Scope};
use crate::kernel::access::ids::{DeploymentId, OrganizationId};
use crate::kernel::access::shares::Shares;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Created, Output};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::endpoint::read_body;
use crate::kernel::http::idempotency::Once;
use crate::kernel::http::json;
use crate::kernel::http::line::BODY_LIMIT;
use crate::kernel::http::raw::Raw;
use crate::kernel::journal::record;
use crate::kernel::journal::record::Entry;
use crate::kernel::text::{KeyId, Name};
use crate::licensing::ids::{LicenseId, SubscriptionId};

crate::routes! { bundles:
    /// Signs many licenses and streams a line of NDJSON for each: its bundle, or the problem.
    ///
    /// The body names the licenses by `ids` or by `filter`. `ttl_seconds` and `audience` are those
    /// of a single issuance. Each bundle leaves its own audit event. An interrupted request
    /// continues when it is sent again with the same `Idempotency-Key`: the answer repeats the
    /// bundles that were issued before.
    POST "/licenses/bundles" LICENSES_ISSUE => issue_many, raw
        returns "application/x-ndjson";
}

/// The limit on concurrent bulk issuances, each of which holds a connection for long.
pub struct BulkIssuances(Shares);

impl Default for BulkIssuances {
    fn default() -> Self {
        Self(Shares::new("bulk issuances", 8, 1))
    }
}

impl Part for BulkIssuances {}

/// The number of licenses that are signed and committed together.
const CHUNK: usize = 200;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Many {
    /// The licenses, at most 1,000. Not allowed together with `filter`.
    ids: Option<Vec<LicenseId>>,
    /// The active licenses that match all members. Not allowed together with `ids`.
    filter: Option<ManyFilter>,
    /// The tokens' lifetime in seconds, from one hour to ten years. Each license's effective
    /// `token_ttl_seconds` when absent.
    ttl_seconds: Option<issuance::Ttl>,
    /// The tokens' audience. The server's setting when absent.
    audience: Option<Name>,
}

/// A filter of active licenses; all members must match.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManyFilter {
    /// Only licenses of this organization.
    organization: Option<OrganizationId>,
    /// Only licenses of this deployment.
    deployment: Option<DeploymentId>,
    /// Only licenses under this subscription.
    subscription: Option<SubscriptionId>,
    /// Only licenses whose last token this key (`kid`) signed, for example after a compromise.
    key_id: Option<KeyId>,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line {
    Issued { license_id: LicenseId, ok: bool, bundle: Box<LicenseBundleResponse> },
    Refused { license_id: LicenseId, ok: bool, problem: Problem },
}

async fn issue_many(raw: Raw) -> Result<Response> {
    let body = read_body(&raw.parts, raw.body, BODY_LIMIT).await?;
    let many: Many = json::read(&body)?;
    let bundle = NewBundle {
        ttl_seconds: many.ttl_seconds,
        audience: many.audience,
        ..NewBundle::default()
    };
    let ids = match (many.ids, many.filter) {
        (Some(ids), None) => ids,
        (None, Some(filter)) => matching(&raw.app, raw.scope, &filter).await?,
        _ => {
            let detail = "`ids` or `filter` must name the licenses. Send exactly one of them.";
            return Err(Error::invalid("ids", detail));
        }
    };
    let place = BulkIssuances::of(&raw.app).0.take(&raw.caller, raw.scope.organization())?;
    let once = Once::of(&raw.parts, &raw.caller, &body)?;
    let (app, caller, scope, parts) = (raw.app, raw.caller, raw.scope, Arc::new(raw.parts));
    let issuance = Issuance { app, caller, scope, parts, bundle, once };
    let (lines, mut answer) = mpsc::channel::<Bytes>(CHUNK);
    tokio::spawn(async move {
        let _place = place;
        issuance.run(ids, lines).await;
    });
    let lines = stream::poll_fn(move |cx| answer.poll_recv(cx)).map(Ok::<Bytes, Infallible>);
    let body = Body::from_stream(lines);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Returns the licenses that a filter names, within the caller's scope.
async fn matching(app: &App, scope: Scope, filter: &ManyFilter) -> Result<Vec<LicenseId>> {
    let mut tx = app.db.read();
    let query = tx
        .q("SELECT id FROM licenses WHERE status = 'active'")
        .and_some(" AND organization_id = ?", scope.organization())
        .and_some(" AND organization_id = ?", filter.organization)
        .and_some(" AND deployment_id = ?", filter.deployment)
        .and_some(" AND subscription_id = ?", filter.subscription)
        .and_some(" AND key_id = ?", filter.key_id.as_ref())
        .sql(" ORDER BY id");
    let ids: Vec<(LicenseId,)> = query.all().await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// One request for many bundles.
#[derive(Clone)]
struct Issuance {
    app: App,
    caller: Caller,
    scope: Scope,
    parts: Arc<Parts>,
    bundle: NewBundle,
    once: Option<Once>,
}

/// A license with its token, or with the reason for none.
type Tried = (LicenseId, Result<Made>);

enum Made {
    New(Box<SignedBundle>),
    /// Issued by an earlier request with the same `Idempotency-Key`.
    Known(Box<LicenseBundleResponse>),
}

impl Made {
    fn signed(&self) -> Option<&SignedBundle> {
        match self {
            Self::New(signed) => Some(signed),
            Self::Known(_) => None,
        }
    }

    fn into_bundle(self) -> Box<LicenseBundleResponse> {
        match self {
            Self::New(signed) => Box::new(signed.response),
            Self::Known(bundle) => bundle,
        }
    }
}

impl Issuance {
    /// Signs each chunk while the previous one is written.
    async fn run(self, ids: Vec<LicenseId>, lines: mpsc::Sender<Bytes>) {
        let (signed, mut to_store) = mpsc::channel::<Vec<Tried>>(1);
        let signing = self.clone();
        tokio::spawn(async move {
            for chunk in ids.chunks(CHUNK) {
                if signed.send(signing.sign(chunk).await).await.is_err() {
                    return;
                }
            }
        });
        while let Some(chunk) = to_store.recv().await {
            for line in self.store(chunk).await {
                let Ok(mut text) = serde_json::to_vec(&line) else { return };
                text.push(b'\n');
                // The receiver is gone: committed bundles stay, and no further chunk begins.
                if lines.send(text.into()).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Reads the facts of a chunk in one statement, and signs on all signing threads.
    async fn sign(&self, ids: &[LicenseId]) -> Vec<Tried> {
        let mut cx = self.cx(self.app.db.read());
        let (mut known, found) = match self.read(&mut cx, ids).await {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, "a chunk of licenses was refused");
                let refused = || Err(Error::new(error.code().clone(), error.detail().to_owned()));
                return ids.iter().map(|id| (*id, refused())).collect();
            }
        };
        drop(cx);
        let mut signing = Vec::new();
        for id in ids {
            // A license outside of the caller's scope looks like a missing one.
            let facts = found.get(id).filter(|facts| self.reaches(facts)).cloned();
            signing.push(self.make(known.remove(id), facts));
        }
        ids.iter().copied().zip(join_all(signing).await).collect()
    }

    fn reaches(&self, facts: &LicenseFacts) -> bool {
        self.scope.organization().is_none_or(|own| own == facts.organization_id)
    }

    async fn make(
        &self,
        known: Option<LicenseBundleResponse>,
        facts: Option<LicenseFacts>,
    ) -> Result<Made> {
        if let Some(bundle) = known {
            return Ok(Made::Known(Box::new(bundle)));
        }
        let facts = facts.ok_or_else(|| Error::not_found("license"))?;
        let signed = issuance::sign(&self.app, self.app.clock.now(), facts, &self.bundle).await?;
        Ok(Made::New(Box::new(signed)))
    }

    /// Returns the bundles of earlier requests, and the facts for the others.
    async fn read(
        &self,
        cx: &mut Cx<()>,
        ids: &[LicenseId],
    ) -> Result<(HashMap<LicenseId, LicenseBundleResponse>, HashMap<LicenseId, LicenseFacts>)> {
        let mut known = HashMap::new();
        for id in ids {
            let Some(once) = &self.once else { break };
            let before = once.part(&id.to_string()).find(&self.app, &mut cx.tx, cx.now).await?;
            if let Some(body) = before.and_then(|answer| answer.body) {
                known.insert(*id, serde_json::from_slice(&body).map_err(Error::internal)?);
            }
        }
        let facts = issuance::facts_of(cx, ids).await?;
        Ok((known, facts.into_iter().map(|facts| (facts.license_id, facts)).collect()))
    }

    /// Writes a chunk in one transaction. If something has changed meanwhile, writes the bundles
    /// one by one.
    async fn store(&self, chunk: Vec<Tried>) -> Vec<Line> {
        let made = chunk.iter().filter_map(|(_, tried)| tried.as_ref().ok()?.signed());
        let stored = self.write(&made.collect::<Vec<_>>()).await.is_ok();
        let mut lines = Vec::new();
        for (license_id, tried) in chunk {
            let done = match tried {
                Ok(Made::New(_)) if !stored => self.again(license_id).await,
                tried => tried,
            };
            lines.push(match done {
                Ok(made) => Line::Issued { license_id, ok: true, bundle: made.into_bundle() },
                Err(error) => {
                    let problem = error.document_below(self.app.settings.base_path());
                    Line::Refused { license_id, ok: false, problem }
                }
            });
        }
        lines
    }

    async fn again(&self, id: LicenseId) -> Result<Made> {
        let (_, made) = self.sign(&[id]).await.pop().ok_or_else(Error::stale)?;
        let made = made?;
        if let Some(signed) = made.signed() {
            self.write(&[signed]).await?;
        }
        Ok(made)
    }

    async fn write(&self, ready: &[&SignedBundle]) -> Result<()> {
        if ready.is_empty() {
            return Ok(());
        }
        let mut cx = self.cx(self.app.db.begin_for(self.caller.share()).await?);
        bundles::store(&mut cx, ready).await?;
        let entries = ready.iter().map(|signed| Entry {
            action: "bundles.issue",
            organization: Some(signed.organization),
            target: ("bundle", signed.response.jti.to_string()),
            before: None,
            after: Some(signed.record()),
            reason: None,
            issued: Some(signed.issued()),
        });
        record::append(&mut cx, entries.collect()).await?;
        if let Some(once) = &self.once {
            for signed in ready {
                let answer = Created(signed.response.clone()).answer(false)?;
                let part = once.part(&signed.license.to_string());
                part.keep(&self.app, &mut cx.tx, cx.now, &answer).await?;
            }
        }
        cx.commit(Effect::Harmless).await
    }

    fn cx(&self, tx: Conn) -> Cx<()> {
        let mut cx = Cx::outside(&self.app, self.caller.clone(), (), tx);
        cx.parts = self.parts.clone();
        cx
    }
}
