//! Leases as their readers see them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use cp_contracts::{Lease, LeaseHolder, LeasePace};
use serde_json::Map;

use super::rows::{self, End, Facts, SeatRow};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::PoolId;

impl Resource for Lease {
    const NOUN: &'static str = "lease";
    const PATH: &'static str = "leases";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

/// Returns the pace of a lease's heartbeats.
pub(super) fn pace(seat: &SeatRow, facts: &Facts) -> Result<LeasePace> {
    let own = seat.ttl_seconds;
    let ttl = facts.pool_settings()?.map_or(own, |settings| settings.ttl(own));
    Ok(LeasePace::after(seat.heartbeat_at, ttl, seat.lease_id.0))
}

/// Returns the lease on a seat, as of now.
pub(super) fn lease(seat: &SeatRow, facts: &Facts, now: DateTime<Utc>) -> Result<Lease> {
    let is_void = seat.is_absent || facts.terms.covered_at(now).is_err();
    // A license that is not in force ends no lease for good, so there is no instant.
    let void = is_void.then_some((None, End::LicenseOver));
    let ended = seat.end_in(facts, now).map(|(at, end)| (Some(at), end)).or(void);
    let LeasePace { next_at, not_before } = pace(seat, facts)?;
    let meta = seat
        .meta
        .iter()
        .filter_map(|(name, value)| value.as_str().map(|value| (name.clone(), value.to_owned())));
    Ok(Lease {
        id: seat.lease_id.0,
        license_id: seat.license_id.0,
        deployment_id: facts.deployment_id.0,
        pool: facts.pool_name.clone().unwrap_or_default(),
        kind: facts.pool_kind.map_or_else(|| "".into(), Into::into),
        seat: seat.n,
        holder: LeaseHolder {
            kind: seat.holder_kind.into(),
            user_id: seat.user_id.map(|user| user.0),
            hash: seat.holder.clone().unwrap_or_default(),
            extra: Map::new(),
        },
        label: seat.label.clone(),
        meta: meta.collect(),
        state: if ended.is_some() { "over" } else { "live" }.into(),
        acquired_at: seat.acquired_at,
        heartbeat_at: seat.heartbeat_at,
        expires_at: seat.expires_at,
        next_at,
        not_before,
        borrowed_until: seat.borrowed_until,
        overage: facts.is_overage(seat, now)?,
        ended_at: ended.and_then(|(at, _)| at),
        end: ended.map(|(_, end)| end.into()),
        token: None,
        extra: Map::new(),
    })
}

/// Returns the leases on these seats, as of now.
pub(super) async fn leases<G>(cx: &mut Cx<G>, seats: &[SeatRow]) -> Result<Vec<Lease>> {
    let mut pools: Vec<PoolId> = seats.iter().map(|seat| seat.pool_id).collect();
    pools.sort();
    pools.dedup();
    let facts = rows::facts_of(&mut cx.tx, &pools).await?;
    let facts: HashMap<_, _> = facts.into_iter().map(|one| (one.pool_id, one)).collect();
    let shown = seats.iter().map(|seat| {
        let facts = facts.get(&Some(seat.pool_id)).ok_or_else(|| {
            Error::internal(anyhow::anyhow!("the pool of the lease {} is missing", seat.lease_id))
        })?;
        lease(seat, facts, cx.now)
    });
    shown.collect()
}
