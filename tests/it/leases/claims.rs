//! The life of a lease.

use axum::http::Method;
use chrono::TimeDelta;
use cp_server::kernel::app::Part;
use cp_server::licensing::leases::skew::Skew;
use cp_server::licensing::leases::{hours, restores};
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
    assert!(problem["next_free_at"].is_string(), "{problem}");
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

#[on_both]
async fn a_person_sees_and_ends_the_own_leases_and_loses_them_with_the_membership(world: World) {
    let user = |user: &str| json!({"holder": {"user_id": user}, "label": "Mats's laptop"});
    let lease = world.post(leases(&world), user(&world.acme.user)).await.expect(201);
    assert_eq!(lease["holder"]["user_id"], json!(world.acme.user));
    // The address of a member is the member.
    let by_email = json!({"holder": {"email": "Mats@acme.example"}});
    assert_eq!(world.post(leases(&world), by_email).await.expect(200)["id"], lease["id"]);
    // A person elsewhere is not found; an unknown address holds by itself.
    world.post(leases(&world), user(&world.globex.user)).await.refused(404, "not_found");
    let elsewhere = json!({"holder": {"email": "mats@globex.example"}});
    let elsewhere = world.post(leases(&world), elsewhere).await.expect(201);
    assert_eq!(
        (&elsewhere["holder"]["kind"], &elsewhere["holder"]["user_id"]),
        (&json!("email"), &Value::Null)
    );

    let path = format!("/leases/{}", lease["id"].as_str().unwrap());
    let mats = world.person("auth0|mats-acme");
    let own = mats.get("/me/leases").await.expect(200);
    assert_eq!(own["items"].as_array().unwrap().len(), 1);
    assert_eq!(own["items"][0]["id"], lease["id"]);
    let stranger = world.person("auth0|sven-acme");
    let other = format!("/leases/{}", elsewhere["id"].as_str().unwrap());
    stranger.delete(&other).await.refused(404, "not_found");

    let membership = format!("/memberships/{}", world.acme.membership);
    world.patch(&membership, json!({"status": "suspended"})).await.expect(200);
    let over = world.get(&path).await.expect(200);
    assert_eq!((&over["state"], &over["end"]), (&json!("over"), &json!("license_over")));
    world.put(&path, json!({})).await.refused(409, "lease_over");
    world.patch(&membership, json!({"status": "active"})).await.expect(200);
    mats.delete(&path).await.expect(204);
    assert_eq!(world.get(&path).await.expect(200)["end"], "released");

    let erasure = json!({"user": world.acme.user, "reason": "A request of the person."});
    world.post("/audit/erasures", erasure).await.expect(201);
    let erased = world.get(&path).await.expect(200);
    assert_eq!(
        (&erased["holder"]["user_id"], &erased["label"], &erased["holder"]["hash"]),
        (&Value::Null, &Value::Null, &json!(""))
    );
}

#[on_both]
async fn the_use_of_a_pool_is_its_peaks_by_the_hour(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 2}})).await;
    let root = world.root();
    let first = claim(&world, &root, "render", "a").await.expect(201);
    claim(&world, &root, "render", "b").await.expect(201);
    claim(&world, &root, "render", "c").await.refused(409, "seats_exhausted");
    hours::flush(&world.app).await.unwrap();
    world.pass(TimeDelta::seconds(60));
    world.delete(format!("/leases/{}", first["id"].as_str().unwrap())).await.expect(204);
    world.pass(TimeDelta::hours(2));
    let usage = format!("{}/usage?pool=render&since=2026-01-01T00:00:00Z", leases(&world));
    let live = world.get(&usage).await.expect(200);
    let found: Vec<_> =
        live["items"].as_array().unwrap().iter().filter(|row| row["peak"] != 0).collect();
    let names = ["peak", "overage_peak", "tenures", "seat_seconds", "refused"];
    let row: Vec<_> = names.iter().map(|name| found[0][*name].as_i64().unwrap()).collect();
    assert_eq!((found.len(), row), (1, vec![2, 0, 2, 360, 1]));
    hours::compute(&world.app).await.unwrap();
    let stored = world.get(&usage).await.expect(200);
    let stored: Vec<_> =
        stored["items"].as_array().unwrap().iter().filter(|row| row["peak"] != 0).collect();
    assert_eq!(stored, found, "the job finds the same");
    let days = world.get(format!("{usage}&by=day")).await.expect(200);
    assert_eq!(days["items"][0]["peak"], 2);
}

#[on_both]
async fn after_a_restore_new_holders_wait_and_present_ones_go_on(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 2}})).await;
    let root = world.root();
    let lease = claim(&world, &root, "render", "a").await.expect(201);
    let mut tx = world.app.db.begin().await.unwrap();
    restores::continue_after_restore(&mut tx, world.app.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    let refused = claim(&world, &root, "render", "b").await;
    assert_eq!(refused.header("retry-after"), "301");
    refused.refused(503, "unavailable");
    assert_eq!(claim(&world, &root, "render", "a").await.expect(200)["id"], lease["id"]);
    world.pass(TimeDelta::seconds(300));
    claim(&world, &root, "render", "b").await.expect(201);
}

#[on_both]
async fn a_server_with_another_clock_than_the_database_claims_no_seat(world: World) {
    Skew::of(&world.app).set(TimeDelta::milliseconds(-2001));
    claim(&world, &world.root(), "seats", "a").await.refused(503, "unavailable");
    let ready = world.anyone().call(Method::GET, "/readyz", None).await;
    assert_eq!(ready.status, 503);
    Skew::of(&world.app).set(TimeDelta::milliseconds(1999));
    claim(&world, &world.root(), "seats", "a").await.expect(201);
}

#[on_both]
async fn a_kind_does_not_change_while_leases_live(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 2}})).await;
    let lease = claim(&world, &world.root(), "render", "a").await.expect(201);
    let path = format!("/licenses/{}", world.acme.license);
    let node = json!({"leasing": {"render": {"kind": "node", "cap": 2}}});
    world.patch(&path, node.clone()).await.refused(409, "in_use");
    world.delete(format!("/leases/{}", lease["id"].as_str().unwrap())).await.expect(204);
    world.patch(&path, node).await.expect(200);
    for (leasing, field) in [
        (json!({"render": {"kind": "node"}}), "leasing"),
        (json!({"render": {"cap": 1}}), "leasing"),
        (json!({"render": {"kind": "seat", "cap": 1, "match": "two"}}), "leasing"),
        (json!({"seats": {"cap": 1}}), "leasing"),
        (json!({"Render": {"kind": "seat", "cap": 1}}), "leasing"),
    ] {
        let problem = world.patch(&path, json!({"leasing": leasing})).await;
        assert_eq!(problem.status, 422, "{}", problem.text());
        assert!(problem.json()["field"].as_str().unwrap().starts_with(field), "{}", problem.text());
    }
}
