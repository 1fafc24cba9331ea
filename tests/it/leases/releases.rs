//! Releases: what they leave in the log, and whose they are.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{claim, leases, with_pools};
use crate::world::{World, on_both};

fn path(lease: &Value) -> String {
    format!("/leases/{}", lease["id"].as_str().unwrap())
}

/// The releases in the log.
async fn released(world: &World) -> Vec<Value> {
    let events = world.get("/audit?action=leases.release").await.expect(200);
    events["items"].as_array().unwrap().iter().map(|event| event["target_id"].clone()).collect()
}

#[on_both]
async fn end_of_anothers_floating_lease_leaves_an_event(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 4}})).await;
    let root = world.root();
    // The holder itself: by its hash, or as the person of the seat.
    let own = claim(&world, &root, "render", "a").await.expect(201);
    let hash = own["holder"]["hash"].as_str().unwrap();
    let deployment = world.by(&world.acme.deployment_token);
    deployment.delete(format!("{}?holder={hash}", path(&own))).await.expect(204);
    let body = json!({"pool": "render", "holder": {"user_id": world.acme.user}});
    let persons = world.post(leases(&world), body.clone()).await.expect(201);
    world.person("auth0|mats-acme").delete(path(&persons)).await.expect(204);
    assert_eq!(released(&world).await, Vec::<Value>::new());

    let others = world.post(leases(&world), body).await.expect(201);
    world.by(&world.acme.token).delete(path(&others)).await.expect(204);
    assert_eq!(released(&world).await, [others["id"].clone()]);
    // An ended lease does not end again.
    world.delete(path(&others)).await.expect(204);
    assert_eq!(released(&world).await.len(), 1);
}

#[on_both]
async fn person_ends_a_lease_again_whose_seat_has_another_holder(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 1}})).await;
    let body = json!({"pool": "render", "holder": {"user_id": world.acme.user}});
    let lease = world.post(leases(&world), body).await.expect(201);
    let mats = world.person("auth0|mats-acme");
    mats.delete(path(&lease)).await.expect(204);
    claim(&world, &world.root(), "render", "b").await.expect(201);
    mats.delete(path(&lease)).await.expect(204);
    world.person("auth0|sven-acme").delete(path(&lease)).await.refused(404, "not_found");
}

#[on_both]
async fn ended_lease_of_another_holder_is_hidden_from_a_key(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 1}})).await;
    let key = world.anyone().license_key(&world.acme.license_key);
    let lease = claim(&world, &key, "render", "a").await.expect(201);
    world.pass(TimeDelta::seconds(400));
    let other = claim(&world, &key, "render", "b").await.expect(201);
    // The lease has left its seat.
    let hash = |lease: &Value| lease["holder"]["hash"].as_str().unwrap().to_owned();
    key.delete(path(&lease)).await.refused(404, "not_found");
    let as_other = format!("{}?holder={}", path(&lease), hash(&other));
    key.delete(as_other).await.refused(404, "not_found");
    key.put(path(&lease), json!({"holder": {"id": "b"}})).await.refused(404, "not_found");
    key.delete(format!("{}?holder={}", path(&lease), hash(&lease))).await.expect(204);
    key.put(path(&lease), json!({"holder": {"id": "a"}})).await.refused(409, "lease_over");
}

#[on_both]
async fn key_keeps_and_ends_leases_of_its_pools_only(world: World) {
    let pool = json!({"kind": "floating", "cap": 1});
    with_pools(&world, json!({"render": pool, "build": pool})).await;
    let keys = format!("/licenses/{}/keys", world.acme.license);
    let made = world.post(keys, json!({"pools": ["render", "build"]})).await.expect(201);
    let key = world.anyone().license_key(made["key"].as_str().unwrap());
    let lease = claim(&world, &key, "build", "a").await.expect(201);
    let patch = format!("/license-keys/{}", made["id"].as_str().unwrap());
    world.patch(patch, json!({"pools": ["render"]})).await.expect(200);
    world.pass(TimeDelta::seconds(100));
    let hash = lease["holder"]["hash"].as_str().unwrap();
    let named = format!("{}?holder={hash}", path(&lease));
    key.put(path(&lease), json!({"holder": {"id": "a"}})).await.refused(404, "not_found");
    key.delete(&named).await.refused(404, "not_found");
    assert_eq!(world.get(path(&lease)).await.expect(200)["state"], "live");
    world.delete(&named).await.expect(204);
    key.delete(&named).await.refused(404, "not_found");
}
