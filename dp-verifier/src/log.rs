//! The issuer's log: proofs that it contains a license token, and checks that its history never
//! changes.
//!
//! # Design
//!
//! A stolen signing key produces tokens that look genuine. An issuer with a log publishes each
//! token that it signs there, and a verifier that requires the proof accepts only published tokens.
//! The verifier keeps:
//!
//! - the proof of each token, found by `jti` and compared with the key and the hash of *this*
//!   token;
//! - the newest checkpoint ever seen. So it notices over restarts when the log is shorter than
//!   before, or has another history. A license with a proof stays valid, in a state of its own: a
//!   restored backup at the vendor must not end every data plane at once. New licenses are refused.
//!
//! Parsing and hashing are in this crate, in 300 lines. The crates for these formats would add a
//! second Ed25519, SHA-256 and base64 to every data plane.

mod record;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

pub use self::record::{FormerLogRecord, LogRecord, accept_log, log_record};
use crate::ErrorCode::ProofMissing;
use crate::first_request::FirstRequest;
use crate::state_file::{Consistency, FormerLog, KeptLog};
use crate::status_list::StatusLists;
use crate::tlog::{Checkpoint, LogAnomaly, LogKey, LogProof};
use crate::{LicenseContext, VerifyError};

/// The maximum number of tokens with a held lookup. A data plane has one token or a few. Beyond
/// this number, the verifier looks up the oldest tokens again.
const MAX_ENTRIES: usize = 1_000;

/// The state of the log. The verifier and the fetching thread share it.
pub(crate) struct LogBook {
    pub(crate) key: LogKey,
    /// Whether a license without a proof is refused.
    pub(crate) is_required: bool,
    lists: Arc<StatusLists>,
    entries: Mutex<Entries>,
    /// Whether the log contradicts what was seen. The state file has the evidence.
    is_suspect: AtomicBool,
}

#[derive(Default)]
struct Entries {
    of: BTreeMap<Uuid, ProofLookup>,
    /// The error of the last request.
    last_error: Option<String>,
    checked_at: Option<i64>,
    requests: u64,
}

/// The result of the lookup of a token's proof.
#[derive(Clone)]
pub(crate) enum ProofLookup {
    Proof(Arc<LogProof>),
    /// The first request is running.
    #[cfg_attr(not(feature = "fetch"), expect(dead_code))]
    Pending(Arc<FirstRequest>),
    /// There is no proof, for now.
    #[cfg_attr(not(feature = "fetch"), expect(dead_code))]
    Refused(VerifyError),
}

/// The health of the issuer's log as this verifier sees it, for health checks and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogHealth {
    /// The newest seen checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// The contradiction of the log, with the evidence.
    pub anomaly: Option<LogAnomaly>,
    /// When the log last proved that it extends the seen history, in seconds since 1970. `None`
    /// without a network, or before the first proof.
    pub checked_at: Option<i64>,
    /// The error of the last request, or `None` when it succeeded.
    pub last_error: Option<String>,
    /// The number of requests.
    pub requests: u64,
}

impl LogBook {
    /// Starts with the log in the state file. Fails when that is damaged.
    pub(crate) fn new(
        key: LogKey,
        is_required: bool,
        lists: Arc<StatusLists>,
    ) -> Result<Self, String> {
        let kept = lists.floor.store().kept().log;
        let kept = kept.filter(|kept| kept.is_of(&key)).unwrap_or_default();
        let proofs = kept.read(&key)?;
        let of = proofs.into_iter().map(|(jti, proof)| (jti, ProofLookup::Proof(Arc::new(proof))));
        let entries = Entries { of: of.collect(), ..Entries::default() };
        let is_suspect = AtomicBool::new(kept.anomaly(&key).is_some());
        Ok(Self { key, is_required, lists, entries: Mutex::new(entries), is_suspect })
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.is_suspect.load(Relaxed)
    }

    /// Checks that the log allows a license: it has a proof, or needs none.
    pub(crate) fn judge(&self, license: &LicenseContext) -> Result<(), VerifyError> {
        if license.log_index().is_some() {
            return Ok(());
        }
        let missing = match self.lookup(license.token_id()) {
            Some(ProofLookup::Proof(proof)) => match license.is_proved_by(&proof) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            Some(ProofLookup::Refused(error)) => error,
            Some(ProofLookup::Pending(_)) => {
                VerifyError::new(ProofMissing, "the request for the proof of inclusion is running")
            }
            None => VerifyError::new(
                ProofMissing,
                "the token has no proof of inclusion, and the log key is known",
            ),
        };
        if self.is_required { Err(missing) } else { Ok(()) }
    }

    pub(crate) fn lookup(&self, jti: Uuid) -> Option<ProofLookup> {
        self.entries().of.get(&jti).cloned()
    }

    /// Uses and stores a proof, unless it contradicts what was seen.
    pub(crate) fn take(
        &self,
        proof: Arc<LogProof>,
        relation: Consistency,
    ) -> Result<(), VerifyError> {
        if let Some(ProofLookup::Proof(held)) = proof.jti().and_then(|jti| self.lookup(jti))
            && held.text() == proof.text()
        {
            return Ok(());
        }
        self.update(|kept, key, now| kept.admit(key, &proof, relation, now))?;
        if let Some(jti) = proof.jti() {
            self.note(jti, ProofLookup::Proof(proof));
        }
        Ok(())
    }

    /// Records a checkpoint that came without a network. It may have a proof that it extends
    /// another one.
    pub(crate) fn see(
        &self,
        shown: &Checkpoint,
        consistency: Option<&str>,
    ) -> Result<(), VerifyError> {
        self.update(|kept, key, now| {
            let relation = kept.relation(key, shown, consistency, now)?;
            kept.see(key, shown, relation, now)
        })
    }

    /// Changes the stored log. The change takes effect even when the disk is full; the state store
    /// reports that error.
    pub(crate) fn update(
        &self,
        change: impl Fn(&mut KeptLog, &LogKey, i64) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let now = self.now();
        self.lists.floor.store().note(|record| {
            // Another process may have a newer key.
            record.not_replaced(&self.key)?;
            let mut kept = match record.log.take() {
                Some(kept) if kept.is_of(&self.key) => kept,
                other => {
                    let former = other.map(|other| FormerLog::replaced(other, now, &self.key));
                    record.former_logs.extend(former);
                    KeptLog::of(&self.key)
                }
            };
            let outcome = change(&mut kept, &self.key, now);
            self.is_suspect.store(kept.anomaly(&self.key).is_some(), Relaxed);
            record.log = Some(kept);
            outcome
        })
    }

    pub(crate) fn note(&self, jti: Uuid, found: ProofLookup) {
        let mut entries = self.entries();
        entries.of.insert(jti, found);
        while entries.of.len() > MAX_ENTRIES {
            // Token ids grow with time, so the first is the oldest.
            entries.of.pop_first();
        }
    }

    pub(crate) fn now(&self) -> i64 {
        self.lists.floor.corrected(self.lists.clock.now())
    }

    /// Returns the stored log.
    pub(crate) fn kept(&self) -> KeptLog {
        let kept = self.lists.floor.store().kept().log;
        kept.filter(|kept| kept.is_of(&self.key)).unwrap_or_else(|| KeptLog::of(&self.key))
    }

    pub(crate) fn health(&self) -> LogHealth {
        let kept = self.kept();
        let entries = self.entries();
        LogHealth {
            checkpoint: kept.newest(&self.key),
            anomaly: kept.anomaly(&self.key),
            checked_at: entries.checked_at,
            last_error: entries.last_error.clone(),
            requests: entries.requests,
        }
    }

    /// Records requests and their outcome. `Ok(true)` means that the log extends the seen history.
    #[cfg(feature = "fetch")]
    pub(crate) fn record_requests(&self, requests: u64, outcome: Result<bool, String>) {
        let now = self.now();
        let mut entries = self.entries();
        entries.requests = entries.requests.saturating_add(requests);
        if let Ok(true) = outcome {
            entries.checked_at = Some(now);
        }
        entries.last_error = outcome.err();
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // No holder of the lock leaves the entries half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
