//! The server's statements against `LeasePool`, the rules without a database.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::{
    ClaimAnswer, LeaseAnswer, LeaseClaim, LeaseOverage, LeasePool, LeasePoolRules, LeaseTakeOver,
    SeatTenure,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use uuid::Uuid;

use super::leases;
use crate::world::{Answer, World, on_both};

#[derive(Clone, Debug)]
enum Step {
    Claim { holder: u8, ttl: Option<i64>, borrow: Option<i64>, take_over: bool },
    Heartbeat(usize),
    Release(usize),
    Borrow(usize, i64),
    Return(usize),
    Cap(i64),
    Reset,
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let ttl = prop_oneof![3 => Just(None), 1 => (60..300i64).prop_map(Some)];
    let borrow = prop_oneof![5 => Just(None), 1 => (60..1200i64).prop_map(Some)];
    prop_oneof![
        8 => (0..6u8, ttl, borrow, any::<bool>()).prop_map(|(holder, ttl, borrow, take_over)| {
            Step::Claim { holder, ttl, borrow, take_over }
        }),
        5 => any::<usize>().prop_map(Step::Heartbeat),
        3 => any::<usize>().prop_map(Step::Release),
        2 => (any::<usize>(), 60..1200i64).prop_map(|(lease, time)| Step::Borrow(lease, time)),
        1 => any::<usize>().prop_map(Step::Return),
        2 => (0..5i64).prop_map(Step::Cap),
        1 => Just(Step::Reset),
        // A clock that is set back, too.
        8 => (-60..250i64).prop_map(Step::Pass),
    ]
}

fn rules() -> impl Strategy<Value = LeasePoolRules> {
    let overage = prop_oneof![
        3 => Just(LeaseOverage::Never),
        1 => Just(LeaseOverage::Percent(50)),
        1 => Just(LeaseOverage::Report),
    ];
    let take_over = prop_oneof![
        Just(LeaseTakeOver::Refuse),
        Just(LeaseTakeOver::Idle),
        Just(LeaseTakeOver::Oldest),
    ];
    let ttl = prop_oneof![4 => Just(Some(300)), 1 => Just(None)];
    let reassign = prop_oneof![2 => Just(0), 1 => Just(120)];
    (overage, take_over, ttl, reassign, any::<bool>()).prop_map(
        |(overage, take_over, ttl_seconds, reassign_seconds, early_return)| LeasePoolRules {
            cap: Some(3),
            overage,
            ttl_seconds,
            borrow_seconds: 900,
            early_return,
            reassign_seconds,
            take_over,
            guard_seconds: 0,
        },
    )
}

/// The pool as the license sets it.
fn setting(rules: &LeasePoolRules) -> Value {
    json!({
        "kind": "floating", "cap": rules.cap, "ttl_seconds": rules.ttl_seconds,
        "overage": match rules.overage {
            LeaseOverage::Never => json!("never"),
            LeaseOverage::Percent(percent) => json!(percent),
            LeaseOverage::Report => json!("report"),
        },
        "borrow_seconds": rules.borrow_seconds, "early_return": rules.early_return,
        "reassign_seconds": rules.reassign_seconds,
        "take_over": match rules.take_over {
            LeaseTakeOver::Refuse => "refuse",
            LeaseTakeOver::Idle => "idle",
            LeaseTakeOver::Oldest => "oldest",
        },
    })
}

/// What both sides say about a lease.
fn facts(lease: &Value) -> Value {
    let names = ["id", "seat", "acquired_at", "heartbeat_at", "expires_at", "borrowed_until"];
    names.iter().map(|name| ((*name).to_owned(), lease[*name].clone())).collect()
}

fn of_model(tenure: &SeatTenure) -> Value {
    json!({
        "id": tenure.id, "seat": tenure.seat, "acquired_at": tenure.acquired_at,
        "heartbeat_at": tenure.heartbeat_at, "expires_at": tenure.expires_at,
        "borrowed_until": tenure.borrowed_until,
    })
}

/// The outcome of a request in words.
fn outcome(answer: &Answer) -> Value {
    let body = answer.json();
    match (answer.status, body["code"].as_str()) {
        (200 | 201, _) => json!(["lease", facts(&body)]),
        (409, Some("seats_exhausted")) => json!(["exhausted", body["cap"], body["hard_cap"]]),
        (409, Some("lease_over")) => json!(["over", body["end"], body["ended_at"]]),
        (409, Some("lease_borrowed")) => json!(["borrowed", body["borrowed_until"]]),
        (409, Some("conflict")) => json!(["not borrowed"]),
        (422, Some("invalid")) => json!(["too long"]),
        _ => panic!("{}", answer.text()),
    }
}

fn outcome_of_model(answer: LeaseAnswer) -> Value {
    let at = |at: DateTime<Utc>| json!(at);
    match answer {
        LeaseAnswer::Done(lease) | LeaseAnswer::Unchanged(lease) => {
            json!(["lease", of_model(&lease)])
        }
        LeaseAnswer::Over(end, ended_at) => json!(["over", end, at(ended_at)]),
        LeaseAnswer::Borrowed(until) => json!(["borrowed", at(until)]),
        LeaseAnswer::Exhausted(found) => json!(["exhausted", found.cap, found.hard_cap]),
        LeaseAnswer::TooLong => json!(["too long"]),
        LeaseAnswer::Unknown => panic!("the model has forgotten a lease"),
    }
}

/// One pool on both sides.
struct Both<'w> {
    world: &'w World,
    pool: String,
    model: LeasePool,
    known: Vec<Uuid>,
}

impl Both<'_> {
    async fn configure(&self) {
        let pools = json!({"leasing": {&self.pool: setting(self.model.rules())}});
        let path = format!("/licenses/{}", self.world.acme.license);
        self.world.patch(path, pools).await.expect(200);
    }

    async fn run(&mut self, step: &Step) {
        let (world, now) = (self.world, self.world.app.clock.now());
        let lease = |n: &usize| self.known.get(n % self.known.len().max(1)).copied();
        match step {
            Step::Pass(seconds) => world.pass(TimeDelta::seconds(*seconds)),
            Step::Cap(cap) => {
                self.model.set_cap(Some(*cap));
                self.configure().await;
            }
            Step::Reset => {
                let body = json!({"pool": self.pool, "reason": "a test"});
                world.post(leases(world) + "/reset", body).await.expect(200);
                self.model.reset(now);
            }
            Step::Claim { holder, ttl, borrow, take_over } => {
                self.claim(*holder, *ttl, *borrow, *take_over).await;
            }
            Step::Heartbeat(n) => {
                let Some(id) = lease(n) else { return };
                let answer = world.put(format!("/leases/{id}"), json!({})).await;
                let expected = outcome_of_model(self.model.heartbeat(id, now));
                assert_eq!(outcome(&answer), expected);
            }
            Step::Borrow(n, seconds) => {
                let Some(id) = lease(n) else { return };
                let body = json!({"seconds": seconds});
                let answer = world.post(format!("/leases/{id}/borrow"), body).await;
                let expected = outcome_of_model(self.model.borrow(id, *seconds, None, now));
                assert_eq!(outcome(&answer), expected);
            }
            Step::Return(n) => {
                let Some(id) = lease(n) else { return };
                let answer = world.post(format!("/leases/{id}/return"), json!({})).await;
                let expected = match self.model.give_back(id, now) {
                    LeaseAnswer::Unchanged(_) => json!(["not borrowed"]),
                    answer => outcome_of_model(answer),
                };
                assert_eq!(outcome(&answer), expected);
            }
            Step::Release(n) => {
                let Some(id) = lease(n) else { return };
                let answer = world.delete(format!("/leases/{id}")).await;
                match self.model.release(id, now) {
                    LeaseAnswer::Borrowed(_) => {
                        answer.refused(409, "lease_borrowed");
                    }
                    _ => assert_eq!(answer.status, 204, "{}", answer.text()),
                }
            }
        }
        self.compare().await;
    }

    async fn claim(&mut self, holder: u8, ttl: Option<i64>, borrow: Option<i64>, take_over: bool) {
        let now = self.world.app.clock.now();
        let body = json!({
            "pool": self.pool, "holder": {"id": format!("holder-{holder}")},
            "ttl_seconds": ttl, "borrow_seconds": borrow, "take_over": take_over,
        });
        let answer = self.world.post(leases(self.world), body).await;
        let id = match answer.status {
            201 => answer.json()["id"].as_str().unwrap().parse().unwrap(),
            _ => Uuid::from_u128(self.known.len() as u128),
        };
        let claim = LeaseClaim {
            id,
            holder: holder.to_string(),
            ttl_seconds: ttl,
            borrow_seconds: borrow,
            take_over,
            over_at: None,
        };
        let (status, expected) = match self.model.claim(&claim, now) {
            ClaimAnswer::New(lease) | ClaimAnswer::TakenOver(lease, _) => {
                self.known.push(id);
                (201, json!(["lease", of_model(&lease)]))
            }
            ClaimAnswer::Extended(lease) => (200, json!(["lease", of_model(&lease)])),
            ClaimAnswer::Exhausted(found) => (409, json!(["exhausted", found.cap, found.hard_cap])),
            ClaimAnswer::TooLong => (422, json!(["too long"])),
        };
        assert_eq!((answer.status, outcome(&answer)), (status, expected));
    }

    /// Both sides have the same live leases, never more than the hard cap admits.
    async fn compare(&self) {
        let now = self.world.app.clock.now();
        let live = self.world.get(format!("{}?pool={}", leases(self.world), self.pool)).await;
        let live: BTreeSet<String> = live.expect(200)["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|lease| facts(lease).to_string())
            .collect();
        let expected = self.model.leases(now).map(|lease| facts(&of_model(lease)).to_string());
        assert_eq!(live, expected.collect::<BTreeSet<_>>());
    }
}

#[on_both]
async fn every_answer_is_that_of_the_rules_without_a_database(world: World) {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let guard_seconds = if world.app.db.writes_alone() { 0 } else { 5 };
    for n in 0..12 {
        let own = rules().new_tree(&mut runner).unwrap().current();
        let steps = proptest::collection::vec(step(), 60).new_tree(&mut runner).unwrap().current();
        let model = LeasePool::new(LeasePoolRules { guard_seconds, ..own });
        let known = Vec::new();
        let mut both = Both { world: &world, pool: format!("pool_{n}"), model, known };
        both.configure().await;
        for (at, step) in steps.iter().enumerate() {
            println!("pool {n}, step {at}: {step:?}");
            both.run(step).await;
        }
    }
}
