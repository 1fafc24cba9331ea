//! Addresses that belong to no member: how many are asked, how often, and what their agreement counts for.

use std::ops::Range;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::mail::{STRANGER, addresses, agree, deliver, endpoint, link, member, reach, with_mail};
use super::smtp::Smtp;
use super::{alone, id};
use crate::events::place;
use crate::world::{Client, World, on_both};

fn strangers(numbers: Range<usize>) -> Value {
    numbers.map(|n| format!("a{n}@b.example")).collect()
}

async fn unconfirmed(client: &Client, webhook: &Value) -> Value {
    let path = format!("/webhooks/{}", id(webhook));
    client.get(path).await.expect(200)["unconfirmed"].clone()
}

#[on_both]
async fn organization_asks_at_most_20_addresses_a_day(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let new = |emails: Value| json!({"emails": emails, "types": ["limits.near"]});
    let made = client.post(world.org("/webhooks"), new(strangers(0..9))).await.expect(201);
    let path = format!("/webhooks/{}", id(&made));
    deliver(&world, &app).await;
    client.patch(&path, json!({"emails": strangers(9..18)})).await.expect(200);
    deliver(&world, &app).await;
    assert_eq!(smtp.take().len(), 18);
    let answer = client.patch(&path, json!({"emails": strangers(18..21)})).await;
    assert_eq!(answer.header("retry-after"), "86401");
    let problem = answer.refused(429, "rate_limited");
    assert_eq!(
        (&problem["metric"], &problem["limit"], &problem["field"]),
        (&json!("webhook_confirmations"), &json!(20), &json!("emails"))
    );
    // A refusal stores nothing.
    assert_eq!(client.get(&path).await.expect(200)["emails"], strangers(9..18));
    // Members, and addresses that have the link of this day, count no more.
    let own = json!([member(&world).await, "a0@b.example", "a9@b.example", "a18@b.example"]);
    client.patch(&path, json!({"emails": own})).await.expect(200);
    client.patch(&path, json!({"emails": strangers(18..20)})).await.expect(200);
    deliver(&world, &app).await;
    assert_eq!(addresses(&smtp.take()), ["a18@b.example", "a19@b.example"]);
    let other = client.post(world.org("/webhooks"), new(strangers(20..21))).await;
    other.refused(429, "rate_limited");
    // Another organization, and the platform, have days of their own.
    let globex = format!("/organizations/{}/webhooks", world.globex.org);
    client.post(&globex, new(strangers(20..30))).await.expect(201);
    for n in [30, 40, 50] {
        client.post("/webhooks", new(strangers(n..n + 10))).await.expect(201);
    }
    deliver(&world, &app).await;
    assert_eq!(smtp.take().len(), 40);
    world.pass(TimeDelta::days(1));
    client.patch(&path, json!({"emails": strangers(18..21)})).await.expect(200);
    deliver(&world, &app).await;
    assert_eq!(smtp.take().len(), 3);
}

#[on_both]
async fn name_of_an_organization_is_a_quotation_without_a_link(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let name = "Acme\". Your invoice is overdue - pay at https://evil.example/pay now";
    world.patch(world.org(""), json!({"name": name})).await.expect(200);
    let own = member(&world).await;
    endpoint(&world, &client, &[&own, STRANGER]).await;
    deliver(&world, &app).await;
    let quoted = "\"Acme'. Your invoice is overdue - pay at https: / / evil. example\"";
    let text = smtp.take()[0].text();
    assert!(text.lines().any(|line| line.trim() == quoted), "{text}");
    assert!(!text.contains("evil.example") && !text.contains("://evil"), "{text}");
    reach(&world, "renders").await;
    deliver(&world, &app).await;
    let text = smtp.take()[0].text();
    assert!(text.contains(&format!("Organization: {quoted}\n")), "{text}");
    assert!(!text.contains("evil.example"), "{text}");
}

#[on_both]
async fn agreement_counts_for_all_webhooks_of_the_organization(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let first = endpoint(&world, &client, &[STRANGER]).await;
    deliver(&world, &app).await;
    let asked = smtp.take();
    let second = endpoint(&world, &client, &[STRANGER]).await;
    let body = json!({"emails": [STRANGER], "types": ["limits.near"]});
    let globex = format!("/organizations/{}/webhooks", world.globex.org);
    let foreign = client.post(&globex, body.clone()).await.expect(201);
    let platform = client.post("/webhooks", body).await.expect(201);
    deliver(&world, &app).await;
    assert_eq!(addresses(&smtp.take()), [STRANGER, STRANGER], "one of each owner");
    assert!(agree(&world, "token", &link(&asked[0]).1).await.text().contains("Thank you"));
    let third = endpoint(&world, &client, &[STRANGER]).await;
    for webhook in [&first, &second, &third] {
        assert_eq!(unconfirmed(&client, webhook).await, json!([]));
    }
    for webhook in [&foreign, &platform] {
        assert_eq!(unconfirmed(&client, webhook).await, json!([STRANGER]));
    }
    place(&world).await;
    let events = world.get("/audit?action=webhooks.confirm").await.expect(200);
    let targets: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["target_id"].as_str().unwrap())
        .collect();
    assert_eq!(targets.len(), 2);
    assert!(targets.contains(&id(&first)) && targets.contains(&id(&second)));
    client.delete(format!("/webhooks/{}", id(&first))).await.expect(204);
    reach(&world, "renders").await;
    deliver(&world, &app).await;
    assert_eq!(addresses(&smtp.take()), [STRANGER]);
}

#[on_both]
async fn link_works_when_its_address_is_wanted_again(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let own = member(&world).await;
    let made = endpoint(&world, &client, &[&own, STRANGER]).await;
    deliver(&world, &app).await;
    let (path, token) = link(&smtp.take()[0]);
    let webhook = format!("/webhooks/{}", id(&made));
    client.patch(&webhook, json!({"emails": [own]})).await.expect(200);
    assert!(world.anyone().get(&path).await.text().contains("was removed"));
    assert!(agree(&world, "token", &token).await.text().contains("was removed"));
    let again = json!({"emails": [own, STRANGER]});
    let shown = client.patch(&webhook, again).await.expect(200);
    assert_eq!(shown["unconfirmed"], json!([STRANGER]));
    // The same for a webhook that is deleted and created again.
    client.delete(&webhook).await.expect(204);
    assert!(world.anyone().get(&path).await.text().contains("was removed"));
    let made = endpoint(&world, &client, &[STRANGER]).await;
    deliver(&world, &app).await;
    assert_eq!(smtp.take().len(), 0, "the address has the link of this day");
    assert!(agree(&world, "token", &token).await.text().contains("Thank you"));
    assert_eq!(unconfirmed(&client, &made).await, json!([]));
    // The agreement stays for a day after the address was removed.
    client.delete(format!("/webhooks/{}", id(&made))).await.expect(204);
    world.pass(TimeDelta::hours(23));
    let made = endpoint(&world, &client, &[STRANGER]).await;
    assert_eq!(made["unconfirmed"], json!([]));
    client.delete(format!("/webhooks/{}", id(&made))).await.expect(204);
    world.pass(TimeDelta::hours(24));
    let made = endpoint(&world, &client, &[STRANGER]).await;
    assert_eq!(made["unconfirmed"], json!([STRANGER]));
    deliver(&world, &app).await;
    assert_eq!(addresses(&smtp.take()), [STRANGER]);
}

#[on_both]
async fn later_day_gets_another_link_before_the_first_one_ends(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    world.pass(TimeDelta::hours(20));
    let made = endpoint(&world, &client, &[STRANGER]).await;
    deliver(&world, &app).await;
    let first = smtp.take().remove(0);
    world.pass(TimeDelta::hours(5));
    let again = json!({"emails": [STRANGER]});
    client.patch(format!("/webhooks/{}", id(&made)), again).await.expect(200);
    deliver(&world, &app).await;
    let second = smtp.take().remove(0);
    assert_ne!(first.header("Message-ID"), second.header("Message-ID"));
    let page = world.anyone().get(link(&first).0).await;
    assert!(page.text().contains("<button>Agree"), "{}", page.text());
    assert!(agree(&world, "token", &link(&second).1).await.text().contains("Thank you"));
    assert!(agree(&world, "token", &link(&first).1).await.text().contains("was used"));
    assert_eq!(unconfirmed(&client, &made).await, json!([]));
}

#[on_both]
async fn member_without_an_account_is_asked(world: World) {
    let (_, client) = with_mail(&world, "smtp://127.0.0.1:1?tls=none");
    let address = "nina@vendor.example";
    let body = json!({"email": address, "role": "member"});
    world.post(world.org("/memberships"), body).await.expect(201);
    let made = endpoint(&world, &client, &[address]).await;
    assert_eq!(made["unconfirmed"], json!([address]));
}
