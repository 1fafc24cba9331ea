//! The rate at which a client receives responses.

use std::time::Duration;

use super::limits::Surface;

/// A client may stall for `time`, and must receive `quota` bytes within twice that time of waiting.
/// Time in which this server has nothing to send does not count.
#[derive(Debug)]
pub(super) struct Pace {
    time: Duration,
    quota: usize,
    waited: Duration,
    taken: usize,
}

impl Pace {
    pub(super) fn new(surface: &Surface) -> Self {
        let span = surface.write_time.as_millis().saturating_mul(2);
        let quota = span.saturating_mul(u128::from(surface.write_rate)) / 1000;
        Self {
            time: surface.write_time,
            quota: usize::try_from(quota).unwrap_or(usize::MAX),
            waited: Duration::ZERO,
            taken: 0,
        }
    }

    /// Records bytes that the client received, and how long the server waited for it.
    pub(super) fn took(&mut self, bytes: usize, waited: Duration) {
        self.waited += waited;
        self.taken = self.taken.saturating_add(bytes);
        if self.taken >= self.quota {
            (self.waited, self.taken) = (Duration::ZERO, 0);
        }
    }

    /// Returns how long the server still waits for the client.
    pub(super) fn left(&self) -> Duration {
        (self.time * 2).saturating_sub(self.waited).min(self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_below_the_rate_uses_up_its_time() {
        let second = Duration::from_secs(1);
        let surface = Surface { write_time: 10 * second, write_rate: 1000, ..Surface::default() };
        let mut slow = Pace::new(&surface);
        assert_eq!(slow.left(), 10 * second);
        for _ in 0..15 {
            slow.took(999, second);
        }
        assert_eq!(slow.left(), 5 * second);
        for _ in 0..5 {
            slow.took(999, second);
        }
        assert_eq!(slow.left(), Duration::ZERO);
        let mut fair = Pace::new(&surface);
        for _ in 0..1000 {
            fair.took(1001, second);
            assert!(fair.left() > Duration::ZERO);
        }
        // The server had nothing to send, so it did not wait.
        fair.took(1, Duration::ZERO);
        assert!(fair.left() > Duration::ZERO);
        let mut any = Pace::new(&Surface { write_rate: 0, ..surface });
        for _ in 0..1000 {
            any.took(1, 9 * second);
            assert_eq!(any.left(), 10 * second);
        }
    }
}
