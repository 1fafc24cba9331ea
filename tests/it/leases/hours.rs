//! The hours of a pool, when the clock or the database fails.

use chrono::TimeDelta;
use cp_server::licensing::leases::hours;
use serde_json::{Value, json};

use super::{claim, leases, with_pools};
use crate::world::{World, on_both};

/// The number of the pool's hours that the job has computed.
const COMPUTED: &str = "SELECT COUNT(*) FROM lease_hours
    WHERE peak IS NOT NULL AND pool_id IN (SELECT id FROM lease_pools WHERE name = 'render')";

/// The use of the pool from the beginning of the test on, by hours that have some.
async fn usage(world: &World, names: [&str; 2]) -> Vec<[Value; 2]> {
    let path = format!("{}/usage?pool=render&since=2026-01-02T00:00:00Z", leases(world));
    let rows = world.get(path).await.expect(200);
    let rows = rows["items"].as_array().unwrap().iter();
    rows.map(|row| names.map(|name| row[name].clone())).collect()
}

#[on_both]
async fn clock_that_jumped_ahead_falsifies_no_hour(world: World) {
    let endless = json!({"kind": "floating", "cap": 3, "ttl_seconds": null});
    with_pools(&world, json!({"render": endless})).await;
    let root = world.root();
    claim(&world, &root, "render", "a").await.expect(201);
    world.pass(TimeDelta::hours(5) + TimeDelta::minutes(2));
    hours::compute(&world.app).await.unwrap();
    world.pass(-TimeDelta::hours(5));
    hours::compute(&world.app).await.unwrap();
    claim(&world, &root, "render", "b").await.expect(201);
    world.pass(TimeDelta::hours(2));
    claim(&world, &root, "render", "c").await.expect(201);
    world.pass(TimeDelta::hours(3));
    hours::compute(&world.app).await.unwrap();
    let peaks: Vec<Value> =
        usage(&world, ["starts_at", "peak"]).await.into_iter().map(|[_, peak]| peak).collect();
    assert_eq!(peaks, [2, 2, 3, 3, 3, 3].map(|peak| json!(peak)));
    assert_eq!(world.value::<i64>(COMPUTED).await, 5);
}

#[on_both]
async fn pool_of_a_future_that_did_not_come_is_forgotten(world: World) {
    world.pass(TimeDelta::hours(2) + TimeDelta::minutes(10));
    let endless = json!({"kind": "floating", "cap": 3, "ttl_seconds": null});
    with_pools(&world, json!({"render": endless})).await;
    claim(&world, &world.root(), "render", "a").await.expect(201);
    world.pass(TimeDelta::hours(4));
    hours::compute(&world.app).await.unwrap();
    world.pass(-TimeDelta::hours(6));
    hours::compute(&world.app).await.unwrap();
    assert_eq!(world.value::<i64>(COMPUTED).await, 0);
}

#[on_both]
async fn refusals_stay_counted_while_the_database_fails(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 1}})).await;
    let root = world.root();
    claim(&world, &root, "render", "a").await.expect(201);
    claim(&world, &root, "render", "b").await.refused(409, "seats_exhausted");
    world.exec("ALTER TABLE lease_hours RENAME TO lease_hours_gone").await;
    assert!(hours::flush(&world.app).await.is_err());
    world.exec("ALTER TABLE lease_hours_gone RENAME TO lease_hours").await;
    claim(&world, &root, "render", "b").await.refused(409, "seats_exhausted");
    hours::flush(&world.app).await.unwrap();
    hours::flush(&world.app).await.unwrap();
    world.pass(TimeDelta::seconds(1));
    let refused = usage(&world, ["starts_at", "refused"]).await;
    assert_eq!(refused, [[json!("2026-01-02T00:00:00Z"), json!(2)]]);
}
