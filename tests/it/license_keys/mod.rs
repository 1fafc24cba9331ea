//! License keys: their life, what they hold, and the validation.

mod credential;
mod keys;
mod rates;
mod secrets;
mod tokens;
mod validation;

use serde_json::{Value, json};

use crate::world::{Client, World};

/// A key that no license has.
const UNKNOWN: &str = "01234-56789-ABCDE-FGHJK-MNP8N";

/// The path of the keys of Acme's license.
fn keys(world: &World) -> String {
    format!("/licenses/{}/keys", world.acme.license)
}

/// Creates a key of Acme's license.
async fn new_key(world: &World, body: Value) -> Value {
    world.post(keys(world), body).await.expect(201)
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}")).to_owned()
}

/// The path of a key, an answer of the server.
fn path(key: &Value) -> String {
    format!("/license-keys/{}", text(key, "id"))
}

/// The answer to a validation without a credential.
async fn validate(world: &World, body: Value) -> Value {
    world.anyone().post("/licenses/validate", body).await.expect(200)
}

async fn code(world: &World, key: &str) -> String {
    text(&validate(world, json!({"key": key})).await, "code")
}

/// A caller with this license key.
fn by(world: &World, key: &str) -> Client {
    world.anyone().license_key(key)
}
