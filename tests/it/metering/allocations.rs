//! Allocations and cycles under parallel changes of three replicas, and the statements of the table.

use chrono::{DateTime, TimeDelta, Utc};
use cp_server::metering::budgets::renewal;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{millionths, record};
use crate::world::{Answer, Client, ROOT, World, on_both, statements_of};

const TABLE: &str = "/budgets/copilot/allocations";

async fn group(world: &World, body: Value) -> String {
    let made = world.post(world.org("/groups"), body).await.expect(201);
    format!("group:{}", made["id"].as_str().unwrap())
}

fn id(scope: &str) -> &str {
    scope.split_once(':').unwrap().1
}

async fn budget(world: &World, body: Value) {
    world.put(world.org("/budgets/copilot"), body).await.expect(201);
    world.post(world.org("/budgets/copilot/cycles"), json!({})).await.expect(201);
}

/// Three servers on the same data.
fn replicas(world: &World) -> Vec<Client> {
    (0..3).map(|_| world.server(|_| {}).1.token(ROOT)).collect()
}

type Pending<'w> = std::pin::Pin<Box<dyn Future<Output = Answer> + 'w>>;

/// The allocations are one statement, and their usage another one.
#[on_both]
async fn table_of_1000_rows_costs_two_statements(world: World) {
    budget(&world, json!({"credits": 1_000_000})).await;
    let mut groups = Vec::new();
    for n in 0..999 {
        groups.push(group(&world, json!({"name": format!("g{n}")})).await);
    }
    let shares = json!({"scopes": groups, "total": 999_000});
    world.post(world.org("/budgets/copilot/distribute"), shares).await.expect(200);
    let table = world.get(world.org(TABLE)).await.expect(200);
    assert_eq!(table["items"].as_array().unwrap().len(), 1000);
    // A list of one statement is the measure.
    let one = statements_of(&world, "/memberships").await;
    assert_eq!(statements_of(&world, TABLE).await, one + 1);
    let filtered = format!("{TABLE}?within=organization&threshold=0&scope={}", groups[0]);
    assert_eq!(statements_of(&world, &filtered).await, one + 1);
    let cycle = table["cycle"]["id"].as_str().unwrap();
    assert_eq!(statements_of(&world, &format!("{TABLE}?cycle={cycle}")).await, one + 1);
}

#[on_both]
async fn cycle_that_does_not_exist_is_not_found_at_its_field(world: World) {
    world.put(world.org("/budgets/copilot"), json!({"credits": 1})).await.expect(201);
    let problem = world.get(world.org(TABLE)).await.refused(404, "not_found");
    assert_eq!(problem["detail"], "The budget has no active cycle. Open one first.");
    world.post(world.org("/budgets/copilot/cycles"), json!({})).await.expect(201);
    let foreign = "/organizations/globex/budgets/studio/allocations";
    let foreign = world.get(foreign).await.expect(200)["cycle"]["id"].clone();
    for cycle in [foreign.as_str().unwrap(), crate::sweep::examples::UNKNOWN_ID] {
        let answer = world.get(world.org(&format!("{TABLE}?cycle={cycle}"))).await;
        assert_eq!(answer.refused(404, "not_found")["field"], "cycle");
    }
    let other = world.org("/budgets/missing/allocations");
    world.get(other).await.refused(404, "not_found");
}

/// Whatever succeeds of 200 parallel changes: at every read, the parts of each allocation fit into it.
#[on_both]
async fn parts_never_exceed_their_whole_under_parallel_changes(world: World) {
    budget(&world, json!({"credits": 1000})).await;
    let (mut units, mut teams) = (Vec::new(), Vec::new());
    for n in 0..3 {
        let unit = group(&world, json!({"name": format!("unit {n}")})).await;
        for team in 0..2 {
            let below = json!({"name": format!("team {n} {team}"), "parent_id": id(&unit)});
            teams.push(group(&world, below).await);
        }
        units.push(unit);
    }
    let replicas = replicas(&world);
    let (table, distribute) = (world.org(TABLE), world.org("/budgets/copilot/distribute"));
    let budget = world.org("/budgets/copilot");
    let change = |n: usize| -> Pending<'_> {
        let on = &replicas[n % replicas.len()];
        let (unit, team) = (&units[n % 3], &teams[n % 6]);
        match n % 5 {
            0 => Box::pin(on.post(&distribute, json!({"scopes": units, "total": 300 + n * 4}))),
            1 => Box::pin(on.put(&table, json!({"scope": unit, "quantity": n * 37 % 500}))),
            2 => Box::pin(on.put(&table, json!({"scope": team, "quantity": n * 53 % 250}))),
            3 => Box::pin(on.post(
                &distribute,
                json!({"scopes": [teams[n % 6 / 2 * 2], teams[n % 6 / 2 * 2 + 1]],
                       "total": n, "within": units[n % 6 / 2]}),
            )),
            _ if n % 20 == 4 => Box::pin(on.put(&budget, json!({"credits": 500 + n * 7 % 700}))),
            _ => Box::pin(on.delete(format!("{table}?scope={team}"))),
        }
    };
    let changes = async { join_all((0..200).map(change)).await };
    let reads_done = std::cell::Cell::new(0);
    let reads = async {
        for n in 0..60 {
            // The changes leave connections for reads while they wait for each other.
            let found = replicas[n % 3].get(&table).await.expect(200);
            reads_done.set(reads_done.get() + 1);
            for item in found["items"].as_array().unwrap() {
                let (children, whole) =
                    (millionths(&item["children"]), millionths(&item["effective"]));
                assert!(children <= whole && item["over"] == 0, "{item}");
            }
            assert!(millionths(&found["allocated"]) <= millionths(&found["total"]), "{found}");
        }
    };
    let (answers, ()) = futures_util::future::join(changes, reads).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    let known = [200, 201, 204, 404, 409, 422, 503];
    assert!(answers.iter().all(|answer| known.contains(&answer.status)), "{answers:?}");
    assert!(count(200) + count(201) > 20 && count(409) > 5, "{} and {}", count(200), count(409));
    assert!(reads_done.get() > 5, "{}", reads_done.get());
}

/// Parallel enforced usage exceeds no allocation on the way up, and every sum of it is one sum.
#[on_both]
async fn usage_never_exceeds_a_bound_of_any_of_its_scopes(world: World) {
    let upper = group(&world, json!({"name": "A"})).await;
    let lower = group(&world, json!({"name": "T", "parent_id": id(&upper)})).await;
    let user = format!("user:{}", world.acme.user);
    let seat = format!("/groups/{}/members/{}", id(&lower), world.acme.user);
    world.put(seat, json!({"role": "member"})).await.expect(201);
    budget(&world, json!({"credits": 100, "overflow": 5, "factor": 1.5, "enforcement": "enforce"}))
        .await;
    for (scope, quantity, overflow, within) in
        [(&upper, 60, 3, Value::Null), (&lower, 40, 1, Value::Null), (&user, 20, 0, json!(lower))]
    {
        let mut body = json!({"scope": scope, "quantity": quantity, "overflow": overflow});
        if !within.is_null() {
            body["within"] = within;
        }
        world.put(world.org(TABLE), body).await.expect(201);
    }
    let replicas = replicas(&world);
    let quantities = [0.7, 1.3, 2.0, 0.000_001];
    let event = |n: usize| {
        let mut event = json!({
            "metric": "cost", "unit": "usd", "product": "copilot", "mode": "enforce",
            "quantity": quantities[n % 4],
        });
        let (group, has_user) =
            [(Some(&lower), true), (Some(&lower), false), (Some(&upper), false), (None, false)]
                [n / 4 % 4];
        if let Some(group) = group {
            event["group_id"] = json!(id(group));
        }
        if has_user {
            event["user_id"] = json!(world.acme.user);
        }
        event
    };
    let usage = world.org("/usage");
    let events = (0..200).map(|n| replicas[n % 3].post(&usage, event(n)));
    let answers = join_all(events).await;
    assert!(answers.iter().all(|answer| [201, 429].contains(&answer.status)), "{answers:?}");
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert!(refused > 20, "{refused}");
    let table = world.get(world.org(TABLE)).await.expect(200);
    for item in table["items"].as_array().unwrap() {
        let bound = millionths(&item["effective"]) + millionths(&item["overflow"]);
        assert!(millionths(&item["used"]) <= bound, "{item}");
    }
    let events = world.get(world.org("/usage?product=copilot&limit=500")).await.expect(200);
    let events = events["items"].as_array().unwrap().iter();
    let sum: i128 = events.map(|event| millionths(&event["credits"])).sum();
    assert_eq!(sum, millionths(&table["used"]));
    for by in ["", "&group_by=day", "&group_by=user", "&group_by=group"] {
        let costs = world.org(&format!("/usage/costs?product=copilot{by}"));
        let costs = world.get(costs).await.expect(200)["items"].as_array().unwrap().clone();
        let of_costs: i128 = costs.iter().map(|cost| millionths(&cost["credits"])).sum();
        assert_eq!(of_costs, sum, "{by}: {costs:?}");
    }
}

/// Under any order of requests and renewals, cycles have no gap and no overlap, and one of them is active.
#[on_both]
async fn cycles_have_no_gap_no_overlap_and_one_active(world: World) {
    let mut runner = TestRunner::deterministic();
    let servers: Vec<_> = (0..3).map(|_| world.server(|_| {})).collect();
    for (n, cadence) in ["monthly", "quarterly", "yearly", "manual"].into_iter().enumerate() {
        let path = world.org(&format!("/budgets/p-{n}"));
        let body = json!({"credits": 10, "cadence": cadence, "renewal_day": 1 + 9 * n});
        world.put(&path, body).await.expect(201);
        let cycles = format!("{path}/cycles");
        world.post(&cycles, json!({})).await.expect(201);
        let steps = prop::collection::vec((0..90_000_000_i64, 0..3_usize, any::<bool>()), 8);
        for (seconds, openers, is_late) in steps.new_tree(&mut runner).unwrap().current() {
            world.pass(TimeDelta::seconds(seconds / if n == 2 { 2 } else { 20 }));
            // A start in the past, if it is in the active cycle; otherwise now.
            let now: DateTime<Utc> = world.app.clock.now();
            let start = if is_late { now - TimeDelta::hours(1) } else { now };
            let opens = (0..openers).map(|n| {
                let body = json!({"starts_at": start, "copy": "none"});
                let client = servers[n].1.clone().token(ROOT);
                let cycles = &cycles;
                async move { client.post(cycles, body).await.status }
            });
            let renewals = servers.iter().map(|(app, _)| renewal::renew(app));
            let (statuses, renewed) =
                futures_util::future::join(join_all(opens), join_all(renewals)).await;
            assert!(renewed.iter().all(Result::is_ok), "{renewed:?}");
            let opened = statuses.iter().filter(|status| **status == 201).count();
            assert!(opened <= 1, "{statuses:?}");
            assert!(
                statuses.iter().all(|status| [201, 409, 422, 503].contains(status)),
                "{statuses:?}"
            );
            let found = world.get(format!("{cycles}?limit=500")).await.expect(200);
            let mut found = found["items"].as_array().unwrap().clone();
            // Replicas create IDs of one millisecond in any order.
            found.sort_by_key(|cycle| std::cmp::Reverse(cycle["starts_at"].to_string()));
            let active = found.iter().filter(|cycle| cycle["status"] == "active").count();
            assert_eq!(active, 1, "{found:?}");
            assert_eq!(found[0]["status"], "active");
            for pair in found.windows(2) {
                assert_eq!(pair[0]["starts_at"], pair[1]["ends_at"], "{found:?}");
                assert!(pair[1]["starts_at"].as_str() < pair[1]["ends_at"].as_str(), "{found:?}");
            }
        }
    }
}

/// Of the parallel closers of a cycle one succeeds, and the others are refused.
#[on_both]
async fn second_closer_of_a_cycle_is_refused(world: World) {
    budget(&world, json!({"credits": 10, "cadence": "manual"})).await;
    let (replicas, path) = (replicas(&world), world.org("/budgets/copilot/cycles"));
    for round in 1..4 {
        world.pass(TimeDelta::hours(1));
        let closers = (0..9).map(|n| replicas[n % 3].post(&path, json!({})));
        let mut statuses: Vec<u16> = join_all(closers).await.iter().map(|a| a.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [vec![201], vec![409; 8]].concat(), "round {round}");
        let events = [(); 2].map(
            |()| json!({"metric": "cost", "unit": "usd", "product": "copilot", "quantity": 1}),
        );
        record(&world, events.as_slice().into()).await;
    }
    let found = world.get(&path).await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 4);
}
