//! The stream of events, and those that it reaches.

mod follow;
mod levels;
mod notices;
mod silence;
mod stream;
mod types;

use cp_server::audit::integrator;
use serde_json::{Value, json};

use crate::world::{Client, World};

/// Gives the events their places, as the integrator does.
pub async fn place(world: &World) {
    integrator::integrate(&world.app).await.unwrap();
}

/// The position of the last event.
pub async fn head(world: &World) -> i64 {
    place(world).await;
    world.get("/events").await.expect(200)["head"].as_i64().unwrap()
}

/// Reads pages until the head.
pub async fn read(client: &Client, path: &str, mut after: i64, limit: usize) -> Vec<Value> {
    let (mut found, sign) = (Vec::new(), if path.contains('?') { '&' } else { '?' });
    loop {
        let page = client.get(format!("{path}{sign}after={after}&limit={limit}")).await.expect(200);
        found.extend(page["items"].as_array().unwrap().clone());
        after = page["next"].as_i64().unwrap();
        if page["next"] == page["head"] {
            return found;
        }
    }
}

/// Makes one change of acme.
pub async fn change(world: &World, name: &str) {
    world.patch(world.org(""), json!({"name": name})).await.expect(200);
}
