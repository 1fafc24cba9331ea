//! Persons who leave, and persons who are erased: their seats are free for others.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{claim, leases, with_pools};
use crate::world::{World, on_both};

fn path(lease: &Value) -> String {
    format!("/leases/{}", lease["id"].as_str().unwrap())
}

/// Claims a seat of the pool for acme's user.
async fn claim_for_user(world: &World, pool: &str, more: Value) -> Value {
    let mut body = json!({"pool": pool, "holder": {"user_id": world.acme.user}, "label": "Mats"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.post(leases(world), body).await.expect(201)
}

async fn used(world: &World, pool: &str) -> Value {
    let pools = world.get(format!("/licenses/{}/pools", world.acme.license)).await.expect(200);
    let pools = pools["items"].as_array().unwrap();
    pools.iter().find(|one| one["name"] == pool).unwrap()["used"].clone()
}

#[on_both]
async fn erased_person_leaves_the_seat_and_a_borrowed_one_runs_out(world: World) {
    let endless = json!({"kind": "seat", "cap": 1, "borrow_seconds": 86400});
    let ending = json!({"kind": "floating", "cap": 1});
    with_pools(&world, json!({"desk": endless, "field": endless, "render": ending})).await;
    let desk = claim_for_user(&world, "desk", json!({})).await;
    let render = claim_for_user(&world, "render", json!({})).await;
    let field = claim_for_user(&world, "field", json!({"borrow_seconds": 3600})).await;
    world.pass(TimeDelta::seconds(10));
    world.post("/audit/erasures", json!({"user": world.acme.user})).await.expect(201);

    for lease in [&desk, &render] {
        let over = world.get(path(lease)).await.expect(200);
        let shown = ["state", "end", "ended_at", "label"].map(|name| over[name].clone());
        let ended_at = json!("2026-01-02T00:00:10Z");
        assert_eq!(shown, [json!("over"), json!("license_over"), ended_at, Value::Null]);
        world.put(path(lease), json!({})).await.refused(409, "lease_over");
    }
    let root = world.root();
    for pool in ["desk", "render"] {
        assert_eq!(used(&world, pool).await, json!(0));
        assert_eq!(claim(&world, &root, pool, "ben").await.expect(201)["seat"], 1, "{pool}");
    }
    assert_eq!(world.get(path(&field)).await.expect(200)["state"], "live");
    claim(&world, &root, "field", "ben").await.refused(409, "seats_exhausted");
    world.pass(TimeDelta::seconds(3600));
    let over = world.get(path(&field)).await.expect(200);
    assert_eq!((&over["state"], &over["end"]), (&json!("over"), &json!("expired")));
    assert_eq!(claim(&world, &root, "field", "ben").await.expect(201)["seat"], 1);
}

#[on_both]
async fn full_pool_gives_the_seat_of_a_person_who_has_left(world: World) {
    let floating = json!({"kind": "floating", "cap": 2, "ttl_seconds": null});
    let seat = json!({"kind": "seat", "cap": 2});
    with_pools(&world, json!({"render": floating, "desk": seat})).await;
    let root = world.root();
    for pool in ["render", "desk"] {
        let lease = claim_for_user(&world, pool, json!({})).await;
        claim(&world, &root, pool, "a").await.expect(201);
        claim(&world, &root, pool, "b").await.refused(409, "seats_exhausted");
        let membership = format!("/memberships/{}", world.acme.membership);
        world.patch(&membership, json!({"status": "suspended"})).await.expect(200);
        assert_eq!(claim(&world, &root, pool, "b").await.expect(201)["seat"], lease["seat"]);
        claim(&world, &root, pool, "c").await.refused(409, "seats_exhausted");
        let over = world.get(path(&lease)).await.expect(200);
        assert_eq!((&over["state"], &over["end"]), (&json!("over"), &json!("license_over")));
        world.patch(&membership, json!({"status": "active"})).await.expect(200);
    }
}
