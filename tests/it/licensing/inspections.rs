//! Inspections: any text, judged as a data plane does.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{AUDIENCE, World, on_both};

async fn inspect(world: &World, token: &str) -> Value {
    world.post("/bundles/inspect", json!({"token": token})).await.expect(200)
}

/// The checks, as `name status`.
fn results(found: &Value) -> Vec<String> {
    let text = |one: &Value, member: &str| one[member].as_str().unwrap().to_owned();
    let checks = found["checks"].as_array().unwrap().iter();
    checks.map(|one| format!("{} {}", text(one, "name"), text(one, "status"))).collect()
}

/// Asserts the refusal, and the results of all checks.
#[track_caller]
fn assert_found(found: &Value, code: Option<&str>, genuine: bool, expected: &str) {
    let code = code.map_or(Value::Null, Value::from);
    assert_eq!((&found["code"], &found["genuine"]), (&code, &json!(genuine)), "{found}");
    assert_eq!(found["accepted"], code.is_null());
    let statuses: Vec<String> =
        results(found).iter().map(|one| one.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(statuses.join(" "), expected, "{found}");
}

#[on_both]
async fn genuine_token_passes_every_check(world: World) {
    let events = world.count_events().await;
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    let bundle = world.post(&bundles, json!({"ttl_seconds": 86_400})).await.expect(201);
    let token = bundle["token"].as_str().unwrap();
    let found = inspect(&world, token).await;
    assert_found(&found, None, true, "ok ok ok ok ok ok ok ok ok");
    assert_eq!(found["claims"]["jti"], bundle["jti"]);
    assert_eq!(results(&found)[0], "shape ok");
    assert_eq!(results(&found)[8], "log ok");
    assert_eq!(world.count_events().await, events + 1, "an inspection leaves no event");
    // White space of a paste, and another caller.
    let own = world.by(&world.acme.token);
    let pasted = json!({"token": format!("  {token}\n")});
    let found = own.post("/bundles/inspect", pasted).await.expect(200);
    assert_eq!(found["accepted"], true);
    world.anyone().post("/bundles/inspect", json!({"token": token})).await.expect(401);
}

#[on_both]
async fn genuine_token_that_has_ended_or_was_revoked_says_both(world: World) {
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    let bundle = world.post(&bundles, json!({"ttl_seconds": 3600})).await.expect(201);
    let token = bundle["token"].as_str().unwrap();
    let revoke = format!("/bundles/{}/revoke", bundle["jti"].as_str().unwrap());
    world.post(revoke, json!({})).await.expect(200);
    let found = inspect(&world, token).await;
    assert_found(&found, Some("revoked"), true, "ok ok ok ok ok ok ok fail ok");
    let other = world.post(&bundles, json!({"ttl_seconds": 3600})).await.expect(201);
    world.pass(TimeDelta::days(40));
    let found = inspect(&world, other["token"].as_str().unwrap()).await;
    assert_found(&found, Some("expired"), true, "ok ok ok ok ok ok fail ok ok");
    assert!(found["checks"][6]["detail"].as_str().unwrap().contains("expired"), "{found}");
}

#[on_both]
async fn first_failure_of_the_text_ends_the_inspection(world: World) {
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    let bundle = world.post(&bundles, json!({})).await.expect(201);
    let token = bundle["token"].as_str().unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let rest = "skipped skipped skipped";
    for (text, code, expected) in [
        ("no token".to_owned(), "token_malformed", "fail skipped skipped skipped skipped skipped"),
        (
            format!("eyJhbGciOiJub25lIn0.{}.{}", parts[1], parts[2]),
            "alg_not_allowed",
            "ok fail skipped skipped skipped skipped",
        ),
        (
            format!("{}.{}.{}", parts[0], parts[1], "A".repeat(parts[2].len())),
            "signature_invalid",
            "ok ok ok fail skipped skipped",
        ),
    ] {
        let found = inspect(&world, &text).await;
        assert_found(&found, Some(code), false, &format!("{expected} {rest}"));
        let checks = found["checks"].as_array().unwrap();
        let failed = checks.iter().find(|one| one["status"] == "fail").unwrap();
        assert!(!failed["fix"].as_str().unwrap().is_empty());
        assert!(!failed["detail"].as_str().unwrap().contains(token));
    }
    // Another audience is named by the caller.
    for (audience, code) in [(AUDIENCE, Value::Null), ("other", json!("audience_wrong"))] {
        let body = json!({"token": token, "audience": audience});
        let found = world.post("/bundles/inspect", body).await.expect(200);
        assert_eq!(found["code"], code);
    }
    world.post("/bundles/inspect", json!({})).await.invalid("token");
    world.post("/bundles/inspect", json!({"token": 7})).await.invalid("token");
}
