//! The work of the heartbeat thread, and its order.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cp_contracts::PoolUsage;
use uuid::Uuid;

use super::tenure::{Tenure, end_of};
use crate::counts;

/// The bounds of the time to the next heartbeat of a lease, in seconds, for any response.
const NEXT: (i64, i64) = (5, 86_400);

/// A request that an asynchronous caller waits for.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The work of the thread. `H` is the app's handle of a lease.
pub(super) struct Schedule<H> {
    leases: HashMap<Uuid, Entry<H>>,
    /// The leases by the time of their next heartbeat.
    due: BTreeSet<(i64, Uuid)>,
    /// The leases by their end.
    ends: BTreeSet<(i64, Uuid)>,
    /// The leases to release.
    pub(super) releases: VecDeque<Arc<Tenure>>,
    /// The leases whose release was refused for a time, by the time of the next attempt, with the number
    /// of refusals.
    refused: BTreeMap<(Instant, Uuid), (Arc<Tenure>, u32)>,
    /// Whether a release was added since the thread last sent one.
    pub(super) has_new_release: bool,
    pub(super) jobs: VecDeque<Job>,
    /// The number of held leases by pool, and the usage since it was last asked for.
    held: BTreeMap<String, i64>,
    usage: BTreeMap<String, PoolUsage>,
    /// Whether the thread has ended.
    pub(super) has_ended: bool,
}

struct Entry<H> {
    tenure: Arc<Tenure>,
    pool: String,
    handle: Weak<H>,
    due: Option<i64>,
    end: Option<i64>,
}

impl<H> Default for Schedule<H> {
    fn default() -> Self {
        Self {
            leases: HashMap::new(),
            due: BTreeSet::new(),
            ends: BTreeSet::new(),
            releases: VecDeque::new(),
            refused: BTreeMap::new(),
            has_new_release: false,
            jobs: VecDeque::new(),
            held: BTreeMap::new(),
            usage: BTreeMap::new(),
            has_ended: false,
        }
    }
}

/// The leases of a dropped client are held no more.
impl<H> Drop for Schedule<H> {
    fn drop(&mut self) {
        self.held.iter().for_each(|(pool, held)| counts::held(pool, held.saturating_neg()));
    }
}

impl<H> Schedule<H> {
    /// Returns the handle of a lease that the app already holds.
    pub(super) fn handle(&self, id: Uuid) -> Option<Arc<H>> {
        self.leases.get(&id)?.handle.upgrade()
    }

    /// Returns whether the app holds a lease.
    pub(super) fn is_held(&self, id: Uuid) -> bool {
        self.leases.get(&id).is_some_and(|entry| entry.handle.strong_count() > 0)
    }

    /// Adds a lease, and cancels its release.
    pub(super) fn add(&mut self, tenure: &Arc<Tenure>, handle: &Arc<H>, now: i64) {
        self.releases.retain(|released| released.id != tenure.id);
        self.refused.retain(|(_, id), _| *id != tenure.id);
        self.remove(tenure.id);
        let pool = tenure.lease().pool.clone();
        let held = self.held.entry(pool.clone()).or_default();
        *held = held.saturating_add(1);
        let usage = self.usage.entry(pool.clone()).or_default();
        usage.peak = usage.peak.max(*held);
        counts::held(&pool, 1);
        let (tenure, id) = (Arc::clone(tenure), tenure.id);
        let handle = Arc::downgrade(handle);
        self.leases.insert(id, Entry { tenure, pool, handle, due: None, end: None });
        self.place(id, now);
    }

    /// Removes a lease. Returns whether it was there.
    pub(super) fn remove(&mut self, id: Uuid) -> bool {
        let Some(entry) = self.leases.remove(&id) else { return false };
        entry.due.map(|due| self.due.remove(&(due, id)));
        entry.end.map(|end| self.ends.remove(&(end, id)));
        if let Some(held) = self.held.get_mut(&entry.pool) {
            *held = held.saturating_sub(1);
            counts::held(&entry.pool, -1);
        }
        true
    }

    /// Plans the next heartbeat and the end of a lease, by its last response.
    pub(super) fn place(&mut self, id: Uuid, now: i64) {
        let Some(entry) = self.leases.get(&id) else { return };
        let lease = entry.tenure.lease();
        let earliest = now.saturating_add(NEXT.0);
        let latest = now.saturating_add(NEXT.1);
        // A borrowed lease needs no heartbeat before its end.
        let due = lease.borrowed_until.is_none();
        let due = due.then(|| lease.next_at.timestamp().clamp(earliest, latest));
        self.plan(id, due, end_of(&lease));
    }

    /// Plans the next attempt after a failed heartbeat.
    pub(super) fn retry_at(&mut self, id: Uuid, due: i64) {
        let end = self.leases.get(&id).and_then(|entry| entry.end);
        self.plan(id, Some(due), end);
    }

    fn plan(&mut self, id: Uuid, due: Option<i64>, end: Option<i64>) {
        let Some(entry) = self.leases.get_mut(&id) else { return };
        entry.due.map(|due| self.due.remove(&(due, id)));
        entry.end.map(|end| self.ends.remove(&(end, id)));
        (entry.due, entry.end) = (due, end);
        due.map(|due| self.due.insert((due, id)));
        end.map(|end| self.ends.insert((end, id)));
    }

    /// Removes the leases that have ended at `now`, and returns them.
    pub(super) fn take_ended(&mut self, now: i64) -> Vec<Arc<Tenure>> {
        let mut ended = Vec::new();
        while let Some((_, id)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            let tenure = self.leases.get(&id).map(|entry| Arc::clone(&entry.tenure));
            // An end without its lease would stay the first one.
            self.ends.pop_first();
            let end = tenure.as_ref().and_then(|tenure| end_of(&tenure.lease()));
            if let (Some(end), Some(entry)) =
                (end.filter(|end| *end > now), self.leases.get_mut(&id))
            {
                // A response has moved the end, and is about to be planned.
                entry.end = Some(end);
                self.ends.insert((end, id));
                continue;
            }
            self.remove(id);
            ended.extend(tenure);
        }
        ended
    }

    /// Returns the lease whose heartbeat is due first, if it is due at `now`. The caller plans
    /// its next heartbeat.
    pub(super) fn take_due(&mut self, now: i64) -> Option<Arc<Tenure>> {
        while let Some((_, id)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            if let Some(entry) = self.leases.get_mut(&id) {
                entry.due = None;
                return Some(Arc::clone(&entry.tenure));
            }
        }
        None
    }

    /// Returns the time of the first heartbeat.
    pub(super) fn first_due(&self) -> Option<i64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Returns the time of the first end.
    pub(super) fn first_end(&self) -> Option<i64> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// Returns the next release that still frees a seat at `now`, and the number of its refusals.
    pub(super) fn take_release(&mut self, now: i64) -> Option<(Arc<Tenure>, u32)> {
        self.has_new_release = false;
        loop {
            let is_due = |(due, _): &(Instant, Uuid)| *due <= Instant::now();
            let refused = self.refused.first_entry().filter(|entry| is_due(entry.key()));
            let (tenure, refusals) = match refused {
                Some(entry) => entry.remove(),
                None => (self.releases.pop_front()?, 0),
            };
            if tenure.needs_release(now) {
                return Some((tenure, refusals));
            }
        }
    }

    /// Adds a release that was refused this many times, for another attempt after this time.
    pub(super) fn release_after(&mut self, pause: Duration, tenure: Arc<Tenure>, refusals: u32) {
        let now = Instant::now();
        let due = now.checked_add(pause).unwrap_or(now);
        self.refused.insert((due, tenure.id), (tenure, refusals));
    }

    /// Returns the time until the next release, or `None` without one.
    pub(super) fn release_in(&self) -> Option<Duration> {
        if !self.releases.is_empty() {
            return Some(Duration::ZERO);
        }
        let (due, _) = self.refused.keys().next()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Forgets all releases.
    pub(super) fn clear_releases(&mut self) {
        self.releases.clear();
        self.refused.clear();
    }

    /// Counts a holder that was refused a seat.
    pub(super) fn count_refusal(&mut self, pool: &str) {
        let usage = self.usage.entry(pool.to_owned()).or_default();
        usage.refused = usage.refused.saturating_add(1);
    }

    /// Returns the usage since the last call.
    pub(super) fn take_usage(&mut self) -> BTreeMap<String, PoolUsage> {
        // Held leases count from now on, too.
        let held = self.held.iter().filter(|(_, held)| **held > 0);
        let next = held
            .map(|(pool, held)| (pool.clone(), PoolUsage { peak: *held, ..PoolUsage::default() }));
        std::mem::replace(&mut self.usage, next.collect())
    }
}
