//! Secrets: kept out of logs by type, and sealed at rest.

use std::path::Path;

use anyhow::Context;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

use crate::kernel::clock::Random;
use crate::kernel::files;

/// A value that no `Debug`, log line or response shows; wiped from memory when dropped.
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// Returns the value itself. Review every use of this method.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl std::str::FromStr for Secret<String> {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text.to_owned()))
    }
}

/// A secret in a request is a `Secret` from the first moment.
impl<'de, T: Zeroize + serde::Deserialize<'de>> serde::Deserialize<'de> for Secret<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The parser's own message would quote the value; a missing one has none.
        let refused = |error: D::Error| match error.to_string().starts_with("missing field") {
            true => error,
            false => serde::de::Error::custom("must be a string"),
        };
        T::deserialize(deserializer).map(Self::new).map_err(refused)
    }
}

impl schemars::JsonSchema for Secret<String> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "writeOnly": true})
    }
}

/// A secret that its receiver sees in one response and never again.
///
/// Everywhere else (audit events, logs) it serializes as `{"masked": true}`. The safe form is the
/// default; only [`ShownOnce::while_shown`], which renders the response, changes that.
#[derive(Clone)]
pub struct ShownOnce(Zeroizing<String>);

thread_local! {
    static SHOWN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl ShownOnce {
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Runs a serialization that includes the secret.
    pub fn while_shown<R>(render: impl FnOnce() -> R) -> R {
        SHOWN.set(true);
        let rendered = render();
        SHOWN.set(false);
        rendered
    }
}

impl std::fmt::Debug for ShownOnce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[shown once]")
    }
}

impl serde::Serialize for ShownOnce {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if SHOWN.get() {
            serializer.serialize_str(&self.0)
        } else {
            serde_json::json!({"masked": true}).serialize(serializer)
        }
    }
}

impl schemars::JsonSchema for ShownOnce {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ShownOnce".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "description": "Shown in this response only."})
    }
}

/// Whether a secret is set, which is all that a response shows: `{"masked": true}`, or null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Masked(bool);

impl Masked {
    /// A secret that is always set.
    pub const SET: Self = Self(true);

    /// Whether a secret is set.
    pub fn is_set(&self) -> bool {
        self.0
    }
}

impl serde::Serialize for Masked {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.then(|| serde_json::json!({"masked": true})).serialize(serializer)
    }
}

impl schemars::JsonSchema for Masked {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Masked".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["object", "null"], "properties": {"masked": {"type": "boolean"}},
            "description": "Whether a secret is set. The secret itself is never returned.",
        })
    }
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares two byte strings in constant time.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// The key-encryption key: seals the secrets that the database stores.
///
/// The form is `nonce || ciphertext || tag` of AES-256-GCM (NIST SP 800-38D) with a random 96-bit
/// nonce. The associated data names the purpose, so that the secret of one row cannot replace that
/// of another.
pub struct Kek(LessSafeKey);

impl Kek {
    pub const LEN: usize = 32;

    pub fn new(key: &[u8]) -> anyhow::Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, key)
            .map_err(|_| anyhow::anyhow!("a key-encryption key must have {} bytes", Self::LEN))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Reads a setting: base64 of 32 bytes.
    pub fn from_setting(text: &Secret<String>) -> anyhow::Result<Self> {
        Self::decode(text.expose().as_bytes()).context(
            "CP_KEY_ENCRYPTION_KEY must be base64 of 32 bytes; create one with \
             `openssl rand -base64 32`",
        )
    }

    /// Reads the file, which a first start creates. A database with a check value gets no new key:
    /// a new file would only mislead.
    pub fn from_file(file: &Path, is_first_start: bool, random: &Random) -> anyhow::Result<Self> {
        if !file.exists() {
            anyhow::ensure!(
                is_first_start,
                "the key-encryption key is missing: it must be in {} or in CP_KEY_ENCRYPTION_KEY, and be \
                 the key with which the database or the backup was created. Nothing was changed.",
                file.display()
            );
            let key = Zeroizing::new(random.bytes::<{ Self::LEN }>());
            let text = Zeroizing::new(STANDARD.encode(*key));
            files::write_private(file, text.as_bytes(), random)?;
        }
        let text = Zeroizing::new(files::read_private(file)?);
        Self::decode(&text)
            .with_context(|| format!("{} must contain base64 of 32 bytes", file.display()))
    }

    fn decode(text: &[u8]) -> anyhow::Result<Self> {
        // The decoder's message quotes a character of the key.
        let key = STANDARD.decode(text.trim_ascii()).ok().context("not base64")?;
        let key = Zeroizing::new(key);
        Self::new(&key)
    }

    pub fn seal(&self, random: &Random, purpose: &str, plain: &[u8]) -> Vec<u8> {
        let nonce = random.bytes::<NONCE_LEN>();
        let mut sealed = Zeroizing::new(plain.to_vec());
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose),
                sealed.as_mut_slice(),
            )
            .expect("AES-GCM accepts any plaintext shorter than 64 GiB");
        [&nonce, sealed.as_slice(), tag.as_ref()].concat()
    }

    /// Opens a sealed secret; `None` for another key, or when the secret was changed or moved.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let plain = self.0.open_in_place(nonce, Aad::from(purpose), text.as_mut_slice()).ok()?;
        Some(Zeroizing::new(plain.to_vec()))
    }

    /// Seals the same secret under another key.
    pub fn reseal(
        &self,
        new: &Self,
        random: &Random,
        purpose: &str,
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let plain = self.open(purpose, sealed)?;
        Some(new.seal(random, purpose, &plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_text_opens_only_whole_under_its_key_and_purpose() {
        let random = Random::seeded(8);
        let kek = Kek::new(&[7; 32]).unwrap();
        let sealed = kek.seal(&random, "signing key a", b"private");
        assert_eq!(kek.open("signing key a", &sealed).unwrap().as_slice(), b"private");
        assert!(kek.open("signing key b", &sealed).is_none());
        assert!(Kek::new(&[8; 32]).unwrap().open("signing key a", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(kek.open("signing key a", &bent).is_none(), "byte {at} was changed");
        }
        assert!(kek.open("signing key a", &sealed[..5]).is_none());
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(format!("{:?}", Secret::new("canary".to_owned())), "[secret]");
        let once = ShownOnce::new("canary".into());
        assert_eq!(format!("{once:?}"), "[shown once]");
        assert_eq!(serde_json::to_string(&once).unwrap(), r#"{"masked":true}"#);
        let shown = ShownOnce::while_shown(|| serde_json::to_string(&once).unwrap());
        assert_eq!(shown, r#""canary""#);
        assert_eq!(serde_json::to_string(&once).unwrap(), r#"{"masked":true}"#);
    }
}
