//! Sending: each event once, in order, signed, again after a failure.

use chrono::TimeDelta;
use cp_server::webhooks::sending::settle;
use serde_json::{Value, json};

use super::{Receiver, alone, deliver, id, webhook};
use crate::events::{change, place};
use crate::world::{World, on_both};

#[on_both]
async fn event_arrives_signed(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    let body = json!({
        "url": receiver.url, "types": ["organizations.update"],
        "headers": {"Authorization": "Bearer canary-42"}, "include": ["after"],
    });
    let made = world.post(world.org("/webhooks"), body).await.expect(201);
    world.pass(TimeDelta::seconds(5));
    change(&world, "Acme 2").await;
    world.pass(TimeDelta::seconds(2));
    deliver(&world).await;
    let received = receiver.received();
    assert_eq!(received.len(), 1);
    let event =
        world.get("/events?after=-1&limit=500&types=organizations.update").await.expect(200);
    let mut event = event["items"].as_array().unwrap().last().unwrap().clone();
    let after = world.get(world.org("")).await.expect(200);
    event["after"] = after;
    assert_eq!(
        received[0].json(),
        json!({"type": "organizations.update", "timestamp": "2026-01-02T00:00:05Z", "data": event})
    );
    assert_eq!(received[0].path, "/hook");
    assert_eq!(received[0].header("webhook-id"), event["id"]);
    assert_eq!(received[0].header("webhook-timestamp"), "1767312007");
    assert_eq!(received[0].header("content-type"), "application/json");
    assert_eq!(received[0].header("authorization"), "Bearer canary-42");
    assert!(received[0].is_signed_with(made["secret"].as_str().unwrap()));

    let path = format!("/webhooks/{}/deliveries", id(&made));
    let deliveries = world.get(&path).await.expect(200);
    assert_eq!(
        deliveries["items"],
        json!([{
            "id": deliveries["items"][0]["id"], "organization_id": world.acme.org,
            "webhook_id": made["id"], "event_id": event["id"], "seq": event["seq"],
            "type": "organizations.update", "status": "delivered", "attempts": 1,
            "next_attempt_at": null, "created_at": "2026-01-02T00:00:07Z",
            "finished_at": "2026-01-02T00:00:07Z",
        }])
    );
    let path = format!("/webhook-deliveries/{}", id(&deliveries["items"][0]));
    let delivery = world.get(&path).await.expect(200);
    let took = &delivery["log"][0]["duration_ms"];
    assert_eq!(
        delivery["log"],
        json!([{"n": 1, "at": "2026-01-02T00:00:07Z", "duration_ms": took, "status": 204,
                "error": null, "answer": ""}])
    );
    // Nothing is sent twice.
    deliver(&world).await;
    assert_eq!(receiver.received().len(), 1);
}

#[on_both]
async fn both_secrets_sign_until_the_end_of_the_overlap(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    let made = webhook(&world, &receiver.url, &["organizations.*"]).await;
    let path = format!("/webhooks/{}/rotate", id(&made));
    let rotated = world.post(path, json!({"overlap_seconds": 3600})).await.expect(200);
    let (old, new) = (made["secret"].as_str().unwrap(), rotated["secret"].as_str().unwrap());
    change(&world, "Acme 2").await;
    deliver(&world).await;
    let received = receiver.take();
    assert!(received[0].is_signed_with(old) && received[0].is_signed_with(new));
    world.pass(TimeDelta::hours(2));
    change(&world, "Acme 3").await;
    deliver(&world).await;
    let received = receiver.take();
    assert!(!received[0].is_signed_with(old) && received[0].is_signed_with(new));
}

#[on_both]
async fn failed_attempt_is_repeated_with_the_same_id(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    let made = webhook(&world, &receiver.url, &["organizations.*"]).await;
    receiver.answer(500);
    receiver.answer_with(503, "retry-after", "600");
    change(&world, "Acme 2").await;
    deliver(&world).await;
    assert_eq!(receiver.received().len(), 1);
    let shown = world.get(format!("/webhooks/{}", id(&made))).await.expect(200);
    assert_eq!(shown["failing_since"], "2026-01-02T00:00:00Z");
    world.pass(TimeDelta::seconds(3));
    deliver(&world).await;
    assert_eq!(receiver.received().len(), 1, "the first wait is five seconds");
    world.pass(TimeDelta::seconds(4));
    deliver(&world).await;
    assert_eq!(receiver.received().len(), 2);
    // `Retry-After` is longer than the schedule's wait.
    world.pass(TimeDelta::seconds(400));
    deliver(&world).await;
    assert_eq!(receiver.received().len(), 2);
    world.pass(TimeDelta::seconds(201));
    deliver(&world).await;
    let received = receiver.received();
    assert_eq!(received.len(), 3);
    let ids: Vec<&str> = received.iter().map(|one| one.header("webhook-id")).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2]);
    assert_ne!(received[0].header("webhook-timestamp"), received[2].header("webhook-timestamp"));
    let shown = world.get(format!("/webhooks/{}", id(&made))).await.expect(200);
    assert_eq!(shown["failing_since"], Value::Null);
    let deliveries = world.get(format!("/webhooks/{}/deliveries", id(&made))).await.expect(200);
    let path = format!("/webhook-deliveries/{}", id(&deliveries["items"][0]));
    let log = world.get(&path).await.expect(200)["log"].clone();
    let errors: Vec<_> =
        log.as_array().unwrap().iter().map(|one| (&one["status"], &one["error"])).collect();
    let (failed, fine) = (json!("status"), Value::Null);
    assert_eq!(errors, [(&json!(500), &failed), (&json!(503), &failed), (&json!(204), &fine)]);
}

#[on_both]
async fn retry_after_may_be_a_date(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    webhook(&world, &receiver.url, &["organizations.*"]).await;
    receiver.answer_with(503, "retry-after", "Fri, 02 Jan 2026 00:10:00 GMT");
    change(&world, "Acme 2").await;
    deliver(&world).await;
    world.pass(TimeDelta::seconds(599));
    deliver(&world).await;
    assert_eq!(receiver.received().len(), 1);
    world.pass(TimeDelta::seconds(1));
    deliver(&world).await;
    assert_eq!(receiver.received().len(), 2);
}

#[on_both]
async fn events_of_one_object_wait_for_each_other(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    webhook(&world, &receiver.url, &["organizations.update", "workspaces.*"]).await;
    receiver.answer(500);
    for name in ["A", "B", "C"] {
        change(&world, name).await;
    }
    deliver(&world).await;
    assert_eq!(receiver.take().len(), 1, "the first one fails, and the others wait");
    world.post(world.org("/workspaces"), json!({"name": "Lab"})).await.expect(201);
    deliver(&world).await;
    let received = receiver.take();
    assert_eq!(received.len(), 1, "another object does not wait");
    assert_eq!(received[0].json()["type"], "workspaces.create");
    world.pass(TimeDelta::seconds(10));
    deliver(&world).await;
    let seqs: Vec<i64> =
        receiver.take().iter().map(|one| one.json()["data"]["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs.len(), 3);
    assert!(seqs.is_sorted(), "{seqs:?}");
}

#[on_both]
async fn without_an_order_every_event_is_sent_at_once(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    let body = json!({"url": receiver.url, "types": ["organizations.*"], "ordering": "none"});
    let made = world.post(world.org("/webhooks"), body).await.expect(201);
    receiver.answer(500);
    for name in ["A", "B", "C"] {
        change(&world, name).await;
    }
    deliver(&world).await;
    assert_eq!(receiver.take().len(), 3);
    // An order that is given up releases what waits.
    let path = format!("/webhooks/{}", id(&made));
    world.patch(&path, json!({"ordering": "subject"})).await.expect(200);
    receiver.usually(500);
    for name in ["D", "E"] {
        change(&world, name).await;
    }
    world.pass(TimeDelta::seconds(1));
    deliver(&world).await;
    receiver.take();
    receiver.usually(204);
    world.patch(&path, json!({"ordering": "none"})).await.expect(200);
    deliver(&world).await;
    assert!(!receiver.take().is_empty());
}

#[on_both]
async fn ten_failures_in_five_days_disable_the_webhook(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    receiver.usually(500);
    let made = webhook(&world, &receiver.url, &["organizations.update"]).await;
    change(&world, "Acme 2").await;
    let path = format!("/webhooks/{}", id(&made));
    let mut passed = TimeDelta::zero();
    while world.get(&path).await.expect(200)["status"] == "enabled" {
        deliver(&world).await;
        world.pass(TimeDelta::hours(1));
        passed += TimeDelta::hours(1);
        if passed.num_hours() % 10 == 0 {
            change(&world, &format!("Acme {}", passed.num_hours())).await;
        }
        assert!(passed < TimeDelta::days(8));
    }
    assert!(passed >= TimeDelta::days(5), "{passed}");
    let shown = world.get(&path).await.expect(200);
    assert_eq!(shown["disabled_reason"], "failing");
    place(&world).await;
    let events = world.get("/events?after=-1&types=webhooks.disabled").await.expect(200);
    assert_eq!(events["items"][0]["target"], json!({"type": "webhook", "id": made["id"]}));
    assert_eq!(events["items"][0]["organization_id"], world.acme.org);
    assert_eq!(events["items"][0]["actor"]["kind"], "system");
    let skipped = world.get(format!("{path}/deliveries?status=skipped")).await.expect(200);
    assert!(!skipped["items"].as_array().unwrap().is_empty());
    assert_eq!(
        world.get(format!("{path}/deliveries?status=pending")).await.expect(200)["items"],
        json!([])
    );

    // A disabled webhook receives nothing, and continues from now once it is enabled.
    receiver.usually(204);
    receiver.take();
    change(&world, "Skipped").await;
    deliver(&world).await;
    world.post(format!("{path}/test"), json!({})).await.refused(409, "webhook_disabled");
    world.post(format!("{path}/enable"), json!({})).await.expect(200);
    change(&world, "Sent").await;
    deliver(&world).await;
    assert_eq!(receiver.take().len(), 1);
}

#[on_both]
async fn gone_disables_the_webhook_at_once(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    let made = webhook(&world, &receiver.url, &["organizations.*"]).await;
    receiver.answer(410);
    change(&world, "Acme 2").await;
    change(&world, "Acme 3").await;
    deliver(&world).await;
    assert_eq!(receiver.received().len(), 1);
    let shown = world.get(format!("/webhooks/{}", id(&made))).await.expect(200);
    assert_eq!((&shown["status"], &shown["disabled_reason"]), (&json!("disabled"), &json!("gone")));
}

#[on_both]
async fn redirects_are_not_followed(world: World) {
    alone(&world).await;
    let (receiver, inside) = (Receiver::start().await, Receiver::start().await);
    let made = webhook(&world, &receiver.url, &["organizations.*"]).await;
    receiver.answer_with(301, "location", &inside.url);
    change(&world, "Acme 2").await;
    deliver(&world).await;
    assert!(inside.received().is_empty());
    let deliveries = world.get(format!("/webhooks/{}/deliveries", id(&made))).await.expect(200);
    let path = format!("/webhook-deliveries/{}", id(&deliveries["items"][0]));
    let log = world.get(&path).await.expect(200)["log"].clone();
    assert_eq!((&log[0]["status"], &log[0]["error"]), (&json!(301), &json!("redirect")));
}

#[on_both]
async fn change_that_is_refused_is_never_sent(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    webhook(&world, &receiver.url, &["organizations.*"]).await;
    let slug = json!({"slug": world.globex.slug});
    world.patch(world.org(""), slug).await.refused(409, "slug_taken");
    deliver(&world).await;
    assert!(receiver.received().is_empty());
}

#[on_both]
async fn claim_of_a_replica_that_ended_passes_to_another(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    webhook(&world, &receiver.url, &["organizations.*"]).await;
    change(&world, "Acme 2").await;
    place(&world).await;
    let (other, _) = world.replica().await;
    // The replica ends after the receiver has the request, and before the result is stored.
    let sending = tokio::spawn({
        let app = world.app.clone();
        async move { settle(&app).await }
    });
    while receiver.received().is_empty() {
        tokio::task::yield_now().await;
    }
    sending.abort();
    let _ = sending.await;
    let is_stored = world.value::<i64>("SELECT COUNT(*) FROM webhook_attempts").await > 0;
    settle(&other).await.unwrap();
    assert_eq!(receiver.received().len(), 1, "the claim lasts a minute");
    world.pass(TimeDelta::seconds(61));
    settle(&other).await.unwrap();
    let received = receiver.received();
    assert_eq!(received.len(), if is_stored { 1 } else { 2 });
    assert_eq!(received[0].header("webhook-id"), received.last().unwrap().header("webhook-id"));
}

#[on_both]
async fn test_sends_one_event_at_once(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    let made = webhook(&world, &receiver.url, &["licenses.*"]).await;
    let path = format!("/webhooks/{}/test", id(&made));
    world.pass(TimeDelta::milliseconds(1));
    let tested = world.post(&path, json!({})).await.expect(200);
    assert_eq!((&tested["status"], &tested["error"]), (&json!(204), &Value::Null));
    let received = receiver.take();
    assert_eq!(received[0].json()["type"], "webhooks.test");
    assert!(received[0].is_signed_with(made["secret"].as_str().unwrap()));
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!((&event["action"], &event["target_id"]), (&json!("webhooks.test"), &made["id"]));
    receiver.answer(500);
    let tested = world.post(&path, json!({})).await.expect(200);
    assert_eq!((&tested["status"], &tested["error"]), (&json!(500), &json!("status")));
}
