//! One status list of the issuer, and the status of a token in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use cp_contracts::TokenStatus;

use crate::KeySet;
use crate::first_request::FirstRequest;
use crate::status_list_token::StatusListToken;

/// The place of one list.
pub(crate) struct Slot {
    #[cfg(feature = "fetch")]
    pub(crate) uri: String,
    held: ArcSwapOption<Held>,
    /// The issue time of the published list if that one is older than the held list, else
    /// [`NOT_OLDER`].
    pub(super) older_published: AtomicI64,
    pub(crate) first_request: FirstRequest,
}

pub(super) const NOT_OLDER: i64 = i64::MIN;

/// The newest genuine list, and whether these keys verify it.
struct Held {
    document: Arc<StatusListToken>,
    keys: Arc<KeySet>,
    is_signed: bool,
}

/// The status of one token in a slot.
pub(crate) enum ListedStatus {
    /// The list has a status.
    Known {
        status: TokenStatus,
        /// The issue time of the list, in seconds since 1970.
        iat: i64,
        /// When the list expires.
        exp: i64,
    },
    /// The status is not known, for this reason.
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

    /// Returns the status of the token with this index in the newest list. The status "valid"
    /// counts only if these keys verify the list.
    pub(crate) fn listed_status(&self, idx: u64, keys: &Arc<KeySet>) -> ListedStatus {
        let held = self.held.load();
        let Some(held) = &*held else {
            return ListedStatus::Unknown("there is no status list yet");
        };
        // The keys seldom change. After a change, the signature is checked once.
        let is_signed = match Arc::ptr_eq(&held.keys, keys) {
            true => held.is_signed,
            false => self.judge_again(held, keys),
        };
        let StatusListToken { list, iat, exp, .. } = &*held.document;
        match list.status(idx) {
            // The list was genuine when it was imported. The withdrawal of its key restores no
            // license.
            Some(TokenStatus::Valid) if !is_signed => {
                ListedStatus::Unknown("the key that signed the status list is no longer known")
            }
            Some(status) => ListedStatus::Known { status, iat: *iat, exp: *exp },
            None => ListedStatus::Unknown("the status list has no entry for this token"),
        }
    }

    fn judge_again(&self, held: &Arc<Held>, keys: &Arc<KeySet>) -> bool {
        let is_signed = held.document.is_by(keys);
        let judged =
            Held { document: Arc::clone(&held.document), keys: Arc::clone(keys), is_signed };
        // A newer list that has arrived meanwhile stays.
        self.held.compare_and_swap(held, Some(Arc::new(judged)));
        is_signed
    }

    /// Holds a list unless a newer one is held, and merges two lists of the same second.
    pub(super) fn hold(
        &self,
        document: &Arc<StatusListToken>,
        keys: &Arc<KeySet>,
        is_signed: bool,
    ) {
        self.held.rcu(|held| {
            let document = match held {
                Some(held) if held.document.iat > document.iat => return Some(Arc::clone(held)),
                Some(held) if held.document.iat == document.iat => {
                    Arc::new(StatusListToken::clone(document).stricter(&held.document))
                }
                _ => Arc::clone(document),
            };
            Some(Arc::new(Held { document, keys: Arc::clone(keys), is_signed }))
        });
    }

    /// Returns the issue time of the published list if that one is older than the held list.
    pub(super) fn older_published(&self) -> Option<i64> {
        Some(self.older_published.load(Relaxed)).filter(|iat| *iat != NOT_OLDER)
    }

    /// Returns the newest list.
    pub(crate) fn document(&self) -> Option<Arc<StatusListToken>> {
        self.held.load().as_ref().map(|held| Arc::clone(&held.document))
    }
}
