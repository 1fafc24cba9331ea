//! The keys in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::key_set::KeySet;
use super::withdrawn::Withdrawn;
use crate::error::quoted;
use crate::{ErrorCode, VerifyError};

/// The keys in use. Readers never wait for a replacement.
pub(crate) struct Keys {
    current: ArcSwap<Snapshot>,
    /// The keys before withdrawn ones are removed. The lock is held during a replacement.
    whole: Mutex<Arc<KeySet>>,
}

/// A key set, and the end of its use.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The keys that are not withdrawn.
    pub(crate) keys: Arc<KeySet>,
    pub(crate) withdrawn: Arc<Withdrawn>,
    /// The last second of use, since 1970. `i64::MAX` for keys that are not fetched.
    pub(crate) good_until: i64,
}

impl Keys {
    /// Starts with keys that are usable until `good_until`, and with earlier withdrawals.
    pub(crate) fn new(keys: KeySet, good_until: i64, withdrawn: Withdrawn) -> Self {
        let (whole, withdrawn) = (Arc::new(keys), Arc::new(withdrawn));
        let keys = Arc::new(whole.without(&withdrawn));
        let snapshot = Snapshot { keys, withdrawn, good_until };
        Self { current: ArcSwap::from_pointee(snapshot), whole: Mutex::new(whole) }
    }

    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Replaces the keys in use.
    pub(crate) fn replace(&self, keys: KeySet, good_until: i64) {
        let mut whole = self.whole();
        *whole = Arc::new(keys);
        let withdrawn = Arc::clone(&self.load().withdrawn);
        self.put(&whole, withdrawn, good_until);
    }

    /// Extends the use of the same keys. The cache stays valid.
    #[cfg(feature = "fetch")]
    pub(crate) fn renew(&self, good_until: i64) {
        let _whole = self.whole();
        let now = self.load();
        let (keys, withdrawn) = (Arc::clone(&now.keys), Arc::clone(&now.withdrawn));
        self.current.store(Arc::new(Snapshot { keys, withdrawn, good_until }));
    }

    /// Withdraws keys.
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
        // A replacement is one step, so a panic cannot leave it half done.
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    /// Returns the refusal for a `kid` without a usable key.
    pub(crate) fn refusal(&self, kid: &str) -> VerifyError {
        self.withdrawn.refusal(kid).unwrap_or_else(|| {
            let detail = format!("no key {} is known", quoted(kid));
            VerifyError::new(ErrorCode::KidUnknown, detail)
        })
    }
}
