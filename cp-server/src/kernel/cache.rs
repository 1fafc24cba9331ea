//! A short-lived cache of answers.
//!
//! # Design
//! An answer is valid while nothing was committed on this replica. A commit advances the generation
//! before its own response is sent, so a caller never reads a state from before its own change.
//! Commits of other replicas and of the command line become visible when an entry expires.
//!
//! quick_cache bounds the memory. It compares neither generations nor the injected clock, so this
//! file does.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use quick_cache::sync;

const AT_MOST: usize = 10_000;

/// Counts the commits of this replica.
#[derive(Debug, Default)]
pub struct Generation(AtomicU64);

impl Generation {
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub fn advance(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Answers by request. A full cache drops the answers that are seldom requested.
#[derive(Debug)]
pub struct Cache<K, V>(sync::Cache<K, Entry<V>>);

#[derive(Clone, Debug)]
struct Entry<V> {
    value: V,
    generation: u64,
    until: DateTime<Utc>,
}

impl<K: Eq + Hash, V: Clone> Default for Cache<K, V> {
    fn default() -> Self {
        Self(sync::Cache::new(AT_MOST))
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub fn recall(&self, key: &K, generation: u64, now: DateTime<Utc>) -> Option<V> {
        let entry = self.0.get(key)?;
        (entry.generation == generation && now < entry.until).then_some(entry.value)
    }

    /// Keeps an answer. Callers read `generation` *before* they look up the answer.
    pub fn keep(&self, key: K, value: V, generation: u64, until: DateTime<Utc>) {
        self.0.insert(key, Entry { value, generation, until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_expires_with_a_commit_or_after_a_second() {
        let (memory, generation) = (Cache::default(), Generation::default());
        let now = DateTime::UNIX_EPOCH;
        let until = now + chrono::TimeDelta::seconds(1);
        let before = generation.now();
        memory.keep("anna", 1, before, until);
        assert_eq!(memory.recall(&"anna", generation.now(), now), Some(1));
        assert_eq!(memory.recall(&"bert", generation.now(), now), None);
        assert_eq!(memory.recall(&"anna", generation.now(), until), None);
        generation.advance();
        assert_eq!(memory.recall(&"anna", generation.now(), now), None);
        // The answer was looked up before the commit and kept after it: it must not be used either.
        memory.keep("anna", 1, before, until);
        assert_eq!(memory.recall(&"anna", generation.now(), now), None);
    }

    #[test]
    fn full_cache_keeps_requested_entries() {
        let (memory, now) = (Cache::default(), DateTime::UNIX_EPOCH);
        let until = now + chrono::TimeDelta::seconds(1);
        memory.keep(0, "often", 0, until);
        for key in 1..100_000 {
            memory.keep(key, "once", 0, until);
            assert_eq!(memory.recall(&0, 0, now), Some("often"));
        }
        assert!(memory.0.len() <= AT_MOST, "{}", memory.0.len());
    }
}
