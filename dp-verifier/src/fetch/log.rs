//! The issuer's log from its URLs, by a thread of its own: proofs of tokens, and that the log only
//! ever grows.
//!
//! The thread learns of a token when its signature holds; nothing else opens a connection. One
//! thread, so one request at a time. A token is asked for once, and again after the cooldown while
//! there is no proof of it; the checkpoint when its copy is no longer fresh.

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

/// How many tokens may wait to be asked for. Each has a good signature, so there are never many.
const MAX_WANTED: usize = 1_000;

/// A token that was issued this few seconds ago may be on its way into the log: a log is written in
/// turns. It is asked for once more after a moment, and then every second.
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

    /// Asks the log now and waits for the outcome.
    pub(crate) fn refresh_now(&self) {
        self.shared.demand();
    }

    /// Asks for the proof of a genuine token, when that was not done, or some time ago in vain.
    pub(crate) fn want(&self, jti: Uuid, issued_at: i64) {
        if !self.log.is_required {
            return;
        }
        let mut state = self.shared.state();
        // Under the lock, so that only one caller asks.
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
    /// Tokens that the thread has not asked for yet.
    wanted: VecDeque<Wanted>,
    /// Tokens that were asked for in vain lately, and until when they are not asked for again.
    failed: VecDeque<(Uuid, Instant)>,
}

/// A token whose proof is asked for.
struct Wanted {
    jti: Uuid,
    is_young: bool,
    asked: Arc<FirstRequest>,
}

/// What the thread does next.
enum Job {
    Proof(Wanted),
    /// The checkpoint, which meets so many demands.
    Checkpoint(u64),
}

/// The thread's own.
struct Fetcher {
    shared: Arc<Shared<Work>>,
    /// Not held, so that a verifier that is dropped leaves its state file at once.
    log: Weak<LogBook>,
    base: String,
    source: Source,
    cooldown: Duration,
}

/// Why something that was shown is not taken.
enum Refusal {
    /// The log could not be asked.
    Failed(String),
    /// It contradicts itself, or the answer is wrong.
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

    /// Waits until there is something to do; none when the verifier is gone.
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

    /// Looks for the proof of one token, and tells whoever waits for it.
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
                let detail = "the issuer's log could not be asked for the proof";
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
            let detail = "the issuer's log has no token of this id";
            return Err(VerifyError::new(NotLogged, detail).into());
        };
        let text = String::from_utf8(body).map_err(|_| format!("{url}: is not UTF-8"))?;
        let proof: LogProof = log.key.proof(&text)?;
        if proof.jti() != Some(jti) {
            return Err(VerifyError::new(ErrorCode::ProofInvalid, "it is of another token").into());
        }
        let relation = self.relation(log, proof.checkpoint())?;
        Ok(log.take(Arc::new(proof), relation)?)
    }

    /// Asks for the checkpoint, and whether it extends what was seen.
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

    /// Has the log prove that what it shows hangs together with what was seen.
    fn relation(&self, log: &LogBook, shown: &Checkpoint) -> Result<Consistency, Refusal> {
        let kept = log.kept();
        let Some(newest) = kept.newest(&log.key) else { return Ok(Consistency::Proved) };
        if shown.size() >= newest.size() {
            self.extends(log, &newest, shown, &newest)?;
            // What came without a network may have passed over an older one.
            if let Some(linked) = kept.linked(&log.key).filter(|linked| *linked != newest) {
                self.extends(log, &linked, shown, &linked)?;
            }
        } else {
            // An older copy, of a proof or a cache, or a log that has lost its end.
            self.extends(log, shown, &newest, &newest)?;
        }
        Ok(Consistency::Proved)
    }

    /// Has the log prove that `long` extends `short`; `seen` is the one of them that was seen before.
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
                // What was seen was moved aside meanwhile.
                None => Ok(()),
            });
            let reset = || Refusal::Failed("the state file has begun anew with the log".to_owned());
            outcome.err().map_or_else(reset, Refusal::Refused)
        };
        let proof = if short.size() == long.size() || short.size() == 0 {
            String::new()
        } else {
            let (from, to) = (short.size(), long.size());
            let url = format!("{}/consistency?from={from}&to={to}", self.base);
            match self.source.ask(&url, PROOF)? {
                Some(body) => String::from_utf8(body).map_err(|_| format!("{url}: is no text"))?,
                // It does not know what it has signed itself.
                None if std::ptr::eq(seen, long) => return Err(contradicted(LogRolledBack)),
                None => return Err(Refusal::Failed(format!("{url}: there is no such range"))),
            }
        };
        match short.is_extended_by(long, &proof) {
            Some(true) => Ok(()),
            Some(false) => Err(contradicted(SplitView)),
            None => Err(Refusal::Failed(format!("{}: a proof is not a list of hashes", self.base))),
        }
    }
}

/// Whoever waits for a proof shall not wait for a thread that is gone.
impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.end();
        self.shared.state().work.wanted.drain(..).for_each(|wanted| wanted.asked.end());
    }
}
