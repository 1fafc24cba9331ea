//! What an operation adds to its audit event.

use serde_json::Value;

use crate::kernel::access::ids::OrganizationId;

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
    /// The bundle that was issued, which the leaf tells.
    pub issued: Option<Issued>,
    /// The operation has written its one event itself.
    pub is_written: bool,
}

/// A bundle as its leaf names it.
#[derive(Clone, Debug)]
pub struct Issued {
    pub jti: uuid::Uuid,
    pub kid: String,
    /// SHA-256 of the token, hexadecimal.
    pub token_sha256: String,
}
