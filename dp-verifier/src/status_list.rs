//! Status lists: the licenses that the issuer has revoked or suspended.
//!
//! # Design
//!
//! Each list has a slot, which is created when a genuine token first refers to the list. Every
//! verified license holds its slot. So a check of a cached license reads the newest list behind one
//! pointer, and a revocation takes effect as soon as the list arrives.
//!
//! Revoked and suspended statuses count at any age, until a newer list changes them: a data plane
//! without a network must not restore a license. Only the status "valid" ages, and it ends with the
//! key that signed the list. Of two lists of the same second, an entry has the stricter status of
//! both.

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

/// The status lists, and everything needed to judge them. The verifier and the fetching thread
/// share it.
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

    /// Holds a list from the state file. It was valid when it was stored. Its signature is checked
    /// against the current keys when the list is used.
    fn hold_kept(&self, uri: &str, list: &KeptList) {
        if let (Ok(document), Some(slot)) = (list.read(), self.slot(uri)) {
            slot.hold(&Arc::new(document), &Arc::default(), false);
        }
    }

    /// Returns the slot of a list, or `None` when there are too many lists.
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

    /// Returns every held list, and the issue time of the published list if that one is older.
    pub(crate) fn documents(&self) -> Vec<(Arc<StatusListToken>, Option<i64>)> {
        let slots = self.slots.load();
        let held =
            slots.values().filter_map(|slot| Some((slot.document()?, slot.older_published())));
        held.collect()
    }

    /// Reads a list that one of these keys has signed.
    pub(crate) fn open(&self, text: &str, keys: &KeySet) -> Result<StatusListToken, VerifyError> {
        let document = StatusListToken::open(text, |kid| {
            keys.find(kid).ok_or_else(|| {
                let code = if keys.is_empty() { KeysUnavailable } else { KidUnknown };
                VerifyError::new(code, format!("the key {} is not known", quoted(kid)))
            })
        })?;
        self.rules.own("sub", &document.uri)?;
        Ok(document)
    }

    /// Imports a list and stores it, unless a newer one is in use. A failure changes nothing.
    pub(crate) fn take(&self, text: &str) -> Result<Arc<StatusListToken>, VerifyError> {
        let news = self.judge(text)?;
        self.remember(&news)?;
        self.put(&news);
        Ok(news.document)
    }

    /// Imports the fetched list of this slot. A revocation takes effect even when the disk is full;
    /// the state store reports that error.
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
        // An older list may also have expired. `replayed` is the more useful refusal.
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
                // Another process may have imported a newer list.
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

    /// Holds the list of a license file, which is stored together with the file.
    pub(crate) fn hold(&self, document: &Arc<StatusListToken>, keys: &Arc<KeySet>) {
        if let Some(slot) = self.slot(&document.uri) {
            self.floor.raise(document.iat);
            let is_signed = document.is_by(keys);
            slot.hold(document, keys, is_signed);
        }
    }
}

/// A valid list, its slot, and the keys that verified it.
struct News {
    document: Arc<StatusListToken>,
    slot: Arc<Slot>,
    keys: Arc<KeySet>,
}

/// Explains that a list is older than the held one.
pub(crate) fn older(uri: &str, iat: i64, held: i64) -> String {
    let [iat, held] = [iat, held].map(|at| rfc3339(at).unwrap_or_else(|| at.to_string()));
    format!(
        "the status list {} of {iat} is older than the held list of {held}: the issuer's clock may have \
         been set back, and later revocations are not known here",
        quoted(uri)
    )
}

pub(crate) fn too_many() -> VerifyError {
    VerifyError::new(
        ClaimsInvalid,
        format!("the verifier already has {MAX_LISTS} other status lists"),
    )
}
