//! Roles and grants at an organization's identity provider.

mod access;
mod faults;
mod limits;
mod runs;
mod secrets;
mod selection;

use serde_json::{Value, json};

use crate::world::zitadel::Zitadel;
use crate::world::{Answer, Client, World};

/// The path of acme's provider.
fn path(world: &World) -> String {
    world.org("/identity-providers/zitadel")
}

fn provision(world: &World) -> String {
    world.org("/identity-providers/zitadel/provision")
}

/// Starts a Zitadel that knows mats and olga, and sets it as acme's provider with these members over
/// the usual ones.
async fn zitadel(world: &World, over: Value) -> Zitadel {
    let zitadel = Zitadel::start().await;
    zitadel.set(|inner| {
        inner.known.add_user("71", "Mats@Acme.example");
        inner.known.add_user("72", "olga@acme.example");
    });
    world.put(path(world), zitadel.body(over)).await.expect(201);
    zitadel
}

/// Runs once, as the platform.
async fn run(world: &World, body: Value) -> Answer {
    world.post(provision(world), body).await
}

/// Runs once with success.
async fn ran(world: &World, body: Value) -> Value {
    run(world, body).await.expect(200)
}

/// The owner of acme.
fn owner(world: &World) -> Client {
    world.person("auth0|olga-acme")
}

/// The statuses of the items, with their reasons.
fn statuses(outcome: &Value, list: &str) -> Vec<String> {
    let items = outcome[list].as_array().unwrap().iter();
    items
        .map(|item| {
            let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
            [text("action"), text("status"), text("reason")].join(" ").trim().to_owned()
        })
        .collect()
}

/// The summary with these counts; others are 0.
fn summary(counts: &[(&str, u32)]) -> Value {
    let mut summary = json!({
        "planned": 0, "done": 0, "unchanged": 0, "failed": 0, "skipped": 0, "unresolved": 0,
    });
    for (name, count) in counts {
        summary[*name] = json!(count);
    }
    summary
}
