//! What is kept of license files and usage reports.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::crypto::sha256_hex;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptFile {
    pub(crate) license_id: Uuid,
    pub(crate) deployment_id: Uuid,
    pub(crate) seq: i64,
    /// When the first file that was taken was made: from then on usage is to be reported.
    pub(crate) since: i64,
    /// Of its bytes.
    pub(crate) sha256: String,
    /// Of the bytes of the newest file with a token, which an app goes on being started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bundle_sha256: Option<String>,
    pub(crate) jwks: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoint: Option<String>,
}

impl KeptFile {
    /// Whether a file with this hash is the newest one, or the newest with a token.
    pub(crate) fn is(&self, sha256: &str) -> bool {
        self.sha256 == sha256 || self.bundle_sha256.as_deref() == Some(sha256)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptReport {
    pub(crate) sequence: i64,
    /// Of its bytes.
    pub(crate) sha256: String,
    /// The end of the time that it is about.
    pub(crate) until: i64,
}

impl KeptReport {
    pub(crate) fn of(sequence: i64, until: i64, text: &str) -> Self {
        Self { sequence, sha256: sha256_hex(text.as_bytes()), until }
    }
}
