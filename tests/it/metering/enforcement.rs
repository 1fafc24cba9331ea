use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{project, record, used};
use crate::world::{ROOT, World, on_both};

fn asking(quantity: impl Into<Value>, at: &str) -> Value {
    json!({"metric": "m", "quantity": quantity.into(), "observed_at": at, "mode": "enforce"})
}

#[on_both]
async fn usage_beyond_a_limit_is_refused_and_not_recorded(world: World) {
    let limit = json!({"metric": "m", "quantity": 10, "period": "daily", "enforcement": "enforce"});
    world.put(world.org("/limits"), limit).await.expect(201);
    record(&world, asking(4, "2026-01-01T22:00:00Z")).await;
    record(&world, asking(5.5, "2026-01-02T00:00:00Z")).await;
    let events = world.count_events().await;
    let refused = world.post(world.org("/usage"), asking(0.6, "2026-01-02T00:00:00Z")).await;
    let mut problem = refused.refused(429, "limit_exceeded");
    problem.as_object_mut().unwrap().remove("request_id");
    assert_eq!(
        problem,
        json!({
            "type": "/problems/limit_exceeded", "title": "The usage limit is reached",
            "status": 429, "code": "limit_exceeded",
            "detail": "The limit of 10 count of m (daily, rolling) is exceeded: 9.5 are used, and 0.6 more \
                       were requested.",
            "metric": "m", "unit": "count", "scope": "organization", "scope_ref": "organization",
            "project_id": null, "overflow": 0,
            "window": "rolling", "period": "daily", "limit": 10, "used": 9.5, "requested": 0.6,
            "resets_at": "2026-01-02T22:00:00.000001Z",
        })
    );
    assert_eq!(world.count_events().await, events);
    let path = "/limits/check?metric=m&period=daily";
    assert_eq!(world.get(world.org(path)).await.expect(200)["used"], 9.5);
    // Exactly full is not too much.
    record(&world, asking(0.5, "2026-01-02T00:00:00Z")).await;
    // Past usage is always recorded.
    record(&world, used("m", 5, "2026-01-02T00:00:00Z")).await;
    assert_eq!(world.get(world.org(path)).await.expect(200)["exceeded"], true);
    // At that instant the first four are not in the window any more.
    world.pass(TimeDelta::hours(22) + TimeDelta::microseconds(1));
    let full = asking(0.000001, "2026-01-02T22:00:00Z");
    world.post(world.org("/usage"), full).await.refused(429, "limit_exceeded");
    world.pass(TimeDelta::days(7));
    let over = asking(11, "2026-01-09T00:00:00Z");
    let never = world.post(world.org("/usage"), over).await.refused(429, "limit_exceeded");
    assert_eq!(never["resets_at"], Value::Null);
    record(&world, asking(10, "2026-01-08T00:00:00Z")).await;
}

#[on_both]
async fn a_late_event_counts_now_too(world: World) {
    let limit = json!({"metric": "m", "quantity": 10, "period": "daily", "enforcement": "enforce"});
    world.put(world.org("/limits"), limit).await.expect(201);
    record(&world, asking(8, "2026-01-01T12:00:00Z")).await;
    let late = asking(3, "2026-01-01T06:00:00Z");
    world.post(world.org("/usage"), late).await.refused(429, "limit_exceeded");
    // A past day has its own window.
    record(&world, asking(3, "2025-12-31T06:00:00Z")).await;
    // What a batch adds is in its way, too.
    let batch = json!([
        asking(1, "2026-01-02T00:00:00Z"),
        used("m", 0.5, "2026-01-02T00:00:00Z"),
        asking(1, "2026-01-02T00:00:00Z"),
        asking(0.5, "2026-01-02T00:00:00Z"),
    ]);
    let answer = record(&world, batch).await;
    let statuses: Vec<_> =
        answer["items"].as_array().unwrap().iter().map(|i| i["status"].clone()).collect();
    assert_eq!(statuses, [201, 201, 429, 201]);
}

#[on_both]
async fn many_windows_are_looked_at_only_where_a_limit_is_nearly_full(world: World) {
    let limit = |quantity: i64| json!({"metric": "m", "quantity": quantity, "period": "daily", "enforcement": "enforce"});
    let many: Value = (0..300)
        .map(|n| asking(1, &format!("2025-12-01T12:{:02}:{:02}Z", n / 60, n % 60)))
        .collect();
    world.put(world.org("/limits"), limit(600)).await.expect(201);
    assert_eq!(record(&world, many.clone()).await["recorded"], 300);
    assert_eq!(record(&world, many.clone()).await["recorded"], 300);
    // No single event shows whether the batch fits, and there are too many events to check each.
    let problem = world.post(world.org("/usage"), many.clone()).await.refused(422, "invalid");
    assert_eq!(problem["field"], "observed_at");
    let few = json!(many.as_array().unwrap()[..150]);
    // Each of the first ones has those in its window that were observed before it.
    world.put(world.org("/limits"), limit(602)).await.expect(200);
    let answer = record(&world, few).await;
    assert_eq!(answer["recorded"], 150, "{answer}");
    let over = asking(1, "2025-12-01T13:00:00Z");
    world.post(world.org("/usage"), over).await.refused(429, "limit_exceeded");
}

#[on_both]
async fn calendar_and_gauge_limits_refuse_by_their_own_windows(world: World) {
    let calendar = json!({
        "metric": "m", "quantity": 10, "window": "calendar", "enforcement": "enforce",
    });
    world.put(world.org("/limits"), calendar).await.expect(201);
    // Later in the month, and in the month all the same.
    world.pass(TimeDelta::days(18));
    record(&world, asking(6, "2026-01-20T00:00:00Z")).await;
    let problem = world.post(world.org("/usage"), asking(5, "2026-01-01T00:00:00Z")).await;
    let problem = problem.refused(429, "limit_exceeded");
    assert_eq!(problem["resets_at"], "2026-02-01T00:00:00Z");
    world.pass(TimeDelta::days(12));
    record(&world, asking(5, "2026-02-01T00:00:00Z")).await;

    let gauge = json!({
        "metric": "m", "quantity": 12, "window": "gauge", "enforcement": "enforce",
    });
    world.put(world.org("/limits"), gauge).await.expect(201);
    let problem = world.post(world.org("/usage"), asking(2, "2026-02-01T00:00:00Z")).await;
    let problem = problem.refused(429, "limit_exceeded");
    assert_eq!(json!([problem["used"], problem["resets_at"]]), json!([11, null]));
    record(&world, asking(1, "2026-02-01T00:00:00Z")).await;
}

#[on_both]
async fn a_project_is_held_to_its_own_limit_and_the_organizations(world: World) {
    let (apollo, gemini) = (project(&world, "apollo").await, project(&world, "gemini").await);
    let own = json!({"metric": "m", "quantity": 10, "enforcement": "enforce"});
    world.put(world.org("/limits"), own).await.expect(201);
    let of = json!({
        "metric": "m", "quantity": 4, "project_id": apollo, "enforcement": "enforce",
    });
    world.put(world.org("/limits"), of).await.expect(201);
    let asking = |project: &str, quantity: i64| json!({"metric": "m", "quantity": quantity, "project_id": project, "mode": "enforce"});
    let problem = world.post(world.org("/usage"), asking(&apollo, 5)).await;
    let problem = problem.refused(429, "limit_exceeded");
    assert_eq!(json!([problem["scope"], problem["project_id"]]), json!(["project", apollo]));
    record(&world, asking(&apollo, 4)).await;
    record(&world, asking(&gemini, 5)).await;
    let problem = world.post(world.org("/usage"), asking(&gemini, 2)).await;
    let problem = problem.refused(429, "limit_exceeded");
    assert_eq!(json!([problem["scope"], problem["used"]]), json!(["organization", 9]));
    // A limit that only observes refuses nothing.
    let own = json!({"metric": "m", "quantity": 10, "enforcement": "observe"});
    world.put(world.org("/limits"), own).await.expect(200);
    record(&world, asking(&gemini, 2)).await;
}

#[on_both]
async fn a_project_that_ends_leaves_its_usage_to_the_organization(world: World) {
    let apollo = project(&world, "apollo").await;
    let limit = json!({"metric": "m", "quantity": 4, "project_id": apollo});
    let limit = world.put(world.org("/limits"), limit).await.expect(201);
    let event = json!({"metric": "m", "quantity": 3, "project_id": apollo, "dims": {"a": 1}});
    let event = record(&world, event).await;
    world.delete(format!("/projects/{apollo}")).await.expect(204);

    let read = world.get(format!("/usage/{}", event["id"].as_str().unwrap())).await.expect(200);
    let mut kept = event.clone();
    kept["project_id"] = Value::Null;
    kept["dims"] = json!({"a": 1, "project_id": apollo});
    assert_eq!(read, kept);
    let path = format!("/limits/{}", limit["id"].as_str().unwrap());
    world.get(path).await.refused(404, "not_found");
    let since = "since=2026-01-02T00:00:00Z";
    let of = world.get(world.org(&format!("/usage/summary?{since}&project={apollo}"))).await;
    assert_eq!(of.expect(200)["items"], json!([]));
    let own = world.get(world.org(&format!("/usage/summary?{since}&group_by=project"))).await;
    assert_eq!(
        own.expect(200)["items"],
        json!([{
            "metric": "m", "unit": "count", "quantity": 3, "events": 1, "project_id": null,
        }])
    );
}

#[on_both]
async fn a_project_that_moves_takes_its_limits_along_and_not_its_usage(world: World) {
    let apollo = project(&world, "apollo").await;
    let limit = json!({"metric": "m", "quantity": 4, "project_id": apollo});
    world.put(world.org("/limits"), limit).await.expect(201);
    let event = json!({"metric": "m", "quantity": 3, "project_id": apollo});
    record(&world, event.clone()).await;
    let to = json!({"organization": world.globex.org});
    world.post(format!("/projects/{apollo}/move"), to).await.expect(200);
    let own = world.get(world.org("/usage?metric=m")).await.expect(200);
    assert_eq!(own["items"][0]["dims"], json!({"project_id": apollo}));
    let path = |rest: &str| format!("/organizations/globex{rest}");
    let check = path(&format!("/limits/check?metric=m&project={apollo}"));
    assert_eq!(world.get(&check).await.expect(200)["used"], 0);
    world.post(path("/usage"), event).await.expect(201);
    assert_eq!(world.get(&check).await.expect(200)["used"], 3);
    let own = world.get(world.org("/usage/summary?since=2026-01-02T00:00:00Z")).await;
    assert_eq!(own.expect(200)["items"][0]["quantity"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_limit_is_never_overshot_on_sqlite() {
    in_parallel(World::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_limit_is_never_overshot_on_postgres() {
    if let Some(world) = World::on_postgres().await {
        in_parallel(world).await;
    }
}

/// Two replicas, forty askers, room for seven.
async fn in_parallel(world: World) {
    let (_app, other) = world.replica().await;
    let other = other.token(ROOT);
    for window in ["rolling", "calendar", "gauge"] {
        let limit = json!({
            "metric": "m", "quantity": 7.5, "window": window, "enforcement": "enforce",
        });
        world.put(world.org("/limits"), limit).await.expect(201);
    }
    let calls = (0..40).map(|n| {
        let client = if n % 2 == 0 { world.root() } else { other.clone() };
        let path = world.org("/usage");
        let event = json!({"metric": "m", "quantity": 1, "mode": "enforce"});
        // Singles and batches, mixed.
        let body = if n % 3 == 0 { json!([event]) } else { event };
        tokio::spawn(async move { client.post(path, body).await })
    });
    let mut recorded = 0;
    for answer in futures_util::future::join_all(calls).await {
        let answer = answer.unwrap();
        match answer.status {
            200 => recorded += answer.json()["recorded"].as_i64().unwrap(),
            201 => recorded += 1,
            _ => drop(answer.refused(429, "limit_exceeded")),
        }
    }
    assert_eq!(recorded, 7);
    let check = world.get(world.org("/limits/check?metric=m")).await.expect(200);
    assert_eq!(json!([check["used"], check["remaining"]]), json!([7, 0.5]));
}
