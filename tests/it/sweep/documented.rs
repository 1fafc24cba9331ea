//! The examples of the API's documentation: what the world asks, and what the server answers.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use cp_server::kernel::access::permissions::Permission;
use cp_server::kernel::http::line::Line;
use cp_server::server::examples::EXAMPLES;
use serde_json::{Map, Value, json};

use super::authorization::right_caller;
use super::examples::{example, prepare};
use crate::world::World;

const FILE: &str = "../cp-server/src/server/examples.json";

/// The most items of a list in an example.
const ITEMS: usize = 2;

/// The most lines of a text in an example, and the most characters of each.
const LINES: usize = 8;
const LINE: usize = 100;

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
                // A server of the test, with another port each time.
                _ if text.starts_with("http://127.0.0.1:") => "https://id.example.com".into(),
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

/// The first lines of a text, each cut.
fn beginning(text: &str) -> String {
    let cut = |line: &str| match line.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…\n", &line[..end]),
        None => format!("{line}\n"),
    };
    text.lines().take(LINES).map(cut).collect()
}

async fn documented(world: &World, line: &Line) -> Value {
    let _server = prepare(world, line).await;
    let caller = match line.permission {
        Permission::PUBLIC => world.anyone(),
        _ => right_caller(world, line).await,
    };
    if line.name == "server.openapi" {
        // The document would contain itself.
        return json!({"answer": {"openapi": "3.1.0", "info": {"title": "License authority"}}});
    }
    let example = example(world, line);
    let path = world.path_of(line) + &example.query;
    // As a browser sends it: a logout requires that.
    let caller = caller.with("sec-fetch-site", "same-origin");
    let answer = caller.call(line.method.clone(), &path, example.body.clone()).await;
    assert!((200..300).contains(&answer.status), "{}: {}", line.name, answer.text());
    let mut members = Map::new();
    if let Some(body) = example.body {
        members.insert("request".into(), tidy("", body));
    }
    let text = answer.text();
    let shown = match serde_json::from_str::<Value>(&text) {
        Ok(body) if line.media_type == Some("application/x-ndjson") => {
            Some(format!("{}\n", tidy("", body)).into())
        }
        Ok(body) => Some(tidy("", body)),
        Err(_) if text.is_empty() => None,
        Err(_) if text.starts_with("eyJ") => Some("eyJ…".into()),
        Err(_) => Some(beginning(&text).into()),
    };
    members.extend(shown.map(|shown| ("answer".to_owned(), shown)));
    members.into()
}

/// `UPDATE=1 cargo test -p tests the_committed` writes the file again.
#[tokio::test]
async fn the_committed_examples_are_of_all_operations() {
    let lines = || {
        cp_server::operations()
            .table
            .into_iter()
            .filter(|line| line.method != Method::DELETE && !line.status.is_redirection())
            .filter(|line| {
                !matches!(line.media_type, Some("text/html" | "application/octet-stream"))
            })
    };
    if std::env::var_os("UPDATE").is_some() {
        let mut examples = BTreeMap::new();
        for line in lines() {
            let world = World::on_sqlite().await;
            // On the heap: the stack of a test is small.
            examples.insert(line.name, Box::pin(documented(&world, &line)).await);
        }
        let text = serde_json::to_string_pretty(&examples).unwrap() + "\n";
        std::fs::write(FILE, text).unwrap();
        return;
    }
    let answers = lines().filter(|line| line.status != StatusCode::NO_CONTENT);
    let names = answers.map(|line| line.name);
    let missing: Vec<&str> = names.filter(|name| EXAMPLES[*name]["answer"].is_null()).collect();
    assert!(missing.is_empty(), "no example of {missing:?}; run with UPDATE=1");
}
