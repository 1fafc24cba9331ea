//! The leaf of an event.
//!
//! A leaf is published, so it contains no personal data: the action, the time, the target's ID, and
//! a commitment to everything else. A holder of the event and its salt can prove that the leaf is
//! that of the event. After both are erased, the leaf reveals nothing about them.

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use super::canonical::{self, Text};
use crate::kernel::access::caller::CallerKind;
use crate::kernel::access::ids::{AuditEventId, OrganizationId, ProjectId};
use crate::kernel::secret::{hex, sha256};

crate::text_enum! {
    /// The author of an event.
    Source as "EventSource" {
        /// The server itself made the change.
        Server = "server",
        /// A caller reports something that happened elsewhere.
        Caller = "caller",
    }
}

pub const SALT_LEN: usize = 16;

/// The target type of an erasure. Its target ID is the ranges of erased positions, such as
/// `3-9,12`.
pub const ERASED: &str = "audit events";

/// The columns that a leaf is computed from.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct LeafFacts {
    pub id: AuditEventId,
    pub at: DateTime<Utc>,
    pub source: Source,
    pub organization_id: Option<OrganizationId>,
    pub action: String,
    pub target_type: String,
    pub target_id: String,
    pub commitment: Option<Vec<u8>>,
    pub jti: Option<Uuid>,
    pub kid: Option<String>,
    pub token_sha256: Option<String>,
}

/// A whole event, as stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Event {
    #[sqlx(flatten)]
    pub facts: LeafFacts,
    pub occurred_at: Option<DateTime<Utc>>,
    pub actor_kind: CallerKind,
    pub actor_id: Uuid,
    pub actor_name: String,
    /// The identity provider that vouched for a person's login: provider, issuer and organization.
    pub vouched_by: Option<Text>,
    pub actor: Option<String>,
    pub project_id: Option<ProjectId>,
    pub before: Text,
    pub after: Text,
    pub metadata: Option<Text>,
    pub reason: Option<String>,
    pub request_id: Option<String>,
    pub ip: Option<String>,
    pub seq: Option<i64>,
    pub salt: Option<Vec<u8>>,
    pub erased_at: Option<DateTime<Utc>>,
}

impl LeafFacts {
    pub const COLUMNS: &'static str = "id, at, source, organization_id, action, target_type, \
         target_id, commitment, jti, kid, token_sha256";

    /// Returns the action, the target type and the target ID that the leaf contains. The server's
    /// own events name their target by ID. Words that people choose stay in the event.
    pub fn published(&self) -> (&str, &str, String) {
        match self.source {
            Source::Caller => {
                let organization = self.organization_id.map(|id| id.to_string());
                // A word of the leaf's format, not the operation's name: every log has it.
                ("audit.tell", "organization", organization.unwrap_or_default())
            }
            Source::Server => {
                let id = if is_public(&self.target_type, &self.target_id) {
                    self.target_id.clone()
                } else {
                    String::new()
                };
                (&self.action, &self.target_type, id)
            }
        }
    }

    /// Encodes the leaf at this position.
    pub fn leaf(&self, seq: i64) -> Vec<u8> {
        let (action, kind, id) = self.published();
        let mut members = Members::default();
        members.text("action", action);
        members.text("at", &instant(self.at));
        members.text("commit", &hex(self.commitment.as_deref().unwrap_or_default()));
        if let Some(jti) = self.jti {
            members.text("jti", &jti.to_string());
        }
        if let Some(kid) = &self.kid {
            members.text("kid", kid);
        }
        members.raw("seq", &seq.to_string());
        let mut target = Members::default();
        target.text("id", &id);
        target.text("type", kind);
        members.raw("target", &String::from_utf8_lossy(&target.end()));
        if let Some(hash) = &self.token_sha256 {
            members.text("token_sha256", hash);
        }
        members.raw("v", "1");
        members.end()
    }
}

/// Checks that an ID reveals nothing except what it identifies.
fn is_public(kind: &str, id: &str) -> bool {
    match kind {
        ERASED => id.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b','),
        // The thumbprint of a public key.
        "signing key" => true,
        _ => id.split('/').all(|part| part.len() == 36 && part.parse::<Uuid>().is_ok()),
    }
}

impl Event {
    pub const COLUMNS: &'static str = "id, at, source, organization_id, action, target_type, \
         target_id, commitment, jti, kid, token_sha256, occurred_at, actor_kind, actor_id, \
         actor_name, vouched_by, actor, project_id, before, after, metadata, reason, request_id, \
         ip, seq, salt, erased_at";

    /// Returns the SHA-256 of the salt and the content. The JSON columns must be in canonical form.
    pub fn commit(&self, salt: &[u8]) -> [u8; 32] {
        sha256(&self.content(salt))
    }

    /// Returns the same event with its JSON columns in canonical form.
    pub fn canonical(&self) -> Self {
        let canonical = |text: &Text| Text::of(&text.exact());
        let (before, after) = (canonical(&self.before), canonical(&self.after));
        let metadata = self.metadata.as_ref().map(canonical);
        let vouched_by = self.vouched_by.as_ref().map(canonical);
        Self { before, after, metadata, vouched_by, ..self.clone() }
    }

    /// Checks that the event's commitment is to this content.
    pub fn is_committed(&self, salt: &[u8]) -> bool {
        let committed = self.facts.commitment.as_deref();
        let is_of = |event: &Self| committed == Some(event.commit(salt).as_slice());
        // If the stored bytes hash to the commitment, they are the bytes that were committed to.
        is_of(self) || is_of(&self.canonical())
    }

    /// Encodes the salt and everything that the event contains, including the members in the leaf.
    fn content(&self, salt: &[u8]) -> Vec<u8> {
        let facts = &self.facts;
        let mut text =
            Vec::with_capacity(1024 + self.before.as_str().len() + self.after.as_str().len());
        text.extend_from_slice(salt);
        let mut members = Members::after(text);
        members.text("action", &facts.action);
        members.optional("actor", self.actor.as_deref());
        members.text("actor_id", &self.actor_id.to_string());
        members.text("actor_kind", self.actor_kind.as_str());
        members.text("actor_name", &self.actor_name);
        members.raw("after", self.after.as_str());
        members.raw("before", self.before.as_str());
        members.text("id", &facts.id.to_string());
        members.optional("ip", self.ip.as_deref());
        members.raw("metadata", self.metadata.as_ref().map_or("null", Text::as_str));
        members.optional("occurred_at", self.occurred_at.map(instant).as_deref());
        members
            .optional("organization_id", facts.organization_id.map(|o| o.to_string()).as_deref());
        members.optional("project_id", self.project_id.map(|p| p.to_string()).as_deref());
        members.optional("reason", self.reason.as_deref());
        members.optional("request_id", self.request_id.as_deref());
        members.text("source", facts.source.as_str());
        members.text("target_id", &facts.target_id);
        members.text("target_type", &facts.target_type);
        // Absent, not null: older events without this member must keep the content that they had.
        if let Some(vouched_by) = &self.vouched_by {
            members.raw("vouched_by", vouched_by.as_str());
        }
        members.end()
    }

    /// Checks that the event contains nothing except the leaf's members and its organization.
    pub fn is_blank(&self) -> bool {
        let facts = &self.facts;
        let (action, kind, id) = facts.published();
        (&*facts.action, &*facts.target_type, &*facts.target_id) == (action, kind, &*id)
            && self.occurred_at == Some(facts.at)
            && self.actor_kind == CallerKind::Anonymous
            && self.actor_id.is_nil()
            && self.actor_name.is_empty()
            && [&self.before, &self.after].iter().all(|text| text.as_str() == "null")
            && self.vouched_by.is_none()
            && (self.actor.is_none() && self.project_id.is_none() && self.metadata.is_none())
            && (self.reason.is_none() && self.request_id.is_none() && self.ip.is_none())
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// An object that is being written; its members arrive in canonical order.
struct Members(Vec<u8>);

impl Default for Members {
    fn default() -> Self {
        Self::after(Vec::new())
    }
}

impl Members {
    fn after(mut text: Vec<u8>) -> Self {
        text.push(b'{');
        Self(text)
    }

    /// Writes a name, which must need no escapes.
    fn name(&mut self, name: &'static str) {
        let before: &[u8] = if self.0.last() == Some(&b'{') { b"\"" } else { b",\"" };
        self.0.extend_from_slice(before);
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn raw(&mut self, name: &'static str, text: &str) {
        self.name(name);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, name: &'static str, text: &str) {
        self.name(name);
        canonical::string(&mut self.0, text);
    }

    fn optional(&mut self, name: &'static str, text: Option<&str>) {
        match text {
            Some(text) => self.text(name, text),
            None => self.raw(name, "null"),
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}
