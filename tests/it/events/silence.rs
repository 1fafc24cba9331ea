//! Notices of deployments, tokens and keys, and the indexes of all notices.

use chrono::TimeDelta;
use cp_server::kernel::db::record::Record;
use cp_server::licensing::leases::levels::{LIVE, OPEN};
use cp_server::licensing::leases::rows::PoolRow;
use cp_server::lifecycle::notices::announce;
use cp_server::lifecycle::notices::leases::{OVERAGES, REFUSALS};
use cp_server::lifecycle::notices::subjects::SUBJECTS;
use cp_server::metering::limits::Limit;
use cp_server::metering::limits::levels::WATCHED;
use serde_json::{Value, json};
use uuid::Uuid;

use super::place;
use crate::world::{World, now, on_both, usage_report};

/// The types and instants of the notices about a subject.
async fn notices(world: &World, subject: &str) -> Vec<(String, String)> {
    place(world).await;
    let path = format!("/audit?target={subject}&limit=500");
    let events = world.get(path).await.expect(200)["items"].as_array().unwrap().clone();
    let of_notices = events.iter().rev().filter(|event| event["actor_name"] == "notices");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    of_notices.map(|event| (text(&event["action"]), text(&event["at"]))).collect()
}

/// Runs the job of two replicas every 20 minutes.
async fn run(world: &World, time: TimeDelta) {
    let (second, _) = world.server(|settings| settings.shared.rate_limits = false);
    for _ in 0..time.num_minutes() / 20 {
        world.pass(TimeDelta::minutes(20));
        let (first, other) = tokio::join!(announce(&world.app), announce(&second));
        first.unwrap();
        other.unwrap();
    }
}

async fn check_in(world: &World) {
    let path = format!("/deployments/{}/check-in", world.acme.deployment);
    world.by(&world.acme.deployment_token).post(path, json!({"want": "nothing"})).await.expect(200);
}

#[on_both]
async fn silent_deployment_is_announced_after_three_intervals(world: World) {
    let deployment = world.acme.deployment.clone();
    // The world has imported a usage report. A check-in shows that the deployment has a network.
    run(&world, TimeDelta::hours(2)).await;
    check_in(&world).await;
    run(&world, TimeDelta::hours(35)).await;
    assert_eq!(notices(&world, &deployment).await, []);
    run(&world, TimeDelta::hours(10)).await;
    let silent = |at: &str| ("deployments.silent".to_owned(), at.to_owned());
    let first = silent("2026-01-03T14:00:00Z");
    assert_eq!(notices(&world, &deployment).await, std::slice::from_ref(&first));
    // It speaks, and is silent again.
    check_in(&world).await;
    run(&world, TimeDelta::hours(40)).await;
    let second = silent("2026-01-05T11:00:00Z");
    assert_eq!(notices(&world, &deployment).await, [first.clone(), second.clone()]);
    // While the server is down, no deployment is silent: each has the whole time afterwards.
    check_in(&world).await;
    world.pass(TimeDelta::days(40));
    run(&world, TimeDelta::hours(30)).await;
    assert_eq!(notices(&world, &deployment).await.len(), 2);
    run(&world, TimeDelta::hours(10)).await;
    assert_eq!(notices(&world, &deployment).await.len(), 3);
    // A deployment that is retired is silent for a reason.
    check_in(&world).await;
    let path = format!("/deployments/{deployment}");
    world.patch(path, json!({"status": "retired"})).await.expect(200);
    run(&world, TimeDelta::hours(40)).await;
    assert_eq!(notices(&world, &deployment).await.len(), 3);
}

#[on_both]
async fn deployment_that_uses_files_is_announced_after_100_days_without_a_report(world: World) {
    // The report of the world is of 1 January.
    let deployment = world.acme.deployment.clone();
    run(&world, TimeDelta::hours(1)).await;
    world.pass(TimeDelta::days(98));
    run(&world, TimeDelta::hours(38)).await;
    assert_eq!(notices(&world, &deployment).await.len(), 1);
    let report = usage_report(&deployment, &world.acme.license, 2, None);
    let path = format!("/deployments/{deployment}/usage-reports");
    world.post(path, json!({"file": report})).await.expect(201);
    run(&world, TimeDelta::hours(38)).await;
    assert_eq!(notices(&world, &deployment).await.len(), 1);

    // A deployment that gets a file is expected to report.
    let spare = world.acme.spare_deployment.clone();
    let license = json!({"subscription_id": world.acme.subscription});
    let path = format!("/deployments/{spare}/licenses");
    let license = world.post(path, license).await.expect(201);
    let path = format!("/licenses/{}/bundles", license["id"].as_str().unwrap());
    world.post(path, json!({"form": "file"})).await.expect(201);
    world.pass(TimeDelta::days(99));
    run(&world, TimeDelta::hours(24)).await;
    assert_eq!(notices(&world, &spare).await.len(), 0);
    run(&world, TimeDelta::hours(14)).await;
    assert_eq!(notices(&world, &spare).await.len(), 1);
}

#[on_both]
async fn deployments_that_have_been_silent_are_listed(world: World) {
    let list = async |since: &str| {
        let path = world.org(&format!("/deployments?silent_since={since}"));
        let found = world.get(path).await.expect(200)["items"].as_array().unwrap().clone();
        found.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    world.pass(TimeDelta::days(3));
    let all = list("2026-01-04T00:00:00Z").await;
    assert!(all.contains(&world.acme.deployment) && all.contains(&world.acme.spare_deployment));
    check_in(&world).await;
    let silent = list("2026-01-04T00:00:00Z").await;
    assert!(!silent.contains(&world.acme.deployment), "{silent:?}");
    assert!(silent.contains(&world.acme.spare_deployment), "{silent:?}");
    assert_eq!(list("2025-12-31T00:00:00Z").await, Vec::<String>::new());
    world.get(world.org("/deployments?silent_since=soon")).await.invalid("silent_since");
}

#[on_both]
async fn newest_token_is_announced_with_a_tenth_of_its_life_left(world: World) {
    run(&world, TimeDelta::minutes(20)).await;
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    let ttl = json!({"ttl_seconds": 10 * 86_400});
    let first = world.post(&bundles, ttl.clone()).await.expect(201)["jti"].clone();
    let first = first.as_str().unwrap().to_owned();
    world.pass(TimeDelta::days(5));
    // Only the newest token counts.
    let second = world.post(&bundles, ttl).await.expect(201)["jti"].clone();
    let second = second.as_str().unwrap().to_owned();
    for _ in 0..12 {
        run(&world, TimeDelta::minutes(20)).await;
        world.pass(TimeDelta::hours(12));
    }
    assert_eq!((notices(&world, &first).await.len(), notices(&world, &second).await.len()), (0, 0));
    for _ in 0..12 {
        run(&world, TimeDelta::minutes(20)).await;
        world.pass(TimeDelta::hours(12));
    }
    let found = notices(&world, &second).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "bundles.expiring");
    assert_eq!(notices(&world, &first).await.len(), 0);
    // A token that was revoked is no news.
    let ttl = json!({"ttl_seconds": 86_400});
    let third = world.post(&bundles, ttl).await.expect(201)["jti"].clone();
    let third = third.as_str().unwrap().to_owned();
    world.post(format!("/bundles/{third}/revoke"), json!({})).await.expect(200);
    run(&world, TimeDelta::days(1)).await;
    assert_eq!(notices(&world, &third).await.len(), 0);
}

#[on_both]
async fn rotation_of_the_signing_key_is_announced_a_week_before(world: World) {
    let keys = world.get("/signing/keys").await.expect(200)["items"].as_array().unwrap().clone();
    let active = keys.iter().find(|key| key["state"] == "active").unwrap();
    let kid = active["kid"].as_str().unwrap().to_owned();
    world.pass(TimeDelta::days(81));
    run(&world, TimeDelta::hours(1)).await;
    assert_eq!(notices(&world, &kid).await, []);
    world.pass(TimeDelta::days(1));
    run(&world, TimeDelta::hours(2)).await;
    let found = notices(&world, &kid).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "signing_keys.rotation_due");
}

/// Adds 5,000 rows to each table that notices read.
async fn fill(world: &World) {
    for (sqlite, postgres) in [
        (
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
             INSERT INTO lease_pools
                    (id, organization_id, license_id, name, kind, allocated, created_at)
             SELECT randomblob(16), organization_id, id, 'p' || n, 'floating', 1, created_at
             FROM licenses, n",
            "INSERT INTO lease_pools
                    (id, organization_id, license_id, name, kind, allocated, created_at)
             SELECT gen_random_uuid(), organization_id, id, 'p' || n, 'floating', 1, created_at
             FROM licenses, generate_series(1, 5000) n",
        ),
        (
            "INSERT INTO lease_seats
                    (pool_id, n, organization_id, license_id, lease_id, holder, holder_kind, meta,
                     acquired_at, heartbeat_at, overage)
             SELECT id, 1, organization_id, license_id, randomblob(16), name, 'id', '{}', created_at,
                    created_at, FALSE
             FROM lease_pools WHERE allocated = 1 AND name LIKE 'p%'",
            "INSERT INTO lease_seats
                    (pool_id, n, organization_id, license_id, lease_id, holder, holder_kind, meta,
                     acquired_at, heartbeat_at, overage)
             SELECT id, 1, organization_id, license_id, gen_random_uuid(), name, 'id', '{}', created_at,
                    created_at, FALSE
             FROM lease_pools WHERE allocated = 1 AND name LIKE 'p%'",
        ),
        (
            "INSERT INTO lease_tenures
                    (id, organization_id, license_id, pool_id, n, holder_kind, meta, acquired_at,
                     heartbeat_at, overage, ended_at, ended_by)
             SELECT randomblob(16), organization_id, license_id, id, 1, 'id', '{}', created_at,
                    created_at, FALSE, created_at, 'released' FROM lease_pools",
            "INSERT INTO lease_tenures
                    (id, organization_id, license_id, pool_id, n, holder_kind, meta, acquired_at,
                     heartbeat_at, overage, ended_at, ended_by)
             SELECT gen_random_uuid(), organization_id, license_id, id, 1, 'id', '{}', created_at,
                    created_at, FALSE, created_at, 'released' FROM lease_pools",
        ),
        (
            "INSERT INTO lease_hours (pool_id, starts_at, organization_id, refused)
             SELECT id, created_at, organization_id, 0 FROM lease_pools",
            "INSERT INTO lease_hours (pool_id, starts_at, organization_id, refused)
             SELECT id, created_at, organization_id, 0 FROM lease_pools",
        ),
        (
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
             INSERT INTO deployments
                    (id, organization_id, name, type, status, created_at, updated_at, metadata, tags)
             SELECT randomblob(16), id, 'd' || n, 'cloud', 'active', created_at, created_at, '{}', '[]'
             FROM organizations, n",
            "INSERT INTO deployments
                    (id, organization_id, name, type, status, created_at, updated_at, metadata, tags)
             SELECT gen_random_uuid(), id, 'd' || n, 'cloud', 'active', created_at, created_at, '{}',
                    '[]'
             FROM organizations, generate_series(1, 5000) n",
        ),
        (
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
             INSERT INTO usage_limits
                    (id, organization_id, scope_kind, scope_id, metric, unit, window_kind, period,
                     overflow, enforcement, source, created_at, updated_at)
             SELECT randomblob(16), id, 'organization', id, 'm' || n, 'count', 'gauge', 'daily', '0',
                    'observe', 'manual', created_at, created_at
             FROM organizations, n",
            "INSERT INTO usage_limits
                    (id, organization_id, scope_kind, scope_id, metric, unit, window_kind, period,
                     overflow, enforcement, source, created_at, updated_at)
             SELECT gen_random_uuid(), id, 'organization', id, 'm' || n, 'count', 'gauge', 'daily', '0',
                    'observe', 'manual', created_at, created_at
             FROM organizations, generate_series(1, 5000) n",
        ),
        ("ANALYZE", "ANALYZE"),
    ] {
        let mut tx = world.app.db.begin().await.unwrap();
        tx.q2(sqlite, postgres).exec().await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[on_both]
async fn notices_read_indexes_and_no_table(world: World) {
    fill(&world).await;
    let (at, nil) = (now(), Uuid::nil());
    let select =
        |columns: &str, table: &str, tail: &str| format!("SELECT {columns} FROM {table} {tail}");
    let mut found = Vec::new();
    let pools = select(PoolRow::COLUMNS, PoolRow::TABLE, OPEN);
    found.push(("lease_pools", world.plan(&pools, |q| q.bind(nil).bind(200_i64)).await));
    let limits = select(Limit::COLUMNS, Limit::TABLE, WATCHED);
    found
        .push(("usage_limits_notify_at", world.plan(&limits, |q| q.bind(nil).bind(200_i64)).await));
    found.push(("lease_seats_free", world.plan(LIVE, |q| q.bind(nil).bind(at)).await));
    let refusals = world.plan(REFUSALS, |q| q.bind(at).bind("k").bind(9_i64)).await;
    found.push(("lease_hours_refused", refusals));
    let overages = world.plan(OVERAGES, |q| q.bind(at).bind(at).bind("k").bind(9_i64)).await;
    found.push(("lease_seats_overage", overages.clone()));
    found.push(("lease_tenures_overage", overages));
    let subject = SUBJECTS.iter().find(|one| one.kind == "deployments").unwrap();
    let silent = world
        .plan(subject.sql, |q| {
            q.bind(at).bind(nil).bind(at).bind(subject.kind).bind(at).bind(100_i64)
        })
        .await;
    found.push(("deployments_silent_at", silent));
    for (index, lines) in found {
        let uses = |word: &str| lines.iter().any(|line| line.contains(word));
        assert!(uses(index), "{index}: {lines:#?}");
        for table in ["lease_", "usage_limits", "deployments"] {
            for bad in ["SCAN", "Seq Scan on"] {
                let reads_all = |line: &&String| {
                    line.contains(&format!("{bad} {table}")) && !line.contains("USING INDEX")
                };
                let line = lines.iter().find(reads_all);
                assert!(line.is_none(), "{index}: {lines:#?}");
            }
        }
    }
}
