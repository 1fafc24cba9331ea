//! The rules of a pool hold for every sequence of requests.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::{
    ClaimAnswer, LeaseAnswer, LeaseClaim, LeaseEnd, LeaseOverage, LeasePool, LeasePoolRules,
    LeaseTakeOver, SeatTenure,
};
use proptest::prelude::*;
use uuid::Uuid;

#[derive(Clone, Debug)]
enum Request {
    Claim {
        holder: u8,
        ttl: Option<i64>,
        borrow: Option<i64>,
        take_over: bool,
    },
    /// The requests that name a lease: its number in the order of claims.
    Heartbeat(usize),
    Release(usize),
    Borrow(usize, i64),
    Return(usize),
    SetCap(Option<i64>),
    Reset,
    /// The clock goes on, or back.
    Clock(i64),
}

fn rules() -> impl Strategy<Value = LeasePoolRules> {
    let overages =
        [LeaseOverage::Never, LeaseOverage::Percent(40), LeaseOverage::Report].map(Just).to_vec();
    let take_overs =
        [LeaseTakeOver::Refuse, LeaseTakeOver::Idle, LeaseTakeOver::Oldest].map(Just).to_vec();
    (
        prop_oneof![1 => Just(None), 9 => (0..6_i64).prop_map(Some)],
        prop::strategy::Union::new(overages),
        prop_oneof![Just(None), Just(Some(300))],
        prop_oneof![Just(0), Just(900)],
        any::<bool>(),
        prop_oneof![Just(0), Just(120)],
        prop::strategy::Union::new(take_overs),
        prop_oneof![Just(0), Just(5)],
    )
        .prop_map(
            |(cap, overage, ttl, borrow_seconds, early_return, reassign, take_over, guard)| {
                LeasePoolRules {
                    cap,
                    overage,
                    ttl_seconds: ttl,
                    borrow_seconds,
                    early_return,
                    reassign_seconds: reassign,
                    take_over,
                    guard_seconds: guard,
                }
            },
        )
}

fn requests(backward: bool, changes: bool) -> impl Strategy<Value = Vec<Request>> {
    let lease = || 0..40_usize;
    let clock = if backward { -400..400_i64 } else { 0..400_i64 };
    let claim = (
        0..9_u8,
        prop::option::weighted(0.2, 60..300_i64),
        prop::option::weighted(0.1, 1..1000_i64),
        any::<bool>(),
    );
    let claim = claim.prop_map(|(holder, ttl, borrow, take_over)| Request::Claim {
        holder,
        ttl,
        borrow,
        take_over,
    });
    let weight = u32::from(changes);
    let request = prop_oneof![
        12 => claim,
        8 => lease().prop_map(Request::Heartbeat),
        4 => lease().prop_map(Request::Release),
        2 => (lease(), 1..1000_i64).prop_map(|(lease, seconds)| Request::Borrow(lease, seconds)),
        2 => lease().prop_map(Request::Return),
        8 => clock.prop_map(Request::Clock),
        2 * weight => prop::option::weighted(0.9, 0..6_i64).prop_map(Request::SetCap),
        weight => Just(Request::Reset),
    ];
    prop::collection::vec(request, 0..80)
}

/// A pool with its clock and the IDs of all its leases.
struct Run {
    pool: LeasePool,
    now: DateTime<Utc>,
    leases: Vec<Uuid>,
}

/// The lease that a request began or changed.
enum Answer {
    Lease(SeatTenure),
    Other,
}

impl Run {
    fn new(rules: LeasePoolRules) -> Self {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        Self { pool: LeasePool::new(rules), now, leases: Vec::new() }
    }

    fn step(&mut self, request: &Request) -> Answer {
        let named = |lease: &usize| self.leases.get(*lease).copied().unwrap_or(Uuid::nil());
        let answer = match request {
            Request::Claim { holder, ttl, borrow, take_over } => {
                let claim = LeaseClaim {
                    id: Uuid::from_u128(self.leases.len() as u128 + 1),
                    holder: holder.to_string(),
                    ttl_seconds: *ttl,
                    borrow_seconds: *borrow,
                    take_over: *take_over,
                    over_at: None,
                };
                return match self.pool.claim(&claim, self.now) {
                    ClaimAnswer::New(lease) | ClaimAnswer::TakenOver(lease, _) => {
                        self.leases.push(lease.id);
                        Answer::Lease(lease)
                    }
                    ClaimAnswer::Extended(lease) => Answer::Lease(lease),
                    ClaimAnswer::Exhausted(_) | ClaimAnswer::TooLong => Answer::Other,
                };
            }
            Request::Heartbeat(lease) => self.pool.heartbeat(named(lease), self.now),
            Request::Release(lease) => self.pool.release(named(lease), self.now),
            Request::Borrow(lease, seconds) => {
                self.pool.borrow(named(lease), *seconds, None, self.now)
            }
            Request::Return(lease) => self.pool.give_back(named(lease), self.now),
            Request::SetCap(cap) => {
                self.pool.set_cap(*cap);
                return Answer::Other;
            }
            Request::Reset => {
                self.pool.reset(self.now);
                return Answer::Other;
            }
            Request::Clock(seconds) => {
                self.now += TimeDelta::seconds(*seconds);
                return Answer::Other;
            }
        };
        match answer {
            LeaseAnswer::Done(lease) if lease.is_live(self.now) => Answer::Lease(lease),
            _ => Answer::Other,
        }
    }

    /// The live leases of seats up to the hard cap, and beyond.
    fn live(&self) -> (i64, i64) {
        let hard_cap = self.pool.rules().hard_cap().unwrap_or(i64::MAX);
        let leases = self.pool.leases(self.now).map(|lease| lease.seat <= hard_cap);
        leases.fold((0, 0), |(within, beyond), is_within| match is_within {
            true => (within + 1, beyond),
            false => (within, beyond + 1),
        })
    }
}

/// The peak by looking at each instant at which a tenure begins.
fn brute_force(tenures: &[SeatTenure], since: DateTime<Utc>, until: DateTime<Utc>) -> i64 {
    let end = |tenure: &SeatTenure| {
        let ended = tenure.ended.as_ref().map(|(_, at)| *at);
        ended.or(tenure.expires_at).unwrap_or(DateTime::<Utc>::MAX_UTC)
    };
    let instants = tenures.iter().map(|tenure| tenure.acquired_at).chain([since]);
    let within = instants.filter(|at| since <= *at && *at < until);
    let count = |at: DateTime<Utc>| {
        tenures.iter().filter(|tenure| tenure.acquired_at <= at && at < end(tenure)).count()
    };
    within.map(count).max().unwrap_or(0) as i64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn live_leases_never_exceed_the_hard_cap(rules in rules(), requests in requests(true, false)) {
        let hard_cap = rules.hard_cap().unwrap_or(i64::MAX);
        let mut run = Run::new(rules);
        for request in &requests {
            run.step(request);
            prop_assert!(run.live().0 <= hard_cap);
            prop_assert_eq!(run.live().1, 0);
        }
    }

    #[test]
    fn changed_cap_admits_no_lease_beyond(rules in rules(), requests in requests(true, true)) {
        let mut run = Run::new(rules);
        for request in &requests {
            let (_, beyond) = run.live();
            let answer = run.step(request);
            let hard_cap = run.pool.rules().hard_cap().unwrap_or(i64::MAX);
            prop_assert!(run.live().0 <= hard_cap);
            // Only a lower cap and a clock set back show leases beyond the hard cap.
            if !matches!(request, Request::SetCap(_) | Request::Clock(..0)) {
                prop_assert!(run.live().1 <= beyond);
            }
            let is_unchanged = |lease: &SeatTenure| lease.borrowed_until.is_some();
            if let Answer::Lease(lease) = answer && !is_unchanged(&lease) {
                prop_assert!(lease.seat <= hard_cap);
            }
        }
    }

    #[test]
    fn holders_and_seats_are_unique(rules in rules(), requests in requests(true, true)) {
        let mut run = Run::new(rules);
        for request in &requests {
            run.step(request);
            let leases: Vec<_> = run.pool.leases(run.now).collect();
            let holders: BTreeSet<_> = leases.iter().map(|lease| &lease.holder).collect();
            let seats: BTreeSet<_> = leases.iter().map(|lease| lease.seat).collect();
            let ids: BTreeSet<_> = run.pool.tenures().map(|lease| lease.id).collect();
            prop_assert_eq!((holders.len(), seats.len()), (leases.len(), leases.len()));
            prop_assert_eq!((ids.len(), run.pool.tenures().count()), (run.leases.len(), run.leases.len()));
        }
    }

    #[test]
    fn ended_lease_stays_ended(rules in rules(), requests in requests(false, true)) {
        let mut run = Run::new(rules);
        let mut ended: BTreeMap<Uuid, (LeaseEnd, DateTime<Utc>)> = BTreeMap::new();
        for request in &requests {
            run.step(request);
            let known: BTreeMap<_, _> = run
                .pool
                .tenures()
                .filter_map(|lease| Some((lease.id, lease.end(run.now)?)))
                .collect();
            for (lease, end) in &ended {
                prop_assert_eq!(known.get(lease), Some(end));
                let over = LeaseAnswer::Over(end.0.clone(), end.1);
                prop_assert_eq!(run.pool.heartbeat(*lease, run.now), over);
            }
            ended = known;
        }
    }

    #[test]
    fn claim_and_heartbeat_never_shorten(rules in rules(), requests in requests(true, true)) {
        let mut run = Run::new(rules);
        for request in &requests {
            let ends: BTreeMap<_, _> =
                run.pool.leases(run.now).map(|lease| (lease.id, lease.expires_at)).collect();
            let answer = run.step(request);
            if let Answer::Lease(lease) = answer
                && let Some(before) = ends.get(&lease.id)
                && lease.borrowed_until.is_none()
            {
                let is_earlier = match (lease.expires_at, *before) {
                    (Some(after), Some(before)) => after < before,
                    (after, before) => after.is_some() && before.is_none(),
                };
                prop_assert!(!is_earlier);
            }
        }
    }

    #[test]
    fn time_alone_frees_seats(rules in rules(), requests in requests(false, false)) {
        let rules = LeasePoolRules { cap: Some(3), ttl_seconds: Some(300), ..rules };
        let mut run = Run::new(rules);
        for request in &requests {
            run.step(request);
        }
        // The longest borrowing, the longest reassignment and the guard are shorter than this.
        run.now += TimeDelta::seconds(2000);
        prop_assert_eq!(run.live(), (0, 0));
        let claim = |holder| Request::Claim { holder, ttl: None, borrow: None, take_over: false };
        for holder in 20..23 {
            prop_assert!(matches!(run.step(&claim(holder)), Answer::Lease(lease) if lease.seat <= 3));
        }
    }

    #[test]
    fn peak_is_that_of_a_brute_force_sweep(
        rules in rules(),
        requests in requests(true, true),
        since in 0..4000_i64,
        length in 0..4000_i64,
    ) {
        let mut run = Run::new(rules);
        let since = run.now + TimeDelta::seconds(since - 500);
        let until = since + TimeDelta::seconds(length);
        for request in &requests {
            run.step(request);
        }
        let tenures: Vec<_> = run.pool.tenures().cloned().collect();
        prop_assert_eq!(run.pool.peak(since, until), brute_force(&tenures, since, until));
    }
}
