//! Tokens that a customer's admins fetch.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use super::check_in::{check_in, data_plane, license, life, path};
use crate::world::{AUDIENCE, ROOT, World, on_both};

#[on_both]
async fn owners_and_admins_may_fetch_tokens_and_members_may_not(world: World) {
    let stranger = json!({"user_id": world.acme.stranger, "role": "member"});
    world.post(world.org("/memberships"), stranger).await.expect(201);
    let token = format!("{}/token", license(&world));
    for subject in ["auth0|olga-acme", "auth0|mats-acme"] {
        let person = world.person(subject);
        let bundle = person.post(&token, json!({})).await.expect(201);
        assert_eq!(bundle["payload"]["aud"], AUDIENCE);
        person.post(path(&world), json!({})).await.expect(200);
    }
    let member = world.person("auth0|sven-acme");
    member.post(&token, json!({})).await.refused(403, "forbidden");
    member.post(path(&world), json!({})).await.refused(403, "forbidden");
    data_plane(&world).post(&token, json!({})).await.expect(201);
}

#[on_both]
async fn fetched_token_has_the_vendors_life_and_may_be_a_file(world: World) {
    world.patch(license(&world), json!({"token_ttl_seconds": 86_400})).await.expect(200);
    let token = format!("{}/token", license(&world));
    let owner = world.person("auth0|olga-acme");
    let answer = owner.post(&token, json!({"form": "file"})).await;
    let bundle = answer.expect(201);
    assert!(bundle["file"].is_string() && bundle["seq"].is_i64(), "{bundle}");
    assert_eq!(life(&bundle), 86_400);
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(
        (&event["action"], &event["target_id"]),
        (&json!("licenses.token"), &bundle["jti"]),
        "{event}"
    );
    for (field, value) in [("ttl_seconds", json!(3600)), ("audience", json!("edge"))] {
        owner.post(&token, json!({field: value})).await.invalid(field);
    }
}

#[on_both]
async fn license_has_twenty_fetched_tokens_a_day(world: World) {
    let token = format!("{}/token", license(&world));
    world.pass(TimeDelta::hours(23));
    for n in 0..20 {
        let answer = world.post(&token, json!({})).await;
        assert_eq!(answer.status, 201, "{n}: {}", answer.text());
    }
    // Another replica has the same count, and the day ends at midnight.
    let (_, replica) = world.replica().await;
    let owner = replica.token(ROOT);
    let answer = owner.post(&token, json!({})).await;
    assert_eq!(answer.header("retry-after"), "3601");
    answer.refused(429, "rate_limited");
    let events = world.count_events().await;
    world.post(&token, json!({})).await.refused(429, "rate_limited");
    assert_eq!(world.count_events().await, events);
    // A check-in does not count, nor does another license.
    assert_eq!(check_in(&world, json!({})).await["code"], "valid");
    world.post(format!("/licenses/{}/token", world.globex.license), json!({})).await.expect(201);
    world.pass(TimeDelta::hours(1));
    world.post(&token, json!({})).await.expect(201);
}

#[on_both]
async fn concurrent_fetches_keep_the_limit(world: World) {
    let token = format!("{}/token", license(&world));
    for _ in 0..17 {
        world.post(&token, json!({})).await.expect(201);
    }
    let answers = join_all((0..6).map(|_| world.post(&token, json!({})))).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 3, "{:?}", answers.iter().map(|a| a.status).collect::<Vec<_>>());
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.refused(429, "rate_limited");
    }
}
