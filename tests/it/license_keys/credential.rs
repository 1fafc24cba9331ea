//! `Authorization: License <key>`: what a key may do, and what is hidden from it.

use axum::http::Method;
use cp_server::kernel::access::caller::Permission;
use cp_server::kernel::access::place::Exposure;
use serde_json::{Value, json};

use super::{by, new_key, text};
use crate::world::{World, on_both, operations};

#[on_both]
async fn key_holds_two_permissions_on_its_license(world: World) {
    let me = by(&world, &world.acme.license_key).get("/me").await.expect(200);
    let hint = &world.acme.license_key[..5];
    assert_eq!((&me["kind"], &me["name"]), (&json!("license_key"), &json!(hint)));
    assert_eq!(me["permissions"], json!(["leases:write", "licenses:fetch"]));
    assert_eq!(me["vouched_by"], Value::Null);
    let grant = &me["grants"][0];
    assert_eq!((&grant["on"], &grant["id"]), (&json!("license"), &json!(world.acme.license)));
    assert_eq!(me["grants"].as_array().unwrap().len(), 1);
}

#[on_both]
async fn key_claims_keeps_and_releases_a_seat_of_the_named_holder(world: World) {
    let key = by(&world, &world.acme.license_key);
    let leases = format!("/licenses/{}/leases", world.acme.license);
    let claim = |id: &str| json!({"holder": {"id": id}});
    let lease = key.post(&leases, claim("a")).await.expect(201);
    let path = format!("/leases/{}", text(&lease, "id"));
    key.put(&path, claim("a")).await.expect(200);
    // Other holders' leases, and one that the request does not name, are not found.
    let other = world.post(&leases, claim("b")).await.expect(201);
    let other = format!("/leases/{}", text(&other, "id"));
    for (path, body) in [(&path, json!({})), (&path, claim("b")), (&other, claim("a"))] {
        key.put(path, body).await.refused(404, "not_found");
    }
    for query in ["", "?holder=x"] {
        key.delete(format!("{other}{query}")).await.refused(404, "not_found");
    }
    key.delete(&path).await.refused(404, "not_found");
    let hash = text(&lease["holder"], "hash");
    key.delete(format!("{path}?holder={hash}")).await.expect(204);
    key.get(&path).await.refused(403, "forbidden");
    key.post(format!("{leases}/reset"), json!({"reason": "x"})).await.refused(403, "forbidden");
    let events = world.get("/audit?action=leases.claim").await.expect(200);
    let events = events["items"].as_array().unwrap();
    let event = events.iter().find(|event| event["target_id"] == lease["id"]).unwrap();
    assert_eq!(event["actor_kind"], "license_key");
    assert_eq!(event["actor_name"], world.acme.license_key[..5]);
}

#[on_both]
async fn key_opens_its_pools_only(world: World) {
    let pools = json!({"leasing": {"render": {"kind": "floating", "cap": 1}}});
    let license = format!("/licenses/{}", world.acme.license);
    world.patch(&license, pools).await.expect(200);
    let made = new_key(&world, json!({"pools": ["render"]})).await;
    let key = by(&world, &text(&made, "key"));
    let claim = |pool: &str| json!({"pool": pool, "holder": {"id": "a"}});
    let leases = format!("{license}/leases");
    key.post(&leases, claim("render")).await.expect(201);
    let closed = key.post(&leases, claim("seats")).await.refused(404, "not_found");
    let missing = key.post(&leases, claim("nope")).await.refused(404, "not_found");
    let blank = |problem: &Value, pool: &str| problem.to_string().replace(pool, "POOL");
    let without_id = |mut problem: Value| {
        problem.as_object_mut().unwrap().remove("request_id");
        problem
    };
    assert_eq!(blank(&without_id(closed), "seats"), blank(&without_id(missing), "nope"));
}

/// Every line, as a key of another organization's license, and as one of another license of the same
/// organization: a thing that it cannot see is a missing one.
#[on_both]
async fn other_objects_are_hidden_from_a_key(world: World) {
    let license = json!({"subscription_id": world.acme.subscription});
    let path = format!("/deployments/{}/licenses", world.acme.spare_deployment);
    let other = world.post(path, license).await.expect(201);
    let path = format!("/licenses/{}/keys", text(&other, "id"));
    let sibling = text(&world.post(path, json!({})).await.expect(201), "key");
    let mut seen = 0;
    for (who, key) in [("globex", &world.globex.license_key), ("a sibling", &sibling)] {
        let caller = by(&world, key).with("x-request-id", "same");
        for line in operations().table {
            if line.permission == Permission::PUBLIC
                || line.exposure != Exposure::Organization
                || line.path.starts_with("/organizations/{org}") && who == "a sibling"
            {
                continue;
            }
            let body = || (line.method != Method::GET).then(|| json!({}));
            let there = caller.call(line.method.clone(), &world.path_of(&line), body()).await;
            let unknown = world.path_to_unknown(&line);
            let missing = caller.call(line.method.clone(), &unknown, body()).await;
            assert_eq!(there.status, 404, "{who}: {}: {}", line.name, there.text());
            assert_eq!(there.body, missing.body, "{who}: {}", line.name);
            assert_eq!(there.headers, missing.headers, "{who}: {}", line.name);
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

#[on_both]
async fn key_is_no_bearer_token_and_a_token_is_no_key(world: World) {
    world.by(&world.acme.license_key).get("/me").await.refused(401, "unauthenticated");
    by(&world, &world.acme.token).get("/me").await.refused(401, "unauthenticated");
    for wrong in [super::UNKNOWN, "junk", "x y z", ""] {
        by(&world, wrong).get("/me").await.refused(401, "unauthenticated");
    }
    let lower = world.acme.license_key.to_lowercase();
    world.anyone().with("authorization", format!("license {lower}")).get("/me").await.expect(200);
}

#[on_both]
async fn suspended_organization_stops_its_keys(world: World) {
    world.patch(world.org(""), json!({"status": "suspended"})).await.expect(200);
    let key = by(&world, &world.acme.license_key);
    let leases = format!("/licenses/{}/leases", world.acme.license);
    let claim = json!({"holder": {"id": "a"}});
    key.post(leases, claim).await.refused(409, "organization_suspended");
}
