//! The rules of a pool of seats, as a state machine in memory.
//!
//! [`LeasePool`] decides claims and heartbeats without a database, network or clock: the caller
//! passes the time. The control plane's tests compare its SQL with it. Therefore each choice is
//! determined:
//!
//! - A claim gets the first of: the holder's live lease, which is extended; the holder's own old
//!   seat within the hard cap, even beyond the cap; a free seat within the cap; a free seat
//!   within the hard cap; a new seat with the next number; another holder's seat by take-over.
//! - Of several free seats, the one that has been free longest (`free_at`) is taken, then the one
//!   with the lowest number.
//! - Take-over `idle` takes the seat with the oldest heartbeat, `oldest` the one with the longest
//!   tenure, then the lowest number. Only seats within the hard cap count, and no borrowed ones.
//! - A heartbeat, claim or borrowing of a seat beyond the cap moves the lease to a free seat: within
//!   the cap, or within the hard cap if the seat is beyond that, too. Without a free seat the lease
//!   goes on within the hard cap, and is refused beyond. The lease keeps its ID.
//! - A claim has no minimum distance from the last heartbeat, and does not shorten a lease. A claim
//!   of a borrowed lease changes nothing, unless it borrows.
//! - A borrowed lease ends at the end of the borrowing, and not at the end that it had before.
//! - Of a request that is refused for several reasons, the first counts: unknown, over, too long,
//!   borrowed, too early, exhausted.
//!
//! The model has no components of machines, and no members of organizations: the caller maps a
//! machine or a person to the string of its holder. It does not know the license either, so that
//! the caller refuses requests while the license is not in force.

mod requests;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

pub use self::requests::{
    ClaimAnswer, LeaseAnswer, LeaseClaim, LeaseOverage, LeasePoolRules, LeaseTakeOver, SeatTenure,
    SeatsExhausted,
};

use crate::{LeaseEnd, LeasePace};

/// The seconds without a heartbeat after which a lease without end is idle: a day.
const IDLE_SECONDS: i64 = 24 * 60 * 60;

/// A pool of numbered seats. Since 2.10.0.
#[derive(Clone, Debug)]
pub struct LeasePool {
    rules: LeasePoolRules,
    /// The seat with the number n is at n - 1.
    seats: Vec<Seat>,
    tenures: Vec<SeatTenure>,
}

/// A seat with its last tenure, which may be over: its holder gets the same seat again.
#[derive(Clone, Debug)]
struct Seat {
    tenure: Option<SeatTenure>,
    /// `None` is never.
    free_at: Option<DateTime<Utc>>,
}

type End = (LeaseEnd, DateTime<Utc>);

impl LeasePool {
    /// Returns an empty pool.
    #[must_use]
    pub fn new(rules: LeasePoolRules) -> Self {
        Self { rules, seats: Vec::new(), tenures: Vec::new() }
    }

    /// Returns the settings.
    #[must_use]
    pub fn rules(&self) -> &LeasePoolRules {
        &self.rules
    }

    /// Claims a seat for a holder.
    pub fn claim(&mut self, claim: &LeaseClaim, now: DateTime<Utc>) -> ClaimAnswer {
        if claim.borrow_seconds.is_some_and(|seconds| seconds > self.rules.borrow_seconds) {
            return ClaimAnswer::TooLong;
        }
        let own = self.find(|tenure| tenure.holder == claim.holder);
        if let Some(at) = own.filter(|at| self.tenure(*at).is_live(now)) {
            return self.claim_again(at, claim, now);
        }
        let own = own.filter(|at| is_within(*at, self.rules.hard_cap()));
        let (at, other) = match own.or_else(|| self.free_seat(now)).or_else(|| self.grow()) {
            Some(at) => (at, None),
            None => match self.take_over(claim, now) {
                Some((at, other)) => (at, Some(other)),
                None => return ClaimAnswer::Exhausted(self.exhausted(now)),
            },
        };
        if let Some(old) = self.find(|tenure| tenure.holder == claim.holder) {
            self.vacate(old, now);
        }
        self.vacate(at, now);
        self.seats[at].tenure = Some(SeatTenure {
            id: claim.id,
            holder: claim.holder.clone(),
            seat: number(at),
            acquired_at: now,
            heartbeat_at: now,
            expires_at: Some(now),
            borrowed_until: None,
            ttl_seconds: claim.ttl_seconds,
            ended: None,
        });
        let lease = self.extend(at, claim.borrow_seconds, claim.over_at, now);
        match other {
            Some(other) => ClaimAnswer::TakenOver(lease, other),
            None => ClaimAnswer::New(lease),
        }
    }

    fn claim_again(&mut self, at: usize, claim: &LeaseClaim, now: DateTime<Utc>) -> ClaimAnswer {
        if self.tenure(at).borrowed_until.is_some() && claim.borrow_seconds.is_none() {
            return ClaimAnswer::Extended(self.tenure(at).clone());
        }
        let at = match self.settle(at, now) {
            Ok(at) => at,
            Err(exhausted) => return ClaimAnswer::Exhausted(exhausted),
        };
        self.tenure_mut(at).ttl_seconds = claim.ttl_seconds;
        ClaimAnswer::Extended(self.extend(at, claim.borrow_seconds, claim.over_at, now))
    }

    /// Extends a lease.
    pub fn heartbeat(&mut self, lease: Uuid, now: DateTime<Utc>) -> LeaseAnswer {
        let at = match self.live(lease, now) {
            Ok(at) => at,
            Err(end) => return over(end),
        };
        let tenure = self.tenure(at);
        if let Some(until) = tenure.borrowed_until {
            return LeaseAnswer::Borrowed(until);
        }
        if now < LeasePace::after(tenure.heartbeat_at, self.ttl(tenure), lease).not_before {
            return LeaseAnswer::Unchanged(tenure.clone());
        }
        match self.settle(at, now) {
            Ok(at) => LeaseAnswer::Done(self.extend(at, None, None, now)),
            Err(exhausted) => LeaseAnswer::Exhausted(exhausted),
        }
    }

    /// Ends a lease.
    pub fn release(&mut self, lease: Uuid, now: DateTime<Utc>) -> LeaseAnswer {
        match self.live(lease, now) {
            Ok(at) => match self.tenure(at).borrowed_until {
                Some(until) => LeaseAnswer::Borrowed(until),
                None => LeaseAnswer::Done(self.end(at, LeaseEnd::Released, now)),
            },
            Err(end) => over(end),
        }
    }

    /// Borrows a seat, or borrows it for longer: no heartbeat is needed before the end. The
    /// borrowing ends with the license, at `over_at`, if that is earlier.
    pub fn borrow(
        &mut self,
        lease: Uuid,
        seconds: i64,
        over_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> LeaseAnswer {
        let at = match self.live(lease, now) {
            Ok(_) if seconds > self.rules.borrow_seconds => return LeaseAnswer::TooLong,
            Ok(at) => at,
            Err(end) => return over(end),
        };
        match self.settle(at, now) {
            Ok(at) => LeaseAnswer::Done(self.extend(at, Some(seconds), over_at, now)),
            Err(exhausted) => LeaseAnswer::Exhausted(exhausted),
        }
    }

    /// Ends a borrowed lease before its end, if the pool allows that.
    pub fn give_back(&mut self, lease: Uuid, now: DateTime<Utc>) -> LeaseAnswer {
        match self.live(lease, now) {
            Ok(at) => match self.tenure(at).borrowed_until {
                None => LeaseAnswer::Unchanged(self.tenure(at).clone()),
                Some(until) if !self.rules.early_return => LeaseAnswer::Borrowed(until),
                Some(_) => LeaseAnswer::Done(self.end(at, LeaseEnd::Returned, now)),
            },
            Err(end) => over(end),
        }
    }

    /// Changes the number of seats. A lower one ends no lease.
    pub fn set_cap(&mut self, cap: Option<i64>) {
        self.rules.cap = cap;
    }

    /// Ends all leases, borrowed ones too, and begins again without seats.
    pub fn reset(&mut self, now: DateTime<Utc>) {
        for at in 0..self.seats.len() {
            if self.seats[at].tenure.as_ref().is_some_and(|tenure| tenure.is_live(now)) {
                self.end(at, LeaseEnd::Reset, now);
            }
            self.vacate(at, now);
        }
        self.seats.clear();
    }

    /// Returns the live leases, by seat.
    pub fn leases(&self, now: DateTime<Utc>) -> impl Iterator<Item = &SeatTenure> {
        let tenures = self.seats.iter().filter_map(|seat| seat.tenure.as_ref());
        tenures.filter(move |tenure| tenure.is_live(now))
    }

    /// Returns all tenures: those that left their seat in the order of leaving, then one per seat.
    pub fn tenures(&self) -> impl Iterator<Item = &SeatTenure> {
        self.tenures.iter().chain(self.seats.iter().filter_map(|seat| seat.tenure.as_ref()))
    }

    /// Returns the largest number of simultaneous leases from `since` until before `until`.
    #[must_use]
    pub fn peak(&self, since: DateTime<Utc>, until: DateTime<Utc>) -> i64 {
        let mut steps = Vec::new();
        for tenure in self.tenures() {
            let end = tenure.ended.as_ref().map(|(_, at)| *at).or(tenure.expires_at);
            let (from, to) = (tenure.acquired_at.max(since), end.map_or(until, |at| at.min(until)));
            if from < to {
                steps.extend([(from, 1), (to, -1)]);
            }
        }
        // Ends come first: a seat has its next holder at the instant at which the last one leaves.
        steps.sort_unstable();
        let level = steps.iter().scan(0, |level, (_, step)| {
            *level += step;
            Some(*level)
        });
        level.max().unwrap_or(0)
    }

    /// Returns the place of a live lease, or the end of another one.
    fn live(&self, lease: Uuid, now: DateTime<Utc>) -> Result<usize, Option<End>> {
        let place = self.find(|tenure| tenure.id == lease && tenure.is_live(now));
        place.ok_or_else(|| self.tenures().find(|tenure| tenure.id == lease)?.end(now))
    }

    /// Moves a lease beyond the cap to a free seat, and returns the place of the lease.
    fn settle(&mut self, at: usize, now: DateTime<Utc>) -> Result<usize, SeatsExhausted> {
        let (cap, hard_cap) = (self.rules.cap, self.rules.hard_cap());
        let target = match (is_within(at, cap), is_within(at, hard_cap)) {
            (true, _) => return Ok(at),
            (false, true) => self.free_below(cap, now).unwrap_or(at),
            (false, false) => self.free_seat(now).ok_or_else(|| self.exhausted(now))?,
        };
        if target != at {
            self.vacate(target, now);
            let moved = self.seats[at].tenure.take();
            self.seats[target].tenure =
                moved.map(|tenure| SeatTenure { seat: number(target), ..tenure });
            self.seats[at].free_at = Some(now);
        }
        Ok(target)
    }

    /// Prolongs the lease, and never shortens it. A borrowing replaces the end.
    fn extend(
        &mut self,
        at: usize,
        borrow_seconds: Option<i64>,
        over_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> SeatTenure {
        let ttl = self.ttl(self.tenure(at));
        let guard = TimeDelta::seconds(self.rules.guard_seconds);
        let tenure = self.tenure_mut(at);
        tenure.heartbeat_at = now;
        if let Some(seconds) = borrow_seconds {
            let until = now + TimeDelta::seconds(seconds);
            let until = over_at.map_or(until, |over_at| until.min(over_at));
            tenure.borrowed_until = tenure.borrowed_until.max(Some(until));
            tenure.expires_at = tenure.borrowed_until;
        } else {
            let end = ttl.map(|ttl| now + TimeDelta::seconds(ttl));
            tenure.expires_at = tenure.expires_at.zip(end).map(|(old, new)| old.max(new));
        }
        let lease = tenure.clone();
        self.seats[at].free_at = lease.expires_at.map(|end| end + guard);
        lease
    }

    /// Ends a live lease. Its holder keeps the seat for a while, and gets it again later.
    fn end(&mut self, at: usize, end: LeaseEnd, now: DateTime<Utc>) -> SeatTenure {
        let tenure = self.tenure_mut(at);
        tenure.ended = Some((end, now));
        let lease = tenure.clone();
        self.seats[at].free_at = Some(now + TimeDelta::seconds(self.rules.reassign_seconds));
        lease
    }

    /// Moves the ended tenure of a seat to the history, with its own end.
    fn vacate(&mut self, at: usize, now: DateTime<Utc>) {
        if let Some(mut tenure) = self.seats[at].tenure.take() {
            tenure.ended = tenure.end(now);
            self.tenures.push(tenure);
        }
    }

    /// Returns a free seat, within the cap first.
    fn free_seat(&self, now: DateTime<Utc>) -> Option<usize> {
        let within_cap = self.free_below(self.rules.cap, now);
        within_cap.or_else(|| self.free_below(self.rules.hard_cap(), now))
    }

    fn free_below(&self, cap: Option<i64>, now: DateTime<Utc>) -> Option<usize> {
        let free = |at: &usize| {
            let free_at = self.seats[*at].free_at.filter(|free_at| *free_at <= now);
            free_at.map(|free_at| (free_at, *at))
        };
        let within = (0..self.seats.len()).filter(|at| is_within(*at, cap));
        within.filter_map(|at| free(&at)).min().map(|(_, at)| at)
    }

    /// Adds the seat with the next number, unless it is beyond the hard cap.
    fn grow(&mut self) -> Option<usize> {
        let at = self.seats.len();
        is_within(at, self.rules.hard_cap()).then(|| {
            self.seats.push(Seat { tenure: None, free_at: None });
            at
        })
    }

    /// Ends the lease of another holder, and returns its place and the lease.
    fn take_over(&mut self, claim: &LeaseClaim, now: DateTime<Utc>) -> Option<(usize, SeatTenure)> {
        let hard_cap = self.rules.hard_cap();
        let idle = TimeDelta::seconds(self.rules.ttl_seconds.unwrap_or(IDLE_SECONDS));
        let rank = |tenure: &SeatTenure| match self.rules.take_over {
            LeaseTakeOver::Idle => Some(tenure.heartbeat_at).filter(|at| *at + idle <= now),
            LeaseTakeOver::Oldest => Some(tenure.acquired_at),
            LeaseTakeOver::Refuse => None,
        };
        let leases = self.leases(now).filter(|tenure| tenure.borrowed_until.is_none());
        let ranked = leases
            .filter_map(|tenure| Some((rank(tenure)?, usize::try_from(tenure.seat - 1).ok()?)))
            .filter(|(_, at)| claim.take_over && is_within(*at, hard_cap));
        let (_, at) = ranked.min()?;
        Some((at, self.end(at, LeaseEnd::TakenOver, now)))
    }

    fn exhausted(&self, now: DateTime<Utc>) -> SeatsExhausted {
        let hard_cap = self.rules.hard_cap();
        let within = (0..self.seats.len()).filter(|at| is_within(*at, hard_cap));
        SeatsExhausted {
            cap: self.rules.cap,
            hard_cap,
            used: self.leases(now).count() as i64,
            next_free_at: within.filter_map(|at| self.seats[at].free_at).min(),
        }
    }

    /// Returns the time from a heartbeat to the end: the pool's, or the shorter one of the lease.
    fn ttl(&self, tenure: &SeatTenure) -> Option<i64> {
        [self.rules.ttl_seconds, tenure.ttl_seconds].into_iter().flatten().min()
    }

    fn find(&self, matches: impl Fn(&SeatTenure) -> bool) -> Option<usize> {
        self.seats.iter().position(|seat| seat.tenure.as_ref().is_some_and(&matches))
    }

    fn tenure(&self, at: usize) -> &SeatTenure {
        self.seats[at].tenure.as_ref().expect("the seat has a tenure")
    }

    fn tenure_mut(&mut self, at: usize) -> &mut SeatTenure {
        self.seats[at].tenure.as_mut().expect("the seat has a tenure")
    }
}

fn over(end: Option<End>) -> LeaseAnswer {
    end.map_or(LeaseAnswer::Unknown, |(end, at)| LeaseAnswer::Over(end, at))
}

fn number(at: usize) -> i64 {
    at as i64 + 1
}

fn is_within(at: usize, cap: Option<i64>) -> bool {
    cap.is_none_or(|cap| number(at) <= cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOATING: LeasePoolRules = LeasePoolRules {
        cap: Some(2),
        overage: LeaseOverage::Never,
        ttl_seconds: Some(300),
        borrow_seconds: 0,
        early_return: false,
        reassign_seconds: 0,
        take_over: LeaseTakeOver::Refuse,
        guard_seconds: 0,
    };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn id(lease: u128) -> Uuid {
        Uuid::from_u128(lease)
    }

    fn claim(lease: u128, holder: &str) -> LeaseClaim {
        LeaseClaim {
            id: id(lease),
            holder: holder.to_owned(),
            ttl_seconds: None,
            borrow_seconds: None,
            take_over: false,
            over_at: None,
        }
    }

    /// Claims a seat that is free, and returns its number.
    fn seat(pool: &mut LeasePool, lease: u128, holder: &str, now: i64) -> i64 {
        match pool.claim(&claim(lease, holder), at(now)) {
            ClaimAnswer::New(tenure) => tenure.seat,
            answer => panic!("{answer:?}"),
        }
    }

    fn exhausted(cap: i64, used: i64, next_free_at: Option<i64>) -> SeatsExhausted {
        let next_free_at = next_free_at.map(at);
        SeatsExhausted { cap: Some(cap), hard_cap: Some(cap), used, next_free_at }
    }

    #[test]
    fn holder_has_one_seat_and_its_claim_extends() {
        let mut pool = LeasePool::new(FLOATING);
        assert_eq!((seat(&mut pool, 1, "a", 0), seat(&mut pool, 2, "b", 10)), (1, 2));
        let ClaimAnswer::Extended(lease) = pool.claim(&claim(3, "a"), at(20)) else { panic!() };
        assert_eq!((lease.id, lease.seat, lease.expires_at), (id(1), 1, Some(at(320))));
        let shorter = LeaseClaim { ttl_seconds: Some(60), ..claim(3, "a") };
        let ClaimAnswer::Extended(lease) = pool.claim(&shorter, at(30)) else { panic!() };
        assert_eq!(lease.expires_at, Some(at(320)), "not shortened");
        let refusal = ClaimAnswer::Exhausted(exhausted(2, 2, Some(310)));
        assert_eq!(pool.claim(&claim(3, "c"), at(40)), refusal);
        assert_eq!(seat(&mut pool, 3, "c", 310), 2, "time alone frees a seat");
        assert_eq!(pool.heartbeat(id(2), at(311)), LeaseAnswer::Over(LeaseEnd::Expired, at(310)));
    }

    #[test]
    fn heartbeat_before_its_time_changes_nothing() {
        let mut pool = LeasePool::new(FLOATING);
        seat(&mut pool, 1, "a", 0);
        let LeaseAnswer::Unchanged(lease) = pool.heartbeat(id(1), at(49)) else { panic!() };
        assert_eq!(lease.expires_at, Some(at(300)));
        let LeaseAnswer::Done(lease) = pool.heartbeat(id(1), at(50)) else { panic!() };
        assert_eq!(lease.expires_at, Some(at(350)));
        assert_eq!(pool.heartbeat(id(9), at(50)), LeaseAnswer::Unknown);
    }

    #[test]
    fn released_holder_gets_the_same_seat_and_others_wait_for_reassignment() {
        let mut pool = LeasePool::new(LeasePoolRules { reassign_seconds: 100, ..FLOATING });
        seat(&mut pool, 1, "a", 0);
        seat(&mut pool, 2, "b", 0);
        assert!(matches!(pool.release(id(1), at(10)), LeaseAnswer::Done(_)));
        let over = LeaseAnswer::Over(LeaseEnd::Released, at(10));
        assert_eq!(pool.release(id(1), at(11)), over);
        assert_eq!(pool.heartbeat(id(1), at(11)), over);
        assert_eq!(pool.borrow(id(1), 60, None, at(11)), over);
        assert_eq!(pool.give_back(id(1), at(11)), over);
        let refusal = ClaimAnswer::Exhausted(exhausted(2, 1, Some(110)));
        assert_eq!(pool.claim(&claim(3, "c"), at(109)), refusal);
        assert_eq!(seat(&mut pool, 3, "a", 20), 1);
        assert!(matches!(pool.release(id(3), at(30)), LeaseAnswer::Done(_)));
        assert_eq!(seat(&mut pool, 4, "c", 130), 1);
    }

    #[test]
    fn guarded_seat_waits_after_its_end_for_other_holders_only() {
        let mut pool =
            LeasePool::new(LeasePoolRules { cap: Some(1), guard_seconds: 5, ..FLOATING });
        seat(&mut pool, 1, "a", 0);
        let refusal = ClaimAnswer::Exhausted(exhausted(1, 0, Some(305)));
        assert_eq!(pool.claim(&claim(2, "b"), at(304)), refusal);
        assert_eq!(seat(&mut pool.clone(), 2, "a", 304), 1);
        assert_eq!(seat(&mut pool, 2, "b", 305), 1);
    }

    #[test]
    fn longest_free_seat_is_first_and_the_cap_comes_before_the_overage() {
        let rules = LeasePoolRules { overage: LeaseOverage::Percent(50), ..FLOATING };
        let mut pool = LeasePool::new(LeasePoolRules { cap: Some(3), ..rules });
        assert_eq!(pool.rules().hard_cap(), Some(4));
        for (lease, holder) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
            assert_eq!(seat(&mut pool, lease, holder, 0), lease as i64);
        }
        for (lease, now) in [(4, 10), (2, 20), (1, 30)] {
            assert!(matches!(pool.release(id(lease), at(now)), LeaseAnswer::Done(_)));
        }
        assert_eq!(seat(&mut pool.clone(), 5, "d", 40), 4, "the own old seat");
        assert_eq!(seat(&mut pool, 5, "e", 40), 2);
        assert_eq!(seat(&mut pool, 6, "f", 40), 1);
        assert_eq!(seat(&mut pool, 7, "g", 40), 4);
    }

    #[test]
    fn lowered_cap_ends_no_lease_and_heartbeats_move_within_it() {
        let mut pool = LeasePool::new(LeasePoolRules { cap: Some(3), ..FLOATING });
        for (lease, holder) in [(1, "a"), (2, "b"), (3, "c")] {
            seat(&mut pool, lease, holder, 0);
        }
        pool.set_cap(Some(1));
        assert_eq!(pool.leases(at(60)).count(), 3);
        let refusal = exhausted(1, 3, Some(300));
        assert_eq!(pool.heartbeat(id(2), at(60)), LeaseAnswer::Exhausted(refusal.clone()));
        assert_eq!(pool.claim(&claim(9, "b"), at(60)), ClaimAnswer::Exhausted(refusal));
        assert!(matches!(pool.release(id(1), at(70)), LeaseAnswer::Done(_)));
        let LeaseAnswer::Done(lease) = pool.heartbeat(id(3), at(80)) else { panic!() };
        assert_eq!((lease.id, lease.seat, lease.expires_at), (id(3), 1, Some(at(380))));
        let LeaseAnswer::Exhausted(_) = pool.heartbeat(id(2), at(80)) else { panic!() };
        assert_eq!(pool.heartbeat(id(2), at(300)), LeaseAnswer::Over(LeaseEnd::Expired, at(300)));
        pool.set_cap(Some(2));
        assert_eq!(seat(&mut pool, 4, "b", 300), 2);
    }

    #[test]
    fn borrowed_lease_lasts_until_its_end() {
        let borrowing = LeasePoolRules { borrow_seconds: 1000, cap: Some(1), ..FLOATING };
        let take_over = LeaseTakeOver::Oldest;
        let mut pool = LeasePool::new(LeasePoolRules { take_over, ..borrowing.clone() });
        seat(&mut pool, 1, "a", 0);
        assert_eq!(pool.borrow(id(1), 1001, None, at(10)), LeaseAnswer::TooLong);
        let LeaseAnswer::Done(lease) = pool.borrow(id(1), 1000, None, at(10)) else { panic!() };
        assert_eq!((lease.expires_at, lease.borrowed_until), (Some(at(1010)), Some(at(1010))));
        let borrowed = LeaseAnswer::Borrowed(at(1010));
        assert_eq!(pool.heartbeat(id(1), at(900)), borrowed);
        assert_eq!(pool.release(id(1), at(900)), borrowed);
        assert_eq!(pool.give_back(id(1), at(900)), borrowed);
        let other = LeaseClaim { take_over: true, ..claim(2, "b") };
        let refusal = ClaimAnswer::Exhausted(exhausted(1, 1, Some(1010)));
        assert_eq!(pool.claim(&other, at(900)), refusal);
        assert_eq!(pool.claim(&claim(2, "a"), at(900)), ClaimAnswer::Extended(lease));
        let LeaseAnswer::Done(_) = pool.borrow(id(1), 500, Some(at(1200)), at(900)) else {
            panic!()
        };
        assert_eq!(pool.heartbeat(id(1), at(1200)), LeaseAnswer::Over(LeaseEnd::Expired, at(1200)));

        let mut pool = LeasePool::new(LeasePoolRules { early_return: true, ..borrowing });
        let claim = LeaseClaim { borrow_seconds: Some(600), ..claim(1, "a") };
        let ClaimAnswer::New(lease) = pool.claim(&claim, at(0)) else { panic!() };
        assert_eq!(lease.borrowed_until, Some(at(600)));
        let LeaseAnswer::Done(_) = pool.give_back(id(1), at(50)) else { panic!() };
        assert_eq!(pool.heartbeat(id(1), at(50)), LeaseAnswer::Over(LeaseEnd::Returned, at(50)));
        assert_eq!(seat(&mut pool, 2, "b", 50), 1);
        assert!(matches!(pool.give_back(id(2), at(50)), LeaseAnswer::Unchanged(_)));
    }

    #[test]
    fn take_over_ends_the_idle_or_the_oldest_lease() {
        let people = LeasePoolRules { ttl_seconds: None, ..FLOATING };
        let other = LeaseClaim { take_over: true, ..claim(3, "c") };
        for (take_over, now, taken) in [
            (LeaseTakeOver::Refuse, 200_000, None),
            (LeaseTakeOver::Idle, 86_409, None),
            (LeaseTakeOver::Idle, 86_410, Some(2)),
            (LeaseTakeOver::Oldest, 60_000, Some(1)),
        ] {
            let mut pool = LeasePool::new(LeasePoolRules { take_over, ..people.clone() });
            seat(&mut pool, 1, "a", 0);
            seat(&mut pool, 2, "b", 10);
            assert!(matches!(pool.heartbeat(id(1), at(50_000)), LeaseAnswer::Done(_)));
            assert!(matches!(pool.claim(&claim(3, "c"), at(now)), ClaimAnswer::Exhausted(_)));
            match (pool.claim(&other, at(now)), taken) {
                (ClaimAnswer::TakenOver(lease, ended), Some(taken)) => {
                    assert_eq!((lease.id, ended.id), (id(3), id(taken)));
                    let over = LeaseAnswer::Over(LeaseEnd::TakenOver, at(now));
                    assert_eq!(pool.heartbeat(id(taken), at(now)), over);
                }
                (ClaimAnswer::Exhausted(_), None) => {}
                (answer, _) => panic!("{take_over:?}: {answer:?}"),
            }
        }
    }

    #[test]
    fn reset_ends_all_leases_and_peaks_remain() {
        let mut pool = LeasePool::new(LeasePoolRules { borrow_seconds: 900, ..FLOATING });
        seat(&mut pool, 1, "a", 0);
        seat(&mut pool, 2, "b", 10);
        assert!(matches!(pool.borrow(id(1), 900, None, at(20)), LeaseAnswer::Done(_)));
        assert!(matches!(pool.release(id(2), at(30)), LeaseAnswer::Done(_)));
        pool.reset(at(40));
        assert_eq!(pool.heartbeat(id(1), at(40)), LeaseAnswer::Over(LeaseEnd::Reset, at(40)));
        assert_eq!(pool.heartbeat(id(2), at(40)), LeaseAnswer::Over(LeaseEnd::Released, at(30)));
        assert_eq!(seat(&mut pool, 3, "c", 40), 1);
        assert_eq!(pool.peak(at(0), at(10)), 1);
        assert_eq!(pool.peak(at(0), at(11)), 2);
        assert_eq!(pool.peak(at(30), at(1000)), 1, "an end and a start at one instant");
        assert_eq!(pool.peak(at(340), at(1000)), 0);
    }
}
