//! Lease tokens: the proof that a holder has a seat, for checks without a network.

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{PoolKind, StatusClaim};

/// The `typ` of a lease token's header (explicit typing, RFC 8725 §3.11).
pub const LEASE_TOKEN_TYP: &str = "lease+jwt";

/// The maximum size of a lease token, in bytes of the compact form.
pub const LEASE_TOKEN_MAX_BYTES: usize = 4 * 1024;

/// The payload of a lease token. Since 2.10.0.
///
/// The token is a JWT (RFC 7519), signed like a license token with
/// [`LICENSE_TOKEN_ALG`](crate::LICENSE_TOKEN_ALG). It counts only beside a valid license token of
/// the same issuer, deployment and license.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LeaseClaims {
    /// The issuer: the control plane's base URL (RFC 7519 §4.1.1).
    pub iss: String,
    /// The audience, as in the license token (RFC 7519 §4.1.3).
    pub aud: String,
    /// The deployment's id.
    pub sub: Uuid,
    /// The lease's id.
    pub jti: Uuid,
    /// When the token was issued, in seconds since 1970-01-01T00:00:00Z.
    pub iat: i64,
    /// The start of validity, in seconds since 1970-01-01T00:00:00Z; inclusive.
    pub nbf: i64,
    /// The end of validity, in seconds since 1970-01-01T00:00:00Z; exclusive.
    pub exp: i64,
    /// Before this instant a heartbeat changes nothing, in seconds since 1970-01-01T00:00:00Z.
    pub hbnbf: i64,
    /// The lease.
    pub lease: LeaseBodyClaims,
    /// The location of the token's revocation status; only borrowed leases have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusClaim>,
    /// The version of the contract of these claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Version>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The lease inside the claims. Since 2.10.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LeaseBodyClaims {
    /// The license whose seat it is.
    pub license_id: Uuid,
    /// The pool.
    pub pool: String,
    /// The kind of the pool.
    pub kind: PoolKind,
    /// The hash of the holder, as in [`LeaseHolder::hash`](crate::LeaseHolder::hash).
    pub holder: String,
    /// The hashes of the machine's components, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// The number of components that must match; absent when the fingerprint must.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<String>,
    /// Whether the lease is borrowed: no heartbeat is needed before its end.
    pub borrowed: bool,
    /// Whether the seat is beyond the pool's cap.
    pub overage: bool,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
