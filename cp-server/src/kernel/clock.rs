//! Time and randomness: they are arguments everywhere, and only this file creates them.

use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use uuid::{Builder, Uuid};

/// Reads the time, truncated to microseconds: the finest resolution that both databases keep.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// Returns the machine's clock.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where the clock is injected")]
        Self(Arc::new(|| Utc::now().trunc_subsecs(6)))
    }

    /// Returns a clock that moves only when its [`ManualClock`] moves.
    pub fn manual(start: DateTime<Utc>) -> (Self, ManualClock) {
        let hand = ManualClock(Arc::new(Mutex::new(start.trunc_subsecs(6))));
        (Self::following(&hand), hand)
    }

    /// Returns another clock that follows the same manual clock.
    pub fn following(hand: &ManualClock) -> Self {
        let hand = hand.clone();
        Self(Arc::new(move || hand.now()))
    }

    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }
}

/// Returns the instant of a change: now, but always later than the change before.
pub fn after(before: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    now.max(before + TimeDelta::microseconds(1))
}

/// Returns the first UUIDv7 of an instant (RFC 9562, section 5.7): the IDs of rows are in the order of
/// their creation.
pub fn first_id(at: DateTime<Utc>) -> Uuid {
    let milliseconds = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid()
}

/// Returns an instant as people read it: `24 Dec 2026, 09:00 UTC`.
pub fn shown(at: DateTime<Utc>) -> String {
    at.format("%-d %b %Y, %H:%M UTC").to_string()
}

/// Moves a manual clock.
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<DateTime<Utc>>>);

impl ManualClock {
    pub fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += by;
    }
}

/// The source of IDs, secrets, nonces and salts.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Random {
    /// Returns the operating system's generator.
    pub fn system() -> Self {
        let source = SystemRandom::new();
        Self(Arc::new(move |bytes| {
            // Without entropy, a server must not issue licenses: no recovery is possible.
            source.fill(bytes).expect("the operating system's random generator works");
        }))
    }

    /// Returns a predictable source for tests: SHA-256 of the seed and a counter.
    pub fn seeded(seed: u64) -> Self {
        let counter = std::sync::atomic::AtomicU64::new(0);
        Self(Arc::new(move |bytes| {
            for chunk in bytes.chunks_mut(32) {
                let n = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let block = [seed.to_be_bytes(), n.to_be_bytes()].concat();
                let hash = digest::digest(&digest::SHA256, &block);
                chunk.copy_from_slice(&hash.as_ref()[..chunk.len()]);
            }
        }))
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// Returns a UUIDv7 whose `rand_a` contains the microseconds (RFC 9562, section 6.2, method 3).
    /// IDs sort by time more finely than a millisecond, so a list can page by ID alone.
    pub fn uuid(&self, now: DateTime<Utc>) -> Uuid {
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        let fraction = u64::from(now.timestamp_subsec_micros() % 1000) * 4096 / 1000;
        let [_, _, random @ ..] = self.bytes::<10>();
        let mut tail = [0; 10];
        tail[..2].copy_from_slice(&u16::try_from(fraction).unwrap_or(0).to_be_bytes());
        tail[2..].copy_from_slice(&random);
        Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_id_of_an_instant_precedes_those_of_the_instant() {
        let at = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let id = first_id(at);
        assert_eq!(id.get_version_num(), 7);
        let random =
            |millis, tail| Builder::from_unix_timestamp_millis(millis, &[tail; 10]).into_uuid();
        assert!(id < random(1_767_225_600_000, 1));
        assert!(id > random(1_767_225_599_999, 255));
    }

    #[test]
    fn ids_of_later_microseconds_sort_later() {
        let random = Random::seeded(1);
        let start = DateTime::from_timestamp_micros(1_767_225_600_000_000).unwrap();
        let ids: Vec<Uuid> =
            (0..5000).map(|n| random.uuid(start + TimeDelta::microseconds(n))).collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }
}
