use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{World, on_both};

/// Gives acme's plan and subscription features.
async fn with_features(world: &World) {
    let plan = json!({"default_features": {"a": "plan", "b": "plan", "c": "plan", "own": "plan"}});
    world.patch("/plans/team", plan).await.expect(200);
    let path = format!("/subscriptions/{}", world.acme.subscription);
    let own = json!({"plan_code": "team", "feature_overrides": {"b": "subscription", "c": "subscription"}});
    world.patch(&path, own).await.expect(200);
}

#[on_both]
async fn organization_is_a_level_between_subscription_and_license(world: World) {
    with_features(&world).await;
    let path = world.org("/entitlements");
    let before = world.get(&path).await.expect(200);
    let features = before["effective"]["features"].clone();
    assert_eq!(features["b"], json!({"value": "subscription", "from": "subscription"}));
    let mut bare = before.clone();
    bare["effective"]["features"] = Value::Null;
    assert_eq!(
        bare,
        json!({
            "organization_id": world.acme.org, "features": {}, "models": {}, "updated_at": null,
            "effective": {
                "active": true, "inactive_reason": null,
                "subscription_id": world.acme.subscription, "plan_code": "team", "features": null,
            },
        })
    );
    let revision = world.get(world.org("")).await.expect(200)["revision"].as_i64().unwrap();
    let own = json!({"c": "organization", "own": "organization", "e": {"n": 1}});
    let set = world.patch(&path, json!({"features": own})).await.expect(200);
    assert_eq!((&set["features"], &set["updated_at"]), (&own, &json!("2026-01-02T00:00:00Z")));
    let after = world.get(world.org("")).await.expect(200)["revision"].as_i64().unwrap();
    assert!(after > revision);
    assert_eq!(world.get(&path).await.expect(200), set);
    let license = format!("/licenses/{}", world.acme.license);
    world.patch(&license, json!({"features": {"own": "license"}})).await.expect(200);
    let shown = world.get(&license).await.expect(200)["effective"]["features"].clone();
    for (code, value, from) in [
        ("a", json!("plan"), "plan"),
        ("b", json!("subscription"), "subscription"),
        ("c", json!("organization"), "organization"),
        ("own", json!("license"), "license"),
        ("e", json!({"n": 1}), "organization"),
    ] {
        assert_eq!(shown[code], json!({"value": value, "from": from}), "{code}");
    }
    let bundle = world.post(format!("{license}/bundles"), json!({})).await.expect(201);
    let token = &bundle["payload"]["license"]["features"];
    assert_eq!((&token["c"], &token["own"]), (&json!("organization"), &json!("license")));
    assert_eq!(token["e"], json!({"n": 1}));
    let replaced = world.patch(&path, json!({"features": {}})).await.expect(200);
    assert_eq!(replaced["features"], json!({}));
    let shown = world.get(&license).await.expect(200)["effective"]["features"].clone();
    assert_eq!(shown["c"], json!({"value": "subscription", "from": "subscription"}));
}

#[on_both]
async fn policies_are_set_product_by_product(world: World) {
    let path = world.org("/entitlements");
    let models = json!({"": {"deny": ["gpt-4*"]}, "console": {"allow": ["gpt-*"]}});
    let set = world.patch(&path, json!({"models": models})).await.expect(200);
    let both = json!({
        "": {"allow": [], "deny": ["gpt-4*"]}, "console": {"allow": ["gpt-*"], "deny": []},
    });
    assert_eq!(set["models"], both);
    let changed = world.patch(&path, json!({"models": {"": null, "none": null}})).await.expect(200);
    assert_eq!(changed["models"], json!({"console": {"allow": ["gpt-*"], "deny": []}}));
    let event = world.get(world.org("/audit?action=entitlements.update&limit=1")).await.expect(200);
    assert_eq!(event["items"][0]["before"], set);
    assert_eq!(event["items"][0]["after"], changed);
    let export = world.get(world.org("/export")).await.expect(200);
    assert_eq!(export["entitlements"][0]["models"], changed["models"]);
}

#[on_both]
async fn wrong_entitlements_are_refused_at_their_field(world: World) {
    let path = world.org("/entitlements");
    let many: serde_json::Map<String, Value> =
        (0..201).map(|n| (format!("f{n}"), json!(1))).collect();
    for (patch, field) in [
        (json!({}), "features"),
        (json!({"features": null}), "features"),
        (json!({"features": {"a b": 1}}), "features.…"),
        (json!({"features": {"a": null}}), "features.a"),
        (json!({"features": many}), "features"),
        (json!({"features": {"a": "x".repeat(4096)}}), "features"),
        (json!({"models": {"x": {"allow": ["a*b"]}}}), "models.x.allow[0]"),
        (json!({"models": {"x": {"allow": ["a", "a"]}}}), "models.x.allow[1]"),
        (json!({"models": {"x": {"block": []}}}), "models.x.block"),
        (json!({"feature": {}}), "feature"),
    ] {
        let answer = world.patch(&path, patch.clone()).await;
        if patch == json!({"features": null}) {
            // Null is absent, so the change is empty.
            answer.invalid("features");
        } else {
            answer.invalid(field);
        }
    }
    assert_eq!(world.get(&path).await.expect(200)["updated_at"], Value::Null);
}

#[on_both]
async fn vendor_alone_changes_entitlements_and_members_read_them(world: World) {
    let path = world.org("/entitlements");
    let owner = world.person("auth0|olga-acme");
    owner.get(&path).await.expect(200);
    owner.patch(&path, json!({"features": {}})).await.refused(403, "forbidden");
    let tag = world.get(&path).await.header("etag").to_owned();
    let matching = world.root().with("if-match", &tag);
    matching.patch(&path, json!({"features": {"a": 1}})).await.expect(200);
    let stale = matching.patch(&path, json!({"features": {"a": 2}})).await;
    stale.refused(412, "precondition_failed");
}

#[on_both]
async fn entitlements_do_not_count_without_a_subscription_or_while_suspended(world: World) {
    let path = world.org("/entitlements");
    let active = async || {
        let effective = world.get(&path).await.expect(200)["effective"].clone();
        (effective["active"].clone(), effective["inactive_reason"].clone())
    };
    let off = |reason: &str| (json!(false), json!(reason));
    assert_eq!(active().await, (json!(true), Value::Null));
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    let ends = json!({"ends_at": "2026-01-03T00:00:00Z"});
    world.patch(&subscription, ends).await.expect(200);
    world.pass(TimeDelta::days(1));
    assert_eq!(active().await, off("subscription_inactive"));
    world.patch(&subscription, json!({"ends_at": null, "status": "past_due"})).await.expect(200);
    assert_eq!(active().await, (json!(true), Value::Null));
    world.patch(&subscription, json!({"status": "paused"})).await.expect(200);
    assert_eq!(active().await, off("subscription_inactive"));
    world.patch(world.org(""), json!({"status": "suspended"})).await.expect(200);
    assert_eq!(active().await, off("organization_suspended"));
    world.patch(world.org(""), json!({"status": "active"})).await.expect(200);
    world.post(format!("{subscription}/cancel"), json!({"reason": "x"})).await.expect(200);
    let effective = world.get(&path).await.expect(200)["effective"].clone();
    assert_eq!(
        effective,
        json!({
            "active": false, "inactive_reason": "subscription_inactive", "subscription_id": null,
            "plan_code": null, "features": {},
        })
    );
}
