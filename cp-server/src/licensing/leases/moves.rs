//! Moves of leases whose seats are beyond the cap.

use super::rows::{self, End, SeatRow, free_at};
use super::settings::{Settings, UNLIMITED};
use super::{refusals, tenures};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;

/// Moves a lease beyond the cap to a free seat within it. Beyond the hard cap it must move.
///
/// # Errors
/// Fails with 409 `seats_exhausted` when it must and no seat is free; the lease keeps its end. Fails
/// with [`Error::stale`] for a lease that has changed since the read: an ended one would live again.
pub(super) async fn settle(
    cx: &mut Cx,
    seat: &SeatRow,
    name: &str,
    settings: &Settings,
) -> Result<()> {
    let (cap, hard_cap) = (settings.last_within(), settings.hard_cap());
    if seat.n <= cap {
        return Ok(());
    }
    let found = rows::of_lease(&mut cx.tx, seat.lease_id).locked().opt().await?;
    if !found.is_some_and(|found: SeatRow| found.is_unchanged(seat)) {
        return Err(Error::stale());
    }
    let mut free = rows::free(cx, seat.pool_id, cap, true).await?;
    if free.is_none() && seat.n > hard_cap.unwrap_or(UNLIMITED) {
        free = rows::free(cx, seat.pool_id, hard_cap.unwrap_or(UNLIMITED), true).await?;
        if free.is_none() {
            return Err(refusals::exhausted(cx, seat.pool_id, name, settings).await?);
        }
    }
    let Some(free) = free else { return Ok(()) };
    tenures::keep(cx, &free, End::Expired).await?;
    tenures::vacate(cx, seat, cx.now).await?;
    let sql = "UPDATE lease_seats
               SET lease_id = $3, holder = $4, holder_kind = $5, user_id = $6, label = $7, meta = $8,
                   acquired_at = $9, heartbeat_at = $10, ttl_seconds = $11, expires_at = $12,
                   overage = $13, free_at = $14, borrowed_until = $15, ended_at = NULL,
                   ended_by = NULL, is_vacant = FALSE, status_list_id = $16, status_idx = $17
               WHERE pool_id = $1 AND n = $2";
    let free_at = seat.expires_at.map(|end| free_at(&cx.tx, end));
    let occupy = cx
        .tx
        .q(sql)
        .bind(seat.pool_id)
        .bind(free.n)
        .bind(seat.lease_id)
        .bind(seat.holder.as_deref())
        .bind(seat.holder_kind)
        .bind(seat.user_id)
        .bind(seat.label.as_deref())
        .bind(seat.meta.clone())
        .bind(seat.acquired_at)
        .bind(seat.heartbeat_at)
        .bind(seat.ttl_seconds)
        .bind(seat.expires_at)
        .bind(free.n > cap)
        .bind(free_at)
        .bind(seat.borrowed_until)
        .bind(seat.status_list_id)
        .bind(seat.status_idx);
    occupy.exec().await?;
    Ok(())
}
