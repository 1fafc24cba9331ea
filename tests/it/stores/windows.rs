//! The `ControlPlaneStore`'s usage and limits: windows, their ends, and what lies beyond.

use serde_json::{Value, json};

use super::control_plane_store::ControlPlaneStore;
use super::{UNKNOWN_ID, at, each, id, refuses, with};
use crate::world::{World, on_both};

async fn store(world: &World) -> ControlPlaneStore {
    let store = ControlPlaneStore::over(world);
    store.create_org("org_x", "x").await.unwrap();
    store
}

/// A run at an instant.
fn runs(quantity: i64, at: &str) -> Value {
    json!({"metric": "runs", "quantity": quantity, "observed_at": at})
}

/// What a check says: used, remaining, exceeded.
fn usage_of(check: Option<Value>) -> Value {
    let check = check.unwrap();
    json!([check["used"], check["remaining"], check["exceeded"]])
}

#[on_both]
async fn usage_is_summed_by_metric_and_unit_with_both_ends(world: World) {
    let store = store(&world).await;
    let project = id(&store.create_project("x", "api").await.unwrap());
    let mut events = Vec::new();
    for (metric, unit, quantity, at) in [
        ("tokens", "token", json!(0.1), "2025-06-01T00:00:00Z"),
        ("tokens", "token", json!(0.2), "2025-06-02T00:00:00Z"),
        ("tokens", "count", json!(1), "2025-06-01T12:00:00Z"),
        ("Tokens", "token", json!(8), "2025-06-02T00:00:00.000001Z"),
        ("runtime", "ms", json!(125), "2025-05-31T23:59:59.999999Z"),
    ] {
        let event = json!({
            "metric": metric, "unit": unit, "quantity": quantity, "observed_at": at,
            "project_id": project, "run_id": "run_1", "metadata": {"workflow": "review"},
        });
        let recorded = store.record_usage("x", event.clone()).await.unwrap();
        assert_eq!(with(recorded.clone(), event), recorded);
        events.push(recorded);
    }
    let all = json!([
        ["Tokens", "token", 8],
        ["runtime", "ms", 125],
        ["tokens", "count", 1],
        ["tokens", "token", 0.3],
    ]);
    assert_eq!(store.summarize_usage("x", "").await.unwrap(), all);
    let window = "since=2025-06-01T00:00:00Z&until=2025-06-02T00:00:00Z";
    let within = json!([["tokens", "count", 1], ["tokens", "token", 0.3]]);
    assert_eq!(store.summarize_usage("x", window).await.unwrap(), within);
    let of_project = format!("project={project}&{window}");
    assert_eq!(store.summarize_usage("x", &of_project).await.unwrap(), within);
    assert_eq!(
        store.summarize_usage("x", &format!("project={UNKNOWN_ID}")).await.unwrap(),
        json!([])
    );

    for (bad, word) in [
        (json!({"quantity": -1}), "quantity"),
        (json!({"quantity": "1"}), "quantity"),
        (json!({"metric": ""}), "metric"),
        (json!({"observed_at": "soon"}), "observed_at"),
        (json!({"metadata": []}), "metadata"),
        (json!({"project_id": UNKNOWN_ID}), "project not found"),
        (json!({"project_id": world.acme.project}), "project not found"),
    ] {
        let event = with(runs(1, "2025-06-01T00:00:00Z"), bad);
        refuses(store.record_usage("x", event).await, word);
    }
    assert_eq!(store.summarize_usage("x", "").await.unwrap(), all, "what is refused is not there");
}

#[on_both]
async fn a_projects_check_is_its_own_and_an_organizations_counts_all(world: World) {
    let store = store(&world).await;
    let one = store.create_project("x", "one").await.unwrap();
    let two = store.create_project("x", "two").await.unwrap();
    let daily = json!({"metric": "runs", "unit": "count", "period": "daily", "quantity": 3});
    store.set_usage_limit("x", daily.clone()).await.unwrap();
    let own = with(daily.clone(), json!({"project_id": one["id"], "quantity": 1}));
    store.set_usage_limit("x", own).await.unwrap();
    let of = |project: &Value, quantity, at| {
        with(runs(quantity, at), json!({"project_id": project["id"]}))
    };
    store.record_usage("x", of(&one, 2, "1970-01-01T00:00:00.006Z")).await.unwrap();
    store.record_usage("x", of(&two, 1, "1970-01-01T00:00:00.007Z")).await.unwrap();

    let asked = "metric=runs&period=daily&until=1970-01-01T00:00:00.007Z";
    assert_eq!(usage_of(store.check_usage_limit("x", asked).await), json!([3, 0, false]));
    let own = format!("{asked}&project={}", id(&one));
    assert_eq!(usage_of(store.check_usage_limit("x", &own).await), json!([2, 0, true]));
    // No limit of its own is no limit: the organization's is not looked at instead.
    let other = format!("{asked}&project={}", id(&two));
    assert_eq!(store.check_usage_limit("x", &other).await, None);
    for (asked, other) in [
        ("metric=runs", "period"),
        ("metric=jobs&period=daily", "metric"),
        ("metric=runs&unit=ms&period=daily", "unit"),
        ("metric=runs&window=calendar&period=daily", "window"),
    ] {
        assert_eq!(store.check_usage_limit("x", asked).await, None, "another {other}");
    }
    let more = of(&two, 1, "1970-01-01T00:00:00.007Z");
    store.record_usage("x", more).await.unwrap();
    assert_eq!(usage_of(store.check_usage_limit("x", asked).await), json!([4, 0, true]));

    for project in [UNKNOWN_ID, &world.acme.project] {
        let limit = with(daily.clone(), json!({"project_id": project}));
        refuses(store.set_usage_limit("x", limit).await, "project not found");
    }
}

#[on_both]
async fn a_rolling_window_has_both_its_ends_and_strictly_over_is_exceeded(world: World) {
    let store = store(&world).await;
    for (period, first, before) in [
        ("daily", "2025-06-29T12:00:00Z", "2025-06-29T11:59:59.999999Z"),
        ("weekly", "2025-06-23T12:00:00Z", "2025-06-23T11:59:59.999999Z"),
        ("monthly", "2025-05-31T12:00:00Z", "2025-05-31T11:59:59.999999Z"),
    ] {
        let of = |event: Value| with(event, json!({"metric": period}));
        let limit = json!({"metric": period, "period": period, "quantity": 10});
        store.set_usage_limit("x", limit).await.unwrap();
        let asked = format!("metric={period}&period={period}&until=2025-06-30T12:00:00Z");
        assert_eq!(usage_of(store.check_usage_limit("x", &asked).await), json!([0, 10, false]));
        for (at, quantity, used) in [
            (before, 1000, [0, 10]),
            ("2025-06-30T12:00:00.000001Z", 1000, [0, 10]),
            (first, 4, [4, 6]),
            ("2025-06-30T12:00:00Z", 6, [10, 0]),
        ] {
            store.record_usage("x", of(runs(quantity, at))).await.unwrap();
            let found = usage_of(store.check_usage_limit("x", &asked).await);
            assert_eq!(found, json!([used[0], used[1], false]), "{period} {at}");
        }
        store
            .record_usage("x", with(of(runs(1, first)), json!({"quantity": 0.000_001})))
            .await
            .unwrap();
        let check = store.check_usage_limit("x", &asked).await.unwrap();
        assert_eq!(usage_of(Some(check.clone())), json!([10.000_001, 0, true]));
        assert_eq!(check["interval"], json!({"since": first, "until": "2025-06-30T12:00:00Z"}));
        let since = format!("{asked}&since=2025-06-30T12:00:00Z");
        assert_eq!(usage_of(store.check_usage_limit("x", &since).await), json!([6, 4, false]));
    }
}

#[on_both]
async fn a_limit_is_set_again_in_place(world: World) {
    let store = store(&world).await;
    let limit = json!({"metric": "runs", "quantity": 10});
    let first = store.set_usage_limit("x", limit.clone()).await.unwrap();
    let defaults = json!({
        "unit": "count", "window": "rolling", "period": "monthly", "project_id": null,
        "enforcement": "observe",
    });
    assert_eq!(with(first.clone(), defaults), first);
    let set = with(limit.clone(), json!({"quantity": 2.5, "unit": "count", "period": "monthly"}));
    let second = store.set_usage_limit("x", set).await.unwrap();
    let expected = json!({"quantity": 2.5, "updated_at": second["updated_at"]});
    assert_eq!(second, with(first.clone(), expected));
    assert!(at(&second["updated_at"]) > at(&first["updated_at"]));
    assert_eq!(store.list_usage_limits("x").await, [second]);
    let unlimited = with(limit.clone(), json!({"quantity": null}));
    store.set_usage_limit("x", unlimited).await.unwrap();
    let check = store.check_usage_limit("x", "metric=runs").await;
    assert_eq!(usage_of(check), json!([0, null, false]));
    for (bad, word) in [
        (json!({"period": "forever"}), "period"),
        (json!({"quantity": -1}), "quantity"),
        (json!({"window": "hopping"}), "window"),
        (json!({"metric": " "}), "metric"),
    ] {
        refuses(store.set_usage_limit("x", with(limit.clone(), bad)).await, word);
    }
    let asked = "/organizations/x/limits/check?metric=runs&period=forever";
    let problem = world.get(asked).await.invalid("period");
    assert!(problem["detail"].as_str().unwrap().contains("one of daily, weekly, monthly"));
}

#[on_both]
async fn event_recorded_twice_counts_once(world: World) {
    let store = store(&world).await;
    let event = with(runs(5, "2025-06-01T00:00:00Z"), json!({"idempotency_key": "k"}));
    let first = store.record_usage("x", event.clone()).await.unwrap();
    assert_eq!(store.record_usage("x", event.clone()).await.unwrap(), first);
    store.create_org("org_y", "y").await.unwrap();
    let elsewhere = store.record_usage("y", event.clone()).await.unwrap();
    assert_ne!(elsewhere["id"], first["id"], "a key is the organization's");
    let other = with(event.clone(), json!({"idempotency_key": "l"}));
    let batch = store.record_usage("x", json!([event, other, other])).await.unwrap();
    let statuses = each(batch["items"].as_array().unwrap(), "status");
    assert_eq!(statuses, json!([200, 201, 200]));
    assert_eq!(batch["items"][0]["event"], first);
    let sums = store.summarize_usage("x", "").await.unwrap();
    assert_eq!(sums, json!([["runs", "count", 10]]));
}

#[on_both]
async fn an_enforced_limit_takes_exactly_full_and_no_more(world: World) {
    let store = store(&world).await;
    let project = store.create_project("x", "one").await.unwrap();
    let limit = json!({
        "metric": "runs", "period": "daily", "quantity": 3, "enforcement": "enforce",
        "project_id": project["id"],
    });
    store.set_usage_limit("x", limit).await.unwrap();
    let run = |quantity: i64| {
        json!({
            "metric": "runs", "quantity": quantity, "project_id": project["id"], "mode": "enforce",
        })
    };
    store.record_usage("x", run(3)).await.unwrap();
    let problem = world.post("/organizations/x/usage", run(1)).await.refused(429, "limit_exceeded");
    let expected = json!({
        "metric": "runs", "scope": "project", "limit": 3, "used": 3, "requested": 1,
        "resets_at": "2026-01-03T00:00:00.000001Z",
    });
    assert_eq!(with(problem.clone(), expected), problem);
    let others = json!({"project_id": null});
    store.record_usage("x", with(run(1), others)).await.unwrap();
    assert_eq!(store.summarize_usage("x", "").await.unwrap(), json!([["runs", "count", 4]]));
    // Who only observes is counted all the same.
    store.record_usage("x", with(run(2), json!({"mode": "observe"}))).await.unwrap();
    let asked = format!("metric=runs&period=daily&project={}", id(&project));
    assert_eq!(usage_of(store.check_usage_limit("x", &asked).await), json!([5, 0, true]));
}
