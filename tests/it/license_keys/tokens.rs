//! The tokens in the answers to validations.

use chrono::TimeDelta;
use dp_verifier::{Holder, Verifier};
use serde_json::{Value, json};

use super::{UNKNOWN, new_key, text, validate};
use crate::world::{AUDIENCE, ISSUER, World, on_both};

fn license(world: &World) -> String {
    format!("/licenses/{}", world.acme.license)
}

/// The newest events: their actions, with the kinds of their targets.
async fn events(world: &World, count: usize) -> Vec<(String, String)> {
    let events = world.get(format!("/audit?limit={count}")).await.expect(200);
    let of = |event: &Value| (text(event, "action"), text(event, "target_type"));
    events["items"].as_array().unwrap().iter().map(of).collect()
}

#[on_both]
async fn validation_with_a_token_issues_one_that_verifies(world: World) {
    let made = new_key(&world, json!({})).await;
    let count = world.count_events().await;
    world.pass(TimeDelta::milliseconds(1));
    let answer = validate(&world, json!({"key": made["key"], "token": true})).await;
    assert_eq!(
        (&answer["code"], &answer["lease"], &answer["lease_token"]),
        (&json!("valid"), &Value::Null, &Value::Null)
    );
    let keys = world.anyone().get("/.well-known/jwks.json").await;
    let verifier = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(keys.body.to_vec());
    let verifier = verifier.build().unwrap();
    let now = world.clock.now().timestamp();
    let context = verifier.verify_at(&text(&answer, "token"), now).unwrap();
    assert_eq!(json!(context.claims().license.license_id), json!(world.acme.license));
    assert_eq!(world.count_events().await, count + 1);
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    let shown =
        ["action", "actor_kind", "actor_name", "organization_id", "target_type", "target_id"];
    assert_eq!(
        shown.map(|member| event[member].clone()),
        [
            json!("licenses.token"),
            json!("license_key"),
            made["hint"].clone(),
            json!(world.acme.org),
            json!("bundle"),
            json!(context.claims().jti),
        ]
    );
    let bundle = world.get(format!("/bundles/{}", context.claims().jti)).await.expect(200);
    assert_eq!(bundle["status"], "valid");
    // Without the wish there is no token, and nothing is written.
    let answer = validate(&world, json!({"key": made["key"]})).await;
    assert_eq!((&answer["valid"], &answer["token"]), (&json!(true), &Value::Null));
    assert_eq!(world.count_events().await, count + 1);
}

#[on_both]
async fn activation_with_a_token_proves_the_license_and_the_lease(world: World) {
    for (pool, kind) in [("seats", "seat"), ("render", "floating")] {
        if pool == "render" {
            let pools = json!({"leasing": {"render": {"kind": kind, "cap": 1}}});
            world.patch(license(&world), pools).await.expect(200);
        }
        world.pass(TimeDelta::milliseconds(1));
        let count = world.count_events().await;
        let body = json!({
            "key": world.acme.license_key, "pool": pool, "holder": {"id": "a"}, "activate": true,
            "token": true,
        });
        let answer = validate(&world, body.clone()).await;
        assert_eq!(answer["code"], "valid");
        let keys = world.anyone().get("/.well-known/jwks.json").await;
        let verifier =
            Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(keys.body.to_vec());
        let verifier = verifier.build().unwrap();
        let now = world.clock.now().timestamp();
        let context = verifier.verify_at(&text(&answer, "token"), now).unwrap();
        let lease = text(&answer, "lease_token");
        let lease = verifier.verify_lease_at(&lease, &context, &Holder::id("a"), now).unwrap();
        assert_eq!(json!(lease.claims().jti), answer["lease"]["id"]);
        assert_eq!(answer["lease"].get("token"), None);
        let mut found = events(&world, 2).await;
        found.sort();
        let token = ("licenses.token".to_owned(), "bundle".to_owned());
        // A claim of a floating seat leaves no event.
        let claims = usize::from(kind == "seat");
        assert_eq!(world.count_events().await, count + 1 + i64::try_from(claims).unwrap());
        assert!(found.contains(&token), "{found:?}");
        // The same again: the lease is extended, and the token is another one.
        let again = validate(&world, body).await;
        assert_eq!(again["lease"]["id"], answer["lease"]["id"]);
        assert_ne!(again["token"], answer["token"]);
    }
}

#[on_both]
async fn key_that_may_not_be_used_gets_no_token(world: World) {
    let key = &world.acme.license_key;
    let ask = async |more: Value| {
        let mut body = json!({"key": key, "token": true});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        validate(&world, body).await
    };
    let count = world.count_events().await;
    for (more, code) in [
        (json!({"key": UNKNOWN}), "key_unknown"),
        (json!({"features": ["nope"]}), "feature_missing"),
        (json!({"pool": "nope"}), "pool_unknown"),
        (json!({"holder": {"id": "a"}}), "not_activated"),
    ] {
        let answer = ask(more).await;
        assert_eq!((&answer["code"], &answer["token"]), (&json!(code), &Value::Null));
    }
    assert_eq!(world.count_events().await, count);
    world.post(license(&world) + "/suspend", json!({})).await.expect(200);
    let answer = ask(json!({})).await;
    assert_eq!((&answer["code"], &answer["token"]), (&json!("license_suspended"), &Value::Null));
}

#[on_both]
async fn tokens_of_validations_count_among_the_twenty_of_a_day(world: World) {
    world.pass(TimeDelta::hours(23));
    for _ in 0..19 {
        world.post(license(&world) + "/token", json!({})).await.expect(201);
    }
    let body = json!({
        "key": world.acme.license_key, "holder": {"id": "a"}, "activate": true, "token": true,
    });
    assert_eq!(validate(&world, body.clone()).await["code"], "valid");
    // The refusal claims no seat.
    let other = json!({
        "key": world.acme.license_key, "holder": {"id": "b"}, "activate": true, "token": true,
    });
    let answer = world.anyone().post("/licenses/validate", other.clone()).await;
    assert_eq!(answer.header("retry-after"), "3601");
    let problem = answer.refused(429, "rate_limited");
    assert_eq!((&problem["metric"], &problem["limit"]), (&json!("license_tokens"), &json!(20)));
    world.post(license(&world) + "/token", json!({})).await.refused(429, "rate_limited");
    let asked = json!({"key": world.acme.license_key, "holder": {"id": "b"}});
    assert_eq!(validate(&world, asked).await["code"], "not_activated");
    // Validations without a token have no such limit.
    let asked = json!({"key": world.acme.license_key, "holder": {"id": "a"}});
    assert_eq!(validate(&world, asked).await["code"], "valid");
    world.pass(TimeDelta::hours(1));
    assert!(validate(&world, other).await["token"].is_string());
}
