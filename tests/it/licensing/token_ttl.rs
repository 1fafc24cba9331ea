//! The life of tokens that data planes renew.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::check_in::{check_in, check_in_as_before, license, life, spread};
use crate::world::{World, now, on_both};

#[on_both]
async fn life_of_tokens_has_levels(world: World) {
    let plan = json!({"token_ttl_seconds": 86_400});
    let change = world.patch("/plans/team", plan).await.expect(200);
    assert_eq!(change["changes"], json!({"token_ttl_seconds": {"after": 86_400}}));
    world.post("/plans/team/migrate", json!({"dry_run": false})).await.expect(200);
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    let effective = async |value: i64, from: &str| {
        let shown = world.get(license(&world)).await.expect(200);
        let expected = json!({"value": value, "from": from});
        assert_eq!(shown["effective"]["token_ttl_seconds"], expected);
        let export = world.get(world.org("/export")).await.expect(200);
        assert_eq!(export["licenses"][0]["effective"]["token_ttl_seconds"], expected);
        world.pass(TimeDelta::seconds(60));
        let answer = check_in(&world, json!({})).await;
        assert_eq!(life(&answer["bundle"]), value);
        let third = TimeDelta::seconds(value / 3).min(TimeDelta::hours(12));
        let next = world.clock.now() + spread(third, &answer["bundle"]["jti"]);
        assert_eq!(answer["next_check_in_at"], json!(next));
    };
    effective(86_400, "plan").await;
    world.patch(&subscription, json!({"token_ttl_seconds": 7200})).await.expect(200);
    effective(7200, "subscription").await;
    let own = world.patch(license(&world), json!({"token_ttl_seconds": 3600})).await.expect(200);
    assert_eq!(own["token_ttl_seconds"], 3600);
    effective(3600, "license").await;
    let own = world.patch(license(&world), json!({"token_ttl_seconds": null})).await.expect(200);
    assert_eq!(own["token_ttl_seconds"], Value::Null);
    effective(7200, "subscription").await;
    world.patch(&subscription, json!({"token_ttl_seconds": null})).await.expect(200);
    effective(86_400, "plan").await;
    world.patch("/plans/team", json!({"token_ttl_seconds": null})).await.expect(200);
    world.post("/plans/team/migrate", json!({"dry_run": false})).await.expect(200);
    effective(30 * 86_400, "default").await;
    for path in [license(&world), subscription, "/plans/team".to_owned()] {
        for ttl in [3599, 34_560_001] {
            let patch = json!({"token_ttl_seconds": ttl});
            world.patch(&path, patch).await.invalid("token_ttl_seconds");
        }
        world.patch(&path, json!({"token_ttl_seconds": 34_560_000})).await.expect(200);
    }
}

#[on_both]
async fn life_of_tokens_can_be_set_at_creation(world: World) {
    let plan = json!({"code": "edge", "name": "Edge", "seat_cap": 3, "token_ttl_seconds": 3600});
    assert_eq!(world.post("/plans", plan).await.expect(201)["token_ttl_seconds"], 3600);
    let subscription = format!("/subscriptions/{}/cancel", world.acme.subscription);
    world.post(subscription, json!({})).await.expect(200);
    let subscription = json!({"plan_code": "edge", "token_ttl_seconds": 7200});
    let subscription = world.post(world.org("/subscriptions"), subscription).await.expect(201);
    assert_eq!(subscription["token_ttl_seconds"], 7200);
    let licenses = format!("/deployments/{}/licenses", world.acme.spare_deployment);
    let made = world.post(licenses, json!({"token_ttl_seconds": 10_800})).await.expect(201);
    assert_eq!(made["effective"]["token_ttl_seconds"], json!({"value": 10_800, "from": "license"}));
    // Other issuances have the same life, unless they name one.
    let bundles = format!("/licenses/{}/bundles", made["id"].as_str().unwrap());
    assert_eq!(life(&world.post(bundles, json!({})).await.expect(201)), 10_800);
}

#[on_both]
async fn token_ends_with_its_license(world: World) {
    let end = json!({"valid_until": now() + TimeDelta::hours(3)});
    world.patch(license(&world), end).await.expect(200);
    let answer = check_in_as_before(&world).await;
    let jti = &answer["bundle"]["jti"];
    assert_eq!(answer["bundle"]["expires_at"], json!(now() + TimeDelta::hours(3)));
    let next = now() + spread(TimeDelta::hours(1), jti);
    assert_eq!(answer["next_check_in_at"], json!(next), "a third of the token's own life");
    // In the last second no token has a life.
    world.pass(TimeDelta::hours(3) - TimeDelta::milliseconds(1));
    let answer = check_in(&world, json!({"jti": jti})).await;
    assert!(answer["bundle"].is_object(), "{answer}");
    world.pass(TimeDelta::milliseconds(1));
    assert_eq!(check_in(&world, json!({"jti": jti})).await["code"], "license_expired");
}
