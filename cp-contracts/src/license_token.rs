//! The constants of license tokens: type, algorithm, header, environment variable and size.

/// The `typ` of a license token's header (explicit typing, RFC 8725 §3.11).
pub const LICENSE_TOKEN_TYP: &str = "license+jwt";

/// The `alg` of a license token's header: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
pub const LICENSE_TOKEN_ALG: &str = "RS256";

/// The HTTP header in which a data plane receives a license token.
pub const LICENSE_TOKEN_HEADER: &str = "X-License-Token";

/// The environment variable with the license token for requests without a license header.
pub const LICENSE_TOKEN_ENV: &str = "LICENSE_TOKEN";

/// The maximum size of a license token, in bytes of the compact form.
///
/// Common servers limit the headers of a request to 8 KiB. This limit leaves room for other
/// headers.
pub const LICENSE_TOKEN_MAX_BYTES: usize = 6 * 1024;
