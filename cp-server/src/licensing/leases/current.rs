//! The lease that a request names, and its end.

use chrono::TimeDelta;

use super::holders::NewHolder;
use super::rows::{self, End, Facts, SeatRow};
use super::settings::PoolKind;
use super::{refusals, tenures};
use crate::kernel::access::areas::{Area, AreaKind};
use crate::kernel::access::caller::{CallerKind, Permission};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::{LeaseId, LicenseId};
use crate::licensing::license_keys::rows::opens_pool;

/// Returns the seat of a lease, which may have ended, and its license.
///
/// # Errors
/// Fails with 404 for a lease of another holder, and for a pool that the caller's key does not open.
pub(super) async fn held(
    cx: &mut Cx,
    id: LeaseId,
    holder: Option<NewHolder>,
) -> Result<(SeatRow, Facts)> {
    refuse_unnamed(cx, holder.is_some())?;
    let (seat, facts) = seat_of(cx, id).await?;
    refuse_unopened(cx, &facts).await?;
    if let Some(holder) = holder {
        let kind = facts.pool_kind.unwrap_or(PoolKind::Floating);
        let holder = holder.resolve(&mut cx.tx, cx.at, seat.license_id, kind).await?;
        if seat.holder.as_ref() != Some(&holder.hash) {
            return Err(missing());
        }
    }
    Ok((seat, facts))
}

/// Returns the seat of a lease, and its license. A lease that has left its seat has the form of a seat's
/// row.
pub(super) async fn seat_of(cx: &mut Cx, id: LeaseId) -> Result<(SeatRow, Facts)> {
    let found = rows::seat_and_facts(&mut cx.tx, id).await?;
    if let Some(found) = found.filter(|(seat, _)| !seat.is_vacant) {
        return Ok(found);
    }
    let seat = tenures::load(&mut cx.tx, id).await?.ok_or_else(missing)?.into_seat();
    let facts = rows::facts_of(&mut cx.tx, &[seat.pool_id]).await?.pop();
    Ok((seat, facts.ok_or_else(missing)?))
}

/// Refuses a license key that does not open the pool, like a missing lease.
pub(super) async fn refuse_unopened(cx: &mut Cx, facts: &Facts) -> Result<()> {
    match opens_pool(cx, facts.pool_name.as_deref().unwrap_or_default()).await? {
        true => Ok(()),
        false => Err(missing()),
    }
}

/// Refuses a lease that has ended, for good or while its license is not in force.
pub(super) fn refuse_ended(cx: &Cx, seat: &SeatRow, facts: &Facts) -> Result<()> {
    if let Some((at, end)) = seat.end_in(facts, cx.now) {
        return Err(refusals::over(at, end));
    }
    facts.refuse_uncovered(cx.now)?;
    if seat.is_absent {
        return Err(refusals::over(cx.now, End::LicenseOver));
    }
    Ok(())
}

pub(super) fn missing() -> Error {
    Error::not_found("lease")
}

/// Refuses a license key that names no holder: other holders' leases are hidden from it.
pub(super) fn refuse_unnamed(cx: &Cx, is_named: bool) -> Result<()> {
    match cx.caller.kind {
        CallerKind::LicenseKey if !is_named => Err(missing()),
        _ => Ok(()),
    }
}

/// Refuses a caller whose area the license has left since the authorization.
///
/// # Errors
/// Fails with [`Error::stale`]: the operation starts over with the authorization.
pub(super) fn refuse_moved(cx: &Cx, license: LicenseId, facts: &Facts) -> Result<()> {
    let deployment = Area { kind: AreaKind::Deployment, id: facts.deployment_id.0 };
    let license = Area { kind: AreaKind::License, id: license.0 };
    match cx.caller.areas(cx.at, Permission::LEASES_WRITE) {
        Some(areas) if !areas.contains(&deployment) && !areas.contains(&license) => {
            Err(Error::stale())
        }
        _ => Ok(()),
    }
}

/// Ends the lease on a seat, unless it has changed since the read. For `reserved` only the same holder
/// gets the seat again.
pub(super) async fn end(
    cx: &mut Cx,
    seat: &SeatRow,
    reason: End,
    reserved: TimeDelta,
) -> Result<()> {
    let sql = "UPDATE lease_seats SET ended_at = $2, ended_by = $3, free_at = $4
               WHERE lease_id = $1 AND ended_at IS NULL
                 AND borrowed_until IS NOT DISTINCT FROM $5";
    let update = cx.tx.q(sql).bind(seat.lease_id).bind(cx.now).bind(reason).bind(cx.now + reserved);
    match update.bind(seat.borrowed_until).exec().await? {
        0 => Err(Error::stale()),
        _ => Ok(()),
    }
}
