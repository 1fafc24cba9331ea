//! The response that carries a license token.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::DeploymentLicenseClaims;

/// The response to `POST /api/v1/licenses/{id}/bundles`: one signed token and its decoded claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LicenseBundleResponse {
    /// The license that the bundle belongs to.
    pub license_id: Uuid,
    /// The bundle's id, which is the token's `jti`.
    pub jti: Uuid,
    /// The license token: a compact JWS (RFC 7515 §7.1). It is a credential; no other response has
    /// it.
    pub token: String,
    /// The `kid` of the key that signed the token.
    pub key_id: String,
    /// The signature algorithm, [`LICENSE_TOKEN_ALG`](crate::LICENSE_TOKEN_ALG).
    pub algorithm: String,
    /// When the token was issued.
    pub issued_at: DateTime<Utc>,
    /// When the token expires; exclusive.
    pub expires_at: DateTime<Utc>,
    /// The token's claims, decoded, for people and logs. A data plane reads them from the token.
    pub payload: DeploymentLicenseClaims,
    /// SHA-256 of the token's bytes, in lower-case hex: it identifies the token without revealing
    /// it.
    pub bundle_hash: String,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
