//! Addresses that refuse mail, beside others that accept it.

use chrono::TimeDelta;
use cp_server::lifecycle::notices::announce;
use serde_json::{Value, json};

use super::mail::{
    STRANGER, addresses, agree, attempts, deliver, endpoint, link, member, reach, with_mail,
};
use super::smtp::{Fault, Smtp};
use super::{alone, id};
use crate::world::{World, on_both};

const BOUNCE: Fault = Fault::Answer("550 5.1.1 no such mailbox");

#[on_both]
async fn bouncing_address_ends_no_notices_of_the_others(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let own = member(&world).await;
    let made = endpoint(&world, &client, &[&own, STRANGER]).await;
    deliver(&world, &app).await;
    agree(&world, "token", &link(&smtp.take()[0]).1).await;
    smtp.fail("RCPT TO:<ops@vendor.example>", BOUNCE);
    for day in 0..12 {
        let mut expected = Vec::new();
        if day < 4 {
            reach(&world, &format!("renders-{day}")).await;
            expected.push(&*own);
        }
        deliver(&world, &app).await;
        assert_eq!(addresses(&smtp.take()), expected, "day {day}: each letter once");
        world.pass(TimeDelta::days(1));
    }
    let shown = client.get(format!("/webhooks/{}", id(&made))).await.expect(200);
    assert_eq!((&shown["status"], &shown["failing_since"]), (&json!("enabled"), &Value::Null));
    let deliveries = client.get(format!("/webhooks/{}/deliveries", id(&made))).await.expect(200);
    let oldest = deliveries["items"].as_array().unwrap().last().unwrap();
    assert_eq!((&oldest["status"], &oldest["attempts"]), (&json!("failed"), &json!(10)));
    let path = format!("/webhook-deliveries/{}", id(oldest));
    let log = client.get(&path).await.expect(200)["log"].as_array().unwrap().clone();
    for one in &log {
        assert_eq!((&one["status"], &one["error"]), (&json!(550), &json!("status")));
        let answer = one["answer"].as_str().unwrap();
        assert!(answer.starts_with("ops@vendor.example: 550 "), "{answer}");
        assert!(answer.contains("no such mailbox") && !answer.contains(&*own), "{answer}");
    }
    // A retry is for the address that has not got the mail.
    smtp.recover();
    client.post(format!("{path}/retry"), json!({})).await.expect(200);
    deliver(&world, &app).await;
    let sent = smtp.take();
    assert!(sent.iter().all(|mail| mail.to == [STRANGER]), "{sent:?}");
    assert_eq!(client.get(&path).await.expect(200)["status"], "delivered");
}

#[on_both]
async fn later_notice_does_not_wait_for_a_bouncing_address(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let own = member(&world).await;
    endpoint(&world, &client, &[&own, STRANGER]).await;
    deliver(&world, &app).await;
    agree(&world, "token", &link(&smtp.take()[0]).1).await;
    smtp.fail("RCPT TO:<ops@vendor.example>", BOUNCE);
    let limit = json!({"metric": "renders", "quantity": 10, "notify_at": [50]});
    world.put(world.org("/limits"), limit).await.expect(201);
    let mut subjects = Vec::new();
    for _ in 0..2 {
        let usage = json!({"metric": "renders", "quantity": 6});
        world.post(world.org("/usage"), usage).await.expect(201);
        world.pass(TimeDelta::minutes(5));
        announce(&world.app).await.unwrap();
        deliver(&world, &app).await;
        let sent = smtp.take();
        assert_eq!(addresses(&sent), [&*own]);
        subjects.push(sent[0].header("Subject").to_owned());
    }
    assert_eq!(subjects[1], "Usage has reached a limit");
    // Both are sent to the other address once it accepts mail.
    smtp.recover();
    for _ in 0..2 {
        world.pass(TimeDelta::hours(1));
        deliver(&world, &app).await;
    }
    assert_eq!(addresses(&smtp.take()), [STRANGER, STRANGER]);
}

#[on_both]
async fn webhook_whose_addresses_all_bounce_is_disabled(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let own = member(&world).await;
    let made = endpoint(&world, &client, &[&own]).await;
    smtp.fail("RCPT", BOUNCE);
    reach(&world, "renders").await;
    for _ in 0..12 {
        deliver(&world, &app).await;
        world.pass(TimeDelta::days(1));
    }
    let shown = client.get(format!("/webhooks/{}", id(&made))).await.expect(200);
    assert_eq!(
        (&shown["status"], &shown["disabled_reason"]),
        (&json!("disabled"), &json!("failing"))
    );
}

#[on_both]
async fn erasure_removes_an_address_from_the_attempts(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let own = member(&world).await;
    let made = endpoint(&world, &client, &[&own, STRANGER]).await;
    deliver(&world, &app).await;
    agree(&world, "token", &link(&smtp.take()[0]).1).await;
    smtp.fail("RCPT", BOUNCE);
    reach(&world, "renders").await;
    deliver(&world, &app).await;
    assert_eq!(attempts(&world, &made).await, [(json!(550), json!("status"))]);
    let deliveries = client.get(format!("/webhooks/{}/deliveries", id(&made))).await.expect(200);
    let path = format!("/webhook-deliveries/{}", id(&deliveries["items"][0]));
    let answer = client.get(&path).await.expect(200)["log"][0]["answer"].clone();
    assert!(answer.as_str().unwrap().contains(&*own), "{answer}");
    world.post("/audit/erasures", json!({"user": world.acme.user})).await.expect(201);
    let answer = client.get(&path).await.expect(200)["log"][0]["answer"].clone();
    assert_eq!(answer, Value::Null);
}
