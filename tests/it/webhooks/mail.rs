//! Endpoints with e-mail addresses: what they refuse, whom they ask, and what they send.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use cp_server::App;
use cp_server::kernel::outbound::mailing::{MailSettings, Relay};
use cp_server::lifecycle::notices::announce;
use cp_server::webhooks::sending::settle;
use serde_json::{Value, json};

use super::smtp::{Encryption, Fault, Mail, Smtp};
use super::{alone, id};
use crate::events::place;
use crate::world::{Answer, Client, ROOT, World, on_both};

pub(super) const STRANGER: &str = "ops@vendor.example";

/// A server that sends mail by this URL.
pub(super) fn with_mail(world: &World, url: &str) -> (App, Client) {
    let relay = Relay::new(url, "cp@vendor.example", None).unwrap();
    let relay = relay.patience(Duration::from_millis(400));
    let (app, client) =
        world.server(|settings| settings.mail = MailSettings(Some(Arc::new(relay))));
    (app, client.token(ROOT))
}

/// Sends what is due.
pub(super) async fn deliver(world: &World, app: &App) {
    place(world).await;
    settle(app).await.unwrap();
}

/// The address of acme's admin, who is a member.
pub(super) async fn member(world: &World) -> String {
    let user = world.get(format!("/users/{}", world.acme.user)).await.expect(200);
    user["email"].as_str().unwrap().to_owned()
}

pub(super) async fn endpoint(world: &World, client: &Client, emails: &[&str]) -> Value {
    let body = json!({"emails": emails, "types": ["limits.near", "limits.reach"]});
    client.post(world.org("/webhooks"), body).await.expect(201)
}

/// Makes a limit of a metric reach its quantity, and returns its ID.
pub(super) async fn reach(world: &World, metric: &str) -> String {
    let limit = json!({"metric": metric, "quantity": 10, "notify_at": [50]});
    let limit = world.put(world.org("/limits"), limit).await.expect(201);
    world.post(world.org("/usage"), json!({"metric": metric, "quantity": 12})).await.expect(201);
    world.pass(TimeDelta::minutes(5));
    announce(&world.app).await.unwrap();
    id(&limit).to_owned()
}

/// The addresses of messages, in their order.
pub(super) fn addresses(mails: &[Mail]) -> Vec<&str> {
    let mut all: Vec<&str> = mails.iter().flat_map(|mail| &mail.to).map(String::as_str).collect();
    all.sort_unstable();
    all
}

/// The attempts of the newest delivery, as statuses and errors.
pub(super) async fn attempts(world: &World, webhook: &Value) -> Vec<(Value, Value)> {
    let path = format!("/webhooks/{}/deliveries", id(webhook));
    let deliveries = world.get(path).await.expect(200);
    let path = format!("/webhook-deliveries/{}", id(&deliveries["items"][0]));
    let log = world.get(path).await.expect(200)["log"].as_array().unwrap().clone();
    log.iter().map(|one| (one["status"].clone(), one["error"].clone())).collect()
}

#[on_both]
async fn mail_requires_a_server_and_says_which_setting(world: World) {
    let body = json!({"emails": [STRANGER], "types": ["licenses.expiring"]});
    let problem = world.post(world.org("/webhooks"), body).await.invalid("emails");
    assert!(problem["detail"].as_str().unwrap().contains("CP_SMTP_URL"), "{problem}");
}

#[on_both]
async fn bad_endpoints_are_refused_by_field(world: World) {
    let smtp = Smtp::start().await;
    let (_, client) = with_mail(&world, &smtp.url());
    let good = json!({"emails": [STRANGER], "types": ["licenses.expiring"]});
    let many: Vec<String> = (0..11).map(|n| format!("a{n}@b.example")).collect();
    for (field, name, value) in [
        ("emails", "url", json!("https://hooks.example.com/")),
        ("emails", "emails", json!([])),
        ("emails", "emails", json!(many)),
        ("emails", "emails", json!([STRANGER, "OPS@vendor.example"])),
        ("emails[0]", "emails", json!(["a@b.example\r\nBcc: c@d.example"])),
        ("emails[0]", "emails", json!(["a@b.example\n"])),
        ("emails[0]", "emails", json!(["a\u{7}@b.example"])),
        ("emails[0]", "emails", json!(["a@b\u{fc}cher.example"])),
        ("emails[0]", "emails", json!(["\u{e4}@b.example"])),
        ("emails[0]", "emails", json!(["A <a@b.example>"])),
        ("emails[0]", "emails", json!(["a@b.example, c@d.example"])),
        ("types", "types", json!(["licenses.revoke"])),
        ("types", "types", json!(["licenses.*"])),
        ("types", "types", json!(["limits.put"])),
        ("signature", "signature", json!("ed25519")),
        ("include", "include", json!(["after"])),
        ("headers", "headers", json!({"x-a": "b"})),
    ] {
        let mut body = good.clone();
        body[name] = value;
        client.post(world.org("/webhooks"), body).await.invalid(field);
    }
    client
        .post(world.org("/webhooks"), json!({"types": ["licenses.expiring"]}))
        .await
        .invalid("url");
    let made = client.post(world.org("/webhooks"), good).await.expect(201);
    assert_eq!(
        (&made["url"], &made["secret"], &made["signature"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!((&made["emails"], &made["unconfirmed"]), (&json!([STRANGER]), &json!([STRANGER])));
    let path = format!("/webhooks/{}", id(&made));
    client.patch(&path, json!({"url": "https://hooks.example.com/"})).await.invalid("url");
    client.patch(&path, json!({"types": ["licenses.revoke"]})).await.invalid("types");
    client.post(format!("{path}/rotate"), json!({})).await.refused(409, "conflict");
    let other = format!("/webhooks/{}", world.acme.others["webhooks"]);
    let problem = client.patch(other, json!({"emails": [STRANGER]})).await.invalid("emails");
    let detail =
        "`emails` must not be sent: the webhook has a `url`. Create another webhook for mail.";
    assert_eq!(problem["detail"], detail);
}

/// Presses the button of a confirmation page.
pub(super) async fn agree(world: &World, name: &str, value: &str) -> Answer {
    let value = value.replace('"', "%22").replace('<', "%3C").replace('>', "%3E");
    world.anyone().post(format!("/webhook-confirmations?{name}={value}"), json!({})).await
}

/// The path and the token of the link in a message.
pub(super) fn link(mail: &Mail) -> (String, String) {
    let text = mail.text();
    let at = text.find("/webhook-confirmations?token=").unwrap();
    let path = text[at..].split('\n').next().unwrap().to_owned();
    let token = path.split_once('=').unwrap().1.to_owned();
    (path, token)
}

#[on_both]
async fn members_get_mail_and_strangers_once_they_agreed(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let member = member(&world).await;
    let made = endpoint(&world, &client, &[&member, STRANGER]).await;
    assert_eq!(made["unconfirmed"], json!([STRANGER]));
    deliver(&world, &app).await;
    let asked = smtp.take();
    assert_eq!(addresses(&asked), [STRANGER]);
    assert_eq!(asked[0].header("Subject"), "Confirm your e-mail address");
    let limit = reach(&world, "renders").await;
    deliver(&world, &app).await;
    let sent = smtp.take();
    assert_eq!(addresses(&sent), [&*member]);
    assert_eq!(sent[0].from, "cp@vendor.example");
    assert_eq!(sent[0].header("Subject"), "Usage has reached a limit");
    assert_eq!(sent[0].header("Auto-Submitted"), "auto-generated");
    let text = sent[0].text();
    for part in ["The usage is 12, and the limit is 10.", &limit, "Acme", "limits.reach"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A scanner opens the link, and nothing happens.
    let (path, token) = link(&asked[0]);
    for _ in 0..2 {
        let page = world.anyone().get(&path).await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains("<button>Agree"), "{}", page.text());
    }
    assert_eq!(
        client.get(format!("/webhooks/{}", id(&made))).await.expect(200)["unconfirmed"],
        json!([STRANGER])
    );
    assert!(agree(&world, "token", &token).await.text().contains("Thank you"));
    // Once.
    assert!(agree(&world, "token", &token).await.text().contains("was used"));
    assert!(world.anyone().get(&path).await.text().contains("was used"));
    assert_eq!(
        client.get(format!("/webhooks/{}", id(&made))).await.expect(200)["unconfirmed"],
        json!([])
    );
    place(&world).await;
    let event = world.get("/audit?action=webhooks.confirm&limit=1").await.expect(200);
    assert_eq!(event["items"][0]["target_id"], made["id"]);
    reach(&world, "others").await;
    deliver(&world, &app).await;
    let sent = smtp.take();
    let mut both = [&*member, STRANGER];
    both.sort_unstable();
    assert_eq!(addresses(&sent), both);
    assert!(sent.iter().all(|mail| mail.to.len() == 1), "no address sees another");
    // A member who left gets nothing more.
    let membership = format!("/memberships/{}", world.acme.membership);
    world.delete(membership).await.expect(204);
    reach(&world, "more").await;
    deliver(&world, &app).await;
    assert_eq!(addresses(&smtp.take()), [STRANGER]);
}

#[on_both]
async fn link_ends_after_a_day_and_is_sent_again_when_asked(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let made = endpoint(&world, &client, &[STRANGER]).await;
    deliver(&world, &app).await;
    let (_, token) = link(&smtp.take()[0]);
    // A stranger is asked once a day, however often the addresses are set.
    let again = json!({"emails": [STRANGER]});
    let path = format!("/webhooks/{}", id(&made));
    client.patch(&path, again.clone()).await.expect(200);
    endpoint(&world, &client, &[STRANGER]).await;
    deliver(&world, &app).await;
    assert_eq!(smtp.take().len(), 0);
    world.pass(TimeDelta::hours(24));
    let page = agree(&world, "token", &token).await;
    assert!(page.text().contains("older than 24 hours"), "{}", page.text());
    client.patch(&path, again).await.expect(200);
    deliver(&world, &app).await;
    let (_, token) = link(&smtp.take()[0]);
    let page = agree(&world, "token", &token).await;
    assert!(page.text().contains("Thank you"));
    let wrong = agree(&world, "token", "wrong\"><script>").await;
    assert!(wrong.text().contains("was used") && !wrong.text().contains("script"));
    agree(&world, "other", "x").await.invalid("token");
}

#[on_both]
async fn address_gets_one_mail_a_day_for_a_type_and_an_object(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let member = member(&world).await;
    let first = endpoint(&world, &client, &[&member]).await;
    let second = endpoint(&world, &client, &[&member]).await;
    let limit = reach(&world, "renders").await;
    deliver(&world, &app).await;
    assert_eq!(smtp.take().len(), 1);
    for webhook in [&first, &second] {
        let (status, error) = attempts(&world, webhook).await.pop().unwrap();
        assert_eq!(error, Value::Null, "{status}");
    }
    // A larger limit is another basis, and reached on the same day.
    let larger = json!({"metric": "renders", "quantity": 11, "notify_at": [50]});
    assert_eq!(id(&world.put(world.org("/limits"), larger).await.expect(200)), limit);
    world.pass(TimeDelta::minutes(5));
    announce(&world.app).await.unwrap();
    deliver(&world, &app).await;
    assert_eq!(smtp.take().len(), 0);
    world.pass(TimeDelta::days(1));
    let next = json!({"metric": "renders", "quantity": 12, "notify_at": [50], "window": "gauge"});
    world.put(world.org("/limits"), next).await.expect(201);
    world.pass(TimeDelta::minutes(5));
    announce(&world.app).await.unwrap();
    deliver(&world, &app).await;
    assert_eq!(smtp.take().len(), 1);
}

#[on_both]
async fn failures_are_named_and_the_mail_is_sent_later(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let member = member(&world).await;
    let webhook = endpoint(&world, &client, &[&member]).await;
    reach(&world, "renders").await;
    let mut expected = Vec::new();
    let answer = Fault::Answer;
    for (at, fault, status, error) in [
        ("CONNECT", Fault::Stall, Value::Null, "timeout"),
        ("RCPT", Fault::Stall, Value::Null, "timeout"),
        ("CONNECT", Fault::Drop, Value::Null, "connect"),
        ("DATA", Fault::Drop, Value::Null, "connect"),
        ("MAIL", answer("451 4.3.0 try again"), json!(451), "status"),
        ("RCPT", answer("550 5.1.1 no such mailbox"), json!(550), "status"),
        (".", answer("554 5.7.1 spam"), json!(554), "status"),
        ("EHLO", answer("nonsense"), Value::Null, "connect"),
    ] {
        smtp.fail(at, fault);
        deliver(&world, &app).await;
        smtp.recover();
        expected.push((status, json!(error)));
        assert_eq!(attempts(&world, &webhook).await, expected, "{at}");
        assert_eq!(smtp.take().len(), 0, "{at}");
        world.pass(TimeDelta::days(1));
    }
    deliver(&world, &app).await;
    let sent = smtp.take();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].header("Message-ID").ends_with("@vendor.example>"));
    deliver(&world, &app).await;
    assert_eq!(smtp.take().len(), 0);
}

#[on_both]
async fn server_without_encryption_gets_no_mail_unless_the_url_says_so(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let member = member(&world).await;
    let mut count = 0;
    for url in [
        format!("smtp://user:secret@127.0.0.1:{}", smtp.port),
        format!("smtps://user:secret@127.0.0.1:{}", smtp.port),
    ] {
        let (app, client) = with_mail(&world, &url);
        smtp.fail("\u{16}", Fault::Drop);
        let webhook = endpoint(&world, &client, &[&member]).await;
        count += 1;
        reach(&world, &format!("renders-{count}")).await;
        deliver(&world, &app).await;
        let (status, error) = attempts(&world, &webhook).await.remove(0);
        assert_eq!(status, Value::Null);
        assert!(error == "tls" || error == "timeout", "{url}: {error}");
        client.delete(format!("/webhooks/{}", id(&webhook))).await.expect(204);
    }
    assert!(smtp.take().is_empty());
    // Nothing listens there.
    let (app, client) = with_mail(&world, "smtp://127.0.0.1:1?tls=none");
    let webhook = endpoint(&world, &client, &[&member]).await;
    reach(&world, "renders-9").await;
    deliver(&world, &app).await;
    assert_eq!(attempts(&world, &webhook).await, [(Value::Null, json!("connect"))]);
}

/// Encrypted from the first byte, or after STARTTLS: the password and the message follow the handshake.
#[on_both]
async fn encrypted_server_gets_the_password_and_the_mail(world: World) {
    alone(&world).await;
    let address = member(&world).await;
    for (n, (encryption, scheme)) in
        [(Encryption::Implicit, "smtps"), (Encryption::Started, "smtp")].into_iter().enumerate()
    {
        let smtp = Smtp::with(encryption).await;
        let by = |host: &str, authority: Option<_>| {
            let url = format!("{scheme}://cp:p%40ss@{host}:{}", smtp.port);
            let authorities = authority.map(|one| Arc::new(vec![one]));
            let relay = Relay::new(&url, "cp@vendor.example", authorities).unwrap();
            let relay = relay.patience(Duration::from_secs(5));
            let set = MailSettings(Some(Arc::new(relay)));
            let (app, client) = world.server(|settings| settings.mail = set);
            (app, client.token(ROOT))
        };
        let (app, client) = by("localhost", Some(smtp.authority.clone()));
        let webhook = endpoint(&world, &client, &[&address]).await;
        // Another host than that of the certificate, and an authority that is not trusted.
        let metric = format!("calls-{n}");
        reach(&world, &metric).await;
        for (host, authority) in [("127.0.0.1", Some(smtp.authority.clone())), ("localhost", None)]
        {
            deliver(&world, &by(host, authority).0).await;
            let last = attempts(&world, &webhook).await.pop().unwrap();
            assert_eq!(last, (Value::Null, json!("tls")), "{scheme} {host}");
            assert!(smtp.logins().is_empty() && smtp.take().is_empty());
            world.pass(TimeDelta::minutes(10));
        }
        deliver(&world, &app).await;
        let last = attempts(&world, &webhook).await.pop().unwrap();
        assert_eq!(last, (json!(250), Value::Null), "{scheme}");
        let mails = smtp.take();
        assert_eq!(addresses(&mails), [&*address]);
        assert_eq!(mails[0].from, "cp@vendor.example");
        assert_eq!(smtp.logins(), [("cp p@ss".to_owned(), true)]);
        world.delete(format!("/webhooks/{}", id(&webhook))).await.expect(204);
        world.pass(TimeDelta::days(1));
    }
    // A plain conversation with a server that waits for a handshake fails, and takes no longer.
    let smtp = Smtp::with(Encryption::Implicit).await;
    let (app, client) = with_mail(&world, &smtp.url());
    let webhook = endpoint(&world, &client, &[&address]).await;
    reach(&world, "calls-2").await;
    deliver(&world, &app).await;
    let last = attempts(&world, &webhook).await.pop().unwrap();
    assert!(["timeout", "connect", "tls"].contains(&last.1.as_str().unwrap()), "{last:?}");
}

#[on_both]
async fn retry_sends_what_was_not_sent(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let member = member(&world).await;
    let made = endpoint(&world, &client, &[&member, STRANGER]).await;
    deliver(&world, &app).await;
    let (_, token) = link(&smtp.take()[0]);
    agree(&world, "token", &token).await;
    smtp.fail("RCPT TO:<ops@vendor.example>", Fault::Answer("450 4.2.1 mailbox is busy"));
    reach(&world, "renders").await;
    deliver(&world, &app).await;
    assert_eq!(addresses(&smtp.take()), [&*member]);
    smtp.recover();
    world.pass(TimeDelta::minutes(1));
    deliver(&world, &app).await;
    assert_eq!(addresses(&smtp.take()), [STRANGER]);
    let log = attempts(&world, &made).await;
    assert_eq!(log, [(json!(450), json!("status")), (json!(250), Value::Null)]);
}

#[on_both]
async fn test_is_sent_at_once_and_waits_for_an_agreement(world: World) {
    alone(&world).await;
    let smtp = Smtp::start().await;
    let (app, client) = with_mail(&world, &smtp.url());
    let made = endpoint(&world, &client, &[STRANGER]).await;
    let path = format!("/webhooks/{}/test", id(&made));
    let tested = client.post(&path, json!({})).await.expect(200);
    assert_eq!(tested["error"], "unconfirmed");
    let before = smtp.connections();
    assert_eq!(before, 0);
    let member = member(&world).await;
    let made = endpoint(&world, &client, &[&member]).await;
    let path = format!("/webhooks/{}/test", id(&made));
    for _ in 0..2 {
        let tested = client.post(&path, json!({})).await.expect(200);
        assert_eq!((&tested["error"], &tested["status"]), (&Value::Null, &json!(250)));
        assert_eq!(smtp.take()[0].header("Subject"), "Test of an e-mail notification");
    }
    deliver(&world, &app).await;
    assert_eq!(addresses(&smtp.take()), [STRANGER]);
}

#[on_both]
async fn erased_person_gets_no_mail_and_leaves_no_address(world: World) {
    let (_, client) = with_mail(&world, "smtp://127.0.0.1:1?tls=none");
    let own = member(&world).await;
    let both = endpoint(&world, &client, &[&own, STRANGER]).await;
    let alone = endpoint(&world, &client, &[&own]).await;
    world.post("/audit/erasures", json!({"user": world.acme.user})).await.expect(201);
    let shown = world.get(format!("/webhooks/{}", id(&both))).await.expect(200);
    assert_eq!((&shown["emails"], &shown["status"]), (&json!([STRANGER]), &json!("enabled")));
    assert_eq!(shown["unconfirmed"], json!([STRANGER]));
    let shown = world.get(format!("/webhooks/{}", id(&alone))).await.expect(200);
    assert_eq!((&shown["emails"], &shown["status"]), (&json!([]), &json!("disabled")));
    assert_eq!(shown["disabled_reason"], "gone");
}
