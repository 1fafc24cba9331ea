//! The answer that carries a license token.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::DeploymentLicenseClaims;

/// The answer to `POST /api/v1/licenses/{id}/bundles`: one signed token and what it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LicenseBundleResponse {
    /// The license that the bundle belongs to.
    pub license_id: Uuid,
    /// The bundle's id, as in the token's `jti`.
    pub jti: Uuid,
    /// The license token: a compact JWS (RFC 7515 §7.1). It is a credential and is shown only here.
    pub token: String,
    /// The `kid` of the key that signed it.
    pub key_id: String,
    /// The signature algorithm, [`LICENSE_TOKEN_ALG`](crate::LICENSE_TOKEN_ALG).
    pub algorithm: String,
    /// When the token was issued.
    pub issued_at: DateTime<Utc>,
    /// From when on it is no longer valid.
    pub expires_at: DateTime<Utc>,
    /// The token's claims, decoded, for people and logs. A data plane reads them from the token.
    pub payload: DeploymentLicenseClaims,
    /// SHA-256 of the token's bytes, in lower-case hex: names the token without giving it away.
    pub bundle_hash: String,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
