//! The thread that fetches proofs of tokens, and checks that the issuer's log only grows.
//!
//! The thread fetches the proof of a genuine token. Nothing else opens a connection. The thread
//! sends one request at a time: once for each token, again after the cooldown while there is no
//! proof, and for the checkpoint when its copy is no longer fresh.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ureq::tls::TlsConfig;
use uuid::Uuid;

use super::shared::{Owner, Shared};
use super::source::{Answer, CHECKPOINT, PROOF, Source};
use crate::ErrorCode::{LogRolledBack, NotLogged, ProofMissing, SplitView};
use crate::first_request::FirstRequest;
use crate::log::{LogBook, ProofLookup};
use crate::state_file::Consistency;
use crate::tlog::{Checkpoint, LogProof};
use crate::{ErrorCode, VerifyError};

/// The maximum number of waiting tokens. Each is genuine, so there are never many.
const MAX_WANTED: usize = 1_000;

/// The age up to which a token may not be in the log yet, in seconds: a log is written in batches.
/// The thread asks again after [`MOMENT`], and then every [`YOUNG_PAUSE`].
const YOUNG: i64 = 60;
const MOMENT: Duration = Duration::from_millis(300);
const YOUNG_PAUSE: Duration = Duration::from_secs(1);

/// The verifier's end of the thread.
pub(crate) struct LogFetcher {
    shared: Owner<Work>,
    log: Arc<LogBook>,
}

impl LogFetcher {
    pub(super) fn start(
        log: &Arc<LogBook>,
        issuer: &str,
        tls: Option<TlsConfig>,
        cooldown: Duration,
    ) -> Result<Self, String> {
        let base = format!("{}/api/v1/log", issuer.strip_suffix('/').unwrap_or(issuer));
        let source = Source::new(&format!("{base}/checkpoint"), tls, CHECKPOINT)
            .map_err(|why| format!("{base}: {why}"))?;
        let watched = Arc::downgrade(log);
        let shared = Owner::start("dp-verifier-log", move |shared| {
            Fetcher { shared, log: watched, base, source, cooldown }.run();
        })?;
        Ok(Self { shared, log: Arc::clone(log) })
    }

    /// Checks the log now and waits for the outcome.
    pub(crate) fn refresh_now(&self) {
        self.shared.demand();
    }

    /// Requests the proof of a genuine token, unless it is known, requested, or was refused
    /// recently.
    pub(crate) fn want(&self, jti: Uuid, issued_at: i64) {
        if !self.log.is_required {
            return;
        }
        let mut state = self.shared.state();
        // The lock ensures that only one caller sends the request.
        match self.log.lookup(jti) {
            Some(ProofLookup::Proof(_) | ProofLookup::Pending(_)) => return,
            Some(ProofLookup::Refused(_)) => {
                let is_early = |until: &Instant| Instant::now() < *until;
                if state.work.failed.iter().any(|(of, until)| *of == jti && is_early(until)) {
                    return;
                }
            }
            None => {}
        }
        if state.is_over || state.work.wanted.len() >= MAX_WANTED {
            return;
        }
        let asked = Arc::new(FirstRequest::default());
        asked.claim();
        self.log.note(jti, ProofLookup::Pending(Arc::clone(&asked)));
        let is_young = self.log.now().saturating_sub(issued_at) < YOUNG;
        state.work.wanted.push_back(Wanted { jti, is_young, asked });
        self.shared.notify();
    }
}

#[derive(Default)]
struct Work {
    /// Tokens that are new to the thread.
    wanted: VecDeque<Wanted>,
    /// Tokens without a proof, and the earliest time of their next request.
    failed: VecDeque<(Uuid, Instant)>,
}

/// A token whose proof is requested.
struct Wanted {
    jti: Uuid,
    is_young: bool,
    asked: Arc<FirstRequest>,
}

/// The next work of the thread.
enum Job {
    Proof(Wanted),
    /// The checkpoint, for all demands up to this one.
    Checkpoint(u64),
}

/// The state of the thread.
struct Fetcher {
    shared: Arc<Shared<Work>>,
    /// A weak reference, so that a dropped verifier releases its state file at once.
    log: Weak<LogBook>,
    base: String,
    source: Source,
    cooldown: Duration,
}

/// The reason why a response is not used.
enum Refusal {
    /// The request failed.
    Failed(String),
    /// The log contradicts itself, or the response is wrong.
    Refused(VerifyError),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        Self::Refused(error)
    }
}

impl Refusal {
    fn into_text(self) -> String {
        match self {
            Self::Failed(why) => why,
            Self::Refused(error) => error.to_string(),
        }
    }
}

impl Fetcher {
    fn run(mut self) {
        let mut due = Instant::now();
        while let Some(job) = self.next(due) {
            let Some(log) = self.log.upgrade() else { return };
            match job {
                Job::Proof(wanted) => self.look_for(&log, &wanted),
                Job::Checkpoint(demand) => {
                    let outcome = self.check(&log);
                    let next = if outcome.is_ok() { self.source.max_age() } else { self.cooldown };
                    log.record_requests(1, outcome.map(|()| true).map_err(Refusal::into_text));
                    let now = Instant::now();
                    due = now.checked_add(next).unwrap_or(now);
                    let mut state = self.shared.state();
                    state.met = state.met.max(demand);
                    self.shared.notify();
                }
            }
        }
    }

    /// Waits for the next work. Returns `None` when the verifier was dropped.
    fn next(&self, due: Instant) -> Option<Job> {
        let mut state = self.shared.state();
        loop {
            if state.is_over {
                return None;
            }
            if let Some(wanted) = state.work.wanted.pop_front() {
                return Some(Job::Proof(wanted));
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || state.met < state.demanded {
                return Some(Job::Checkpoint(state.demanded));
            }
            state = self.shared.wait(state, Some(left));
        }
    }

    /// Fetches the proof of one token, and wakes the tasks that wait for it.
    fn look_for(&self, log: &LogBook, wanted: &Wanted) {
        let Wanted { jti, is_young, ref asked } = *wanted;
        let mut outcome = self.proof(log, jti);
        if is_young && matches!(&outcome, Err(Refusal::Refused(e)) if e.code() == NotLogged) {
            log.record_requests(1, Ok(false));
            std::thread::sleep(MOMENT);
            outcome = self.proof(log, jti);
        }
        let failure = match outcome {
            Ok(()) => None,
            Err(Refusal::Failed(why)) => {
                log.record_requests(1, Err(why));
                let detail = "the request for the proof failed";
                Some(VerifyError::new(ProofMissing, detail))
            }
            Err(Refusal::Refused(error)) => Some(error),
        };
        match failure {
            None => log.record_requests(1, Ok(false)),
            Some(error) => {
                let failed = &mut self.shared.state().work.failed;
                let now = Instant::now();
                failed.retain(|(of, until)| *of != jti && now < *until);
                if failed.len() >= MAX_WANTED {
                    failed.pop_front();
                }
                let pause = if is_young { YOUNG_PAUSE.min(self.cooldown) } else { self.cooldown };
                failed.push_back((jti, now.checked_add(pause).unwrap_or(now)));
                log.note(jti, ProofLookup::Refused(error));
            }
        }
        asked.end();
    }

    fn proof(&self, log: &LogBook, jti: Uuid) -> Result<(), Refusal> {
        let url = format!("{}/proof?jti={jti}", self.base);
        let Some(body) = self.source.ask(&url, PROOF)? else {
            let detail = "the issuer's log has no token with this id";
            return Err(VerifyError::new(NotLogged, detail).into());
        };
        let text = String::from_utf8(body).map_err(|_| format!("{url}: is not UTF-8"))?;
        let proof: LogProof = log.key.proof(&text)?;
        if proof.jti() != Some(jti) {
            let detail = "the proof is for another token";
            return Err(VerifyError::new(ErrorCode::ProofInvalid, detail).into());
        }
        let relation = self.relation(log, proof.checkpoint())?;
        Ok(log.take(Arc::new(proof), relation)?)
    }

    /// Fetches the checkpoint, and checks that it extends the seen history.
    fn check(&mut self, log: &LogBook) -> Result<(), Refusal> {
        let (text, etag) = match self.source.fetch()? {
            Answer::Unchanged => (self.source.last_good().unwrap_or_default().to_vec(), None),
            Answer::Body { body, etag } => (body, etag),
        };
        let shown = std::str::from_utf8(&text).map_err(|_| "is not UTF-8".to_owned())?;
        let shown = log.key.checkpoint(shown)?;
        let relation = self.relation(log, &shown)?;
        log.update(|kept, key, now| kept.see(key, &shown, relation, now))?;
        if etag.is_some() {
            self.source.remember(text, etag);
        }
        Ok(())
    }

    /// Requests the proof that a checkpoint is consistent with the seen history.
    fn relation(&self, log: &LogBook, shown: &Checkpoint) -> Result<Consistency, Refusal> {
        let kept = log.kept();
        let Some(newest) = kept.newest(&log.key) else { return Ok(Consistency::Proved) };
        if shown.size() >= newest.size() {
            self.extends(log, &newest, shown, &newest)?;
            // A checkpoint that came without a network may have skipped an unproven older one.
            if let Some(linked) = kept.linked(&log.key).filter(|linked| *linked != newest) {
                self.extends(log, &linked, shown, &linked)?;
            }
        } else {
            // An older copy from a proof or a cache, or a log that has lost its end.
            self.extends(log, shown, &newest, &newest)?;
        }
        Ok(Consistency::Proved)
    }

    /// Requests the proof that `long` extends `short`. `seen` is the one of them that was seen
    /// before.
    fn extends(
        &self,
        log: &LogBook,
        short: &Checkpoint,
        long: &Checkpoint,
        seen: &Checkpoint,
    ) -> Result<(), Refusal> {
        let shown = if std::ptr::eq(seen, short) { long } else { short };
        let contradicted = |code: ErrorCode| {
            let outcome = log.update(|kept, key, now| match kept.newest(key) {
                Some(_) => Err(kept.contradicted(code, seen, shown, now)),
                // The operator has accepted the log meanwhile.
                None => Ok(()),
            });
            let reset =
                || Refusal::Failed("the operator has accepted the log meanwhile".to_owned());
            outcome.err().map_or_else(reset, Refusal::Refused)
        };
        let proof = if short.size() == long.size() || short.size() == 0 {
            String::new()
        } else {
            let (from, to) = (short.size(), long.size());
            let url = format!("{}/consistency?from={from}&to={to}", self.base);
            match self.source.ask(&url, PROOF)? {
                Some(body) => {
                    String::from_utf8(body).map_err(|_| format!("{url}: is not UTF-8"))?
                }
                // The log does not know a checkpoint that it has signed.
                None if std::ptr::eq(seen, long) => return Err(contradicted(LogRolledBack)),
                None => return Err(Refusal::Failed(format!("{url}: the range does not exist"))),
            }
        };
        match short.is_extended_by(long, &proof) {
            Some(true) => Ok(()),
            Some(false) => Err(contradicted(SplitView)),
            None => {
                Err(Refusal::Failed(format!("{}: the proof is not a list of hashes", self.base)))
            }
        }
    }
}

/// Wakes all tasks that wait for a proof, also when the thread ends by a panic.
impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.end();
        self.shared.state().work.wanted.drain(..).for_each(|wanted| wanted.asked.end());
    }
}
