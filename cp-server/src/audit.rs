//! Audit events: every change leaves exactly one, written in its own transaction.
//!
//! Events are never changed or deleted, not even with their organization; they refer to things by
//! text, so that no foreign key can take them along. Callers may record events of their own beside
//! them; `source` tells whose word an event is, so that nobody can forge one of the server's.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::kernel::answer::{Created, Resource};
use crate::kernel::caller::{CallerKind, Peer, RequestId, Scope};
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::{AuditEventId, OrganizationId, ProjectId};
use crate::kernel::json;
use crate::kernel::page::{List, Page};
use crate::kernel::place::{Org, Platform};
use crate::kernel::query::Rows;
use crate::kernel::record::{Any, Object};
use crate::kernel::text::{ExternalId, Name};

crate::routes! { audit:
    /// Lists the audit events of the whole platform, newest first.
    GET "/audit" AuditRead => list_all;
    /// Lists the organization's audit events, newest first.
    GET "/organizations/{org}/audit" AuditRead => list;
    /// Records an event that the caller tells of; its source is `caller`.
    POST "/organizations/{org}/audit" AuditWrite => tell;
}

crate::text_enum! {
    /// Whose word an event is.
    Source {
        /// The server saw the change itself: it made it.
        Server = "server",
        /// A caller tells of something that happened elsewhere.
        Caller = "caller",
    }
}

crate::record! {
    /// One change: who did what to which thing, when, and how it looked before and after.
    AuditEvent in audit_events {
        id: AuditEventId,
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
        /// Who did it, in the words of the caller that tells of it.
        actor: Option<String>,
        /// The operation, such as `licenses.revoke`.
        action: String,
        target_type: String,
        target_id: Option<String> = "NULLIF(audit_events.target_id, '')",
        project_id: Option<ProjectId>,
        /// The thing as it was; null when it is new. Secrets are masked.
        before: Any,
        /// The thing as it is now; null when it is gone. Secrets are masked.
        after: Any,
        /// What the caller tells besides.
        metadata: Option<Object>,
        /// Why, in the words of the one who did it.
        reason: Option<String>,
        request_id: Option<String>,
        ip: Option<String>,
    }
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
    since: Option<DateTime<Utc>>,
    /// Events that happened at or before this instant.
    until: Option<DateTime<Utc>>,
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
    metadata: Map<String, Value>,
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

async fn list(cx: &mut Cx, _: Org, list: List<AuditFilter>) -> Result<Page<AuditEvent>> {
    let query = cx.tx.select("WHERE organization_id = $1").bind(cx.org);
    list.page(narrowed(query, &list.filter)).await
}

fn narrowed<'c>(query: Rows<'c, AuditEvent>, filter: &AuditFilter) -> Rows<'c, AuditEvent> {
    query
        .and_some(" AND action = ?", filter.action.as_deref())
        .and_some(" AND actor_id = ?", filter.actor)
        .and_some(" AND target_id = ?", filter.target.as_deref())
        .and_some(" AND source = ?", filter.source)
        .and_some(" AND project_id = ?", filter.project)
        .and_some(" AND occurred_at >= ?", filter.since)
        .and_some(" AND occurred_at <= ?", filter.until)
}

async fn tell(cx: &mut Cx, _: Org, told: Told) -> Result<Created<AuditEvent>> {
    if let Some(project) = told.project_id {
        let sql = "SELECT 1 FROM projects WHERE id = $1 AND organization_id = $2";
        let found: Option<i32> = cx.tx.q(sql).bind(project).bind(cx.org).value().await?;
        found.ok_or_else(|| {
            Error::new(ProblemCode::NotFound, "project not found").at("project_id")
        })?;
    }
    let (request_id, ip) = trace_of(cx);
    let sql = "INSERT INTO audit_events
               (id, at, occurred_at, source, organization_id, actor_kind, actor_id, actor_name,
                actor, action, target_type, target_id, project_id, before, after, metadata,
                request_id, ip)
               VALUES ($1, $2, $3, 'caller', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14,
                       $15, $16)";
    let insert = cx
        .tx
        .returning(sql)
        .bind(AuditEventId::new(&cx.app.random, cx.now))
        .bind(cx.now)
        .bind(told.occurred_at.map_or(cx.now, |at| at.0))
        .bind(cx.org)
        .bind(cx.caller.kind)
        .bind(cx.caller.id)
        .bind(&*cx.caller.name)
        .bind(told.actor)
        .bind(told.action)
        .bind(told.target_type)
        .bind(told.target_id.map_or_else(String::new, ExternalId::into_string))
        .bind(told.project_id)
        .bind(Any::default())
        .bind(Object::from(told.metadata))
        .bind(request_id)
        .bind(ip);
    let event = insert.one().await?;
    cx.trail.is_written = true;
    Ok(Created(event))
}

/// What an operation adds to its event; the kernel fills in the rest.
#[derive(Debug, Default)]
pub struct Trail {
    pub before: Option<Value>,
    pub after: Option<Value>,
    /// Whose event it is, when the path does not tell.
    pub organization: Option<OrganizationId>,
    /// What was acted on, when the path does not name it well: type and id.
    pub target: Option<(&'static str, String)>,
    /// Why, in the caller's words.
    pub reason: Option<String>,
    /// The operation has written its one event itself.
    pub is_written: bool,
}

/// What is recorded.
pub struct Entry<'a> {
    pub action: &'a str,
    pub organization: Option<OrganizationId>,
    pub target: (&'a str, String),
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub reason: Option<String>,
}

/// Records the one event of an operation, in its transaction: a change whose event cannot be
/// written does not happen.
pub async fn record<G>(
    cx: &mut Cx<G>,
    action: &'static str,
    organization: Option<OrganizationId>,
    target: (&'static str, String),
) -> Result<()> {
    let trail = std::mem::take(&mut cx.trail);
    if trail.is_written {
        return Ok(());
    }
    let Trail { before, after, reason, .. } = trail;
    let organization = trail.organization.or(organization);
    let target = trail.target.unwrap_or(target);
    append(cx, vec![Entry { action, organization, target, before, after, reason }]).await
}

/// Appends events to the operation's transaction, in one statement.
pub async fn append<G>(cx: &mut Cx<G>, entries: Vec<Entry<'_>>) -> Result<()> {
    let (request_id, ip) = trace_of(cx);
    let (caller, random, now) = (cx.caller.clone(), cx.app.random.clone(), cx.now);
    let sql = "INSERT INTO audit_events
               (id, at, occurred_at, source, organization_id, actor_kind, actor_id, actor_name, action, target_type,
                target_id, before, after, reason, request_id, ip) VALUES ";
    let insert = cx.tx.q(sql).rows(entries, |query, entry| {
        query
            .bind(AuditEventId::new(&random, now))
            .bind(now)
            .bind(now)
            .bind(Source::Server)
            .bind(entry.organization)
            .bind(caller.kind)
            .bind(caller.id)
            .bind(&*caller.name)
            .bind(entry.action)
            .bind(entry.target.0)
            .bind(entry.target.1)
            .bind(Any::from(entry.before.unwrap_or(Value::Null)))
            .bind(Any::from(entry.after.unwrap_or(Value::Null)))
            .bind(entry.reason)
            .bind(request_id.as_deref())
            .bind(ip.as_deref())
    });
    insert.exec().await?;
    Ok(())
}

/// Which request it was, and from where it came.
fn trace_of<G>(cx: &Cx<G>) -> (Option<String>, Option<String>) {
    let extensions = &cx.parts.extensions;
    let request_id = extensions.get::<RequestId>().map(|id| id.0.clone());
    (request_id, extensions.get::<Peer>().map(|peer| peer.0.to_string()))
}
