//! Tenures: ended leases whose seats have other leases.

use chrono::{DateTime, TimeDelta, Utc};

use super::matching;
use super::rows::{End, HolderKind, SeatRow};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::db::record::Object;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::{LeaseId, LicenseId, PoolId};

crate::record! {
    /// An ended lease.
    TenureRow in lease_tenures {
        id: LeaseId,
        pool_id: PoolId,
        n: i64,
        organization_id: OrganizationId,
        license_id: LicenseId,
        holder: Option<String>,
        holder_kind: HolderKind,
        user_id: Option<UserId>,
        label: Option<String>,
        meta: Object,
        acquired_at: DateTime<Utc>,
        heartbeat_at: DateTime<Utc>,
        expires_at: Option<DateTime<Utc>>,
        borrowed_until: Option<DateTime<Utc>>,
        overage: bool,
        ended_at: DateTime<Utc>,
        ended_by: End,
    }
}

impl TenureRow {
    /// Returns the tenure in the form of a seat's row.
    pub fn into_seat(self) -> SeatRow {
        SeatRow {
            lease_id: self.id,
            pool_id: self.pool_id,
            n: self.n,
            organization_id: self.organization_id,
            license_id: self.license_id,
            holder: self.holder,
            holder_kind: self.holder_kind,
            user_id: self.user_id,
            label: self.label,
            meta: self.meta,
            acquired_at: self.acquired_at,
            heartbeat_at: self.heartbeat_at,
            ttl_seconds: None,
            expires_at: self.expires_at,
            borrowed_until: self.borrowed_until,
            overage: self.overage,
            ended_at: Some(self.ended_at),
            ended_by: Some(self.ended_by),
            is_vacant: false,
            status_list_id: None,
            status_idx: None,
            is_absent: false,
        }
    }
}

/// Returns the lease, if it has left its seat.
pub(super) async fn load(tx: &mut Conn, lease: LeaseId) -> Result<Option<TenureRow>> {
    Ok(tx.select("WHERE lease_tenures.id = $1").bind(lease).opt().await?)
}

/// Takes the lease from a seat, which is free from this instant on. The row that stays is no lease.
pub(super) async fn vacate(cx: &mut Cx, seat: &SeatRow, free_at: DateTime<Utc>) -> Result<()> {
    let sql = "UPDATE lease_seats
               SET lease_id = $2, holder = NULL, user_id = NULL, label = NULL, acquired_at = $3,
                   ended_at = $3, ended_by = $4, free_at = $5, expires_at = NULL,
                   borrowed_until = NULL, status_list_id = NULL, status_idx = NULL,
                   is_vacant = TRUE
               WHERE lease_id = $1";
    let nothing = LeaseId::new(&cx.app.random, cx.now);
    let vacate = cx.tx.q(sql).bind(seat.lease_id).bind(nothing).bind(cx.now);
    vacate.bind(End::Released).bind(free_at).exec().await?;
    Ok(())
}

/// Keeps the lease of a seat that gets another lease. A lease that still lives ends for this reason.
pub(super) async fn keep(cx: &mut Cx, seat: &SeatRow, reason: End) -> Result<()> {
    if seat.is_vacant {
        return Ok(());
    }
    let (ended_at, ended_by) = seat.end(cx.now).unwrap_or((cx.now, reason));
    let sql = "INSERT INTO lease_tenures
               (id, pool_id, n, organization_id, license_id, holder, holder_kind, user_id, label,
                meta, acquired_at, heartbeat_at, expires_at, borrowed_until, overage, ended_at,
                ended_by)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
    let insert = cx
        .tx
        .q(sql)
        .bind(seat.lease_id)
        .bind(seat.pool_id)
        .bind(seat.n)
        .bind(seat.organization_id)
        .bind(seat.license_id)
        .bind(seat.holder.as_deref())
        .bind(seat.holder_kind)
        .bind(seat.user_id)
        .bind(seat.label.as_deref())
        .bind(seat.meta.clone())
        .bind(seat.acquired_at)
        .bind(seat.heartbeat_at)
        .bind(seat.expires_at)
        .bind(seat.borrowed_until)
        .bind(seat.overage)
        .bind(ended_at)
        .bind(ended_by);
    insert.exec().await?;
    matching::forget(cx, seat.lease_id).await
}

/// How long ended leases are kept.
#[derive(Clone, Debug)]
pub struct LeaseHistory(pub TimeDelta);

impl Part for LeaseHistory {}

/// The most tenures that one transaction deletes.
const AT_ONCE: i64 = 5000;

/// Deletes the tenures that ended too long ago, in small transactions.
pub async fn forget(app: &App) -> anyhow::Result<()> {
    let until = app.clock.now() - LeaseHistory::of(app).0;
    loop {
        let mut tx = app.db.begin().await?;
        let sql = "DELETE FROM lease_tenures
                   WHERE id IN (SELECT id FROM lease_tenures WHERE ended_at < $1 LIMIT $2)";
        let deleted = tx.q(sql).bind(until).bind(AT_ONCE).exec().await?;
        tx.commit().await?;
        if i64::try_from(deleted)? < AT_ONCE {
            return Ok(());
        }
    }
}
