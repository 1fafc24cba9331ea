use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{World, on_both};

/// Every legal change of status; all others are refused.
const CHANGES: [(&str, &[&str]); 6] = [
    ("trialing", &["active", "past_due", "paused", "canceled", "expired"]),
    ("active", &["past_due", "paused", "canceled", "expired"]),
    ("past_due", &["active", "paused", "canceled", "expired"]),
    ("paused", &["active", "past_due", "canceled", "expired"]),
    ("canceled", &["active", "expired"]),
    ("expired", &["active"]),
];

#[on_both]
async fn a_subscription_takes_its_seats_from_the_plan(world: World) {
    world.post(cancel(&world), json!({})).await.expect(200);
    let body = json!({
        "plan_code": "enterprise", "external_id": "sub_1", "billing_email": "pay@acme.example",
        "currency": "eur", "next_invoice_amount": 9900, "features": {"sso": true},
        "ends_at": "2027-01-01T00:00:00Z",
    });
    let made = world.post(world.org("/subscriptions"), body).await.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "plan_code": "enterprise",
            "plan_version": 1, "status": "active", "seat_cap": 1000, "seats_from_plan": true,
            "features": {"sso": true}, "feature_overrides": {"sso": true}, "starts_at": "2026-01-02T00:00:00Z",
            "ends_at": "2027-01-01T00:00:00Z", "trial_ends_at": null, "canceled_at": null,
            "external_id": "sub_1", "billing_customer_id": null,
            "billing_email": "pay@acme.example", "currency": "EUR",
            "next_invoice_amount": 9900, "leasing": {}, "token_ttl_seconds": null,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let found = world.get(world.org("/subscriptions?external_id=sub_1")).await.expect(200);
    assert_eq!(found["items"], json!([made]));
    let body = json!({"plan_code": "internal"});
    world.post(world.org("/subscriptions"), body).await.invalid("seat_cap");
    let body = json!({"plan_code": "nope"});
    let problem = world.post(world.org("/subscriptions"), body).await.refused(404, "not_found");
    assert_eq!(problem["field"], "plan_code");
}

#[on_both]
async fn one_subscription_at_a_time_is_live(world: World) {
    let another = json!({"plan_code": "free"});
    for status in ["active", "trialing", "past_due", "paused"] {
        let mut another = another.clone();
        another["status"] = status.into();
        let answer = world.post(world.org("/subscriptions"), another).await;
        answer.refused(409, "subscription_exists");
    }
    let over = json!({"plan_code": "free", "status": "expired"});
    let over = world.post(world.org("/subscriptions"), over).await.expect(201);
    let over = format!("/subscriptions/{}", over["id"].as_str().unwrap());
    let revive = json!({"status": "active"});
    world.patch(&over, revive.clone()).await.refused(409, "subscription_exists");
    world.post(cancel(&world), json!({})).await.expect(200);
    world.patch(&over, revive).await.expect(200);
}

#[on_both]
async fn a_status_changes_as_the_table_says(world: World) {
    world.post(cancel(&world), json!({})).await.expect(200);
    for (from, legal) in CHANGES {
        for (to, _) in CHANGES {
            let made = json!({"plan_code": "free", "status": from});
            let made = world.post(world.org("/subscriptions"), made).await.expect(201);
            let path = format!("/subscriptions/{}", made["id"].as_str().unwrap());
            let answer = world.patch(&path, json!({"status": to})).await;
            if from == to || legal.contains(&to) {
                assert_eq!(answer.expect(200)["status"], to);
            } else {
                let problem = answer.refused(409, "status_change_refused");
                assert_eq!(problem["field"], "status", "{from} to {to}");
            }
            let end = json!({"status": "expired"});
            world.patch(&path, end).await.expect(200);
        }
    }
}

#[on_both]
async fn dates_make_sense_together(world: World) {
    let path = format!("/subscriptions/{}", world.acme.subscription);
    for (patch, field) in [
        (json!({"ends_at": "2025-01-01T00:00:00Z"}), "ends_at"),
        (
            json!({"starts_at": "2027-01-01T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z"}),
            "ends_at",
        ),
        (
            json!({"ends_at": "2027-01-01T00:00:00Z", "trial_ends_at": "2027-01-01T00:00:01Z"}),
            "trial_ends_at",
        ),
        (json!({"seat_cap": 0}), "seat_cap"),
        (json!({"next_invoice_amount": -1}), "next_invoice_amount"),
        (json!({"next_invoice_amount": 1.5}), "next_invoice_amount"),
        (json!({"currency": "euro"}), "currency"),
        (json!({"starts_at": "yesterday"}), "starts_at"),
    ] {
        world.patch(&path, patch).await.invalid(field);
    }
    let patch = json!({"ends_at": "2027-01-01T01:00:00+01:00"});
    let changed = world.patch(&path, patch).await.expect(200);
    assert_eq!(changed["ends_at"], "2027-01-01T00:00:00Z", "times are returned in UTC");
    let cleared = world.patch(&path, json!({"ends_at": null})).await.expect(200);
    assert_eq!(cleared["ends_at"], Value::Null);
}

#[on_both]
async fn a_trial_is_one_by_its_end(world: World) {
    world.post(cancel(&world), json!({})).await.expect(200);
    let body = json!({"plan_code": "free", "trial_ends_at": "2026-02-01T00:00:00Z"});
    let made = world.post(world.org("/subscriptions"), body).await.expect(201);
    assert_eq!(made["status"], "trialing");
}

#[on_both]
async fn a_cancellation_is_now_or_later(world: World) {
    let path = format!("/subscriptions/{}", world.acme.subscription);
    let early = json!({"at": "2025-01-01T00:00:00Z"});
    world.post(cancel(&world), early).await.invalid("at");
    let later = json!({"at": "2026-03-01T00:00:00Z", "reason": "too expensive"});
    let later = world.post(cancel(&world), later).await.expect(200);
    assert_eq!(later["status"], "active");
    assert_eq!(later["ends_at"], "2026-03-01T00:00:00Z");
    assert_eq!(later["canceled_at"], "2026-01-02T00:00:00Z");
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(event["reason"], "too expensive");
    assert_eq!(event["before"]["ends_at"], Value::Null);
    world.pass(TimeDelta::hours(1));
    let now = world.post(cancel(&world), json!({})).await.expect(200);
    assert_eq!(now["status"], "canceled");
    let back = world.patch(&path, json!({"status": "active"})).await.expect(200);
    assert_eq!(back["canceled_at"], Value::Null, "who comes back has not canceled");
}

#[on_both]
async fn another_organizations_plan_change_stays_apart(world: World) {
    let path = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(&path, json!({"plan_code": "enterprise"})).await.expect(200);
    let other = format!("/subscriptions/{}", world.globex.subscription);
    assert_eq!(world.get(other).await.expect(200)["plan_code"], "team");
}

fn cancel(world: &World) -> String {
    format!("/subscriptions/{}/cancel", world.acme.subscription)
}
