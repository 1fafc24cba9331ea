//! The rows of pools and seats.

use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::settings::{Levels, PoolKind, SEATS, Settings};
use crate::kernel::access::ids::{DeploymentId, OrganizationId, UserId};
use crate::kernel::db::Conn;
use crate::kernel::db::query::Rows;
use crate::kernel::db::record::{Object, Record};
use crate::kernel::db::values::Row;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::coverage::{Terms, terms};
use crate::licensing::entitlement;
use crate::licensing::ids::{LeaseId, LicenseId, PoolId, StatusListId};

crate::text_enum! {
    /// The kind of a holder.
    HolderKind of cp_contracts::HolderKind {
        User = "user",
        Email = "email",
        Subject = "subject",
        Fingerprint = "fingerprint",
        Id = "id",
    }
}

crate::text_enum! {
    /// The reason for the end of a lease.
    End of cp_contracts::LeaseEnd {
        Released = "released",
        Expired = "expired",
        Returned = "returned",
        TakenOver = "taken_over",
        Reset = "reset",
        LicenseOver = "license_over",
    }
}

/// The SQL condition for a seat whose holder is a person who is not an active member.
macro_rules! absent {
    () => {
        "(lease_seats.user_id IS NOT NULL AND NOT EXISTS
          (SELECT 1 FROM memberships m JOIN users u ON u.id = m.user_id
           WHERE m.organization_id = lease_seats.organization_id
             AND m.user_id = lease_seats.user_id AND m.scope = 'organization'
             AND m.status = 'active' AND u.is_active))"
    };
}
pub(super) use absent;

crate::record! {
    /// A pool of a license, from its first claim on.
    PoolRow in lease_pools {
        id: PoolId,
        organization_id: OrganizationId,
        license_id: LicenseId,
        name: String,
        kind: PoolKind,
        /// The number of seats that exist.
        allocated: i64,
        created_at: DateTime<Utc>,
        /// The instant at which all of its leases ended.
        closed_at: Option<DateTime<Utc>>,
        closed_by: Option<End>,
    }
}

crate::record! {
    /// A seat with its newest lease.
    SeatRow in lease_seats {
        lease_id: LeaseId,
        pool_id: PoolId,
        n: i64,
        organization_id: OrganizationId,
        license_id: LicenseId,
        /// The hash of the holder; null once the holder has another seat, or was erased.
        holder: Option<String>,
        holder_kind: HolderKind,
        user_id: Option<UserId>,
        label: Option<String>,
        meta: Object,
        acquired_at: DateTime<Utc>,
        heartbeat_at: DateTime<Utc>,
        /// A shorter life without a heartbeat than the pool's.
        ttl_seconds: Option<i64>,
        expires_at: Option<DateTime<Utc>>,
        borrowed_until: Option<DateTime<Utc>>,
        /// Whether the seat was beyond the cap when it was taken.
        overage: bool,
        ended_at: Option<DateTime<Utc>>,
        ended_by: Option<End>,
        /// Whether the lease has moved to another seat: this row is no lease.
        #[serde(skip)]
        is_vacant: bool,
        /// The entry of a borrowed lease's token in a status list.
        #[serde(skip)]
        status_list_id: Option<StatusListId>,
        #[serde(skip)]
        status_idx: Option<i64>,
        /// Whether the holder is a person who is not an active member.
        is_absent: bool = absent!(),
    }
}

impl SeatRow {
    /// Returns the end of the lease by this instant and its reason, as far as the seat alone decides.
    pub fn end(&self, now: DateTime<Utc>) -> Option<(DateTime<Utc>, End)> {
        let explicit = self.ended_at.zip(self.ended_by);
        let by_time = self.expires_at.filter(|end| *end <= now).map(|end| (end, End::Expired));
        explicit.or(by_time)
    }

    /// Returns the end of the lease by this instant and its reason; a closed pool ended it, too.
    pub fn end_in(&self, facts: &Facts, now: DateTime<Utc>) -> Option<(DateTime<Utc>, End)> {
        let own = self.end(now);
        let closed = facts.closed_at.zip(facts.closed_by);
        match (own, closed) {
            (Some(own), Some(closed)) => Some(if closed.0 < own.0 { closed } else { own }),
            (own, closed) => own.or(closed),
        }
    }

    /// Returns whether the lease has not changed since `other` was read.
    pub fn is_unchanged(&self, other: &Self) -> bool {
        self.heartbeat_at == other.heartbeat_at
            && self.expires_at == other.expires_at
            && self.borrowed_until == other.borrowed_until
            && self.ended_at == other.ended_at
    }

    /// Returns the end of the lease after a heartbeat that would end it at `next`. A later end stays,
    /// and so does a lease without an end.
    pub fn prolonged(&self, next: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        self.expires_at.zip(next).map(|(before, next)| before.max(next))
    }

    pub fn is_borrowed(&self, now: DateTime<Utc>) -> bool {
        self.borrowed_until.is_some_and(|until| now < until) && self.end(now).is_none()
    }
}

/// A license with the settings of its pools, and one open pool.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Facts {
    pub deployment_id: DeploymentId,
    pub license_revision: i64,
    license_seat_cap: Option<i64>,
    license_allow_more_seats: bool,
    subscription_seat_cap: i64,
    #[sqlx(flatten)]
    pub terms: Terms,
    #[sqlx(flatten)]
    levels: Levels,
    /// Null, like the fields below, before the first claim of the pool.
    pub pool_id: Option<PoolId>,
    pub pool_name: Option<String>,
    pub pool_kind: Option<PoolKind>,
    pub allocated: Option<i64>,
    pub closed_at: Option<DateTime<Utc>>,
    pub closed_by: Option<End>,
    /// The instant of the last restore, in microseconds, big-endian.
    pub restored_at: Option<Vec<u8>>,
    #[sqlx(skip)]
    settings: OnceLock<Option<Settings>>,
}

const FACTS: &str = concat!(
    "l.deployment_id, l.revision AS license_revision,
    l.seat_cap AS license_seat_cap, l.allow_more_seats AS license_allow_more_seats,
    s.seat_cap AS subscription_seat_cap, ",
    terms!(),
    ", v.leasing AS plan_leasing, s.leasing AS subscription_leasing, l.leasing AS license_leasing,
    p.id AS pool_id, p.name AS pool_name, p.kind AS pool_kind, p.allocated, p.closed_at, p.closed_by,
    (SELECT i.value FROM installation i WHERE i.name = 'leases_restored_at') AS restored_at"
);

const OF_LICENSES: &str = "licenses l
    JOIN organizations o ON o.id = l.organization_id
    JOIN deployments d ON d.id = l.deployment_id
    JOIN subscriptions s ON s.id = l.subscription_id
    JOIN plan_versions v ON v.plan_id = s.plan_id AND v.version = s.plan_version";

/// Returns the license and its open pool of this name.
pub async fn facts(tx: &mut Conn, license: LicenseId, pool: &str) -> Result<Facts> {
    let query = tx
        .select_from::<Facts>(FACTS, OF_LICENSES)
        .and(" LEFT JOIN lease_pools p ON p.license_id = l.id AND p.name = ?", pool)
        .and(" AND p.closed_at IS NULL WHERE l.id = ?", license);
    query.opt().await?.ok_or_else(|| Error::not_found("license"))
}

/// Selects the facts of the license with its pool of seats, and more columns of joined tables.
pub fn facts_and<'c, R: Row>(
    tx: &'c mut Conn,
    license: LicenseId,
    columns: &str,
    join: &'static str,
) -> Rows<'c, R> {
    tx.select_from(&format!("{FACTS}, {columns}"), OF_LICENSES)
        .sql(join)
        .and(" LEFT JOIN lease_pools p ON p.license_id = l.id AND p.name = ?", SEATS)
        .and(" AND p.closed_at IS NULL WHERE l.id = ?", license)
}

/// Returns the licenses of these pools, closed ones included.
pub async fn facts_of(tx: &mut Conn, pools: &[PoolId]) -> Result<Vec<Facts>> {
    if pools.is_empty() {
        return Ok(Vec::new());
    }
    let query = tx
        .select_from::<Facts>(FACTS, OF_LICENSES)
        .sql(" JOIN lease_pools p ON p.license_id = l.id WHERE p.id IN ")
        .rows([pools], |query, pools| pools.iter().fold(query, |query, pool| query.bind(*pool)));
    Ok(query.all().await?)
}

impl Facts {
    /// Returns the license's effective number of seats.
    pub fn seat_cap(&self) -> entitlement::Explained<i64> {
        let (own, more) = (self.license_seat_cap, self.license_allow_more_seats);
        entitlement::seats(own, more, self.subscription_seat_cap)
    }

    /// Returns the effective settings of a pool, if it exists.
    pub fn settings(&self, pool: &str) -> Result<Option<Settings>> {
        self.levels.pool(pool, self.seat_cap().value)
    }

    /// Returns the effective settings of the open pool; `None` once no level defines it.
    pub fn pool_settings(&self) -> Result<Option<&Settings>> {
        if let Some(known) = self.settings.get() {
            return Ok(known.as_ref());
        }
        let found = self.settings(self.pool_name.as_deref().unwrap_or_default())?;
        Ok(self.settings.get_or_init(|| found).as_ref())
    }

    /// Returns whether a seat is beyond the cap. A cap that changes decides at once about live leases; an
    /// ended one stays as it was.
    pub fn is_overage(&self, seat: &SeatRow, now: DateTime<Utc>) -> Result<bool> {
        let settings = self.pool_settings()?.filter(|_| seat.end_in(self, now).is_none());
        Ok(settings.map_or(seat.overage, |settings| seat.n > settings.last_within()))
    }

    /// Sets the open pool, whose effective settings are known.
    pub fn set_pool(&mut self, pool: PoolId, name: &str, settings: &Settings) {
        (self.pool_id, self.pool_name) = (Some(pool), Some(name.to_owned()));
        self.pool_kind = Some(settings.kind);
        self.settings = OnceLock::from(Some(settings.clone()));
    }

    pub fn explained(&self) -> super::settings::Explained {
        let cap = self.seat_cap();
        self.levels.explained(cap.value, cap.from.into())
    }

    /// Refuses while the license is not in force.
    pub fn refuse_uncovered(&self, now: DateTime<Utc>) -> Result<()> {
        self.terms.covered_at(now).map(drop).map_err(|cause| {
            let (code, detail) = cause.problem();
            Error::new(code, detail)
        })
    }
}

/// Whether no seat of a pool up to a number is for a holder: none is its own, none is free, and none
/// belongs to a person who is no active member. Each part is a look-up in an index. Migration 0073 has that
/// of persons' seats, and the last two conditions choose it.
pub const HOPELESS: &str = concat!(
    "SELECT (SELECT n FROM lease_seats WHERE pool_id = $1 AND holder = $2) IS NULL
        AND (SELECT n FROM lease_seats
             WHERE pool_id = $1 AND free_at <= $3 AND +n <= $4
             ORDER BY free_at, n LIMIT 1) IS NULL
        AND (SELECT n FROM lease_seats
             WHERE pool_id = $1 AND ended_at IS NULL AND +n <= $4
               AND (expires_at IS NULL OR expires_at > $3)
               AND (borrowed_until IS NULL OR borrowed_until <= $3) AND ",
    absent!(),
    " AND user_id IS NOT NULL AND user_id > $5 LIMIT 1) IS NULL"
);

/// Returns whether no seat of the pool up to a number is for the holder with this hash.
pub(super) async fn is_hopeless(
    cx: &mut Cx,
    pool: PoolId,
    holder: &str,
    most: i64,
) -> Result<bool> {
    let (now, lowest) = (cx.now, Uuid::nil());
    let query = cx.tx.q(HOPELESS).bind(pool).bind(holder).bind(now).bind(most).bind(lowest);
    Ok(query.value().await?.unwrap_or(false))
}

/// The seat of a pool that a holder has or had.
pub const OF_HOLDER: &str = "WHERE lease_seats.pool_id = $1 AND lease_seats.holder = $2";

/// Selects the seat that the holder with this hash has or had.
pub fn of_holder<'c>(tx: &'c mut Conn, pool: PoolId, holder: &str) -> Rows<'c, SeatRow> {
    tx.select(OF_HOLDER).bind(pool).bind(holder)
}

/// The seat with a lease.
pub const OF_LEASE: &str = "WHERE lease_seats.lease_id = $1";

/// Selects the seat with this lease.
pub fn of_lease(tx: &mut Conn, lease: LeaseId) -> Rows<'_, SeatRow> {
    tx.select(OF_LEASE).bind(lease)
}

/// A seat with its license.
#[derive(sqlx::FromRow)]
struct SeatAndFacts {
    #[sqlx(flatten)]
    seat: SeatRow,
    #[sqlx(flatten)]
    facts: Facts,
}

/// Returns the seat with this lease, and its license.
pub async fn seat_and_facts(tx: &mut Conn, lease: LeaseId) -> Result<Option<(SeatRow, Facts)>> {
    let columns = format!("{}, {FACTS}", SeatRow::COLUMNS);
    let query = tx
        .select_from::<SeatAndFacts>(&columns, OF_LICENSES)
        .sql(" JOIN lease_pools p ON p.license_id = l.id JOIN lease_seats ON lease_seats.pool_id = p.id")
        .and(" WHERE lease_seats.lease_id = ?", lease);
    Ok(query.opt().await?.map(|found| (found.seat, found.facts)))
}

/// Returns the instant from which another holder may have the seat of a lease that ends then.
///
/// Replicas have clocks of their own: on PostgreSQL a seat stays taken for some seconds more.
pub fn free_at(tx: &Conn, end: DateTime<Utc>) -> DateTime<Utc> {
    const SKEW: TimeDelta = TimeDelta::seconds(5);
    if tx.writes_alone() { end } else { end + SKEW }
}

/// The seat that has been free for the longest time, up to a number. Without the order, or without the
/// plus, the databases may read the pool in the order of its seats.
pub const FREE: &str = "WHERE lease_seats.pool_id = $1 AND lease_seats.free_at <= $2
       AND +lease_seats.n <= $3
     ORDER BY lease_seats.free_at, lease_seats.n LIMIT 1";

/// Locks the seat that has been free for the longest time, up to a number.
pub(super) async fn free(
    cx: &mut Cx,
    pool: PoolId,
    most: i64,
    skips: bool,
) -> Result<Option<SeatRow>> {
    let now = cx.now;
    let query: Rows<'_, SeatRow> = cx.tx.select(FREE).bind(pool).bind(now).bind(most);
    let query = query.locked();
    let query = if skips && !query.is_sqlite() { query.sql(" SKIP LOCKED") } else { query };
    Ok(query.opt().await?)
}
