//! A short-lived cache of answers.
//!
//! # Design
//! An answer is valid while nothing was committed on this replica. A commit advances the generation
//! before its own response is sent, so a caller never reads a state from before its own change.
//! Commits of other replicas and of the command line become visible when an entry expires.
//!
//! Of the requests that miss the same answer at once, one looks it up and the others wait for it.
//! Otherwise each end of an answer that many ask for would cost as many look-ups as there are clients.
//!
//! quick_cache bounds the memory. It compares neither generations nor the injected clock, so this
//! file does.

use std::array;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use quick_cache::sync::{self, EntryAction, EntryResult};
use quick_cache::{DefaultHashBuilder, UnitWeighter};

use crate::kernel::access::ids::OrganizationId;

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

/// The number of organizations' counters. Organizations that share one only invalidate more.
const SLOTS: usize = 1024;

/// Counts the commits of this replica, apart for organizations whose commits matter nowhere else.
#[derive(Debug)]
pub struct Generations {
    /// All commits.
    all: Generation,
    /// The commits that may matter in any organization.
    everywhere: Generation,
    organizations: [Generation; SLOTS],
    hasher: RandomState,
}

impl Default for Generations {
    fn default() -> Self {
        Self {
            all: Generation::default(),
            everywhere: Generation::default(),
            organizations: array::from_fn(|_| Generation::default()),
            hasher: RandomState::new(),
        }
    }
}

impl Generations {
    /// Returns the number of all commits.
    pub fn now(&self) -> u64 {
        self.all.now()
    }

    /// Counts a commit, which matters in this organization only.
    pub fn advance(&self, organization: Option<OrganizationId>) {
        // First: a mark that sees the commit in its own counter sees it here too, and is refused.
        self.all.advance();
        match organization {
            Some(organization) => self.organizations[self.slot(organization)].advance(),
            None => self.everywhere.advance(),
        }
    }

    /// Returns a mark for what was read in these organizations since `now` returned `since`. `None`
    /// when something was committed meanwhile.
    pub fn mark(
        &self,
        organizations: impl Iterator<Item = OrganizationId>,
        since: u64,
    ) -> Option<Mark> {
        let slots: Arc<[_]> = organizations
            .map(|organization| self.slot(organization))
            .map(|slot| (slot, self.organizations[slot].now()))
            .collect();
        let mark = Mark { everywhere: self.everywhere.now(), organizations: slots };
        (self.now() == since).then_some(mark)
    }

    /// Returns a mark for what is read in the organization from now on: a commit that the read misses
    /// ends it.
    pub fn mark_now(&self, organization: OrganizationId) -> Mark {
        let slot = self.slot(organization);
        let organizations = Arc::from([(slot, self.organizations[slot].now())]);
        Mark { everywhere: self.everywhere.now(), organizations }
    }

    /// Whether nothing was committed that matters to what was read at the mark.
    pub fn is_current(&self, mark: &Mark) -> bool {
        mark.everywhere == self.everywhere.now()
            && mark.organizations.iter().all(|(slot, at)| self.organizations[*slot].now() == *at)
    }

    fn slot(&self, organization: OrganizationId) -> usize {
        usize::try_from(self.hasher.hash_one(organization)).unwrap_or(0) % SLOTS
    }
}

/// The commits before something was read in some organizations.
#[derive(Clone, Debug)]
pub struct Mark {
    everywhere: u64,
    organizations: Arc<[(usize, u64)]>,
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

    /// Returns the answer if it is valid, or the turn to look it up. With `waits`, waits while another
    /// request has the turn. A request with a connection must not wait: the other may need one.
    pub async fn ask(
        &self,
        key: K,
        now: DateTime<Utc>,
        waits: bool,
        is_valid: impl Fn(&V) -> bool,
    ) -> Asked<'_, K, V>
    where
        K: Clone,
    {
        let valid = |entry: &Entry<V>| now < entry.until && is_valid(&entry.value);
        if let Some(entry) = self.0.get(&key).filter(|entry| valid(entry)) {
            return Asked::Known(entry.value);
        }
        if !waits {
            return Asked::Missing(Turn { cache: self, key, guard: None });
        }
        let found = self.0.entry_async(&key, |_, entry| match valid(entry) {
            true => EntryAction::Retain(entry.value.clone()),
            false => EntryAction::ReplaceWithGuard,
        });
        let guard = match found.await {
            EntryResult::Retained(value) => return Asked::Known(value),
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => Some(guard),
            EntryResult::Removed(..) | EntryResult::Timeout => None,
        };
        Asked::Missing(Turn { cache: self, key, guard })
    }
}

/// What a cache answers.
pub enum Asked<'c, K, V> {
    Known(V),
    Missing(Turn<'c, K, V>),
}

type Guard<'c, K, V> = sync::PlaceholderGuard<
    'c,
    K,
    Entry<V>,
    UnitWeighter,
    DefaultHashBuilder,
    sync::DefaultLifecycle<K, Entry<V>>,
>;

/// The turn to look up an answer. Dropped, it passes to the next request that waits.
pub struct Turn<'c, K, V> {
    cache: &'c Cache<K, V>,
    key: K,
    guard: Option<Guard<'c, K, V>>,
}

impl<K: Eq + Hash, V: Clone> Turn<'_, K, V> {
    /// Keeps the answer, for the requests that wait too.
    pub fn keep(self, value: V, until: DateTime<Utc>) {
        let Self { cache, key, guard } = self;
        let entry = Entry { value, generation: 0, until };
        match guard {
            // It fails when someone else has kept an answer meanwhile.
            Some(guard) => drop(guard.insert(entry)),
            None => cache.0.insert(key, entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

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
    fn commit_in_an_organization_invalidates_what_depends_on_it() {
        let generations = Generations::default();
        let organization = |n| OrganizationId(uuid::Uuid::from_u128(n));
        let other = (2..).map(organization);
        let mut other =
            other.filter(|one| generations.slot(*one) != generations.slot(organization(1)));
        let mark = |since| generations.mark([organization(1)].into_iter(), since);
        let before = mark(generations.now()).unwrap();
        generations.advance(other.next());
        assert!(generations.is_current(&before));
        generations.advance(Some(organization(1)));
        assert!(!generations.is_current(&before));
        let before = mark(generations.now()).unwrap();
        generations.advance(None);
        assert!(!generations.is_current(&before));
        // What another commit precedes is kept, if it matters elsewhere only.
        let now = generations.mark_now(organization(1));
        generations.advance(other.next());
        assert!(generations.is_current(&now));
        for place in [Some(organization(1)), None] {
            let now = generations.mark_now(organization(1));
            generations.advance(place);
            assert!(!generations.is_current(&now), "{place:?}");
        }
        // What was read before a commit is not kept after it.
        let since = generations.now();
        generations.advance(other.next());
        assert!(mark(since).is_none());
    }

    #[tokio::test]
    async fn one_request_looks_up_what_others_wait_for() {
        let (memory, now) = (Cache::<_, i32>::default(), DateTime::UNIX_EPOCH);
        let until = now + chrono::TimeDelta::seconds(1);
        let ask = |now, waits| memory.ask("anna", now, waits, |_| true);
        let Asked::Missing(first) = ask(now, true).await else { panic!("nothing is known") };
        let mut second = pin!(ask(now, true));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        // A request that must not wait looks it up too.
        assert!(matches!(ask(now, false).await, Asked::Missing(_)));
        // The turn of a request that fails passes on.
        drop(first);
        let Asked::Missing(turn) = second.await else { panic!("the first one kept nothing") };
        let mut third = pin!(ask(now, true));
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        turn.keep(1, until);
        assert!(matches!(third.await, Asked::Known(1)));
        // What is no longer valid is looked up again.
        let outdated = memory.ask("anna", now, true, |_| false).await;
        assert!(matches!(outdated, Asked::Missing(_)));
        drop(outdated);
        assert!(matches!(ask(now, true).await, Asked::Missing(_)));
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
