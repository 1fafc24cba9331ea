//! Seats: claims, heartbeats, releases, and who sees them.

mod borrowing;
mod claims;
mod departures;
mod hours;
mod model;
mod overage;
mod plans;
mod races;
mod refusals;
mod releases;
mod resets;
mod vacated;

use serde_json::{Value, json};

use crate::world::{Client, World};

/// Pools of every kind, on the license of Acme.
async fn with_pools(world: &World, pools: Value) {
    let path = format!("/licenses/{}", world.acme.license);
    world.patch(path, json!({"leasing": pools})).await.expect(200);
}

/// The path of the license's leases.
fn leases(world: &World) -> String {
    format!("/licenses/{}/leases", world.acme.license)
}

/// Claims a seat of the pool for the holder with this ID.
async fn claim(world: &World, client: &Client, pool: &str, id: &str) -> crate::world::Answer {
    client.post(leases(world), json!({"pool": pool, "holder": {"id": id}})).await
}
