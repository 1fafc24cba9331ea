//! What time it is, and what time it must be at least.

mod kept;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use self::kept::Keeper;

/// Tells the time, so that an app or a test can decide it.
///
/// Every `Fn() -> i64` is a clock.
pub trait Clock: Send + Sync + 'static {
    /// Seconds since 1970-01-01T00:00:00Z.
    fn now(&self) -> i64;
}

impl<F: Fn() -> i64 + Send + Sync + 'static> Clock for F {
    fn now(&self) -> i64 {
        self()
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "the one place where time comes from")]
        let now = std::time::SystemTime::now();
        // A clock before 1970 is wrong anyway; at 0 every license is not yet valid.
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

/// By how many seconds a clock may be behind the evidence before it is not believed.
const TOLERANCE: i64 = 300;

/// The latest time that an issuer has testified to by signing a token at it.
///
/// Setting a clock back must not bring expired licenses to life. The floor is what was signed and
/// not what this clock once said: a clock that was wrong for a moment, far in the future, would
/// otherwise end every license for good.
#[derive(Debug)]
pub(crate) struct TimeFloor {
    seconds: Arc<AtomicI64>,
    keeper: Option<Keeper>,
}

impl TimeFloor {
    pub(crate) fn new(seconds: i64) -> Self {
        Self { seconds: Arc::new(AtomicI64::new(seconds)), keeper: None }
    }

    /// The same, together with what a file remembers, and from now on kept in it.
    pub(crate) fn kept_in(self, path: &Path) -> Result<Self, String> {
        let remembered = kept::load(path)?.unwrap_or_default();
        self.seconds.fetch_max(remembered, Relaxed);
        let keeper = Keeper::start(path, Arc::clone(&self.seconds))?;
        Ok(Self { keeper: Some(keeper), ..self })
    }

    pub(crate) fn seconds(&self) -> i64 {
        self.seconds.load(Relaxed)
    }

    pub(crate) fn raise(&self, issued_at: i64) {
        let before = self.seconds.fetch_max(issued_at, Relaxed);
        if issued_at > before
            && let Some(keeper) = &self.keeper
        {
            keeper.note(issued_at);
        }
    }

    /// Why the file could not be written the last time.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.keeper.as_ref().and_then(Keeper::last_error)
    }

    /// Whether a clock says a time that cannot be.
    pub(crate) fn refutes(&self, now: i64) -> bool {
        now.saturating_add(TOLERANCE) < self.seconds()
    }

    /// The time of a clock, or the floor when that cannot be.
    pub(crate) fn corrected(&self, now: i64) -> i64 {
        if self.refutes(now) { self.seconds() } else { now }
    }
}
