//! The refusals of leases.

use chrono::{DateTime, SecondsFormat, Utc};
use cp_contracts::ProblemCode;

use super::hours::Refused;
use super::rows::{End, Facts, SeatRow};
use super::settings::{Settings, UNLIMITED};
use crate::kernel::access::caller::Permission;
use crate::kernel::access::ids::UserId;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::{LeaseId, PoolId};

/// The number of holders that a refusal names.
const NAMED: i64 = 10;
/// The longest `Retry-After`, in seconds.
const LONGEST: i64 = 60;

/// Returns the refusal of a claim that found no free seat. It names holders only for callers that
/// see all leases of the organization.
pub(super) async fn exhausted(
    cx: &mut Cx,
    pool: PoolId,
    name: &str,
    settings: &Settings,
) -> Result<Error> {
    let (cap, hard_cap) = (settings.cap, settings.hard_cap());
    let (used, next) = used(cx, pool, hard_cap.unwrap_or(UNLIMITED)).await?;
    if !cx.is_rehearsal {
        Refused::of(&cx.app).count(cx.at, pool);
    }
    let detail = format!(
        "All seats of the pool `{name}` are taken: {used} of {}. Retry when one is free, or end a lease \
         that is not needed.",
        hard_cap.unwrap_or(UNLIMITED)
    );
    let wait = next.map_or(LONGEST, |at| (at - cx.now).num_seconds().clamp(1, LONGEST));
    // Clients that were refused together come back apart.
    let [random] = cx.app.random.bytes::<1>();
    let wait = 1 + wait * (128 + i64::from(random) / 2) / 256;
    let mut error = Error::new(ProblemCode::SeatsExhausted, detail)
        .after(u32::try_from(wait.min(LONGEST)).unwrap_or(1))
        .with("pool", name)
        .with("cap", cap)
        .with("hard_cap", hard_cap)
        .with("used", used)
        .with("take_over", settings.take_over);
    if let Some(next) = next {
        error = error.with("next_free_at", text(next));
    }
    if cx.caller.may_throughout(cx.at, Permission::LEASES_READ) {
        error = error.with("holders", idle(cx, pool).await?);
    }
    Ok(error)
}

/// The seats of a pool, the number of those beyond a number that are taken, and the next instant at which
/// a seat up to that number is free.
pub const USED: &str = "SELECT allocated,
         CASE WHEN allocated <= $2 THEN 0 ELSE
           (SELECT COUNT(*) FROM lease_seats
            WHERE pool_id = $1 AND n > $2 AND (free_at IS NULL OR free_at > $3)) END,
         (SELECT free_at FROM lease_seats
          WHERE pool_id = $1 AND free_at > $3 AND +n <= $2
          ORDER BY free_at, n LIMIT 1)
     FROM lease_pools WHERE id = $1 AND closed_at IS NULL";

/// Returns the number of taken seats, where no seat up to the hard cap is free: all of these, and
/// those beyond it whose leases live on after the cap was lowered. And returns the next instant at which
/// one is free. The seats of a pool that was closed in between are no reason for a refusal.
async fn used(cx: &mut Cx, pool: PoolId, most: i64) -> Result<(i64, Option<DateTime<Utc>>)> {
    let query = cx.tx.q(USED).bind(pool).bind(most).bind(cx.now);
    let found: Option<(i64, i64, Option<DateTime<Utc>>)> = query.opt().await?;
    let (allocated, beyond, next) = found.ok_or_else(Error::stale)?;
    Ok((allocated.min(most) + beyond, next))
}

/// The leases of a pool without an end, the longest idle first, and those that end without a heartbeat,
/// the next one to end first. Migration 0050 has the index of the first.
pub const IDLE: &str = "SELECT * FROM
         (SELECT lease_id, n, label, user_id, heartbeat_at FROM lease_seats
          WHERE pool_id = $1 AND ended_at IS NULL AND expires_at IS NULL
          ORDER BY heartbeat_at, n LIMIT $2 + 0) AS endless
     UNION ALL SELECT * FROM
         (SELECT lease_id, n, label, user_id, heartbeat_at FROM lease_seats
          WHERE pool_id = $1 AND free_at > $3 AND ended_at IS NULL
          ORDER BY free_at, n LIMIT $2 + 0) AS ending";

/// A lease as a refusal names it.
#[derive(sqlx::FromRow)]
struct Named {
    lease_id: LeaseId,
    n: i64,
    label: Option<String>,
    user_id: Option<UserId>,
    heartbeat_at: DateTime<Utc>,
}

/// Returns the leases without a heartbeat for the longest time. Leases with an end are found by that
/// end: an index of their heartbeats would cost each heartbeat more.
async fn idle(cx: &mut Cx, pool: PoolId) -> Result<Vec<serde_json::Value>> {
    let query = cx.tx.q(IDLE).bind(pool).bind(NAMED).bind(cx.now);
    let mut rows: Vec<Named> = query.all().await?;
    rows.sort_by_key(|seat| (seat.heartbeat_at, seat.n));
    rows.truncate(usize::try_from(NAMED).unwrap_or(usize::MAX));
    let holder = |seat: Named| {
        serde_json::json!({
            "lease_id": seat.lease_id, "seat": seat.n, "label": seat.label, "user_id": seat.user_id,
            "heartbeat_at": text(seat.heartbeat_at),
        })
    };
    Ok(rows.into_iter().map(holder).collect())
}

/// Returns the refusal of a lease that ended at this instant.
pub(super) fn over(at: DateTime<Utc>, end: End) -> Error {
    let detail = format!("The lease ended at {} ({end}). Claim a seat again.", text(at));
    Error::new(ProblemCode::LeaseOver, detail).with("end", end).with("ended_at", text(at))
}

/// Returns the refusal of a lease whose pool no level of the license defines any more.
pub(super) fn gone(facts: &Facts) -> Error {
    let name = facts.pool_name.as_deref().unwrap_or_default();
    Error::not_found(&format!("pool {name}")).with("pool", name)
}

/// Refuses a borrowed lease.
pub(super) fn refuse_borrowed(seat: &SeatRow, now: DateTime<Utc>) -> Result<()> {
    let Some(until) = seat.borrowed_until.filter(|_| seat.is_borrowed(now)) else { return Ok(()) };
    let detail = format!(
        "The lease is borrowed until {}. It needs no heartbeat, and keeps its seat until then.",
        text(until)
    );
    Err(Error::new(ProblemCode::LeaseBorrowed, detail).with("borrowed_until", text(until)))
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
