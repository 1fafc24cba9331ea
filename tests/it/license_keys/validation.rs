//! The codes of validations, in their order.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{UNKNOWN, new_key, path, text, validate};
use crate::world::{World, on_both};

/// All codes in their order.
const CODES: [&str; 19] = [
    "key_unknown",
    "key_revoked",
    "key_expired",
    "organization_suspended",
    "deployment_inactive",
    "subscription_inactive",
    "license_revoked",
    "license_suspended",
    "license_expired",
    "license_not_yet_valid",
    "version_not_covered",
    "feature_missing",
    "pool_unknown",
    "holder_required",
    "not_activated",
    "lease_over",
    "seats_exhausted",
    "valid_in_grace",
    "valid",
];

/// Pairs of codes that never hold together.
const EXCLUSIVE: [&[&str]; 4] = [
    &["license_revoked", "license_suspended"],
    &["license_expired", "license_not_yet_valid", "valid_in_grace"],
    &["holder_required", "not_activated", "lease_over", "seats_exhausted"],
    &["pool_unknown", "lease_over"],
];

fn is_possible(pair: [&str; 2]) -> bool {
    !EXCLUSIVE.iter().any(|group| pair.iter().all(|code| group.contains(code)))
}

/// Creates a license for which these codes hold, validates its key, and undoes what concerns others.
async fn judged(world: &World, n: usize, codes: &[&str]) -> Value {
    let has = |code: &str| codes.contains(&code);
    let deployment = json!({"name": format!("d{n}"), "type": "cloud"});
    let deployment = world.post(world.org("/deployments"), deployment).await.expect(201);
    let deployment = format!("/deployments/{}", text(&deployment, "id"));
    let license = json!({
        "subscription_id": world.acme.subscription, "seat_cap": 1,
        "valid_from": "2025-01-01T00:00:00Z", "features": {"max_version": "<2", "sso": true},
    });
    let license = world.post(format!("{deployment}/licenses"), license).await.expect(201);
    let license = format!("/licenses/{}", text(&license, "id"));
    let end = if has("key_expired") {
        json!(world.clock.now() + TimeDelta::seconds(1))
    } else {
        json!(null)
    };
    let key = world.post(format!("{license}/keys"), json!({"expires_at": end})).await.expect(201);
    let claim = |id: &str| json!({"holder": {"id": id}});
    if has("lease_over") {
        let lease = world.post(format!("{license}/leases"), claim("me")).await.expect(201);
        world.delete(format!("/leases/{}", text(&lease, "id"))).await.expect(204);
    }
    if has("seats_exhausted") {
        world.post(format!("{license}/leases"), claim("other")).await.expect(201);
    }
    let past = "2025-06-01T00:00:00Z";
    let terms = if has("license_not_yet_valid") {
        json!({"valid_from": "2027-01-01T00:00:00Z"})
    } else if has("license_expired") {
        json!({"valid_until": past})
    } else if has("valid_in_grace") {
        json!({"valid_until": past, "grace_days": 3660})
    } else {
        json!({"name": "as it is"})
    };
    world.patch(&license, terms).await.expect(200);
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    if has("license_revoked") {
        world.post(format!("{license}/revoke"), json!({})).await.expect(200);
    }
    if has("license_suspended") {
        world.post(format!("{license}/suspend"), json!({})).await.expect(200);
    }
    if has("deployment_inactive") {
        world.patch(&deployment, json!({"status": "inactive"})).await.expect(200);
    }
    if has("subscription_inactive") {
        world.patch(&subscription, json!({"status": "paused"})).await.expect(200);
    }
    if has("organization_suspended") {
        world.patch(world.org(""), json!({"status": "suspended"})).await.expect(200);
    }
    if has("key_revoked") {
        world.delete(path(&key)).await.expect(204);
    }
    if has("key_expired") {
        world.pass(TimeDelta::seconds(1));
    }
    let names_holder =
        ["not_activated", "lease_over", "seats_exhausted"].iter().any(|one| has(one));
    let names_pool = has("pool_unknown") || has("holder_required");
    let mut body = json!({
        "key": if has("key_unknown") { json!(UNKNOWN) } else { key["key"].clone() },
        "version": if has("version_not_covered") { "2.0.0" } else { "1.9.0" },
        "features": if has("feature_missing") { json!(["sso", "sso2"]) } else { json!(["sso"]) },
        "activate": has("seats_exhausted"),
    });
    if names_pool {
        body["pool"] = json!(if has("pool_unknown") { "nope" } else { "seats" });
    }
    if names_holder {
        body["holder"] = json!({"id": "me"});
    }
    let answer = validate(world, body).await;
    if has("organization_suspended") {
        world.patch(world.org(""), json!({"status": "active"})).await.expect(200);
    }
    if has("subscription_inactive") {
        world.patch(&subscription, json!({"status": "active"})).await.expect(200);
    }
    answer
}

#[on_both]
async fn each_pair_of_codes_answers_with_the_earlier_one(world: World) {
    let mut tried = 0;
    for (n, earlier) in CODES.iter().enumerate() {
        for later in &CODES[n..] {
            if earlier != later && !is_possible([earlier, later]) {
                continue;
            }
            let answer = judged(&world, tried, &[later, earlier]).await;
            assert_eq!(answer["code"], *earlier, "{earlier} with {later}: {answer}");
            let is_valid = earlier.starts_with("valid");
            assert_eq!(answer["valid"], is_valid, "{answer}");
            assert!(answer["detail"].as_str().unwrap().len() > 10, "{answer}");
            tried += 1;
        }
    }
    assert!(tried > 150, "{tried}");
}

#[on_both]
async fn valid_key_returns_its_license(world: World) {
    let answer = validate(&world, json!({"key": world.acme.license_key})).await;
    let license = world.get(format!("/licenses/{}", world.acme.license)).await.expect(200);
    assert_eq!(
        answer,
        json!({
            "valid": true, "code": "valid", "detail": "The key may be used.",
            "license": {
                "id": world.acme.license, "status": "active", "valid_until": license["valid_until"],
                "effective": license["effective"],
            },
        })
    );
    let answer = validate(&world, json!({"key": UNKNOWN})).await;
    assert_eq!((&answer["code"], &answer["license"]), (&json!("key_unknown"), &Value::Null));
}

#[on_both]
async fn license_in_grace_is_valid_until_its_days_of_grace_end(world: World) {
    let license = format!("/licenses/{}", world.acme.license);
    let terms = json!({"valid_until": "2026-01-02T00:00:10Z", "grace_days": 1});
    world.patch(&license, terms).await.expect(200);
    let body = json!({"key": world.acme.license_key, "holder": {"id": "a"}, "activate": true});
    assert_eq!(validate(&world, body.clone()).await["code"], "valid");
    world.pass(TimeDelta::seconds(10));
    let answer = validate(&world, body.clone()).await;
    assert_eq!((&answer["code"], &answer["valid"]), (&json!("valid_in_grace"), &json!(true)));
    assert_eq!(answer["license"]["grace_until"], "2026-01-03T00:00:10Z");
    assert_eq!(answer["lease"]["state"], "live");
    world.pass(TimeDelta::days(1));
    let answer = validate(&world, body).await;
    assert_eq!((&answer["code"], &answer["valid"]), (&json!("license_expired"), &json!(false)));
}

#[on_both]
async fn activation_claims_a_seat_once_and_a_refused_one_claims_none(world: World) {
    let license = format!("/licenses/{}", world.acme.license);
    world.patch(&license, json!({"seat_cap": 2})).await.expect(200);
    let made = new_key(&world, json!({})).await;
    let key = text(&made, "key");
    let body =
        |id: &str, activate: bool| json!({"key": key, "holder": {"id": id}, "activate": activate});
    let events = world.count_events().await;
    assert_eq!(validate(&world, body("a", false)).await["code"], "not_activated");
    let refused = json!({
        "key": key, "holder": {"id": "a"}, "activate": true, "features": ["nope"],
    });
    assert_eq!(validate(&world, refused).await["code"], "feature_missing");
    assert_eq!(validate(&world, body("a", false)).await["code"], "not_activated");
    assert_eq!(world.count_events().await, events, "nothing was written");

    world.pass(TimeDelta::milliseconds(1));
    // The world's own lease has the other seat.
    let answer = validate(&world, body("a", true)).await;
    assert_eq!((&answer["code"], &answer["lease"]["seat"]), (&json!("valid"), &json!(2)));
    assert_eq!(world.count_events().await, events + 1);
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(
        (&event["action"], &event["actor_kind"]),
        (&json!("leases.claim"), &json!("license_key"))
    );
    assert_eq!(event["actor_name"], made["hint"]);
    assert_eq!(event["organization_id"], world.acme.org);
    assert_eq!(event["target_type"], "lease");
    assert_eq!(event["target_id"], answer["lease"]["id"]);
    for activate in [true, false] {
        let again = validate(&world, body("a", activate)).await;
        assert_eq!(
            (&again["code"], &again["lease"]["id"]),
            (&json!("valid"), &answer["lease"]["id"])
        );
    }
    let full = validate(&world, body("b", true)).await;
    assert_eq!((&full["code"], &full["lease"]), (&json!("seats_exhausted"), &Value::Null));
    assert!((1..=60).contains(&full["retry_after"].as_i64().unwrap()), "{full}");
    assert_eq!(world.count_events().await, events + 1);

    let lease = format!("/leases/{}", text(&answer["lease"], "id"));
    world.delete(&lease).await.expect(204);
    let over = validate(&world, body("a", false)).await;
    assert_eq!((&over["code"], &over["lease"]["end"]), (&json!("lease_over"), &json!("released")));
    let again = validate(&world, body("a", true)).await;
    assert_eq!((&again["code"], &again["lease"]["seat"]), (&json!("valid"), &json!(2)));
    assert_ne!(again["lease"]["id"], answer["lease"]["id"]);
}

#[on_both]
async fn key_opens_its_pools_only(world: World) {
    let pools = json!({"leasing": {"render": {"kind": "floating", "cap": 1}}});
    world.patch(format!("/licenses/{}", world.acme.license), pools).await.expect(200);
    let key = text(&new_key(&world, json!({"pools": ["render"]})).await, "key");
    for (pool, code) in [("render", "valid"), ("seats", "pool_unknown"), ("nope", "pool_unknown")] {
        let body = json!({"key": key, "pool": pool, "holder": {"id": "a"}, "activate": true});
        assert_eq!(validate(&world, body).await["code"], code, "{pool}");
    }
    assert_eq!(validate(&world, json!({"key": key})).await["code"], "valid");
}

#[on_both]
async fn versions_and_features_are_those_of_the_license(world: World) {
    let license = format!("/licenses/{}", world.acme.license);
    let features = json!({"max_version": "<=4.2", "sso": true, "beta": false, "seats_note": "x"});
    world.patch(&license, json!({"features": features})).await.expect(200);
    let key = &world.acme.license_key;
    for (version, code) in
        [("4.2.7", "valid"), ("4.3.0", "version_not_covered"), ("4.2.0-rc.1", "valid")]
    {
        assert_eq!(validate(&world, json!({"key": key, "version": version})).await["code"], code);
    }
    for (feature, code) in [
        ("sso", "valid"),
        ("seats_note", "valid"),
        ("beta", "feature_missing"),
        ("x", "feature_missing"),
    ] {
        assert_eq!(
            validate(&world, json!({"key": key, "features": [feature]})).await["code"],
            code
        );
    }
    let client = world.anyone();
    let ask = async |body: Value| client.post("/licenses/validate", body).await;
    ask(json!({"key": key, "version": "4"})).await.invalid("version");
    ask(json!({"key": key, "features": vec!["x"; 51]})).await.invalid("features");
    let two = json!({"id": "a", "email": "a@b.example"});
    ask(json!({"key": key, "holder": two})).await.invalid("holder");
}
