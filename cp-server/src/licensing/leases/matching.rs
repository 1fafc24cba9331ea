//! Matching: whether a machine with other components is the same machine.

use super::claim::Claim;
use super::holders::Holder;
use super::rows::{self, SeatRow};
use super::settings::{Matching, PoolKind, Settings};
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::{LeaseId, PoolId};

/// A lease that has some of the components.
#[derive(sqlx::FromRow)]
struct Candidate {
    lease_id: LeaseId,
    hits: i64,
    known: i64,
}

impl Matching {
    /// Returns whether a machine with `hits` of the `known` components of a lease is the same one.
    fn accepts(self, hits: i64, known: i64) -> bool {
        match self {
            Self::Exact => false,
            Self::Any => hits >= 1,
            Self::Two => hits >= 2,
            Self::Most => hits * 2 > known,
            Self::All => hits > 0 && hits == known,
        }
    }
}

/// Returns the seat of the live lease that the machine's components match: the one with the most
/// matches, then the oldest. A claim locks it.
pub(super) async fn seat(
    cx: &mut Cx,
    pool: PoolId,
    settings: &Settings,
    holder: &Holder,
    locks: bool,
) -> Result<Option<SeatRow>> {
    let (matching, components) = (settings.matching, &holder.components);
    if settings.kind != PoolKind::Node || matching == Matching::Exact || components.is_empty() {
        return Ok(None);
    }
    let sql = "SELECT c.lease_id, COUNT(*) AS hits,
                      (SELECT COUNT(*) FROM lease_components k WHERE k.lease_id = c.lease_id) AS known
               FROM lease_components c
               WHERE c.pool_id = $1 AND c.hash IN ";
    let candidates = cx
        .tx
        .q(sql)
        .bind(pool)
        .rows([components], |query, hashes| hashes.iter().fold(query, |q, hash| q.bind(&**hash)))
        .sql(" GROUP BY c.lease_id ORDER BY 2 DESC, c.lease_id");
    for candidate in candidates.all::<Candidate>().await? {
        if !matching.accepts(candidate.hits, candidate.known) {
            continue;
        }
        let found = rows::of_lease(&mut cx.tx, candidate.lease_id);
        let found = if locks { found.locked() } else { found };
        let found: Option<SeatRow> = found.opt().await?;
        if let Some(seat) = found.filter(|seat| seat.end(cx.now).is_none()) {
            return Ok(Some(seat));
        }
    }
    Ok(None)
}

/// Replaces the components of the lease by those of the claim, if it has some.
pub(super) async fn replace(cx: &mut Cx, claim: &Claim, seat: &SeatRow) -> Result<()> {
    if claim.settings.kind != PoolKind::Node || claim.holder.components.is_empty() {
        return Ok(());
    }
    forget(cx, seat.lease_id).await?;
    let sql = "INSERT INTO lease_components (lease_id, hash, pool_id, organization_id) VALUES ";
    let insert = cx.tx.q(sql).rows(&claim.holder.components, |query, hash| {
        query.bind(seat.lease_id).bind(&**hash).bind(seat.pool_id).bind(seat.organization_id)
    });
    insert.exec().await?;
    Ok(())
}

/// Deletes the components of a lease.
pub(super) async fn forget(cx: &mut Cx, lease: LeaseId) -> Result<()> {
    cx.tx.q("DELETE FROM lease_components WHERE lease_id = $1").bind(lease).exec().await?;
    Ok(())
}
