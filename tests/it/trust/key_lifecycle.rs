use std::collections::BTreeSet;

use chrono::TimeDelta;
use cp_contracts::TokenStatus;
use cp_server::kernel::app::Part;
use cp_server::licensing::keys::keyring::Keyring;
use cp_server::licensing::keys::rotation;
use serde_json::{Value, json};

use super::{issue, parts, status_of};
use crate::world::{World, now, on_both};

/// The kids of the JWKS.
async fn published(world: &World) -> BTreeSet<String> {
    let jwks = world.anyone().get("/.well-known/jwks.json").await.expect(200);
    let keys = jwks["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn key(world: &World, kid: &str) -> Value {
    world.get(format!("/signing/keys/{kid}")).await.expect(200)
}

async fn state(world: &World, kid: &str) -> String {
    key(world, kid).await["state"].as_str().unwrap().to_owned()
}

async fn active(world: &World) -> String {
    let info = world.get("/signing/info").await.expect(200);
    info["active_kid"].as_str().unwrap().to_owned()
}

#[on_both]
async fn a_key_signs_only_after_every_data_plane_can_know_it(world: World) {
    let made = world.post("/signing/keys", json!({"bits": 2048})).await;
    let location = made.header("location").to_owned();
    let made = made.expect(201);
    let kid = made["kid"].as_str().unwrap();
    assert_eq!(location, format!("/api/v1/signing/keys/{kid}"));
    assert_eq!(
        made,
        json!({
            "kid": kid, "state": "published", "algorithm": "RS256", "bits": 2048,
            "service_key": null, "reason": null, "created_at": now(), "published_at": now(),
            "not_before": "2026-01-02T00:11:00Z", "activate_at": null, "activated_at": null,
            "retired_at": null,
        })
    );
    assert!(published(&world).await.contains(kid));
    let activate = format!("/signing/keys/{kid}/activate");
    world.pass(TimeDelta::seconds(659));
    let early = world.post(&activate, json!({})).await.refused(409, "key_not_yet_propagated");
    assert_eq!(early["not_before"], "2026-01-02T00:11:00Z");
    world.post(&activate, json!({"emergency": true})).await.invalid("reason");
    let before = active(&world).await;
    world.pass(TimeDelta::seconds(1));
    let done = world.post(&activate, json!({})).await.expect(200);
    assert_eq!((&done["state"], &done["not_before"]), (&json!("active"), &Value::Null));
    assert_eq!(active(&world).await, kid);
    assert_eq!(state(&world, &before).await, "retiring");
    assert_eq!(issue(&world, json!({})).await["key_id"], kid);
    // What signs already goes on signing.
    world.post(&activate, json!({})).await.expect(200);
    let back = world.post(format!("/signing/keys/{before}/activate"), json!({})).await;
    back.refused(409, "conflict");
}

#[on_both]
async fn staged_key_is_published_only_on_request(world: World) {
    let staged = world.post("/signing/keys", json!({"publish": false})).await.expect(201);
    let kid = staged["kid"].as_str().unwrap();
    assert!(!published(&world).await.contains(kid));
    let activate = format!("/signing/keys/{kid}/activate");
    world.post(&activate, json!({})).await.refused(409, "key_not_yet_propagated");
    world.post(format!("/signing/keys/{kid}/publish"), json!({})).await.expect(200);
    assert!(published(&world).await.contains(kid));
}

#[on_both]
async fn an_emergency_needs_a_reason_and_no_patience(world: World) {
    let kid = world.post("/signing/keys", json!({})).await.expect(201)["kid"].clone();
    let path = format!("/signing/keys/{}/activate", kid.as_str().unwrap());
    let body = json!({"emergency": true, "reason": "the old one was seen in a log"});
    let done = world.post(path, body).await.expect(200);
    assert_eq!(done["reason"], "the old one was seen in a log");
    let event = world.get("/audit?action=keys.activate").await.expect(200)["items"][0].clone();
    assert_eq!(event["reason"], "the old one was seen in a log");
    assert_eq!(
        (&event["before"]["state"], &event["after"]["state"]),
        (&json!("published"), &json!("active"))
    );
}

#[on_both]
async fn a_rotation_publishes_the_next_successor_and_the_old_key_stays_for_its_tokens(
    world: World,
) {
    let (old, next) = (active(&world).await, world.successor.clone());
    issue(&world, json!({"ttl_seconds": 86_400})).await;
    let rotated = world.post("/signing/rotate", json!({})).await.expect(200);
    assert_eq!((&rotated["kid"], &rotated["state"]), (&json!(next), &json!("active")));
    let keys = published(&world).await;
    assert_eq!(keys.len(), 3, "retiring, active and published");
    assert!(keys.contains(&old));
    // The successor is too young for another rotation.
    world.post("/signing/rotate", json!({})).await.refused(409, "key_not_yet_propagated");
    let refused = world.post(format!("/signing/keys/{old}/retire"), json!({})).await;
    assert!(refused.refused(409, "conflict")["last_expires_at"].is_string());
    world.post(format!("/signing/keys/{next}/retire"), json!({})).await.refused(409, "conflict");
    // The world's own bundles live for 30 days, and clocks differ by minutes.
    for (days, expected) in [(29, "retiring"), (2, "retired")] {
        world.pass(TimeDelta::days(days));
        rotation::tick(&world.app).await.unwrap();
        assert_eq!(state(&world, &old).await, expected);
    }
    assert!(!published(&world).await.contains(&old));
}

#[on_both]
async fn keys_are_rotated_by_age_without_a_caller(world: World) {
    let (first, second) = (active(&world).await, world.successor.clone());
    world.pass(TimeDelta::days(88));
    rotation::tick(&world.app).await.unwrap();
    assert_eq!(active(&world).await, first);
    world.pass(TimeDelta::days(2));
    rotation::tick(&world.app).await.unwrap();
    assert_eq!(active(&world).await, second);
    let info = world.get("/signing/info").await.expect(200);
    assert_eq!(info["keys"], json!({"retiring": 1, "active": 1, "published": 1}), "{first}");
    let events = world.count_events().await;
    rotation::tick(&world.app).await.unwrap();
    assert_eq!(world.count_events().await, events, "a second tick finds nothing to do");
}

#[on_both]
async fn parallel_rotations_make_one(world: World) {
    let (other, replica) = world.replica().await;
    let rotations = (0..20).map(|n| {
        let client =
            if n % 2 == 0 { world.root() } else { replica.clone().token(crate::world::ROOT) };
        async move { client.post("/signing/rotate", json!({})).await.status }
    });
    let mut answers = futures_util::future::join_all(rotations).await;
    answers.sort_unstable();
    assert_eq!(answers[0], 200);
    assert!(answers[1..].iter().all(|status| *status == 409), "{answers:?}");
    let info = world.get("/signing/info").await.expect(200);
    assert_eq!(info["keys"], json!({"retiring": 1, "active": 1, "published": 1}));
    assert_eq!(info["active_kid"], world.successor.as_str());
    for app in [&other, &world.app] {
        Keyring::of(app).refresh(app).await.unwrap();
    }
    assert_eq!(Keyring::of(&other).jwks(), Keyring::of(&world.app).jwks());
}

#[on_both]
async fn parallel_emergencies_rotate_once_for_each_that_succeeds(world: World) {
    let body = json!({"emergency": true, "reason": "everybody pressed the button"});
    let rotations = (0..8).map(|_| world.post("/signing/rotate", body.clone()));
    let answers = futures_util::future::join_all(rotations).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    let rotated = statuses.iter().filter(|status| **status == 200).count();
    let refused = &statuses[rotated..];
    assert!(rotated > 0 && refused.iter().all(|status| *status == 409), "{statuses:?}");
    // A request that begins when another one has ended rotates again.
    let info = world.get("/signing/info").await.expect(200);
    assert_eq!(info["keys"], json!({"retiring": rotated, "active": 1, "published": 1}));
}

#[on_both]
async fn parallel_ticks_of_many_replicas_make_one_rotation(world: World) {
    world.pass(TimeDelta::days(100));
    let mut apps = vec![world.app.clone()];
    for _ in 0..3 {
        apps.push(world.replica().await.0);
    }
    let ticks = apps.iter().map(rotation::tick);
    for done in futures_util::future::join_all(ticks).await {
        done.unwrap();
    }
    let info = world.get("/signing/info").await.expect(200);
    assert_eq!(info["keys"], json!({"retiring": 1, "active": 1, "published": 1}));
}

#[on_both]
async fn a_token_is_never_stored_under_a_key_that_signs_no_longer(world: World) {
    // This replica still has the old key in its memory when another one rotates.
    let (other, replica) = world.replica().await;
    world.post("/signing/rotate", json!({})).await.expect(200);
    let path = format!("/licenses/{}/bundles", world.acme.license);
    let bundle = replica.token(crate::world::ROOT).post(path, json!({})).await.expect(201);
    assert_eq!(bundle["key_id"], world.successor.as_str());
    assert_eq!(Keyring::of(&other).jwks(), Keyring::of(&world.app).jwks());
}

#[on_both]
async fn a_leaked_key_is_out_at_once_with_all_that_it_signed(world: World) {
    let leaked = active(&world).await;
    let bundle = issue(&world, json!({})).await;
    let before = key(&world, &leaked).await;
    assert_eq!(
        before["signed"],
        json!({
            "live_bundles": 3, "revoked_bundles": 0, "organizations": 2, "licenses_to_reissue": 2,
            "last_expires_at": "2026-02-01T00:00:00Z",
        })
    );
    let path = format!("/signing/keys/{leaked}/compromise");
    world.post(&path, json!({})).await.invalid("reason");
    world.post(&path, json!({"reason": " "})).await.invalid("reason");
    let done = world.post(&path, json!({"reason": "found on a laptop"})).await.expect(200);
    assert_eq!(
        (&done["state"], &done["reason"]),
        (&json!("compromised"), &json!("found on a laptop"))
    );
    assert_eq!(done["signed"]["live_bundles"], 0);
    assert_eq!(done["signed"]["revoked_bundles"], 3);
    assert_eq!(published(&world).await, BTreeSet::from([world.successor.clone()]));
    assert_eq!(active(&world).await, world.successor);
    assert_eq!(status_of(&world.anyone(), &bundle).await, TokenStatus::Invalid);
    // The licenses themselves are good, and get new tokens all at once.
    let many = json!({"filter": {"key_id": leaked}});
    let lines = world.post("/licenses/bundles", many).await;
    let issued: Vec<Value> =
        lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(issued.len(), 2);
    for line in &issued {
        assert_eq!(
            (&line["ok"], &line["bundle"]["key_id"]),
            (&json!(true), &json!(world.successor))
        );
        assert_eq!(status_of(&world.anyone(), &line["bundle"]).await, TokenStatus::Valid);
    }
    assert_eq!(key(&world, &leaked).await["signed"]["licenses_to_reissue"], 0);
    // The compromise was reported already; a successor's successor is published by the next tick.
    let again = world.post(&path, json!({"reason": "again"})).await.expect(200);
    assert_eq!(again["reason"], "found on a laptop");
    // A blank reason, which an earlier version accepted, is replaced.
    world.exec("UPDATE signing_keys SET reason = '' WHERE state = 'compromised'").await;
    let again = world.post(&path, json!({"reason": "again"})).await.expect(200);
    assert_eq!((&again["state"], &again["reason"]), (&json!("compromised"), &json!("again")));
    rotation::tick(&world.app).await.unwrap();
    assert_eq!(published(&world).await.len(), 2);
    let file = issue(&world, json!({"form": "file"})).await;
    let (_, claims) = parts(file["file"].as_str().unwrap());
    let chain = claims["key_chain"].as_array().unwrap();
    assert_eq!(chain.len(), 1, "the word of a leaked key counts for nothing");
}

#[on_both]
async fn a_leaked_key_without_a_successor_is_followed_by_a_new_one(world: World) {
    let spare = format!("/signing/keys/{}/compromise", world.successor);
    world.post(spare, json!({"reason": "both leaked"})).await.expect(200);
    let leaked = active(&world).await;
    let path = format!("/signing/keys/{leaked}/compromise");
    world.post(path, json!({"reason": "both leaked"})).await.expect(200);
    let new = active(&world).await;
    assert!(new != leaked && new != world.successor);
    assert_eq!(issue(&world, json!({})).await["key_id"], new.as_str());
}

#[on_both]
async fn a_key_is_imported_once_and_never_comes_back(world: World) {
    let pem = pem();
    let made = world.post("/signing/keys", json!({"pem": pem})).await.expect(201);
    let kid = made["kid"].as_str().unwrap();
    assert_eq!((&made["state"], &made["bits"]), (&json!("published"), &json!(2048)));
    world.post("/signing/keys", json!({"pem": pem})).await.refused(409, "conflict");
    world.post(format!("/signing/keys/{kid}/retire"), json!({})).await.expect(200);
    let again = world.post("/signing/keys", json!({"pem": pem})).await.refused(409, "conflict");
    assert!(again["detail"].as_str().unwrap().contains("retired"), "{again}");
    for bad in ["", "x", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"] {
        world.post("/signing/keys", json!({"pem": bad})).await.refused(422, "key_refused");
    }
    world.post("/signing/keys", json!({"bits": 1024})).await.invalid("bits");
    world.post("/signing/keys", json!({"pem": pem, "bits": 2048})).await.invalid("bits");
    let events = world.get("/audit?action=keys.create").await.expect(200).to_string();
    let secret = pem.lines().nth(3).unwrap();
    assert!(!events.contains(secret), "the audit trail has a private key");
}

fn pem() -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let key = cp_server::licensing::keys::signer::LocalKey::generate(2048).unwrap();
    let text = STANDARD.encode(key.to_pkcs8().unwrap());
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}
