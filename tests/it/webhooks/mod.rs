//! Webhooks: endpoints, deliveries, and receivers that fail.

mod bounces;
mod endpoints;
mod hostile;
mod long_run;
mod mail;
mod receiver;
mod replay;
mod sending;
mod smtp;
mod strangers;

use cp_server::webhooks::sending::settle;
use serde_json::{Value, json};

use crate::events::place;
use crate::world::World;

pub use receiver::Receiver;

/// Removes the webhooks of the template, whose receivers do not exist.
pub async fn alone(world: &World) {
    for tenant in [&world.acme, &world.globex] {
        world.delete(format!("/webhooks/{}", tenant.others["webhooks"])).await.expect(204);
    }
    deliver(world).await;
}

/// Creates a webhook of acme.
pub async fn webhook(world: &World, url: &str, types: &[&str]) -> Value {
    let body = json!({"url": url, "types": types});
    world.post(world.org("/webhooks"), body).await.expect(201)
}

/// Sends what is due.
pub async fn deliver(world: &World) {
    place(world).await;
    settle(&world.app).await.unwrap();
}

pub fn id(thing: &Value) -> &str {
    thing["id"].as_str().unwrap()
}
