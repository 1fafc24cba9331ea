//! The rounds of a measurement: calls one after the other, and the median of the rounds.

use std::time::{Duration, Instant};

/// Calls for one round, and returns the calls per second.
pub(crate) async fn per_second(round: Duration, mut once: impl AsyncFnMut()) -> f64 {
    let (started, mut n) = (Instant::now(), 0_u32);
    while started.elapsed() < round {
        once().await;
        n += 1;
    }
    f64::from(n) / started.elapsed().as_secs_f64()
}
