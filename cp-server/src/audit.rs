//! Audit events: every change leaves exactly one, written in its own transaction.
//!
//! Events are never changed or deleted, not even with their organization; they refer to things by
//! text, so that no foreign key can take them along. Callers may record events of their own beside
//! them; `source` tells whose word an event is, so that nobody can forge one of the server's.
//!
//! The kernel writes them (`kernel/journal`). They are the leaves of a Merkle tree, the log:
//! `integrator.rs` gives events their places, `checkpoints.rs`
//! and `proofs.rs` make what is signed and shown, `published.rs` serves it, `high_water.rs` keeps it
//! beside the database's file, `rotation.rs` gives the log another key, `verify.rs` and `replay.rs`
//! replay the whole, and `erase.rs` takes the content of events away and leaves the tree as it is.

pub mod checkpoints;
pub mod erase;
mod finding;
pub mod high_water;
pub mod integrator;
pub mod key;
pub mod proofs;
pub mod published;
mod ranges;
mod replay;
pub mod rotation;
pub mod stored_hashes;
pub mod verify;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, Notify};

use crate::kernel::access::caller::{CallerKind, Scope};
use crate::kernel::access::ids::{AuditEventId, OrganizationId, ProjectId};
use crate::kernel::access::place::Org;
use crate::kernel::access::platform::{Platform, PlatformId, PlatformRow};
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::db::query::Rows;
use crate::kernel::db::record::{Any, Object};
use crate::kernel::declaration::{Declaration, Export, Purge};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Created, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json;
use crate::kernel::http::page::{List, Page};
use crate::kernel::journal::canonical::Text;
use crate::kernel::journal::leaf::Source;
use crate::kernel::journal::record::event;
use crate::kernel::journal::store;
use crate::kernel::section::Section;
use crate::kernel::text::{ExternalId, Name};
use key::{LogKey, Signed};

crate::permissions! {
    /// Read audit events.
    AUDIT_READ = "audit:read", implied by ["org:write"];
    /// Record audit events of one's own.
    AUDIT_WRITE = "audit:write";
    /// Erase the content of audit events.
    AUDIT_ERASE = "audit:erase";
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "audit_events",
    "audit event",
    Export::Section(
        Section::many::<AuditEvent>("audit_events").during("occurred_at").order("occurred_at, id"),
    ),
)
.permissions(PERMISSIONS)
.purge(Purge::Stay("the log keeps what happened to an organization that is no more"));

crate::routes! { audit declares DECLARATION:
    /// Lists the audit events of the whole platform, newest first.
    GET "/audit" AUDIT_READ => list_all;
    /// Reads an audit event.
    GET "/audit/{id}" AUDIT_READ => read;
    /// Lists the organization's audit events, newest first.
    GET "/organizations/{org}/audit" AUDIT_READ => list;
    /// Records an event that the caller tells of; its source is `caller`.
    POST "/organizations/{org}/audit" AUDIT_WRITE => record, harmless;
}

crate::record! {
    /// One change: who did what to which thing, when, and how it looked before and after.
    AuditEvent in audit_events {
        id: AuditEventId,
        /// Its place in the log, counted from 0; null until it has one, within a moment.
        seq: Option<i64>,
        /// When it was recorded.
        at: DateTime<Utc>,
        /// When it happened: for the server's own events, the same instant.
        occurred_at: DateTime<Utc>,
        source: Source,
        organization_id: Option<OrganizationId>,
        actor_kind: CallerKind,
        /// The user's or the service token's id.
        actor_id: uuid::Uuid,
        actor_name: String,
        /// Who vouched for a person's login: the provider, its issuer, and the organization whose own
        /// provider it is. Null for other actors.
        vouched_by: Option<Object>,
        /// Who did it, in the words of the caller that tells of it.
        actor: Option<String>,
        /// The operation, such as `licenses.revoke`.
        action: String,
        target_type: String,
        target_id: Option<String> = "NULLIF(audit_events.target_id, '')",
        project_id: Option<ProjectId>,
        /// The thing as it was; null when it is new. Secrets are masked. With `$whole`, the digest
        /// of the state, it has only the members that changed.
        before: Any,
        /// The thing as it is now; null when it is gone. Secrets are masked. `$whole` as in
        /// `before`.
        after: Any,
        /// What the caller tells besides.
        metadata: Option<Object>,
        /// Why, in the words of the one who did it.
        reason: Option<String>,
        request_id: Option<String>,
        ip: Option<String>,
        /// When its content was erased; what is left is what the log's leaf tells.
        erased_at: Option<DateTime<Utc>>,
    }
}

impl PlatformId for AuditEventId {
    const NOUN: &'static str = "audit event";
}

impl Resource for AuditEvent {
    const NOUN: &'static str = "audit event";
    const PATH: &'static str = "organizations";
    fn name(&self) -> String {
        let organization = self.organization_id.map(|id| id.to_string()).unwrap_or_default();
        format!("{organization}/audit?target={}", self.target_id.as_deref().unwrap_or_default())
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditFilter {
    /// The operation, such as `licenses.revoke`.
    action: Option<String>,
    /// The actor's id.
    actor: Option<uuid::Uuid>,
    /// The target's id.
    target: Option<String>,
    source: Option<Source>,
    project: Option<ProjectId>,
    /// Events that happened at or after this instant.
    since: Option<json::Moment>,
    /// Events that happened at or before this instant.
    until: Option<json::Moment>,
    /// Platform-wide only: events of this organization, purged ones included.
    organization: Option<OrganizationId>,
}

/// What a caller tells of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Told {
    action: Name,
    target_type: Name,
    target_id: Option<ExternalId>,
    project_id: Option<ProjectId>,
    /// Who did it; the caller itself is kept in any case.
    actor: Option<ExternalId>,
    #[serde(default)]
    metadata: Object,
    /// Now when absent.
    occurred_at: Option<json::Moment>,
}

async fn list_all(
    cx: &mut Cx<Scope>,
    _: Platform,
    list: List<AuditFilter>,
) -> Result<Page<AuditEvent>> {
    let query = cx.tx.select("WHERE TRUE");
    let query = query.and_some(" AND organization_id = ?", list.filter.organization);
    list.page(narrowed(query, &list.filter)).await
}

async fn read(cx: &mut Cx<Scope>, id: PlatformRow<AuditEventId>) -> Result<AuditEvent> {
    let found = cx.tx.select("WHERE id = $1").bind(id.0).opt().await?;
    found.ok_or_else(|| Error::not_found("audit event"))
}

async fn list(cx: &mut Cx, _: Org, list: List<AuditFilter>) -> Result<Page<AuditEvent>> {
    let query = cx.tx.select("WHERE organization_id = $1").bind(cx.at);
    list.page(narrowed(query, &list.filter)).await
}

fn narrowed<'c>(query: Rows<'c, AuditEvent>, filter: &AuditFilter) -> Rows<'c, AuditEvent> {
    query
        .and_some(" AND action = ?", filter.action.as_deref())
        .and_some(" AND actor_id = ?", filter.actor)
        .and_some(" AND target_id = ?", filter.target.as_deref())
        .and_some(" AND source = ?", filter.source)
        .and_some(" AND project_id = ?", filter.project)
        .and_some(" AND occurred_at >= ?", filter.since.map(|at| at.0))
        .and_some(" AND occurred_at <= ?", filter.until.map(|at| at.0))
}

async fn record(cx: &mut Cx, _: Org, told: Told) -> Result<Created<AuditEvent>> {
    if let Some(project) = told.project_id {
        let sql = "SELECT 1 FROM projects WHERE id = $1 AND organization_id = $2";
        let found: Option<i32> = cx.tx.q(sql).bind(project).bind(cx.at).value().await?;
        found.ok_or_else(|| {
            Error::new(ProblemCode::NotFound, "project not found").at("project_id")
        })?;
    }
    let mut event = event(cx, told.action.as_str(), Some(cx.at));
    event.facts.source = Source::Caller;
    event.facts.target_type = told.target_type.into_string();
    event.facts.target_id = told.target_id.map_or_else(String::new, ExternalId::into_string);
    event.occurred_at = Some(told.occurred_at.map_or(cx.now, |at| at.0));
    event.actor = told.actor.map(ExternalId::into_string);
    event.project_id = told.project_id;
    event.metadata = Some(Text::of(&Value::Object(told.metadata.into_inner())));
    let id = event.facts.id;
    store::insert(&mut cx.tx, &cx.app.random, vec![event]).await?;
    cx.trail.is_written = true;
    Ok(Created(cx.tx.select("WHERE id = $1").bind(id).one().await?))
}

/// What a replica knows of the log.
#[derive(Default)]
pub struct Log {
    key: Mutex<Option<Arc<LogKey>>>,
    /// The last checkpoint that was served here.
    current: Mutex<Option<Signed>>,
    /// Something was committed here.
    woken: Notify,
}

impl Part for Log {
    fn committed(&self) {
        self.wake();
    }
}

impl Log {
    /// The log's key, as this transaction sees it: whichever replica changes it, all follow.
    pub async fn key(&self, app: &App, tx: &mut Conn) -> Result<Arc<LogKey>> {
        // Nobody waits for the lock with a connection that whoever has the lock waits for.
        let kept = self.key.lock().await.clone();
        if let Some(key) = kept
            && key::is_current(tx, &key).await.map_err(Error::internal)?
        {
            return Ok(key);
        }
        let loaded = key::load(&app.kek, tx).await.map(Arc::new).map_err(Error::internal)?;
        *self.key.lock().await = Some(loaded.clone());
        Ok(loaded)
    }

    /// There may be events that wait for their places.
    pub fn wake(&self) {
        self.woken.notify_one();
    }
}

/// The log as a transaction sees it.
pub struct Head {
    pub size: u64,
    pub root: [u8; 32],
    /// The last that was signed; it may be of a smaller tree.
    pub checkpoint: Option<String>,
}

pub async fn head(tx: &mut Conn) -> Result<Head> {
    let tree = store::tree(tx).await?;
    let checkpoint = store::checkpoint(tx).await?.map(|(_, note)| note);
    Ok(Head { size: tree.size, root: tree.root().0, checkpoint })
}
