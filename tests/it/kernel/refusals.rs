//! Refusals of input: every refused field, the rule, and what is allowed.

use serde_json::{Value, json};

use crate::world::{World, on_both};

fn fields(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap();
    errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
}

#[on_both]
async fn body_with_several_refused_fields_lists_all(world: World) {
    let body = json!({"regoin": "eu", "type": "moon"});
    let problem = world.post(world.org("/deployments"), body).await.invalid("regoin");
    assert_eq!(fields(&problem), ["regoin", "type", "name"]);
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!(problem["detail"], errors[0]["detail"]);
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("Unknown field `regoin`. Did you mean `region`? Allowed: `name`, "),
        "{detail}"
    );
    let detail = errors[1]["detail"].as_str().unwrap();
    assert!(detail.starts_with("`type` must be one of "), "{detail}");
    assert_eq!(errors[2]["detail"], "`name` is required.");
}

#[on_both]
async fn body_with_one_refused_field_has_no_list(world: World) {
    let body = json!({"name": "x", "type": "onprem", "last_seen": 1});
    let problem = world.post(world.org("/deployments"), body).await.invalid("last_seen");
    assert_eq!(problem["errors"], Value::Null);
    let path = format!("/deployments/{}/licenses", world.acme.deployment);
    let body = json!({"subscription_id": world.acme.subscription, "seat_cap": 0});
    let problem = world.post(path, body).await.invalid("seat_cap");
    assert_eq!(problem["detail"], "`seat_cap` must be at least 1 (got 0).");
    let problem = world.post("/plans", json!([])).await.invalid(".");
    assert_eq!(problem["detail"], "The body must be an object (got an array).");
}

#[on_both]
async fn nested_fields_are_refused_by_their_path(world: World) {
    let body = json!({"filter": {"licence": "x", "key_id": 5, "organization": "acme"}});
    let problem = world.post("/licenses/bundles", body).await.invalid("filter.key_id");
    assert_eq!(fields(&problem), ["filter.key_id", "filter.licence", "filter.organization"]);
    let details = problem["errors"].as_array().unwrap();
    assert_eq!(details[0]["detail"], "`filter.key_id` must be a string (got an integer).");
    assert_eq!(details[2]["detail"], "`filter.organization` must be a UUID.");
}

#[on_both]
async fn unknown_query_parameter_lists_the_allowed_ones(world: World) {
    let problem = world.get(world.org("/deployments?limt=10")).await.invalid("limt");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("Unknown query parameter `limt`. Did you mean `limit`? Allowed: "),
        "{detail}"
    );
    assert!(detail.ends_with(", `limit`, `cursor`."), "{detail}");
    let path = world.org("/deployments?limit=0&limt=1&x=2");
    let problem = world.get(path).await.invalid("limit");
    assert_eq!(problem["detail"], "`limit` must be between 1 and 500 (got 0).");
    assert_eq!(fields(&problem), ["limit", "limt", "x"]);
    world.get(world.org("/deployments?cursor=x&limit=y")).await.invalid("cursor");
}

#[on_both]
async fn wrong_instant_is_refused_with_an_example(world: World) {
    let example = "must be an RFC 3339 timestamp such as 2026-01-31T12:00:00Z.";
    let problem = world.get(world.org("/audit?since=yesterday")).await.invalid("since");
    assert_eq!(problem["detail"], format!("`since` {example}"));
    let body = json!({"action": "a", "target_type": "t", "occurred_at": "2026-01-31"});
    let problem = world.post(world.org("/audit"), body).await.invalid("occurred_at");
    assert_eq!(problem["detail"], format!("`occurred_at` {example}"));
}
