//! Endpoints: who may create them, what they show, and what they refuse.

use serde_json::json;

use super::{Receiver, alone, deliver, id, webhook};
use crate::events::change;
use crate::world::{ROOT, World, on_both};

#[on_both]
async fn webhook_shows_its_secret_once(world: World) {
    let body = json!({
        "url": "https://hooks.example.com/events", "types": ["licenses.*", "bundles.issue"],
        "name": "Billing", "include": ["after"], "headers": {"Authorization": "Bearer canary-42"},
    });
    let made = world.by(&world.acme.token).post(world.org("/webhooks"), body).await.expect(201);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == 6 + 44, "{secret}");
    let path = format!("/webhooks/{}", id(&made));
    let shown = world.get(&path).await.expect(200);
    assert_eq!(
        shown,
        json!({
            "id": made["id"], "organization_id": world.acme.org, "name": "Billing",
            "url": "https://hooks.example.com/events", "types": ["licenses.*", "bundles.issue"],
            "emails": null, "unconfirmed": null, "organizations": null, "signature": "hmac", "public_key": null, "include": ["after"],
            "ordering": "subject", "headers": {"authorization": {"masked": true}},
            "status": "enabled", "disabled_reason": null, "failing_since": null,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(event["action"], "webhooks.create");
    let export = world.get(world.org("/export")).await.text();
    for text in [event.to_string(), shown.to_string(), export] {
        assert!(!text.contains("canary-42") && !text.contains(secret), "{text}");
    }

    let rotated = world.post(format!("{path}/rotate"), json!({})).await.expect(200);
    assert_ne!(rotated["secret"], made["secret"]);
    let body = json!({
        "url": "https://hooks.example.com/events", "types": ["licenses.*"], "signature": "ed25519",
    });
    let made = world.post(world.org("/webhooks"), body).await.expect(201);
    assert_eq!(made["secret"], json!(null));
    assert!(made["public_key"].as_str().unwrap().starts_with("whpk_"));
}

#[on_both]
async fn bad_webhooks_are_refused_by_field(world: World) {
    let good = json!({"url": "https://hooks.example.com/", "types": ["licenses.*"]});
    for (field, value) in [
        ("url", json!("http://hooks.example.com/")),
        ("url", json!("https://10.0.0.1/")),
        ("url", json!("https://169.254.169.254/latest/meta-data")),
        ("url", json!("https://user:secret@hooks.example.com/")),
        ("url", json!("https://hooks.example.com:5432/")),
        ("url", json!("https://hooks.example.com:25/")),
        ("url", json!("ftp://hooks.example.com/")),
        ("types", json!([])),
        ("types", json!(["licenses.unknown"])),
        ("types", json!(["*"])),
        ("organizations", json!([world.acme.org])),
        ("headers", json!({"Host": "a"})),
        ("headers", json!({"webhook-id": "a"})),
        ("headers", json!({"x-a": "line\r\nbreak"})),
        (
            "headers",
            json!({"x-1": "a", "x-2": "a", "x-3": "a", "x-4": "a", "x-5": "a", "x-6": "a",
                           "x-7": "a", "x-8": "a", "x-9": "a"}),
        ),
        ("signature", json!("none")),
    ] {
        let mut body = good.clone();
        body[field] = value;
        world.post(world.org("/webhooks"), body).await.invalid(field);
    }
    // An operator's own endpoints may be private, and may be narrowed.
    let mut body = good.clone();
    body["url"] = json!("https://10.0.0.1/");
    body["organizations"] = json!([world.acme.org]);
    world.post("/webhooks", body).await.expect(201);
}

#[on_both]
async fn organization_has_twenty_webhooks_at_most(world: World) {
    // One is in every world.
    for _ in 1..20 {
        webhook(&world, "https://hooks.example.com/", &["licenses.*"]).await;
    }
    let body = json!({"url": "https://hooks.example.com/", "types": ["licenses.*"]});
    world.post(world.org("/webhooks"), body).await.refused(409, "conflict");
}

#[on_both]
async fn webhook_requires_the_right_to_read_audit_events(world: World) {
    let body = json!({"url": "https://hooks.example.com/", "types": ["licenses.*"]});
    let path = world.org("/webhooks");
    let without = world.new_token(&world.org(""), &["webhooks:write"]).await;
    let refused = world.by(&without).post(&path, body.clone()).await.refused(403, "forbidden");
    assert_eq!(refused["permission"], "audit:read");
    let with = world.new_token(&world.org(""), &["webhooks:write", "audit:read"]).await;
    world.by(&with).post(&path, body).await.expect(201);
    // A webhook of the platform is none of an organization's.
    let body = json!({"url": "https://hooks.example.com/", "types": ["licenses.*"]});
    let platforms = world.post("/webhooks", body).await.expect(201);
    let path = format!("/webhooks/{}", id(&platforms));
    world.by(&world.acme.token).get(&path).await.refused(404, "not_found");
    world.by(&world.acme.token).patch(&path, json!({"name": "x"})).await.refused(404, "not_found");
    world.by(&world.acme.token).delete(&path).await.refused(404, "not_found");
}

#[on_both]
async fn other_destination_or_events_require_the_right_to_read_audit_events(world: World) {
    let url = "https://hooks.example.com/";
    let own = webhook(&world, url, &["licenses.*"]).await;
    let body = json!({"url": url, "types": ["licenses.*"]});
    let platforms = world.post("/webhooks", body).await.expect(201);
    let changes = [
        json!({"url": "https://other.example.com/"}),
        json!({"types": ["organizations.*"]}),
        json!({"include": ["after"]}),
        json!({"organizations": null}),
    ];
    for (made, at) in [(&own, world.org("")), (&platforms, String::new())] {
        let path = format!("/webhooks/{}", id(made));
        let without = world.by(&world.new_token(&at, &["webhooks:write"]).await);
        for change in &changes {
            let refused = without.patch(&path, change.clone()).await.refused(403, "forbidden");
            assert_eq!(refused["permission"], "audit:read", "{change}");
        }
        let harmless = json!({"name": "x", "ordering": "none", "headers": {"x-a": "b"}});
        without.patch(&path, harmless).await.expect(200);
        let with = world.by(&world.new_token(&at, &["webhooks:write", "audit:read"]).await);
        with.patch(&path, json!({"types": ["bundles.*"]})).await.expect(200);
    }
    let emails = json!({"emails": ["a@vendor.example"]});
    let without = world.by(&world.new_token(&world.org(""), &["webhooks:write"]).await);
    without.patch(format!("/webhooks/{}", id(&own)), emails).await.refused(403, "forbidden");
}

#[on_both]
async fn stored_headers_do_not_go_to_another_origin(world: World) {
    let body = json!({
        "url": "https://hooks.example.com/a", "types": ["licenses.*"],
        "headers": {"Authorization": "Bearer canary-42"},
    });
    let made = world.post(world.org("/webhooks"), body).await.expect(201);
    let path = format!("/webhooks/{}", id(&made));
    let to = |url: &str| json!({"url": url});
    world.patch(&path, to("https://hooks.example.com:443/b")).await.expect(200);
    for other in ["https://hooks.example.com:8443/b", "https://other.example.com/b"] {
        world.patch(&path, to(other)).await.invalid("headers");
    }
    let mut moved = to("https://other.example.com/b");
    moved["headers"] = json!({"x-key": "canary-43"});
    let shown = world.patch(&path, moved).await.expect(200);
    assert_eq!(shown["headers"], json!({"x-key": {"masked": true}}));
    let mut without = to("https://third.example.com/");
    without["headers"] = json!({});
    assert_eq!(world.patch(&path, without).await.expect(200)["headers"], json!({}));
    world.patch(&path, to("https://hooks.example.com/")).await.expect(200);
}

#[on_both]
async fn this_machine_is_no_destination_unless_loopback_is_allowed(world: World) {
    let (_, client) = world.server(|settings| settings.webhooks.0.allow_loopback = false);
    let client = client.token(ROOT);
    for url in ["https://127.0.0.1/", "https://0.0.0.0/", "https://[::1]/", "https://127.1:8443/"] {
        let body = json!({"url": url, "types": ["licenses.*"]});
        client.post("/webhooks", body.clone()).await.invalid("url");
        client.post(world.org("/webhooks"), body).await.invalid("url");
    }
}

#[on_both]
async fn webhook_of_an_organization_gets_its_own_events_only(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    let platform = Receiver::start().await;
    let narrowed = Receiver::start().await;
    webhook(&world, &receiver.url, &["organizations.*"]).await;
    let body = |url: &str| json!({"url": url, "types": ["organizations.*"]});
    world.post("/webhooks", body(&platform.url)).await.expect(201);
    let mut only = body(&narrowed.url);
    only["organizations"] = json!([world.globex.org]);
    world.post("/webhooks", only).await.expect(201);
    change(&world, "Acme 2").await;
    world
        .patch(format!("/organizations/{}", world.globex.org), json!({"name": "G"}))
        .await
        .expect(200);
    deliver(&world).await;
    let orgs = |receiver: &Receiver| -> Vec<String> {
        let of = |one: &super::receiver::Received| {
            one.json()["data"]["organization_id"].as_str().unwrap().to_owned()
        };
        let mut orgs: Vec<String> = receiver.received().iter().map(of).collect();
        orgs.sort();
        orgs
    };
    let (acme, globex) = (world.acme.org.clone(), world.globex.org.clone());
    assert_eq!(orgs(&receiver), std::slice::from_ref(&acme));
    assert_eq!(orgs(&narrowed), std::slice::from_ref(&globex));
    let mut both = vec![acme, globex];
    both.sort();
    assert_eq!(orgs(&platform), both);
}
