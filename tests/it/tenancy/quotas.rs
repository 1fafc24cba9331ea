use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn an_organization_begins_with_the_quotas_of_its_plan(world: World) {
    let body = json!({"name": "Initech", "owner": "bill@initech.example"});
    let org = world.post("/organizations", body).await.expect(201);
    let quotas = world.get("/organizations/initech/quotas").await.expect(200);
    let quota = |limit: i64| {
        json!({
            "limit": limit, "used": 0, "remaining": limit, "full": false, "from": "plan",
        })
    };
    assert_eq!(
        quotas,
        json!({"organization_id": org["id"], "quotas": {
            "projects": quota(3), "concurrent_runs": quota(1), "runs_per_month": quota(100),
            "api_calls_per_month": quota(1000), "storage_bytes": quota(5 << 30),
            "members": {
                "limit": 3, "used": 1, "remaining": 2, "full": false, "from": "plan",
            },
            "artifacts_per_run": quota(10), "compute_minutes_per_month": quota(60),
            "artifact_retention_days": quota(7), "requests_per_minute": quota(10),
        }})
    );
    let body = json!({"name": "Hooli", "plan_code": "enterprise"});
    world.post("/organizations", body).await.expect(201);
    let quotas = world.get("/organizations/hooli/quotas").await.expect(200);
    assert_eq!(
        quotas["quotas"]["members"],
        json!({"limit": null, "used": 0, "remaining": null, "full": false, "from": "plan"})
    );
    assert_eq!(quotas["quotas"]["concurrent_runs"]["limit"], 50);
}

#[on_both]
async fn quotas_follow_the_plan_and_what_is_held_stays(world: World) {
    world.post(world.org("/quotas/storage_bytes/adjust"), json!({"delta": 7})).await.expect(200);
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(&subscription, json!({"plan_code": "free"})).await.expect(200);
    let quotas = world.get(world.org("/quotas")).await.expect(200);
    assert_eq!(quotas["quotas"]["members"]["limit"], 3);
    assert_eq!(
        quotas["quotas"]["storage_bytes"],
        json!({
            "limit": 5_i64 << 30, "used": 1007, "remaining": (5_i64 << 30) - 1007,
            "full": false, "from": "plan",
        })
    );
    let limits =
        json!({"limits": {"projects": 1, "members": null, "runs_per_month": "not_included"}});
    world.patch("/plans/free", limits).await.expect(200);
    world.post("/plans/free/migrate", json!({})).await.expect(200);
    let quotas = world.get(world.org("/quotas")).await.expect(200)["quotas"].clone();
    for (metric, limit, from) in [
        ("projects", json!(1), "plan"),
        ("members", Value::Null, "plan"),
        ("concurrent_runs", json!(1), "plan"),
        ("runs_per_month", Value::Null, "none"),
    ] {
        assert_eq!((&quotas[metric]["limit"], &quotas[metric]["from"]), (&limit, &json!(from)));
    }
}

#[on_both]
async fn metric_that_the_plan_leaves_out_is_not_limited_and_not_in_the_token(world: World) {
    let plan = json!({
        "code": "mine", "name": "Mine", "seat_cap": 10,
        "limits": {"projects": 20, "storage_bytes": "unlimited"},
    });
    world.post("/plans", plan).await.expect(201);
    let body = json!({"name": "Initech", "plan_code": "mine"});
    world.post("/organizations", body).await.expect(201);
    let none = json!({"limit": null, "used": 0, "remaining": null, "full": false, "from": "none"});
    let quotas = world.get("/organizations/initech/quotas").await.expect(200)["quotas"].clone();
    assert_eq!(
        quotas,
        json!({
            "projects": {"limit": 20, "used": 0, "remaining": 20, "full": false, "from": "plan"},
            "storage_bytes": {
                "limit": null, "used": 0, "remaining": null, "full": false, "from": "plan",
            },
            "members": {"limit": 10, "used": 0, "remaining": 10, "full": false, "from": "seat_cap"},
            "concurrent_runs": none, "runs_per_month": none, "api_calls_per_month": none,
            "artifacts_per_run": none, "compute_minutes_per_month": none,
            "artifact_retention_days": none, "requests_per_minute": none,
        })
    );
    let check =
        world.get("/organizations/initech/quotas/runs_per_month/check?amount=1000000").await;
    let check = check.expect(200);
    assert_eq!((&check["allowed"], &check["from"]), (&json!(true), &json!("none")));

    let path = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(&path, json!({"plan_code": "mine"})).await.expect(200);
    let bundle = world
        .post(format!("/licenses/{}/bundles", world.acme.license), json!({}))
        .await
        .expect(201);
    let license = &bundle["payload"]["license"];
    assert_eq!(license["limits"], json!({"projects": 20, "storage_bytes": null}));
    assert_eq!(license["unlimited"], json!(["storage_bytes"]));
}

#[on_both]
async fn members_follow_the_seats_where_the_plan_leaves_them_out(world: World) {
    let plan = json!({"code": "mine", "name": "Mine", "seat_cap": 10});
    world.post("/plans", plan).await.expect(201);
    let path = format!("/subscriptions/{}", world.acme.subscription);
    let members =
        async || world.get(world.org("/quotas")).await.expect(200)["quotas"]["members"].clone();
    for (patch, limit) in [
        (json!({"plan_code": "mine"}), 10),
        (json!({"seat_cap": 12}), 12),
        (json!({"seat_cap": null}), 10),
    ] {
        world.patch(&path, patch).await.expect(200);
        let members = members().await;
        assert_eq!((&members["limit"], &members["from"]), (&json!(limit), &json!("seat_cap")));
    }
    world.patch(&path, json!({"plan_code": "team"})).await.expect(200);
    assert_eq!(members().await["from"], "plan");
}

#[on_both]
async fn override_decides_until_it_is_removed(world: World) {
    let path = world.org("/quotas/members");
    let set = world.put(&path, json!({"quantity": 40})).await.expect(200);
    let quota = |limit: Value, remaining: Value, from: &str| {
        json!({
            "organization_id": world.acme.org, "metric": "members", "limit": limit,
            "used": set["used"], "remaining": remaining, "full": false, "from": from,
        })
    };
    let used = set["used"].as_i64().unwrap();
    assert_eq!(set, quota(json!(40), json!(40 - used), "override"));
    let read =
        async || world.get(world.org("/quotas")).await.expect(200)["quotas"]["members"].clone();
    // Another plan grants below the override.
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(&subscription, json!({"plan_code": "professional"})).await.expect(200);
    assert_eq!(read().await["limit"], 40);
    let set = world.put(&path, json!({"quantity": "unlimited"})).await.expect(200);
    assert_eq!(set, quota(Value::Null, Value::Null, "override"));
    world.delete(&path).await.expect(204);
    let back = read().await;
    assert_eq!((&back["limit"], &back["from"]), (&json!(5), &json!("plan")));
    for bad in [json!({}), json!({"quantity": -2}), json!({"quantity": "not_included"})] {
        world.put(&path, bad).await.invalid("quantity");
    }
    // The vendor sets it, and the organization's own people do not.
    let own = world.with_only(&["org:read", "quotas:write"]).await;
    own.put(&path, json!({"quantity": 40})).await.refused(403, "forbidden");
    own.delete(&path).await.refused(403, "forbidden");
}

#[on_both]
async fn exactly_full_is_allowed_and_one_more_is_not(world: World) {
    let runs = |path: &str| world.org(&format!("/quotas/concurrent_runs/{path}"));
    let check = world.get(runs("check?amount=10")).await.expect(200);
    assert_eq!(
        check,
        json!({
            "allowed": true, "requested": 10, "organization_id": world.acme.org,
            "metric": "concurrent_runs", "limit": 10, "used": 0, "remaining": 10, "full": false,
            "from": "plan",
        })
    );
    assert_eq!(world.get(runs("check?amount=11")).await.expect(200)["allowed"], false);
    world.get(runs("check?amount=-1")).await.invalid("amount");

    let adjusted = world.post(runs("adjust"), json!({"delta": 10})).await.expect(200);
    assert_eq!(
        adjusted,
        json!({
            "organization_id": world.acme.org, "metric": "concurrent_runs",
            "limit": 10, "used": 10, "remaining": 0, "full": true, "from": "plan",
        })
    );
    let problem = world.post(runs("adjust"), json!({"delta": 1})).await;
    let problem = problem.refused(429, "quota_exceeded");
    for (member, value) in [
        ("metric", json!("concurrent_runs")),
        ("limit", json!(10)),
        ("used", json!(10)),
        ("requested", json!(1)),
        ("organization_id", json!(world.acme.org)),
    ] {
        assert_eq!(problem[member], value, "{problem}");
    }
    assert_eq!(world.get(runs("check")).await.expect(200)["allowed"], false);
    assert_eq!(world.get(runs("check?amount=0")).await.expect(200)["allowed"], true);

    let observed = json!({"delta": 5, "mode": "OBSERVE"});
    let over = world.post(runs("adjust"), observed).await.expect(200);
    assert_eq!((&over["used"], &over["remaining"]), (&json!(15), &json!(0)));
    world.post(runs("adjust"), json!({"delta": -3})).await.expect(200);
    let none = world.post(runs("adjust"), json!({"delta": -100})).await.expect(200);
    assert_eq!(none["used"], 0, "never below nothing");
}

#[on_both]
async fn quota_counted_or_of_each_thing_is_not_adjusted(world: World) {
    for metric in ["projects", "members", "artifact_retention_days", "requests_per_minute"] {
        let path = world.org(&format!("/quotas/{metric}/adjust"));
        let problem = world.post(path, json!({"delta": 1})).await;
        assert_eq!(problem.refused(422, "quota_is_counted")["metric"], metric);
    }
    let path = world.org("/quotas/coffee/adjust");
    let problem = world.post(path, json!({"delta": 1})).await.refused(404, "not_found");
    assert_eq!(problem["detail"], "quota not found");
    world.get(world.org("/quotas/coffee/check")).await.refused(404, "not_found");
}

#[on_both]
async fn monthly_metric_restarts_with_the_month(world: World) {
    let runs = |path: &str| world.org(&format!("/quotas/runs_per_month/{path}"));
    world.post(runs("adjust"), json!({"delta": 10_000})).await.expect(200);
    let problem = world.post(runs("adjust"), json!({"delta": 1})).await;
    let problem = problem.refused(429, "quota_exceeded");
    assert_eq!(problem["resets_at"], "2026-02-01T00:00:00Z");
    world.pass(TimeDelta::days(30));
    assert_eq!(world.get(runs("check?amount=10000")).await.expect(200)["allowed"], true);
    let adjusted = world.post(runs("adjust"), json!({"delta": 2})).await.expect(200);
    assert_eq!(adjusted["used"], 2);
}

#[on_both]
async fn members_never_pass_their_quota(world: World) {
    let body = json!({"name": "Initech", "owner": "bill@initech.example"});
    world.post("/organizations", body).await.expect(201);
    let members = "/organizations/initech/memberships";
    let seat = |name: &str| json!({"email": format!("{name}@initech.example"), "role": "viewer"});
    world.post(members, seat("peter")).await.expect(201);
    let third = world.post(members, seat("michael")).await.expect(201);
    let problem = world.post(members, seat("samir")).await.refused(429, "quota_exceeded");
    assert_eq!(problem["detail"], "member quota exceeded: 3 of 3 used, 1 more requested.");
    assert_eq!(problem["metric"], "members");
    world.post(members, seat("peter")).await.refused(409, "already_member");
    let third = format!("/memberships/{}", third["id"].as_str().unwrap());
    world.delete(third).await.expect(204);
    world.post(members, seat("samir")).await.expect(201);
}

#[on_both]
async fn two_hundred_at_once_take_exactly_the_seats_there_are(world: World) {
    let body = json!({"name": "Crowd", "plan_code": "professional"});
    world.post("/organizations", body).await.expect(201);
    let (_, other) = world.replica().await;
    let root = world.root();
    let other = other.token(crate::world::ROOT);
    let join = async |n: u32| {
        let body = json!({"email": format!("p{n}@crowd.example"), "role": "member"});
        let client = if n.is_multiple_of(2) { &root } else { &other };
        client.post("/organizations/crowd/memberships", body).await
    };
    let answers = join_all((0..200).map(join)).await;
    let mut joined = 0;
    for answer in answers {
        if answer.status == 201 {
            joined += 1;
            continue;
        }
        let problem = answer.refused(429, "quota_exceeded");
        assert_eq!((&problem["limit"], &problem["used"]), (&json!(5), &json!(5)));
    }
    assert_eq!(joined, 5);
    let quotas = world.get("/organizations/crowd/quotas").await.expect(200);
    assert_eq!(quotas["quotas"]["members"]["used"], 5);
}

#[on_both]
async fn a_gauge_that_many_move_at_once_loses_nothing(world: World) {
    let path = world.org("/quotas/concurrent_runs/adjust");
    let root = world.root();
    let up = join_all((0..40).map(|_| root.post(&path, json!({"delta": 1})))).await;
    assert_eq!(up.iter().filter(|answer| answer.status == 200).count(), 10);
    let down = join_all((0..4).map(|_| root.post(&path, json!({"delta": -1})))).await;
    assert!(down.iter().all(|answer| answer.status == 200));
    let check = world.get(world.org("/quotas/concurrent_runs/check")).await.expect(200);
    assert_eq!(check["used"], 6);
}
