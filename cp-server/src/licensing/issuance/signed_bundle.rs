//! Issuance: a signed bundle whose row is not written yet.

use chrono::{DateTime, Utc};
use cp_contracts::LicenseBundleResponse;
use serde_json::{Value, json};

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::journal::draft::Issued;
use crate::licensing::ids::LicenseId;

/// A token, before its row is written.
pub struct SignedBundle {
    pub response: LicenseBundleResponse,
    pub license: LicenseId,
    pub organization: OrganizationId,
    pub license_revision: i64,
    pub organization_revision: i64,
    /// The token's end with its grace.
    pub over_at: DateTime<Utc>,
    /// Of the last file that was made of the license.
    pub file_seq: i64,
}

impl SignedBundle {
    /// What the log's leaf tells of it.
    pub fn issued(&self) -> Issued {
        Issued {
            jti: self.response.jti,
            kid: self.response.key_id.clone(),
            token_sha256: self.response.bundle_hash.clone(),
        }
    }

    /// What the audit event keeps: everything but the token.
    pub fn record(&self) -> Value {
        let bundle = &self.response;
        json!({
            "license_id": bundle.license_id, "jti": bundle.jti, "key_id": bundle.key_id,
            "bundle_hash": bundle.bundle_hash, "audience": bundle.payload.aud,
            "issued_at": bundle.issued_at, "expires_at": bundle.expires_at,
            "token": {"masked": true},
        })
    }
}
