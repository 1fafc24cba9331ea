use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{project, record, used};
use crate::world::{World, now, on_both};

#[on_both]
async fn an_event_is_recorded_once_by_its_key(world: World) {
    let apollo = project(&world, "apollo").await;
    let body = json!({
        "metric": "llm.tokens", "quantity": 12.5, "unit": "token", "project_id": apollo,
        "run_id": "run 7/α", "deployment_id": world.acme.deployment, "dims": {"model": "x"},
        "observed_at": "2026-01-01T12:00:00.1234567+02:00", "idempotency_key": "k-1",
        "metadata": {"by": ["anna"]},
    });
    let answer = world.post(world.org("/usage"), body.clone()).await;
    let location = answer.header("location").to_owned();
    let event = answer.expect(201);
    assert_eq!(
        world.named(&event),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "project_id": "<2>",
            "product": "", "group_id": null, "user_id": null, "credits": null,
            "credit_factor": null,
            "deployment_id": "<acme's deployment>", "run_id": "run 7/α",
            "metric": "llm.tokens", "unit": "token", "quantity": 12.5,
            "dims": {"model": "x"}, "metadata": {"by": ["anna"]}, "idempotency_key": "k-1",
            "observed_at": "2026-01-01T10:00:00.123456Z", "recorded_at": now(),
        })
    );
    assert_eq!(location, format!("/api/v1/usage/{}", event["id"].as_str().unwrap()));
    let read = world.get(location.trim_start_matches("/api/v1")).await.expect(200);
    assert_eq!(read, event);
    assert_eq!(world.post(world.org("/usage"), body.clone()).await.expect(200), event);
    // The key stands for this content.
    for (member, value) in [
        ("quantity", json!(12)),
        ("metric", json!("m")),
        ("dims", json!({})),
        ("observed_at", json!("2026-01-01T11:00:00Z")),
        ("run_id", json!(null)),
    ] {
        let mut other = body.clone();
        other[member] = value;
        let problem = world.post(world.org("/usage"), other).await.refused(409, "conflict");
        assert_eq!(problem["field"], "idempotency_key", "{member}");
    }
    // It is that of its deployment: others have their own.
    let other = json!({"metric": "other", "quantity": 1, "idempotency_key": "k-1"});
    world.post(world.org("/usage"), other.clone()).await.expect(201);
    world.post(world.org("/usage"), other.clone()).await.expect(200);
    let mut elsewhere = other.clone();
    elsewhere["deployment_id"] = json!(world.acme.spare_deployment);
    world.post(world.org("/usage"), elsewhere).await.expect(201);
    let globex = format!("/organizations/{}/usage", world.globex.org);
    world.post(&globex, other).await.expect(201);
    let sums = world.get(world.org("/usage/summary?until=2026-01-01T23:00:00Z")).await;
    assert_eq!(sums.expect(200)["items"][1]["events"], 1);
}

#[on_both]
async fn an_array_is_bounded_in_its_series_and_hours(world: World) {
    world.pass(TimeDelta::days(30));
    let of = |metrics: usize, hours: usize| -> Value {
        let event = |n: usize| {
            let at = format!("2026-01-{:02}T{:02}:00:00Z", 1 + n % hours / 24, n % hours % 24);
            used(&format!("m-{}", n % metrics), 1, &at)
        };
        (0..metrics.max(hours)).map(event).collect()
    };
    record(&world, of(100, 1)).await;
    record(&world, of(1, 200)).await;
    let scattered = world.post(world.org("/usage"), of(101, 1)).await.refused(422, "invalid");
    assert_eq!(scattered["field"], "metric");
    let scattered = world.post(world.org("/usage"), of(1, 201)).await.refused(422, "invalid");
    assert_eq!(scattered["field"], "observed_at");
    let sums = world.get(world.org("/usage/summary?until=2026-01-31T00:00:00Z")).await;
    let events = sums.expect(200)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["events"].as_i64().unwrap())
        .sum::<i64>();
    assert!(events >= 300, "{events}");
    // A project's series counts beside the organization's.
    let apollo = project(&world, "apollo").await;
    let mut both = of(50, 1).as_array().unwrap().clone();
    both.extend(both.clone().into_iter().map(|mut event| {
        event["project_id"] = json!(apollo);
        event
    }));
    record(&world, json!(both)).await;
    both.push(used("one more", 1, "2026-01-01T00:00:00Z"));
    world.post(world.org("/usage"), json!(both)).await.refused(422, "invalid");
}

#[on_both]
async fn an_organization_has_so_many_series(world: World) {
    let fill =
        "INSERT INTO usage_series (id, organization_id, scope, metric, unit, events, units, micros)
                    VALUES ";
    let org: uuid::Uuid = world.acme.org.parse().unwrap();
    let mut tx = world.app.db.begin().await.unwrap();
    let own = "SELECT COUNT(*) FROM usage_series WHERE organization_id = $1";
    let count: i64 = tx.q(own).bind(org).value().await.unwrap().unwrap();
    for chunk in (count..9_999).collect::<Vec<_>>().chunks(500) {
        let rows = tx.q(fill).rows(chunk, |query, n| {
            let id = uuid::Uuid::from_u128(u128::try_from(*n).unwrap());
            query
                .bind(id)
                .bind(org)
                .bind(org)
                .bind(format!("filler {n}"))
                .bind("count")
                .bind(0_i64)
                .bind(0_i64)
                .bind(0_i64)
        });
        rows.exec().await.unwrap();
    }
    tx.commit().await.unwrap();
    let last = used("last", 1, "2026-01-01T00:00:00Z");
    record(&world, last.clone()).await;
    let over = used("over", 1, "2026-01-01T00:00:00Z");
    let refused = world.post(world.org("/usage"), over.clone()).await.refused(422, "invalid");
    assert_eq!(refused["field"], "metric");
    record(&world, last).await;
    // Others have their own.
    let globex = format!("/organizations/{}/usage", world.globex.org);
    world.post(&globex, over).await.expect(201);
}

#[on_both]
async fn an_event_says_little_at_least(world: World) {
    let event = record(&world, json!({"metric": "calls", "quantity": 0})).await;
    assert_eq!(
        world.named(&event),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "project_id": null,
            "deployment_id": null, "product": "", "group_id": null, "user_id": null, "credits": null,
            "credit_factor": null, "run_id": null, "metric": "calls", "unit": "count",
            "quantity": 0, "dims": {}, "metadata": {}, "idempotency_key": null,
            "observed_at": now(), "recorded_at": now(),
        })
    );
}

#[on_both]
async fn a_batch_is_answered_one_by_one(world: World) {
    let limit = json!({"metric": "runs", "quantity": 2, "enforcement": "enforce"});
    world.put(world.org("/limits"), limit).await.expect(201);
    let run = |key: &str| json!({"metric": "runs", "quantity": 1, "idempotency_key": key, "mode": "enforce"});
    record(&world, run("a")).await;
    let batch = json!([
        run("a"),
        run("b"),
        run("c"),
        run("c"),
        {"metric": "runs", "quantity": 1, "project_id": world.globex.org},
        {"metric": "calls", "quantity": 3, "idempotency_key": "d"},
        {"metric": "calls", "quantity": 4, "idempotency_key": "d"},
        {"metric": "runs", "quantity": 5},
    ]);
    let answer = record(&world, batch).await;
    let counts = ["recorded", "replayed", "refused"].map(|name| answer[name].as_i64().unwrap());
    assert_eq!(counts, [3, 1, 4]);
    let items = answer["items"].as_array().unwrap();
    let outcomes: Vec<_> = items
        .iter()
        .map(|item| (&item["status"], &item["event"]["quantity"], &item["problem"]["code"]))
        .map(|(status, quantity, code)| json!([status, quantity, code]))
        .collect();
    assert_eq!(
        Value::from(outcomes),
        json!([
            [200, 1, null],
            [201, 1, null],
            [429, null, "limit_exceeded"],
            [429, null, "limit_exceeded"],
            [404, null, "not_found"],
            [201, 3, null],
            [409, null, "conflict"],
            [201, 5, null],
        ])
    );
    assert_eq!(items[2]["problem"]["used"], 2);
    let sums = world.get(world.org("/usage/summary?group_by=metric")).await.expect(200);
    let sums = sums["items"].as_array().unwrap();
    let quantity =
        |metric: &str| sums.iter().find(|s| s["metric"] == metric).unwrap()["quantity"].clone();
    assert_eq!((quantity("runs"), quantity("calls")), (json!(7), json!(4)));
    let listed = world.get(world.org("/usage?metric=runs")).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3, "what was refused is not there");
}

#[on_both]
async fn a_batch_is_listed_backwards_as_it_was_sent(world: World) {
    let batch: Vec<Value> = (0..1000)
        .map(|n| json!({"metric": "m", "quantity": n, "metadata": {"pad": "x".repeat(400)}}))
        .collect();
    let answer = record(&world, batch.clone().into()).await;
    assert_eq!(answer["recorded"], 1000);
    let page = world.get(world.org("/usage?metric=m&limit=500")).await.expect(200);
    let quantities: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|e| e["quantity"].as_i64().unwrap()).collect();
    assert_eq!(quantities, (500..1000).rev().collect::<Vec<_>>());
    let next = page["next_cursor"].as_str().unwrap();
    let page = world.get(world.org(&format!("/usage?metric=m&limit=500&cursor={next}"))).await;
    assert_eq!(page.expect(200)["next_cursor"], Value::Null);
    let more: Vec<_> = batch.into_iter().chain([json!({"metric": "m", "quantity": 1})]).collect();
    world.post(world.org("/usage"), more.into()).await.refused(400, "bad_request");
    assert_eq!(record(&world, json!([])).await["items"], json!([]));
}

#[on_both]
async fn quantities_are_exact(world: World) {
    let tenths: Vec<Value> = (0..10).map(|_| json!({"metric": "t", "quantity": 0.1})).collect();
    record(&world, tenths.into()).await;
    record(&world, json!({"metric": "t", "quantity": 0.000001})).await;
    // Written out: a float of the test's own would not keep the digits.
    let raw = r#"[{"metric":"big","quantity":999999999999999.999999},
                      {"metric":"big","quantity":0.000001}]"#;
    let request = axum::http::Request::post(format!("/api/v1{}", world.org("/usage")))
        .body(axum::body::Body::from(raw));
    let answer = world.root().send(request.unwrap()).await;
    assert!(answer.text().contains(r#""quantity":999999999999999.999999,"#), "{}", answer.text());
    let summary = world.get(world.org("/usage/summary")).await;
    assert!(summary.text().contains(r#""quantity":1000000000000000,"#), "{}", summary.text());
    assert!(summary.text().contains(r#""quantity":1.000001,"#), "{}", summary.text());
}

#[on_both]
async fn a_sum_that_would_end_beyond_what_is_counted_is_refused(world: World) {
    let most = || json!({"metric": "m", "quantity": 1_000_000_000_000_000_i64});
    let batch: Value = (0..1000).map(|_| most()).collect();
    assert_eq!(record(&world, batch.clone()).await["recorded"], 1000);
    world.post(world.org("/usage"), most()).await.invalid("quantity");
    world.post(world.org("/usage"), batch).await.invalid("quantity");
    let summary = world.get(world.org("/usage/summary")).await.expect(200);
    assert_eq!(summary["items"][1]["quantity"], json!(1_000_000_000_000_000_000_i64));
}

#[on_both]
async fn event_malformed_is_refused_by_field(world: World) {
    let long = "x".repeat(256);
    for (body, field) in [
        (json!({"quantity": 1}), "metric"),
        (json!({"metric": "m"}), "quantity"),
        (json!({"metric": "", "quantity": 1}), "metric"),
        (json!({"metric": long, "quantity": 1}), "metric"),
        (json!({"metric": "a\nb", "quantity": 1}), "metric"),
        (json!({"metric": "m", "quantity": -1}), "quantity"),
        (json!({"metric": "m", "quantity": 0.0000001}), "quantity"),
        (json!({"metric": "m", "quantity": 1e16}), "quantity"),
        (json!({"metric": "m", "quantity": "1"}), "quantity"),
        (json!({"metric": "m", "quantity": null}), "quantity"),
        (json!({"metric": "m", "quantity": 1, "unit": " "}), "unit"),
        (json!({"metric": "m", "quantity": 1, "run_id": ""}), "run_id"),
        (json!({"metric": "m", "quantity": 1, "idempotency_key": long}), "idempotency_key"),
        (json!({"metric": "m", "quantity": 1, "dims": []}), "dims"),
        (json!({"metric": "m", "quantity": 1, "mode": "loud"}), "mode"),
        (json!({"metric": "m", "quantity": 1, "amount": 1}), "amount"),
        (used("m", 1, "1969-12-31T23:59:59Z"), "observed_at"),
        (used("m", 1, "+10000-01-01T00:00:00Z"), "observed_at"),
        (used("m", 1, "yesterday"), "observed_at"),
    ] {
        let problem = world.post(world.org("/usage"), body.clone()).await.invalid(field);
        assert!(problem["detail"].as_str().unwrap().len() > field.len() + 3, "{problem}");
        // One that is not well-formed refuses the array, and nothing is recorded of it.
        let array = json!([{"metric": "m", "quantity": 1}, body]);
        world.post(world.org("/usage"), array).await.invalid(&format!("[1].{field}"));
    }
    for at in ["1970-01-01T00:00:00Z", "2026-01-02T00:00:00Z"] {
        record(&world, used("edge", 1, at)).await;
    }
    let summary = world.get(world.org("/usage/summary")).await.expect(200);
    let metrics: Vec<_> =
        summary["items"].as_array().unwrap().iter().map(|item| &item["metric"]).collect();
    assert_eq!(metrics, ["calls", "edge", "seats"]);
    let path = "/usage/summary?since=1970-01-01T00:00:00Z&until=9999-12-31T23:59:59.999999Z";
    assert_eq!(world.get(world.org(path)).await.expect(200)["items"], summary["items"]);
}

#[on_both]
async fn event_from_the_future_is_refused_and_a_small_skew_counts_as_now(world: World) {
    let refused = used("m", 1, "2026-01-02T00:05:00.000001Z");
    let problem = world.post(world.org("/usage"), refused.clone()).await.invalid("observed_at");
    assert_eq!(
        problem["detail"],
        "`observed_at` must be at most 5 minutes ahead of the server's clock, \
         2026-01-02T00:00:00Z (got 2026-01-02T00:05:00Z)."
    );
    for at in ["2026-01-02T00:00:00.000001Z", "2026-01-02T00:05:00Z"] {
        let event = world.post(world.org("/usage"), used("m", 1, at)).await.expect(201);
        assert_eq!(event["observed_at"], "2026-01-02T00:00:00Z");
    }
    // In an array it stops no other event, and leaves its key for a corrected one.
    let mut dated = used("m", 1, "9999-12-31T23:59:59Z");
    dated["idempotency_key"] = "k".into();
    let mut corrected = used("m", 1, "2026-01-02T00:03:00Z");
    corrected["idempotency_key"] = "k".into();
    let array = json!([dated, corrected, used("m", 1, "2026-01-02T00:00:00Z")]);
    let done = record(&world, array).await;
    let statuses: Vec<_> =
        done["items"].as_array().unwrap().iter().map(|item| &item["status"]).collect();
    assert_eq!(statuses, [422, 201, 201]);
    assert_eq!(done["items"][0]["problem"]["field"], "observed_at");
    // The event that counted as now is the same when it is sent again later.
    world.pass(TimeDelta::minutes(10));
    world.post(world.org("/usage"), corrected.clone()).await.expect(200);
    corrected["observed_at"] = "2026-01-02T00:06:00Z".into();
    world.post(world.org("/usage"), corrected).await.refused(409, "conflict");
    let summary =
        world.get(world.org("/usage/summary?until=2026-01-02T00:00:00Z")).await.expect(200);
    let sum =
        summary["items"].as_array().unwrap().iter().find(|item| item["metric"] == "m").unwrap();
    assert_eq!((&sum["events"], &sum["quantity"]), (&json!(4), &json!(4)));
}

#[on_both]
async fn event_with_foreign_ids_is_not_found(world: World) {
    let globex = &world.globex;
    for (member, id) in [("project_id", &world.acme.org), ("deployment_id", &globex.deployment)] {
        let body = json!({"metric": "m", "quantity": 1, member: id});
        let problem = world.post(world.org("/usage"), body).await.refused(404, "not_found");
        assert_eq!(problem["field"], member);
    }
    let nowhere = "/organizations/01900000-0000-7000-8000-000000000000/usage";
    world.post(nowhere, json!({"metric": "m", "quantity": 1})).await.refused(404, "not_found");
    world.get(format!("{nowhere}/summary")).await.refused(404, "not_found");
}

#[on_both]
async fn a_deployment_records_its_own_usage_only(world: World) {
    let deployment = world.by(&world.acme.deployment_token);
    let event = deployment.post(world.org("/usage"), json!({"metric": "m", "quantity": 1})).await;
    assert_eq!(event.expect(201)["deployment_id"], json!(world.acme.deployment));
    let other = json!({"metric": "m", "quantity": 1, "deployment_id": world.acme.spare_deployment});
    deployment.post(world.org("/usage"), other).await.refused(403, "forbidden");
    deployment.get(world.org("/limits/check?metric=calls")).await.expect(200);
    deployment.get(world.org("/usage")).await.refused(403, "forbidden");
}

#[on_both]
async fn events_are_filtered_by_their_fields(world: World) {
    let apollo = project(&world, "apollo").await;
    let batch = json!([
        {"metric": "m", "quantity": 1, "project_id": apollo, "observed_at": "2026-01-01T00:00:00Z"},
        {"metric": "m", "quantity": 2, "unit": "s", "run_id": "r", "observed_at": "2026-01-01T01:00:00Z"},
        {"metric": "m", "quantity": 3, "deployment_id": world.acme.deployment, "observed_at": "2026-01-01T02:00:00Z"},
    ]);
    record(&world, batch).await;
    let found = async |query: &str| {
        let page = world.get(world.org(&format!("/usage?metric=m&{query}"))).await.expect(200);
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|e| e["quantity"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(found(&format!("project={apollo}")).await, [1]);
    assert_eq!(found("unit=s").await, [2]);
    assert_eq!(found("run=r").await, [2]);
    assert_eq!(found(&format!("deployment={}", world.acme.deployment)).await, [3]);
    assert_eq!(found("since=2026-01-01T01:00:00Z").await, [3, 2]);
    assert_eq!(found("until=2026-01-01T01:00:00Z").await, [2, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_recordings_lose_nothing_on_sqlite() {
    in_parallel(crate::world::World::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_recordings_lose_nothing_on_postgres() {
    if let Some(world) = crate::world::World::on_postgres().await {
        in_parallel(world).await;
    }
}

/// Two replicas; batches in opposite orders, some of the same keys.
async fn in_parallel(world: crate::world::World) {
    let (_app, other) = world.replica().await;
    let other = other.token(crate::world::ROOT);
    let calls = (0..40).map(|n| {
        let client = if n % 2 == 0 { world.root() } else { other.clone() };
        let path = world.org("/usage");
        let metrics = if n % 2 == 0 { ["a", "b", "c"] } else { ["c", "b", "a"] };
        let batch: Value = metrics
            .into_iter()
            .map(|m| json!({"metric": m, "quantity": 0.5, "idempotency_key": format!("{m}{}", n / 4)}))
            .chain([json!({"metric": "d", "quantity": 1.25})])
            .collect();
        tokio::spawn(async move { client.post(path, batch).await.expect(200) })
    });
    let mut recorded = 0;
    for done in futures_util::future::join_all(calls).await {
        recorded += done.unwrap()["recorded"].as_i64().unwrap();
    }
    // Four requests share the three keys of each tenth.
    assert_eq!(recorded, 40 + 30);
    let sums = world.get(world.org("/usage/summary?since=2026-01-02T00:00:00Z")).await.expect(200);
    let sums: Vec<_> =
        sums["items"].as_array().unwrap().iter().map(|s| s["quantity"].clone()).collect();
    assert_eq!(sums, [json!(5), json!(5), json!(5), json!(50)]);
}
