//! Borrowing: leases without heartbeats, for machines without a network.

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::{Lease, ProblemCode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::rows::{self, End, Facts, SeatRow, free_at};
use super::{answers, current, moves, pools, refusals, revocations, tokens};
use crate::kernel::app::Part;
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Between;
use crate::kernel::journal::record;
use crate::licensing::ids::{LeaseId, StatusListId};
use crate::licensing::status_lists::StatusLists;
use crate::licensing::status_lists::rows as status_lists;

/// The time of a borrowing, in seconds: one minute to 366 days.
pub type BorrowSeconds = Between<60, 31_622_400>;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Borrowing {
    /// The time in seconds from now, at least 60 and at most the pool's `borrow_seconds`. It ends
    /// with the license.
    seconds: BorrowSeconds,
}

/// A borrowing that the pool allows, with an entry for its token.
pub(super) struct Borrow {
    until: DateTime<Utc>,
    entry: Option<(StatusListId, i64)>,
}

/// Refuses a borrowing that is longer than the pool's `borrow_seconds`.
pub(super) fn check(most: i64, seconds: BorrowSeconds, field: &'static str) -> Result<()> {
    if seconds.0 <= most {
        return Ok(());
    }
    let detail = match most {
        0 => "The pool does not allow borrowing. Set its `borrow_seconds`.".to_owned(),
        _ => format!("`{field}` must be at most {most}, the pool's (got {}).", seconds.0),
    };
    Err(Error::invalid(field, detail))
}

/// Takes an entry of a status list for the token of a borrowing.
pub(super) async fn prepare(cx: &mut Cx, facts: &Facts, seconds: BorrowSeconds) -> Result<Borrow> {
    let until = cx.now + TimeDelta::seconds(seconds.0);
    let until = facts.terms.until().map_or(until, |over| over.min(until));
    cx.release();
    let entry = StatusLists::of(&cx.app).take(&cx.app).await?;
    Ok(Borrow { until, entry: status_lists::place(&entry) })
}

/// Writes the borrowing onto the seat. A later end stays.
pub(super) async fn write(cx: &mut Cx, seat: &SeatRow, borrow: &Borrow) -> Result<SeatRow> {
    // A reset revokes the tokens of all borrowed leases, so it must not miss this one.
    pools::hold(cx, seat.pool_id).await?;
    let until = seat.borrowed_until.map_or(borrow.until, |before| before.max(borrow.until));
    let entry = seat.status_list_id.zip(seat.status_idx).or(borrow.entry);
    let sql = "UPDATE lease_seats
               SET borrowed_until = $2, expires_at = $2, free_at = $3, heartbeat_at = $4,
                   status_list_id = $5, status_idx = $6
               WHERE lease_id = $1 AND ended_at IS NULL
                 AND (expires_at IS NULL OR expires_at > $4)
                 AND status_list_id IS NOT DISTINCT FROM $7
                 AND status_idx IS NOT DISTINCT FROM $8";
    let free = free_at(&cx.tx, until);
    let update = cx.tx.returning(sql).bind(seat.lease_id).bind(until).bind(free).bind(cx.now);
    let update = update.bind(entry.map(|(list, _)| list)).bind(entry.map(|(_, idx)| idx));
    // All tokens of the lease have one entry: of two borrowings at once, one starts over.
    let update = update.bind(seat.status_list_id).bind(seat.status_idx);
    update.opt().await?.ok_or_else(Error::stale)
}

pub(super) async fn borrow(cx: &mut Cx, id: LeaseId, borrowing: Borrowing) -> Result<Lease> {
    let (seat, facts) = current::held(cx, id, None).await?;
    current::refuse_ended(cx, &seat, &facts)?;
    let settings = facts.pool_settings()?.ok_or_else(|| refusals::gone(&facts))?;
    check(settings.borrow_seconds, borrowing.seconds, "seconds")?;
    let borrow = prepare(cx, &facts, borrowing.seconds).await?;
    cx.begin().await?;
    let name = facts.pool_name.as_deref().unwrap_or_default();
    moves::settle(cx, &seat, name, settings).await?;
    let seat = write(cx, &seat, &borrow).await?;
    tokens::announce(cx, &seat, &facts).await?;
    let mut lease = answers::lease(&seat, &facts, cx.now)?;
    cx.audit.after = serde_json::to_value(&lease).ok();
    record::record(cx, "leases.borrow", Some(cx.at), ("lease", id.to_string())).await?;
    cx.audit.is_written = true;
    cx.commit_early(Effect::Harmless).await?;
    lease.token = Some(tokens::sign(cx, seat, facts).await?);
    Ok(lease)
}

pub(super) async fn give_back(cx: &mut Cx, id: LeaseId) -> Result<Lease> {
    let (seat, facts) = current::held(cx, id, None).await?;
    if let Some((at, end)) = seat.end_in(&facts, cx.now) {
        return Err(refusals::over(at, end));
    }
    if !seat.is_borrowed(cx.now) {
        let detail = "The lease is not borrowed. Release it with DELETE.";
        return Err(Error::new(ProblemCode::Conflict, detail));
    }
    let settings = facts.pool_settings()?;
    if !settings.is_some_and(|settings| settings.early_return) {
        refusals::refuse_borrowed(&seat, cx.now)?;
    }
    let reserved = settings.map_or(0, |settings| settings.reassign_seconds);
    revocations::revoke(cx, &seat).await?;
    current::end(cx, &seat, End::Returned, TimeDelta::seconds(reserved)).await?;
    let ended = rows::of_lease(&mut cx.tx, id).opt().await?.unwrap_or(seat);
    answers::lease(&ended, &facts, cx.now)
}
