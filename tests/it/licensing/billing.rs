use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn the_billing_account_is_the_subscription_seen_by_billing(world: World) {
    let account = world.get(world.org("/billing-account")).await.expect(200);
    let created_at = account["created_at"].clone();
    let expected = json!({
        "organization_id": "<acme's org>", "subscription_id": "<acme's subscription>",
        "plan": "team", "plan_code": "team", "plan_version": 1, "billing_customer_id": null,
        "status": "active", "created_at": created_at, "updated_at": created_at,
    });
    assert_eq!(world.named(&account), expected);
    let set = put(&world, json!({"plan": "Enterprise", "billing_customer_id": "cus_1"})).await;
    assert_eq!(
        world.named(&set),
        json!({
            "organization_id": "<acme's org>", "subscription_id": "<acme's subscription>",
            "plan": "Enterprise", "plan_code": "enterprise", "plan_version": 1,
            "billing_customer_id": "cus_1", "status": "active", "created_at": created_at,
            "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    assert_eq!(world.get(world.org("/billing-account")).await.expect(200), set);
    let subscription = subscription(&world).await;
    assert_eq!(subscription["plan_code"], "enterprise");
    assert_eq!(subscription["seat_cap"], 1000, "another plan brings its seats");
    let quotas = world.get(world.org("/quotas")).await.expect(200);
    assert_eq!(quotas["quotas"]["projects"]["limit"], Value::Null);
    let events = world.get(world.org("/audit?action=billing_account.put")).await.expect(200);
    let event = &events["items"][0];
    assert_eq!((&event["before"], &event["after"]), (&account, &set));
    let replaced = put(&world, json!({"plan": "enterprise"})).await;
    assert_eq!(replaced["billing_customer_id"], Value::Null, "all of it is replaced");
}

#[on_both]
async fn billing_sets_a_status_outright(world: World) {
    let changes = ["paused", "expired", "trialing", "canceled", "past_due", "expired", "active"];
    for status in changes {
        world.pass(TimeDelta::hours(1));
        let set = put(&world, json!({"plan": "team", "status": status})).await;
        assert_eq!(set["status"], status);
        let subscription = subscription(&world).await;
        assert_eq!(subscription["status"], status);
        assert_eq!(subscription["canceled_at"].is_string(), status == "canceled");
    }
    let cancel = format!("/subscriptions/{}/cancel", world.acme.subscription);
    world.post(cancel, json!({"at": "2026-01-03T00:00:00Z"})).await.expect(200);
    world.pass(TimeDelta::days(9));
    put(&world, json!({"plan": "team"})).await;
    let subscription = subscription(&world).await;
    assert_eq!(subscription["ends_at"], Value::Null, "what billing says is active goes on");
    world
        .put(world.org("/billing-account"), json!({"plan": "team", "status": "late"}))
        .await
        .invalid("status");
}

#[on_both]
async fn a_plan_that_there_is_not_is_made_as_a_private_one(world: World) {
    let set = put(&world, json!({"plan": "Gold (yearly)"})).await;
    assert_eq!(set["plan"], "Gold (yearly)");
    assert_eq!(set["plan_code"], "billing-gold-yearly-249fb022adfa");
    assert_eq!(subscription(&world).await["seat_cap"], 20, "it says nothing of seats");
    let code = set["plan_code"].as_str().unwrap();
    let plan = world.get(format!("/plans/{code}")).await.expect(200);
    assert_eq!(
        (&plan["name"], &plan["is_public"], &plan["features"], &plan["limits"]),
        (&json!("Gold (yearly)"), &json!(false), &json!({}), &json!({}))
    );
    let events = world.get("/audit?action=plans.create&limit=1").await.expect(200);
    assert_eq!(events["items"][0]["after"]["code"], code);
    world.by(&world.acme.token).get(format!("/plans/{code}")).await.refused(404, "not_found");

    // The vendor says later what it grants; billing names it again, and gets that version.
    world.patch(format!("/plans/{code}"), json!({"limits": {"projects": 7}})).await.expect(200);
    let again = put(&world, json!({"plan": "Gold (yearly)"})).await;
    assert_eq!((&again["plan_code"], &again["plan_version"]), (&json!(code), &json!(2)));
    let quotas = world.get(world.org("/quotas")).await.expect(200);
    assert_eq!(quotas["quotas"]["projects"]["limit"], 7);
    let plans: i64 = world.value("SELECT COUNT(*) FROM plans WHERE code LIKE 'billing-%'").await;
    assert_eq!(plans, 1);

    // A change of plan elsewhere takes the name along.
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(subscription, json!({"plan_code": "team"})).await.expect(200);
    assert_eq!(world.get(world.org("/billing-account")).await.expect(200)["plan"], "team");
    for plan in ["", &"x".repeat(256)] {
        world.put(world.org("/billing-account"), json!({"plan": plan})).await.invalid("plan");
    }
}

#[on_both]
async fn an_alias_is_the_plan_that_it_stands_for(world: World) {
    let set = put(&world, json!({"plan": "pro"})).await;
    assert_eq!((&set["plan"], &set["plan_code"]), (&json!("pro"), &json!("professional")));
}

#[on_both]
async fn an_owner_does_not_choose_what_is_paid_for(world: World) {
    let caller = world.with_only(&["billing:read", "subscriptions:read"]).await;
    caller.get(world.org("/billing-account")).await.expect(200);
    let body = json!({"plan": "enterprise"});
    let problem = caller.put(world.org("/billing-account"), body).await.refused(403, "forbidden");
    assert_eq!(problem["permission"], "billing:write");
}

async fn put(world: &World, body: Value) -> Value {
    world.put(world.org("/billing-account"), body).await.expect(200)
}

async fn subscription(world: &World) -> Value {
    world.get(format!("/subscriptions/{}", world.acme.subscription)).await.expect(200)
}
