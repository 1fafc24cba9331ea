//! The use of pools by the hour: peaks, tenures and refusals.
//!
//! # Design
//! A peak is computed from the leases, so it is exact: once for each hour that has ended, by a job
//! whose replicas find the same numbers, and on each read for hours that the job has not reached. No
//! counter is kept while seats change hands. Refusals leave no row, so each replica counts them in
//! memory and adds them at intervals; a killed process loses those of the last seconds.
//!
//! A clock that jumped ahead has computed hours that had not ended. Once it is back, they are forgotten,
//! and computed again when they end.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::rows::{self, PoolRow};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::error::Result;
use crate::licensing::ids::PoolId;

const HOUR: TimeDelta = TimeDelta::hours(1);
/// The time after the end of an hour at which its leases are complete on every replica.
const SETTLED: TimeDelta = TimeDelta::minutes(1);
/// The most hours of one pool that one run computes.
const AT_ONCE: i32 = 24 * 31;

/// The number of refusals by pool, with the organization.
type Counts = HashMap<PoolId, (OrganizationId, i64)>;

/// The refusals since the last flush.
#[derive(Default)]
pub struct Refused(Mutex<Counts>);

impl Part for Refused {}

impl Refused {
    /// Counts a refusal.
    pub fn count(&self, organization: OrganizationId, pool: PoolId) {
        self.counts().entry(pool).or_insert((organization, 0)).1 += 1;
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the refusals of this replica to the hours in which they happened, give or take an interval. They
/// stay counted while the database fails.
pub async fn flush(app: &App) -> anyhow::Result<()> {
    let mut taken = TakenCounts::of(Refused::of(app));
    if taken.counts.is_empty() {
        return Ok(());
    }
    add(app, &taken.counts).await?;
    taken.counts.clear();
    Ok(())
}

/// The counts of a flush. They are counted again if it fails or is aborted.
struct TakenCounts<'r> {
    refused: &'r Refused,
    counts: Counts,
}

impl<'r> TakenCounts<'r> {
    fn of(refused: &'r Refused) -> Self {
        Self { refused, counts: std::mem::take(&mut *refused.counts()) }
    }
}

impl Drop for TakenCounts<'_> {
    fn drop(&mut self) {
        let mut now = self.refused.counts();
        for (pool, (organization, count)) in self.counts.drain() {
            now.entry(pool).or_insert((organization, 0)).1 += count;
        }
    }
}

async fn add(app: &App, counts: &Counts) -> anyhow::Result<()> {
    let hour = hour_of(app.clock.now());
    let mut tx = app.db.begin().await?;
    for (pool, (organization, refused)) in counts {
        let sql = "INSERT INTO lease_hours (pool_id, starts_at, organization_id, refused)
                   SELECT $1, $2, $3, $4 WHERE EXISTS (SELECT 1 FROM lease_pools WHERE id = $1)
                   ON CONFLICT (pool_id, starts_at)
                   DO UPDATE SET refused = lease_hours.refused + excluded.refused";
        tx.q(sql).bind(*pool).bind(hour).bind(*organization).bind(*refused).exec().await?;
    }
    tx.commit().await?;
    Ok(())
}

crate::record! {
    /// The use of a pool in one hour. Numbers that are not computed yet are null.
    HourRow in lease_hours {
        pool_id: PoolId,
        starts_at: DateTime<Utc>,
        peak: Option<i64>,
        overage_peak: Option<i64>,
        tenures: Option<i64>,
        seat_seconds: Option<i64>,
        refused: i64,
    }
}

/// The use of a pool in one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Use {
    pub peak: i64,
    pub overage_peak: i64,
    /// The leases that began in the hour.
    pub tenures: i64,
    pub seat_seconds: i64,
}

/// A time in which a seat was taken.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Taken {
    pub from: DateTime<Utc>,
    /// Exclusive.
    pub until: DateTime<Utc>,
    pub overage: bool,
}

/// Returns the use in the time from `from` to `until`.
pub fn sweep(taken: &[Taken], from: DateTime<Utc>, until: DateTime<Utc>) -> Use {
    let mut found = Use::default();
    // Ends come before begins of the same instant: a seat that changes hands is one seat.
    let mut turns = Vec::with_capacity(taken.len() * 2);
    for one in taken {
        let (begin, end) = (one.from.max(from), one.until.min(until));
        if one.from >= from && one.from < until {
            found.tenures += 1;
        }
        if begin < end {
            turns.push((begin, 1, i64::from(one.overage)));
            turns.push((end, -1, -i64::from(one.overage)));
            found.seat_seconds += (end - begin).num_seconds();
        }
    }
    turns.sort_unstable();
    let (mut seats, mut overage) = (0, 0);
    for (_, seat, beyond) in turns {
        seats += seat;
        overage += beyond;
        found.peak = found.peak.max(seats);
        found.overage_peak = found.overage_peak.max(overage);
    }
    found
}

/// Returns the times in which seats of the pool were taken, between these instants. The present cap decides
/// which seats are beyond it; those of leases that have left their seats are what they were at the claim.
pub(super) async fn taken(
    tx: &mut Conn,
    pool: &PoolRow,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Taken>> {
    let sql = "SELECT acquired_at AS \"from\", ended_at AS until, overage
               FROM lease_tenures
               WHERE pool_id = $1 AND ended_at > $2 AND acquired_at < $3
               UNION ALL
               SELECT acquired_at, COALESCE(ended_at, expires_at, $3), COALESCE(n > $4, overage)
               FROM lease_seats
               WHERE pool_id = $1 AND acquired_at < $3 AND NOT is_vacant
                 AND (ended_at IS NULL OR ended_at > $2)
                 AND (expires_at IS NULL OR expires_at > $2)";
    let within = match pool.closed_at {
        None => rows::facts(tx, pool.license_id, &pool.name).await?.settings(&pool.name)?,
        Some(_) => None,
    };
    let within = within.map(|settings| settings.last_within());
    let query = tx.q(sql).bind(pool.id).bind(from).bind(until).bind(within);
    let mut taken: Vec<Taken> = query.all().await?;
    // A closed pool has no live lease.
    if let Some(closed) = pool.closed_at {
        taken.iter_mut().for_each(|one| one.until = one.until.min(closed));
    }
    Ok(taken)
}

/// Computes the hours that have ended since the last run.
pub async fn compute(app: &App) -> anyhow::Result<()> {
    let now = app.clock.now();
    let (until, current) = (hour_of(now - SETTLED), hour_of(now));
    // The last hour is not computed, or one that has not ended is. An hour that has just ended may be
    // computed by a replica whose clock is some seconds ahead.
    let due = "WHERE NOT EXISTS (SELECT 1 FROM lease_hours h
                                 WHERE h.pool_id = lease_pools.id AND h.peak IS NOT NULL
                                   AND h.starts_at >= $1)
                 AND (closed_at IS NULL OR closed_at > $2) AND created_at < $3
               OR EXISTS (SELECT 1 FROM lease_hours h
                          WHERE h.pool_id = lease_pools.id AND h.peak IS NOT NULL
                            AND h.starts_at >= $4)";
    let mut tx = app.db.read();
    let query = tx.select(due).bind(until - HOUR).bind(until - HOUR * AT_ONCE).bind(until);
    let pools: Vec<PoolRow> = query.bind(current).all().await?;
    drop(tx);
    for pool in pools {
        forget_from(app, &pool, current).await?;
        compute_pool(app, &pool, until).await?;
    }
    Ok(())
}

async fn compute_pool(app: &App, pool: &PoolRow, until: DateTime<Utc>) -> anyhow::Result<()> {
    let mut tx = app.db.read();
    let last = "SELECT starts_at FROM lease_hours WHERE pool_id = $1 AND peak IS NOT NULL
                ORDER BY starts_at DESC LIMIT 1";
    let last: Option<DateTime<Utc>> = tx.q(last).bind(pool.id).value().await?;
    let begin = last.map_or(hour_of(pool.created_at), |last| last + HOUR);
    let begin = begin.max(until - HOUR * AT_ONCE);
    let until = match pool.closed_at {
        Some(closed) => until.min(hour_of(closed) + HOUR),
        None => until,
    };
    if begin >= until {
        return Ok(());
    }
    let taken = taken(&mut tx, pool, begin, until).await?;
    drop(tx);
    let mut tx = app.db.begin().await?;
    let mut hour = begin;
    while hour < until {
        let found = sweep(&taken, hour, hour + HOUR);
        let sql = "INSERT INTO lease_hours
                   (pool_id, starts_at, organization_id, peak, overage_peak, tenures, seat_seconds,
                    refused)
                   SELECT $1, $2, $3, $4, $5, $6, $7, 0
                   WHERE EXISTS (SELECT 1 FROM lease_pools WHERE id = $1)
                   ON CONFLICT (pool_id, starts_at)
                   DO UPDATE SET peak = excluded.peak, overage_peak = excluded.overage_peak,
                                 tenures = excluded.tenures, seat_seconds = excluded.seat_seconds";
        let write = tx.q(sql).bind(pool.id).bind(hour).bind(pool.organization_id);
        let write = write.bind(found.peak).bind(found.overage_peak).bind(found.tenures);
        write.bind(found.seat_seconds).exec().await?;
        hour += HOUR;
    }
    tx.commit().await?;
    Ok(())
}

/// Forgets what was computed of hours that have not ended. Their refusals stay.
async fn forget_from(app: &App, pool: &PoolRow, from: DateTime<Utc>) -> anyhow::Result<()> {
    let computed = "SELECT 1 FROM lease_hours
                    WHERE pool_id = $1 AND starts_at >= $2 AND peak IS NOT NULL LIMIT 1";
    let found = app.db.read().q(computed).bind(pool.id).bind(from).value::<i32>().await?;
    if found.is_none() {
        return Ok(());
    }
    let mut tx = app.db.begin().await?;
    let sql = "UPDATE lease_hours
               SET peak = NULL, overage_peak = NULL, tenures = NULL, seat_seconds = NULL
               WHERE pool_id = $1 AND starts_at >= $2";
    tx.q(sql).bind(pool.id).bind(from).exec().await?;
    tx.commit().await?;
    Ok(())
}

/// Returns the beginning of the hour, UTC.
fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    beginning(at, HOUR)
}

/// Returns the beginning of the step that contains an instant; steps are counted from 1970 on, UTC.
pub fn beginning(at: DateTime<Utc>, step: TimeDelta) -> DateTime<Utc> {
    let seconds = at.timestamp();
    let begin = seconds - seconds.rem_euclid(step.num_seconds().max(1));
    DateTime::from_timestamp(begin, 0).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600 + second, 0).unwrap()
    }

    fn taken() -> impl Strategy<Value = Taken> {
        (0..200i64, 1..80i64, any::<bool>()).prop_map(|(from, life, overage)| Taken {
            from: at(from),
            until: at(from + life),
            overage,
        })
    }

    proptest! {
        #[test]
        fn the_peak_is_that_of_every_second(
            taken in proptest::collection::vec(taken(), 0..30),
            from in 0..150i64,
            length in 1..100i64,
        ) {
            let until = from + length;
            let found = sweep(&taken, at(from), at(until));
            let seats = |second: i64, only_overage: bool| {
                let lives = |one: &&Taken| one.from <= at(second) && at(second) < one.until;
                let all = taken.iter().filter(lives);
                all.filter(|one| one.overage || !only_overage).count() as i64
            };
            let peak = |only| (from..until).map(|second| seats(second, only)).max().unwrap_or(0);
            prop_assert_eq!((found.peak, found.overage_peak), (peak(false), peak(true)));
            let seconds: i64 = (from..until).map(|second| seats(second, false)).sum();
            prop_assert_eq!(found.seat_seconds, seconds);
        }
    }
}
