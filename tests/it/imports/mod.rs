//! Imports: lines of NDJSON, each applied by the operation of the API.

mod dry_runs;
mod kinds;
mod rules;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::world::{Answer, Client, World};

/// Lines that create one object of each kind, in an organization of their own.
fn of_each_kind() -> Vec<Value> {
    vec![
        json!({
            "kind": "plan", "code": "moved", "name": "Moved", "seat_cap": 5, "is_public": false,
            "features": {"sso": true},
            "leasing": {"machines": {"kind": "node", "cap": 2}, "farm": {"kind": "floating", "cap": 3}},
        }),
        json!({
            "kind": "user", "email": "Peter@initech.example", "display_name": "Peter",
            "external_id": "crm-peter",
        }),
        json!({
            "kind": "organization", "external_id": "crm-1", "name": "Initech", "owner":
            "peter@initech.example", "metadata": {"region": "eu"},
        }),
        json!({"kind": "user", "email": "milton@initech.example", "external_id": "crm-milton"}),
        json!({
            "kind": "membership", "organization": "crm-1", "user": "crm-milton", "role": "member",
            "status": "active",
        }),
        json!({
            "kind": "subscription", "organization": "crm-1", "external_id": "crm-s", "plan": "moved",
            "ends_at": "2027-01-01T00:00:00Z",
        }),
        json!({
            "kind": "deployment", "organization": "crm-1", "external_id": "crm-d", "name": "Prod",
            "type": "onprem", "tags": ["emea"],
        }),
        json!({
            "kind": "license", "organization": "crm-1", "deployment": "crm-d",
            "subscription": "crm-s", "seat_cap": 4, "grace_days": 3,
        }),
        json!({
            "kind": "license_key", "organization": "crm-1", "deployment": "crm-d",
            "key": "LEGACY-KEY-0001", "name": "Old",
        }),
        json!({
            "kind": "lease", "organization": "crm-1", "deployment": "crm-d", "pool": "machines",
            "machine": "host-1", "label": "Host 1",
        }),
        json!({
            "kind": "lease", "organization": "crm-1", "deployment": "crm-d",
            "user": "milton@initech.example",
        }),
    ]
}

fn text_of(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Sends a body to the import.
async fn send(client: &Client, query: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(format!("/api/v1/imports{query}"))
        .header("content-type", "application/x-ndjson")
        .body(body.into());
    client.send(request.unwrap()).await
}

fn answers(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Imports lines. Returns their answers and the summary.
async fn import(world: &World, lines: &[Value]) -> (Vec<Value>, Value) {
    import_as(world, "", lines).await
}

async fn import_as(world: &World, query: &str, lines: &[Value]) -> (Vec<Value>, Value) {
    let mut all = answers(&send(&world.root(), query, text_of(lines)).await);
    let last = all.pop().unwrap();
    assert!(last["summary"].is_object(), "{last}");
    (all, last["summary"].clone())
}

/// The status of each line.
fn statuses(answers: &[Value]) -> Vec<&str> {
    answers.iter().map(|answer| answer["status"].as_str().unwrap()).collect()
}

/// The code and the field of a refusal.
fn refusal(answer: &Value) -> (&str, &str) {
    assert_eq!(answer["status"], "refused", "{answer}");
    let problem = &answer["problem"];
    (problem["code"].as_str().unwrap(), problem["field"].as_str().unwrap_or_default())
}
