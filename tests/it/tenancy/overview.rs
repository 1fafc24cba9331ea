//! Overviews: counts, and what needs attention.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{World, on_both};

fn attention(overview: &Value) -> Vec<(&str, &str)> {
    let items = overview["attention"].as_array().unwrap().iter();
    items
        .map(|one| (one["kind"].as_str().unwrap(), one["operation"].as_str().unwrap_or_default()))
        .collect()
}

#[on_both]
async fn overview_counts_and_names_what_needs_attention(world: World) {
    let all = world.get("/overview").await.expect(200);
    assert_eq!(all["organizations"], json!({"value": 2, "more": false}));
    assert_eq!(all["suspended_organizations"]["value"], 0);
    let own = world.get(world.org("/overview")).await.expect(200);
    assert_eq!(own["organizations"]["value"], 1);
    assert!(own["licenses"]["value"].as_i64() < all["licenses"]["value"].as_i64());
    let today = |overview: &Value| overview["tokens_today"]["value"].as_i64().unwrap();
    let before = today(&world.get(world.org("/overview")).await.expect(200));
    let license = format!("/licenses/{}", world.acme.license);
    world.post(format!("{license}/bundles"), json!({})).await.expect(201);
    assert_eq!(today(&world.get(world.org("/overview")).await.expect(200)), before + 1);
    world.post(format!("{license}/suspend"), json!({"reason": "late"})).await.expect(200);
    world.patch(world.org(""), json!({"status": "suspended"})).await.expect(200);
    let own = world.get(world.org("/overview")).await.expect(200);
    let found = attention(&own);
    assert!(found.contains(&("license_suspended", "licenses.reinstate")), "{own}");
    assert_eq!(
        found[0],
        ("organization_suspended", "organizations.update"),
        "the most urgent first"
    );
    let item = &own["attention"][0];
    assert_eq!((&item["id"], &item["label"]), (&json!(world.acme.org), &json!("Acme")));
    // The other organization has none of it.
    let path = format!("/organizations/{}/overview", world.globex.org);
    let other = world.get(path).await.expect(200);
    assert!(!attention(&other).iter().any(|(kind, _)| kind.ends_with("suspended")), "{other}");
    world.pass(TimeDelta::days(1));
    assert_eq!(today(&world.get("/overview").await.expect(200)), 0, "another day");
}

#[on_both]
async fn license_that_ends_soon_is_named_before_later_ones(world: World) {
    let license = format!("/licenses/{}", world.acme.license);
    let end = json!({"valid_until": "2026-01-20T00:00:00Z", "grace_days": 0});
    world.patch(&license, end).await.expect(200);
    let own = world.get(world.org("/overview")).await.expect(200);
    assert_eq!(own["ending_licenses"]["value"], 1);
    let item =
        own["attention"].as_array().unwrap().iter().find(|one| one["kind"] == "license_ending");
    assert_eq!(item.unwrap()["at"], "2026-01-20T00:00:00Z");
    world.pass(TimeDelta::days(60));
    let own = world.get(world.org("/overview")).await.expect(200);
    assert_eq!(own["ending_licenses"]["value"], 0);
}
