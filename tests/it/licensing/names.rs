//! The vendor's own names, values and tags, and the searches in lists.

use serde_json::{Value, json};

use crate::world::{World, on_both};

async fn ids(world: &World, path: &str) -> Vec<String> {
    let page = world.get(path).await.expect(200);
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

async fn named_license(world: &World) -> Value {
    let path = format!("/deployments/{}/licenses", world.acme.spare_deployment);
    let body = json!({
        "name": "Pilot_1 (100%)", "metadata": {"crm": 4711, "none": null},
        "tags": ["pilot", "emea", "pilot"], "valid_until": "2026-07-01T00:00:00Z",
    });
    world.post(path, body).await.expect(201)
}

#[on_both]
async fn license_without_a_subscription_has_the_one_in_force(world: World) {
    let made = named_license(&world).await;
    assert_eq!(made["subscription_id"], world.acme.subscription);
    let cancel = format!("/subscriptions/{}/cancel", world.acme.subscription);
    world.post(cancel, json!({})).await.expect(200);
    let path = format!("/deployments/{}/licenses", world.acme.spare_deployment);
    let problem = world.post(path, json!({})).await.invalid("subscription_id");
    let detail = "`subscription_id` is required: the organization has no subscription in force. \
                  Create a subscription first.";
    assert_eq!(problem["detail"], detail);
}

#[on_both]
async fn license_name_metadata_and_tags_are_stored_and_merged(world: World) {
    let made = named_license(&world).await;
    let own = |license: &Value| {
        json!([license["name"], license["metadata"], license["tags"], license["revision"]])
    };
    assert_eq!(own(&made), json!(["Pilot_1 (100%)", {"crm": 4711}, ["emea", "pilot"], 1]));
    let path = format!("/licenses/{}", made["id"].as_str().unwrap());
    let patch = json!({"metadata": {"crm": null, "owner": "anna"}, "tags": []});
    let changed = world.patch(&path, patch).await.expect(200);
    assert_eq!(own(&changed), json!(["Pilot_1 (100%)", {"owner": "anna"}, [], 2]));
    let cleared = world.patch(&path, json!({"name": null})).await.expect(200);
    assert_eq!(own(&cleared), json!([null, {"owner": "anna"}, [], 3]));
    let many: Vec<String> = (0..51).map(|n| format!("t{n}")).collect();
    for (body, field) in [
        (json!({"tags": many}), "tags"),
        (json!({"tags": ["a,b"]}), "tags[0]"),
        (json!({"tags": [""]}), "tags[0]"),
        (json!({"metadata": {"large": "x".repeat(65_536)}}), "metadata"),
    ] {
        world.patch(&path, body).await.invalid(field);
    }
}

#[on_both]
async fn licenses_are_found_by_name_tag_and_end(world: World) {
    let pilot = named_license(&world).await["id"].as_str().unwrap().to_owned();
    let spare = format!("/deployments/{}", world.acme.spare_deployment);
    world.patch(spare, json!({"external_id": "crm-77"})).await.expect(200);
    let own = world.acme.license.as_str();
    for (query, found) in [
        ("q=pilot_1", vec![pilot.as_str()]),
        ("q=PILOT_1%20(100%25", vec![&pilot]),
        ("q=pilot%25", vec![]),
        ("q=ilot", vec![]),
        // The deployment's name, and its `external_id`.
        ("q=mai", vec![own]),
        ("q=crm-77", vec![&pilot]),
        ("q=crm-7", vec![]),
        (&format!("q={pilot}"), vec![&pilot]),
        ("tag=emea", vec![&pilot]),
        ("tag=eme", vec![]),
        ("tag=emea&q=mai", vec![]),
        ("expires_before=2026-07-01T00:00:01Z", vec![&pilot]),
        ("expires_before=2026-07-01T00:00:00Z", vec![]),
        ("expires_after=2026-07-01T00:00:00Z", vec![&pilot, own]),
        ("expires_after=2026-07-01T00:00:01Z", vec![own]),
    ] {
        let path = world.org(&format!("/licenses?{query}"));
        assert_eq!(ids(&world, &path).await, found, "{query}");
    }
    let path = world.org("/licenses?tag=a,b");
    world.get(path).await.invalid("tag");
}

#[on_both]
async fn deployments_and_organizations_are_found_by_name_and_id(world: World) {
    let made = json!({"name": "Lab", "external_id": "d-1", "tags": ["eu"], "metadata": {"a": 1}});
    let made = world.post(world.org("/deployments"), made).await.expect(201);
    assert_eq!((&made["metadata"], &made["tags"]), (&json!({"a": 1}), &json!(["eu"])));
    let lab = made["id"].as_str().unwrap();
    for query in ["q=lab", "q=LAB", "q=d-1", "tag=eu", &format!("q={lab}")] {
        let path = world.org(&format!("/deployments?{query}"));
        assert_eq!(ids(&world, &path).await, [lab], "{query}");
    }
    assert!(ids(&world, &world.org("/deployments?q=labs")).await.is_empty());
    for query in ["q=GLOB", &format!("q={}", world.globex.org)] {
        let found = ids(&world, &format!("/organizations?{query}")).await;
        assert_eq!(found, [world.globex.org.as_str()], "{query}");
    }
    // An organization's own callers find only their own.
    let own = world.by(&world.acme.token);
    let found = own.get("/organizations?q=glob").await.expect(200);
    assert_eq!(found["items"], json!([]));
    let found = own.get("/organizations").await.expect(200);
    assert_eq!(found["items"][0]["id"], world.acme.org);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}

/// Until 1.0 the names before `features` are accepted and returned.
#[on_both]
async fn features_have_their_former_names_too(world: World) {
    let plan = json!({"code": "gold", "name": "Gold", "seat_cap": 2, "default_features": {"a": 1}});
    let plan = world.post("/plans", plan).await.expect(201);
    assert_eq!(
        (&plan["features"], &plan["default_features"]),
        (&json!({"a": 1}), &json!({"a": 1}))
    );
    let patch = json!({"default_features": {"b": 2}});
    let plan = world.patch("/plans/gold", patch).await.expect(200);
    assert_eq!(plan["features"], json!({"a": 1, "b": 2}));
    let path = format!("/subscriptions/{}", world.acme.subscription);
    let patch = json!({"feature_overrides": {"c": 3}});
    let subscription = world.patch(&path, patch).await.expect(200);
    assert_eq!(
        (&subscription["features"], &subscription["feature_overrides"]),
        (&json!({"c": 3}), &json!({"c": 3}))
    );
    let both = json!({"feature_overrides": {}, "features": {}});
    world.patch(&path, both).await.invalid("features");
}
