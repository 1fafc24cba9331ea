//! One status list of the issuer, and what it says of a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use cp_contracts::TokenStatus;

use crate::KeySet;
use crate::first_request::FirstRequest;
use crate::status_list_token::StatusListToken;

/// What is known of one list.
pub(crate) struct Slot {
    #[cfg(feature = "fetch")]
    pub(crate) uri: String,
    held: ArcSwapOption<Held>,
    /// When the list was made that the URL shows, when it is older than the one that is held; else
    /// [`NOT_OLDER`].
    pub(super) older_published: AtomicI64,
    pub(crate) first_request: FirstRequest,
}

pub(super) const NOT_OLDER: i64 = i64::MIN;

/// The newest genuine list, and whether these keys vouch for it.
struct Held {
    document: Arc<StatusListToken>,
    keys: Arc<KeySet>,
    is_vouched_for: bool,
}

/// What a slot says about one token.
pub(crate) enum ListedStatus {
    /// A list has a status for it.
    Known {
        status: TokenStatus,
        /// When that was said, in seconds since 1970.
        iat: i64,
        /// From when on the list says nothing any more.
        exp: i64,
    },
    /// There is nothing to go by, and why.
    Unknown(&'static str),
}

impl Slot {
    pub(super) fn new(
        #[cfg_attr(not(feature = "fetch"), expect(unused_variables))] uri: &str,
    ) -> Self {
        Self {
            #[cfg(feature = "fetch")]
            uri: uri.to_owned(),
            held: ArcSwapOption::empty(),
            older_published: AtomicI64::new(NOT_OLDER),
            first_request: FirstRequest::default(),
        }
    }

    /// What the newest list says of the token with this index, when these keys vouch for it.
    pub(crate) fn listed_status(&self, idx: u64, keys: &Arc<KeySet>) -> ListedStatus {
        let held = self.held.load();
        let Some(held) = &*held else { return ListedStatus::Unknown("no status list is at hand") };
        // The keys seldom change. When they do, the list is judged by them once.
        let is_vouched_for = match Arc::ptr_eq(&held.keys, keys) {
            true => held.is_vouched_for,
            false => self.judge_again(held, keys),
        };
        let StatusListToken { list, iat, exp, .. } = &*held.document;
        match list.status(idx) {
            // It was genuine when it was taken. Withdrawing its key brings nothing back.
            Some(TokenStatus::Valid) if !is_vouched_for => ListedStatus::Unknown(
                "the status list is signed by a key that is not known any more",
            ),
            Some(status) => ListedStatus::Known { status, iat: *iat, exp: *exp },
            None => ListedStatus::Unknown("the status list has no entry for this token"),
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
    pub(super) fn hold(
        &self,
        document: &Arc<StatusListToken>,
        keys: &Arc<KeySet>,
        is_vouched_for: bool,
    ) {
        self.held.rcu(|held| {
            let document = match held {
                Some(held) if held.document.iat > document.iat => return Some(Arc::clone(held)),
                Some(held) if held.document.iat == document.iat => {
                    Arc::new(StatusListToken::clone(document).stricter(&held.document))
                }
                _ => Arc::clone(document),
            };
            Some(Arc::new(Held { document, keys: Arc::clone(keys), is_vouched_for }))
        });
    }

    /// When the list was made that the URL shows, when it is older than the one that is held.
    pub(super) fn older_published(&self) -> Option<i64> {
        Some(self.older_published.load(Relaxed)).filter(|iat| *iat != NOT_OLDER)
    }

    /// The newest list.
    pub(crate) fn document(&self) -> Option<Arc<StatusListToken>> {
        self.held.load().as_ref().map(|held| Arc::clone(&held.document))
    }
}
