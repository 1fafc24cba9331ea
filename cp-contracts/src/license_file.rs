//! License files: signed files for data planes without a network.

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{Jwk, JwkSet};

/// The `typ` of a license file's header.
pub const LICENSE_FILE_TYP: &str = "license-file+jwt";

/// The `typ` of a key endorsement's header.
pub const SIGNING_KEY_TYP: &str = "signing-key+jwt";

/// The payload of a license file: everything that a data plane without a network needs.
///
/// The content of the file is one compact JWS (RFC 7515 §7.1), signed like a license token, with a
/// header of `alg`, `typ` [`LICENSE_FILE_TYP`] and `kid`. A file with a token is a bundle file. A
/// file without a token is a refresh file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LicenseFileClaims {
    /// The issuer of the file: the control plane's base URL, as in license tokens.
    pub iss: String,
    /// The deployment's id, as in license tokens.
    pub sub: Uuid,
    /// The license.
    pub license_id: Uuid,
    /// The number of the file within its license: the second since 1970-01-01T00:00:00Z in which it
    /// was created, or one more than the last number. Issuers of earlier versions counted from 1. A
    /// data plane refuses a file whose number is not above those of all files that it imported.
    ///
    /// The number is at most 86,400 above the greater of two values: the number of the previous
    /// file, and `iat`. Without the bound, one file could lock out all later ones.
    pub seq: i64,
    /// When the file was created, in seconds since 1970-01-01T00:00:00Z.
    pub iat: i64,
    /// The license token; absent in a refresh file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The issuer's public keys.
    pub jwks: JwkSet,
    /// The status list token that the license's `status` refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_list: Option<String>,
    /// Endorsements of keys, each a compact JWS of [`SigningKeyClaims`], oldest first. They lead
    /// from a key that the data plane trusts to the key that signed this file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_chain: Vec<String>,
    /// The log's checkpoint when the file was created: an opaque text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// The proof that the log of `checkpoint` extends the log of the deployment's last usage
    /// report: `old`, a space and the size of the reported log, then one base64 hash per line (RFC
    /// 6962 §2.1.2), in the form of C2SP tlog-witness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<String>,
    /// The proof that the token is in the log: an opaque text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// The version of the contract of these claims.
    pub contract: Version,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The payload of a key endorsement: one signing key of an issuer vouches for another.
///
/// It is a compact JWS, signed like a license token by the key that was active when the endorsed
/// key was created. Its header has `typ` [`SIGNING_KEY_TYP`] and the `kid` of the signer. A data
/// plane that trusts the signer may trust [`jwk`](Self::jwk), so an issuer can rotate keys while
/// the data plane is offline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SigningKeyClaims {
    /// The issuer of both keys: the control plane's base URL.
    pub iss: String,
    /// When the endorsement was created, in seconds since 1970-01-01T00:00:00Z.
    pub iat: i64,
    /// The endorsed key.
    pub jwk: Jwk,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
