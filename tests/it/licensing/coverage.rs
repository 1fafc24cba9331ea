//! Whether a license is covered: what ends its tokens, and what restores them.

use chrono::TimeDelta;
use cp_contracts::TokenStatus::{Invalid, Suspended, Valid};
use cp_server::kernel::app::Part;
use cp_server::licensing::status_lists::StatusLists;
use serde_json::{Value, json};

use crate::trust::{issue, status_of};
use crate::world::{World, on_both};

#[on_both]
async fn a_token_of_a_trial_ends_with_the_trial(world: World) {
    let license = trial(&world, "2026-01-04T00:00:00Z").await;
    let bundles = format!("{license}/bundles");
    let bundle = world.post(&bundles, json!({})).await.expect(201);
    assert_eq!(bundle["expires_at"], "2026-01-04T00:00:00Z");
    let longer = json!({"ttl_seconds": 2 * 86_400 + 1});
    let problem = world.post(&bundles, longer).await.invalid("ttl_seconds");
    assert_eq!(
        problem["detail"],
        "`ttl_seconds` must be at most 172800: the license is covered until 2026-01-04T00:00:00Z."
    );
    world.patch(&license, json!({"grace_days": 1})).await.expect(200);
    let bundle = world.post(&bundles, json!({})).await.expect(201);
    assert_eq!(bundle["expires_at"], "2026-01-05T00:00:00Z", "the days of grace count");
    let read = world.get(&license).await.expect(200);
    let until = json!({"covered": true, "reason": null, "until": "2026-01-05T00:00:00Z"});
    assert_eq!(read["coverage"], until);
    world.pass(TimeDelta::days(3));
    let read = world.get(&license).await.expect(200);
    let ended = json!({"covered": false, "reason": "trial_ended", "until": "2026-01-05T00:00:00Z"});
    assert_eq!((&read["coverage"], &read["status"]), (&ended, &json!("expired")));
    let expired = world.get(world.org("/licenses?status=expired")).await.expect(200);
    assert_eq!(expired["items"], json!([read]));
}

#[on_both]
async fn a_trial_that_becomes_a_contract_has_no_end(world: World) {
    let license = trial(&world, "2026-01-04T00:00:00Z").await;
    let subscription = world.get(&license).await.expect(200)["subscription_id"].clone();
    let subscription = format!("/subscriptions/{}", subscription.as_str().unwrap());
    world.patch(subscription, json!({"status": "active"})).await.expect(200);
    let bundle = world.post(format!("{license}/bundles"), json!({})).await.expect(201);
    assert_eq!(bundle["expires_at"], "2026-02-01T00:00:00Z");
    world.pass(TimeDelta::days(3));
    assert_eq!(world.get(&license).await.expect(200)["status"], "active");
}

#[on_both]
async fn end_of_coverage_suspends_live_tokens_until_it_returns(world: World) {
    let anyone = world.anyone();
    let (live, revoked) = (issue(&world, json!({})).await, issue(&world, json!({})).await);
    let foreign = format!("/licenses/{}/bundles", world.globex.license);
    let foreign = world.post(foreign, json!({})).await.expect(201);
    let jti = revoked["jti"].as_str().unwrap();
    world.post(format!("/bundles/{jti}/revoke"), json!({})).await.expect(200);
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    let deployment = format!("/deployments/{}", world.acme.deployment);
    for (path, away, reason) in [
        (&subscription, "canceled", "subscription_canceled"),
        (&subscription, "paused", "subscription_paused"),
        (&subscription, "expired", "subscription_expired"),
        (&deployment, "inactive", "deployment_inactive"),
        (&deployment, "retired", "deployment_inactive"),
        (&world.org(""), "suspended", "organization_suspended"),
    ] {
        world.patch(path, json!({"status": away})).await.expect(200);
        assert_eq!(status_of(&anyone, &live).await, Suspended, "{reason}");
        assert_eq!(status_of(&anyone, &revoked).await, Invalid, "{reason}");
        assert_eq!(status_of(&anyone, &foreign).await, Valid, "{reason}");
        assert_eq!(reported_status(&world, &live).await, "suspended");
        let read = world.get(license(&world)).await.expect(200);
        let coverage = json!({"covered": false, "reason": reason, "until": null});
        assert_eq!((&read["coverage"], &read["status"]), (&coverage, &json!("active")));
        world.patch(path, json!({"status": "active"})).await.expect(200);
        assert_eq!(status_of(&anyone, &live).await, Valid, "{reason}");
        assert_eq!(status_of(&anyone, &revoked).await, Invalid, "{reason}");
        assert_eq!(reported_status(&world, &live).await, "valid");
    }
    let cancel = format!("{subscription}/cancel");
    world.post(cancel, json!({"reason": "chargeback"})).await.expect(200);
    assert_eq!(status_of(&anyone, &live).await, Suspended);
}

#[on_both]
async fn two_causes_end_one_after_the_other(world: World) {
    let anyone = world.anyone();
    let bundle = issue(&world, json!({})).await;
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(&subscription, json!({"status": "paused"})).await.expect(200);
    world.post(license(&world) + "/suspend", json!({})).await.expect(200);
    world.post(license(&world) + "/reinstate", json!({})).await.expect(200);
    assert_eq!(status_of(&anyone, &bundle).await, Suspended, "the subscription is paused");
    world.post(license(&world) + "/suspend", json!({})).await.expect(200);
    world.patch(&subscription, json!({"status": "active"})).await.expect(200);
    assert_eq!(status_of(&anyone, &bundle).await, Suspended, "the license is suspended");
    world.post(license(&world) + "/reinstate", json!({})).await.expect(200);
    assert_eq!(status_of(&anyone, &bundle).await, Valid);
}

#[on_both]
async fn billing_suspends_and_restores_tokens(world: World) {
    let anyone = world.anyone();
    let bundle = issue(&world, json!({})).await;
    for (status, expected) in
        [("paused", Suspended), ("active", Valid), ("canceled", Suspended), ("past_due", Valid)]
    {
        let body = json!({"plan": "team", "status": status});
        world.put(world.org("/billing-account"), body).await.expect(200);
        assert_eq!(status_of(&anyone, &bundle).await, expected, "{status}");
    }
}

#[on_both]
async fn an_end_that_comes_nearer_suspends_at_that_instant_without_a_write(world: World) {
    let anyone = world.anyone();
    let bundle = issue(&world, json!({})).await;
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    let later = json!({"at": "2026-01-04T00:00:00Z"});
    world.post(format!("{subscription}/cancel"), later).await.expect(200);
    let end = json!({"valid_until": "2026-01-03T00:00:00Z", "grace_days": 0});
    world.patch(license(&world), end).await.expect(200);
    assert_eq!(status_of(&anyone, &bundle).await, Valid, "nothing changes before the end");
    let look = async || {
        StatusLists::of(&world.app).refresh(&world.app).await.unwrap();
        status_of(&anyone, &bundle).await
    };
    world.pass(TimeDelta::days(1) - TimeDelta::microseconds(1));
    assert_eq!(look().await, Valid);
    let changes: i64 = world.value("SELECT CAST(SUM(version) AS BIGINT) FROM status_lists").await;
    world.pass(TimeDelta::microseconds(1));
    assert_eq!(look().await, Suspended);
    assert_eq!(reported_status(&world, &bundle).await, "suspended");
    let since: i64 = world.value("SELECT CAST(SUM(version) AS BIGINT) FROM status_lists").await;
    assert_eq!(changes, since);
    let later = json!({"valid_until": "2026-01-04T00:00:00Z"});
    world.post(license(&world) + "/renew", later).await.expect(200);
    assert_eq!(look().await, Valid);
    world.pass(TimeDelta::days(1));
    assert_eq!(look().await, Suspended, "the subscription ends");
    world.patch(subscription, json!({"ends_at": null})).await.expect(200);
    world.patch(license(&world), json!({"valid_until": null})).await.expect(200);
    assert_eq!(look().await, Valid);
}

#[on_both]
async fn a_beginning_that_moves_away_suspends_until_then(world: World) {
    let anyone = world.anyone();
    let bundle = issue(&world, json!({})).await;
    let begin = json!({"valid_from": "2026-01-03T00:00:00Z"});
    world.patch(license(&world), begin).await.expect(200);
    assert_eq!(status_of(&anyone, &bundle).await, Suspended);
    let list = |status: &str| format!("{}/bundles?status={status}", license(&world));
    let of = async |status: &str| {
        world.get(list(status)).await.expect(200)["items"].as_array().unwrap().len()
    };
    let suspended = of("suspended").await;
    assert!(suspended > 0);
    assert_eq!((of("valid").await, of("revoked").await), (0, 0));
    world.pass(TimeDelta::days(1));
    StatusLists::of(&world.app).refresh(&world.app).await.unwrap();
    assert_eq!(status_of(&anyone, &bundle).await, Valid);
    assert_eq!((of("valid").await, of("suspended").await), (suspended, 0));
}

#[on_both]
async fn a_token_is_issued_within_the_days_of_grace(world: World) {
    world.patch(license(&world), json!({"grace_days": 2})).await.expect(200);
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    let end = json!({"ends_at": "2026-01-03T00:00:00Z"});
    let license_end = json!({"valid_until": "2026-01-03T00:00:00Z"});
    world.patch(license(&world), license_end).await.expect(200);
    world.patch(subscription, end).await.expect(200);
    world.pass(TimeDelta::days(2));
    let bundle = issue(&world, json!({})).await;
    assert_eq!(bundle["expires_at"], "2026-01-05T00:00:00Z");
    world.pass(TimeDelta::days(1));
    let refused = world.post(license(&world) + "/bundles", json!({})).await;
    refused.refused(409, "subscription_inactive");
}

#[on_both]
async fn bulk_issuance_is_refused_license_by_license(world: World) {
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(subscription, json!({"status": "paused"})).await.expect(200);
    let body = json!({"ids": [world.acme.license, world.globex.license]});
    let answer = world.post("/licenses/bundles", body).await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["problem"]["code"], "subscription_inactive");
    assert_eq!(lines[1]["ok"], true);
}

async fn trial(world: &World, end: &str) -> String {
    let cancel = format!("/subscriptions/{}/cancel", world.acme.subscription);
    world.post(cancel, json!({})).await.expect(200);
    let trial = json!({"plan_code": "team", "trial_ends_at": end});
    let trial = world.post(world.org("/subscriptions"), trial).await.expect(201);
    let licenses = format!("/deployments/{}/licenses", world.acme.spare_deployment);
    let made = world.post(licenses, json!({"subscription_id": trial["id"]})).await.expect(201);
    format!("/licenses/{}", made["id"].as_str().unwrap())
}

async fn reported_status(world: &World, bundle: &Value) -> String {
    let path = format!("/bundles/{}", bundle["jti"].as_str().unwrap());
    world.get(path).await.expect(200)["status"].as_str().unwrap().to_owned()
}

fn license(world: &World) -> String {
    format!("/licenses/{}", world.acme.license)
}
