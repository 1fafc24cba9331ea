//! The difference between this replica's clock and the database's.
//!
//! # Design
//! The replica's clock decides when a lease ends, and replicas share the seats. A seat stays taken
//! for some seconds after its end (`rows::free_at`), so clocks may differ by less than that. A replica
//! whose clock differs by more is not ready and claims no seat.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

use crate::kernel::app::{App, Part};
use crate::kernel::error::{Error, Result};

/// The largest difference.
const MOST: TimeDelta = TimeDelta::seconds(2);

/// The last measured difference in milliseconds. 0 on SQLite, where one process has one clock.
#[derive(Debug, Default)]
pub struct Skew(AtomicI64);

impl Part for Skew {}

impl Skew {
    /// Stores a difference.
    pub fn set(&self, skew: TimeDelta) {
        self.0.store(skew.num_milliseconds(), Ordering::Relaxed);
    }
}

/// Compares the clocks.
pub async fn measure(app: &App) -> anyhow::Result<()> {
    if app.db.writes_alone() {
        return Ok(());
    }
    let before = app.clock.now();
    let now: Option<DateTime<Utc>> = app.db.read().q("SELECT clock_timestamp()").value().await?;
    let after = app.clock.now();
    // A slow answer says nothing.
    if let Some(now) = now.filter(|_| after - before < MOST / 2) {
        Skew::of(app).set(now - before - (after - before) / 2);
    }
    Ok(())
}

/// Refuses while the clocks differ by too much.
///
/// # Errors
/// Fails with 503.
pub fn refuse(app: &App) -> Result<()> {
    let skew = TimeDelta::milliseconds(Skew::of(app).0.load(Ordering::Relaxed));
    if skew.abs() <= MOST {
        return Ok(());
    }
    let detail = format!(
        "The clock of this server differs from the database's by {} ms. Correct the clock.",
        skew.num_milliseconds()
    );
    Err(Error::unavailable(detail, 10))
}
