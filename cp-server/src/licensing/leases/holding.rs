//! The lease of a holder, for requests that name a holder and no lease.

use cp_contracts::Lease;
use uuid::Uuid;

use super::holders::NewHolder;
use super::settings::PoolName;
use super::{answers, matching, rows};
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
    let own = rows::of_holder(&mut cx.tx, pool, &holder.hash).opt().await?;
    let is_live = own.as_ref().is_some_and(|seat| seat.end(cx.now).is_none());
    let same = match is_live {
        true => None,
        false => matching::seat(cx, pool, &settings, &holder, false).await?,
    };
    same.or(own).map(|seat| answers::lease(&seat, &facts, cx.now)).transpose()
}
