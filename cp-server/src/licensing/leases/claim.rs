//! A claim: who wants a seat of which pool.

use chrono::{DateTime, TimeDelta, Utc};

use super::holders::Holder;
use super::settings::{PoolName, Settings, UNLIMITED};
use crate::kernel::db::record::Object;
use crate::licensing::ids::PoolId;

/// A claim whose holder and pool are known.
pub struct Claim {
    pub pool: PoolId,
    pub name: PoolName,
    pub settings: Settings,
    pub holder: Holder,
    pub label: Option<String>,
    pub meta: Object,
    /// A shorter life without a heartbeat than the pool's.
    pub ttl: Option<i64>,
    pub takes_over: bool,
    /// Whether the seat is borrowed with the claim.
    pub borrows: bool,
}

impl Claim {
    /// Returns the number of the last seat that is not beyond the cap.
    pub fn cap(&self) -> i64 {
        self.settings.last_within()
    }

    /// Returns the number of the last seat.
    pub fn hard_cap(&self) -> i64 {
        self.settings.hard_cap().unwrap_or(UNLIMITED)
    }

    /// Returns the end of a lease that is claimed now.
    pub fn expires_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.settings.ttl(self.ttl).map(|ttl| now + TimeDelta::seconds(ttl))
    }
}
