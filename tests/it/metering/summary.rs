use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{project, record};
use crate::world::{World, on_both};

#[on_both]
async fn usage_is_added_up_by_metric_and_unit(world: World) {
    world.pass(TimeDelta::days(100));
    record(
        &world,
        json!([
            {"metric": "b", "quantity": 1.5, "observed_at": "2026-03-01T00:00:00Z"},
            {"metric": "b", "quantity": 2, "observed_at": "2026-03-02T00:00:00Z"},
            {"metric": "a", "quantity": 4, "unit": "s", "observed_at": "2026-03-01T12:00:00Z"},
            {"metric": "a", "quantity": 8, "observed_at": "2026-03-01T12:00:00Z"},
            {"metric": "B", "quantity": 0, "observed_at": "2026-03-01T12:00:00Z"},
            {"metric": "b", "quantity": 16, "observed_at": "2026-03-02T00:00:00.000001Z"},
        ]),
    )
    .await;
    let path = "/usage/summary?since=2026-03-01T00:00:00Z&until=2026-03-02T00:00:00Z";
    let summary = world.get(world.org(path)).await.expect(200);
    assert_eq!(
        world.named(&summary),
        json!({
            "organization_id": "<acme's org>", "project_id": null,
            "since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z",
            "items": [
                {"metric": "B", "unit": "count", "quantity": 0, "events": 1},
                {"metric": "a", "unit": "count", "quantity": 8, "events": 1},
                {"metric": "a", "unit": "s", "quantity": 4, "events": 1},
                {"metric": "b", "unit": "count", "quantity": 3.5, "events": 2},
            ],
        })
    );
    let by_slug = path.replace("/usage", "/organizations/acme/usage");
    assert_eq!(world.get(by_slug).await.expect(200), summary);
    let path = "/usage/summary?since=2026-03-02T00:00:00Z&until=2026-03-01T00:00:00Z";
    assert_eq!(world.get(world.org(path)).await.expect(200)["items"], json!([]));
}

#[on_both]
async fn usage_is_grouped_by_project_day_or_hour(world: World) {
    world.pass(TimeDelta::days(100));
    let mut projects = [project(&world, "apollo").await, project(&world, "gemini").await];
    projects.sort();
    let [apollo, gemini] = projects;
    record(&world, json!([
        {"metric": "m", "quantity": 1, "observed_at": "2026-03-01T23:59:59.999999Z"},
        {"metric": "m", "quantity": 2, "project_id": apollo, "observed_at": "2026-03-02T00:00:00Z"},
        {"metric": "m", "quantity": 4, "project_id": gemini, "observed_at": "2026-03-02T01:30:00Z"},
        {"metric": "n", "quantity": 8, "project_id": gemini, "observed_at": "2026-03-02T01:59:00Z"},
    ])).await;
    let summary = async |query: String| {
        let path = format!("/usage/summary?since=2026-03-01T12:00:00Z&{query}");
        world.get(world.org(&path)).await.expect(200)["items"].clone()
    };
    let item = |metric: &str, quantity: i64, name: &str, value: Value| json!({"metric": metric, "unit": "count", "quantity": quantity, "events": 1, name: value});
    assert_eq!(
        summary("group_by=project".into()).await,
        json!([
            item("m", 1, "project_id", Value::Null),
            item("m", 2, "project_id", json!(apollo)),
            item("m", 4, "project_id", json!(gemini)),
            item("n", 8, "project_id", json!(gemini)),
        ])
    );
    assert_eq!(
        summary(format!("group_by=project&project={apollo}")).await,
        json!([item("m", 2, "project_id", json!(apollo))])
    );
    assert_eq!(
        summary(format!("group_by=day&project={gemini}")).await,
        json!([
            item("m", 4, "starts_at", json!("2026-03-02T00:00:00Z")),
            item("n", 8, "starts_at", json!("2026-03-02T00:00:00Z")),
        ])
    );
    assert_eq!(
        summary("group_by=hour&until=2026-03-02T01:30:00Z".into()).await,
        json!([
            item("m", 1, "starts_at", json!("2026-03-01T23:00:00Z")),
            item("m", 2, "starts_at", json!("2026-03-02T00:00:00Z")),
            item("m", 4, "starts_at", json!("2026-03-02T01:00:00Z")),
        ])
    );
    let days = summary("group_by=day".into()).await;
    assert_eq!(days[1]["quantity"], 6, "{days}");
}
