//! Revocations of the tokens of borrowed leases that end early.

use super::rows::SeatRow;
use super::settings::PoolName;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::LicenseId;
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

/// Revokes the tokens of all borrowed leases: of the organization, of a license, or of its pool.
pub async fn revoke_all(
    cx: &mut Cx,
    license: Option<LicenseId>,
    pool: Option<&PoolName>,
) -> Result<()> {
    let tail = "WHERE lease_seats.organization_id = $1 AND lease_seats.borrowed_until > $2
                  AND lease_seats.ended_at IS NULL AND lease_seats.status_list_id IS NOT NULL
                  AND EXISTS (SELECT 1 FROM lease_pools
                              WHERE lease_pools.id = lease_seats.pool_id
                                AND lease_pools.closed_at IS NULL";
    let query = cx
        .tx
        .select(tail)
        .bind(cx.at)
        .bind(cx.now)
        .and_some(" AND lease_pools.name = ?", pool)
        .sql(")")
        .and_some(" AND lease_seats.license_id = ?", license)
        // One by one and in order, so that two changes never wait for each other.
        .sql(" ORDER BY lease_seats.status_list_id, lease_seats.status_idx");
    let borrowed: Vec<SeatRow> = query.all().await?;
    for seat in &borrowed {
        revoke(cx, seat).await?;
    }
    Ok(())
}
