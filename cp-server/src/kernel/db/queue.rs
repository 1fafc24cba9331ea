//! A queue that is fair per share: shares take turns, and each is served in order of arrival.
//!
//! # Design
//!
//! Rejected: one queue in order of arrival, in which one waiting request of a share waits for two
//! hundred requests of another. Here that request waits for one.
//!
//! Turns differ in length. A share that sends long turns one after the other, such as batches of
//! usage, would delay each request of another share by part of a turn. So after a long turn, a
//! share rests for twice that time while other shares are active. Most of their requests then find
//! the writer idle. Rejected: splitting long turns, because they are transactions.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// The maximum number of members of a group.
pub(super) const MOST: usize = 64;

/// The times that end the growth of a group: its first member waits for the last.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// How long a group grows at least.
    pub time: Duration,
    /// The length of a turn for which a group is never too old.
    pub turn: Duration,
}

impl Growth {
    /// Whether a group of that age commits before a turn of that length. Its commit is expected to
    /// take as long as the last one.
    pub(super) fn is_over(self, age: Duration, turn: Duration, commit: Duration) -> bool {
        turn > commit.max(self.turn) || age > commit.max(self.time)
    }
}

impl Default for Growth {
    fn default() -> Self {
        Self { time: Duration::from_millis(25), turn: SHORT }
    }
}

/// The unit of fairness: an organization, a caller of the platform, or the server's own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share(Uuid);

impl Share {
    /// The server's own work: jobs, the start, the command line.
    pub const SERVER: Self = Self(Uuid::max());

    pub fn of(id: Uuid) -> Self {
        Self(id)
    }
}

/// The turn length, without its commit, above which a share rests: about the duration of a commit
/// to a fast disk.
const SHORT: Duration = Duration::from_millis(5);
/// The rest after a long turn, as a multiple of its length. Long turns of one share use at most a
/// third of the writer's time.
const REST: u32 = 2;
const LONGEST_REST: Duration = Duration::from_secs(1);
/// How long a share counts as active after its turn.
const ACTIVE: Duration = Duration::from_secs(1);

/// Waiting items, by share.
pub(super) struct Queue<T> {
    lanes: HashMap<Share, Lane<T>>,
    /// The shares with waiting items, in the order of their turns.
    turns: VecDeque<Share>,
    len: usize,
    /// The instants until which shares rest after a long turn.
    resting: HashMap<Share, Instant>,
    /// The share of the last turn, except the server's own work.
    last: Option<Share>,
    /// The instant when the turn last passed to another share.
    alternated: Option<Instant>,
}

struct Lane<T> {
    items: VecDeque<T>,
    /// The length of the share's last turn, kept while the share has items.
    cost: Duration,
}

/// The result of [`Queue::pop`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Item(Share, T),
    /// All shares with items rest until this instant.
    Rest(Instant),
    Empty,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            len: 0,
            resting: HashMap::new(),
            last: None,
            alternated: None,
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, share: Share, item: T) {
        let lane = self.lanes.entry(share).or_insert_with(|| {
            self.turns.push_back(share);
            Lane { items: VecDeque::new(), cost: Duration::ZERO }
        });
        lane.items.push_back(item);
        self.len += 1;
    }

    /// Returns the next item for which `is_there` holds. Other items are dropped and use no turn.
    pub(super) fn pop(&mut self, now: Instant, is_there: impl Fn(&T) -> bool) -> Next<T> {
        while let Some(at) = self.next(now) {
            let Some(share) = self.turns.remove(at) else { break };
            let Some(lane) = self.lanes.get_mut(&share) else { continue };
            let mut found = None;
            while found.is_none()
                && let Some(item) = lane.items.pop_front()
            {
                self.len -= 1;
                found = Some(item).filter(&is_there);
            }
            if lane.items.is_empty() {
                self.lanes.remove(&share);
            } else {
                self.turns.push_back(share);
            }
            if let Some(item) = found {
                return Next::Item(share, item);
            }
        }
        let rests = self.turns.iter().filter_map(|share| self.resting.get(share));
        rests.min().map_or(Next::Empty, |until| Next::Rest(*until))
    }

    /// Returns the position of the first share that does not rest.
    fn next(&self, now: Instant) -> Option<usize> {
        let rests = |share| self.resting.get(share).is_some_and(|until| *until > now);
        self.turns.iter().position(|share| !rests(share))
    }

    /// Returns the length of the last turn of the next share.
    pub(super) fn next_cost(&self, now: Instant) -> Duration {
        let share = self.next(now).and_then(|at| self.turns.get(at));
        let lane = share.and_then(|share| self.lanes.get(share));
        lane.map_or(Duration::ZERO, |lane| lane.cost)
    }

    /// Records the length of a turn that ends now. The only active share needs no rest, nor does
    /// the server's own work.
    pub(super) fn took(&mut self, share: Share, time: Duration, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(&share) {
            lane.cost = time;
        }
        if share == Share::SERVER {
            return;
        }
        if self.last.replace(share).is_some_and(|last| last != share) {
            self.alternated = Some(now);
        }
        let has_others = self.alternated.is_some_and(|at| now.duration_since(at) < ACTIVE);
        if time > SHORT && has_others {
            self.resting.retain(|_, until| *until > now);
            self.resting.insert(share, now + (time * REST).min(LONGEST_REST));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(n: u128) -> Share {
        Share::of(Uuid::from_u128(n))
    }

    #[test]
    fn share_with_many_items_costs_another_share_one_turn() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for n in 0..200 {
            queue.push(share(1), n);
        }
        queue.push(share(2), 1000);
        let all = |_: &i32| true;
        assert_eq!(queue.pop(now, all), Next::Item(share(1), 0));
        assert_eq!(queue.pop(now, all), Next::Item(share(2), 1000));
        assert_eq!(queue.pop(now, all), Next::Item(share(1), 1));
        assert_eq!(queue.len(), 198);
    }

    #[test]
    fn dropped_item_uses_no_turn() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for n in [1, 3, 4] {
            queue.push(share(1), n);
        }
        queue.push(share(2), 5);
        queue.push(share(2), 6);
        let even = |n: &i32| n % 2 == 0;
        assert_eq!(queue.pop(now, even), Next::Item(share(1), 4));
        assert_eq!(queue.pop(now, even), Next::Item(share(2), 6));
        assert_eq!(queue.pop(now, even), Next::Empty);
        assert!(queue.is_empty());
    }

    #[test]
    fn share_rests_after_a_long_turn_while_others_are_active() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        let (all, long) = (|_: &i32| true, Duration::from_millis(40));
        let mut turn = |queue: &mut Queue<i32>, of, time| {
            queue.push(share(of), 1);
            assert_eq!(queue.pop(now, all), Next::Item(share(of), 1));
            now += time;
            queue.took(share(of), time, now);
            now
        };
        // A share that is alone does not rest.
        for _ in 0..3 {
            turn(&mut queue, 1, long);
        }
        turn(&mut queue, 2, SHORT);
        let ended = turn(&mut queue, 1, long);
        queue.push(share(1), 2);
        queue.push(share(2), 3);
        assert_eq!(queue.next_cost(ended), Duration::ZERO);
        assert_eq!(queue.pop(ended, all), Next::Item(share(2), 3));
        assert_eq!(queue.pop(ended, all), Next::Rest(ended + 2 * long));
        let rested = ended + 2 * long;
        assert_eq!(queue.pop(rested, all), Next::Item(share(1), 2));
        // The other shares are no longer active.
        let later = rested + 2 * ACTIVE;
        queue.took(share(1), long, later);
        queue.push(share(1), 4);
        assert_eq!(queue.pop(later, all), Next::Item(share(1), 4));
    }

    proptest! {
        /// Each item comes out once, in its share's order; and while a share waits, no other share is
        /// served twice.
        #[test]
        fn shares_take_turns(pushes in prop::collection::vec(0..5_u128, 0..60)) {
            let (mut queue, now) = (Queue::default(), Instant::now());
            for (n, of) in pushes.iter().enumerate() {
                queue.push(share(*of), n);
            }
            let mut served = Vec::new();
            while let Next::Item(by, n) = queue.pop(now, |_| true) {
                served.push((by, n));
            }
            for of in 0..5 {
                let own: Vec<_> =
                    served.iter().filter(|(by, _)| *by == share(of)).map(|(_, n)| *n).collect();
                let pushed = pushes.iter().enumerate().filter(|(_, by)| **by == of);
                prop_assert_eq!(own, pushed.map(|(n, _)| n).collect::<Vec<_>>());
                let turns = served.iter().enumerate().filter(|(_, (by, _))| *by == share(of));
                let turns: Vec<_> = turns.map(|(at, _)| at).collect();
                for pair in turns.windows(2) {
                    let between = &served[pair[0] + 1..pair[1]];
                    let mut others: Vec<_> = between.iter().map(|(by, _)| by.0).collect();
                    others.sort();
                    others.dedup();
                    prop_assert_eq!(others.len(), between.len());
                }
            }
        }
    }
}
