use chrono::TimeDelta;
use cp_server::Settings;
use serde_json::{Value, json};

use crate::world::{AUDIENCE, Client, ISSUER, ROOT, World, on_both};

/// A person of the world who logged in, on a server that holds everybody to their rates.
async fn person(world: &World, subject: &str) -> Client {
    let (app, server) = world.with_settings(Settings::new(ISSUER, AUDIENCE)).await;
    server.person(&app, world.login(subject))
}

/// An organization of this plan and owner: its path.
async fn organization(world: &World, plan: &str, owner: &str) -> String {
    let body =
        json!({"name": format!("{plan} organization"), "plan_code": plan, "owner_user_id": owner});
    let made: Value = world.post("/organizations", body).await.expect(201);
    format!("/organizations/{}", made["id"].as_str().unwrap())
}

#[on_both]
async fn an_organization_has_so_many_requests_in_a_minute(world: World) {
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    let free = json!({"plan_code": "free"});
    world.patch(&subscription, free).await.expect(200);
    let server = world.with_rate_limits().await;
    let acme = server.clone().token(&world.acme.token);
    let data_plane = server.clone().token(&world.acme.deployment_token);
    let root = server.clone().token(ROOT);

    let first = acme.get("/me").await;
    assert_eq!(first.header("ratelimit-policy"), "\"requests_per_minute\";q=10;w=60");
    assert_eq!(first.header("ratelimit"), "\"requests_per_minute\";r=9;t=60");
    first.expect(200);
    world.pass(TimeDelta::seconds(20));
    for left in (0..9).rev() {
        // They count whatever they are answered.
        let answer = acme.get("/projects/00000000-0000-7000-8000-000000000000").await;
        let expected = format!("\"requests_per_minute\";r={left};t=40");
        assert_eq!(answer.header("ratelimit"), expected);
        answer.refused(404, "not_found");
    }
    let answer = acme.get("/me").await;
    assert_eq!(answer.header("ratelimit"), "\"requests_per_minute\";r=0;t=40");
    assert_eq!(answer.header("retry-after"), "40");
    let problem = answer.refused(429, "rate_limited");
    assert_eq!(
        [&problem["metric"], &problem["limit"], &problem["used"], &problem["requested"]],
        [&json!("requests_per_minute"), &json!(10), &json!(10), &json!(1)]
    );
    assert_eq!(problem["organization_id"], world.acme.org);

    // The vendor's product goes on: deployments, and whoami by whichever token.
    for client in [&data_plane, &acme] {
        let answer = client.get("/users/whoami?provider=x&subject=y").await;
        assert_eq!(answer.header("ratelimit"), "");
        answer.refused(404, "identity_unknown");
    }
    let usage = json!({"metric": "calls", "quantity": 1});
    data_plane.post(world.org("/usage"), usage).await.expect(201);

    // Others are not held back: neither another organization, nor the platform, nor the public.
    server.clone().token(&world.globex.token).get("/me").await.expect(200);
    let answer = root.get(world.org("")).await;
    assert_eq!(answer.header("ratelimit"), "");
    answer.expect(200);
    let answer = acme.get("/.well-known/jwks.json").await;
    assert_eq!((answer.status, answer.header("ratelimit")), (200, ""));

    world.pass(TimeDelta::seconds(40));
    acme.get("/me").await.expect(200);
}

#[on_both]
async fn a_request_is_charged_to_the_organization_that_its_path_names(world: World) {
    let free = organization(&world, "free", &world.acme.stranger).await;
    let enterprise = organization(&world, "enterprise", &world.acme.stranger).await;
    let person = person(&world, "auth0|sven-acme").await;
    let workspace = json!({"name": "Production"});
    let made = world.post(format!("{free}/workspaces"), workspace).await.expect(201);
    let workspace = format!("/workspaces/{}", made["id"].as_str().unwrap());
    for _ in 0..12 {
        person.get(&enterprise).await.expect(200);
        // A person of several organizations is none of them to themselves.
        person.get("/me").await.expect(200);
        // A request for an invisible organization is charged to no organization, least of all its owner.
        person.get(world.org("")).await.refused(404, "not_found");
    }
    for left in (0..10).rev() {
        let answer = person.get(if left % 2 == 0 { &free } else { &workspace }).await;
        assert_eq!(answer.header("ratelimit"), format!("\"requests_per_minute\";r={left};t=60"));
        answer.expect(200);
    }
    let problem = person.get(&workspace).await.refused(429, "rate_limited");
    assert!(free.ends_with(problem["organization_id"].as_str().unwrap()));
    person.patch(&free, json!({"name": "Other"})).await.refused(429, "rate_limited");
    person.get(&enterprise).await.expect(200);
}

#[on_both]
async fn the_organization_that_came_first_does_not_matter(world: World) {
    let enterprise = organization(&world, "enterprise", &world.acme.stranger).await;
    let free = organization(&world, "free", &world.acme.stranger).await;
    let person = person(&world, "auth0|sven-acme").await;
    for _ in 0..10 {
        person.get(&free).await.expect(200);
    }
    person.get(&free).await.refused(429, "rate_limited");
    person.get(&enterprise).await.expect(200);
}

#[on_both]
async fn each_event_of_an_array_counts(world: World) {
    let server = world.with_rate_limits().await;
    let acme = server.clone().token(&world.acme.token);
    let event = json!({"metric": "m", "quantity": 1});
    let answer = acme.post(world.org("/usage"), json!([event, event, event])).await;
    assert_eq!(answer.header("ratelimit"), "\"requests_per_minute\";r=297;t=60");
    answer.expect(200);
    let many = vec![event.clone(); 400];
    let answer = acme.post(world.org("/usage"), json!(many)).await;
    assert_eq!(answer.header("ratelimit"), "\"requests_per_minute\";r=0;t=60");
    answer.expect(200);
    acme.post(world.org("/usage"), event).await.refused(429, "rate_limited");
    world.pass(TimeDelta::seconds(60));
    acme.get("/me").await.expect(200);
}

#[on_both]
async fn a_change_of_plan_is_heeded_at_once_and_unlimited_is_not_counted(world: World) {
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    let server = world.with_rate_limits().await;
    let (acme, root) = (server.clone().token(&world.acme.token), server.token(ROOT));
    assert_eq!(acme.get("/me").await.header("ratelimit"), "\"requests_per_minute\";r=299;t=60");
    let none = json!({"code": "none", "name": "None", "limits": {"requests_per_minute": 0}, "seat_cap": 5});
    root.post("/plans", none).await.expect(201);
    root.patch(&subscription, json!({"plan_code": "none"})).await.expect(200);
    acme.get("/me").await.refused(429, "rate_limited");
    let all = json!({"limits": {"requests_per_minute": null}});
    root.patch("/plans/none", all).await.expect(200);
    root.post("/plans/none/migrate", json!({})).await.expect(200);
    assert_eq!(acme.get("/me").await.header("ratelimit"), "");
}
