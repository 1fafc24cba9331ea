//! Lease tokens, and leases without heartbeats.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use cp_contracts::{LICENSE_LIST_BITS, StatusList, TokenStatus};
use dp_verifier::{Holder, Verifier};
use serde_json::{Value, json};

use super::{leases, with_pools};
use crate::world::{AUDIENCE, ISSUER, World, now, on_both};

/// The claims of a token.
pub fn claims(token: &Value) -> Value {
    let payload = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// The status of a lease token in its list.
pub async fn status(world: &World, token: &Value) -> TokenStatus {
    let entry = &token["status"]["status_list"];
    let uri = entry["uri"].as_str().unwrap();
    let list = world.anyone().get(&uri[uri.find("/status-lists").unwrap()..]).await.text();
    let list = claims(&json!(list));
    let lst = list["status_list"]["lst"].as_str().unwrap();
    let list = StatusList::decode(LICENSE_LIST_BITS, lst, 1 << 20).unwrap();
    list.status(entry["idx"].as_u64().unwrap()).unwrap()
}

#[on_both]
async fn a_claim_with_a_token_proves_the_lease(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 1}})).await;
    let body = json!({"pool": "render", "holder": {"id": "a"}, "token": true});
    let lease = world.post(leases(&world), body.clone()).await.expect(201);
    let token = claims(&lease["token"]);
    assert_eq!((&token["jti"], &token["sub"]), (&lease["id"], &json!(world.acme.deployment)));
    let expected = json!({
        "license_id": world.acme.license, "pool": "render", "kind": "floating",
        "holder": lease["holder"]["hash"], "borrowed": false, "overage": false,
    });
    assert_eq!(token["lease"], expected);
    assert_eq!(token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap(), 300);
    // A repeated request has a token, too: with its key, and without.
    let keyed = world.root().with("idempotency-key", "lease");
    let first = keyed.post(leases(&world), body.clone()).await.expect(200);
    let again = keyed.post(leases(&world), body).await.expect(200);
    assert_eq!(first, again);
    assert!(again["token"].is_string());
    let path = format!("/leases/{}", lease["id"].as_str().unwrap());
    assert!(world.put(&path, json!({"token": true})).await.expect(200)["token"].is_string());
    assert_eq!(world.get(&path).await.expect(200).get("token"), None);
}

#[on_both]
async fn a_borrowed_seat_is_kept_until_its_end(world: World) {
    let own = json!({
        "kind": "node", "cap": 1, "ttl_seconds": 600, "borrow_seconds": 86400, "take_over": "oldest",
    });
    with_pools(&world, json!({"machines": own})).await;
    let print = |print: &str| json!({"fingerprint": format!("fingerprint-of-{print}-01")});
    let claim = async |body: Value| world.post(leases(&world), body).await;
    let lease = claim(json!({"pool": "machines", "holder": print("a")})).await.expect(201);
    let path = format!("/leases/{}", lease["id"].as_str().unwrap());
    let long = json!({"seconds": 86401});
    world.post(format!("{path}/borrow"), long).await.invalid("seconds");
    let borrow = json!({"seconds": 7200});
    let borrowed = world.post(format!("{path}/borrow"), borrow).await.expect(200);
    let token = claims(&borrowed["token"]);
    assert_eq!((&token["lease"]["borrowed"], &borrowed["id"]), (&json!(true), &lease["id"]));
    assert!(token["status"]["status_list"]["uri"].is_string());
    assert_eq!(borrowed["borrowed_until"], borrowed["expires_at"]);
    world.pass(TimeDelta::seconds(3600));
    let other = json!({"pool": "machines", "holder": print("b"), "take_over": true});
    claim(other.clone()).await.refused(409, "seats_exhausted");
    world.put(&path, json!({})).await.refused(409, "lease_borrowed");
    world.delete(&path).await.refused(409, "lease_borrowed");
    world.post(format!("{path}/return"), json!({})).await.refused(409, "lease_borrowed");
    world.pass(TimeDelta::seconds(3606));
    claim(other).await.expect(201);
}

#[on_both]
async fn an_early_return_frees_the_seat_and_revokes_its_token(world: World) {
    let own = json!({"kind": "floating", "cap": 1, "borrow_seconds": 86400, "early_return": true});
    with_pools(&world, json!({"render": own})).await;
    let body = json!({"pool": "render", "holder": {"id": "a"}, "borrow_seconds": 7200});
    let lease = world.post(leases(&world), body).await.expect(201);
    let token = claims(&lease["token"]);
    assert_eq!(status(&world, &token).await, TokenStatus::Valid);
    let path = format!("/leases/{}", lease["id"].as_str().unwrap());
    let returned = world.post(format!("{path}/return"), json!({})).await.expect(200);
    assert_eq!((&returned["state"], &returned["end"]), (&json!("over"), &json!("returned")));
    assert_eq!(status(&world, &token).await, TokenStatus::Invalid);
    let body = json!({"pool": "render", "holder": {"id": "b"}});
    world.post(leases(&world), body).await.expect(201);
}

#[on_both]
async fn a_machine_with_some_new_components_is_the_same_machine(world: World) {
    let own = json!({"kind": "node", "cap": 1, "match": "two"});
    with_pools(&world, json!({"machines": own})).await;
    let machine = |print: &str, parts: [&str; 3]| {
        let part = |name: &str| format!("component-{name}-00000");
        json!({"pool": "machines", "holder": {
            "fingerprint": format!("fingerprint-of-{print}-01"),
            "components": {"disk": part(parts[0]), "mac": part(parts[1]), "cpu": part(parts[2])},
        }})
    };
    let first = world.post(leases(&world), machine("a", ["1", "2", "3"])).await.expect(201);
    let same = world.post(leases(&world), machine("b", ["1", "2", "9"])).await.expect(200);
    assert_eq!((&same["id"], &same["seat"]), (&first["id"], &first["seat"]));
    // The components were replaced: the old CPU does not count any more.
    let other = machine("c", ["1", "8", "3"]);
    world.post(leases(&world), other).await.refused(409, "seats_exhausted");
    let same = world.post(leases(&world), machine("d", ["7", "2", "9"])).await.expect(200);
    assert_eq!(same["id"], first["id"]);
}

#[on_both]
async fn a_lease_beyond_a_lowered_cap_moves_within_it_or_waits_for_its_end(world: World) {
    let cap = |cap: i64| json!({"render": {"kind": "floating", "cap": cap}});
    with_pools(&world, cap(3)).await;
    let claim = async |id: &str| {
        let body = json!({"pool": "render", "holder": {"id": id}});
        world.post(leases(&world), body).await.expect(201)
    };
    let (a, _b, c) = (claim("a").await, claim("b").await, claim("c").await);
    with_pools(&world, cap(2)).await;
    let path = |lease: &Value| format!("/leases/{}", lease["id"].as_str().unwrap());
    world.pass(TimeDelta::seconds(100));
    let problem = world.put(path(&c), json!({})).await.refused(409, "seats_exhausted");
    assert_eq!(problem["used"], 3);
    assert_eq!(world.get(path(&c)).await.expect(200)["expires_at"], c["expires_at"]);
    world.delete(path(&a)).await.expect(204);
    let moved = world.put(path(&c), json!({})).await.expect(200);
    assert_eq!((&moved["id"], &moved["seat"]), (&c["id"], &json!(1)));
    assert_eq!(world.get(path(&a)).await.expect(200)["end"], "released");
    let pools = world.get(format!("/licenses/{}/pools", world.acme.license)).await.expect(200);
    let render = pools["items"].as_array().unwrap().iter().find(|pool| pool["name"] == "render");
    assert_eq!(render.unwrap()["used"], 2);
}

#[on_both]
async fn a_data_plane_verifies_the_lease_beside_its_license(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 2}})).await;
    let bundle = format!("/licenses/{}/bundles", world.acme.license);
    let bundle = world.post(bundle, json!({})).await.expect(201);
    let body = json!({"pool": "render", "holder": {"id": "a"}, "token": true});
    let lease = world.post(leases(&world), body).await.expect(201);
    let keys = world.anyone().get("/.well-known/jwks.json").await;
    let verifier = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(keys.body.to_vec());
    let verifier = verifier.build().unwrap();
    let now = now().timestamp();
    let license = verifier.verify_at(bundle["token"].as_str().unwrap(), now).unwrap();
    let check = |holder: &str, now: i64| {
        let token = lease["token"].as_str().unwrap();
        verifier.verify_lease_at(token, &license, &Holder::id(holder), now)
    };
    let context = check("a", now).unwrap();
    assert_eq!(json!(context.claims()), claims(&lease["token"]));
    let refused = |holder: &str, now: i64| check(holder, now).unwrap_err().code().to_string();
    assert_eq!(refused("b", now), "holder_mismatch");
    assert_eq!(refused("a", now + 301), "lease_expired");
}

#[on_both]
async fn a_reset_a_transfer_and_a_purge_revoke_the_tokens_of_borrowed_leases(world: World) {
    let own = json!({"kind": "floating", "cap": 3, "borrow_seconds": 86400});
    with_pools(&world, json!({"render": own})).await;
    let borrow = async |id: &str| {
        let body = json!({"pool": "render", "holder": {"id": id}, "borrow_seconds": 7200});
        claims(&world.post(leases(&world), body).await.expect(201)["token"])
    };
    let license = format!("/licenses/{}", world.acme.license);
    let first = borrow("a").await;
    let reset = json!({"pool": "render", "reason": "a test"});
    world.post(format!("{license}/leases/reset"), reset).await.expect(200);
    assert_eq!(status(&world, &first).await, TokenStatus::Invalid);
    let second = borrow("a").await;
    let transfer = json!({"deployment_id": world.acme.spare_deployment});
    world.post(format!("{license}/transfer"), transfer).await.expect(200);
    assert_eq!(status(&world, &second).await, TokenStatus::Invalid);
    let third = borrow("b").await;
    let purge = world.org("?mode=purge&confirm=Acme&force=true");
    world.delete(purge).await.expect(204);
    assert_eq!(status(&world, &third).await, TokenStatus::Invalid);
}
