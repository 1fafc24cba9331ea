//! The keys in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::key_set::KeySet;
use super::withdrawn::Withdrawn;
use crate::error::quoted;
use crate::{ErrorCode, VerifyError};

/// The keys in use. Readers take them without waiting while they are replaced.
pub(crate) struct Keys {
    current: ArcSwap<Snapshot>,
    /// What there is when nothing is withdrawn. Held while the current ones are replaced.
    whole: Mutex<Arc<KeySet>>,
}

/// A key set, and until when it may be used.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Without those that were withdrawn.
    pub(crate) keys: Arc<KeySet>,
    pub(crate) withdrawn: Arc<Withdrawn>,
    /// The last second, since 1970; `i64::MAX` for keys that were given rather than fetched.
    pub(crate) good_until: i64,
}

impl Keys {
    /// Starts with keys that are good until this second, and what was withdrawn before.
    pub(crate) fn new(keys: KeySet, good_until: i64, withdrawn: Withdrawn) -> Self {
        let (whole, withdrawn) = (Arc::new(keys), Arc::new(withdrawn));
        let keys = Arc::new(whole.without(&withdrawn));
        let snapshot = Snapshot { keys, withdrawn, good_until };
        Self { current: ArcSwap::from_pointee(snapshot), whole: Mutex::new(whole) }
    }

    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Puts other keys into use.
    pub(crate) fn replace(&self, keys: KeySet, good_until: i64) {
        let mut whole = self.whole();
        *whole = Arc::new(keys);
        let withdrawn = Arc::clone(&self.load().withdrawn);
        self.put(&whole, withdrawn, good_until);
    }

    /// The same keys are good for longer. What was verified by them need not be verified again.
    #[cfg(feature = "fetch")]
    pub(crate) fn renew(&self, good_until: i64) {
        let _whole = self.whole();
        let now = self.load();
        let (keys, withdrawn) = (Arc::clone(&now.keys), Arc::clone(&now.withdrawn));
        self.current.store(Arc::new(Snapshot { keys, withdrawn, good_until }));
    }

    /// From now on these are withdrawn.
    pub(crate) fn withdraw(&self, withdrawn: Withdrawn) {
        let whole = self.whole();
        let now = self.load();
        if *now.withdrawn != withdrawn {
            self.put(&whole, Arc::new(withdrawn), now.good_until);
        }
    }

    fn put(&self, whole: &KeySet, withdrawn: Arc<Withdrawn>, good_until: i64) {
        let keys = Arc::new(whole.without(&withdrawn));
        self.current.store(Arc::new(Snapshot { keys, withdrawn, good_until }));
    }

    fn whole(&self) -> MutexGuard<'_, Arc<KeySet>> {
        // It is replaced in one step.
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    /// Why there is no key of this name.
    pub(crate) fn refusal(&self, kid: &str) -> VerifyError {
        self.withdrawn.refusal(kid).unwrap_or_else(|| {
            let detail = format!("no key {} is known", quoted(kid));
            VerifyError::new(ErrorCode::KidUnknown, detail)
        })
    }
}
