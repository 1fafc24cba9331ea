//! What a refusal of a full pool says.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{claim, leases, with_pools};
use crate::world::{World, on_both};

/// The labels of the holders that the refusal names.
fn holders(problem: &Value) -> Vec<&str> {
    let holders = problem["holders"].as_array().unwrap().iter();
    holders.map(|holder| holder["label"].as_str().unwrap()).collect()
}

async fn labelled(world: &World, pool: &str, label: &str, more: Value) -> Value {
    let mut body = json!({"pool": pool, "holder": {"id": label}, "label": label});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.post(leases(world), body).await.expect(201)
}

#[on_both]
async fn refusal_names_the_ten_holders_that_are_idle_for_the_longest_time(world: World) {
    for (pool, ttl) in [("ending", json!(3600)), ("endless", json!(null))] {
        let own = json!({"kind": "floating", "cap": 12, "ttl_seconds": ttl});
        with_pools(&world, json!({pool: own})).await;
        let mut first = Value::Null;
        for n in 0..12 {
            let lease = labelled(&world, pool, &format!("holder-{n:02}"), json!({})).await;
            if n == 0 {
                first = lease;
            }
            world.pass(TimeDelta::seconds(1));
        }
        // The first holder is active again.
        world.pass(TimeDelta::seconds(1700));
        if ttl.is_null() {
            world.pass(TimeDelta::hours(12));
        }
        let path = format!("/leases/{}", first["id"].as_str().unwrap());
        world.put(path, json!({})).await.expect(200);
        let problem = claim(&world, &world.root(), pool, "z").await.refused(409, "seats_exhausted");
        let expected: Vec<_> = (1..11).map(|n| format!("holder-{n:02}")).collect();
        assert_eq!(holders(&problem), expected, "{pool}");
        assert_eq!((&problem["used"], &problem["hard_cap"]), (&json!(12), &json!(12)));
        let names = ["heartbeat_at", "label", "lease_id", "seat", "user_id"];
        let mut shown: Vec<_> = problem["holders"][0].as_object().unwrap().keys().collect();
        shown.sort();
        assert_eq!(shown, names);
        // A deployment's token sees no other holders.
        let own = world.by(&world.acme.deployment_token);
        let problem = claim(&world, &own, pool, "z").await.refused(409, "seats_exhausted");
        assert_eq!(problem.get("holders"), None);
    }
}

#[on_both]
async fn refusal_counts_the_leases_that_a_lowered_cap_left(world: World) {
    let cap = |cap: i64| json!({"render": {"kind": "floating", "cap": cap, "ttl_seconds": 600}});
    with_pools(&world, cap(4)).await;
    let mut made = Vec::new();
    for id in ["a", "b", "c", "d"] {
        made.push(labelled(&world, "render", id, json!({})).await);
    }
    with_pools(&world, cap(2)).await;
    let used = async || {
        let problem =
            claim(&world, &world.root(), "render", "z").await.refused(409, "seats_exhausted");
        (problem["used"].clone(), problem["cap"].clone())
    };
    assert_eq!(used().await, (json!(4), json!(2)));
    world.delete(format!("/leases/{}", made[3]["id"].as_str().unwrap())).await.expect(204);
    assert_eq!(used().await, (json!(3), json!(2)));
}

#[on_both]
async fn pools_show_the_use_that_a_data_plane_without_a_network_reported(world: World) {
    let pools = async || {
        let pools = world.get(format!("/licenses/{}/pools", world.acme.license)).await.expect(200);
        pools["items"][0].clone()
    };
    assert_eq!(
        (&pools().await["name"], &pools().await["reported"]),
        (&json!("seats"), &Value::Null)
    );
    let report = json!({
        "kind": "usage_report", "deployment_id": world.acme.deployment,
        "license_id": world.acme.license, "sequence": 2, "since": "2026-01-01T00:00:00Z",
        "until": "2026-01-01T12:00:00Z", "counters": {}, "contract": "2.10.0",
        "leases": {"seats": {"peak": 3, "refused": 1}},
    });
    let path = format!("/deployments/{}/usage-reports", world.acme.deployment);
    world.post(path, json!({"file": report.to_string()})).await.expect(201);
    let reported = json!({
        "peak": 3, "refused": 1, "since": "2026-01-01T00:00:00Z", "until": "2026-01-01T12:00:00Z",
    });
    assert_eq!(pools().await["reported"], reported);
}
