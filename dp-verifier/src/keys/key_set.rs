//! Key sets: the keys of a JWKS (RFC 7517) that may verify license tokens.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::key_id::KeyId;
use super::withdrawn::Withdrawn;
use crate::base64url::decode;
use crate::crypto::{PublicKey, sha256};
use crate::json::{Fault, document};

/// The maximum size of a key set, in bytes.
pub(crate) const MAX_SET: usize = 64 * 1024;

/// The maximum number of keys in a set.
const MAX_KEYS: usize = 32;

/// The maximum length of a `kid`, in bytes.
const MAX_KID: usize = 128;

/// The members of private and symmetric keys (RFC 7518 §6.3.2, §6.4.1).
const SECRET: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A key set that was accepted as a whole.
///
/// The set omits keys that are not for RS256 signatures, as RFC 7517 §5 requires. A set is refused
/// as a whole when it names a key twice, contains private or symmetric material, or has a broken or
/// weak RSA key: the publisher of such a set has lost control of it.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: HashMap<String, Arc<SigningKey>>,
}

/// A key that may verify an issuer's signatures.
#[derive(Debug)]
pub(crate) struct SigningKey {
    pub(crate) key: PublicKey,
    pub(crate) id: KeyId,
}

impl KeySet {
    /// Reads a key set from the JSON text of a JWKS.
    ///
    /// # Errors
    ///
    /// Returns [`KeySetError`] when the set is refused.
    pub fn from_json(text: &[u8]) -> Result<Self, KeySetError> {
        if text.len() > MAX_SET {
            return Err(KeySetError::of_set(format!("has more than {MAX_SET} bytes")));
        }
        let set: Map<String, Value> =
            document(text).map_err(|fault| KeySetError::of_set(refusal(text, &fault)))?;
        Self::of(&set)
    }

    /// Validates a key set that was parsed strictly.
    pub(crate) fn of(set: &Map<String, Value>) -> Result<Self, KeySetError> {
        let Some(Value::Array(entries)) = set.get("keys") else {
            return Err(KeySetError::of_set("has no array `keys`".to_owned()));
        };
        if entries.len() > MAX_KEYS {
            return Err(KeySetError::of_set(format!("has more than {MAX_KEYS} keys")));
        }
        let mut names = HashSet::new();
        let mut keys = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let refuse = |what| KeySetError { key: Some(index), what };
            let entry = entry.as_object().ok_or_else(|| refuse("is not an object".to_owned()))?;
            if entry.get("kid").and_then(Value::as_str).is_some_and(|kid| !names.insert(kid)) {
                return Err(refuse("has a kid that another key has".to_owned()));
            }
            if let Some((kid, key)) = signing_key(entry).map_err(|what| refuse(what.to_owned()))? {
                keys.insert(kid, Arc::new(key));
            }
        }
        Ok(Self { keys })
    }

    /// Returns the number of keys that may verify license tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether no key may verify license tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the key with exactly this `kid`. The verifier never tries other keys.
    pub(crate) fn find(&self, kid: &str) -> Option<&SigningKey> {
        self.keys.get(kid).map(|key| &**key)
    }

    /// Returns a set of only the key with this `kid`, or an empty set.
    pub(crate) fn only(&self, kid: &str) -> Self {
        let key = self.keys.get(kid).map(|key| (kid.to_owned(), Arc::clone(key)));
        Self { keys: key.into_iter().collect() }
    }

    /// Iterates over the keys: `kid` and identity.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &KeyId)> {
        self.keys.iter().map(|(kid, key)| (kid.as_str(), &key.id))
    }

    /// Returns whether a key is in the set, under any `kid`.
    pub(crate) fn has(&self, id: &KeyId) -> bool {
        self.keys.values().any(|key| key.id == *id)
    }

    /// Returns this set without the withdrawn keys.
    pub(crate) fn without(&self, withdrawn: &Withdrawn) -> Self {
        let trusted = self.keys.iter().filter(|(_, key)| !withdrawn.has(&key.id));
        Self { keys: trusted.map(|(kid, key)| (kid.clone(), Arc::clone(key))).collect() }
    }

    /// Returns the union with another set. This set wins when both have the same `kid`.
    pub(crate) fn with(&self, others: &Self) -> Self {
        let mut keys = others.keys.clone();
        keys.extend(self.keys.iter().map(|(kid, key)| (kid.clone(), Arc::clone(key))));
        Self { keys }
    }

    /// Adds the key of a JWK, unless its `kid` is in use or the key was withdrawn. Keys for other
    /// purposes are ignored.
    pub(crate) fn add(
        &mut self,
        jwk: &Map<String, Value>,
        withdrawn: &Withdrawn,
    ) -> Result<(), &'static str> {
        if let Some((kid, key)) = signing_key(jwk)?.filter(|(_, key)| !withdrawn.has(&key.id)) {
            self.keys.entry(kid).or_insert_with(|| Arc::new(key));
        }
        Ok(())
    }
}

/// Returns the reason why a text is not a key set. A text that is not JSON probably has another
/// source.
fn refusal(text: &[u8], fault: &Fault) -> String {
    let first = text.iter().find(|octet| !octet.is_ascii_whitespace());
    match (first, serde_json::from_slice::<IgnoredAny>(text)) {
        (None, _) => "is not JSON: it is empty".to_owned(),
        (Some(b'<'), _) => "is not JSON: it looks like a web page".to_owned(),
        (_, Err(_)) => "is not JSON".to_owned(),
        (_, Ok(_)) => fault.to_string(),
    }
}

/// Reads the key of a JWK. Returns `None` when it is for another purpose.
fn signing_key(jwk: &Map<String, Value>) -> Result<Option<(String, SigningKey)>, &'static str> {
    let kty = jwk.get("kty").and_then(Value::as_str);
    if kty == Some("oct") || SECRET.iter().any(|name| jwk.contains_key(*name)) {
        return Err("contains private or symmetric material");
    }
    if kty != Some("RSA") {
        return Ok(None);
    }
    for (name, wanted) in [("alg", "RS256"), ("use", "sig")] {
        match jwk.get(name) {
            None => {}
            Some(Value::String(text)) if text == wanted => {}
            Some(Value::String(_)) => return Ok(None),
            Some(_) => return Err("has an alg or use that is not a string"),
        }
    }
    match jwk.get("key_ops") {
        None => {}
        Some(Value::Array(ops)) if ops.iter().any(|op| op == "verify") => {}
        Some(Value::Array(_)) => return Ok(None),
        Some(_) => return Err("has key_ops that are not an array"),
    }
    let kid = jwk.get("kid").and_then(Value::as_str).ok_or("has no kid")?;
    if kid.is_empty() || kid.len() > MAX_KID {
        return Err("has a kid that is empty or longer than 128 bytes");
    }
    let octets = |name| jwk.get(name).and_then(Value::as_str).and_then(decode);
    let n = octets("n").ok_or("has no n in base64url")?;
    let e = octets("e").ok_or("has no e in base64url")?;
    judge(&n, &e)?;
    let id = sha256(&[&n]);
    let key = PublicKey::new(n, e).ok_or("is not a usable RSA key")?;
    Ok(Some((kid.to_owned(), SigningKey { key, id })))
}

/// Checks whether an RSA public key may be used, from its big-endian octets.
fn judge(n: &[u8], e: &[u8]) -> Result<(), &'static str> {
    let is_minimal = |octets: &[u8]| octets.first().is_some_and(|first| *first != 0);
    if !is_minimal(n) || !is_minimal(e) {
        return Err("has an n or e that is not in minimal octets (RFC 7518 §6.3.1)");
    }
    let is_odd = |octets: &[u8]| octets.last().is_some_and(|last| last & 1 == 1);
    // 256 octets without a leading zero bit are 2048 bits.
    let is_long_enough = n.len() > 256 || (n.len() == 256 && n.first() >= Some(&0x80));
    if !is_long_enough || n.len() > 1024 || !is_odd(n) {
        return Err("has a modulus that is even, or not of 2048 to 8192 bits");
    }
    // Minimal octets of equal length compare like the numbers they are.
    let is_large_enough = e.len() == 4 || (e.len() == 3 && e >= [1, 0, 1].as_slice());
    if !is_large_enough || !is_odd(e) {
        return Err("has an exponent that is even, below 65537 or longer than 4 octets");
    }
    if is_roca(n) {
        return Err("is a weak key of CVE-2017-15361 (ROCA)");
    }
    Ok(())
}

/// Returns whether a modulus has the fingerprint of CVE-2017-15361: modulo every small prime it is
/// in the group that 65537 generates. A sound key has this fingerprint once in about 2^27.
fn is_roca(n: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89,
        97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|prime| {
        let times = |a: u32, b: u32| a.wrapping_mul(b).checked_rem(*prime).unwrap_or_default();
        let fold = |rest: u32, octet: &u8| {
            rest.wrapping_mul(256).wrapping_add(u32::from(*octet)).checked_rem(*prime)
        };
        let residue = n.iter().try_fold(0, fold).unwrap_or_default();
        let generator = times(65_537, 1);
        std::iter::successors(Some(1), |power| Some(times(*power, generator)))
            .take(usize::try_from(*prime).unwrap_or_default())
            .any(|power| power == residue)
    })
}

/// The reason for the refusal of a key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetError {
    /// The position of the key in the set. `None` when the fault concerns the whole set.
    key: Option<usize>,
    what: String,
}

impl KeySetError {
    fn of_set(what: String) -> Self {
        Self { key: None, what }
    }
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            None => write!(f, "the key set {}", self.what),
            Some(index) => write!(f, "the key set is refused: keys[{index}] {}", self.what),
        }
    }
}

impl std::error::Error for KeySetError {}
