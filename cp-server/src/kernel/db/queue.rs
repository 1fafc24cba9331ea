//! A queue that is fair per share: shares take turns, and each is served in the order of arrival.
//!
//! # Design
//! One queue in the order of arrival was rejected: a share with two hundred waiting requests makes
//! the request of another share wait for all of them. Here that request waits for one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use uuid::Uuid;

/// What takes turns: an organization, a caller of the platform, or the server's own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share(Uuid);

impl Share {
    /// The server's own work: jobs, the start, the command line.
    pub const SERVER: Self = Self(Uuid::max());

    pub fn of(id: Uuid) -> Self {
        Self(id)
    }
}

/// Items that wait, by share.
pub(super) struct Queue<T> {
    lanes: HashMap<Share, Lane<T>>,
    /// The shares that have items, in the order of their turns.
    turns: VecDeque<Share>,
    len: usize,
}

struct Lane<T> {
    items: VecDeque<T>,
    /// How long the last turn of the share took, as long as the share has items.
    cost: Duration,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), turns: VecDeque::new(), len: 0 }
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

    /// The next item for which `is_there` holds, and its share. The others are dropped; an item that
    /// is dropped uses no turn.
    pub(super) fn pop(&mut self, is_there: impl Fn(&T) -> bool) -> Option<(Share, T)> {
        while let Some(share) = self.turns.pop_front() {
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
                return Some((share, item));
            }
        }
        None
    }

    /// How long the last turn of the share that is next took.
    pub(super) fn next_cost(&self) -> Duration {
        let lane = self.turns.front().and_then(|share| self.lanes.get(share));
        lane.map_or(Duration::ZERO, |lane| lane.cost)
    }

    /// Notes how long a turn of the share took.
    pub(super) fn took(&mut self, share: Share, time: Duration) {
        if let Some(lane) = self.lanes.get_mut(&share) {
            lane.cost = time;
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
    fn a_share_with_many_items_costs_another_one_turn() {
        let mut queue = Queue::default();
        for n in 0..200 {
            queue.push(share(1), n);
        }
        queue.push(share(2), 1000);
        let all = |_: &i32| true;
        assert_eq!(queue.pop(all), Some((share(1), 0)));
        assert_eq!(queue.pop(all), Some((share(2), 1000)));
        assert_eq!(queue.pop(all), Some((share(1), 1)));
        assert_eq!(queue.len(), 198);
    }

    #[test]
    fn an_item_that_is_not_there_uses_no_turn() {
        let mut queue = Queue::default();
        for n in [1, 3, 4] {
            queue.push(share(1), n);
        }
        queue.push(share(2), 5);
        queue.push(share(2), 6);
        let even = |n: &i32| n % 2 == 0;
        assert_eq!(queue.pop(even), Some((share(1), 4)));
        assert_eq!(queue.pop(even), Some((share(2), 6)));
        assert_eq!(queue.pop(even), None);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_cost_of_a_share_is_forgotten_when_it_has_no_items() {
        let mut queue = Queue::default();
        let (all, long) = (|_: &i32| true, Duration::from_millis(50));
        queue.push(share(1), 1);
        queue.push(share(1), 2);
        queue.pop(all);
        queue.took(share(1), long);
        assert_eq!(queue.next_cost(), long);
        queue.pop(all);
        queue.took(share(1), long);
        queue.push(share(1), 3);
        assert_eq!(queue.next_cost(), Duration::ZERO);
    }

    proptest! {
        /// Each item comes out once, in its share's order; and while a share waits, no other share is
        /// served twice.
        #[test]
        fn shares_take_turns(pushes in prop::collection::vec(0..5_u128, 0..60)) {
            let mut queue = Queue::default();
            for (n, of) in pushes.iter().enumerate() {
                queue.push(share(*of), n);
            }
            let mut served = Vec::new();
            while let Some(next) = queue.pop(|_| true) {
                served.push(next);
            }
            for of in 0..5 {
                let own = served.iter().filter(|(by, _)| *by == share(of)).map(|(_, n)| *n);
                let expected = pushes.iter().enumerate().filter(|(_, by)| **by == of).map(|(n, _)| n);
                prop_assert_eq!(own.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
                let turns: Vec<_> =
                    served.iter().enumerate().filter(|(_, (by, _))| *by == share(of)).map(|(n, _)| n).collect();
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
