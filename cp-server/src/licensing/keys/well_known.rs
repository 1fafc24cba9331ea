//! The JWKS at its RFC 8615 path.

use super::jwks;

crate::routes! {
    /// The JWKS at the path of RFC 8615.
    well_known:
    /// Returns the public keys that verify license tokens (RFC 7517).
    GET "/.well-known/jwks.json" PUBLIC => jwks, root
        returns "application/jwk-set+json";
}
