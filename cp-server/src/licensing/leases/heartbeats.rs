//! Heartbeats: a holder keeps its lease.

use chrono::TimeDelta;
use cp_contracts::Lease;
use schemars::JsonSchema;
use serde::Deserialize;

use super::holders::NewHolder;
use super::rows::{Facts, SeatRow, free_at};
use super::{answers, current, moves, refusals, tokens};
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::LeaseId;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The holder. A lease of another holder is not found.
    holder: Option<NewHolder>,
    /// Whether the answer has a new lease token. False when absent.
    #[serde(default)]
    token: bool,
}

pub(super) async fn heartbeat(cx: &mut Cx, id: LeaseId, heartbeat: Heartbeat) -> Result<Lease> {
    cx.audit.omit();
    let (seat, facts) = current::held(cx, id, heartbeat.holder).await?;
    current::refuse_ended(cx, &seat, &facts)?;
    refusals::refuse_borrowed(&seat, cx.now)?;
    let is_early = cx.now < answers::pace(&seat, &facts)?.not_before;
    if is_early && !heartbeat.token {
        return answers::lease(&seat, &facts, cx.now);
    }
    let seat = if is_early {
        cx.begin().await?;
        seat
    } else {
        keep(cx, &seat, &facts, heartbeat.token).await?
    };
    let mut lease = answers::lease(&seat, &facts, cx.now)?;
    if heartbeat.token {
        tokens::announce(cx, &seat, &facts).await?;
        cx.commit_early(Effect::Harmless).await?;
        lease.token = Some(tokens::sign(cx, seat, facts).await?);
    }
    Ok(lease)
}

/// The write of a heartbeat, unless another request changed the lease or closed the pool.
pub const KEEP: &str = "UPDATE lease_seats
     SET heartbeat_at = $2, expires_at = $3, free_at = $4
     WHERE lease_id = $1 AND heartbeat_at = $5 AND ended_at IS NULL
       AND (expires_at IS NULL OR expires_at > $2)
       AND EXISTS (SELECT 1 FROM lease_pools p
                   WHERE p.id = lease_seats.pool_id AND p.closed_at IS NULL)";

/// Extends the lease. A lease beyond the cap moves to a free seat within it.
async fn keep(cx: &mut Cx, seat: &SeatRow, facts: &Facts, has_more: bool) -> Result<SeatRow> {
    let settings = facts.pool_settings()?.ok_or_else(|| refusals::gone(facts))?;
    let next = settings.ttl(seat.ttl_seconds).map(|ttl| cx.now + TimeDelta::seconds(ttl));
    let expires_at = seat.prolonged(next);
    let name = facts.pool_name.as_deref().unwrap_or_default();
    if has_more || seat.n > settings.last_within() {
        cx.begin().await?;
        moves::settle(cx, seat, name, settings).await?;
    } else {
        cx.begin_single().await?;
    }
    let free = expires_at.map(|end| free_at(&cx.tx, end));
    let update = cx.tx.returning(KEEP).bind(seat.lease_id).bind(cx.now).bind(expires_at);
    let update = update.bind(free).bind(seat.heartbeat_at);
    update.opt().await?.ok_or_else(Error::stale)
}
