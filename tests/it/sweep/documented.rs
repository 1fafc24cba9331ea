//! The examples of the API's documentation: what the world asks, and what the server answers.

use std::collections::BTreeMap;

use axum::http::Method;
use cp_server::kernel::access::permissions::Permission;
use cp_server::kernel::http::line::Line;
use cp_server::server::examples::EXAMPLES;
use serde_json::{Map, Value, json};

use super::authorization::right_caller;
use super::examples::example;
use crate::world::World;

const FILE: &str = "../cp-server/src/server/examples.json";

/// The most items of a list in an example.
const ITEMS: usize = 2;

/// Replaces what differs from run to run, or looks like a secret.
fn tidy(name: &str, value: Value) -> Value {
    match value {
        Value::String(text) => {
            let is_hash = text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
            let text = match name {
                "kid" | "key_id" | "active_kid" => {
                    "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".into()
                }
                "n" | "public_key" | "seed" => "…".into(),
                _ if is_hash => {
                    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into()
                }
                _ if text.starts_with("cpat_") => "cpat_…".into(),
                _ if text.starts_with("cpin_") => "cpin_…".into(),
                _ if text.starts_with("eyJ") => "eyJ…".into(),
                _ if text.len() > 200 => text.chars().take(60).chain(['…']).collect(),
                _ => text,
            };
            text.into()
        }
        Value::Array(items) => items.into_iter().take(ITEMS).map(|item| tidy(name, item)).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| {
                let value = tidy(&name, value);
                (name, value)
            })
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

async fn documented(world: &World, line: &Line) -> Value {
    if line.name == "licenses.create" {
        world.post(format!("/licenses/{}/revoke", world.acme.license), json!({})).await.expect(200);
    }
    let caller = match line.permission {
        Permission::PUBLIC => world.anyone(),
        _ => right_caller(world, line).await,
    };
    let example = example(world, line);
    let path = world.path_of(line) + &example.query;
    let answer = caller.call(line.method.clone(), &path, example.body.clone()).await;
    assert!((200..300).contains(&answer.status), "{}: {}", line.name, answer.text());
    let mut members = Map::new();
    if let Some(body) = example.body {
        members.insert("request".into(), tidy("", body));
    }
    if let Ok(body) = serde_json::from_str::<Value>(&answer.text()) {
        members.insert("answer".into(), tidy("", body));
    }
    members.into()
}

/// `UPDATE=1 cargo test -p tests the_committed` writes the file again.
#[tokio::test]
async fn the_committed_examples_are_of_all_operations() {
    let lines = || {
        cp_server::operations()
            .table
            .into_iter()
            .filter(|line| !line.raw && line.method != Method::DELETE)
    };
    if std::env::var_os("UPDATE").is_some() {
        let mut examples = BTreeMap::new();
        for line in lines() {
            let world = World::on_sqlite().await;
            examples.insert(line.name, documented(&world, &line).await);
        }
        let text = serde_json::to_string_pretty(&examples).unwrap() + "\n";
        std::fs::write(FILE, text).unwrap();
        return;
    }
    let missing: Vec<&str> =
        lines().map(|line| line.name).filter(|name| EXAMPLES[*name]["answer"].is_null()).collect();
    assert!(missing.is_empty(), "no example of {missing:?}; run with UPDATE=1");
}
