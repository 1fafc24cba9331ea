//! The public keys of an issuer: a JSON Web Key Set (RFC 7517).
//!
//! # Design
//! The set is another party's document. Its syntax is read strictly, but an entry that this server
//! cannot use is skipped (RFC 7517, section 5): an issuer may publish keys for other readers. A
//! `null` member counts as absent. A set without usable keys is refused, so that a broken document
//! does not replace a good copy.
//!
//! Rejected: jsonwebtoken 11. It has no ES512 and no `Ed25519` (RFC 9864), its keys pin no curve, and
//! it accepts a malformed key until a signature is checked. With it for the other algorithms, this
//! file is as long as without.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents, VerificationAlgorithm,
};
use serde_json::{Map, Value};

use super::tokens::{decode, quoted};
use crate::kernel::http::json;

/// The largest number of usable keys of a set. The others are skipped.
const KEYS: usize = 100;
/// The largest number of keys that share a `kid` and an algorithm. A signature is tried with each.
const SAME_KID: usize = 4;

/// An issuer's keys at one instant.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    /// The key IDs of the skipped entries, with the reasons.
    skipped: Vec<(Option<String>, Unusable)>,
}

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    /// The only algorithm of the key, if its set names one.
    alg: Option<String>,
    material: Material,
    /// The numbers of the key, which identify two entries of one key.
    numbers: Vec<Vec<u8>>,
}

#[derive(Debug)]
enum Material {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// With the only algorithm of its curve, by its names.
    Other(ParsedPublicKey, &'static [&'static str]),
}

/// The reason why an entry is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unusable {
    /// It has another use, or a kind that this server does not verify with.
    ForOthers,
    NotAnObject,
    Secret,
    Malformed,
    TooMany,
}

/// The reason why a signature does not match.
#[derive(Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// No key of the set is for it.
    NoKey(String),
    /// A key of the set is for it, but did not create it.
    Signature,
}

impl KeySet {
    /// Reads a set. Entries that are not usable are skipped.
    ///
    /// # Errors
    /// Fails if the set is not strict JSON, has no keys, or has no usable key although some entries
    /// are broken.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let document = json::strict(text).map_err(|e| format!("it is not valid JSON: {e}"))?;
        let entries = document.get("keys").and_then(Value::as_array).ok_or("it has no keys")?;
        let mut set = Self { keys: Vec::new(), skipped: Vec::new() };
        // Keys whose private half is public, with which every reader can sign.
        let mut leaked = Vec::new();
        for entry in entries {
            match entry.as_object().ok_or(Unusable::NotAnObject).and_then(Key::read) {
                Ok((key, false)) if set.keys.contains(&key) => {}
                Ok((key, false)) if set.keys.len() < KEYS => set.keys.push(key),
                Ok((key, false)) => set.skipped.push((key.kid, Unusable::TooMany)),
                Ok((key, true)) => leaked.push(key),
                Err(why) => set.skipped.push((kid(entry).map(str::to_owned), why)),
            }
        }
        let (keys, withdrawn): (Vec<_>, _) = std::mem::take(&mut set.keys)
            .into_iter()
            .partition(|key| leaked.iter().all(|other| other.numbers != key.numbers));
        set.keys = keys;
        let secrets = leaked.into_iter().chain(withdrawn).map(|key| (key.kid, Unusable::Secret));
        set.skipped.extend(secrets);
        let broken = set.skipped.iter().find(|(_, why)| *why != Unusable::ForOthers);
        match broken {
            Some((kid, why)) if set.keys.is_empty() => Err(match kid {
                Some(kid) => format!("none of its keys is usable: {} {why}", quoted(kid)),
                None => format!("none of its keys is usable: one {why}"),
            }),
            _ => Ok(set),
        }
    }

    /// Returns whether a key of the set is for this token: the one of its `kid`, or any without
    /// one.
    pub fn has(&self, kid: Option<&str>, alg: &str) -> bool {
        self.candidates(kid, alg).next().is_some()
    }

    /// Checks that a key with this ID and algorithm signed the message. A token without a `kid` is
    /// verified by the only key of its algorithm (OpenID Connect Core 1.0, section 10.1).
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn verify(
        &self,
        kid: Option<&str>,
        alg: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Mismatch> {
        let candidates: Vec<&Key> = self.candidates(kid, alg).collect();
        match (kid, &*candidates) {
            (Some(kid), []) => return Err(Mismatch::NoKey(self.missing(kid, alg))),
            (None, []) => {
                let detail = format!("its issuer has no key for {}", quoted(alg));
                return Err(Mismatch::NoKey(detail));
            }
            (None, [_, _, ..]) => {
                let detail = "its header has no kid, and its issuer has several keys";
                return Err(Mismatch::NoKey(detail.into()));
            }
            _ => {}
        }
        let mut candidates = candidates.iter().take(SAME_KID);
        match candidates.any(|key| key.verifies(alg, message, signature)) {
            true => Ok(()),
            false => Err(Mismatch::Signature),
        }
    }

    fn candidates(&self, kid: Option<&str>, alg: &str) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| {
            (kid.is_none() || key.kid.as_deref() == kid)
                && key.alg.as_deref().is_none_or(|own| own == alg)
                && key.material.fits(alg)
        })
    }

    /// Returns the reason why no key with this ID is for the algorithm.
    fn missing(&self, kid: &str, alg: &str) -> String {
        let is_called = |name: &Option<String>| name.as_deref() == Some(kid);
        if self.keys.iter().any(|key| is_called(&key.kid)) {
            return format!("its key {} is not for {}", quoted(kid), quoted(alg));
        }
        match self.skipped.iter().find(|(name, _)| is_called(name)) {
            Some((_, why)) => format!("its issuer's key {} {why}", quoted(kid)),
            None => format!("its issuer has no key {}", quoted(kid)),
        }
    }
}

impl Key {
    /// Reads an entry, and whether it contains its private half.
    fn read(jwk: &Map<String, Value>) -> Result<(Self, bool), Unusable> {
        let member = |name: &str| jwk.get(name).filter(|value| !value.is_null());
        let text = |name: &str| match member(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or(Unusable::Malformed),
        };
        let kty = text("kty")?.ok_or(Unusable::Malformed)?;
        if kty == "oct" || member("k").is_some() {
            return Err(Unusable::Secret);
        }
        let private = ["d", "p", "q", "dp", "dq", "qi", "oth"];
        let is_leaked = private.iter().any(|name| member(name).is_some());
        let is_for_verifying = match member("key_ops") {
            None => true,
            Some(operations) => operations
                .as_array()
                .ok_or(Unusable::Malformed)?
                .iter()
                .any(|operation| operation == "verify" || is_leaked && operation == "sign"),
        };
        if text("use")?.is_some_and(|use_| use_ != "sig") || !is_for_verifying {
            return Err(Unusable::ForOthers);
        }
        let kid = text("kid")?.filter(|kid| !kid.is_empty());
        if kid.is_some_and(|kid| kid.len() > 256) {
            return Err(Unusable::Malformed);
        }
        let bytes = |name: &str| text(name)?.and_then(decode).ok_or(Unusable::Malformed);
        let (material, numbers) = match (kty, text("crv")?) {
            ("RSA", _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                check_rsa(&n, &e).ok_or(Unusable::Malformed)?;
                let numbers = vec![n.clone(), e.clone()];
                (Material::Rsa(RsaPublicKeyComponents { n, e }), numbers)
            }
            ("EC", Some(crv @ ("P-256" | "P-384" | "P-521"))) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                let numbers = vec![x.clone(), y.clone()];
                let material = match crv {
                    "P-256" => curve(&ECDSA_P256_SHA256_FIXED, &["ES256"], 32, x, y),
                    "P-384" => curve(&ECDSA_P384_SHA384_FIXED, &["ES384"], 48, x, y),
                    _ => curve(&ECDSA_P521_SHA512_FIXED, &["ES512"], 66, x, y),
                };
                (material.ok_or(Unusable::Malformed)?, numbers)
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x")?;
                let key = ParsedPublicKey::new(&ED25519, &x).map_err(|_| Unusable::Malformed)?;
                (Material::Other(key, &["EdDSA", "Ed25519"]), vec![x])
            }
            _ => return Err(Unusable::ForOthers),
        };
        let alg = text("alg")?.map(str::to_owned);
        // A key for encryption, for example.
        if alg.as_deref().is_some_and(|alg| !material.fits(alg)) {
            return Err(Unusable::ForOthers);
        }
        Ok((Self { kid: kid.map(str::to_owned), alg, material, numbers }, is_leaked))
    }

    fn verifies(&self, alg: &str, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa(key) => {
                rsa(alg).is_some_and(|params| key.verify(params, message, signature).is_ok())
            }
            Material::Other(key, _) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// One key that is listed twice.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        (&self.kid, &self.alg, &self.numbers) == (&other.kid, &other.alg, &other.numbers)
    }
}

impl Material {
    /// Returns whether keys of this kind sign with the algorithm.
    fn fits(&self, alg: &str) -> bool {
        match self {
            Self::Rsa(_) => rsa(alg).is_some(),
            Self::Other(_, names) => names.contains(&alg),
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForOthers => "is not for signatures that this server verifies",
            Self::NotAnObject => "is not an object",
            Self::Secret => "is published with its secret half",
            Self::Malformed => "is malformed",
            Self::TooMany => "is not among the first 100",
        })
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey(detail) => f.write_str(detail),
            Self::Signature => f.write_str("its signature does not match its issuer's key"),
        }
    }
}

fn kid(entry: &Value) -> Option<&str> {
    entry.get("kid").and_then(Value::as_str)
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

/// Checks for 2048 to 8192 bits, odd, with an odd exponent from 65537 up to four bytes (RFC 7518,
/// section 6.3.1, in minimal octets).
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

/// Reads an uncompressed point, and checks that it is on its curve.
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
