//! Audit events: every change leaves exactly one, written in its own transaction.
//!
//! Events are never changed or deleted, not even with their organization; they refer to things by
//! text, so that no foreign key can take them along.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::kernel::caller::{CallerKind, Peer, RequestId, Scope};
use crate::kernel::endpoint::Cx;
use crate::kernel::error::Result;
use crate::kernel::ids::{AuditEventId, OrganizationId};
use crate::kernel::page::{List, Page};
use crate::kernel::place::{Org, Platform};
use crate::kernel::record::Any;

crate::routes! { audit:
    /// Lists the audit events of the whole platform, newest first.
    GET "/audit" AuditRead => list_all;
    /// Lists the organization's audit events, newest first.
    GET "/organizations/{org}/audit" AuditRead => list;
}

crate::record! {
    /// One change: who did what to which thing, when, and how it looked before and after.
    AuditEvent in audit_events {
        id: AuditEventId,
        at: DateTime<Utc>,
        organization_id: Option<OrganizationId>,
        actor_kind: CallerKind,
        /// The user's or the service token's id.
        actor_id: uuid::Uuid,
        actor_name: String,
        /// The operation, such as `licenses.revoke`.
        action: String,
        target_type: String,
        target_id: String,
        /// The thing as it was; null when it is new. Secrets are masked.
        before: Any,
        /// The thing as it is now; null when it is gone. Secrets are masked.
        after: Any,
        /// Why, in the words of the one who did it.
        reason: Option<String>,
        request_id: Option<String>,
        ip: Option<String>,
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
    /// Events at or after this instant.
    since: Option<DateTime<Utc>>,
    /// Events before this instant.
    until: Option<DateTime<Utc>>,
    /// Platform-wide only: events of this organization, purged ones included.
    organization: Option<OrganizationId>,
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

fn narrowed<'c>(
    query: crate::kernel::query::Rows<'c, AuditEvent>,
    filter: &AuditFilter,
) -> crate::kernel::query::Rows<'c, AuditEvent> {
    query
        .and_some(" AND action = ?", filter.action.as_deref())
        .and_some(" AND actor_id = ?", filter.actor)
        .and_some(" AND target_id = ?", filter.target.as_deref())
        .and_some(" AND at >= ?", filter.since)
        .and_some(" AND at < ?", filter.until)
}

/// What an operation adds to its event; the kernel fills in the rest.
#[derive(Debug, Default)]
pub struct Trail {
    pub before: Option<Value>,
    pub after: Option<Value>,
    /// Whose event it is, when the path does not tell.
    pub organization: Option<OrganizationId>,
    /// Why, in the caller's words.
    pub reason: Option<String>,
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
    let Trail { before, after, organization: told, reason } = std::mem::take(&mut cx.trail);
    let organization = told.or(organization);
    append(cx, vec![Entry { action, organization, target, before, after, reason }]).await
}

/// Appends events to the operation's transaction, in one statement.
pub async fn append<G>(cx: &mut Cx<G>, entries: Vec<Entry<'_>>) -> Result<()> {
    let extensions = &cx.parts.extensions;
    let request_id = extensions.get::<RequestId>().map(|id| id.0.clone());
    let ip = extensions.get::<Peer>().map(|peer| peer.0.to_string());
    let (caller, random, now) = (cx.caller.clone(), cx.app.random.clone(), cx.now);
    let sql = "INSERT INTO audit_events
               (id, at, organization_id, actor_kind, actor_id, actor_name, action, target_type,
                target_id, before, after, reason, request_id, ip) VALUES ";
    let insert = cx.tx.q(sql).rows(entries, |query, entry| {
        query
            .bind(AuditEventId::new(&random, now))
            .bind(now)
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
