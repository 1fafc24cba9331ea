//! The public keys of an issuer, as it publishes them.

use serde::{Deserialize, Serialize};

/// The answer of `/.well-known/jwks.json` (RFC 7517 §5), for an issuer to write.
///
/// A data plane does not read key sets with this type but gives the bytes to `dp-verifier`, which
/// also judges the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JwkSet {
    /// The keys, each with its own `kid`.
    pub keys: Vec<Jwk>,
}

/// One RSA public key (RFC 7518 §6.3.1).
///
/// There is no `extra` here, on purpose: a private member such as `d` must have no way to travel in
/// a type that is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Jwk {
    /// The key type: `RSA`.
    pub kty: String,
    /// The modulus: big-endian, minimal, base64url without padding.
    pub n: String,
    /// The public exponent: big-endian, minimal, base64url without padding; `AQAB` is 65537.
    pub e: String,
    /// The only algorithm that the key is for: `RS256`.
    pub alg: String,
    /// What the key is for: `sig`.
    #[serde(rename = "use")]
    pub usage: String,
    /// The key's name: its RFC 7638 SHA-256 thumbprint.
    pub kid: String,
}

impl Jwk {
    /// The key that verifies license tokens whose header names `kid`.
    ///
    /// `n` and `e` are base64url without padding of the minimal big-endian octets; nothing is
    /// checked here.
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

    /// The text whose SHA-256, in base64url without padding, is the key's thumbprint
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
