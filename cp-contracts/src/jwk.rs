//! The published public keys of an issuer.

use serde::{Deserialize, Serialize};

/// The body of `/.well-known/jwks.json` (RFC 7517 §5), as an issuer writes it.
///
/// Data planes do not parse key sets with this type. They pass the bytes to `dp-verifier`, which
/// also validates the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JwkSet {
    /// The keys, each with its own `kid`.
    pub keys: Vec<Jwk>,
}

/// One RSA public key (RFC 7518 §6.3.1).
///
/// This type has no `extra`, so that a private member such as `d` can never be published with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Jwk {
    /// The key type: `RSA`.
    pub kty: String,
    /// The modulus: big-endian, minimal, base64url without padding.
    pub n: String,
    /// The public exponent: big-endian, minimal, base64url without padding; `AQAB` is 65537.
    pub e: String,
    /// The only algorithm of the key: `RS256`.
    pub alg: String,
    /// The use of the key: `sig`.
    #[serde(rename = "use")]
    pub usage: String,
    /// The key ID: the RFC 7638 SHA-256 thumbprint.
    pub kid: String,
}

impl Jwk {
    /// Creates the key that verifies license tokens whose header names `kid`.
    ///
    /// `n` and `e` are base64url without padding of the minimal big-endian octets. This function
    /// does not check them.
    #[must_use]
    pub fn rs256(kid: impl Into<String>, n: impl Into<String>, e: impl Into<String>) -> Self {
        Self {
            kty: "RSA".to_owned(),
            n: n.into(),
            e: e.into(),
            alg: crate::LICENSE_TOKEN_ALG.to_owned(),
            usage: "sig".to_owned(),
            kid: kid.into(),
        }
    }

    /// Returns the text whose SHA-256, in base64url without padding, is the key's thumbprint
    /// (RFC 7638 §3.1).
    ///
    /// ```
    /// let key = cp_contracts::Jwk::rs256("", "0vx7", "AQAB");
    /// assert_eq!(key.thumbprint_input(), r#"{"e":"AQAB","kty":"RSA","n":"0vx7"}"#);
    /// ```
    #[must_use]
    pub fn thumbprint_input(&self) -> String {
        // base64url needs no escaping in JSON.
        format!(r#"{{"e":"{}","kty":"{}","n":"{}"}}"#, self.e, self.kty, self.n)
    }
}
