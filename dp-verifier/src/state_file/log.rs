//! What is remembered of a log over restarts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ErrorCode::{self, LogRolledBack, SplitView};
use crate::VerifyError;
use crate::tlog::{Checkpoint, LogAnomaly, LogEvidence, LogKey, LogProof, decimal};

/// How many proofs are kept, and how many bytes of them: those of the newest entries.
const MAX_PROOFS: usize = 64;
const MAX_BYTES: usize = 1024 * 1024;

/// What is known of how a checkpoint and the newest one that was seen hang together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consistency {
    /// Nothing: it came without a network.
    Unknown,
    /// The log has proved that the longer one extends the shorter one.
    Proved,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptLog {
    /// Whose it is: the verifier key.
    key: String,
    /// The newest checkpoint that was seen, its size and its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest: Option<Seen>,
    /// The newest one that is known to extend all before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    linked: Option<Seen>,
    /// By `jti`.
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

    /// The newest checkpoint that was seen, its size and its text.
    pub(crate) fn checkpoint(&self) -> Option<(u64, &str)> {
        self.newest.as_ref().map(|seen| (seen.size, &*seen.checkpoint))
    }

    pub(crate) fn proofs(&self) -> usize {
        self.proofs.len()
    }

    pub(crate) fn without_proofs(self) -> Self {
        Self { proofs: BTreeMap::new(), ..self }
    }

    /// What shows that the log contradicts itself, as it was kept.
    pub(crate) fn evidence(&self) -> Option<LogEvidence> {
        self.anomaly.as_ref().map(|kept| LogEvidence {
            code: kept.code(),
            at: kept.at,
            seen: kept.seen.clone(),
            shown: kept.shown.clone(),
        })
    }

    /// What either knows. Of another log's, what is ours stays.
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

    /// The proofs, when everything is as it was written.
    pub(crate) fn read(&self, key: &LogKey) -> Result<Vec<(Uuid, LogProof)>, String> {
        let damaged = |error: VerifyError| format!("is damaged: {}", error.detail());
        for seen in [&self.newest, &self.linked].into_iter().flatten() {
            let checkpoint = key.checkpoint(&seen.checkpoint).map_err(damaged)?;
            if checkpoint.size() != seen.size {
                return Err("is damaged: a checkpoint is of another size".to_owned());
            }
        }
        let proofs = self.proofs.iter().map(|(jti, kept)| {
            let proof = key.proof(&kept.proof).map_err(damaged)?;
            match proof.jti() == Some(*jti) {
                true => Ok((*jti, proof)),
                false => Err("is damaged: a proof is of another token".to_owned()),
            }
        });
        proofs.collect()
    }

    pub(crate) fn newest(&self, key: &LogKey) -> Option<Checkpoint> {
        key.checkpoint(&self.newest.as_ref()?.checkpoint).ok()
    }

    /// The newest one that is known to extend all before it.
    #[cfg(feature = "fetch")]
    pub(crate) fn linked(&self, key: &LogKey) -> Option<Checkpoint> {
        key.checkpoint(&self.linked.as_ref()?.checkpoint).ok()
    }

    /// How the log contradicts itself.
    pub(crate) fn anomaly(&self, key: &LogKey) -> Option<LogAnomaly> {
        let kept = self.anomaly.as_ref()?;
        Some(LogAnomaly {
            code: kept.code(),
            at: kept.at,
            seen: key.checkpoint(&kept.seen).ok()?,
            shown: key.checkpoint(&kept.shown).ok()?,
        })
    }

    /// Takes a proof. Refuses when it leads to another history than was seen, which is remembered.
    pub(crate) fn admit(
        &mut self,
        key: &LogKey,
        proof: &LogProof,
        relation: Consistency,
        now: i64,
    ) -> Result<(), VerifyError> {
        self.see(key, proof.checkpoint(), relation, now)?;
        // Whatever a log that contradicts itself vouches for from now on is not believed.
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

    /// How a checkpoint that came without a network hangs together with the newest one, by the proof
    /// that came along: `old`, the size of the shorter one, and its lines (C2SP tlog-witness).
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
        // The data plane may have seen more since it told of that one.
        if decimal(old) != Some(newest.size()) || shown.size() < newest.size() {
            return Ok(Consistency::Unknown);
        }
        match newest.is_extended_by(shown, path) {
            Some(false) => Err(self.contradicted(SplitView, &newest, shown, now)),
            Some(true) if self.linked == self.newest => Ok(Consistency::Proved),
            _ => Ok(Consistency::Unknown),
        }
    }

    /// Takes note of a checkpoint.
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
            // The log is whole again: what was missing has come back.
            self.anomaly.take_if(|anomaly| !anomaly.is_split);
        }
        Ok(())
    }

    /// Keeps the evidence; of a split view the first.
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

/// What was kept of a log before the verifier began anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FormerLog {
    /// When it began anew, in seconds since 1970.
    pub(crate) until: i64,
    pub(crate) because: String,
    pub(crate) log: KeptLog,
    /// The verifier key that was given in the place of its own; none when the operator began anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaced_by: Option<String>,
}

impl FormerLog {
    /// Proofs of tokens are no evidence: each is good only with the checkpoint in it.
    pub(crate) fn of(log: KeptLog, until: i64, because: impl Into<String>) -> Self {
        let (because, log) = (because.into(), log.without_proofs());
        Self { until, because, log, replaced_by: None }
    }

    /// What was kept of a log before the verifier was given the key of another.
    pub(crate) fn replaced(log: KeptLog, until: i64, by: &LogKey) -> Self {
        let because = format!("the verifier was given the log key {by}");
        Self { replaced_by: Some(by.to_string()), ..Self::of(log, until, because) }
    }
}
