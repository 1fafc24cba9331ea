//! The settings, requests and answers of a pool.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::LeaseEnd;

/// The settings of a pool. Since 2.10.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasePoolRules {
    /// The number of seats; `None` is unlimited.
    pub cap: Option<i64>,
    /// The seats beyond the cap.
    pub overage: LeaseOverage,
    /// The time from a heartbeat to the end; `None` lasts until the release.
    pub ttl_seconds: Option<i64>,
    /// The longest borrowing; 0 for none.
    pub borrow_seconds: i64,
    /// Whether a borrowed seat can be returned before its end.
    pub early_return: bool,
    /// The time after a release or a return in which only the same holder gets the seat.
    pub reassign_seconds: i64,
    /// The seat that a claim may take over when none is free.
    pub take_over: LeaseTakeOver,
    /// The time from the end of a lease to its free seat, for servers whose clocks differ. The
    /// same holder gets the seat at once.
    pub guard_seconds: i64,
}

/// The seats of a pool beyond its cap. Since 2.10.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseOverage {
    /// None.
    Never,
    /// This percentage of the cap, rounded down.
    Percent(i64),
    /// Any number.
    Report,
}

/// The seat that a claim may take over when none is free. Since 2.10.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseTakeOver {
    /// None.
    Refuse,
    /// A seat without a heartbeat for the pool's `ttl_seconds`, or a day.
    Idle,
    /// The seat of the longest tenure.
    Oldest,
}

impl LeasePoolRules {
    /// Returns the number of seats with those beyond the cap; `None` is unlimited.
    #[must_use]
    pub fn hard_cap(&self) -> Option<i64> {
        match (self.cap?, self.overage) {
            (cap, LeaseOverage::Never) => Some(cap),
            (cap, LeaseOverage::Percent(n)) => Some(cap + cap * n / 100),
            (_, LeaseOverage::Report) => None,
        }
    }
}

/// A claim of a seat. Since 2.10.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseClaim {
    /// The ID of the lease, if the claim begins one.
    pub id: Uuid,
    /// The holder's hash.
    pub holder: String,
    /// A shorter time than the pool's.
    pub ttl_seconds: Option<i64>,
    /// The time to borrow the seat.
    pub borrow_seconds: Option<i64>,
    /// Whether to take over another holder's seat.
    pub take_over: bool,
    /// The end of the license, which ends a borrowing.
    pub over_at: Option<DateTime<Utc>>,
}

/// One tenure of a seat: a lease. Since 2.10.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatTenure {
    /// The lease's ID.
    pub id: Uuid,
    /// The holder's hash.
    pub holder: String,
    /// The number of the seat, from 1.
    pub seat: i64,
    /// The start of the tenure.
    pub acquired_at: DateTime<Utc>,
    /// The last claim or heartbeat.
    pub heartbeat_at: DateTime<Utc>,
    /// The end without another heartbeat; `None` lasts until the release.
    pub expires_at: Option<DateTime<Utc>>,
    /// The end of the borrowing.
    pub borrowed_until: Option<DateTime<Utc>>,
    /// The shorter time than the pool's that the holder asked for.
    pub ttl_seconds: Option<i64>,
    /// The end, unless time alone ends the lease.
    pub ended: Option<(LeaseEnd, DateTime<Utc>)>,
}

impl SeatTenure {
    /// Returns whether the holder has the seat.
    #[must_use]
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.end(now).is_none()
    }

    /// Returns the end of a lease that is over.
    #[must_use]
    pub fn end(&self, now: DateTime<Utc>) -> Option<(LeaseEnd, DateTime<Utc>)> {
        let expired = self.expires_at.filter(|at| *at <= now);
        self.ended.clone().or(expired.map(|at| (LeaseEnd::Expired, at)))
    }
}

/// The answer to a claim. Since 2.10.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// A new lease.
    New(SeatTenure),
    /// A new lease on the seat of another holder, whose lease is over.
    TakenOver(SeatTenure, SeatTenure),
    /// The holder's live lease.
    Extended(SeatTenure),
    /// No seat is free.
    Exhausted(SeatsExhausted),
    /// The pool allows no borrowing of this length.
    TooLong,
}

/// The answer to a request that names a lease. Since 2.10.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// The lease after the request.
    Done(SeatTenure),
    /// The lease, unchanged: a heartbeat before its time, or a return of a lease that is not borrowed.
    Unchanged(SeatTenure),
    /// The lease had ended.
    Over(LeaseEnd, DateTime<Utc>),
    /// The lease is borrowed until this instant.
    Borrowed(DateTime<Utc>),
    /// The seat is beyond the cap, and no other is free. The lease keeps its end.
    Exhausted(SeatsExhausted),
    /// The pool allows no borrowing of this length.
    TooLong,
    /// The pool never had such a lease.
    Unknown,
}

/// The refusal of a pool without a free seat. Since 2.10.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatsExhausted {
    /// The number of seats.
    pub cap: Option<i64>,
    /// The number of seats with those beyond the cap.
    pub hard_cap: Option<i64>,
    /// The number of live leases.
    pub used: i64,
    /// The next instant at which time alone frees a seat.
    pub next_free_at: Option<DateTime<Utc>>,
}
