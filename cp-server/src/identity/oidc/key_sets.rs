//! The public keys of an issuer: a JSON Web Key Set (RFC 7517), read strictly.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents, VerificationAlgorithm,
};
use serde_json::{Map, Value};

use super::tokens::{decode, quoted};
use crate::kernel::json;

/// The most keys that a set may have.
const KEYS: usize = 32;

/// An issuer's keys, as of one moment.
#[derive(Debug)]
pub struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    kid: String,
    /// The one algorithm that the key is for, if its set says so.
    alg: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// With the only algorithm of its curve, by its names.
    Other(ParsedPublicKey, &'static [&'static str]),
}

impl KeySet {
    /// Reads a set. Keys that are not for signatures, or of kinds that are not taken, are passed
    /// over.
    ///
    /// # Errors
    /// What makes the whole set unfit: a secret in it, two keys of one name, a malformed key.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let document = json::strict(text).map_err(|e| format!("it is not acceptable JSON: {e}"))?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or("it has no keys")?;
        if keys.len() > KEYS {
            return Err(format!("it has more than {KEYS} keys"));
        }
        let mut found: Vec<Key> = Vec::new();
        for key in keys {
            let jwk = key.as_object().ok_or("a key is not an object")?;
            if let Some(key) = Key::read(jwk)? {
                if found.iter().any(|known| known.kid == key.kid) {
                    return Err(format!("two keys are called {}", quoted(&key.kid)));
                }
                found.push(key);
            }
        }
        Ok(Self(found))
    }

    pub fn has(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid == kid)
    }

    /// Whether the signature is by the key of this name, over this message.
    ///
    /// # Errors
    /// Why it is not.
    pub fn verify(
        &self,
        kid: &str,
        alg: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), String> {
        let key = self.0.iter().find(|key| key.kid == kid);
        let key = key.ok_or_else(|| format!("its issuer has no key {}", quoted(kid)))?;
        if key.alg.as_deref().is_some_and(|own| own != alg) || !key.fits(alg) {
            return Err(format!("its key {} is not one for {}", quoted(kid), quoted(alg)));
        }
        let holds = match &key.material {
            Material::Rsa(key) => {
                rsa(alg).is_some_and(|params| key.verify(params, message, signature).is_ok())
            }
            Material::Other(key, _) => key.verify_sig(message, signature).is_ok(),
        };
        if holds { Ok(()) } else { Err("its signature is not by its issuer's key".into()) }
    }
}

impl Key {
    /// `None` for a key that is not for us.
    fn read(jwk: &Map<String, Value>) -> Result<Option<Self>, String> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let kty = text("kty").ok_or("a key has no kty")?;
        let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        if kty == "oct" || private.iter().any(|name| jwk.contains_key(*name)) {
            return Err("it has a secret key in it".into());
        }
        let operations = jwk
            .get("key_ops")
            .map(|ops| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify")));
        if text("use").is_some_and(|use_| use_ != "sig") || operations == Some(false) {
            return Ok(None);
        }
        let Some(kid) = text("kid").filter(|kid| (1..=256).contains(&kid.len())) else {
            return Ok(None);
        };
        let broken = || format!("its key {} is malformed", quoted(kid));
        let bytes = |name: &str| text(name).and_then(decode).ok_or_else(broken);
        let material = match (kty, text("crv")) {
            ("RSA", _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                check_rsa(&n, &e).ok_or_else(broken)?;
                Material::Rsa(RsaPublicKeyComponents { n, e })
            }
            ("EC", Some("P-256")) => {
                curve(&ECDSA_P256_SHA256_FIXED, &["ES256"], 32, bytes("x")?, bytes("y")?)
                    .ok_or_else(broken)?
            }
            ("EC", Some("P-384")) => {
                curve(&ECDSA_P384_SHA384_FIXED, &["ES384"], 48, bytes("x")?, bytes("y")?)
                    .ok_or_else(broken)?
            }
            ("EC", Some("P-521")) => {
                curve(&ECDSA_P521_SHA512_FIXED, &["ES512"], 66, bytes("x")?, bytes("y")?)
                    .ok_or_else(broken)?
            }
            ("OKP", Some("Ed25519")) => {
                let key = ParsedPublicKey::new(&ED25519, bytes("x")?).map_err(|_| broken())?;
                Material::Other(key, &["EdDSA", "Ed25519"])
            }
            _ => return Ok(None),
        };
        let key = Self { kid: kid.to_owned(), alg: text("alg").map(str::to_owned), material };
        // A key for encryption, say.
        let is_for_signatures = key.alg.as_deref().is_none_or(|alg| key.fits(alg));
        Ok(is_for_signatures.then_some(key))
    }

    /// Whether keys of this kind sign with the algorithm.
    fn fits(&self, alg: &str) -> bool {
        match &self.material {
            Material::Rsa(_) => rsa(alg).is_some(),
            Material::Other(_, names) => names.contains(&alg),
        }
    }
}

fn rsa(alg: &str) -> Option<&'static aws_lc_rs::signature::RsaParameters> {
    Some(match alg {
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        "PS384" => &RSA_PSS_2048_8192_SHA384,
        "PS512" => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// 2048 to 8192 bits, odd, with an odd exponent from 65537 up to four bytes (RFC 7518, section
/// 6.3.1, in minimal octets).
fn check_rsa(n: &[u8], e: &[u8]) -> Option<()> {
    let is_minimal = |bytes: &[u8]| bytes.first().is_some_and(|first| *first != 0);
    let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
    let exponent = e.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let fits = is_minimal(n)
        && is_minimal(e)
        && (2048..=8192).contains(&bits)
        && n.last()? % 2 == 1
        && e.len() <= 4
        && exponent >= 65_537
        && exponent % 2 == 1;
    fits.then_some(())
}

/// A point of a curve, uncompressed; it is looked whether it is on it.
fn curve(
    algorithm: &'static dyn VerificationAlgorithm,
    names: &'static [&'static str],
    width: usize,
    x: Vec<u8>,
    y: Vec<u8>,
) -> Option<Material> {
    if x.len() != width || y.len() != width {
        return None;
    }
    let point = [&[4][..], &x, &y].concat();
    ParsedPublicKey::new(algorithm, point).ok().map(|key| Material::Other(key, names))
}
