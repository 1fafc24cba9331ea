//! Signed notes (C2SP signed-note) and the checkpoints in them (C2SP tlog-checkpoint).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::merkle::{Hash, MAX_PATH, extends};
use crate::ErrorCode::ProofInvalid;
use crate::VerifyError;
use crate::crypto::{ed25519_verifies, hex, sha256};

/// The maximum size of a checkpoint, in bytes: room for 16 post-quantum signatures.
pub(crate) const MAX_CHECKPOINT: usize = 64 * 1024;

/// The maximum number of signatures on a checkpoint: the log's and those of witnesses.
const MAX_SIGNATURES: usize = 32;

/// The signature type of Ed25519.
const ED25519: u8 = 1;

/// The public key of an issuer's log, in the form of a verifier key:
/// `<origin>+<key id>+<key in base64>` (C2SP signed-note).
///
/// ```
/// use dp_verifier::LogKey;
///
/// let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
/// assert_eq!(vkey.parse::<LogKey>().unwrap().to_string(), vkey);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct LogKey {
    origin: Box<str>,
    id: [u8; 4],
    key: [u8; 32],
}

impl LogKey {
    /// Returns the origin of the log, which is the first line of every checkpoint.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Reads a checkpoint that this log has signed.
    ///
    /// # Errors
    ///
    /// Returns `proof_invalid` when the checkpoint is malformed or not signed by this key.
    pub fn checkpoint(&self, text: &str) -> Result<Checkpoint, VerifyError> {
        if text.len() > MAX_CHECKPOINT {
            return Err(refused("has more than 64 KiB"));
        }
        if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(refused("has a control character"));
        }
        let (body, signatures) = text.rsplit_once("\n\n").ok_or(refused("has no signatures"))?;
        self.signed(body, signatures)?;
        let mut lines = body.split('\n');
        if lines.next() != Some(&*self.origin) {
            return Err(refused("is of another log"));
        }
        let size = lines.next().and_then(decimal).ok_or(refused("has no tree size"))?;
        let root = lines.next().and_then(hash).ok_or(refused("has no root hash"))?;
        // Extensions follow. They must not be empty, and this verifier ignores them.
        if lines.any(str::is_empty) {
            return Err(refused("has an empty line"));
        }
        Ok(Checkpoint { text: text.into(), size, root })
    }

    /// Checks that a text is signed by this key. Signatures of other keys are ignored.
    fn signed(&self, body: &str, signatures: &str) -> Result<(), VerifyError> {
        let lines = signatures.strip_suffix('\n').ok_or(refused("does not end with a line"))?;
        let mut is_signed = false;
        for (count, line) in lines.split('\n').enumerate() {
            if count >= MAX_SIGNATURES {
                return Err(refused("has more than 32 signatures"));
            }
            let signature = line.strip_prefix("— ").and_then(|line| line.split_once(' '));
            let (name, signature) = signature.ok_or(refused("has no line of a signature"))?;
            let signature = STANDARD.decode(signature).unwrap_or_default();
            let (id, signature) =
                signature.split_at_checked(4).ok_or(refused("has a broken signature"))?;
            if !is_name(name) || signature.is_empty() {
                return Err(refused("has a broken signature"));
            }
            if name == &*self.origin && id == self.id {
                // The signed text ends with a line break.
                let body = format!("{body}\n");
                if !ed25519_verifies(&self.key, body.as_bytes(), signature) {
                    return Err(refused("is not signed by the log's key"));
                }
                is_signed = true;
            }
        }
        if is_signed { Ok(()) } else { Err(refused("is not signed by the log's key")) }
    }
}

fn refused(why: &str) -> VerifyError {
    VerifyError::new(ProofInvalid, format!("the log's checkpoint {why}"))
}

impl FromStr for LogKey {
    type Err = String;

    fn from_str(vkey: &str) -> Result<Self, Self::Err> {
        let parts = vkey.split_once('+').and_then(|(origin, rest)| {
            let (id, key) = rest.split_once('+')?;
            Some((origin, id, STANDARD.decode(key).ok()?))
        });
        let form = "is not a verifier key: <origin>+<key id>+<base64>";
        let (origin, id, encoded) = parts.filter(|(origin, ..)| is_name(origin)).ok_or(form)?;
        let key = match encoded.split_first() {
            Some((&ED25519, key)) => key.try_into().map_err(|_| form)?,
            _ => return Err("is not an Ed25519 key".to_owned()),
        };
        let hash = sha256(&[origin.as_bytes(), b"\n", &encoded]);
        let hash = hash.first_chunk::<4>().copied().unwrap_or_default();
        if id != hex(&hash) {
            return Err(format!("has the key id {id:?}, and its key has {}", hex(&hash)));
        }
        Ok(Self { origin: origin.into(), id: hash, key })
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<u8> = std::iter::once(ED25519).chain(self.key).collect();
        write!(f, "{}+{}+{}", self.origin, hex(&self.id), STANDARD.encode(key))
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogKey({self})")
    }
}

/// Returns whether a text is the name of a key: without white space and without a plus.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

/// Parses a number without leading zeroes, below 2^63.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let is_short = text == "0" || !text.starts_with('0');
    let is_decimal = is_short && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_decimal && i64::try_from(*number).is_ok())
}

/// Parses a hash in canonical base64.
pub(super) fn hash(text: &str) -> Option<Hash> {
    // The length comes first, so that a long line costs nothing.
    (text.len() == 44).then(|| STANDARD.decode(text).ok()?.try_into().ok()).flatten()
}

/// The signed state of a log at one time: the number of entries, and the root of their Merkle tree.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint {
    text: Arc<str>,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// Returns the number of entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the root of the tree.
    #[must_use]
    pub fn root(&self) -> &[u8; 32] {
        &self.root
    }

    /// Returns whether a proof of consistency (RFC 6962 §2.1.2) shows that the log of a newer
    /// checkpoint begins with all entries of this one. The proof has one base64 hash per line, as
    /// the issuer's `/api/v1/log/consistency` returns it. Returns `None` for a malformed proof.
    ///
    /// `Some(false)` means that the log has shown two histories, or that the proof is for other
    /// sizes.
    #[must_use]
    pub fn is_extended_by(&self, newer: &Self, proof: &str) -> Option<bool> {
        let path = match proof {
            "" => Vec::new(),
            proof => {
                let lines = proof.strip_suffix('\n')?.split('\n');
                // A proof of consistency may have one hash more than a proof of inclusion.
                if lines.clone().count() > MAX_PATH.saturating_add(1) {
                    return None;
                }
                lines.map(hash).collect::<Option<_>>()?
            }
        };
        Some(extends((self.size, &self.root), (newer.size, &newer.root), &path))
    }

    /// Returns the signed text, as evidence or for comparison with the checkpoints of other
    /// verifiers.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checkpoint({} entries, root {})", self.size, hex(&self.root))
    }
}
