//! The lease of a holder, for requests that name a holder and no lease.

use cp_contracts::Lease;
use uuid::Uuid;

use super::claim::Claim;
use super::holders::NewHolder;
use super::rows::SeatRow;
use super::settings::PoolName;
use super::{answers, matching, rows};
use crate::kernel::db::record::Object;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::{LicenseId, PoolId};

/// Returns the lease of the holder in a pool, also an ended one whose seat has no other holder yet.
/// `None` without such a lease, and without such a pool.
pub async fn of_holder(
    cx: &mut Cx,
    license: LicenseId,
    name: PoolName,
    holder: NewHolder,
) -> Result<Option<Lease>> {
    let facts = rows::facts(&mut cx.tx, license, name.as_str()).await?;
    let Some(settings) = facts.settings(name.as_str())? else { return Ok(None) };
    let holder = holder.resolve(&mut cx.tx, cx.at, license, settings.kind).await?;
    let pool = facts.pool_id.unwrap_or(PoolId(Uuid::nil()));
    let query = cx.tx.select("WHERE lease_seats.pool_id = $1 AND lease_seats.holder = $2");
    let own: Option<SeatRow> = query.bind(pool).bind(&*holder.hash).opt().await?;
    let is_live = own.as_ref().is_some_and(|seat| seat.end(cx.now).is_none());
    let claim = Claim {
        pool,
        name,
        settings,
        holder,
        label: None,
        meta: Object::default(),
        ttl: None,
        takes_over: false,
        borrows: false,
    };
    let same = if is_live { None } else { matching::seat(cx, &claim).await? };
    same.or(own).map(|seat| answers::lease(&seat, &facts, cx.now)).transpose()
}
