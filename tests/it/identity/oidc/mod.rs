//! People through their identity providers.

mod bearer;
mod browser;
mod claims;
mod first_person;
mod keys;
mod logins;
mod organizations;
mod sessions;

use cp_server::App;
use serde_json::{Value, json};

use crate::world::issuer::Issuer;
use crate::world::{Answer, Client, World};

/// A server that trusts the issuer as the platform's own provider `auth0`.
fn trusting(world: &World, issuer: &Issuer) -> (App, Client) {
    let provider = issuer.on_platform("auth0", json!({}));
    world.server(|settings| settings.identity.providers = vec![provider])
}

/// Who the server takes the bearer of the token for.
async fn me(client: &Client, token: &str) -> Answer {
    client.clone().token(token).get("/me").await
}

/// The reason of a 401.
#[track_caller]
fn reason(answer: Answer) -> String {
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    let problem = answer.refused(401, "unauthenticated");
    problem["detail"].as_str().unwrap().to_owned()
}

/// The claims of an organization's admin in the world: `mats` of acme.
fn mats(over: Value) -> Value {
    let mut claims = json!({"sub": "auth0|mats-acme"});
    for (name, value) in over.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}
