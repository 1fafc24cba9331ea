//! The files that carry a license to a data plane without a network.

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{Jwk, JwkSet};

/// The `typ` of a license file's header.
pub const LICENSE_FILE_TYP: &str = "license-file+jwt";

/// The `typ` of a key endorsement's header.
pub const SIGNING_KEY_TYP: &str = "signing-key+jwt";

/// The payload of a license file: all that a data plane without a network needs.
///
/// The file's whole content is one compact JWS (RFC 7515 §7.1), signed like a license token, whose
/// header is `alg`, `typ` [`LICENSE_FILE_TYP`] and `kid`: what is signed is exactly what is read. A
/// file with a token is a bundle file, one without is a refresh file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LicenseFileClaims {
    /// Who issued the file: the control plane's base URL, as in license tokens.
    pub iss: String,
    /// The deployment's id, as in license tokens.
    pub sub: Uuid,
    /// The license that the file is about.
    pub license_id: Uuid,
    /// The file's number among those of this license: the second since 1970-01-01T00:00:00Z in which it
    /// was made, or one more than the last. Issuers of earlier versions counted from 1. A data plane
    /// takes no file that is older than one that it has taken.
    ///
    /// It is at most 86,400 above the number of the file before, and above `iat`, whichever is more:
    /// one file must not lock out all later ones.
    pub seq: i64,
    /// When the file was made, in seconds since 1970-01-01T00:00:00Z.
    pub iat: i64,
    /// The license token; absent in a refresh file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The issuer's public keys.
    pub jwks: JwkSet,
    /// The status list token that the license's `status` refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_list: Option<String>,
    /// Endorsements of keys, each a compact JWS of [`SigningKeyClaims`], oldest first: they lead
    /// from a key that the data plane trusts to the one that signed this file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_chain: Vec<String>,
    /// The log's checkpoint when the file was made: an opaque text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// The proof that the log of `checkpoint` begins with the one that the deployment's last usage
    /// report told of: `old`, a space and the size of that one, then a hash in base64 per line (RFC
    /// 6962 §2.1.2), as C2SP tlog-witness has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<String>,
    /// The proof that the token is in the log: an opaque text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// The version of this contract that the issuer wrote.
    pub contract: Version,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The payload of a key endorsement: one signing key of an issuer vouches for another.
///
/// It is a compact JWS, signed like a license token by the key that was active when the other was
/// made, whose header has `typ` [`SIGNING_KEY_TYP`] and that key's `kid`. Whoever trusts the signer
/// may trust [`jwk`](Self::jwk), so that keys can be replaced while a data plane hears nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SigningKeyClaims {
    /// The issuer of both keys: the control plane's base URL.
    pub iss: String,
    /// When the endorsement was made, in seconds since 1970-01-01T00:00:00Z.
    pub iat: i64,
    /// The endorsed key.
    pub jwk: Jwk,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
