//! A signed bundle whose row is not written yet.

use chrono::{DateTime, Utc};
use cp_contracts::LicenseBundleResponse;
use serde_json::{Value, json};

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::journal::draft::Issued;
use crate::licensing::ids::LicenseId;

/// A signed token before its row is written.
pub struct SignedBundle {
    pub response: LicenseBundleResponse,
    pub license: LicenseId,
    pub organization: OrganizationId,
    pub license_revision: i64,
    pub organization_revision: i64,
    /// The token's end, including its grace.
    pub over_at: DateTime<Utc>,
    /// The number of the license's last file.
    pub file_seq: i64,
}

impl SignedBundle {
    /// Returns the content of the token's leaf in the log.
    pub fn issued(&self) -> Issued {
        Issued {
            jti: self.response.jti,
            kid: self.response.key_id.clone(),
            token_sha256: self.response.bundle_hash.clone(),
        }
    }

    /// Returns the content of the audit event: everything except the token.
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
