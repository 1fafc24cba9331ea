//! Signatures of messages, by the Standard Webhooks specification.

use std::str::FromStr;

use anyhow::Context;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::kernel::clock::Random;
use crate::kernel::secret::ShownOnce;

/// The prefix of a shared secret.
const SECRET: &str = "whsec_";
/// The prefix of a public key.
const PUBLIC_KEY: &str = "whpk_";
const LENGTH: usize = 32;

crate::text_enum! {
    /// The signature of an endpoint's messages.
    Signature {
        /// HMAC-SHA-256 with a shared secret: `v1`.
        Hmac = "hmac",
        /// Ed25519, which the receiver verifies with a public key: `v1a`.
        Ed25519 = "ed25519",
    }
}

/// The bytes that sign: a shared secret, or the seed of a private key.
pub struct SigningSecret(Zeroizing<Vec<u8>>);

impl FromStr for SigningSecret {
    type Err = anyhow::Error;

    /// Reads a shared secret as a receiver has it.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let bytes = text.trim().strip_prefix(SECRET).and_then(|text| STANDARD.decode(text).ok());
        let bytes = bytes.filter(|bytes| (24..=64).contains(&bytes.len()));
        let bytes = bytes.context("the secret must be `whsec_` and base64 of 24 to 64 bytes")?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

impl SigningSecret {
    pub fn new(random: &Random) -> Self {
        Self(Zeroizing::new(random.bytes::<LENGTH>().to_vec()))
    }

    pub fn stored(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the secret in the form in which a receiver needs it.
    pub fn shown(&self) -> ShownOnce {
        ShownOnce::new(format!("{SECRET}{}", STANDARD.encode(&*self.0)))
    }

    /// Returns the public key with which a receiver verifies; `None` for a shared secret.
    pub fn public_key(&self, signature: Signature) -> anyhow::Result<Option<String>> {
        if signature == Signature::Hmac {
            return Ok(None);
        }
        let key = STANDARD.encode(self.key_pair()?.public_key().as_ref());
        Ok(Some(format!("{PUBLIC_KEY}{key}")))
    }

    fn key_pair(&self) -> anyhow::Result<Ed25519KeyPair> {
        Ed25519KeyPair::from_seed_unchecked(&self.0)
            .map_err(|_| anyhow::anyhow!("webhook_secrets.secret is no Ed25519 seed"))
    }

    /// Signs a message: `id.timestamp.body`.
    fn sign(&self, signature: Signature, text: &[u8]) -> anyhow::Result<String> {
        Ok(match signature {
            Signature::Hmac => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
                format!("v1,{}", STANDARD.encode(hmac::sign(&key, text).as_ref()))
            }
            Signature::Ed25519 => {
                format!("v1a,{}", STANDARD.encode(self.key_pair()?.sign(text).as_ref()))
            }
        })
    }
}

/// Returns the value of `webhook-signature`: one signature per secret.
pub fn header(
    signature: Signature,
    secrets: &[SigningSecret],
    (id, timestamp, body): (&str, i64, &[u8]),
) -> anyhow::Result<String> {
    let text = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let signed: anyhow::Result<Vec<String>> =
        secrets.iter().map(|secret| secret.sign(signature, &text)).collect();
    Ok(signed?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_matches_the_example_of_the_specification() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secret = SigningSecret::stored(Zeroizing::new(secret));
        let message =
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, &br#"{"test": 2432232314}"#[..]);
        let signed = header(Signature::Hmac, &[secret], message).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn both_secrets_sign_during_a_rotation() {
        let random = Random::seeded(4);
        let secrets = [SigningSecret::new(&random), SigningSecret::new(&random)];
        let signed = header(Signature::Ed25519, &secrets, ("e", 1, b"{}")).unwrap();
        let parts: Vec<&str> = signed.split(' ').collect();
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|part| part.starts_with("v1a,")) && parts[0] != parts[1]);
        let key = |signature| secrets[0].public_key(signature).unwrap();
        assert!(key(Signature::Ed25519).unwrap().starts_with("whpk_"));
        assert_eq!(key(Signature::Hmac), None);
    }
}
