//! Seats that a lease left for another one: they have no lease, and no answer shows one.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{claim, leases, with_pools};
use crate::world::{World, on_both};

/// The IDs of the leases that the list returns.
async fn listed(world: &World, query: &str) -> Vec<Value> {
    let list = world.get(format!("{}?{query}", leases(world))).await.expect(200);
    let mut ids: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|lease| lease["id"].clone()).collect();
    ids.sort_by_key(Value::to_string);
    ids
}

/// The IDs of the exported leases of the pool, with those that have left their seat.
async fn exported(world: &World, lease: &Value) -> Vec<Value> {
    let export = world.get(world.org("/export")).await.expect(200);
    let rows = |name: &str| export[name].as_array().unwrap().clone();
    let seats = rows("leases");
    let of = |row: &&Value| row["lease_id"] == lease["id"];
    let pool = seats.iter().find(of).unwrap()["pool_id"].clone();
    let seats = seats.iter().filter(|row| row["pool_id"] == pool).map(|row| &row["lease_id"]);
    let tenures = rows("lease_tenures");
    let tenures = tenures.iter().filter(|row| row["pool_id"] == pool).map(|row| &row["id"]);
    let mut ids: Vec<_> = seats.chain(tenures).cloned().collect();
    ids.sort_by_key(Value::to_string);
    ids
}

async fn tenures(world: &World, pool: &str) -> i64 {
    let usage = format!("{}/usage?pool={pool}&since=2026-01-02T00:00:00Z", leases(world));
    world.pass(TimeDelta::seconds(1));
    let usage = world.get(usage).await.expect(200);
    usage["items"].as_array().unwrap().iter().map(|row| row["tenures"].as_i64().unwrap()).sum()
}

fn ids<const N: usize>(leases: [&Value; N]) -> Vec<Value> {
    let mut ids: Vec<_> = leases.iter().map(|lease| lease["id"].clone()).collect();
    ids.sort_by_key(Value::to_string);
    ids
}

#[on_both]
async fn seat_that_a_lease_moved_from_is_no_ended_lease(world: World) {
    let cap = |cap: i64| json!({"render": {"kind": "floating", "cap": cap, "ttl_seconds": 600}});
    with_pools(&world, cap(2)).await;
    let first = claim(&world, &world.root(), "render", "a").await.expect(201);
    let second = claim(&world, &world.root(), "render", "b").await.expect(201);
    with_pools(&world, cap(1)).await;
    world.pass(TimeDelta::seconds(1));
    let path = |lease: &Value| format!("/leases/{}", lease["id"].as_str().unwrap());
    world.delete(path(&first)).await.expect(204);
    world.pass(TimeDelta::seconds(200));
    let moved = world.put(path(&second), json!({})).await.expect(200);
    assert_eq!((&moved["id"], &moved["seat"]), (&second["id"], &json!(1)));

    assert_eq!(listed(&world, "pool=render&state=over").await, ids([&first]));
    assert_eq!(listed(&world, "pool=render").await, ids([&second]));
    assert_eq!(exported(&world, &second).await, ids([&first, &second]));
    assert_eq!(tenures(&world, "render").await, 2);
}

#[on_both]
async fn seat_of_a_machine_that_has_another_one_is_no_ended_lease(world: World) {
    let own = json!({"kind": "node", "cap": 2, "match": "any", "ttl_seconds": 600});
    with_pools(&world, json!({"machines": own})).await;
    let machine = async |print: &str, disk: &str| {
        let holder = json!({
            "fingerprint": format!("fingerprint-of-{print}-01"),
            "components": {"disk": format!("component-{disk}-00000")},
        });
        world.post(leases(&world), json!({"pool": "machines", "holder": holder})).await
    };
    let ended = machine("a", "1").await.expect(201);
    let other = machine("b", "2").await.expect(201);
    world.pass(TimeDelta::seconds(1));
    world.delete(format!("/leases/{}", ended["id"].as_str().unwrap())).await.expect(204);
    // The fingerprint of the ended lease, with a component of the other one: it is that machine.
    world.pass(TimeDelta::seconds(1));
    let same = machine("a", "2").await.expect(200);
    assert_eq!(same["id"], other["id"]);

    assert_eq!(listed(&world, "pool=machines&state=over").await, ids([&ended]));
    assert_eq!(listed(&world, "pool=machines").await, ids([&other]));
    assert_eq!(exported(&world, &other).await, ids([&ended, &other]));
    assert_eq!(tenures(&world, "machines").await, 2);
}
