//! The life of a lease.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{claim, leases, with_pools};
use crate::world::{World, on_both};

#[on_both]
async fn the_seats_of_a_license_are_its_seat_cap(world: World) {
    let path = format!("/licenses/{}", world.acme.license);
    world.patch(&path, json!({"seat_cap": 2})).await.expect(200);
    let reason = json!({"reason": "The customer starts over."});
    world.post(format!("{path}/leases/reset"), reason).await.expect(200);
    let root = world.root();
    let first = claim(&world, &root, "seats", "anna").await.expect(201);
    assert_eq!(first["seat"], 1);
    assert_eq!(claim(&world, &root, "seats", "ben").await.expect(201)["seat"], 2);
    let problem = claim(&world, &root, "seats", "carl").await.refused(409, "seats_exhausted");
    let shown = ["pool", "cap", "hard_cap", "used", "take_over"].map(|name| problem[name].clone());
    assert_eq!(shown, [json!("seats"), json!(2), json!(2), json!(2), json!("refuse")]);
    assert_eq!(problem["holders"].as_array().unwrap().len(), 2);
    let again = claim(&world, &root, "seats", "anna").await.expect(200);
    assert_eq!((&again["id"], &again["acquired_at"]), (&first["id"], &first["acquired_at"]));
    let pools = world.get(format!("{path}/pools")).await.expect(200);
    let seats = &pools["items"][0];
    assert_eq!(
        (&seats["name"], &seats["used"], &seats["cap"]),
        (&json!("seats"), &json!(2), &json!(2))
    );
    assert_eq!(seats["settings"]["cap"], json!({"value": 2, "from": "license"}));
    assert_eq!(seats["settings"]["ttl_seconds"], json!({"value": null, "from": "default"}));

    world.delete(format!("/leases/{}", first["id"].as_str().unwrap())).await.expect(204);
    let carl = claim(&world, &root, "seats", "carl").await.expect(201);
    assert_eq!(carl["seat"], 1, "the seat of the one who left");
    let ended = world.get(format!("/leases/{}", first["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&ended["state"], &ended["end"]), (&json!("over"), &json!("released")));
}

#[on_both]
async fn a_floating_lease_ends_by_itself_and_a_heartbeat_keeps_it(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 1}})).await;
    let root = world.root();
    let lease = claim(&world, &root, "render", "a").await.expect(201);
    let path = format!("/leases/{}", lease["id"].as_str().unwrap());
    assert_eq!(lease["kind"], "floating");
    let end = |lease: &Value| lease["expires_at"].as_str().unwrap().to_owned();
    // A heartbeat that comes too early changes nothing.
    world.pass(TimeDelta::seconds(10));
    assert_eq!(world.put(&path, json!({})).await.expect(200), lease);
    world.pass(TimeDelta::seconds(100));
    let kept = world.put(&path, json!({"holder": {"id": "a"}})).await.expect(200);
    assert!(end(&kept) > end(&lease), "{kept}");
    world.put(&path, json!({"holder": {"id": "b"}})).await.refused(404, "not_found");
    let problem = claim(&world, &root, "render", "b").await.refused(409, "seats_exhausted");
    assert_eq!(problem["next_free_at"].as_str().is_some(), true, "{problem}");
    world.pass(TimeDelta::seconds(306));
    let problem = world.put(&path, json!({})).await.refused(409, "lease_over");
    assert_eq!((&problem["end"], &problem["ended_at"]), (&json!("expired"), &kept["expires_at"]));
    let next = claim(&world, &root, "render", "b").await.expect(201);
    assert_eq!(next["seat"], 1);
    assert_ne!(next["id"], lease["id"]);
    world.put(&path, json!({})).await.refused(409, "lease_over");
    let over = world.get(format!("{}?state=over", leases(&world))).await.expect(200);
    assert_eq!(over["items"][0]["id"], lease["id"]);
    assert_eq!(over["items"].as_array().unwrap().len(), 1);
}

#[on_both]
async fn a_holder_gets_the_own_seat_again(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 3}})).await;
    let root = world.root();
    for id in ["a", "b", "c"] {
        claim(&world, &root, "render", id).await.expect(201);
    }
    world.pass(TimeDelta::seconds(400));
    assert_eq!(claim(&world, &root, "render", "b").await.expect(201)["seat"], 2);
    assert_eq!(claim(&world, &root, "render", "d").await.expect(201)["seat"], 1);
    // The own old seat is gone.
    assert_eq!(claim(&world, &root, "render", "a").await.expect(201)["seat"], 3);
}

#[on_both]
async fn a_suspended_license_voids_its_leases_until_it_is_reinstated(world: World) {
    let root = world.root();
    let lease = claim(&world, &root, "seats", "anna").await.expect(201);
    let (license, path) = (
        format!("/licenses/{}", world.acme.license),
        format!("/leases/{}", lease["id"].as_str().unwrap()),
    );
    world.post(format!("{license}/suspend"), json!({})).await.expect(200);
    claim(&world, &root, "seats", "ben").await.refused(409, "license_suspended");
    world.put(&path, json!({})).await.refused(409, "license_suspended");
    let void = world.get(&path).await.expect(200);
    assert_eq!((&void["state"], &void["end"]), (&json!("over"), &json!("license_over")));
    world.post(format!("{license}/reinstate"), json!({})).await.expect(200);
    assert_eq!(world.get(&path).await.expect(200)["state"], "live");
}

#[on_both]
async fn a_deployments_token_holds_leases_of_its_own_license_only(world: World) {
    let own = world.by(&world.acme.deployment_token);
    let lease = claim(&world, &own, "seats", "anna").await.expect(201);
    let path = format!("/leases/{}", lease["id"].as_str().unwrap());
    own.get(&path).await.expect(200);
    own.get(format!("/deployments/{}/leases", world.acme.deployment)).await.expect(200);
    // Neither another deployment of the organization nor another organization is visible.
    let spare = json!({"deployment_id": world.acme.spare_deployment});
    world.post(format!("/licenses/{}/transfer", world.acme.license), spare).await.expect(200);
    claim(&world, &own, "seats", "ben").await.refused(404, "not_found");
    own.get(&path).await.refused(404, "not_found");
    own.put(&path, json!({})).await.refused(404, "not_found");
    own.delete(&path).await.refused(404, "not_found");
    own.get(format!("/deployments/{}/leases", world.acme.spare_deployment))
        .await
        .refused(404, "not_found");
    let foreign = world.by(&world.globex.deployment_token);
    foreign.get(&path).await.refused(404, "not_found");
    let over = world.get(&path).await.expect(200);
    assert_eq!((&over["state"], &over["end"]), (&json!("over"), &json!("reset")));
}
