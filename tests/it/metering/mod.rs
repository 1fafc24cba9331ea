mod allocated_groups;
mod allocations;
mod budgets;
mod credits;
mod cycles;
mod digits;
mod enforcement;
mod limits;
mod properties;
mod recording;
mod reports;
mod summary;

use serde_json::{Value, json};

use crate::world::World;

/// A project of acme's, by its name.
async fn project(world: &World, name: &str) -> String {
    let made = world.post(world.org("/projects"), json!({"name": name})).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

/// Millionths of a number of an answer.
fn millionths(value: &Value) -> i128 {
    let text = value.to_string();
    if text.contains('e') {
        return (value.as_f64().unwrap() * 1e6).round() as i128;
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{fraction:0<6}").parse().unwrap()
}

/// Records usage of acme's: an event, or an array of them.
async fn record(world: &World, body: Value) -> Value {
    let many = body.is_array();
    let answer = world.post(world.org("/usage"), body).await;
    answer.expect(if many { 200 } else { 201 })
}

/// So much of a metric at an instant.
fn used(metric: &str, quantity: impl Into<Value>, at: &str) -> Value {
    json!({"metric": metric, "quantity": quantity.into(), "observed_at": at})
}
