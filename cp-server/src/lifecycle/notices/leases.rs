//! The notices of pools: their levels, the first refusals of hours, and the first seats of days beyond
//! caps.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::levels::{self, Change, Known};
use super::rows::{Notice, store};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::error::Result;
use crate::kernel::journal::record::Entry;
use crate::licensing::ids::{LicenseId, PoolId};
use crate::licensing::leases::hours;
use crate::licensing::leases::levels::{page, used};

const KIND: &str = "leases.near_cap";
const EXHAUSTED: &str = "leases.exhausted";
const OVERAGE: &str = "leases.overage";
/// The most pools that are read at once.
const PAGE: i64 = 200;
/// The most notices of one transaction.
const BATCH: i64 = 100;
/// Refusals and seats that are further back are no news.
const RECENT: TimeDelta = TimeDelta::hours(2);

/// Announces the pools whose leases have reached a percentage of the cap.
pub(super) async fn announce_levels(app: &App) -> Result<()> {
    let (mut after, now) = (PoolId(Uuid::nil()), app.clock.now());
    loop {
        let mut tx = app.db.read();
        let (pools, last) = page(&mut tx, after, PAGE, now).await?;
        let ids: Vec<Uuid> = pools.iter().map(|one| one.pool.id.0).collect();
        let mut known = levels::known(&mut tx, KIND, &ids).await?;
        let mut changes = Vec::new();
        for one in pools {
            let (known, basis) = (known.remove(&one.pool.id.0), one.cap.to_string());
            let before = Known::level(known.as_ref(), &basis);
            // A count reads all leases of the pool.
            if before == 0 && !one.may_be_near() {
                continue;
            }
            let used = used(&mut tx, one.pool.id, now).await?;
            let level =
                levels::next(before, &one.percentages, |percent| one.compared_to(used, percent));
            let after = json!({
                "pool": one.pool.name, "percent": level, "used": used, "cap": one.cap,
            });
            let (organization, license) = (one.pool.organization_id, one.pool.license_id);
            changes.push(Change {
                subject: one.pool.id.0,
                kind: KIND,
                basis,
                level,
                known,
                entry: entry(KIND, organization, license, after),
            });
        }
        drop(tx);
        levels::store(app, changes).await?;
        let Some(last) = last else { return Ok(()) };
        after = last;
    }
}

/// A pool in which something happened in an hour, or on a day.
#[derive(sqlx::FromRow)]
struct Happened {
    pool_id: PoolId,
    organization_id: OrganizationId,
    license_id: LicenseId,
    name: String,
    at: DateTime<Utc>,
}

/// The hours from `$1` on with refusals that are not announced. Migration 0051 has their index.
pub const REFUSALS: &str =
    "SELECT h.pool_id, h.organization_id, p.license_id, p.name, h.starts_at AS at
     FROM lease_hours h JOIN lease_pools p ON p.id = h.pool_id
     WHERE h.refused > 0 AND h.starts_at >= $1
       AND NOT EXISTS (SELECT 1 FROM notices n
                       WHERE n.subject = h.pool_id AND n.kind = $2 AND n.basis = h.starts_at)
     ORDER BY h.starts_at LIMIT $3";

/// Announces the hours in which a pool has refused a seat.
pub(super) async fn announce_refusals(app: &App, begun: DateTime<Utc>) -> Result<()> {
    let from = hours::beginning(begun.max(app.clock.now() - RECENT), TimeDelta::hours(1));
    loop {
        let mut tx = app.db.read();
        let query = tx.q(REFUSALS).bind(from).bind(EXHAUSTED).bind(BATCH);
        let found: Vec<Happened> = query.all().await?;
        drop(tx);
        if found.is_empty() {
            return Ok(());
        }
        store(app, found.into_iter().map(|one| notice(EXHAUSTED, one.at, one)).collect()).await?;
    }
}

/// The seats beyond caps that were taken from `$1` on and before `$2`, of pools without a notice for the day
/// `$1`. Migration 0051 has their indexes.
pub const OVERAGES: &str =
    "SELECT o.pool_id, p.organization_id, p.license_id, p.name, MIN(o.acquired_at) AS at
     FROM (SELECT pool_id, acquired_at FROM lease_seats
           WHERE overage AND acquired_at >= $1 AND acquired_at < $2
           UNION ALL
           SELECT pool_id, acquired_at FROM lease_tenures
           WHERE overage AND acquired_at >= $1 AND acquired_at < $2) o
     JOIN lease_pools p ON p.id = o.pool_id
     WHERE NOT EXISTS (SELECT 1 FROM notices n
                       WHERE n.subject = o.pool_id AND n.kind = $3 AND n.basis = $1)
     GROUP BY o.pool_id, p.organization_id, p.license_id, p.name
     LIMIT $4";

/// Announces the days on which a seat beyond the cap of a pool was taken.
pub(super) async fn announce_overages(app: &App, begun: DateTime<Utc>) -> Result<()> {
    let now = app.clock.now();
    let day = TimeDelta::days(1);
    let today = hours::beginning(now, day);
    // A seat of the last hours of yesterday may not be announced yet.
    let mut from = hours::beginning(begun.max(now - RECENT), day);
    while from <= today {
        let mut tx = app.db.read();
        let query = tx.q(OVERAGES).bind(from).bind(from + day).bind(OVERAGE).bind(BATCH);
        let found: Vec<Happened> = query.all().await?;
        drop(tx);
        match found.is_empty() {
            true => from += day,
            false => {
                let notices = found.into_iter().map(|one| notice(OVERAGE, from, one));
                store(app, notices.collect()).await?;
            }
        }
    }
    Ok(())
}

fn notice(kind: &'static str, basis: DateTime<Utc>, one: Happened) -> Notice {
    let after = json!({"pool": one.name, "at": one.at});
    Notice {
        subject: one.pool_id.0,
        kind,
        basis,
        threshold: 0,
        next_at: None,
        entry: entry(kind, one.organization_id, one.license_id, after),
    }
}

fn entry(
    action: &'static str,
    organization: OrganizationId,
    license: LicenseId,
    after: Value,
) -> Entry<'static> {
    Entry {
        action,
        organization: Some(organization),
        target: ("license", license.to_string()),
        before: None,
        after: Some(after),
        reason: None,
        issued: None,
    }
}
