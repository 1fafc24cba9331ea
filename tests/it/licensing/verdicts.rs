//! Verdicts: whether data planes accept a license, and why not.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{World, on_both};

async fn verdict(world: &World) -> Value {
    world.get(format!("/licenses/{}/verdict", world.acme.license)).await.expect(200)
}

/// The names and results of the checks.
fn results(verdict: &Value) -> Vec<(&str, &str)> {
    let checks = verdict["checks"].as_array().unwrap();
    checks
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["status"].as_str().unwrap()))
        .collect()
}

/// Asserts that only this check fails, with this code and advice.
#[track_caller]
fn assert_fails(verdict: &Value, name: &str, code: &str, fix: &str) {
    assert_eq!((&verdict["accepted"], &verdict["code"]), (&json!(false), &json!(code)));
    let failed: Vec<&Value> = verdict["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["status"] == "fail")
        .collect();
    assert_eq!(failed.len(), 1, "{verdict}");
    assert_eq!((&failed[0]["name"], &failed[0]["fix"]), (&json!(name), &json!(fix)));
}

#[on_both]
async fn license_with_a_fresh_token_is_accepted(world: World) {
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    world.post(&bundles, json!({"ttl_seconds": 86_400})).await.expect(201);
    let found = verdict(&world).await;
    assert_eq!((&found["accepted"], &found["code"]), (&json!(true), &Value::Null));
    let names = [
        "organization",
        "subscription",
        "license",
        "seats",
        "token",
        "signing_key",
        "status_list",
        "log",
    ];
    assert_eq!(results(&found).iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    let token = &found["checks"][4];
    assert_eq!(token, &json!({"name": "token", "status": "ok", "detail": "ends in 24 hours"}));
    // A change of the license does not change its tokens.
    let license = format!("/licenses/{}", world.acme.license);
    world.patch(&license, json!({"grace_days": 3})).await.expect(200);
    let changed = verdict(&world).await;
    assert_eq!(changed["accepted"], true);
    assert_eq!(changed["checks"][4]["status"], "warn");
}

#[on_both]
async fn failing_check_names_its_fix(world: World) {
    let license = format!("/licenses/{}", world.acme.license);
    world.post(format!("{license}/bundles"), json!({"ttl_seconds": 86_400})).await.expect(201);
    world.post(format!("{license}/suspend"), json!({"reason": "late"})).await.expect(200);
    let found = verdict(&world).await;
    assert_fails(&found, "license", "license_suspended", "Reinstate the license.");
    assert_eq!(results(&found)[4], ("token", "skipped"));
    world.post(format!("{license}/reinstate"), json!({})).await.expect(200);
    world.patch(world.org(""), json!({"status": "suspended"})).await.expect(200);
    let found = verdict(&world).await;
    assert_fails(&found, "organization", "organization_suspended", "Activate the organization.");
    world.patch(world.org(""), json!({"status": "active"})).await.expect(200);
    world.pass(TimeDelta::days(2));
    assert_fails(&verdict(&world).await, "token", "expired", "Issue a new token.");
    let bundle = world.post(format!("{license}/bundles"), json!({})).await.expect(201);
    assert_eq!(verdict(&world).await["accepted"], true);
    let revoke = format!("/bundles/{}/revoke", bundle["jti"].as_str().unwrap());
    world.post(revoke, json!({})).await.expect(200);
    assert_fails(&verdict(&world).await, "token", "revoked", "Issue a new token.");
}

#[on_both]
async fn license_without_a_token_says_so(world: World) {
    let license = format!("/licenses/{}", world.acme.license);
    world.post(format!("{license}/revoke"), json!({})).await.expect(200);
    let path = format!("/deployments/{}/licenses", world.acme.deployment);
    let new = world.post(path, json!({})).await.expect(201);
    let path = format!("/licenses/{}/verdict", new["id"].as_str().unwrap());
    let found = world.get(path).await.expect(200);
    assert_fails(&found, "token", "token_missing", "Issue a token.");
    let skipped: Vec<_> = results(&found).into_iter().skip(5).collect();
    let none = [("signing_key", "skipped"), ("status_list", "skipped"), ("log", "skipped")];
    assert_eq!(skipped, none);
    // The revoked license names its own reason, and its token's.
    let revoked = verdict(&world).await;
    assert_eq!(revoked["code"], "license_revoked");
}
