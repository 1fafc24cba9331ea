//! Forms that change a thing.

use serde_json::json;

use super::{hidden, platform, sound};
use crate::world::{World, on_both};

#[on_both]
async fn edit_sends_what_changed(world: World) {
    let browser = platform(&world);
    let path = format!("/deployments/{}", world.acme.deployment);
    let before = world.get(&path).await.expect(200);
    let form = sound(&browser.get(&format!("{path}?edit")).await, 200);
    let tag = hidden(&form, "_match");
    let name = before["name"].as_str().unwrap();
    let kind = before["type"].as_str().unwrap();
    let entries = [
        ("_match", &*tag),
        ("_key", "k"),
        ("name", name),
        ("type", kind),
        ("status", "active"),
        ("region", "eu-north-1"),
        ("tags", "emea\r\nprod"),
        ("metadata/0/name", "tier"),
        ("metadata/0/kind", "number"),
        ("metadata/0/value", "2"),
    ];
    let done = browser.post(&format!("{path}?edit"), &entries).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let after = world.get(&path).await.expect(200);
    assert_eq!(after["region"], "eu-north-1");
    assert_eq!(after["tags"], json!(["emea", "prod"]));
    assert_eq!(after["metadata"]["tier"], json!(2));
    // The page of a stale form shows both versions.
    let stale = [("_match", &*tag), ("name", name), ("type", kind), ("region", "us-1")];
    let page = sound(&browser.post(&format!("{path}?edit"), &stale).await, 412);
    assert!(page.contains("This object changed while you edited it"), "{page}");
    let tag = hidden(&page, "_match");
    let chosen = [
        ("_match", &*tag),
        ("name", name),
        ("type", kind),
        ("region", "us-1"),
        ("_use/region", "mine"),
        ("_use/tags", "now"),
        ("_use/metadata", "now"),
    ];
    let done = browser.post(&format!("{path}?edit"), &chosen).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let after = world.get(&path).await.expect(200);
    assert_eq!((&after["region"], &after["tags"]), (&json!("us-1"), &json!(["emea", "prod"])));
}

#[on_both]
async fn suspension_needs_a_reason_and_is_reversed(world: World) {
    let browser = platform(&world);
    let path = format!("/licenses/{}", world.acme.license);
    let form = sound(&browser.get(&format!("{path}/suspend")).await, 200);
    assert!(form.contains("Suspend the license"), "{form}");
    let page = sound(&browser.post(&format!("{path}/suspend"), &[("reason", " ")]).await, 422);
    assert!(page.contains("Give a reason"), "{page}");
    let entries = [("reason", "The invoice is open.")];
    let done = browser.post(&format!("{path}/suspend"), &entries).await;
    assert_eq!(done.header("location"), format!("/console{path}"), "{}", done.text());
    let license = world.get(&path).await.expect(200);
    assert_eq!(license["status"], "suspended");
    let cookie = done.header("set-cookie").split(';').next().unwrap().to_owned();
    let next = super::Browser::new(browser.client.clone().with("cookie", cookie));
    let page = sound(&next.get(&path).await, 200);
    assert!(page.contains("role=\"status\"") && page.contains("Reinstate"), "{page}");
    assert!(page.contains("A data plane refuses this license"), "{page}");
    assert_eq!(browser.post(&format!("{path}/reinstate"), &[]).await.status, 303);
}

#[on_both]
async fn refusals_are_at_their_fields(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}/subscriptions?new", world.acme.org);
    let entries = [("plan_code", "team"), ("seat_cap", "many")];
    let page = sound(&browser.post(&path, &entries).await, 422);
    assert!(page.contains("href=\"#f-seat-cap\"") && page.contains("value=\"many\""), "{page}");
    let unknown = [("plan_code", "team"), ("seats", "5")];
    let page = sound(&browser.post(&path, &unknown).await, 400);
    assert!(page.contains("unknown field"), "{page}");
}

#[on_both]
async fn token_is_issued_with_its_lines(world: World) {
    let browser = platform(&world);
    let path = format!("/licenses/{}/bundles?new", world.acme.license);
    let form = sound(&browser.get(&path).await, 200);
    assert!(form.contains("Issue a token"), "{form}");
    let key = hidden(&form, "_key");
    let page = sound(&browser.post(&path, &[("_key", &key), ("ttl_seconds", "86400")]).await, 200);
    assert!(page.contains("It is shown this once") && page.contains("LICENSE_TOKEN=eyJ"), "{page}");
}
