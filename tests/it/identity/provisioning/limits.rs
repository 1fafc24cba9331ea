//! The bounds of a run, and the runs that continue it.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{provision, ran, statuses, summary, zitadel};
use crate::world::{World, on_both};

#[on_both]
async fn second_run_finishes_after_100_writes_and_a_third_changes_nothing(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    let roles: Vec<Value> = (0..99)
        .map(|n| json!({"key": format!("r{n}"), "display_name": format!("Role {n}")}))
        .collect();
    let grants = json!([
        {"provider_user_id": "71", "role_keys": ["r1"]},
        {"provider_user_id": "72", "role_keys": ["r2"]},
    ]);
    let body = json!({"roles": roles, "grants": grants});
    let outcome = ran(&world, body.clone()).await;
    assert_eq!(outcome["summary"], summary(&[("done", 100), ("skipped", 1)]));
    assert_eq!(outcome["complete"], false);
    assert_eq!(statuses(&outcome, "grants"), ["create done", "create skipped run_again"]);
    let outcome = ran(&world, body.clone()).await;
    assert_eq!(outcome["summary"], summary(&[("done", 1), ("unchanged", 100)]));
    assert_eq!(outcome["complete"], true);
    zitadel.recorded();
    let outcome = ran(&world, body).await;
    assert_eq!(outcome["summary"], summary(&[("unchanged", 101)]));
    // 99 roles are two pages.
    let lists = ["ListProjectRoles", "ListProjectRoles", "ListAuthorizations"];
    assert_eq!(zitadel.calls(), lists);
}

#[on_both]
async fn run_begins_no_call_after_20_seconds(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    let roles: Vec<Value> =
        (0..5).map(|n| json!({"key": format!("r{n}"), "display_name": "Role"})).collect();
    // The first call is that of the list; each one moves the clock.
    zitadel.moves(&world.clock, TimeDelta::seconds(7));
    let outcome = ran(&world, json!({"roles": roles, "grants": []})).await;
    let left = ["create skipped run_again"; 3];
    assert_eq!(statuses(&outcome, "roles")[..2], ["create done"; 2]);
    assert_eq!(statuses(&outcome, "roles")[2..], left);
    assert_eq!(outcome["complete"], false);
    zitadel.moves(&world.clock, TimeDelta::zero());
    let outcome = ran(&world, json!({"roles": roles, "grants": []})).await;
    assert_eq!(outcome["summary"], summary(&[("done", 3), ("unchanged", 2)]));
    // A provider that is too slow for the first list.
    zitadel.moves(&world.clock, TimeDelta::seconds(30));
    zitadel.set(|inner| inner.busy = vec![(503, None)]);
    let refused = world.post(provision(&world), json!({})).await;
    assert_eq!(refused.refused(502, "provider_failed")["provider_status"], Value::Null);
}

#[on_both]
async fn organization_has_one_run_at_a_time(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    zitadel.set(|inner| inner.busy = vec![(503, None)]);
    let path = provision(&world);
    let (one, other) =
        tokio::join!(world.post(&path, json!({})), world.post(&path, json!({"dry_run": true})),);
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{} {}", one.text(), other.text());
    world.post(&path, json!({"dry_run": true})).await.expect(200);
}
