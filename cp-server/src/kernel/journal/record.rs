//! Recording: writes the event of a change in the transaction of the change.

use serde_json::{Value, json};

use super::abridged;
use super::canonical::Text;
use super::draft::{AuditDraft, Issued};
use super::leaf::{Event, LeafFacts, Source};
use super::store;
use crate::kernel::access::caller::{LoggedIn, Peer, RequestId};
use crate::kernel::access::ids::{AuditEventId, OrganizationId};
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;

/// The content of one event.
pub struct Entry<'a> {
    pub action: &'a str,
    pub organization: Option<OrganizationId>,
    pub target: (&'a str, String),
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub reason: Option<String>,
    pub issued: Option<Issued>,
}

/// Records the one event of an operation in its transaction. A change whose event cannot be written
/// does not happen.
pub async fn record<G>(
    cx: &mut Cx<G>,
    action: &'static str,
    organization: Option<OrganizationId>,
    target: (&'static str, String),
) -> Result<()> {
    let audit = std::mem::take(&mut cx.audit);
    if audit.is_written {
        return Ok(());
    }
    let AuditDraft { before, after, reason, issued, .. } = audit;
    let organization = audit.organization.or(organization);
    let target = audit.target.unwrap_or(target);
    append(cx, vec![Entry { action, organization, target, before, after, reason, issued }]).await
}

/// Appends events in the operation's transaction, in this order.
pub async fn append<G>(cx: &mut Cx<G>, entries: Vec<Entry<'_>>) -> Result<()> {
    let mut events = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut event = event(cx, entry.action, entry.organization);
        event.facts.target_type = entry.target.0.to_owned();
        event.facts.target_id = entry.target.1;
        (event.before, event.after) =
            abridged::texts(entry.before.unwrap_or_default(), entry.after.unwrap_or_default());
        event.reason = entry.reason;
        if let Some(issued) = entry.issued {
            event.facts.jti = Some(issued.jti);
            event.facts.kid = Some(issued.kid);
            event.facts.token_sha256 = Some(issued.token_sha256);
        }
        events.push(event);
    }
    // Lists and the log follow the IDs, which are random within an instant.
    let mut ids: Vec<AuditEventId> = events.iter().map(|event| event.facts.id).collect();
    ids.sort();
    events.iter_mut().zip(ids).for_each(|(event, id)| event.facts.id = id);
    store::insert(&mut cx.tx, &cx.app.random, events).await
}

/// Returns an event of this operation, without a target.
pub fn event<G>(cx: &Cx<G>, action: &str, organization_id: Option<OrganizationId>) -> Event {
    let (request_id, ip) = trace_of(cx);
    Event {
        facts: LeafFacts {
            id: AuditEventId::new(&cx.app.random, cx.now),
            at: cx.now,
            source: Source::Server,
            organization_id,
            action: action.to_owned(),
            target_type: String::new(),
            target_id: String::new(),
            commitment: None,
            jti: None,
            kid: None,
            token_sha256: None,
        },
        occurred_at: Some(cx.now),
        actor_kind: cx.caller.kind,
        actor_id: cx.caller.actor_id(),
        actor_name: cx.caller.name.clone(),
        vouched_by: cx.caller.login.as_deref().map(vouched_by),
        actor: None,
        project_id: None,
        before: Text::of(&Value::Null),
        after: Text::of(&Value::Null),
        metadata: None,
        reason: None,
        request_id,
        ip,
        seq: None,
        salt: None,
        erased_at: None,
    }
}

/// Encodes the identity provider that vouches for a login.
fn vouched_by(login: &LoggedIn) -> Text {
    Text::of(&json!({
        "provider": login.provider,
        "issuer": login.issuer,
        "organization_id": login.authority.organization(),
    }))
}

/// Returns the request ID and the peer's address.
fn trace_of<G>(cx: &Cx<G>) -> (Option<String>, Option<String>) {
    let extensions = &cx.parts.extensions;
    let request_id = extensions.get::<RequestId>().map(|id| id.0.clone());
    (request_id, extensions.get::<Peer>().map(|peer| peer.0.to_string()))
}
