//! Who may come how often, and who pays for a flood.

use axum::http::Method;
use chrono::TimeDelta;
use cp_server::Settings;
use cp_server::kernel::access::buckets::Rate;
use cp_server::kernel::access::rate_limits::Rates;
use serde_json::json;

use crate::world::issuer::Issuer;
use crate::world::{AUDIENCE, Client, ISSUER, ROOT, World, on_both};

/// Rates that a test can reach.
fn narrow() -> Settings {
    let some = |burst| Some(Rate::new(60, burst));
    let mut settings = Settings::new(ISSUER, AUDIENCE);
    settings.shared.rates = Rates {
        strangers: some(4),
        attempts: some(3),
        credential: some(8),
        organization: some(5),
        signing: some(2),
        keys: some(2),
        tokens: some(2),
        license_key: some(4),
    };
    settings
}

fn made_up(n: u32) -> String {
    format!("no-such-token-{n:08}")
}

#[on_both]
async fn strangers_are_held_by_their_address(world: World) {
    let (_, server) = world.with_settings(narrow()).await;
    let stranger = |address: &str| server.clone().from(address);
    let get = async |client: Client, path: &str| client.call(Method::GET, path, None).await;
    for _ in 0..2 {
        get(stranger("203.0.113.1"), "/.well-known/jwks.json").await.expect(200);
        get(stranger("203.0.113.1"), "/api/v1/me").await.refused(401, "unauthenticated");
    }
    let answer = get(stranger("203.0.113.1"), "/.well-known/jwks.json").await;
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(answer.header("ratelimit-policy"), "\"address\";q=4;w=4");
    assert_eq!(answer.header("ratelimit"), "\"address\";r=0;t=1");
    let problem = answer.refused(429, "rate_limited");
    assert_eq!([&problem["metric"], &problem["limit"]], [&json!("address"), &json!(4)]);
    get(stranger("203.0.113.2"), "/.well-known/jwks.json").await.expect(200);
    // Who is known is not a stranger, wherever they sit.
    stranger("203.0.113.1").token(ROOT).get("/me").await.expect(200);
    world.pass(TimeDelta::seconds(1));
    get(stranger("203.0.113.1"), "/.well-known/jwks.json").await.expect(200);
}

#[on_both]
async fn guesses_are_held_before_the_database_and_neighbours_are_not(world: World) {
    let (app, server) = world.with_settings(narrow()).await;
    let here = server.clone().from("203.0.113.1");
    here.clone().token(&world.acme.token).get("/me").await.expect(200);
    for n in 0..3 {
        here.clone().token(&made_up(n)).get("/me").await.refused(401, "unauthenticated");
    }
    let problem = here.clone().token(&made_up(9)).get("/me").await.refused(429, "rate_limited");
    assert_eq!(problem["metric"], "attempts");
    // A good token that is new to this server might be a guess; a verified one is known.
    here.clone().token(&world.globex.token).get("/me").await.refused(429, "rate_limited");
    here.clone().token(&world.acme.token).get("/me").await.expect(200);
    let there = server.clone().from("203.0.113.2");
    there.clone().token(&world.globex.token).get("/me").await.expect(200);
    // Without a database: what is refused at the gate is refused still, so it asks nothing.
    drop(app);
    world.lose_database().await;
    here.clone().token(&made_up(10)).get("/me").await.refused(429, "rate_limited");
    there.token(&made_up(11)).get("/me").await.refused(503, "unavailable");
}

#[on_both]
async fn a_credential_has_its_rates_and_stricter_ones_for_what_weighs(world: World) {
    let (_, server) = world.with_settings(narrow()).await;
    let root = server.clone().token(ROOT).from("203.0.113.1");
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    for _ in 0..2 {
        root.post(&bundles, json!({})).await.expect(201);
    }
    let answer = root.post(&bundles, json!({})).await;
    assert_eq!(answer.header("connection"), "", "who is known goes on");
    let problem = answer.refused(429, "rate_limited");
    assert_eq!(problem["metric"], "signing");
    for _ in 0..2 {
        root.post("/service-tokens", json!({})).await.invalid("name");
    }
    let problem = root.post("/service-tokens", json!({})).await.refused(429, "rate_limited");
    assert_eq!(problem["metric"], "tokens");
    root.get("/plans").await.expect(200);
    // Its eight are spent.
    root.get("/plans").await.expect(200);
    let answer = root.get("/plans").await;
    assert_eq!(answer.header("ratelimit-policy"), "\"credential\";q=8;w=8");
    answer.refused(429, "rate_limited");
    world.pass(TimeDelta::seconds(2));
    root.post(&bundles, json!({})).await.expect(201);
    let by = server.token(&world.acme.token).from("203.0.113.1");
    by.get("/me").await.expect(200);
}

#[on_both]
async fn an_organization_has_its_own_rate_whatever_its_plan_says(world: World) {
    let (_, server) = world.with_settings(narrow()).await;
    let acme = server.clone().token(&world.acme.token).from("203.0.113.1");
    let data_plane = server.clone().token(&world.acme.deployment_token).from("203.0.113.2");
    let globex = server.clone().token(&world.globex.token).from("203.0.113.3");
    let root = server.clone().token(ROOT).from("203.0.113.4");
    // Neither outsiders nor the platform, narrowed or not, use it up.
    globex.get(world.org("")).await.refused(404, "not_found");
    for _ in 0..2 {
        root.get(world.org("")).await.expect(200);
        let narrowed = root.clone().with("x-organization-id", &world.acme.org);
        narrowed.get(world.org("/projects")).await.expect(200);
    }
    for _ in 0..2 {
        acme.get("/me").await.expect(200);
        data_plane.get("/me").await.expect(200);
    }
    acme.get(world.org("/projects")).await.expect(200);
    for client in [&acme, &data_plane] {
        let answer = client.get("/me").await;
        assert_eq!(answer.header("ratelimit-policy"), "\"organization\";q=5;w=5");
        assert_eq!(answer.header("retry-after"), "1");
        let problem = answer.refused(429, "rate_limited");
        assert_eq!([&problem["metric"], &problem["limit"]], [&json!("organization"), &json!(5)]);
        assert_eq!(problem["organization_id"], world.acme.org);
    }
    globex.get("/me").await.expect(200);
    root.get(world.org("")).await.expect(200);
    world.pass(TimeDelta::seconds(1));
    data_plane.get("/me").await.expect(200);
}

/// A running data plane sends a heartbeat for each lease: 4,000 a minute for 10,000 leases of 300 s.
#[on_both]
async fn heartbeats_of_a_deployment_leave_the_organizations_rate_to_its_people(world: World) {
    let server = world.with_rate_limits().await;
    let data_plane = server.clone().token(&world.acme.deployment_token).from("203.0.113.1");
    let leases = format!("/licenses/{}/leases", world.acme.license);
    let lease = data_plane.post(&leases, json!({"holder": {"id": "a"}})).await.expect(201);
    let lease = format!("/leases/{}", lease["id"].as_str().unwrap());
    for _ in 0..700 {
        data_plane.put(&lease, json!({})).await.expect(200);
    }
    // Neither do its check-ins and its questions about users.
    let deployment = format!("/deployments/{}/check-in", world.acme.deployment);
    data_plane.post(deployment, json!({})).await.expect(200);
    data_plane.get("/users/whoami?provider=x&subject=y").await.refused(404, "identity_unknown");
    let acme = server.clone().token(&world.acme.token).from("203.0.113.2");
    acme.get(world.org("/projects")).await.expect(200);
    // The rate of the credential bounds them.
    let (_, server) = world.with_settings(narrow()).await;
    let data_plane = server.token(&world.acme.deployment_token).from("203.0.113.1");
    for _ in 0..8 {
        data_plane.put(&lease, json!({})).await.expect(200);
    }
    let problem = data_plane.put(&lease, json!({})).await.refused(429, "rate_limited");
    assert_eq!(problem["metric"], "credential");
}

#[on_both]
async fn attempts_that_are_answered_otherwise_than_with_success_count(world: World) {
    let (up, down) = (Issuer::start().await, Issuer::start().await);
    let providers = vec![up.on_platform("up", json!({})), down.on_platform("down", json!({}))];
    down.stop().await;
    let (_, server) = world.server(|settings| {
        *settings = Settings { identity: settings.identity.clone(), ..narrow() };
        settings.identity.providers = providers;
    });
    // Logins that are not linked to a user, and those of an issuer that does not answer.
    for (address, issuer, status) in [("203.0.113.1", &up, 403), ("203.0.113.2", &down, 503)] {
        let client = server.clone().from(address);
        for n in 0..5 {
            let token = issuer.token(json!({"sub": format!("unknown-{n}")}));
            let answer = client.clone().token(&token).get("/me").await;
            assert_eq!(answer.status, if n < 3 { status } else { 429 }, "{address} {n}");
        }
    }
}

#[on_both]
async fn attempts_at_once_are_counted_before_they_are_checked(world: World) {
    let (_, server) = world.with_settings(narrow()).await;
    let here = server.clone().from("203.0.113.1");
    let guesses = (0..20).map(|n| {
        let by = here.clone().token(&made_up(n));
        async move { by.get("/me").await.status }
    });
    let statuses = futures_util::future::join_all(guesses).await;
    let checked = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!(checked, 3, "{statuses:?}");
    // One good credential that is sent many times at once is one attempt, and is returned.
    let there = server.clone().from("203.0.113.2").token(&world.acme.token);
    let requests = (0..5).map(|_| async { there.get("/me").await.status });
    assert_eq!(futures_util::future::join_all(requests).await, [200; 5]);
    for n in 0..3 {
        let by = server.clone().from("203.0.113.2").token(&made_up(n));
        by.get("/me").await.refused(401, "unauthenticated");
    }
}

#[on_both]
async fn an_invitation_is_guessed_at_only_so_often(world: World) {
    let (_, server) = world.with_settings(narrow()).await;
    let guess = async || {
        let client = server.clone().from("2001:db8:0:1::5");
        client.post("/invitations/accept", json!({"token": "x".repeat(40)})).await
    };
    for _ in 0..3 {
        assert!(guess().await.status < 429);
    }
    assert_eq!(guess().await.refused(429, "rate_limited")["metric"], "attempts");
}

#[on_both]
async fn every_replica_counts_for_itself_and_rates_can_be_switched_off(world: World) {
    let replicas = [world.with_settings(narrow()).await.1, world.with_settings(narrow()).await.1];
    let mut admitted = 0;
    for n in 0..40 {
        let by = replicas[n % 2].clone().token(ROOT).from("203.0.113.1");
        let answer = by.get("/me").await;
        admitted += u32::from(answer.status == 200);
    }
    assert_eq!(admitted, 16, "twice the eight of one");
    let mut settings = narrow();
    settings.shared.rate_limits = false;
    let (_, server) = world.with_settings(settings).await;
    for _ in 0..40 {
        server.clone().token(ROOT).from("203.0.113.1").get("/me").await.expect(200);
    }
}

/// The command line calls operations in its own process: rate limits do not apply.
#[tokio::test]
async fn calls_inside_the_process_are_not_counted() {
    let world = World::on_sqlite().await;
    let (_, server) = world.with_settings(narrow()).await;
    for _ in 0..40 {
        server.clone().token(ROOT).get("/me").await.expect(200);
    }
}
