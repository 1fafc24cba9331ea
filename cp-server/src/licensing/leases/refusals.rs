//! The refusals of leases.

use chrono::{DateTime, SecondsFormat, Utc};
use cp_contracts::ProblemCode;

use super::hours::Refused;
use super::rows::{End, Facts, SeatRow};
use super::settings::{Settings, UNLIMITED};
use crate::kernel::access::caller::Permission;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::PoolId;

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
    let used = used(cx, pool, hard_cap).await?;
    Refused::of(&cx.app).count(cx.at, pool);
    let next = cx.tx.q(NEXT).bind(pool).bind(cx.now).bind(hard_cap.unwrap_or(UNLIMITED));
    let next: Option<DateTime<Utc>> = next.value().await?;
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

/// The next instant at which a seat of a pool up to a number is free.
pub const NEXT: &str = "SELECT free_at FROM lease_seats
     WHERE pool_id = $1 AND free_at > $2 AND +n <= $3
     ORDER BY free_at, n LIMIT 1";

/// Returns the number of taken seats, where no seat up to the hard cap is free: all of these, and
/// those beyond it whose leases live on after the cap was lowered. The seats of a pool that was closed
/// in between are no reason for a refusal.
async fn used(cx: &mut Cx, pool: PoolId, hard_cap: Option<i64>) -> Result<i64> {
    let allocated = "SELECT allocated FROM lease_pools WHERE id = $1 AND closed_at IS NULL";
    let allocated = cx.tx.q(allocated).bind(pool).value::<i64>().await?;
    let allocated = allocated.ok_or_else(Error::stale)?;
    let Some(within) = hard_cap.filter(|most| *most < allocated) else { return Ok(allocated) };
    let beyond = cx.tx.q(BEYOND).bind(pool).bind(within).bind(cx.now);
    Ok(within + beyond.value().await?.unwrap_or(0))
}

/// Counts the taken seats of a pool beyond a number.
pub const BEYOND: &str = "SELECT COUNT(*) FROM lease_seats
     WHERE pool_id = $1 AND n > $2 AND (free_at IS NULL OR free_at > $3)";

/// The leases of a pool without an end, the longest idle first. Migration 0050 has their index.
pub const ENDLESS: &str = "WHERE lease_seats.pool_id = $1 AND lease_seats.ended_at IS NULL
       AND lease_seats.expires_at IS NULL
     ORDER BY lease_seats.heartbeat_at, lease_seats.n LIMIT $2";

/// The leases of a pool that end without a heartbeat, the next one to end first.
pub const ENDING: &str = "WHERE lease_seats.pool_id = $1 AND lease_seats.free_at > $3
       AND lease_seats.ended_at IS NULL
     ORDER BY lease_seats.free_at, lease_seats.n LIMIT $2";

/// Returns the leases without a heartbeat for the longest time. Leases with an end are found by that
/// end: an index of their heartbeats would cost each heartbeat more.
async fn idle(cx: &mut Cx, pool: PoolId) -> Result<Vec<serde_json::Value>> {
    let mut rows: Vec<SeatRow> = cx.tx.select(ENDLESS).bind(pool).bind(NAMED).all().await?;
    let ending = cx.tx.select(ENDING).bind(pool).bind(NAMED).bind(cx.now);
    rows.extend(ending.all().await?);
    rows.sort_by_key(|seat| (seat.heartbeat_at, seat.n));
    rows.truncate(usize::try_from(NAMED).unwrap_or(usize::MAX));
    let holder = |seat: SeatRow| {
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
