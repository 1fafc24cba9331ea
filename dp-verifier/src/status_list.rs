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

mod asked;
mod document;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use arc_swap::{ArcSwap, ArcSwapOption};
use cp_contracts::TokenStatus;

pub(crate) use self::asked::Asked;
pub use self::asked::StatusRefresh;
pub(crate) use self::document::Document;
#[cfg(feature = "fetch")]
use crate::ErrorCode::StateUnwritable;
use crate::ErrorCode::{ClaimsInvalid, KeysUnavailable, KidUnknown, Replayed};
use crate::claims::Rules;
use crate::clock::TimeFloor;
use crate::dates::rfc3339;
use crate::error::quoted;
use crate::keys::Keys;
use crate::memory::KeptList;
use crate::{Clock, KeySet, VerifyError};

/// How many lists of an issuer are held. A data plane needs one, or a few after years.
pub(crate) const MAX_LISTS: usize = 64;

/// What is known of one list.
pub(crate) struct Slot {
    #[cfg(feature = "fetch")]
    pub(crate) uri: String,
    held: ArcSwapOption<Held>,
    /// When the list was made that the URL shows, when it is older than the one that is held; else
    /// [`NOT_OLDER`].
    older_published: AtomicI64,
    pub(crate) asked: Asked,
}

const NOT_OLDER: i64 = i64::MIN;

/// The newest genuine list, and whether these keys vouch for it.
struct Held {
    document: Arc<Document>,
    keys: Arc<KeySet>,
    is_vouched_for: bool,
}

/// What a slot says about one token.
pub(crate) enum Statement {
    /// A list has a status for it.
    Status {
        status: TokenStatus,
        /// When that was said, in seconds since 1970.
        iat: i64,
        /// From when on the list says nothing any more.
        exp: i64,
    },
    /// There is nothing to go by, and why.
    None(&'static str),
}

impl Slot {
    fn new(#[cfg_attr(not(feature = "fetch"), expect(unused_variables))] uri: &str) -> Self {
        Self {
            #[cfg(feature = "fetch")]
            uri: uri.to_owned(),
            held: ArcSwapOption::empty(),
            older_published: AtomicI64::new(NOT_OLDER),
            asked: Asked::default(),
        }
    }

    /// What the newest list says of the token with this index, when these keys vouch for it.
    pub(crate) fn statement(&self, idx: u64, keys: &Arc<KeySet>) -> Statement {
        let held = self.held.load();
        let Some(held) = &*held else { return Statement::None("no status list is at hand") };
        // The keys seldom change. When they do, the list is judged by them once.
        let is_vouched_for = match Arc::ptr_eq(&held.keys, keys) {
            true => held.is_vouched_for,
            false => self.judge_again(held, keys),
        };
        let Document { list, iat, exp, .. } = &*held.document;
        match list.status(idx) {
            // It was genuine when it was taken. Withdrawing its key brings nothing back.
            Some(TokenStatus::Valid) if !is_vouched_for => {
                Statement::None("the status list is signed by a key that is not known any more")
            }
            Some(status) => Statement::Status { status, iat: *iat, exp: *exp },
            None => Statement::None("the status list has no entry for this token"),
        }
    }

    fn judge_again(&self, held: &Arc<Held>, keys: &Arc<KeySet>) -> bool {
        let is_vouched_for = held.document.is_by(keys);
        let judged =
            Held { document: Arc::clone(&held.document), keys: Arc::clone(keys), is_vouched_for };
        // Unless a newer list has come meanwhile.
        self.held.compare_and_swap(held, Some(Arc::new(judged)));
        is_vouched_for
    }

    /// Holds a list, unless a newer one is held; of two of the same second, what either has taken
    /// back.
    fn hold(&self, document: &Arc<Document>, keys: &Arc<KeySet>, is_vouched_for: bool) {
        self.held.rcu(|held| {
            let document = match held {
                Some(held) if held.document.iat > document.iat => return Some(Arc::clone(held)),
                Some(held) if held.document.iat == document.iat => {
                    Arc::new(Document::clone(document).stricter(&held.document))
                }
                _ => Arc::clone(document),
            };
            Some(Arc::new(Held { document, keys: Arc::clone(keys), is_vouched_for }))
        });
    }

    /// When the list was made that the URL shows, when it is older than the one that is held.
    fn older_published(&self) -> Option<i64> {
        Some(self.older_published.load(Relaxed)).filter(|iat| *iat != NOT_OLDER)
    }

    /// The newest list.
    pub(crate) fn document(&self) -> Option<Arc<Document>> {
        self.held.load().as_ref().map(|held| Arc::clone(&held.document))
    }
}

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
        let kept = lists.floor.memory().record().lists;
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
    pub(crate) fn documents(&self) -> Vec<(Arc<Document>, Option<i64>)> {
        let slots = self.slots.load();
        let held =
            slots.values().filter_map(|slot| Some((slot.document()?, slot.older_published())));
        held.collect()
    }

    /// Reads a list that these keys vouch for.
    pub(crate) fn open(&self, text: &str, keys: &KeySet) -> Result<Document, VerifyError> {
        let document = Document::open(text, |kid| {
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
    pub(crate) fn take(&self, text: &str) -> Result<Arc<Document>, VerifyError> {
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
        let Document { uri, iat, .. } = &**document;
        self.floor.memory().update(|record| {
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
    pub(crate) fn hold(&self, document: &Arc<Document>, keys: &Arc<KeySet>) {
        if let Some(slot) = self.slot(&document.uri) {
            self.floor.raise(document.iat);
            let is_vouched_for = document.is_by(keys);
            slot.hold(document, keys, is_vouched_for);
        }
    }
}

/// A list that was found good, its place, and the keys that vouch for it.
struct News {
    document: Arc<Document>,
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
