//! The issuer's log: that a license token is in it, and that it never changes what it has shown.
//!
//! # Design
//!
//! A stolen signing key makes tokens that nobody can tell from genuine ones. But an issuer puts each
//! token that it signs into a public log, and a verifier that insists on the proof takes only what
//! the issuer has owned up to. What is kept for that:
//!
//! - of each token, its proof, found by `jti` and compared with key and hash of *this* token;
//! - the newest checkpoint ever seen, so that a log that is shorter than it was, or has another
//!   history, is noticed over restarts. A license that was proved goes on, in a state of its own: a
//!   restored backup at the vendor's must not end every data plane at once. New ones are refused.
//!
//! Parsing and hashing are our own, 300 lines: the crates for these formats bring a second Ed25519,
//! a second SHA-256 and a second base64 into every data plane.

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

/// Of how many tokens the outcome of looking for a proof is held. A data plane has one token or a
/// few; beyond this the oldest are looked for again.
const MAX_ENTRIES: usize = 1_000;

/// What is known of the log. The verifier and the thread that asks it share this.
pub(crate) struct LogBook {
    pub(crate) key: LogKey,
    /// Whether a license without a proof is refused.
    pub(crate) is_required: bool,
    lists: Arc<StatusLists>,
    entries: Mutex<Entries>,
    /// Whether the log contradicts what was seen; the record says how.
    is_suspect: AtomicBool,
}

#[derive(Default)]
struct Entries {
    of: BTreeMap<Uuid, ProofLookup>,
    /// Why the log could not be asked the last time.
    last_error: Option<String>,
    checked_at: Option<i64>,
    requests: u64,
}

/// What came of looking for a token's proof.
#[derive(Clone)]
pub(crate) enum ProofLookup {
    Proof(Arc<LogProof>),
    /// It is being asked for.
    #[cfg_attr(not(feature = "fetch"), expect(dead_code))]
    Pending(Arc<FirstRequest>),
    /// There is none, for now.
    #[cfg_attr(not(feature = "fetch"), expect(dead_code))]
    Refused(VerifyError),
}

/// How the issuer's log is doing, as far as this verifier has seen, for health checks and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogHealth {
    /// The newest checkpoint that was seen.
    pub checkpoint: Option<Checkpoint>,
    /// How the log contradicts what was seen of it before, with the evidence.
    pub anomaly: Option<LogAnomaly>,
    /// When the log was last found to extend what was seen before, in seconds since 1970; none when
    /// this verifier has no network or has not come to it.
    pub checked_at: Option<i64>,
    /// Why the last attempt to ask the log failed; none when it succeeded.
    pub last_error: Option<String>,
    /// How many requests were made.
    pub requests: u64,
}

impl LogBook {
    /// Starts with what was seen in an earlier run. Fails when that is damaged.
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

    /// Whether a license may be admitted, as far as the log is concerned.
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
                VerifyError::new(ProofMissing, "the proof that it is in the log is asked for")
            }
            None => VerifyError::new(
                ProofMissing,
                "it comes without a proof that it is in the issuer's log, whose key is known",
            ),
        };
        if self.is_required { Err(missing) } else { Ok(()) }
    }

    pub(crate) fn lookup(&self, jti: Uuid) -> Option<ProofLookup> {
        self.entries().of.get(&jti).cloned()
    }

    /// Takes a proof into use and remembers it, unless it contradicts what was seen.
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

    /// Takes note of a checkpoint that came without a network, perhaps with the proof that it extends
    /// another.
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

    /// Changes what is remembered of the log. That takes effect even when the disk is full; the
    /// memory tells of that.
    pub(crate) fn update(
        &self,
        change: impl Fn(&mut KeptLog, &LogKey, i64) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let now = self.now();
        self.lists.floor.store().note(|record| {
            // Another process was given a newer key.
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
            // Ids grow with time, so the first is the oldest.
            entries.of.pop_first();
        }
    }

    pub(crate) fn now(&self) -> i64 {
        self.lists.floor.corrected(self.lists.clock.now())
    }

    /// What is remembered of this log.
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

    /// Counts a request to the log, and what came of the round that it was part of.
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
        // Nothing that holds the lock leaves it half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
