mod bindings;
mod copies;
mod effective;
mod endpoints;
mod entitlements;
mod guards;
mod marketplace;
mod plans;
mod products;
mod resources;
mod scope_filters;
mod tags;

use serde_json::{Value, json};

use crate::world::World;

/// Creates a resource of acme, and returns it.
async fn resource(world: &World, body: Value) -> Value {
    world.post(world.org("/resources"), body).await.expect(201)
}

fn id(made: &Value) -> String {
    made["id"].as_str().unwrap().to_owned()
}

/// Creates a guardrail of acme with this key.
async fn guardrail(world: &World, key: &str) -> String {
    id(&resource(world, json!({"kind": "guardrail", "name": key, "key": key})).await)
}

/// Creates an agent of acme with these guardrails.
async fn agent(world: &World, name: &str, guardrails: &[&String]) -> String {
    let body = json!({"kind": "agent", "name": name, "guardrails": guardrails});
    id(&resource(world, body).await)
}
