//! Proofs of inclusion (C2SP tlog-proof), and the log entry of a license token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::merkle::{MAX_PATH, leaf_hash, root_of};
use super::note::{Checkpoint, LogKey, MAX_CHECKPOINT, decimal, hash};
use crate::ErrorCode::ProofInvalid;
use crate::VerifyError;
use crate::fingerprint::TokenFingerprint;
use crate::json::{document, object};

/// The maximum size of a proof, in bytes: entry, path and checkpoint.
pub(crate) const MAX_PROOF: usize = MAX_CHECKPOINT + 16 * 1024;

/// The maximum size of an entry, in bytes of base64.
const MAX_EXTRA: usize = 8 * 1024;

/// The supported version of entries.
const ENTRY_VERSION: u64 = 1;

/// A proof that an entry is in a log, up to the log's signed checkpoint.
#[derive(Clone, Debug)]
pub struct LogProof {
    text: Box<str>,
    entry: Entry,
    checkpoint: Checkpoint,
}

/// An entry of the log: an action, and for a license token its identity.
#[derive(Clone, Debug)]
struct Entry {
    v: u64,
    seq: u64,
    at: String,
    action: String,
    jti: Option<Uuid>,
    kid: Option<String>,
    token_sha256: Option<String>,
    #[expect(dead_code, reason = "read so that no name occurs twice")]
    extra: Map<String, Value>,
}

object!(Entry {
    v = "v",
    seq = "seq",
    at = "at",
    action = "action",
    jti = "jti",
    kid = "kid",
    token_sha256 = "token_sha256",
});

fn refused(why: &str) -> VerifyError {
    VerifyError::new(ProofInvalid, format!("the proof {why}"))
}

impl LogKey {
    /// Reads and checks a proof that an entry is in the tree whose root this log has signed.
    ///
    /// # Errors
    ///
    /// Returns `proof_invalid` when the proof is malformed or does not hold.
    pub fn proof(&self, text: &str) -> Result<LogProof, VerifyError> {
        if text.len() > MAX_PROOF {
            return Err(refused("has more than 80 KiB"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(refused("has no checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some("c2sp.org/tlog-proof@v1") {
            return Err(refused("is not a c2sp.org/tlog-proof@v1"));
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra "));
        let bytes = extra
            .filter(|extra| extra.len() <= MAX_EXTRA)
            .and_then(|extra| STANDARD.decode(extra).ok())
            .ok_or(refused("has no entry of at most 6 KiB"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(decimal).ok_or(refused("has no index"))?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() >= MAX_PATH {
                return Err(refused("has more than 63 hashes"));
            }
            path.push(hash(line).ok_or(refused("has a line that is not a hash"))?);
        }
        let checkpoint = self.checkpoint(checkpoint)?;
        if root_of(leaf_hash(&bytes), index, checkpoint.size(), &path) != Some(*checkpoint.root()) {
            return Err(refused("does not lead to the root of the checkpoint"));
        }
        // Before this line the entry is unproven, so nothing reads it.
        let entry: Entry =
            document(&bytes).map_err(|fault| refused(&format!("has an entry that {fault}")))?;
        if entry.v != ENTRY_VERSION || entry.seq != index {
            return Err(refused("has an entry with another version or index"));
        }
        Ok(LogProof { text: text.into(), entry, checkpoint })
    }
}

/// Serializes the members of the entry, and the checkpoint's `tree_size` and `root` in base64.
impl Serialize for LogProof {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Record<'a> {
            index: u64,
            at: &'a str,
            action: &'a str,
            jti: Option<Uuid>,
            kid: Option<&'a str>,
            token_sha256: Option<&'a str>,
            tree_size: u64,
            root: String,
        }
        let Entry { seq, at, action, jti, kid, token_sha256, .. } = &self.entry;
        Record {
            index: *seq,
            at,
            action,
            jti: *jti,
            kid: kid.as_deref(),
            token_sha256: token_sha256.as_deref(),
            tree_size: self.checkpoint.size(),
            root: STANDARD.encode(self.checkpoint.root()),
        }
        .serialize(serializer)
    }
}

impl LogProof {
    /// Returns the index of the entry in the log. The first is 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.entry.seq
    }

    /// Returns the time of the action, in RFC 3339.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.entry.at
    }

    /// Returns the action.
    #[must_use]
    pub fn action(&self) -> &str {
        &self.entry.action
    }

    /// Returns the `jti` of the license token, or `None` when the entry is not for a token.
    #[must_use]
    pub fn jti(&self) -> Option<Uuid> {
        self.entry.jti
    }

    /// Returns the checkpoint that the proof leads to.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Returns the text of the proof.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Checks that the proof is for exactly this token.
    pub(crate) fn is_of(&self, jti: Uuid, token: &TokenFingerprint) -> Result<(), VerifyError> {
        let Entry { jti: entry_jti, kid, token_sha256, .. } = &self.entry;
        if *entry_jti != Some(jti) {
            return Err(refused("is for another token"));
        }
        if (kid.as_deref(), token_sha256.as_deref()) != (Some(&*token.kid), Some(&*token.sha256)) {
            return Err(refused("is for another token with the same id"));
        }
        Ok(())
    }
}
