//! Notices of ends, under a clock that moves.

use chrono::{DateTime, TimeDelta, Utc};
use cp_server::lifecycle::notices::announce;
use serde_json::{Value, json};

use super::place;
use crate::world::{World, on_both};

/// The notices about one subject: their types, days and instants.
async fn notices(world: &World, subject: &str) -> Vec<(String, i64, DateTime<Utc>)> {
    place(world).await;
    let path = format!("/audit?target={subject}&limit=500");
    let events = world.get(path).await.expect(200)["items"].as_array().unwrap().clone();
    let of_notices = events.iter().rev().filter(|event| event["actor_name"] == "notices");
    of_notices
        .map(|event| {
            let action = event["action"].as_str().unwrap().to_owned();
            let at = event["at"].as_str().unwrap().parse().unwrap();
            (action, event["after"]["days"].as_i64().unwrap(), at)
        })
        .collect()
}

/// Sets the end of acme's license.
async fn end(world: &World, at: &str, grace_days: i64) {
    let body = json!({"valid_until": at, "grace_days": grace_days});
    world.patch(format!("/licenses/{}", world.acme.license), body).await.expect(200);
}

#[on_both]
async fn each_threshold_is_announced_once_by_two_replicas_over_400_days(world: World) {
    let (second, _) = world.server(|settings| settings.shared.rate_limits = false);
    announce(&world.app).await.unwrap();
    end(&world, "2026-06-30T12:00:00Z", 5).await;
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(subscription, json!({"ends_at": "2027-01-10T00:00:00Z"})).await.expect(200);
    let limit = json!({"metric": "calls", "quantity": 10, "window": "gauge", "notify_at": [50]});
    let limit = world.put(world.org("/limits"), limit).await.expect(201);
    world.post(world.org("/usage"), json!({"metric": "calls", "quantity": 6})).await.expect(201);
    // Across four changes of daylight-saving time, by hours that do not divide a day.
    for n in 0..960 {
        world.pass(TimeDelta::hours(10));
        // 40 days of downtime, over the thresholds and the end of the subscription.
        if (812..908).contains(&n) {
            continue;
        }
        let both = [&world.app, &second];
        let (first, other) = tokio::join!(announce(both[n % 2]), announce(both[(n + 1) % 2]));
        first.unwrap();
        other.unwrap();
    }
    let found = notices(&world, &world.acme.license).await;
    let kinds: Vec<(&str, i64)> =
        found.iter().map(|(kind, days, _)| (kind.as_str(), *days)).collect();
    assert_eq!(
        kinds,
        [
            ("licenses.expiring", 30),
            ("licenses.expiring", 14),
            ("licenses.expiring", 7),
            ("licenses.expiring", 1),
            ("licenses.expire", 0),
            ("licenses.grace_end", 0),
        ]
    );
    let end: DateTime<Utc> = "2026-06-30T12:00:00Z".parse().unwrap();
    for (kind, days, at) in found {
        let grace = if kind == "licenses.grace_end" { 5 } else { 0 };
        let late = at - (end - TimeDelta::days(days) + TimeDelta::days(grace));
        assert!(late >= TimeDelta::zero() && late < TimeDelta::hours(10), "{kind} {days}: {late}");
    }
    // The server was down from 5 December to 14 January: the end was not announced before it.
    let found = notices(&world, &world.acme.subscription).await;
    let kinds: Vec<(&str, i64)> =
        found.iter().map(|(kind, days, _)| (kind.as_str(), *days)).collect();
    assert_eq!(kinds, [("subscriptions.end", 0)]);
    place(&world).await;
    let all = world.get("/audit?action=limits.near&limit=500").await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all}");
    assert_eq!(all["items"][0]["target_id"], limit["id"]);
}

#[on_both]
async fn after_a_pause_only_the_nearest_threshold_is_announced(world: World) {
    announce(&world.app).await.unwrap();
    end(&world, "2026-03-01T00:00:00Z", 0).await;
    // 40 days without the job: the thresholds of 30 and 14 days pass.
    world.pass(TimeDelta::days(46));
    announce(&world.app).await.unwrap();
    announce(&world.app).await.unwrap();
    let found = notices(&world, &world.acme.license).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0.as_str(), found[0].1), ("licenses.expiring", 14));
    // A pause over the end.
    world.pass(TimeDelta::days(40));
    announce(&world.app).await.unwrap();
    let found = notices(&world, &world.acme.license).await;
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].0, "licenses.expire");
    // Another end is announced again.
    world.pass(TimeDelta::seconds(1));
    end(&world, "2026-04-01T00:00:00Z", 0).await;
    announce(&world.app).await.unwrap();
    let found = notices(&world, &world.acme.license).await;
    assert_eq!((found.len(), found[2].0.as_str(), found[2].1), (3, "licenses.expiring", 7));
}

#[on_both]
async fn ends_before_the_first_run_are_no_news(world: World) {
    end(&world, "2026-01-03T00:00:00Z", 0).await;
    world.pass(TimeDelta::days(3));
    announce(&world.app).await.unwrap();
    assert_eq!(notices(&world, &world.acme.license).await, []);
}

/// As an import of licenses that have expired elsewhere.
#[on_both]
async fn end_before_the_creation_is_no_news(world: World) {
    announce(&world.app).await.unwrap();
    world.pass(TimeDelta::days(60));
    let deployment = json!({"name": "Old", "type": "cloud"});
    let deployment = world.post(world.org("/deployments"), deployment).await.expect(201);
    let path = format!("/deployments/{}/licenses", deployment["id"].as_str().unwrap());
    let term = json!({
        "valid_from": "2026-01-01T00:00:00Z", "valid_until": "2026-02-01T00:00:00Z",
        "grace_days": 3,
    });
    let license = world.post(path, term).await.expect(201);
    announce(&world.app).await.unwrap();
    assert_eq!(notices(&world, license["id"].as_str().unwrap()).await, []);
}

#[on_both]
async fn organization_chooses_its_days_and_types(world: World) {
    announce(&world.app).await.unwrap();
    let settings =
        json!({"settings": {"notifications": {"days": [3], "off": ["licenses.expire"]}}});
    world.patch(world.org(""), settings).await.expect(200);
    end(&world, "2026-02-20T00:00:00Z", 0).await;
    for _ in 0..60 {
        world.pass(TimeDelta::days(1));
        announce(&world.app).await.unwrap();
    }
    let found = notices(&world, &world.acme.license).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0.as_str(), found[0].1), ("licenses.expiring", 3));
    let bad = json!({"settings": {"notifications": {"days": [0]}}});
    world.patch(world.org(""), bad).await.invalid("settings.notifications.days[0]");
}

#[on_both]
async fn organization_chooses_more_days_than_the_platform(world: World) {
    announce(&world.app).await.unwrap();
    let settings = json!({"settings": {"notifications": {"days": [60, 10]}}});
    world.patch(world.org(""), settings).await.expect(200);
    end(&world, "2026-05-01T12:00:00Z", 0).await;
    for _ in 0..130 {
        world.pass(TimeDelta::days(1));
        announce(&world.app).await.unwrap();
    }
    let end: DateTime<Utc> = "2026-05-01T12:00:00Z".parse().unwrap();
    let found = notices(&world, &world.acme.license).await;
    let kinds: Vec<(&str, i64, i64)> = found
        .iter()
        .map(|(kind, days, at)| (kind.as_str(), *days, (end - *at).num_days()))
        .collect();
    let (soon, over) = ("licenses.expiring", "licenses.expire");
    assert_eq!(kinds, [(soon, 60, 59), (soon, 10, 9), (over, 0, 0)]);
}

#[on_both]
async fn unknown_types_cannot_be_turned_off(world: World) {
    let off = |types: Value| json!({"settings": {"notifications": {"off": types}}});
    let problem = world.patch(world.org(""), off(json!(["licenses.expires"]))).await;
    let problem = problem.invalid("settings.notifications.off");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("Did you mean `licenses.expire`?"), "{detail}");
    assert!(detail.contains("limits.near") && detail.contains("leases.overage"), "{detail}");
    let known = json!(["licenses.expire", "limits.near", "leases.overage"]);
    world.patch(world.org(""), off(known)).await.expect(200);
    // An event that is no notice cannot be turned off.
    let other = off(json!(["licenses.update"]));
    world.patch(world.org(""), other).await.invalid("settings.notifications.off");
}

#[on_both]
async fn tokens_keys_and_subscriptions_are_announced(world: World) {
    announce(&world.app).await.unwrap();
    let token =
        json!({"name": "ci", "permissions": ["org:read"], "expires_at": "2026-03-01T00:00:00Z"});
    let token = world.post(world.org("/service-tokens"), token).await.expect(201);
    let short =
        json!({"name": "hour", "permissions": ["org:read"], "expires_at": "2026-01-02T01:00:00Z"});
    let short = world.post(world.org("/service-tokens"), short).await.expect(201);
    let key = format!("/licenses/{}/keys", world.acme.license);
    let key = world.post(key, json!({"expires_at": "2026-03-01T00:00:00Z"})).await.expect(201);
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(subscription, json!({"ends_at": "2026-02-15T00:00:00Z"})).await.expect(200);
    for _ in 0..120 {
        world.pass(TimeDelta::hours(12));
        announce(&world.app).await.unwrap();
    }
    let of = async |subject: &Value| {
        let found = notices(&world, subject.as_str().unwrap()).await;
        found.into_iter().map(|(kind, days, _)| (kind, days)).collect::<Vec<_>>()
    };
    let at = |kind: &str, days: &[i64]| -> Vec<(String, i64)> {
        days.iter().map(|day| (kind.to_owned(), *day)).collect()
    };
    assert_eq!(of(&token["id"]).await, at("service_tokens.expiring", &[30, 7, 1]));
    assert_eq!(of(&short["id"]).await, [], "its thresholds are before its creation");
    assert_eq!(of(&key["id"]).await, at("license_keys.expiring", &[30, 7]));
    let mut expected = at("subscriptions.ending", &[30, 14, 7, 1]);
    expected.extend(at("subscriptions.end", &[0]));
    assert_eq!(of(&json!(world.acme.subscription)).await, expected);
}
