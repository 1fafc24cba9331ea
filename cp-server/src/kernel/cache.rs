//! A short-lived cache of answers.
//!
//! # Design
//!
//! An answer is valid while nothing was committed on this replica. A commit advances the generation
//! before its own response is sent, so a caller never reads a state from before its own change.
//! Commits of other replicas and of the command line become visible when an entry expires.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

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

/// Answers by request.
#[derive(Debug)]
pub struct Cache<K, V>(Mutex<HashMap<K, Entry<V>>>);

#[derive(Debug)]
struct Entry<V> {
    value: V,
    generation: u64,
    until: DateTime<Utc>,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub fn recall(&self, key: &K, generation: u64, now: DateTime<Utc>) -> Option<V> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(key)?;
        (entry.generation == generation && now < entry.until).then(|| entry.value.clone())
    }

    /// Keeps an answer. Callers read `generation` *before* they look up the answer.
    pub fn keep(&self, key: K, value: V, generation: u64, until: DateTime<Utc>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= AT_MOST {
            entries.clear();
        }
        entries.insert(key, Entry { value, generation, until });
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
}
