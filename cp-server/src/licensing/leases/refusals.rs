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
    Refused::of(&cx.app).count(cx.at, pool);
    let (cap, hard_cap) = (settings.cap, settings.hard_cap());
    let used = used(cx, pool, hard_cap).await?;
    let sql = "SELECT free_at FROM lease_seats
               WHERE pool_id = $1 AND free_at > $2 AND n <= $3
               ORDER BY free_at, n LIMIT 1";
    let next = cx.tx.q(sql).bind(pool).bind(cx.now).bind(hard_cap.unwrap_or(UNLIMITED));
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

/// Returns the number of seats that have a live lease, where no seat up to the hard cap is free.
async fn used(cx: &mut Cx, pool: PoolId, hard_cap: Option<i64>) -> Result<i64> {
    let allocated = "SELECT allocated FROM lease_pools WHERE id = $1";
    let allocated: i64 = cx.tx.q(allocated).bind(pool).value().await?.unwrap_or(0);
    if hard_cap.is_none_or(|most| allocated <= most) {
        return Ok(allocated);
    }
    // The cap was lowered.
    let sql = "SELECT COUNT(*) FROM lease_seats
               WHERE pool_id = $1 AND (free_at IS NULL OR free_at > $2)";
    Ok(cx.tx.q(sql).bind(pool).bind(cx.now).value().await?.unwrap_or(0))
}

/// Returns the leases without a heartbeat for the longest time.
async fn idle(cx: &mut Cx, pool: PoolId) -> Result<Vec<serde_json::Value>> {
    let tail = "WHERE lease_seats.pool_id = $1 AND lease_seats.ended_at IS NULL
                ORDER BY lease_seats.heartbeat_at LIMIT ";
    let rows: Vec<SeatRow> = cx.tx.select(tail).bind(pool).and("?", NAMED).all().await?;
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
