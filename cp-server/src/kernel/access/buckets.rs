//! How fast somebody may go: buckets that fill evenly, kept in memory that does not grow.
//!
//! # Design
//! The generic cell rate algorithm keeps one instant for each key: when its bucket is full again.
//! Keys live in two generations. A key that is used moves into the young one; when that is as large
//! as it may be, it becomes the old one, and the old one is gone. Whoever goes on sending stays
//! known, and a million addresses cost what a hundred thousand do: the oldest are forgotten, which
//! is to their advantage and to nobody else's harm.
//!
//! Each replica counts for itself: N replicas admit at most N times a rate.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};

/// Keys of one generation; there are two.
const AT_MOST: usize = 100_000;
const MINUTE: i64 = 60_000_000;

/// So many in a minute, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_minute: u32,
    pub burst: u32,
}

/// A rate, or none.
pub type Limit = Option<Rate>;

impl Rate {
    pub const fn new(per_minute: u32, burst: u32) -> Self {
        Self { per_minute, burst }
    }

    /// Microseconds from one to the next.
    fn pause(self) -> i64 {
        (MINUTE / i64::from(self.per_minute)).max(1)
    }

    /// Seconds in which an empty bucket is full again.
    pub fn window(self) -> u32 {
        seconds(self.pause() * i64::from(self.burst))
    }
}

impl FromStr for Rate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let read = || {
            let (minute, burst) = text.split_once(':')?;
            Some((minute.parse().ok()?, burst.parse().ok()?))
        };
        let (per_minute, burst) =
            read().context("it takes PER_MINUTE:BURST, such as 600:100, or off")?;
        let sound = 1..=6_000_000;
        if !sound.contains(&per_minute) || !sound.contains(&burst) {
            bail!("both numbers are from 1 to 6000000");
        }
        Ok(Self { per_minute, burst })
    }
}

/// Buckets of one rate, by key.
#[derive(Debug)]
pub struct Buckets<K> {
    limit: Limit,
    kept: Mutex<Kept<K>>,
}

#[derive(Debug)]
struct Kept<K> {
    young: HashMap<K, i64>,
    old: HashMap<K, i64>,
}

/// There is no room, and for how long: seconds, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    pub rate: Rate,
    pub wait: u32,
}

impl<K: Eq + Hash + Copy> Buckets<K> {
    pub fn new(limit: Limit) -> Self {
        Self { limit, kept: Mutex::new(Kept { young: HashMap::new(), old: HashMap::new() }) }
    }

    /// Takes one, if there is room.
    pub fn take(&self, key: K, now: DateTime<Utc>) -> Result<(), Full> {
        self.ask(key, now, true)
    }

    /// Returns one that was taken.
    pub fn give_back(&self, key: K) {
        let Some(rate) = self.limit else { return };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_again) = kept.find(&key) {
            kept.keep(key, full_again - rate.pause());
        }
    }

    /// Whether one could be taken.
    pub fn room(&self, key: K, now: DateTime<Utc>) -> Result<(), Full> {
        self.ask(key, now, false)
    }

    fn ask(&self, key: K, now: DateTime<Utc>, take: bool) -> Result<(), Full> {
        let Some(rate) = self.limit else { return Ok(()) };
        let (now, pause) = (now.timestamp_micros(), rate.pause());
        let deep = pause * i64::from(rate.burst);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut full_again = kept.find(&key).unwrap_or(now).max(now);
        if full_again > now + deep {
            // A clock that was set back must not leave anybody waiting for it to catch up.
            full_again = now + deep;
            kept.keep(key, full_again);
        }
        let over = full_again + pause - (now + deep);
        if over > 0 {
            return Err(Full { rate, wait: seconds(over) });
        }
        if take {
            kept.keep(key, full_again + pause);
        }
        Ok(())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let kept = self.kept.lock().unwrap();
        kept.young.len() + kept.old.len()
    }
}

impl<K: Eq + Hash + Copy> Kept<K> {
    fn find(&self, key: &K) -> Option<i64> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    fn keep(&mut self, key: K, full_again: i64) {
        if self.young.len() >= AT_MOST && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, full_again);
    }
}

fn seconds(micros: i64) -> u32 {
    u32::try_from((micros + 999_999) / 1_000_000).unwrap_or(u32::MAX).max(1)
}

/// What one holder of an address is known by: the address itself, or an IPv6 network of 64 bits,
/// which is what a single customer is given (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder(u64);

impl From<IpAddr> for Holder {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            // Below `::/8`, which is nobody's network.
            IpAddr::V4(v4) => Self(0xffff_0000_0000 | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self(u64::try_from(v6.to_bits() >> 64).unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis)
    }

    #[test]
    fn a_bucket_holds_its_burst_and_fills_evenly() {
        let buckets = Buckets::new(Some(Rate::new(60, 3)));
        for _ in 0..3 {
            assert_eq!(buckets.take(1, at(0)), Ok(()));
        }
        assert_eq!(buckets.take(1, at(0)).unwrap_err().wait, 1);
        assert_eq!(buckets.take(2, at(0)), Ok(()), "others have their own");
        assert!(buckets.take(1, at(999)).is_err());
        assert_eq!(buckets.take(1, at(1000)), Ok(()));
        assert!(buckets.take(1, at(1000)).is_err(), "one came back, not more");
        for _ in 0..3 {
            assert_eq!(buckets.take(1, at(60_000)), Ok(()), "a pause fills it, and no further");
        }
        assert!(buckets.take(1, at(60_000)).is_err());
        // The clock is set back by a minute: what was there is there.
        assert!(buckets.take(1, at(0)).is_err());
        assert_eq!(buckets.take(1, at(1000)), Ok(()));
    }

    #[test]
    fn one_that_is_returned_can_be_taken_again_and_no_more_than_one() {
        let buckets = Buckets::new(Some(Rate::new(60, 2)));
        buckets.give_back(1);
        for _ in 0..2 {
            assert_eq!(buckets.take(1, at(0)), Ok(()));
        }
        buckets.give_back(1);
        assert_eq!(buckets.take(1, at(0)), Ok(()));
        assert!(buckets.take(1, at(0)).is_err());
        // Returned late, when the bucket is full: it holds its burst still.
        buckets.give_back(1);
        for _ in 0..2 {
            assert_eq!(buckets.take(1, at(60_000)), Ok(()));
        }
        buckets.give_back(2);
        assert!(buckets.take(1, at(60_000)).is_err());
    }

    #[test]
    fn a_million_addresses_cost_no_more_than_two_generations() {
        let buckets = Buckets::new(Some(Rate::new(1, 1)));
        let constant = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(buckets.take(Holder::from(constant), at(0)), Ok(()));
        for n in 0..1_000_000_u128 {
            let address = IpAddr::V6(((0x2001 << 112) | (n << 64)).into());
            assert_eq!(buckets.take(Holder::from(address), at(0)), Ok(()));
            assert!(buckets.len() <= 2 * AT_MOST);
        }
    }

    #[test]
    fn an_ipv6_network_is_one_holder() {
        let holder = |text: &str| Holder::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(holder("2001:db8:1:2::1"), holder("2001:db8:1:2:ffff::9"));
        assert_ne!(holder("2001:db8:1:2::1"), holder("2001:db8:1:3::1"));
        assert_eq!(holder("::ffff:192.0.2.1"), holder("192.0.2.1"));
        assert_ne!(holder("192.0.2.1"), holder("192.0.2.2"));
    }

    #[test]
    fn a_rate_is_read_from_its_text() {
        assert_eq!("600:100".parse::<Rate>().unwrap(), Rate::new(600, 100));
        for text in ["", "600", "0:1", "1:0", "-1:5", "a:b", "9000000:1"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    proptest! {
        /// Whatever the pauses: never more than the burst and what came back since.
        #[test]
        fn no_span_admits_more_than_its_share(
            per_minute in 1_u32..6000, burst in 1_u32..50,
            pauses in prop::collection::vec(0_i64..5_000, 1..300),
        ) {
            let buckets = Buckets::new(Some(Rate::new(per_minute, burst)));
            let (mut now, mut admitted) = (0, 0);
            for pause in pauses {
                now += pause;
                match buckets.take((), at(now)) {
                    Ok(()) => admitted += 1,
                    Err(full) => {
                        prop_assert!(buckets.room((), at(now + i64::from(full.wait) * 1000)).is_ok());
                    }
                }
                let share = f64::from(burst) + now as f64 * f64::from(per_minute) / 60_000.0;
                prop_assert!(f64::from(admitted) <= share + 0.01 * now as f64, "{admitted} > {share}");
            }
        }
    }
}
