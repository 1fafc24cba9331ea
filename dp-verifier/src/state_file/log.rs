//! The issuer's log in the state file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ErrorCode::{self, LogRolledBack, SplitView};
use crate::VerifyError;
use crate::tlog::{Checkpoint, LogAnomaly, LogEvidence, LogKey, LogProof, decimal};

/// The maximum number of proofs, and of their bytes. The proofs of the newest entries stay.
const MAX_PROOFS: usize = 64;
const MAX_BYTES: usize = 1024 * 1024;

/// The proven relation between a checkpoint and the newest seen one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consistency {
    /// No relation is proven: the checkpoint came without a network.
    Unknown,
    /// The log has proved that the longer checkpoint extends the shorter one.
    Proved,
}

/// The newest checkpoint of the log, the proofs of tokens, and a contradiction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptLog {
    /// The verifier key of the log.
    key: String,
    /// The newest seen checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest: Option<Seen>,
    /// The newest checkpoint that is proven to extend all earlier ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    linked: Option<Seen>,
    /// The proofs, by `jti`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    proofs: BTreeMap<Uuid, KeptProof>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anomaly: Option<KeptAnomaly>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    size: u64,
    checkpoint: String,
}

impl Seen {
    fn of(checkpoint: &Checkpoint) -> Self {
        Self { size: checkpoint.size(), checkpoint: checkpoint.text().to_owned() }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptProof {
    index: u64,
    proof: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptAnomaly {
    is_split: bool,
    at: i64,
    seen: String,
    shown: String,
}

impl KeptAnomaly {
    fn code(&self) -> ErrorCode {
        if self.is_split { SplitView } else { LogRolledBack }
    }
}

impl KeptLog {
    pub(crate) fn of(key: &LogKey) -> Self {
        Self { key: key.to_string(), ..Self::default() }
    }

    pub(crate) fn is_of(&self, key: &LogKey) -> bool {
        self.key == key.to_string()
    }

    pub(crate) fn vkey(&self) -> &str {
        &self.key
    }

    /// Returns the size and the text of the newest seen checkpoint.
    pub(crate) fn checkpoint(&self) -> Option<(u64, &str)> {
        self.newest.as_ref().map(|seen| (seen.size, &*seen.checkpoint))
    }

    pub(crate) fn proofs(&self) -> usize {
        self.proofs.len()
    }

    pub(crate) fn without_proofs(self) -> Self {
        Self { proofs: BTreeMap::new(), ..self }
    }

    /// Returns the stored evidence of a contradiction.
    pub(crate) fn evidence(&self) -> Option<LogEvidence> {
        self.anomaly.as_ref().map(|kept| LogEvidence {
            code: kept.code(),
            at: kept.at,
            seen: kept.seen.clone(),
            shown: kept.shown.clone(),
        })
    }

    /// Merges the log of another process. A log with another key changes nothing.
    pub(crate) fn merge(&mut self, other: Self) {
        if self.key != other.key {
            return;
        }
        for (ours, its) in [(&mut self.newest, other.newest), (&mut self.linked, other.linked)] {
            let is_newer = |its: &Seen| ours.as_ref().is_none_or(|ours| ours.size < its.size);
            if let Some(its) = its.filter(is_newer) {
                *ours = Some(its);
            }
        }
        let is_worse = |its: &KeptAnomaly| {
            self.anomaly.as_ref().is_none_or(|ours| its.is_split && !ours.is_split)
        };
        if let Some(its) = other.anomaly.filter(is_worse) {
            self.anomaly = Some(its);
        }
        for (jti, proof) in other.proofs {
            self.proofs.entry(jti).or_insert(proof);
        }
        self.drop_oldest();
    }

    /// Returns the proofs. Fails when a stored text is damaged.
    pub(crate) fn read(&self, key: &LogKey) -> Result<Vec<(Uuid, LogProof)>, String> {
        let damaged = |error: VerifyError| format!("is damaged: {}", error.detail());
        for seen in [&self.newest, &self.linked].into_iter().flatten() {
            let checkpoint = key.checkpoint(&seen.checkpoint).map_err(damaged)?;
            if checkpoint.size() != seen.size {
                return Err("is damaged: a checkpoint has another size".to_owned());
            }
        }
        let proofs = self.proofs.iter().map(|(jti, kept)| {
            let proof = key.proof(&kept.proof).map_err(damaged)?;
            match proof.jti() == Some(*jti) {
                true => Ok((*jti, proof)),
                false => Err("is damaged: a proof is for another token".to_owned()),
            }
        });
        proofs.collect()
    }

    pub(crate) fn newest(&self, key: &LogKey) -> Option<Checkpoint> {
        key.checkpoint(&self.newest.as_ref()?.checkpoint).ok()
    }

    /// Returns the newest checkpoint that is proven to extend all earlier ones.
    #[cfg(feature = "fetch")]
    pub(crate) fn linked(&self, key: &LogKey) -> Option<Checkpoint> {
        key.checkpoint(&self.linked.as_ref()?.checkpoint).ok()
    }

    /// Returns the contradiction of the log, if there is one.
    pub(crate) fn anomaly(&self, key: &LogKey) -> Option<LogAnomaly> {
        let kept = self.anomaly.as_ref()?;
        Some(LogAnomaly {
            code: kept.code(),
            at: kept.at,
            seen: key.checkpoint(&kept.seen).ok()?,
            shown: key.checkpoint(&kept.shown).ok()?,
        })
    }

    /// Stores a proof. Refuses a proof that leads to another history than the seen one, and stores
    /// that evidence.
    pub(crate) fn admit(
        &mut self,
        key: &LogKey,
        proof: &LogProof,
        relation: Consistency,
        now: i64,
    ) -> Result<(), VerifyError> {
        self.see(key, proof.checkpoint(), relation, now)?;
        // New proofs of a log that contradicts itself do not count.
        if let Some(anomaly) = self.anomaly(key) {
            return Err(anomaly.error());
        }
        if let Some(jti) = proof.jti() {
            let kept = KeptProof { index: proof.index(), proof: proof.text().to_owned() };
            self.proofs.insert(jti, kept);
            self.drop_oldest();
        }
        Ok(())
    }

    /// Returns the relation of a checkpoint that came without a network to the newest one. The
    /// proof that came along has the size of the shorter checkpoint after `old`, and lines of
    /// hashes (C2SP tlog-witness).
    pub(crate) fn relation(
        &mut self,
        key: &LogKey,
        shown: &Checkpoint,
        consistency: Option<&str>,
        now: i64,
    ) -> Result<Consistency, VerifyError> {
        let proof = consistency.and_then(|text| text.strip_prefix("old ")?.split_once('\n'));
        let newest = self.newest(key);
        let (Some((old, path)), Some(newest)) = (proof, newest) else {
            return Ok(Consistency::Unknown);
        };
        // The data plane may have seen a newer checkpoint since the reported one.
        if decimal(old) != Some(newest.size()) || shown.size() < newest.size() {
            return Ok(Consistency::Unknown);
        }
        match newest.is_extended_by(shown, path) {
            Some(false) => Err(self.contradicted(SplitView, &newest, shown, now)),
            Some(true) if self.linked == self.newest => Ok(Consistency::Proved),
            _ => Ok(Consistency::Unknown),
        }
    }

    /// Records a checkpoint.
    pub(crate) fn see(
        &mut self,
        key: &LogKey,
        shown: &Checkpoint,
        relation: Consistency,
        now: i64,
    ) -> Result<(), VerifyError> {
        let Some(newest) = self.newest(key) else {
            self.newest = Some(Seen::of(shown));
            self.linked = self.newest.clone();
            return Ok(());
        };
        if shown.size() == newest.size() && shown.root() != newest.root() {
            return Err(self.contradicted(SplitView, &newest, shown, now));
        }
        if shown.size() > newest.size() {
            self.newest = Some(Seen::of(shown));
        }
        if relation == Consistency::Proved && shown.size() >= newest.size() {
            self.linked = self.newest.clone();
            // The missing entries are back, so the log is complete.
            self.anomaly.take_if(|anomaly| !anomaly.is_split);
        }
        Ok(())
    }

    /// Stores the evidence of a contradiction. The first split view stays.
    pub(crate) fn contradicted(
        &mut self,
        code: ErrorCode,
        seen: &Checkpoint,
        shown: &Checkpoint,
        now: i64,
    ) -> VerifyError {
        let is_split = code == SplitView;
        if self.anomaly.as_ref().is_none_or(|known| is_split && !known.is_split) {
            let (seen, shown) = (seen.text().to_owned(), shown.text().to_owned());
            self.anomaly = Some(KeptAnomaly { is_split, at: now, seen, shown });
        }
        LogAnomaly { code, at: now, seen: seen.clone(), shown: shown.clone() }.error()
    }

    fn drop_oldest(&mut self) {
        let size = |proofs: &BTreeMap<Uuid, KeptProof>| {
            proofs.values().map(|kept| kept.proof.len()).fold(0, usize::saturating_add)
        };
        while self.proofs.len() > MAX_PROOFS || size(&self.proofs) > MAX_BYTES {
            let oldest = self.proofs.iter().min_by_key(|(_, kept)| kept.index);
            let Some(oldest) = oldest.map(|(jti, _)| *jti) else { return };
            self.proofs.remove(&oldest);
        }
    }
}

/// A log from before the operator accepted a log, or from before another log key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FormerLog {
    /// The time of that change, in seconds since 1970.
    pub(crate) until: i64,
    pub(crate) because: String,
    pub(crate) log: KeptLog,
    /// The verifier key that replaced the log's own. `None` when the operator accepted a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaced_by: Option<String>,
}

impl FormerLog {
    /// Creates a former log, without proofs: each is valid only with the checkpoint in it, so
    /// proofs are no evidence.
    pub(crate) fn of(log: KeptLog, until: i64, because: impl Into<String>) -> Self {
        let (because, log) = (because.into(), log.without_proofs());
        Self { until, because, log, replaced_by: None }
    }

    /// Creates a former log whose key was replaced.
    pub(crate) fn replaced(log: KeptLog, until: i64, by: &LogKey) -> Self {
        let because = format!("the log key {by} replaced the key of this log");
        Self { replaced_by: Some(by.to_string()), ..Self::of(log, until, because) }
    }
}
