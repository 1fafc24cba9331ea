//! The licenses of organizations and their seats, in sums.

use std::collections::BTreeMap;

use super::rows;
use super::settings::SEATS;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::query::Query;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;

/// The licenses of an organization that are not revoked, and their seats.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub licenses: i64,
    pub seats: i64,
    /// The live leases of these seats.
    pub leases: i64,
}

/// Returns the totals of these organizations, in two statements.
pub async fn of<G>(
    cx: &mut Cx<G>,
    ids: &[OrganizationId],
) -> Result<BTreeMap<OrganizationId, Totals>> {
    let mut totals = BTreeMap::new();
    if ids.is_empty() {
        return Ok(totals);
    }
    // The effective seats of a license, as `entitlement::seats` determines them.
    let sql = "SELECT l.organization_id, COUNT(*),
                      CAST(SUM(CASE WHEN l.seat_cap <= s.seat_cap OR l.allow_more_seats
                                    THEN COALESCE(l.seat_cap, s.seat_cap)
                                    ELSE s.seat_cap END) AS BIGINT)
               FROM licenses l JOIN subscriptions s ON s.id = l.subscription_id
               WHERE l.status <> 'revoked' AND l.organization_id IN ";
    let query = cx.tx.q(sql).rows([ids], among);
    let found: Vec<(OrganizationId, i64, i64)> =
        query.sql(" GROUP BY l.organization_id").all().await?;
    for (id, licenses, seats) in found {
        totals.insert(id, Totals { licenses, seats, leases: 0 });
    }
    let sql = concat!(
        "SELECT p.organization_id, COUNT(*)
         FROM lease_pools p JOIN lease_seats ON lease_seats.pool_id = p.id
         WHERE p.name = $1 AND p.closed_at IS NULL AND lease_seats.ended_at IS NULL
           AND (lease_seats.expires_at IS NULL OR lease_seats.expires_at > $2)
           AND NOT ",
        rows::absent!(),
        " AND p.organization_id IN "
    );
    let query = cx.tx.q(sql).bind(SEATS).bind(cx.now).rows([ids], among);
    let found: Vec<(OrganizationId, i64)> = query.sql(" GROUP BY p.organization_id").all().await?;
    for (id, leases) in found {
        totals.entry(id).or_default().leases = leases;
    }
    Ok(totals)
}

fn among<'c>(query: Query<'c>, ids: &[OrganizationId]) -> Query<'c> {
    ids.iter().fold(query, |query, id| query.bind(*id))
}
