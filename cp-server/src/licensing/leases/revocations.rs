//! Revocations of the tokens of borrowed leases that end early.

use super::rows::SeatRow;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::PoolId;
use crate::licensing::status_lists::rows as status_lists;

/// Revokes the token of a borrowed lease.
pub(super) async fn revoke(cx: &mut Cx, seat: &SeatRow) -> Result<()> {
    let Some(until) = seat.borrowed_until.filter(|_| seat.is_borrowed(cx.now)) else {
        return Ok(());
    };
    match seat.status_list_id.zip(seat.status_idx) {
        Some(entry) => status_lists::revoke_entry(cx, entry, until + status_lists::LEEWAY).await,
        None => Ok(()),
    }
}

/// Revokes the tokens of all borrowed leases: of the organization, or of these open pools.
pub async fn revoke_all(cx: &mut Cx, pools: Option<&[PoolId]>) -> Result<()> {
    if pools.is_some_and(<[PoolId]>::is_empty) {
        return Ok(());
    }
    let tail = "WHERE lease_seats.organization_id = $1 AND lease_seats.borrowed_until > $2
                  AND lease_seats.ended_at IS NULL AND lease_seats.status_list_id IS NOT NULL
                  AND EXISTS (SELECT 1 FROM lease_pools
                              WHERE lease_pools.id = lease_seats.pool_id
                                AND lease_pools.closed_at IS NULL)";
    let query = cx.tx.select(tail).bind(cx.at).bind(cx.now);
    let query = match pools {
        Some(pools) => query
            .sql(" AND lease_seats.pool_id IN ")
            .rows([pools], |query, pools| pools.iter().fold(query, |query, id| query.bind(*id))),
        None => query,
    };
    let borrowed: Vec<SeatRow> = query
        // One by one and in order, so that two changes never wait for each other.
        .sql(" ORDER BY lease_seats.status_list_id, lease_seats.status_idx")
        .all()
        .await?;
    for seat in &borrowed {
        revoke(cx, seat).await?;
    }
    Ok(())
}
