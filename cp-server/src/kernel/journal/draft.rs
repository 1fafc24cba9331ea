//! The part of an audit event that an operation supplies.

use serde_json::Value;

use crate::kernel::access::ids::OrganizationId;

/// The part of an event that an operation supplies; the kernel fills in the rest.
#[derive(Debug, Default)]
pub struct AuditDraft {
    pub before: Option<Value>,
    pub after: Option<Value>,
    /// The organization of the event, when the path does not name one.
    pub organization: Option<OrganizationId>,
    /// The type and ID of the target, when the path does not identify it well.
    pub target: Option<(&'static str, String)>,
    /// The reason, in the caller's words.
    pub reason: Option<String>,
    /// The issued bundle, which the leaf names.
    pub issued: Option<Issued>,
    /// Whether the operation has already written its one event itself.
    pub is_written: bool,
    omitted: bool,
}

impl AuditDraft {
    /// Leaves no event, if the line has `conditional_audit`. A line with `own_transaction` then need
    /// not write.
    pub fn omit(&mut self) {
        self.omitted = true;
    }

    /// Whether the operation leaves no event.
    pub fn is_omitted(&self) -> bool {
        self.omitted
    }
}

/// A bundle as a leaf names it.
#[derive(Clone, Debug)]
pub struct Issued {
    pub jti: uuid::Uuid,
    pub kid: String,
    /// SHA-256 of the token, hexadecimal.
    pub token_sha256: String,
}
