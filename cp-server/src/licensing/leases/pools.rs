//! Pools: the named numbers of seats of a license.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cp_contracts::PoolUsage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::revocations;
use super::rows::{self, End, Facts, PoolRow};
use super::settings::{ExplainedSetting, PoolKind, PoolName, Settings};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{NoFilter, Page};
use crate::kernel::text::Reason;
use crate::licensing::ids::{LicenseId, PoolId};
use crate::licensing::licenses::rows as licenses;
use crate::licensing::usage_reports;

/// A pool of a license, with its use. It names no holder.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Pool {
    /// The pool's name, such as `seats`.
    name: String,
    kind: PoolKind,
    /// The number of seats; null is unlimited.
    cap: Option<i64>,
    /// The number of seats with the overage; null without a limit.
    hard_cap: Option<i64>,
    /// The number of live leases.
    used: i64,
    /// The number of live leases beyond the cap.
    overage: i64,
    /// The number of borrowed leases.
    borrowed: i64,
    /// The next instant at which a lease ends without a heartbeat; null when none does.
    next_free_at: Option<DateTime<Utc>>,
    /// The use that a data plane without a network reported last; null without such a report.
    reported: Option<ReportedPoolUse>,
    /// The settings, each with the level that it comes from.
    settings: BTreeMap<String, ExplainedSetting>,
}

/// The use of a pool in the time of an imported usage report.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReportedPoolUse {
    /// The most seats that were taken at once.
    peak: i64,
    /// The holders that were refused a seat.
    refused: i64,
    /// The beginning of the reported time, inclusive.
    since: DateTime<Utc>,
    /// The end of the reported time, exclusive.
    until: DateTime<Utc>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The pool. All pools when absent.
    pool: Option<PoolName>,
    /// The reason for the audit event, 1 to 1,000 characters.
    reason: Reason,
}

/// The use of a pool.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PoolFill {
    /// The pool's name, such as `seats`.
    pub name: String,
    /// The number of live leases.
    pub used: i64,
    /// The number of seats; null is unlimited.
    pub cap: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct Use {
    pool_id: PoolId,
    name: String,
    /// The number of seats that exist.
    allocated: i64,
    used: i64,
    borrowed: i64,
    next_free_at: Option<DateTime<Utc>>,
}

pub(super) async fn list(cx: &mut Cx, id: LicenseId, _: NoFilter) -> Result<Page<Pool>> {
    let facts = rows::facts(&mut cx.tx, id, super::settings::SEATS).await?;
    let mut used = uses(cx, id).await?;
    let report = usage_reports::last_of(&mut cx.tx, facts.deployment_id, id).await?;
    let reported = |name: &str| {
        let report = report.as_ref()?;
        let PoolUsage { peak, refused, .. } = *report.leases.get(name)?;
        Some(ReportedPoolUse { peak, refused, since: report.since, until: report.until })
    };
    let mut items = Vec::new();
    for (name, settings) in facts.explained() {
        let effective = Settings::of(settings.clone())?;
        let found = used.remove(&name);
        let count = |of: fn(&Use) -> i64| found.as_ref().map_or(0, of);
        items.push(Pool {
            kind: effective.kind,
            cap: effective.cap,
            hard_cap: effective.hard_cap(),
            used: count(|one| one.used),
            overage: match &found {
                Some(found) => overage(cx, found, effective.last_within()).await?,
                None => 0,
            },
            borrowed: count(|one| one.borrowed),
            next_free_at: found.as_ref().and_then(|one| one.next_free_at),
            reported: reported(&name),
            settings,
            name,
        });
    }
    Ok(Page { items, next_cursor: None })
}

/// Returns the use of each pool of the license with these facts.
pub async fn fill(cx: &mut Cx, id: LicenseId, facts: &Facts) -> Result<Vec<PoolFill>> {
    let mut used = uses(cx, id).await?;
    let fill = |(name, settings): (String, BTreeMap<String, ExplainedSetting>)| {
        let used = used.remove(&name).map_or(0, |found| found.used);
        Ok(PoolFill { cap: Settings::of(settings)?.cap, used, name })
    };
    facts.explained().into_iter().map(fill).collect()
}

/// Counts the live leases of the license's open pools.
async fn uses(cx: &mut Cx, license: LicenseId) -> Result<BTreeMap<String, Use>> {
    let sql = concat!(
        "SELECT p.id AS pool_id, p.name, p.allocated, COUNT(*) AS used,
                COUNT(CASE WHEN lease_seats.borrowed_until > $2 THEN 1 END) AS borrowed,
                MIN(lease_seats.expires_at) AS next_free_at
         FROM lease_pools p JOIN lease_seats ON lease_seats.pool_id = p.id
         WHERE p.license_id = $1 AND p.closed_at IS NULL AND lease_seats.ended_at IS NULL
           AND (lease_seats.expires_at IS NULL OR lease_seats.expires_at > $2)
           AND NOT ",
        rows::absent!(),
        " GROUP BY p.id, p.name, p.allocated"
    );
    let found: Vec<Use> = cx.tx.q(sql).bind(license).bind(cx.now).all().await?;
    Ok(found.into_iter().map(|one| (one.name.clone(), one)).collect())
}

/// Counts the live leases of a pool beyond its cap.
async fn overage(cx: &mut Cx, pool: &Use, cap: i64) -> Result<i64> {
    if pool.allocated <= cap {
        return Ok(0);
    }
    let sql = concat!(
        "SELECT COUNT(*) FROM lease_seats
         WHERE pool_id = $1 AND n > $2 AND ended_at IS NULL
           AND (expires_at IS NULL OR expires_at > $3) AND NOT ",
        rows::absent!()
    );
    let count = cx.tx.q(sql).bind(pool.pool_id).bind(cap).bind(cx.now).value().await?;
    Ok(count.unwrap_or(0))
}

pub(super) async fn reset(cx: &mut Cx, id: LicenseId, reset: Reset) -> Result<Page<Pool>> {
    cx.audit.reason = Some(reset.reason.into_string());
    close(cx, id, reset.pool.as_ref()).await?;
    list(cx, id, NoFilter {}).await
}

/// Closes the license's pool, or all of them, and so ends all of their leases.
pub async fn close(cx: &mut Cx, license: LicenseId, pool: Option<&PoolName>) -> Result<()> {
    // Claims and borrowings that hold a pool commit first, so their leases are among those below.
    let open = cx.tx.select("WHERE license_id = $1 AND closed_at IS NULL").bind(license);
    let open = open.and_some(" AND name = ?", pool).sql(" ORDER BY lease_pools.id").locked();
    let open: Vec<PoolRow> = open.all().await?;
    let open: Vec<PoolId> = open.into_iter().map(|pool| pool.id).collect();
    // Only these: a claim may open the next pool at any time, and its leases live on.
    revocations::revoke_all(cx, Some(&open)).await?;
    for pool in open {
        let sql = "UPDATE lease_pools SET closed_at = $2, closed_by = $3 WHERE id = $1";
        cx.tx.q(sql).bind(pool).bind(cx.now).bind(End::Reset).exec().await?;
    }
    Ok(())
}

/// Keeps the pool open until the end of the transaction: a reset or a transfer waits for it. Heartbeats
/// only check that the pool is open: they create no lease, and a lock would be a second write.
///
/// # Errors
/// Fails with [`Error::stale`] for a closed pool. The operation starts over, and finds the next pool.
pub(super) async fn hold(cx: &mut Cx, pool: PoolId) -> Result<()> {
    let held = cx.tx.q2(
        "SELECT 1 FROM lease_pools WHERE id = $1 AND closed_at IS NULL",
        // The weakest lock: claims that add a seat do not wait for it.
        "SELECT 1 FROM lease_pools WHERE id = $1 AND closed_at IS NULL FOR KEY SHARE",
    );
    let held = held.bind(pool).value::<i32>().await?;
    held.map(drop).ok_or_else(Error::stale)
}

/// Returns the open pool of this name, which begins to exist now, or has another kind from now on.
/// The license is the one of the facts: it has not moved to another deployment.
pub(super) async fn open(
    cx: &mut Cx,
    license: LicenseId,
    facts: &Facts,
    name: &PoolName,
    kind: PoolKind,
) -> Result<PoolId> {
    licenses::hold(cx, license, facts.license_revision).await?;
    let sql = "INSERT INTO lease_pools
               (id, organization_id, license_id, name, kind, allocated, created_at)
               VALUES ($1, $2, $3, $4, $5, 0, $6)
               ON CONFLICT (license_id, name) WHERE closed_at IS NULL
               DO UPDATE SET kind = excluded.kind
               RETURNING id";
    let id = PoolId::new(&cx.app.random, cx.now);
    let insert = cx.tx.q(sql).bind(id).bind(cx.at).bind(license).bind(name).bind(kind);
    Ok(insert.bind(cx.now).value().await?.unwrap_or(id))
}
