//! A stored signing key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use cp_contracts::Jwk;

use super::state::KeyState;

/// A key as it is stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct KeyRow {
    pub kid: String,
    pub state: KeyState,
    pub algorithm: String,
    pub bits: i64,
    pub modulus: Vec<u8>,
    pub exponent: Vec<u8>,
    pub sealed: Vec<u8>,
    /// The key's name at the signing service, which has the private half.
    pub service_key: Option<String>,
    pub reason: Option<String>,
    pub endorsement: Option<String>,
    pub endorsed_by: Option<String>,
    pub created_at: DateTime<Utc>,
    pub published_at: Option<DateTime<Utc>>,
    pub activate_at: Option<DateTime<Utc>>,
    pub activated_at: Option<DateTime<Utc>>,
    pub retired_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
}

impl KeyRow {
    pub fn jwk(&self) -> Jwk {
        let (n, e) =
            (URL_SAFE_NO_PAD.encode(&self.modulus), URL_SAFE_NO_PAD.encode(&self.exponent));
        Jwk::rs256(self.kid.clone(), n, e)
    }

    /// Returns the words for a sealed half that does not open.
    pub(super) fn sealed_shut(&self) -> String {
        format!("signing_keys.sealed of {} does not open with the key-encryption key", self.kid)
    }
}

/// Returns the purpose that the seal is bound to, so that one key's row cannot replace another's.
pub fn purpose(kid: &str) -> String {
    format!("signing key {kid} v1")
}
