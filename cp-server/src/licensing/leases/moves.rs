//! Moves of leases whose seats are beyond a lowered cap.

use super::rows::{End, Facts, SeatRow};
use super::settings::MOST_SEATS;
use super::{refusals, steps, tenures};
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::LeaseId;

/// Moves a lease beyond the hard cap to a free seat within it.
///
/// # Errors
/// Fails with 409 `seats_exhausted` when none is free; the lease keeps its present end.
pub(super) async fn within_cap(cx: &mut Cx, seat: &SeatRow, facts: &Facts) -> Result<()> {
    let name = facts.pool_name.as_deref().unwrap_or_default();
    let Some(settings) = facts.settings(name)? else { return Ok(()) };
    let most = settings.hard_cap().unwrap_or(MOST_SEATS);
    if seat.n <= most {
        return Ok(());
    }
    let Some(free) = steps::free(cx, seat.pool_id, most, true).await? else {
        return Err(refusals::exhausted(cx, seat.pool_id, name, &settings).await?);
    };
    tenures::keep(cx, &free, End::Expired).await?;
    // The old seat keeps a lease of no time and no holder.
    let vacate = "UPDATE lease_seats
                  SET lease_id = $2, holder = NULL, user_id = NULL, label = NULL, acquired_at = $3,
                      ended_at = $3, ended_by = $4, free_at = $3, expires_at = NULL
                  WHERE lease_id = $1";
    let nothing = LeaseId::new(&cx.app.random, cx.now);
    let vacate = cx.tx.q(vacate).bind(seat.lease_id).bind(nothing).bind(cx.now);
    vacate.bind(End::Released).exec().await?;
    let occupy = "UPDATE lease_seats
                  SET lease_id = $3, holder = $4, holder_kind = $5, user_id = $6, label = $7,
                      meta = $8, acquired_at = $9, heartbeat_at = $10, ttl_seconds = $11,
                      expires_at = $12, overage = $13, free_at = $12, borrowed_until = NULL,
                      ended_at = NULL, ended_by = NULL, status_list_id = NULL, status_idx = NULL
                  WHERE pool_id = $1 AND n = $2";
    let occupy = cx
        .tx
        .q(occupy)
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
        .bind(settings.cap.is_some_and(|cap| free.n > cap));
    occupy.exec().await?;
    Ok(())
}
