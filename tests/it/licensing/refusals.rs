//! Why a token is not issued, in the order in which the server reports the reasons.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{World, on_both};

/// An obstacle, in the order of the reports: the code, and the requests that create and remove it.
struct Obstacle {
    code: &'static str,
    raise: fn(&World) -> Change,
    lift: fn(&World) -> Change,
}

/// A request that must succeed: a PATCH, or a POST when there is no body to patch with.
type Change = (String, Value);

const OBSTACLES: [Obstacle; 4] = [
    Obstacle {
        code: "organization_suspended",
        raise: |w| (w.org(""), json!({"status": "suspended"})),
        lift: |w| (w.org(""), json!({"status": "active"})),
    },
    Obstacle {
        code: "deployment_inactive",
        raise: |w| (deployment(w), json!({"status": "inactive"})),
        lift: |w| (deployment(w), json!({"status": "active"})),
    },
    Obstacle {
        code: "subscription_inactive",
        raise: |w| (subscription(w), json!({"status": "paused"})),
        lift: |w| (subscription(w), json!({"status": "active"})),
    },
    Obstacle {
        code: "license_suspended",
        raise: |w| (license(w) + "/suspend", Value::Null),
        lift: |w| (license(w) + "/reinstate", Value::Null),
    },
];

#[on_both]
async fn refusals_are_reported_in_order(world: World) {
    // The license has ended: the last reason is true throughout.
    let end = json!({
        "valid_from": "2026-01-01T00:00:00Z", "valid_until": "2026-01-02T00:00:01Z",
    });
    world.patch(license(&world), end).await.expect(200);
    world.pass(TimeDelta::seconds(1));
    for obstacle in OBSTACLES.iter().rev() {
        make(&world, (obstacle.raise)(&world)).await;
        issue(&world).await.refused(409, obstacle.code);
    }
    for obstacle in &OBSTACLES {
        issue(&world).await.refused(409, obstacle.code);
        make(&world, (obstacle.lift)(&world)).await;
    }
    issue(&world).await.refused(409, "license_expired");
    let renewal = json!({"valid_until": "2026-06-01T00:00:00Z"});
    world.post(license(&world) + "/renew", renewal).await.expect(200);
    issue(&world).await.expect(201);
}

#[on_both]
async fn revoked_comes_before_expired_and_after_the_subscription(world: World) {
    make(&world, (license(&world) + "/revoke", Value::Null)).await;
    issue(&world).await.refused(409, "license_revoked");
    make(&world, (subscription(&world), json!({"status": "canceled"}))).await;
    issue(&world).await.refused(409, "subscription_inactive");
}

#[on_both]
async fn a_license_is_not_issued_before_it_begins(world: World) {
    let later = json!({"valid_from": "2026-01-03T00:00:00Z"});
    world.patch(license(&world), later).await.expect(200);
    issue(&world).await.refused(409, "license_not_yet_valid");
    world.pass(TimeDelta::days(1));
    issue(&world).await.expect(201);
}

#[on_both]
async fn a_subscription_entitles_by_status_and_dates(world: World) {
    for (status, entitles) in
        [("past_due", true), ("paused", false), ("active", true), ("expired", false)]
    {
        make(&world, (subscription(&world), json!({"status": status}))).await;
        let answer = issue(&world).await;
        if entitles {
            answer.expect(201);
        } else {
            answer.refused(409, "subscription_inactive");
        }
    }
    let ended = json!({"status": "active", "ends_at": "2026-01-02T00:00:00Z"});
    make(&world, (subscription(&world), ended)).await;
    issue(&world).await.refused(409, "subscription_inactive");
    let not_begun = json!({"ends_at": null, "starts_at": "2026-01-03T00:00:00Z"});
    make(&world, (subscription(&world), not_begun)).await;
    issue(&world).await.refused(409, "subscription_inactive");
}

#[on_both]
async fn trial_entitles_until_its_end(world: World) {
    make(&world, (subscription(&world), json!({"status": "canceled"}))).await;
    let trial = json!({"plan_code": "free", "trial_ends_at": "2026-01-03T00:00:00Z"});
    let trial = world.post(world.org("/subscriptions"), trial).await.expect(201);
    let licenses = format!("/deployments/{}/licenses", world.acme.deployment);
    let made = world.post(licenses, json!({"subscription_id": trial["id"]})).await.expect(201);
    let bundles = format!("/licenses/{}/bundles", made["id"].as_str().unwrap());
    world.post(&bundles, json!({})).await.expect(201);
    world.pass(TimeDelta::days(1));
    world.post(&bundles, json!({})).await.refused(409, "subscription_inactive");
}

#[on_both]
async fn every_deployment_that_is_not_active_is_refused(world: World) {
    for status in ["inactive", "retired"] {
        make(&world, (deployment(&world), json!({"status": status}))).await;
        issue(&world).await.refused(409, "deployment_inactive");
    }
}

async fn make(world: &World, (path, body): Change) {
    let answer = match body {
        Value::Null => world.post(path, json!({})).await,
        body => world.patch(path, body).await,
    };
    answer.expect(200);
}

async fn issue(world: &World) -> crate::world::Answer {
    world.post(license(world) + "/bundles", json!({})).await
}

fn license(world: &World) -> String {
    format!("/licenses/{}", world.acme.license)
}

fn deployment(world: &World) -> String {
    format!("/deployments/{}", world.acme.deployment)
}

fn subscription(world: &World) -> String {
    format!("/subscriptions/{}", world.acme.subscription)
}
