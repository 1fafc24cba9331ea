//! The lists of leases and their filters.

use cp_contracts::Lease;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::answers;
use super::rows::SeatRow;
use super::settings::{PoolKind, PoolName};
use crate::kernel::access::caller::{CallerScope, Scope};
use crate::kernel::access::ids::DeploymentId;
use crate::kernel::access::place::Org;
use crate::kernel::db::query::Rows;
use crate::kernel::db::record::Record;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, NoFilter, Page};
use crate::licensing::ids::LicenseId;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaseFilter {
    /// Only leases of this pool.
    pool: Option<PoolName>,
    /// Only leases of pools of this kind.
    kind: Option<PoolKind>,
    /// Only leases of the holder with this hash.
    holder: Option<String>,
    /// Only leases of this license.
    license: Option<LicenseId>,
    /// `live` for leases that have not ended, also while their license is not in force; `over` for
    /// ended ones. `live` when absent.
    state: Option<State>,
}

crate::text_enum! { State { Live = "live", Over = "over" } }

/// A lease on its seat, or one that has left it.
#[derive(sqlx::FromRow)]
struct AnyRow {
    #[sqlx(flatten)]
    seat: SeatRow,
}

impl Record for AnyRow {
    const TABLE: &'static str = "(
        SELECT lease_id, pool_id, n, organization_id, license_id, holder, holder_kind, user_id,
               label, meta, acquired_at, heartbeat_at, ttl_seconds, expires_at, borrowed_until,
               overage, ended_at, ended_by, is_vacant, status_list_id, status_idx
        FROM lease_seats WHERE NOT is_vacant
        UNION ALL
        SELECT t.id, t.pool_id, t.n, t.organization_id, t.license_id, t.holder, t.holder_kind,
               t.user_id, t.label, t.meta, t.acquired_at, t.heartbeat_at, NULL,
               t.expires_at, t.borrowed_until, t.overage, t.ended_at, t.ended_by, FALSE, NULL, NULL
        FROM lease_tenures t) AS ended
        JOIN lease_pools ON lease_pools.id = ended.pool_id";
    const COLUMNS: &'static str = "ended.lease_id, ended.pool_id, ended.n, ended.organization_id,
        ended.license_id, ended.holder, ended.holder_kind, ended.user_id, ended.label, ended.meta,
        ended.acquired_at, ended.heartbeat_at, ended.ttl_seconds, ended.expires_at,
        ended.borrowed_until, ended.overage, ended.ended_at, ended.ended_by, ended.is_vacant,
        ended.status_list_id, ended.status_idx, FALSE AS is_absent";
    const KEY: &'static str = "ended.lease_id";
    fn key(&self) -> Uuid {
        self.seat.lease_id.0
    }
}

pub(super) async fn list(
    cx: &mut Cx,
    id: LicenseId,
    list: List<LeaseFilter>,
) -> Result<Page<Lease>> {
    match list.filter.state {
        Some(State::Over) => over(cx, list, |rows| rows.and(" AND ended.license_id = ?", id)).await,
        _ => live(cx, list, |rows| rows.and(" AND lease_seats.license_id = ?", id)).await,
    }
}

pub(super) async fn list_for_deployment(
    cx: &mut Cx,
    id: DeploymentId,
    list: List<LeaseFilter>,
) -> Result<Page<Lease>> {
    match list.filter.state {
        Some(State::Over) => {
            let tail = " AND ended.license_id IN (SELECT id FROM licenses WHERE deployment_id = ?)";
            over(cx, list, |rows| rows.and(tail, id)).await
        }
        _ => {
            let tail =
                " AND lease_seats.license_id IN (SELECT id FROM licenses WHERE deployment_id = ?)";
            live(cx, list, |rows| rows.and(tail, id)).await
        }
    }
}

pub(super) async fn list_for_organization(
    cx: &mut Cx,
    _: Org,
    list: List<LeaseFilter>,
) -> Result<Page<Lease>> {
    match list.filter.state {
        Some(State::Over) => over(cx, list, |rows| rows).await,
        _ => live(cx, list, |rows| rows).await,
    }
}

/// Lists the live leases of the calling person, in the organizations where the authority of the
/// login counts.
pub(super) async fn list_own(
    cx: &mut Cx<Scope>,
    _: CallerScope,
    list: List<NoFilter>,
) -> Result<Page<Lease>> {
    let tail = "WHERE lease_seats.user_id = $1 AND lease_seats.ended_at IS NULL
                  AND (lease_seats.expires_at IS NULL OR lease_seats.expires_at > $2)
                  AND EXISTS (SELECT 1 FROM lease_pools
                              WHERE lease_pools.id = lease_seats.pool_id
                                AND lease_pools.closed_at IS NULL)";
    let of = cx.caller.authority().organization();
    let query = cx.tx.select(tail).bind(cx.caller.user).bind(cx.now);
    let page = list.page(query.and_some(" AND lease_seats.organization_id = ?", of)).await?;
    let items = answers::leases(cx, &page.items).await?;
    Ok(Page { items, next_cursor: page.next_cursor })
}

async fn live(
    cx: &mut Cx,
    list: List<LeaseFilter>,
    of: impl for<'c> FnOnce(Rows<'c, SeatRow>) -> Rows<'c, SeatRow>,
) -> Result<Page<Lease>> {
    let tail = "WHERE lease_seats.organization_id = $1 AND lease_seats.ended_at IS NULL
                  AND (lease_seats.expires_at IS NULL OR lease_seats.expires_at > $2)";
    let query = of(cx.tx.select(tail).bind(cx.at).bind(cx.now))
        .and_some(" AND lease_seats.holder = ?", list.filter.holder.as_deref())
        .and_some(" AND lease_seats.license_id = ?", list.filter.license)
        .sql(
            " AND EXISTS (SELECT 1 FROM lease_pools
                          WHERE lease_pools.id = lease_seats.pool_id
                            AND lease_pools.closed_at IS NULL",
        );
    let page = list.page(of_pools(query, &list.filter).sql(")")).await?;
    let items = answers::leases(cx, &page.items).await?;
    Ok(Page { items, next_cursor: page.next_cursor })
}

async fn over(
    cx: &mut Cx,
    list: List<LeaseFilter>,
    of: impl for<'c> FnOnce(Rows<'c, AnyRow>) -> Rows<'c, AnyRow>,
) -> Result<Page<Lease>> {
    let tail = "WHERE ended.organization_id = $1
                  AND (ended.ended_at IS NOT NULL OR ended.expires_at <= $2
                       OR lease_pools.closed_at IS NOT NULL)";
    let query = of(cx.tx.select(tail).bind(cx.at).bind(cx.now))
        .and_some(" AND ended.holder = ?", list.filter.holder.as_deref())
        .and_some(" AND ended.license_id = ?", list.filter.license);
    let page = list.page(of_pools(query, &list.filter)).await?;
    let seats: Vec<SeatRow> = page.items.into_iter().map(|row| row.seat).collect();
    let items = answers::leases(cx, &seats).await?;
    Ok(Page { items, next_cursor: page.next_cursor })
}

fn of_pools<'c, R: Record + 'c>(rows: Rows<'c, R>, filter: &LeaseFilter) -> Rows<'c, R> {
    rows.and_some(" AND lease_pools.name = ?", filter.pool.as_ref())
        .and_some(" AND lease_pools.kind = ?", filter.kind)
}
