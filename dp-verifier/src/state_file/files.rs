//! License files and usage reports in the state file.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::crypto::sha256_hex;

/// The newest imported license file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptFile {
    pub(crate) license_id: Uuid,
    pub(crate) deployment_id: Uuid,
    pub(crate) seq: i64,
    /// The issue time of the first imported file, which is the start of the first usage report.
    pub(crate) since: i64,
    /// The hash of the file's bytes.
    pub(crate) sha256: String,
    /// The hash of the newest file with a token. An app may still start with that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bundle_sha256: Option<String>,
    pub(crate) jwks: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoint: Option<String>,
}

impl KeptFile {
    /// Returns whether a file with this hash is the newest file, or the newest file with a token.
    pub(crate) fn is(&self, sha256: &str) -> bool {
        self.sha256 == sha256 || self.bundle_sha256.as_deref() == Some(sha256)
    }
}

/// The last usage report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptReport {
    pub(crate) sequence: i64,
    /// The hash of the report's bytes.
    pub(crate) sha256: String,
    /// The end of the reported time.
    pub(crate) until: i64,
}

impl KeptReport {
    pub(crate) fn of(sequence: i64, until: i64, text: &str) -> Self {
        Self { sequence, sha256: sha256_hex(text.as_bytes()), until }
    }
}
