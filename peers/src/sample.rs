//! The token that everybody checks.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use dp_verifier::{Verifier, VerifierBuilder};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://cp.example";
pub const AUDIENCE: &str = "data-plane";

pub struct Sample {
    pub token: String,
    /// From when on it is valid, in seconds since 1970: the time of the run.
    pub now: u64,
    /// The modulus of the key; its exponent is 65537.
    pub n: Vec<u8>,
    pub jwk: Value,
    pub jwks: String,
}

impl Sample {
    /// The golden license, valid for an hour from now.
    pub fn new() -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "the peers know no other clock")]
        let now = SystemTime::now();
        let now = now.duration_since(UNIX_EPOCH)?.as_secs();
        let golden = include_str!("../../cp-contracts/golden/2.6.0/license_claims.json");
        let mut claims: Value = serde_json::from_str(golden)?;
        for (name, at) in [("iat", now), ("nbf", now), ("exp", now + 3_600)] {
            claims[name] = json!(at);
        }
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let header = json!({ "alg": "RS256", "typ": "license+jwt", "kid": "key-1" });
        let message =
            format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        let mut signature = vec![0; pair.public_modulus_len()];
        let random = SystemRandom::new();
        pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)?;
        let token = format!("{message}.{}", B64.encode(signature));
        let n = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
        let jwk = json!({
            "kty": "RSA", "n": B64.encode(&n), "e": "AQAB",
            "alg": "RS256", "use": "sig", "kid": "key-1",
        });
        let jwks = json!({ "keys": [jwk] }).to_string();
        Ok(Self { token, now, n, jwk, jwks })
    }

    /// What was signed, and the signature.
    pub fn parts(&self) -> anyhow::Result<(&[u8], Vec<u8>)> {
        let (message, signature) = self.token.rsplit_once('.').expect("three segments");
        Ok((message.as_bytes(), B64.decode(signature)?))
    }

    pub fn verifier(&self) -> VerifierBuilder {
        Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(self.jwks.as_str())
    }
}
