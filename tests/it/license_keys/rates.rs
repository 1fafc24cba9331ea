//! The rates of license keys: guesses count by address, and each key has its own rate.

use chrono::TimeDelta;
use cp_server::kernel::access::buckets::Rate;
use serde_json::{Value, json};

use super::text;
use crate::world::{Client, World, on_both};

/// Keys with valid checksums that no license has.
fn made_up(n: u8) -> String {
    let key = cp_contracts::LicenseKey::from_random([n; 15]);
    key.display().to_string()
}

fn server(world: &World) -> Client {
    let (_, server) = world.server(|settings| {
        settings.shared.rate_limits = true;
        settings.shared.rates.attempts = Some(Rate::new(60, 3));
        settings.shared.rates.strangers = Some(Rate::new(60, 30));
        settings.shared.rates.license_key = Some(Rate::new(60, 4));
    });
    server
}

async fn code(client: &Client, key: &str) -> Value {
    let answer = client.post("/licenses/validate", json!({"key": key})).await;
    match answer.status {
        200 => answer.json()["code"].clone(),
        _ => answer.refused(429, "rate_limited")["metric"].clone(),
    }
}

#[on_both]
async fn good_key_does_not_wait_for_its_neighbours(world: World) {
    let server = server(&world);
    let here = server.clone().from("203.0.113.1");
    let (good, other) = (&world.acme.license_key, &world.globex.license_key);
    assert_eq!(code(&here, good).await, "valid");
    for n in 0..3 {
        assert_eq!(code(&here, &made_up(n)).await, "key_unknown");
    }
    assert_eq!(code(&here, &made_up(9)).await, "attempts");
    // A key that is new to this server might be a guess.
    assert_eq!(code(&here, other).await, "attempts");
    assert_eq!(code(&here, good).await, "valid");
    assert_eq!(code(&server.clone().from("203.0.113.2"), other).await, "valid");
    world.pass(TimeDelta::minutes(11));
    assert_eq!(code(&here, good).await, "valid", "the guesses are long ago");
}

#[on_both]
async fn valid_keys_are_no_guesses(world: World) {
    let here = server(&world).from("203.0.113.1");
    let path = format!("/licenses/{}/keys", world.acme.license);
    for _ in 0..6 {
        let key = world.post(&path, json!({})).await.expect(201);
        assert_eq!(code(&here, &text(&key, "key")).await, "valid");
    }
    for n in 0..3 {
        assert_eq!(code(&here, &made_up(n)).await, "key_unknown");
    }
    // Bodies that are refused count, too.
    assert_eq!(here.post("/licenses/validate", json!({})).await.status, 429);
}

#[on_both]
async fn each_key_has_its_own_rate_for_header_and_body(world: World) {
    let server = server(&world);
    let (one, other) = (&world.acme.license_key, &world.globex.license_key);
    let at = |n: u8| server.clone().from(&format!("203.0.113.{n}"));
    for n in 0..2 {
        assert_eq!(code(&at(n), one).await, "valid");
        at(n).license_key(one).get("/me").await.expect(200);
    }
    assert_eq!(code(&at(3), one).await, "license_key");
    let problem = at(4).license_key(one).get("/me").await.refused(429, "rate_limited");
    assert_eq!(problem["metric"], "license_key");
    assert_eq!(code(&at(3), other).await, "valid");
    world.pass(TimeDelta::seconds(1));
    assert_eq!(code(&at(3), one).await, "valid");
}
