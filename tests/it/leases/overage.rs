//! Seats beyond a cap that changes.

use chrono::TimeDelta;
use cp_server::licensing::leases::hours;
use serde_json::{Value, json};

use super::{claim, leases, with_pools};
use crate::world::{World, on_both};

async fn with_cap(world: &World, cap: i64) {
    let own = json!({
        "kind": "floating", "cap": cap, "overage": "report", "ttl_seconds": 3600,
        "borrow_seconds": 86400,
    });
    with_pools(world, json!({"render": own})).await;
}

/// The leases of the pool beyond the cap, by the pool and by the list.
async fn overage(world: &World) -> (i64, Vec<Value>) {
    let pools = world.get(format!("/licenses/{}/pools", world.acme.license)).await.expect(200);
    let pools = pools["items"].as_array().unwrap();
    let pool = pools.iter().find(|one| one["name"] == "render").unwrap();
    let list = world.get(format!("{}?pool=render", leases(world))).await.expect(200);
    let list = list["items"].as_array().unwrap().iter();
    let mut beyond: Vec<_> =
        list.filter(|lease| lease["overage"] == true).map(|lease| lease["seat"].clone()).collect();
    beyond.sort_by_key(Value::to_string);
    (pool["overage"].as_i64().unwrap(), beyond)
}

/// The claims of a lease token.
fn claims(token: &Value) -> Value {
    super::borrowing::claims(token)
}

#[on_both]
async fn changed_cap_decides_at_once_which_leases_are_overage(world: World) {
    with_cap(&world, 1).await;
    let root = world.root();
    let mut made = Vec::new();
    for id in ["a", "b", "c"] {
        made.push(claim(&world, &root, "render", id).await.expect(201));
    }
    assert_eq!(overage(&world).await, (2, vec![json!(2), json!(3)]));
    with_cap(&world, 2).await;
    assert_eq!(overage(&world).await, (1, vec![json!(3)]));
    let path = |n: usize| format!("/leases/{}", made[n]["id"].as_str().unwrap());
    let beat = async |n: usize| {
        let kept = world.put(path(n), json!({"token": true})).await.expect(200);
        (kept["overage"].clone(), claims(&kept["token"])["lease"]["overage"].clone())
    };
    // Before the time of a heartbeat, and at it.
    assert_eq!(beat(1).await, (json!(false), json!(false)));
    world.pass(TimeDelta::seconds(1000));
    assert_eq!(beat(1).await, (json!(false), json!(false)));
    assert_eq!(beat(2).await, (json!(true), json!(true)));
    with_cap(&world, 0).await;
    assert_eq!(overage(&world).await, (3, vec![json!(1), json!(2), json!(3)]));
    assert_eq!(beat(2).await, (json!(true), json!(true)));
    let borrow = world.post(path(0) + "/borrow", json!({"seconds": 7200})).await.expect(200);
    assert_eq!(borrow["overage"], true);
    assert_eq!(claims(&borrow["token"])["lease"]["overage"], true);
    // An ended lease stays what it was when its seat was taken.
    world.delete(path(2)).await.expect(204);
    with_cap(&world, 5).await;
    assert_eq!(world.get(path(2)).await.expect(200)["overage"], true);
    assert_eq!(overage(&world).await, (0, vec![]));
    let again = claim(&world, &root, "render", "b").await.expect(200);
    assert_eq!(again["overage"], false);
}

#[on_both]
async fn lowered_cap_counts_in_the_hours_and_announces_no_seat_that_was_within_it(world: World) {
    let pool = |cap: i64| {
        let own = json!({"kind": "floating", "cap": cap, "overage": "report", "ttl_seconds": null});
        json!({"render": own})
    };
    with_pools(&world, pool(5)).await;
    for id in ["a", "b", "c", "d"] {
        claim(&world, &world.root(), "render", id).await.expect(201);
    }
    with_pools(&world, pool(3)).await;
    world.pass(TimeDelta::minutes(1));
    let peak = async || {
        let rows = world.get(format!("{}/usage?pool=render", leases(&world))).await.expect(200);
        let rows = rows["items"].as_array().unwrap().iter();
        rows.map(|row| row["overage_peak"].as_i64().unwrap()).max()
    };
    assert_eq!(peak().await, Some(1));
    world.pass(TimeDelta::hours(2));
    hours::compute(&world.app).await.unwrap();
    assert_eq!(peak().await, Some(1));
    // A heartbeat is no claim.
    let lease = claim(&world, &world.root(), "render", "d").await.expect(200);
    world.put(format!("/leases/{}", lease["id"].as_str().unwrap()), json!({})).await.expect(200);
    let stored = "SELECT COUNT(*) FROM lease_seats WHERE overage";
    assert_eq!(world.value::<i64>(stored).await, 0);
}
