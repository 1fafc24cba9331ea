//! The steps of a claim, each with one statement.
//!
//! # Design
//! A seat is a row, and a claim takes one row. No refusal depends on a count, so replicas, retries
//! and killed processes cannot take more seats than exist. Ended leases stay on their seats until the
//! next one, so a lease frees its seat by time alone, and its holder gets the same seat again.
//! `cp_contracts::LeasePool` states the same rules without a database; a test compares both.

use chrono::TimeDelta;

use super::claim::Claim;
use super::rows::{End, Facts, SeatRow, free_at};
use super::settings::{PoolKind, TakeOver};
use super::{matching, moves, pools, refusals, restores, rows, tenures};
use crate::kernel::db::query::Rows;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::LeaseId;

/// The time without a heartbeat after which a lease without an end is idle.
const IDLE: TimeDelta = TimeDelta::days(1);

/// The outcome of a claim.
pub struct Claimed {
    pub seat: SeatRow,
    pub is_new: bool,
    /// The lease whose seat was taken over.
    pub taken_from: Option<LeaseId>,
}

/// A seat for the new lease, with its previous one.
enum Place {
    /// The seat of another or of the same holder, whose lease ends for this reason, if it lives.
    Used(Box<SeatRow>, End),
    New(i64),
}

impl Claim {
    /// Takes a seat for the holder, or extends the lease that it has.
    pub async fn run(&self, cx: &mut Cx, facts: &Facts) -> Result<Claimed> {
        let own = self.own(cx).await?;
        if let Some(seat) = &own
            && seat.end(cx.now).is_none()
        {
            let seat = self.extend(cx, seat).await?;
            return Ok(Claimed { seat, is_new: false, taken_from: None });
        }
        restores::refuse(facts, self.settings.ttl_seconds, cx.now)?;
        let Some((place, taken_from)) = self.place(cx, own.as_ref()).await? else {
            return Err(self.exhausted(cx).await?);
        };
        let seat = self.occupy(cx, place, own.as_ref()).await?;
        Ok(Claimed { seat, is_new: true, taken_from })
    }

    /// Returns the seat that the holder has or had. A machine also has the live lease that its
    /// components match.
    async fn own(&self, cx: &mut Cx) -> Result<Option<SeatRow>> {
        let own = rows::of_holder(&mut cx.tx, self.pool, &self.holder.hash).locked();
        let own = own.opt().await?;
        if own.as_ref().is_some_and(|seat| seat.end(cx.now).is_none()) {
            return Ok(own);
        }
        let same = matching::seat(cx, self.pool, &self.settings, &self.holder, true).await?;
        let Some(same) = same else { return Ok(own) };
        if let Some(own) = own {
            self.leave(cx, &own).await?;
        }
        Ok(Some(same))
    }

    /// Takes the ended lease of the holder from its old seat.
    async fn leave(&self, cx: &mut Cx, own: &SeatRow) -> Result<()> {
        tenures::keep(cx, own, End::Expired).await?;
        // The seat stays reserved as long as it was.
        let free = own.ended_at.or(own.expires_at).unwrap_or(cx.now);
        tenures::vacate(cx, own, free).await
    }

    /// Extends a live lease. A later end stays, and a borrowed lease stays as it is.
    async fn extend(&self, cx: &mut Cx, seat: &SeatRow) -> Result<SeatRow> {
        pools::hold(cx, self.pool).await?;
        matching::replace(cx, self, seat).await?;
        if seat.is_borrowed(cx.now) && !self.borrows {
            return Ok(seat.clone());
        }
        moves::settle(cx, seat, self.name.as_str(), &self.settings).await?;
        if seat.is_borrowed(cx.now) {
            return Ok(seat.clone());
        }
        let expires_at = seat.prolonged(self.expires_at(cx.now));
        let sql = "UPDATE lease_seats
                   SET heartbeat_at = $3, expires_at = $4, free_at = $5, ttl_seconds = $6,
                       label = COALESCE($7, label), meta = $8, holder = $9
                   WHERE pool_id = $1 AND lease_id = $2";
        let free = expires_at.map(|end| free_at(&cx.tx, end));
        let meta = if self.meta.is_empty() { seat.meta.clone() } else { self.meta.clone() };
        let update = cx.tx.returning(sql).bind(self.pool).bind(seat.lease_id).bind(cx.now);
        let update = update.bind(expires_at).bind(free).bind(self.ttl);
        let update = update.bind(self.label.as_deref()).bind(meta).bind(&*self.holder.hash);
        Ok(update.one().await?)
    }

    /// Finds a seat for a new lease, and the live lease that ends for it.
    async fn place(
        &self,
        cx: &mut Cx,
        own: Option<&SeatRow>,
    ) -> Result<Option<(Place, Option<LeaseId>)>> {
        if let Some(own) = own.filter(|own| own.n <= self.hard_cap()) {
            return Ok(Some((Place::Used(Box::new(own.clone()), End::Expired), None)));
        }
        for most in [self.cap(), self.hard_cap()] {
            if let Some(seat) = rows::free(cx, self.pool, most, true).await? {
                return Ok(Some((Place::Used(Box::new(seat), End::Expired), None)));
            }
        }
        if let Some(n) = self.grow(cx).await? {
            return Ok(Some((Place::New(n), None)));
        }
        if let Some((seat, end)) = self.others(cx).await? {
            let lease = seat.lease_id;
            return Ok(Some((Place::Used(Box::new(seat), end), Some(lease))));
        }
        // A seat that another claim held may have become free.
        if cx.tx.writes_alone() {
            return Ok(None);
        }
        let seat = rows::free(cx, self.pool, self.hard_cap(), false).await?;
        Ok(seat.map(|seat| (Place::Used(Box::new(seat), End::Expired), None)))
    }

    /// Adds a seat to the pool, unless it has as many as it may.
    async fn grow(&self, cx: &mut Cx) -> Result<Option<i64>> {
        let sql = "UPDATE lease_pools SET allocated = allocated + 1
                   WHERE id = $1 AND allocated < $2 AND closed_at IS NULL
                   RETURNING allocated";
        Ok(cx.tx.q(sql).bind(self.pool).bind(self.hard_cap()).value().await?)
    }

    /// Locks the seat of another holder that the claim may take over, or else that of a person who is
    /// not an active member. Borrowed seats stay.
    async fn others(&self, cx: &mut Cx) -> Result<Option<(SeatRow, End)>> {
        let idle = cx.now - self.settings.ttl_seconds.map_or(IDLE, TimeDelta::seconds);
        let query = self.live(cx);
        let query = match self.settings.take_over {
            _ if !self.takes_over => None,
            TakeOver::Refuse => None,
            TakeOver::Idle => Some(query.and(
                " AND lease_seats.heartbeat_at <= ?
                 ORDER BY lease_seats.heartbeat_at, lease_seats.n LIMIT 1",
                idle,
            )),
            TakeOver::Oldest => {
                Some(query.sql(" ORDER BY lease_seats.acquired_at, lease_seats.n LIMIT 1"))
            }
        };
        if let Some(query) = query
            && let Some(seat) = query.locked().opt().await?
        {
            return Ok(Some((seat, End::TakenOver)));
        }
        // Machines are no members.
        if self.settings.kind == PoolKind::Node {
            return Ok(None);
        }
        let absent = self.live(cx).sql(concat!(
            " AND ",
            rows::absent!(),
            " ORDER BY lease_seats.heartbeat_at, lease_seats.n LIMIT 1"
        ));
        let absent = absent.locked().opt().await?;
        Ok(absent.map(|seat| (seat, End::LicenseOver)))
    }

    /// Selects the seats with live leases that are not borrowed.
    fn live<'c>(&self, cx: &'c mut Cx) -> Rows<'c, SeatRow> {
        let now = cx.now;
        cx.tx
            .select("WHERE lease_seats.ended_at IS NULL")
            .and(" AND lease_seats.pool_id = ?", self.pool)
            .and(" AND lease_seats.n <= ?", self.hard_cap())
            .and(" AND (lease_seats.expires_at IS NULL OR lease_seats.expires_at > ?)", now)
            .and(
                " AND (lease_seats.borrowed_until IS NULL OR lease_seats.borrowed_until <= ?)",
                now,
            )
    }

    /// Writes the new lease onto the seat. The previous lease becomes a tenure.
    async fn occupy(&self, cx: &mut Cx, place: Place, own: Option<&SeatRow>) -> Result<SeatRow> {
        let n = match &place {
            Place::Used(seat, end) => {
                tenures::keep(cx, seat, *end).await?;
                seat.n
            }
            Place::New(n) => *n,
        };
        if let Some(own) = own.filter(|own| own.n != n) {
            self.leave(cx, own).await?;
        }
        pools::hold(cx, self.pool).await?;
        let expires_at = self.expires_at(cx.now);
        let insert = "INSERT INTO lease_seats
                      (pool_id, n, lease_id, holder, holder_kind, user_id, label, meta, acquired_at,
                       heartbeat_at, ttl_seconds, expires_at, overage, free_at, organization_id,
                       license_id)
                      SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12, $13,
                             p.organization_id, p.license_id
                      FROM lease_pools p WHERE p.id = $1";
        let update = "UPDATE lease_seats
                      SET lease_id = $3, holder = $4, holder_kind = $5, user_id = $6, label = $7,
                          meta = $8, acquired_at = $9, heartbeat_at = $9, ttl_seconds = $10,
                          expires_at = $11, overage = $12, free_at = $13, borrowed_until = NULL,
                          ended_at = NULL, ended_by = NULL, is_vacant = FALSE,
                          status_list_id = NULL, status_idx = NULL
                      WHERE pool_id = $1 AND n = $2";
        let free = expires_at.map(|end| free_at(&cx.tx, end));
        let id = LeaseId::new(&cx.app.random, cx.now);
        let sql = if matches!(place, Place::New(_)) { insert } else { update };
        let write = cx
            .tx
            .returning(sql)
            .bind(self.pool)
            .bind(n)
            .bind(id)
            .bind(&*self.holder.hash)
            .bind(self.holder.kind)
            .bind(self.holder.user)
            .bind(self.label.as_deref())
            .bind(self.meta.clone())
            .bind(cx.now)
            .bind(self.ttl)
            .bind(expires_at)
            .bind(n > self.cap())
            .bind(free);
        // Another claim of the same holder was faster: the retry extends its lease.
        let seat: SeatRow = write.one().await.map_err(|error| match error {
            sqlx::Error::Database(refused) if refused.is_unique_violation() => Error::stale(),
            other => other.into(),
        })?;
        matching::replace(cx, self, &seat).await?;
        Ok(seat)
    }

    async fn exhausted(&self, cx: &mut Cx) -> Result<Error> {
        refusals::exhausted(cx, self.pool, self.name.as_str(), &self.settings).await
    }

    /// Refuses the claim without a lock, if no seat can be free: a claim of a full pool does not wait
    /// for those who write.
    pub async fn refuse_if_full(&self, cx: &mut Cx, facts: &Facts) -> Result<()> {
        let may_end = self.takes_over && self.settings.take_over != TakeOver::Refuse;
        if may_end || facts.allocated.is_none_or(|seats| seats < self.hard_cap()) {
            return Ok(());
        }
        // A machine may match by its components.
        if !self.holder.components.is_empty() {
            return Ok(());
        }
        match rows::is_hopeless(cx, self.pool, &self.holder.hash, self.hard_cap()).await? {
            true => Err(self.exhausted(cx).await?),
            false => Ok(()),
        }
    }
}
