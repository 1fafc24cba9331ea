//! Status lists: what the issuer has taken back.
//!
//! # Design
//!
//! Each list has a slot, made when a genuine token first refers to it, and every license that was
//! verified holds its slot. So a check that finds its license in the cache reads the newest list
//! behind one pointer, and a revocation is seen in the moment in which the list arrives.
//!
//! A list that says that a token does *not* hold is believed however old it is, until a newer list
//! says otherwise: keeping a data plane from the network must not bring anything back to life. Only
//! "valid" grows old, and ends with the key that has signed it. Of two lists of the same second, what
//! either has taken back is taken back.

mod refresh;
mod slot;

use std::collections::BTreeMap;
use std::sync::Arc;
#[cfg(feature = "fetch")]
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;

pub use self::refresh::StatusRefresh;
#[cfg(feature = "fetch")]
use self::slot::NOT_OLDER;
pub(crate) use self::slot::{ListedStatus, Slot};
#[cfg(feature = "fetch")]
use crate::ErrorCode::StateUnwritable;
use crate::ErrorCode::{ClaimsInvalid, KeysUnavailable, KidUnknown, Replayed};
use crate::claims::Rules;
use crate::dates::rfc3339;
use crate::error::quoted;
use crate::keys::Keys;
use crate::state_file::{KeptList, MAX_LISTS};
use crate::status_list_token::StatusListToken;
use crate::time_floor::TimeFloor;
use crate::{Clock, KeySet, VerifyError};

/// Everything that lists are judged by, and the lists. The verifier and the thread that fetches
/// them share it.
pub(crate) struct StatusLists {
    pub(crate) rules: Rules,
    pub(crate) keys: Arc<Keys>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) floor: TimeFloor,
    slots: ArcSwap<BTreeMap<String, Arc<Slot>>>,
}

impl StatusLists {
    /// Starts with the lists of an earlier run.
    pub(crate) fn new(
        rules: Rules,
        keys: Arc<Keys>,
        clock: Arc<dyn Clock>,
        floor: TimeFloor,
    ) -> Self {
        let slots = ArcSwap::from_pointee(BTreeMap::new());
        let lists = Self { rules, keys, clock, floor, slots };
        let kept = lists.floor.store().kept().lists;
        kept.iter().for_each(|(uri, list)| lists.hold_kept(uri, list));
        lists
    }

    /// Holds a list that was kept. It was good then; who vouches for it now is judged when it is used.
    fn hold_kept(&self, uri: &str, list: &KeptList) {
        if let (Ok(document), Some(slot)) = (list.read(), self.slot(uri)) {
            slot.hold(&Arc::new(document), &Arc::default(), false);
        }
    }

    /// The slot of a list; none when there are too many.
    pub(crate) fn slot(&self, uri: &str) -> Option<Arc<Slot>> {
        if let Some(slot) = self.slots.load().get(uri) {
            return Some(Arc::clone(slot));
        }
        self.slots.rcu(|slots| {
            let mut slots = BTreeMap::clone(slots);
            if slots.len() < MAX_LISTS {
                slots.entry(uri.to_owned()).or_insert_with(|| Arc::new(Slot::new(uri)));
            }
            slots
        });
        self.slots.load().get(uri).cloned()
    }

    /// Every list that is held, and when the one was made that its URL shows, when that is older.
    pub(crate) fn documents(&self) -> Vec<(Arc<StatusListToken>, Option<i64>)> {
        let slots = self.slots.load();
        let held =
            slots.values().filter_map(|slot| Some((slot.document()?, slot.older_published())));
        held.collect()
    }

    /// Reads a list that these keys vouch for.
    pub(crate) fn open(&self, text: &str, keys: &KeySet) -> Result<StatusListToken, VerifyError> {
        let document = StatusListToken::open(text, |kid| {
            keys.find(kid).ok_or_else(|| {
                let code = if keys.is_empty() { KeysUnavailable } else { KidUnknown };
                VerifyError::new(code, format!("no key {} is known", quoted(kid)))
            })
        })?;
        self.rules.own("sub", &document.uri)?;
        Ok(document)
    }

    /// Takes a list into use, unless a newer one is in use, and remembers it over restarts. Nothing
    /// has changed when that fails.
    pub(crate) fn take(&self, text: &str) -> Result<Arc<StatusListToken>, VerifyError> {
        let news = self.judge(text)?;
        self.remember(&news)?;
        self.put(&news);
        Ok(news.document)
    }

    /// Takes the list of this slot, which was fetched. A revocation takes effect even when the disk
    /// is full; the memory tells of that.
    #[cfg(feature = "fetch")]
    pub(crate) fn take_fetched(&self, text: &str, slot: &Slot) -> Result<(), VerifyError> {
        let news = self.judge(text)?;
        if slot.uri != news.document.uri {
            let detail = format!("sub is {}, not the list's URL", quoted(&news.document.uri));
            return Err(VerifyError::new(ClaimsInvalid, detail));
        }
        match self.remember(&news) {
            Err(error) if error.code() != StateUnwritable => {
                slot.older_published.store(news.document.iat, Relaxed);
                return Err(error);
            }
            _ => slot.older_published.store(NOT_OLDER, Relaxed),
        }
        self.put(&news);
        Ok(())
    }

    fn judge(&self, text: &str) -> Result<News, VerifyError> {
        let keys = Arc::clone(&self.keys.load().keys);
        let document = self.open(text, &keys)?;
        let now = self.floor.corrected(self.clock.now());
        self.rules.issued(document.iat, now)?;
        let slot = self.slot(&document.uri).ok_or_else(too_many)?;
        // One that is older may have expired: that it is older says more.
        let is_older = slot.document().is_some_and(|held| held.iat > document.iat);
        if !is_older {
            document.current(now, self.rules.leeway)?;
        }
        Ok(News { document: Arc::new(document), slot, keys })
    }

    fn remember(&self, News { document, .. }: &News) -> Result<(), VerifyError> {
        let StatusListToken { uri, iat, .. } = &**document;
        self.floor.store().update(|record| {
            match record.lists.get(uri) {
                // Another process may have taken it.
                Some(kept) if kept.iat > *iat => self.hold_kept(uri, kept),
                _ => {
                    KeptList::of(document).keep_in(&mut record.lists, uri);
                    return Ok(());
                }
            }
            let held = record.lists.get(uri).map_or(*iat, |kept| kept.iat);
            Err(VerifyError::new(Replayed, older(uri, *iat, held)))
        })
    }

    fn put(&self, News { document, slot, keys }: &News) {
        slot.hold(document, keys, true);
        self.floor.raise(document.iat);
    }

    /// Takes a list that came with a license file, which is remembered together with it.
    pub(crate) fn hold(&self, document: &Arc<StatusListToken>, keys: &Arc<KeySet>) {
        if let Some(slot) = self.slot(&document.uri) {
            self.floor.raise(document.iat);
            let is_vouched_for = document.is_by(keys);
            slot.hold(document, keys, is_vouched_for);
        }
    }
}

/// A list that was found good, its place, and the keys that vouch for it.
struct News {
    document: Arc<StatusListToken>,
    slot: Arc<Slot>,
    keys: Arc<KeySet>,
}

/// That a list is older than the one that is held, in words.
pub(crate) fn older(uri: &str, iat: i64, held: i64) -> String {
    let [iat, held] = [iat, held].map(|at| rfc3339(at).unwrap_or_else(|| at.to_string()));
    format!(
        "the status list {} of {iat} is older than the one of {held} that is held: the issuer's clock \
         may have been set back, and what it has taken back since is not known here",
        quoted(uri)
    )
}

pub(crate) fn too_many() -> VerifyError {
    VerifyError::new(ClaimsInvalid, format!("there are {MAX_LISTS} other status lists already"))
}
