use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn a_license_explains_what_it_grants(world: World) {
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    let overrides = json!({"features": {"exports_enabled": false, "sso": true}});
    world.patch(subscription, overrides).await.expect(200);
    let body = json!({
        "subscription_id": world.acme.subscription, "seat_cap": 3, "grace_days": 5,
        "features": {"sso": "saml", "theme": {"dark": true}},
        "valid_until": "2026-07-01T00:00:00Z",
    });
    let made = world.post(spare(&world), body).await.expect(201);
    let from = |value: Value, level: &str| json!({"value": value, "from": level});
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>",
            "deployment_id": "<acme's spare deployment>", "deployment_name": "edge",
            "subscription_id": "<acme's subscription>", "name": null,
            "status": "active", "status_reason": null,
            "coverage": {"covered": true, "reason": null, "until": "2026-07-06T00:00:00Z"},
            "seat_cap": 3, "allow_more_seats": false,
            "features": {"sso": "saml", "theme": {"dark": true}},
            "valid_from": "2026-01-02T00:00:00Z", "valid_until": "2026-07-01T00:00:00Z",
            "grace_days": 5, "leasing": {}, "token_ttl_seconds": null,
            "effective": {
                "seat_cap": {"value": 3, "from": "license"},
                "features": {
                    "alerts_enabled": from(json!(true), "plan"),
                    "exports_enabled": from(json!(false), "subscription"),
                    "max_dashboards_per_workspace": from(json!(100), "plan"),
                    "max_users_per_organization": from(json!(20), "plan"),
                    "max_workspaces": from(json!(10), "plan"),
                    "sso": from(json!("saml"), "license"),
                    "theme": from(json!({"dark": true}), "license"),
                },
                "leasing": {"seats": {
                    "kind": from(json!("seat"), "default"),
                    "cap": from(json!(3), "license"),
                    "ttl_seconds": from(json!(null), "default"),
                    "overage": from(json!("never"), "default"),
                    "borrow_seconds": from(json!(0), "default"),
                    "early_return": from(json!(false), "default"),
                    "reassign_seconds": from(json!(0), "default"),
                    "take_over": from(json!("refuse"), "default"),
                    "notify_at": from(json!([90]), "default"),
                }},
                "token_ttl_seconds": {"value": 2_592_000, "from": "default"},
            },
            "key_id": null, "bundle_hash": null, "metadata": {}, "tags": [], "revision": 1,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let own = world.get(license(&world, "")).await.expect(200);
    assert_eq!(own["effective"]["seat_cap"], json!({"value": 20, "from": "subscription"}));
}

#[on_both]
async fn a_deployment_has_one_live_license_of_a_subscription(world: World) {
    let path = format!("/deployments/{}/licenses", world.acme.deployment);
    let body = json!({"subscription_id": world.acme.subscription});
    world.post(&path, body.clone()).await.refused(409, "license_exists");
    world.post(license(&world, "/revoke"), json!({})).await.expect(200);
    world.post(&path, body).await.expect(201);
}

#[on_both]
async fn another_organizations_subscription_does_not_exist(world: World) {
    for subscription in [&world.globex.subscription, &world.globex.license] {
        let body = json!({"subscription_id": subscription});
        let problem = world.post(spare(&world), body).await.refused(404, "not_found");
        assert_eq!(problem["detail"], "subscription not found");
    }
}

#[on_both]
async fn more_seats_than_subscribed_are_said_aloud(world: World) {
    let body = |seats: i64| json!({"subscription_id": world.acme.subscription, "seat_cap": seats});
    world.post(spare(&world), body(21)).await.invalid("seat_cap");
    world.post(spare(&world), body(0)).await.invalid("seat_cap");
    let mut allowed = body(21);
    allowed["allow_more_seats"] = true.into();
    let made = world.post(spare(&world), allowed).await.expect(201);
    assert_eq!(made["effective"]["seat_cap"], json!({"value": 21, "from": "license"}));
    let path = license(&world, "");
    world.patch(&path, json!({"seat_cap": 21})).await.invalid("seat_cap");
    world.patch(&path, json!({"seat_cap": 20})).await.expect(200);
    let cleared = world.patch(&path, json!({"seat_cap": null})).await.expect(200);
    assert_eq!(cleared["effective"]["seat_cap"]["from"], "subscription");
}

#[on_both]
async fn a_license_ends_with_its_subscription_at_the_latest(world: World) {
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    let end = json!({"ends_at": "2026-06-01T00:00:00Z"});
    world.patch(subscription, end).await.expect(200);
    let body = |until: Value| {
        json!({
            "subscription_id": world.acme.subscription, "valid_until": until,
        })
    };
    let late = json!("2026-06-01T00:00:00.000001Z");
    world.post(spare(&world), body(late)).await.invalid("valid_until");
    let early = json!("2026-01-02T00:00:00Z");
    world.post(spare(&world), body(early)).await.invalid("valid_until");
    let made = world.post(spare(&world), body(Value::Null)).await.expect(201);
    assert_eq!(made["valid_until"], "2026-06-01T00:00:00Z", "the subscription's, when absent");
    let path = format!("/licenses/{}", made["id"].as_str().unwrap());
    world.patch(&path, json!({"valid_until": null})).await.invalid("valid_until");
    let renewal = json!({"valid_until": "2026-06-02T00:00:00Z"});
    world.post(format!("{path}/renew"), renewal).await.invalid("valid_until");
}

#[on_both]
async fn license_under_a_shortened_subscription_can_be_changed(world: World) {
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    for end in ["2026-06-01T00:00:00Z", "2026-05-01T00:00:00Z"] {
        world.patch(&subscription, json!({"ends_at": end})).await.expect(200);
        for patch in [json!({"name": end}), json!({"grace_days": 3}), json!({"tags": [&end[..7]]})]
        {
            world.patch(license(&world, ""), patch).await.expect(200);
        }
        let late = json!({"valid_until": "2026-06-02T00:00:00Z"});
        world.patch(license(&world, ""), late).await.invalid("valid_until");
        let until = json!({"valid_until": "2026-05-01T00:00:00Z"});
        world.patch(license(&world, ""), until).await.expect(200);
    }
}

#[on_both]
async fn renewal_does_not_shorten_a_license(world: World) {
    let until = |end: &str| json!({"valid_until": end});
    let renew = license(&world, "/renew");
    world.post(&renew, until("2028-01-01T00:00:00Z")).await.expect(200);
    world.post(&renew, until("2027-01-01T00:00:00Z")).await.invalid("valid_until");
    let again = world.post(&renew, until("2028-01-01T00:00:00Z")).await.expect(200);
    assert_eq!(again["valid_until"], "2028-01-01T00:00:00Z");
    world.patch(license(&world, ""), until("2027-01-01T00:00:00Z")).await.expect(200);
}

#[on_both]
async fn suspended_and_reinstated_with_its_bundles(world: World) {
    let why = json!({"reason": "unpaid"});
    let suspended = world.post(license(&world, "/suspend"), why).await.expect(200);
    assert_eq!(
        (&suspended["status"], &suspended["status_reason"]),
        (&json!("suspended"), &json!("unpaid"))
    );
    assert_eq!(bundle_status(&world).await, "suspended");
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(event["reason"], "unpaid");
    assert_eq!(
        (&event["before"]["status"], &event["after"]["status"]),
        (&json!("active"), &json!("suspended"))
    );
    let back = world.post(license(&world, "/reinstate"), json!({})).await.expect(200);
    assert_eq!((&back["status"], &back["status_reason"]), (&json!("active"), &Value::Null));
    assert_eq!(bundle_status(&world).await, "valid");
}

#[on_both]
async fn a_revoked_license_stays_revoked_and_readable(world: World) {
    let why = json!({"reason": "chargeback"});
    world.post(license(&world, "/revoke"), why).await.expect(200);
    assert_eq!(bundle_status(&world).await, "revoked");
    for (action, body) in [
        ("/suspend", json!({})),
        ("/reinstate", json!({})),
        ("/renew", json!({"valid_until": "2027-01-01T00:00:00Z"})),
        ("/transfer", json!({"deployment_id": world.acme.spare_deployment})),
    ] {
        world.post(license(&world, action), body).await.refused(409, "license_revoked");
    }
    let patch = json!({"grace_days": 1});
    world.patch(license(&world, ""), patch).await.refused(409, "license_revoked");
    let read = world.get(license(&world, "")).await.expect(200);
    assert_eq!(
        (&read["status"], &read["status_reason"]),
        (&json!("revoked"), &json!("chargeback"))
    );
    world.delete(license(&world, "")).await.refused(405, "method_not_allowed");
}

#[on_both]
async fn expired_is_computed_from_the_end_and_the_grace(world: World) {
    let patch = json!({"valid_until": "2026-01-03T00:00:00Z", "grace_days": 1});
    world.patch(license(&world, ""), patch).await.expect(200);
    let status = async || {
        let license = world.get(license(&world, "")).await.expect(200);
        license["status"].as_str().unwrap().to_owned()
    };
    world.pass(TimeDelta::days(2) - TimeDelta::microseconds(1));
    assert_eq!(status().await, "active", "the days of grace are not over");
    assert_eq!(listed(&world, "expired").await, 0);
    assert_eq!(listed(&world, "active").await, 1);
    world.pass(TimeDelta::microseconds(1));
    assert_eq!(status().await, "expired");
    assert_eq!(listed(&world, "expired").await, 1);
    assert_eq!(listed(&world, "active").await, 0);
    let renewal = json!({"valid_until": "2026-01-04T00:00:00Z"});
    world.post(license(&world, "/renew"), renewal).await.invalid("valid_until");
    let renewal = json!({"valid_until": "2026-02-01T00:00:00Z"});
    let renewed = world.post(license(&world, "/renew"), renewal).await.expect(200);
    assert_eq!(renewed["status"], "active");
}

#[on_both]
async fn a_transferred_license_leaves_its_old_bundles_behind(world: World) {
    let to = |deployment: &str| json!({"deployment_id": deployment, "reason": "new hardware"});
    let foreign = world.post(license(&world, "/transfer"), to(&world.globex.deployment)).await;
    assert_eq!(foreign.refused(404, "not_found")["field"], "deployment_id");
    let missing = to("01900000-0000-7000-8000-000000000000");
    world.post(license(&world, "/transfer"), missing).await.refused(404, "not_found");
    assert_eq!(bundle_status(&world).await, "valid", "nothing happened yet");
    let moved = world.post(license(&world, "/transfer"), to(&world.acme.spare_deployment)).await;
    assert_eq!(moved.expect(200)["deployment_id"], world.acme.spare_deployment);
    assert_eq!(bundle_status(&world).await, "revoked");
    let bundle = world.post(license(&world, "/bundles"), json!({})).await.expect(201);
    assert_eq!(bundle["payload"]["sub"], world.acme.spare_deployment);
    // A repeated transfer keeps the new token.
    let again = world.post(license(&world, "/transfer"), to(&world.acme.spare_deployment)).await;
    assert_eq!(again.expect(200)["deployment_id"], world.acme.spare_deployment);
    let path = format!("/bundles/{}", bundle["jti"].as_str().unwrap());
    assert_eq!(world.get(path).await.expect(200)["status"], "valid");
}

#[on_both]
async fn licenses_are_listed_by_place_and_status(world: World) {
    let by = world.org(&format!("/licenses?deployment={}", world.acme.deployment));
    assert_eq!(world.get(by).await.expect(200)["items"].as_array().unwrap().len(), 1);
    let by = world.org(&format!("/licenses?deployment={}", world.acme.spare_deployment));
    assert_eq!(world.get(by).await.expect(200)["items"], json!([]));
    let all = world.get("/licenses").await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
}

fn license(world: &World, action: &str) -> String {
    format!("/licenses/{}{action}", world.acme.license)
}

fn spare(world: &World) -> String {
    format!("/deployments/{}/licenses", world.acme.spare_deployment)
}

async fn bundle_status(world: &World) -> String {
    let bundle = world.get(format!("/bundles/{}", world.acme.bundle)).await.expect(200);
    bundle["status"].as_str().unwrap().to_owned()
}

async fn listed(world: &World, status: &str) -> usize {
    let list = world.get(world.org(&format!("/licenses?status={status}"))).await.expect(200);
    list["items"].as_array().unwrap().len()
}
