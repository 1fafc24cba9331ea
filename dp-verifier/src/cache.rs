//! The cache of verified tokens.
//!
//! # Design
//!
//! A data plane sees the same few tokens with every request. The cache finds an entry by a keyed
//! hash of the token's last bytes, which are signature and differ between any two tokens. It then
//! compares the *whole* token: caches keyed by a part of the token have returned the claims of
//! other people. The cache keeps only successes, so only holders of genuine tokens can displace an
//! entry. Licenses and leases have a cache each, so neither displaces the other.
//!
//! A hit allocates nothing and takes no lock. The times and the status are judged again, and the
//! key set must be the one that verified the token. So a cached token ends exactly when an uncached
//! one does.
//!
//! The table is set-associative, like a processor's cache, because its size is then fixed: it needs
//! no list of uses and no sweeps.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;

use crate::KeySet;

/// The number of tokens with the same hash bits that fit side by side.
const WAYS: usize = 4;

/// The length of the hashed end of a token, in bytes.
const TAIL: usize = 32;

/// The cache of one kind of token, with the verified content of each.
pub(crate) struct Cache<T> {
    buckets: Box<[ArcSwap<Bucket<T>>]>,
    hasher: RandomState,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Entries with the same hash bits, the newest first.
type Bucket<T> = [Option<Arc<Entry<T>>>; WAYS];

struct Entry<T> {
    hash: u64,
    token: Box<str>,
    keys: Arc<KeySet>,
    content: T,
}

impl<T> Entry<T> {
    fn is(&self, hash: u64, token: &str) -> bool {
        self.hash == hash && *self.token == *token
    }
}

/// The hits and misses of a verifier's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// The number of tokens in the cache.
    pub hits: u64,
    /// The number of tokens that were not in the cache and were verified, with any outcome.
    pub misses: u64,
}

impl<T: Clone> Cache<T> {
    /// Creates a cache of at most this many tokens, rounded up to a multiple of 4. Returns `None`
    /// for 0.
    pub(crate) fn new(entries: usize) -> Option<Self> {
        let buckets: Box<[_]> = (0..entries.div_ceil(WAYS))
            .map(|_| ArcSwap::from_pointee([const { None }; WAYS]))
            .collect();
        let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
        (entries > 0).then(|| Self { buckets, hasher: RandomState::new(), hits, misses })
    }

    /// Returns the content of a token that these keys have verified. The caller judges it again.
    pub(crate) fn find(&self, token: &str, keys: &Arc<KeySet>) -> Option<T> {
        let found = self.place(token).and_then(|(hash, bucket)| {
            let bucket = bucket.load();
            let entry = bucket.iter().flatten().find(|entry| entry.is(hash, token))?;
            Arc::ptr_eq(&entry.keys, keys).then(|| entry.content.clone())
        });
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Relaxed);
        found
    }

    /// Stores a token that these keys have just verified.
    pub(crate) fn keep(&self, token: &str, keys: &Arc<KeySet>, content: &T) {
        let Some((hash, bucket)) = self.place(token) else { return };
        let entry = Arc::new(Entry {
            hash,
            token: token.into(),
            keys: Arc::clone(keys),
            content: content.clone(),
        });
        bucket.rcu(|bucket| {
            let others = bucket.iter().filter(|entry| {
                entry
                    .as_ref()
                    .is_some_and(|entry| Arc::ptr_eq(&entry.keys, keys) && !entry.is(hash, token))
            });
            let mut kept = std::iter::once(Some(Arc::clone(&entry))).chain(others.cloned());
            std::array::from_fn(|_| kept.next().flatten()) as Bucket<T>
        });
    }

    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats { hits: self.hits.load(Relaxed), misses: self.misses.load(Relaxed) }
    }

    /// Returns the place of a token, or `None` for a text that is too short for a token.
    fn place(&self, token: &str) -> Option<(u64, &ArcSwap<Bucket<T>>)> {
        let tail: &[u8; TAIL] = token.as_bytes().last_chunk()?;
        let hash = self.hasher.hash_one(tail);
        let buckets = u64::try_from(self.buckets.len()).ok()?;
        let index = usize::try_from(hash.checked_rem(buckets)?).ok()?;
        Some((hash, self.buckets.get(index)?))
    }
}
