use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{project, record, used};
use crate::world::{World, now, on_both};

#[on_both]
async fn of_a_scope_metric_unit_window_and_period_there_is_one_limit(world: World) {
    let apollo = project(&world, "apollo").await;
    let body = json!({
        "metric": "tokens", "unit": "token", "window": "calendar", "period": "weekly",
        "quantity": 10.5, "project_id": apollo, "enforcement": "enforce",
    });
    let answer = world.put(world.org("/limits"), body.clone()).await;
    let location = answer.header("location").to_owned();
    let limit = answer.expect(201);
    assert_eq!(
        world.named(&limit),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "project_id": "<2>",
            "scope": format!("project:{apollo}"), "override_quantity": null, "overflow": 0,
            "override_reason": null, "cycle_id": null, "within_id": null, "source": "manual",
            "notify_at": null, "metric": "tokens", "unit": "token", "window": "calendar", "period": "weekly",
            "quantity": 10.5, "enforcement": "enforce", "created_at": now(), "updated_at": now(),
        })
    );
    let path = location.trim_start_matches("/api/v1");
    assert_eq!(world.get(path).await.expect(200), limit);

    // Each member of the key makes another limit; the rest replaces the same limit.
    for other in [
        json!({"metric": "calls"}),
        json!({"unit": "count"}),
        json!({"window": "gauge"}),
        json!({"period": "daily"}),
        json!({"project_id": null}),
    ] {
        let body = merged(&body, &other);
        world.put(world.org("/limits"), body).await.expect(201);
    }
    world.pass(TimeDelta::seconds(1));
    let changed = json!({"quantity": null, "enforcement": "observe"});
    let changed = world.put(world.org("/limits"), merged(&body, &changed)).await.expect(200);
    let later = now() + TimeDelta::seconds(1);
    let expected = json!({"quantity": null, "enforcement": "observe", "updated_at": later});
    assert_eq!(changed, merged(&limit, &expected));
    let event = world.get(world.org("/audit?limit=1")).await.expect(200)["items"][0].clone();
    assert_eq!((&event["before"], &event["after"]), (&limit, &changed));

    let listed = world.get(world.org(&format!("/limits?project={apollo}"))).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 5);
    let key = format!("metric=tokens&unit=token&window=calendar&period=weekly&project={apollo}");
    world.pass(TimeDelta::seconds(1));
    world.delete(world.org(&format!("/limits?{key}"))).await.expect(204);
    let event = world.get(world.org("/audit?limit=1")).await.expect(200)["items"][0].clone();
    assert_eq!((&event["before"], &event["after"]), (&changed, &Value::Null));
    for _ in 0..2 {
        let gone = world.delete(world.org(&format!("/limits?{key}"))).await;
        gone.refused(404, "limit_not_set");
        let gone = world.get(world.org(&format!("/limits/check?{key}"))).await;
        gone.refused(404, "limit_not_set");
    }
    // The organization's own is another one.
    let own = "/limits/check?metric=tokens&unit=token&window=calendar&period=weekly";
    world.get(world.org(own)).await.expect(200);
}

#[on_both]
async fn a_limit_says_what_it_is(world: World) {
    for (body, field) in [
        (json!({"quantity": 1}), "metric"),
        (json!({"metric": "m"}), "quantity"),
        (json!({"metric": "m", "quantity": -1}), "quantity"),
        (json!({"metric": "m", "quantity": 1, "window": "sliding"}), "window"),
        (json!({"metric": "m", "quantity": 1, "period": "hourly"}), "period"),
        (json!({"metric": "m", "quantity": 1, "enforcement": "maybe"}), "enforcement"),
    ] {
        world.put(world.org("/limits"), body).await.invalid(field);
    }
    let foreign = json!({"metric": "m", "quantity": 1, "project_id": world.globex.org});
    world.put(world.org("/limits"), foreign).await.refused(404, "not_found");
    let limit = json!({"metric": "m", "quantity": null, "window": "Gauge"});
    let limit = world.put(world.org("/limits"), limit).await.expect(201);
    assert_eq!((&limit["quantity"], &limit["window"]), (&Value::Null, &json!("gauge")));
}

#[on_both]
async fn a_rolling_window_includes_both_its_ends(world: World) {
    world.pass(TimeDelta::days(100));
    let limit = json!({"metric": "m", "quantity": 3, "period": "daily"});
    let limit = world.put(world.org("/limits"), limit).await.expect(201);
    for at in [
        "2026-03-01T11:59:59.999999Z",
        "2026-03-01T12:00:00Z",
        "2026-03-02T00:00:00Z",
        "2026-03-02T12:00:00Z",
        "2026-03-02T12:00:00.000001Z",
    ] {
        record(&world, used("m", 1, at)).await;
    }
    let check = async |query: &str| {
        world.get(world.org(&format!("/limits/check?metric=m&period=daily{query}"))).await
    };
    let at_noon = check("&until=2026-03-02T12:00:00Z").await.expect(200);
    let expected = merged(
        &limit,
        &json!({
            "used": 3, "remaining": 0, "exceeded": false,
            "interval": {"since": "2026-03-01T12:00:00Z", "until": "2026-03-02T12:00:00Z"},
        }),
    );
    assert_eq!(at_noon, expected);
    let used = async |query: &str| check(query).await.expect(200)["used"].as_i64().unwrap();
    assert_eq!(used("&until=2026-03-02T12:00:00.000001Z").await, 3);
    assert_eq!(used("&until=2026-03-02T11:59:59.999999Z").await, 3);
    assert_eq!(used("&since=2026-03-01T00:00:00Z&until=2026-03-03T00:00:00Z").await, 5);
    assert_eq!(used("&until=2026-03-03T12:00:00Z").await, 2);
    assert_eq!(used("").await, 0);
    let over = check("&since=2026-03-01T00:00:00Z&until=2026-03-03T00:00:00Z").await.expect(200);
    assert_eq!((&over["exceeded"], &over["remaining"]), (&json!(true), &json!(0)));
    check("&since=2026-03-03T00:00:00Z&until=2026-03-02T00:00:00Z").await.invalid("since");
}

#[on_both]
async fn a_calendar_window_is_the_one_that_its_instant_is_in(world: World) {
    // A Sunday, at the end of each window but the year.
    world.pass(TimeDelta::days(317));
    for period in ["daily", "weekly", "monthly", "quarterly", "yearly"] {
        let body = json!({"metric": "m", "quantity": 2, "window": "calendar", "period": period});
        world.put(world.org("/limits"), body).await.expect(201);
    }
    for at in [
        "2025-12-31T23:59:59.999999Z",
        "2026-01-01T00:00:00Z",
        "2026-09-30T23:59:59.999999Z",
        "2026-10-01T00:00:00Z",
        "2026-10-31T23:59:59.999999Z",
        "2026-11-01T00:00:00Z",
        "2026-11-08T23:59:59.999999Z",
        "2026-11-09T00:00:00Z",
        "2026-11-14T23:59:59.999999Z",
    ] {
        record(&world, used("m", 1, at)).await;
    }
    let mut found = Vec::new();
    for period in ["daily", "weekly", "monthly", "quarterly", "yearly"] {
        let path = format!("/limits/check?metric=m&window=calendar&period={period}");
        let check = world.get(world.org(&path)).await.expect(200);
        found.push(json!([check["used"], check["interval"]["since"], check["interval"]["until"]]));
    }
    assert_eq!(
        Value::from(found),
        json!([
            [0, "2026-11-15T00:00:00Z", "2026-11-15T23:59:59.999999Z"],
            [2, "2026-11-09T00:00:00Z", "2026-11-15T23:59:59.999999Z"],
            [4, "2026-11-01T00:00:00Z", "2026-11-30T23:59:59.999999Z"],
            [6, "2026-10-01T00:00:00Z", "2026-12-31T23:59:59.999999Z"],
            [8, "2026-01-01T00:00:00Z", "2026-12-31T23:59:59.999999Z"],
        ])
    );
    let path = "/limits/check?metric=m&window=calendar&until=2026-10-10T00:00:00Z";
    let october = world.get(world.org(path)).await.expect(200);
    let interval = json!({"since": "2026-10-01T00:00:00Z", "until": "2026-10-10T00:00:00Z"});
    assert_eq!((&october["used"], &october["interval"]), (&json!(1), &interval));
}

#[on_both]
async fn a_gauge_counts_all_time(world: World) {
    let body = json!({"metric": "m", "quantity": null, "window": "gauge"});
    world.put(world.org("/limits"), body).await.expect(201);
    world.pass(TimeDelta::days(1));
    for at in ["1970-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"] {
        record(&world, used("m", 2, at)).await;
    }
    let check = world.get(world.org("/limits/check?metric=m&window=gauge")).await.expect(200);
    let found = json!([check["used"], check["remaining"], check["exceeded"], check["interval"]]);
    assert_eq!(found, json!([6, null, false, {"since": null, "until": null}]));
    let path = "/limits/check?metric=m&window=gauge&until=2026-01-02T00:00:00Z";
    assert_eq!(world.get(world.org(path)).await.expect(200)["used"], 4);
}

#[on_both]
async fn a_project_has_its_own_limit_or_none(world: World) {
    let (apollo, gemini) = (project(&world, "apollo").await, project(&world, "gemini").await);
    let limit = json!({"metric": "m", "quantity": 100});
    world.put(world.org("/limits"), limit).await.expect(201);
    let limit = json!({"metric": "m", "quantity": 10, "project_id": apollo});
    world.put(world.org("/limits"), limit).await.expect(201);
    record(
        &world,
        json!([
            {"metric": "m", "quantity": 1},
            {"metric": "m", "quantity": 20, "project_id": apollo},
            {"metric": "m", "quantity": 300, "project_id": gemini},
            {"metric": "m", "quantity": 4000, "unit": "other"},
        ]),
    )
    .await;
    let check =
        async |query: String| world.get(world.org(&format!("/limits/check?metric=m{query}"))).await;
    let own = check(String::new()).await.expect(200);
    assert_eq!(json!([own["used"], own["exceeded"], own["project_id"]]), json!([321, true, null]));
    let of = check(format!("&project={apollo}")).await.expect(200);
    assert_eq!(json!([of["used"], of["remaining"], of["exceeded"]]), json!([20, 0, true]));
    check(format!("&project={gemini}")).await.refused(404, "limit_not_set");
    check("&unit=other".into()).await.refused(404, "limit_not_set");
}

/// A body with some members changed.
fn merged(body: &Value, changes: &Value) -> Value {
    let mut body = body.clone();
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}
