//! Levels: how full the open pools are, for notices.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use super::rows::{self, Facts, PoolRow};
use crate::kernel::db::Conn;
use crate::kernel::error::Result;
use crate::licensing::ids::PoolId;

/// A pool whose levels are announced.
#[derive(Debug)]
pub struct PoolLevel {
    pub pool: PoolRow,
    pub cap: i64,
    /// The percentages of the cap at which a notice is sent.
    pub percentages: Vec<i64>,
}

/// The open pools after an ID. Migration 0051 has their index.
pub const OPEN: &str = "WHERE lease_pools.closed_at IS NULL AND lease_pools.id > $1
     ORDER BY lease_pools.id LIMIT $2";

/// Returns the next open pools of licenses in force that have levels, and the last ID.
pub async fn page(
    tx: &mut Conn,
    after: PoolId,
    most: i64,
    now: DateTime<Utc>,
) -> Result<(Vec<PoolLevel>, Option<PoolId>)> {
    let pools: Vec<PoolRow> = tx.select(OPEN).bind(after).bind(most).all().await?;
    let last = pools.last().map(|pool| pool.id);
    let ids: Vec<PoolId> =
        pools.iter().filter(|pool| pool.allocated > 0).map(|pool| pool.id).collect();
    let facts = rows::facts_of(tx, &ids).await?;
    let mut levels = Vec::new();
    for pool in pools {
        let facts = facts.iter().find(|facts| facts.pool_id == Some(pool.id));
        let Some(facts) = facts.filter(|facts| facts.refuse_uncovered(now).is_ok()) else {
            continue;
        };
        levels.extend(level(pool, facts)?);
    }
    Ok((levels, last))
}

fn level(pool: PoolRow, facts: &Facts) -> Result<Option<PoolLevel>> {
    let Some(settings) = facts.pool_settings()? else { return Ok(None) };
    let cap = settings.cap.filter(|cap| *cap > 0);
    let percentages = settings.notify_at.clone();
    Ok(cap.map(|cap| PoolLevel { pool, cap, percentages }))
}

impl PoolLevel {
    /// Returns whether the pool may have reached a percentage: it has not more leases than seats.
    pub fn may_be_near(&self) -> bool {
        let lowest = self.percentages.iter().min();
        lowest.is_some_and(|least| self.compared_to(self.pool.allocated, *least) != Ordering::Less)
    }

    /// Compares a number of leases with a percentage of the cap.
    pub fn compared_to(&self, used: i64, percent: i64) -> Ordering {
        (used * 100).cmp(&(self.cap * percent))
    }
}

/// The live leases of a pool by the index of their ends: those with an end, and those without.
pub const LIVE: &str = concat!(
    "SELECT (SELECT COUNT(*) FROM lease_seats
             WHERE pool_id = $1 AND free_at > $2 AND ended_at IS NULL
               AND (expires_at IS NULL OR expires_at > $2) AND NOT ",
    rows::absent!(),
    ")
          + (SELECT COUNT(*) FROM lease_seats
             WHERE pool_id = $1 AND free_at IS NULL AND ended_at IS NULL
               AND (expires_at IS NULL OR expires_at > $2) AND NOT ",
    rows::absent!(),
    ")"
);

/// Counts the live leases of a pool.
pub async fn used(tx: &mut Conn, pool: PoolId, now: DateTime<Utc>) -> Result<i64> {
    Ok(tx.q(LIVE).bind(pool).bind(now).value().await?.unwrap_or(0))
}
