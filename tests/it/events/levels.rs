//! Notices of pools and limits: levels, refusals and seats beyond the cap.

use chrono::TimeDelta;
use cp_server::licensing::leases::hours;
use cp_server::lifecycle::notices::announce;
use serde_json::{Value, json};

use super::place;
use crate::world::{Answer, World, on_both};

/// The notices about a subject, oldest first, with what their events say.
async fn notices(world: &World, subject: &str) -> Vec<(String, Value)> {
    place(world).await;
    let path = format!("/audit?target={subject}&limit=500");
    let events = world.get(path).await.expect(200)["items"].as_array().unwrap().clone();
    let of_notices = events.iter().rev().filter(|event| event["actor_name"] == "notices");
    of_notices
        .map(|event| (event["action"].as_str().unwrap().to_owned(), event["after"].clone()))
        .collect()
}

/// The percentages that were announced of a subject, as types and numbers.
async fn percents(world: &World, subject: &str) -> Vec<(String, i64)> {
    let found = notices(world, subject).await.into_iter();
    found.map(|(action, after)| (action, after["percent"].as_i64().unwrap_or(-1))).collect()
}

fn of(action: &str, percents: &[i64]) -> Vec<(String, i64)> {
    percents.iter().map(|percent| (action.to_owned(), *percent)).collect()
}

/// Time passes, and two replicas look at once.
async fn look(world: &World, minutes: i64) {
    let (second, _) = world.server(|settings| settings.shared.rate_limits = false);
    world.pass(TimeDelta::minutes(minutes));
    let (first, other) = tokio::join!(announce(&world.app), announce(&second));
    first.unwrap();
    other.unwrap();
}

async fn pool(world: &World, settings: Value) {
    let path = format!("/licenses/{}", world.acme.license);
    world.patch(path, json!({"leasing": {"render": settings}})).await.expect(200);
}

async fn claim(world: &World, holder: usize) -> Answer {
    let path = format!("/licenses/{}/leases", world.acme.license);
    let holder = json!({"id": format!("holder-{holder}")});
    world.post(path, json!({"pool": "render", "holder": holder})).await
}

/// Claims seats for these holders, and returns the last lease.
async fn claim_all(world: &World, holders: std::ops::Range<usize>) -> String {
    let mut last = String::new();
    for holder in holders {
        let lease = claim(world, holder).await.expect(201);
        lease["id"].as_str().unwrap().clone_into(&mut last);
    }
    last
}

#[on_both]
async fn pool_is_announced_at_its_percentages_and_again_after_five_points_below(world: World) {
    let license = world.acme.license.clone();
    let settings = |cap: i64| json!({"kind": "floating", "cap": cap, "ttl_seconds": null, "notify_at": [50, 90]});
    pool(&world, settings(20)).await;
    claim_all(&world, 0..9).await;
    look(&world, 1).await;
    assert_eq!(notices(&world, &license).await, []);
    claim_all(&world, 9..10).await;
    for _ in 0..3 {
        look(&world, 1).await;
    }
    let (action, after) = notices(&world, &license).await.pop().unwrap();
    assert_eq!(action, "leases.near_cap");
    assert_eq!(after, json!({"pool": "render", "percent": 50, "used": 10, "cap": 20}));
    // From 50 percent to 95: only the highest.
    let mut last = vec![claim_all(&world, 10..17).await];
    for holder in 17..19 {
        last.push(claim_all(&world, holder..holder + 1).await);
    }
    look(&world, 1).await;
    assert_eq!(percents(&world, &license).await, of("leases.near_cap", &[50, 90]));
    // Down to 90 percent and back: no news. Down to 85 percent and back: news.
    world.delete(format!("/leases/{}", last[2])).await.expect(204);
    look(&world, 1).await;
    claim_all(&world, 18..19).await;
    look(&world, 1).await;
    assert_eq!(percents(&world, &license).await, of("leases.near_cap", &[50, 90]));
    for lease in &last[..2] {
        world.delete(format!("/leases/{lease}")).await.expect(204);
    }
    look(&world, 1).await;
    claim_all(&world, 16..18).await;
    look(&world, 1).await;
    assert_eq!(percents(&world, &license).await, of("leases.near_cap", &[50, 90, 90]));
    // Another cap is another basis.
    pool(&world, settings(21)).await;
    look(&world, 1).await;
    let found = percents(&world, &license).await;
    assert_eq!(found, of("leases.near_cap", &[50, 90, 90, 90]));
}

#[on_both]
async fn first_refusal_of_an_hour_is_announced(world: World) {
    let license = world.acme.license.clone();
    let settings = json!({"kind": "floating", "cap": 2, "ttl_seconds": null, "notify_at": []});
    pool(&world, settings).await;
    claim_all(&world, 0..2).await;
    for expected in 1..=3 {
        for holder in 5..8 {
            claim(&world, holder).await.refused(409, "seats_exhausted");
            hours::flush(&world.app).await.unwrap();
            look(&world, 5).await;
        }
        let found = notices(&world, &license).await;
        assert_eq!(found.len(), expected, "{found:?}");
        assert!(
            found.iter().all(|(action, after)| {
                action == "leases.exhausted" && after["pool"] == "render"
            })
        );
        look(&world, 45).await;
    }
    // After a pause, refusals of yesterday are no news.
    claim(&world, 9).await.refused(409, "seats_exhausted");
    hours::flush(&world.app).await.unwrap();
    look(&world, 24 * 60).await;
    assert_eq!(notices(&world, &license).await.len(), 3);
}

#[on_both]
async fn first_seat_of_a_day_beyond_the_cap_is_announced(world: World) {
    let license = world.acme.license.clone();
    let settings = json!({
        "kind": "floating", "cap": 2, "ttl_seconds": null, "overage": "report", "notify_at": [],
    });
    pool(&world, settings).await;
    claim_all(&world, 0..2).await;
    look(&world, 1).await;
    assert_eq!(notices(&world, &license).await, []);
    let last = claim_all(&world, 2..4).await;
    look(&world, 1).await;
    claim_all(&world, 4..5).await;
    look(&world, 1).await;
    assert_eq!(notices(&world, &license).await.len(), 1);
    // A lease that has ended meanwhile, just before midnight.
    world.pass(TimeDelta::hours(47) + TimeDelta::minutes(55));
    world.delete(format!("/leases/{last}")).await.expect(204);
    claim_all(&world, 9..10).await;
    look(&world, 10).await;
    look(&world, 10).await;
    let found = notices(&world, &license).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|(action, _)| action == "leases.overage"));
    assert_eq!(found[1].1["at"], "2026-01-03T23:58:00Z");
}

async fn record(world: &World, quantity: i64) {
    let usage = json!({"metric": "renders", "quantity": quantity});
    world.post(world.org("/usage"), usage).await.expect(201);
}

#[on_both]
async fn limit_is_announced_near_it_and_when_it_is_reached(world: World) {
    let body = json!({
        "metric": "renders", "quantity": 1000, "window": "calendar", "notify_at": [95, 80, 80],
    });
    let limit = world.put(world.org("/limits"), body.clone()).await.expect(201);
    assert_eq!(limit["notify_at"], json!([80, 95]));
    let id = limit["id"].as_str().unwrap().to_owned();
    record(&world, 799).await;
    look(&world, 5).await;
    assert_eq!(notices(&world, &id).await, []);
    record(&world, 1).await;
    // Not before five minutes have passed.
    look(&world, 1).await;
    assert_eq!(notices(&world, &id).await, []);
    look(&world, 4).await;
    look(&world, 5).await;
    let (action, after) = notices(&world, &id).await.pop().unwrap();
    assert_eq!(action, "limits.near");
    assert_eq!(after, json!({"percent": 80, "used": 800, "quantity": 1000}));
    record(&world, 200).await;
    look(&world, 5).await;
    record(&world, 500).await;
    look(&world, 5).await;
    let expected = [("limits.near".to_owned(), 80), ("limits.reach".to_owned(), 100)];
    assert_eq!(percents(&world, &id).await, expected);
    // A larger limit, and the next month.
    let mut larger = body.clone();
    larger["quantity"] = json!(1800);
    world.put(world.org("/limits"), larger).await.expect(200);
    look(&world, 5).await;
    assert_eq!(percents(&world, &id).await.len(), 3);
    world.pass(TimeDelta::days(31));
    look(&world, 5).await;
    record(&world, 1750).await;
    look(&world, 5).await;
    let found = percents(&world, &id).await;
    assert_eq!(found[3..], of("limits.near", &[95]));
    // Without percentages the limit is silent.
    let quiet = json!({"metric": "renders", "quantity": 10, "window": "calendar"});
    let quiet = world.put(world.org("/limits"), quiet).await.expect(200);
    assert_eq!(quiet["notify_at"], Value::Null);
    look(&world, 5).await;
    assert_eq!(percents(&world, &id).await.len(), 4);
    for bad in [json!([0]), json!([101]), json!([]), json!([1, 2, 3, 4, 5]), json!("90")] {
        let mut body = body.clone();
        body["notify_at"] = bad;
        let problem = world.put(world.org("/limits"), body).await.expect(422);
        assert!(problem["field"].as_str().unwrap().starts_with("notify_at"), "{problem}");
    }
}

#[on_both]
async fn limit_of_nothing_is_reached_by_any_use(world: World) {
    let body = json!({"metric": "renders", "quantity": 0, "notify_at": [50]});
    let limit = world.put(world.org("/limits"), body).await.expect(201);
    let id = limit["id"].as_str().unwrap().to_owned();
    look(&world, 5).await;
    assert_eq!(notices(&world, &id).await, []);
    record(&world, 1).await;
    look(&world, 5).await;
    look(&world, 5).await;
    assert_eq!(percents(&world, &id).await, of("limits.reach", &[100]));
}

#[on_both]
async fn allocation_is_announced_like_a_limit_and_its_copy_too(world: World) {
    world.put(world.org("/budgets/copilot"), json!({"credits": 1000})).await.expect(201);
    world.post(world.org("/budgets/copilot/cycles"), json!({})).await.expect(201);
    let scope = format!("group:{}", world.acme.group);
    let allocation = json!({"scope": scope, "quantity": 100, "notify_at": [50]});
    let path = world.org("/budgets/copilot/allocations");
    let made = world.put(&path, allocation).await.expect(201);
    assert_eq!(made["notify_at"], json!([50]));
    let again = world.put(&path, json!({"scope": scope, "quantity": 100})).await.expect(200);
    assert_eq!(again["notify_at"], json!([50]), "an absent field keeps the stored one");
    let usage = json!({
        "metric": "cost", "unit": "usd", "quantity": 60, "product": "copilot",
        "group_id": world.acme.group,
    });
    let budget = world.get(world.org("/budgets/copilot")).await.expect(200);
    let mut usage = usage;
    usage["metric"] = budget["cost_metric"].clone();
    usage["unit"] = budget["cost_unit"].clone();
    world.post(world.org("/usage"), usage).await.expect(201);
    look(&world, 5).await;
    look(&world, 5).await;
    let limits = world.get(world.org("/limits?metric=credits")).await.expect(200);
    let limits = limits["items"].as_array().unwrap().clone();
    let limit =
        limits.iter().find(|one| one["scope"] == scope.as_str() && one["unit"] == "copilot");
    let id = limit.unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(percents(&world, &id).await, of("limits.near", &[50]));
    let cleared = json!({"scope": scope, "quantity": 100, "notify_at": null});
    assert_eq!(world.put(&path, cleared).await.expect(200)["notify_at"], Value::Null);
}

#[on_both]
async fn budget_announces_its_own_total(world: World) {
    let body = json!({"credits": 100, "notify_at": [80]});
    let budget = world.put(world.org("/budgets/copilot"), body).await.expect(201);
    assert_eq!(budget["notify_at"], json!([80]));
    world.post(world.org("/budgets/copilot/cycles"), json!({})).await.expect(201);
    let limits = world.get(world.org("/limits?metric=credits")).await.expect(200);
    let limits = limits["items"].as_array().unwrap().clone();
    let own = |one: &&Value| one["scope"] == "organization" && one["unit"] == "copilot";
    let id = limits.iter().find(own).unwrap()["id"].as_str().unwrap().to_owned();
    let usage = json!({"metric": "cost", "unit": "usd", "quantity": 85, "product": "copilot"});
    world.post(world.org("/usage"), usage).await.expect(201);
    look(&world, 5).await;
    look(&world, 5).await;
    assert_eq!(percents(&world, &id).await, of("limits.near", &[80]));
    let quiet = world.put(world.org("/budgets/copilot"), json!({"credits": 100})).await;
    assert_eq!(quiet.expect(200)["notify_at"], Value::Null);
}

#[on_both]
async fn organization_turns_levels_off(world: World) {
    let settings = json!({"settings": {"notifications": {"off": ["limits.near"]}}});
    world.patch(world.org(""), settings).await.expect(200);
    let body = json!({"metric": "renders", "quantity": 10, "notify_at": [50]});
    let limit = world.put(world.org("/limits"), body).await.expect(201);
    let id = limit["id"].as_str().unwrap().to_owned();
    record(&world, 6).await;
    look(&world, 5).await;
    record(&world, 6).await;
    look(&world, 5).await;
    assert_eq!(percents(&world, &id).await, of("limits.reach", &[100]));
}
