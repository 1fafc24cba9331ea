//! Tokens that were found good a moment ago.
//!
//! # Design
//!
//! A data plane sees the same few tokens with every request. An entry is found by a keyed hash of
//! the token's last bytes, which are signature and differ between any two tokens, and taken only
//! when the *whole* token is equal: caches keyed by a part of the token have handed out other
//! people's claims. Only successes are kept, so nobody without a genuine token can displace one. A
//! hit allocates nothing and takes no lock; the times and the status are judged again and the key set
//! must be the one that verified, so that a cached token ends exactly when an uncached one does.
//!
//! The table is set-associative, like a processor's cache, because its bound is then its shape: no
//! list of uses to maintain, no sweeping.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;

use crate::{KeySet, LicenseContext};

/// How many tokens with the same hash bits may be kept side by side.
const WAYS: usize = 4;

/// How much of a token's end is hashed, in bytes.
const TAIL: usize = 32;

pub(crate) struct Cache {
    buckets: Box<[ArcSwap<Bucket>]>,
    hasher: RandomState,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Newest first.
type Bucket = [Option<Arc<Entry>>; WAYS];

struct Entry {
    hash: u64,
    token: Box<str>,
    keys: Arc<KeySet>,
    license: LicenseContext,
}

impl Entry {
    fn is(&self, hash: u64, token: &str) -> bool {
        self.hash == hash && *self.token == *token
    }
}

/// How often a verifier found a token in its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Tokens that were found.
    pub hits: u64,
    /// Tokens that were not found and had to be verified, whatever came of it.
    pub misses: u64,
}

impl Cache {
    /// A cache of at most this many tokens, rounded up to a multiple of 4; none for 0.
    pub(crate) fn new(entries: usize) -> Option<Self> {
        let buckets: Box<[_]> = (0..entries.div_ceil(WAYS))
            .map(|_| ArcSwap::from_pointee([const { None }; WAYS]))
            .collect();
        let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
        (entries > 0).then(|| Self { buckets, hasher: RandomState::new(), hits, misses })
    }

    /// The license of a token that these keys have verified, to be judged anew.
    pub(crate) fn find(&self, token: &str, keys: &Arc<KeySet>) -> Option<LicenseContext> {
        let found = self.place(token).and_then(|(hash, bucket)| {
            let bucket = bucket.load();
            let entry = bucket.iter().flatten().find(|entry| entry.is(hash, token))?;
            Arc::ptr_eq(&entry.keys, keys).then(|| entry.license.clone())
        });
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Relaxed);
        found
    }

    /// Keeps a token that these keys have just verified.
    pub(crate) fn keep(&self, token: &str, keys: &Arc<KeySet>, license: &LicenseContext) {
        let Some((hash, bucket)) = self.place(token) else { return };
        let entry = Arc::new(Entry {
            hash,
            token: token.into(),
            keys: Arc::clone(keys),
            license: license.clone(),
        });
        bucket.rcu(|bucket| {
            let others = bucket.iter().filter(|entry| {
                entry
                    .as_ref()
                    .is_some_and(|entry| Arc::ptr_eq(&entry.keys, keys) && !entry.is(hash, token))
            });
            let mut kept = std::iter::once(Some(Arc::clone(&entry))).chain(others.cloned());
            std::array::from_fn(|_| kept.next().flatten()) as Bucket
        });
    }

    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats { hits: self.hits.load(Relaxed), misses: self.misses.load(Relaxed) }
    }

    /// Where a token is kept; none for a text that is too short to be one.
    fn place(&self, token: &str) -> Option<(u64, &ArcSwap<Bucket>)> {
        let tail: &[u8; TAIL] = token.as_bytes().last_chunk()?;
        let hash = self.hasher.hash_one(tail);
        let buckets = u64::try_from(self.buckets.len()).ok()?;
        let index = usize::try_from(hash.checked_rem(buckets)?).ok()?;
        Some((hash, self.buckets.get(index)?))
    }
}
