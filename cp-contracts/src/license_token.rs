//! How a license token is carried.

/// The `typ` of a license token's header (explicit typing, RFC 8725 §3.11).
pub const LICENSE_TOKEN_TYP: &str = "license+jwt";

/// The `alg` of a license token's header: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
pub const LICENSE_TOKEN_ALG: &str = "RS256";

/// The HTTP header in which a data plane receives a license token.
pub const LICENSE_TOKEN_HEADER: &str = "X-License-Token";

/// The environment variable from which a data plane takes a license token when no header has one.
pub const LICENSE_TOKEN_ENV: &str = "LICENSE_TOKEN";

/// The largest license token that an issuer may hand out, in bytes of the compact form.
///
/// Common servers cut a request's header buffer at 8 KiB; this leaves room for the other headers.
pub const LICENSE_TOKEN_MAX_BYTES: usize = 6 * 1024;
