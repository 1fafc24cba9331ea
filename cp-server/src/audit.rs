//! Audit events: every change leaves exactly one, written in its own transaction.
//!
//! The server never changes or deletes an event, not even together with its organization. Events
//! refer to things by strings: a foreign key would delete them with their target. Callers may
//! record their own events as well. `source` names the author of an event, so that no caller can
//! forge an event of the server.
//!
//! The kernel writes events (`kernel/journal`). They are the leaves of a Merkle tree, the log:
//! `integrator.rs` assigns their positions, `checkpoints.rs` signs the tree, `proofs.rs` proves its
//! leaves, `published.rs` serves it. `high_water.rs` keeps its newest checkpoint beside the
//! database file, `rotation.rs` replaces the log's key, `verify.rs` and `replay.rs` replay
//! everything. `erase.rs` removes the content of events and leaves the tree unchanged.

pub mod checkpoints;
pub mod erase;
mod finding;
pub mod high_water;
pub mod integrator;
pub mod key;
pub mod newest;
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
use crate::kernel::db::record::Object;
use crate::kernel::declaration::{Declaration, Export, Happening, Purge};
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
use key::{LogKey, SignedCheckpoint};

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
.purge(Purge::Stay("the log keeps what happened to an organization that is no more"))
.events(&[
    Happening { action: "audit.expire", doc: "The content of old audit events was erased." },
    Happening {
        action: "log.rotate_key",
        doc: "The log got another key; the previous one still signs.",
    },
    Happening { action: "log.retire_key", doc: "The previous key of the log no longer signs." },
]);

crate::routes! {
    /// The audit events: every change leaves exactly one.
    audit declares DECLARATION:
    /// Lists the audit events of the whole platform, newest first.
    GET "/audit" AUDIT_READ => list_all;
    /// Reads an audit event.
    GET "/audit/{id}" AUDIT_READ => read;
    /// Lists the organization's audit events, newest first.
    GET "/organizations/{org}/audit" AUDIT_READ => list;
    /// Records an event that the caller reports. Its source is `caller`.
    POST "/organizations/{org}/audit" AUDIT_WRITE => record, harmless, machine;
}

crate::record! {
    /// A change: who did what to which thing, when, and its state before and after.
    AuditEvent in audit_events {
        id: AuditEventId,
        /// The position in the log, counted from 0; null until the log has the event, usually
        /// within a second.
        seq: Option<i64>,
        /// When the server recorded the event.
        at: DateTime<Utc>,
        /// When the event happened. For the server's own events, this is the same instant.
        occurred_at: DateTime<Utc>,
        source: Source,
        organization_id: Option<OrganizationId>,
        actor_kind: CallerKind,
        /// The ID of the user or service token.
        actor_id: uuid::Uuid,
        actor_name: String,
        /// The identity provider that vouched for a person's login, its issuer, and the
        /// organization that owns the provider. Null for other actors.
        vouched_by: Option<Object>,
        /// The person or program that acted, as the caller reports it.
        actor: Option<String>,
        /// The operation, such as `licenses.revoke`.
        action: String,
        target_type: String,
        target_id: Option<String> = "NULLIF(audit_events.target_id, '')",
        project_id: Option<ProjectId>,
        /// The state before; null when the thing is new. Secrets are masked. When `$whole`, the
        /// digest of the whole state, is present, only the changed members are included.
        before: Text,
        /// The state after; null when the thing was removed. Secrets are masked. `$whole` as in
        /// `before`.
        after: Text,
        /// Additional data that the caller reports.
        metadata: Option<Object>,
        /// The reason, in the words of the caller.
        reason: Option<String>,
        request_id: Option<String>,
        ip: Option<String>,
        /// When the content was erased. The remaining members are those in the log's leaf.
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
    /// The operation, such as `licenses.revoke`. A trailing `.*` selects all operations of a
    /// resource, such as `budgets.*`.
    action: Option<String>,
    /// Events about a thing of this product label: after the change, else before it.
    product: Option<String>,
    /// The kind of the target, such as `license`.
    target_type: Option<String>,
    /// The actor's ID.
    actor: Option<uuid::Uuid>,
    /// The target's ID.
    target: Option<String>,
    /// The author of the event: the server or a caller.
    source: Option<Source>,
    /// The ID of the project that the event belongs to.
    project: Option<ProjectId>,
    /// Events that happened at or after this instant.
    since: Option<json::Moment>,
    /// Events that happened at or before this instant.
    until: Option<json::Moment>,
    /// Platform list only: events of this organization, also after its purge.
    organization: Option<OrganizationId>,
}

/// An event that a caller reports.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallerEvent {
    /// The name of what happened, 1 to 255 characters, such as `report.export`.
    action: Name,
    /// The kind of the object that changed, 1 to 255 characters.
    target_type: Name,
    /// The object's ID in the caller's system, at most 255 characters.
    target_id: Option<ExternalId>,
    /// The ID of the project that the event belongs to.
    project_id: Option<ProjectId>,
    /// The person or program that acted. The server also records the caller itself.
    actor: Option<ExternalId>,
    /// Additional data, as an object of at most 64 KiB.
    #[serde(default)]
    metadata: Object,
    /// When it happened; defaults to now.
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
    let action = filter.action.as_deref();
    let slice = action.and_then(|text| text.strip_suffix('*')).filter(|text| text.ends_with('.'));
    query
        .and_some(" AND action = ?", action.filter(|_| slice.is_none()))
        .and_some(" AND SUBSTR(action, 1, LENGTH(?)) = ?", slice)
        // PostgreSQL combines the indexes of both sides; SQLite scans the organization's events.
        .and_some(
            " AND (after ->> 'product' = ?
                   OR after ->> 'product' IS NULL AND before ->> 'product' = ?)",
            filter.product.as_deref(),
        )
        .and_some(" AND target_type = ?", filter.target_type.as_deref())
        .and_some(" AND actor_id = ?", filter.actor)
        .and_some(" AND target_id = ?", filter.target.as_deref())
        .and_some(" AND source = ?", filter.source)
        .and_some(" AND project_id = ?", filter.project)
        .and_some(" AND occurred_at >= ?", filter.since.map(|at| at.0))
        .and_some(" AND occurred_at <= ?", filter.until.map(|at| at.0))
}

async fn record(cx: &mut Cx, _: Org, reported: CallerEvent) -> Result<Created<AuditEvent>> {
    if let Some(project) = reported.project_id {
        let sql = "SELECT 1 FROM projects WHERE id = $1 AND organization_id = $2";
        let found: Option<i32> = cx.tx.q(sql).bind(project).bind(cx.at).value().await?;
        found.ok_or_else(|| {
            Error::new(ProblemCode::NotFound, "project not found").at("project_id")
        })?;
    }
    let mut event = event(cx, reported.action.as_str(), Some(cx.at));
    event.facts.source = Source::Caller;
    event.facts.target_type = reported.target_type.into_string();
    event.facts.target_id = reported.target_id.map_or_else(String::new, ExternalId::into_string);
    event.occurred_at = Some(reported.occurred_at.map_or(cx.now, |at| at.0));
    event.actor = reported.actor.map(ExternalId::into_string);
    event.project_id = reported.project_id;
    event.metadata = Some(Text::of(&Value::Object(reported.metadata.into_inner())));
    let id = event.facts.id;
    store::insert(&mut cx.tx, &cx.app.random, vec![event]).await?;
    cx.audit.is_written = true;
    Ok(Created(cx.tx.select("WHERE id = $1").bind(id).one().await?))
}

/// The log's state in this replica.
#[derive(Default)]
pub struct Log {
    key: Mutex<Option<Arc<LogKey>>>,
    /// The last checkpoint that this replica served.
    current: Mutex<Option<SignedCheckpoint>>,
    /// Signals that this replica committed something.
    woken: Notify,
}

impl Part for Log {
    fn committed(&self) {
        self.wake();
    }
}

impl Log {
    /// Returns the log's key as this transaction sees it. Every replica follows when one changes
    /// the key.
    pub async fn key(&self, app: &App, tx: &mut Conn) -> Result<Arc<LogKey>> {
        // Do not hold the database connection while waiting for the lock: its owner may need that
        // connection.
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

    /// Reports that events may be waiting for their positions.
    pub fn wake(&self) {
        self.woken.notify_one();
    }
}

/// The progress of the log.
pub struct Progress {
    /// The number of entries that the newest signed checkpoint covers.
    pub signed: u64,
    /// The number of entries.
    pub size: u64,
    /// When the oldest event that waits for its position was recorded.
    pub waiting_since: Option<DateTime<Utc>>,
}

pub async fn progress(tx: &mut Conn) -> Result<Progress> {
    // The checkpoint first: the tree that is read after it is at least as large.
    let signed = store::checkpoint(tx).await?.map_or(0, |(size, _)| size);
    let size = store::tree(tx).await?.size;
    Ok(Progress { signed, size, waiting_since: store::waiting_since(tx).await? })
}

/// The log as a transaction sees it.
pub struct Head {
    pub size: u64,
    pub root: [u8; 32],
    /// The last signed checkpoint; its tree may be smaller.
    pub checkpoint: Option<String>,
}

pub async fn head(tx: &mut Conn) -> Result<Head> {
    let tree = store::tree(tx).await?;
    let checkpoint = store::checkpoint(tx).await?.map(|(_, note)| note);
    Ok(Head { size: tree.size, root: tree.root().0, checkpoint })
}
