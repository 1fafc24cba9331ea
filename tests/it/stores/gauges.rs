//! The `BackplaneStore`'s projects, artifacts, workspaces, counters and quotas.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::backplane_store::BackplaneStore;
use super::{Done, UNKNOWN_ID, done, each, found, id, items, named, refuses, with};
use crate::world::{Client, World, on_both};

const GIB: i64 = 1 << 30;

/// The rest of the store's methods.
struct Gauges {
    client: Client,
}

impl Gauges {
    /// A store with one tenant, `t`.
    async fn of(world: &World, plan: &str) -> Self {
        BackplaneStore::over(world).create_tenant("t", plan).await.unwrap();
        Self { client: world.root() }
    }

    async fn create_project(&self, tenant: &str, own_id: &str) -> Done {
        let body = with(named(own_id), json!({"external_id": own_id}));
        done(self.client.post(format!("/organizations/{tenant}/projects"), body).await)
    }

    /// False where there was none.
    async fn delete_project(&self, id: &str) -> bool {
        found(self.client.delete(format!("/projects/{id}")).await).is_some()
    }

    async fn projects(&self, tenant: &str) -> Vec<Value> {
        items(self.client.get(format!("/organizations/{tenant}/projects")).await)
    }

    async fn move_project(&self, id: &str, tenant: &str) -> Done {
        let to = json!({"organization": tenant});
        done(self.client.post(format!("/projects/{id}/move"), to).await)
    }

    async fn create_workspace(&self, project: &str) -> Done {
        let body = json!({"name": "W", "project_id": project});
        done(self.client.post("/organizations/t/workspaces", body).await)
    }

    async fn user_has_workspace_access(&self, user: &str, workspace: &str) -> bool {
        let path = format!("/workspaces/{workspace}/access?user={user}");
        found(self.client.get(path).await).is_some_and(|access| access["allowed"] == true)
    }

    async fn record_artifact(&self, project: &str, run: &str, size: i64) -> Done {
        let body = json!({
            "run_id": run, "step_id": "s", "type": "log", "path": "out/log", "size_bytes": size,
        });
        done(self.client.post(format!("/projects/{project}/artifacts"), body).await)
    }

    async fn delete_artifact(&self, artifact: &Value) -> Done {
        done(self.client.delete(format!("/artifacts/{}", id(artifact))).await)
    }

    /// Up, or down.
    async fn count(&self, metric: &str, delta: i64, mode: &str) -> Done {
        let body = json!({"delta": delta, "mode": mode});
        done(self.client.post(format!("/organizations/t/quotas/{metric}/adjust"), body).await)
    }

    /// How much is used afterwards.
    async fn counted(&self, metric: &str, delta: i64) -> Value {
        self.count(metric, delta, "enforce").await.unwrap()["used"].clone()
    }

    async fn check_quota(&self, metric: &str, amount: i64) -> bool {
        let path = format!("/organizations/t/quotas/{metric}/check?amount={amount}");
        done(self.client.get(path).await).unwrap()["allowed"].as_bool().unwrap()
    }

    async fn quotas(&self, tenant: &str) -> Done {
        let quotas = done(self.client.get(format!("/organizations/{tenant}/quotas")).await)?;
        Ok(quotas["quotas"].clone())
    }

    async fn used(&self, metric: &str) -> Value {
        self.quotas("t").await.unwrap()[metric]["used"].clone()
    }
}

#[on_both]
async fn every_plan_brings_its_quotas(world: World) {
    let metrics = [
        "projects",
        "concurrent_runs",
        "runs_per_month",
        "api_calls_per_month",
        "storage_bytes",
        "members",
        "artifacts_per_run",
        "compute_minutes_per_month",
        "artifact_retention_days",
        "requests_per_minute",
    ];
    for (plan, limits) in [
        ("free", json!([3, 1, 100, 1000, 5 * GIB, 3, 10, 60, 7, 10])),
        ("professional", json!([10, 3, 1000, 10000, 50 * GIB, 5, 50, 600, 30, 60])),
        ("team", json!([50, 10, 10000, 100_000, 200 * GIB, 20, 200, 3000, 90, 300])),
        ("enterprise", json!([null, 50, null, null, 1000 * GIB, null, 1000, null, 365, 1000])),
    ] {
        let store = BackplaneStore::over(&world);
        store.create_tenant(plan, plan).await.unwrap();
        let quotas = Gauges { client: world.root() }.quotas(plan).await.unwrap();
        let found: Value = metrics.iter().map(|metric| quotas[metric]["limit"].clone()).collect();
        assert_eq!(found, limits, "{plan}");
        assert_eq!(quotas.as_object().unwrap().len(), metrics.len());
        for metric in metrics {
            let used = i64::from(metric == "members");
            assert_eq!(quotas[metric]["used"], used, "{plan}: its owner, once, and no more");
        }
    }
    let store = Gauges { client: world.root() };
    refuses(store.quotas("nope").await, "organization not found");
}

#[on_both]
async fn projects_are_made_until_the_quota_is_full(world: World) {
    let store = Gauges::of(&world, "free").await;
    assert!(store.check_quota("projects", 3).await, "exactly full is allowed");
    assert!(!store.check_quota("projects", 4).await);
    let first = store.create_project("t", "proj_1").await.unwrap();
    refuses(store.create_project("t", "proj_1").await, "another project");
    refuses(store.create_project("nope", "proj_1").await, "organization not found");
    for own_id in ["proj_2", "proj_3"] {
        store.create_project("t", own_id).await.unwrap();
    }
    assert!(!store.check_quota("projects", 1).await);
    let expected = json!({"limit": 3, "used": 3, "remaining": 0, "full": true, "from": "plan"});
    assert_eq!(store.quotas("t").await.unwrap()["projects"], expected);
    refuses(store.create_project("t", "proj_4").await, "project quota");
    for (metric, delta) in [("projects", 1), ("projects", -1), ("members", 1)] {
        refuses(store.count(metric, delta, "observe").await, "counted");
    }
    let own = items(world.get("/organizations/t/projects?external_id=proj_1").await);
    assert_eq!(own, std::slice::from_ref(&first));
    assert!(store.delete_project(&id(&first)).await);
    assert!(!store.delete_project(&id(&first)).await);
    assert!(!store.delete_project("proj_nope").await);
    store.create_project("t", "proj_4").await.unwrap();
    assert_eq!(store.projects("t").await.len(), 3);
    let store = Gauges { client: world.root() };
    BackplaneStore::over(&world).create_tenant("big", "enterprise").await.unwrap();
    for n in 0..12 {
        store.create_project("big", &format!("p{n}")).await.unwrap();
    }
    let unlimited =
        json!({"limit": null, "used": 12, "remaining": null, "full": false, "from": "plan"});
    assert_eq!(store.quotas("big").await.unwrap()["projects"], unlimited);
}

#[on_both]
async fn a_project_moves_where_there_is_room(world: World) {
    let store = Gauges::of(&world, "free").await;
    let target = BackplaneStore::over(&world).create_tenant("u", "free").await.unwrap();
    let project = id(&store.create_project("t", "p").await.unwrap());
    store.record_artifact(&project, "r", 7).await.unwrap();
    for n in 0..3 {
        store.create_project("u", &format!("u{n}")).await.unwrap();
    }
    refuses(store.move_project(&project, "u").await, "project quota");
    refuses(store.move_project(&project, "nope").await, "organization not found");
    refuses(store.move_project(&project, "t").await, "in this one");
    refuses(store.move_project(UNKNOWN_ID, "u").await, "project not found");
    assert_eq!(store.used("projects").await, 1);
    let gone = id(&store.projects("u").await[0]);
    assert!(store.delete_project(&gone).await);
    let moved = store.move_project(&project, "u").await.unwrap();
    assert_eq!(moved["organization_id"], target["id"]);
    assert_eq!(
        (store.used("projects").await, store.used("storage_bytes").await),
        (json!(0), json!(0))
    );
    let there = store.quotas("u").await.unwrap();
    assert_eq!(
        (&there["projects"]["used"], &there["storage_bytes"]["used"]),
        (&json!(3), &json!(7))
    );
}

#[on_both]
async fn a_member_has_access_to_a_workspace(world: World) {
    let store = Gauges::of(&world, "free").await;
    let tenants = BackplaneStore::over(&world);
    let project = id(&store.create_project("t", "p").await.unwrap());
    let workspace = store.create_workspace(&project).await.unwrap();
    assert_eq!(
        (&workspace["project_id"], &workspace["isolation"]),
        (&json!(project), &json!("standard"))
    );
    let workspace = id(&workspace);
    let anna = tenants.add_member("t", "anna", "member").await.unwrap();
    let ben = tenants.add_member("t", "ben", "viewer").await.unwrap();
    let (anna, ben) = (anna["user_id"].as_str().unwrap(), ben["user_id"].as_str().unwrap());
    for (isolation, member, viewer) in
        [("standard", true, false), ("relaxed", true, true), ("strict", false, false)]
    {
        let settings = json!({"settings": {"isolation_level": isolation}});
        tenants.update_tenant("t", settings).await.unwrap();
        assert_eq!(store.user_has_workspace_access(anna, &workspace).await, member, "{isolation}");
        assert_eq!(store.user_has_workspace_access(ben, &workspace).await, viewer, "{isolation}");
        for other in [UNKNOWN_ID, &world.acme.user] {
            assert!(!store.user_has_workspace_access(other, &workspace).await);
        }
    }
    let seat = json!({"user_id": ben, "role": "viewer", "status": "active"});
    world.post(format!("/workspaces/{workspace}/memberships"), seat).await.expect(201);
    assert!(store.user_has_workspace_access(ben, &workspace).await, "a seat of one's own");
    for missing in [UNKNOWN_ID, "ws_nope"] {
        assert!(!store.user_has_workspace_access(anna, missing).await);
    }
    assert!(store.delete_project(&project).await);
    assert!(!store.user_has_workspace_access(ben, &workspace).await);
    assert_eq!(items(world.get("/organizations/t/workspaces").await), Vec::<Value>::new());
}

#[on_both]
async fn artifacts_fill_the_storage_to_the_last_byte(world: World) {
    let store = Gauges::of(&world, "free").await;
    let project = id(&store.create_project("t", "p").await.unwrap());
    assert_eq!(items(world.get("/organizations/t/artifacts").await), Vec::<Value>::new());
    let first = store.record_artifact(&project, "run_1", 5 * GIB - 1).await.unwrap();
    assert!(store.check_quota("storage_bytes", 1).await);
    assert!(!store.check_quota("storage_bytes", 2).await);
    refuses(store.record_artifact(&project, "run_1", 2).await, "storage quota");
    let last = store.record_artifact(&project, "run_2", 1).await.unwrap();
    assert_eq!(store.used("storage_bytes").await, 5 * GIB);
    refuses(store.record_artifact(&project, "run_2", 1).await, "storage quota");
    let empty = store.record_artifact(&project, "run_2", 0).await.unwrap();
    let of_run = items(world.get("/organizations/t/artifacts?run=run_2").await);
    assert_eq!(of_run.len(), 2);
    assert!(of_run.contains(&last) && of_run.contains(&empty));
    refuses(store.record_artifact(&project, "run_2", -1).await, "size_bytes");
    refuses(store.record_artifact(UNKNOWN_ID, "run_2", 1).await, "project not found");

    store.delete_artifact(&first).await.unwrap();
    refuses(store.delete_artifact(&first).await, "artifact not found");
    assert_eq!(store.used("storage_bytes").await, 1, "given back once");
    for n in 0..9 {
        store.record_artifact(&project, "run_1", n).await.unwrap();
    }
    store.record_artifact(&project, "run_1", 0).await.unwrap();
    refuses(store.record_artifact(&project, "run_1", 5).await, "artifact quota");
    assert_eq!(store.used("storage_bytes").await, 37, "what is refused takes no storage");
    assert!(store.delete_project(&project).await);
    assert_eq!(store.used("storage_bytes").await, 0);
}

#[on_both]
async fn a_gauge_is_never_below_zero_and_above_its_limit_only_when_observed(world: World) {
    let store = Gauges::of(&world, "professional").await;
    assert_eq!(store.counted("concurrent_runs", -1).await, 0);
    for used in 1..=3 {
        assert!(store.check_quota("concurrent_runs", 1).await);
        assert_eq!(store.counted("concurrent_runs", 1).await, used);
    }
    assert!(!store.check_quota("concurrent_runs", 1).await);
    assert!(store.check_quota("concurrent_runs", 0).await);
    refuses(store.count("concurrent_runs", 1, "enforce").await, "concurrent run quota");
    assert_eq!(store.used("concurrent_runs").await, 3);
    let over = store.count("concurrent_runs", 2, "observe").await.unwrap();
    let expected = json!({"limit": 3, "used": 5, "remaining": 0, "full": true, "from": "plan"});
    assert_eq!(with(over.clone(), expected), over);
    assert_eq!(store.counted("concurrent_runs", -1).await, 4, "giving back is always allowed");
    assert_eq!(store.counted("concurrent_runs", -100).await, 0);
    assert_eq!(store.counted("storage_bytes", 2 * GIB).await, 2 * GIB);
    assert_eq!(store.counted("storage_bytes", -GIB).await, GIB);
    assert_eq!(store.counted("storage_bytes", -10 * GIB).await, 0);
    refuses(store.count("artifacts_per_run", 1, "enforce").await, "each single resource");
    refuses(store.count("wishes", 1, "enforce").await, "quota not found");
}

#[on_both]
async fn monthly_counters_restart(world: World) {
    let store = Gauges::of(&world, "free").await;
    for (metric, limit, noun) in [
        ("runs_per_month", 100, "run quota"),
        ("api_calls_per_month", 1000, "api call quota"),
        ("compute_minutes_per_month", 60, "compute quota"),
    ] {
        assert_eq!(store.counted(metric, limit).await, limit);
        let path = format!("/organizations/t/quotas/{metric}/adjust");
        let problem = world.post(path, json!({"delta": 1})).await.refused(429, "quota_exceeded");
        let expected = json!({
            "metric": metric, "limit": limit, "used": limit, "requested": 1,
            "resets_at": "2026-02-01T00:00:00Z",
        });
        assert_eq!(with(problem.clone(), expected), problem);
        refuses(store.count(metric, 1, "enforce").await, noun);
    }
    assert_eq!(store.counted("concurrent_runs", 1).await, 1);
    world.pass(TimeDelta::days(30));
    let quotas = store.quotas("t").await.unwrap();
    assert_eq!(each(&[quotas["runs_per_month"].clone()], "used"), json!([0]));
    assert_eq!(store.counted("runs_per_month", 1).await, 1);
    assert_eq!(store.used("concurrent_runs").await, 1, "what runs, runs on");
}

#[on_both]
async fn a_project_goes_with_what_is_its_own_and_leaves_what_happened(world: World) {
    let store = Gauges::of(&world, "free").await;
    let project = id(&store.create_project("t", "p").await.unwrap());
    let team = world.post("/organizations/t/groups", named("ops")).await.expect(201);
    world.put(format!("/projects/{project}/groups/{}", id(&team)), json!({})).await.expect(201);
    let workspace = id(&store.create_workspace(&project).await.unwrap());
    let limit = json!({"metric": "runs", "quantity": 1});
    let of_project = with(limit.clone(), json!({"project_id": project}));
    world.put("/organizations/t/limits", of_project.clone()).await.expect(201);
    world.put("/organizations/t/limits", limit).await.expect(201);
    for whose in [&*project, "none"] {
        let path = format!("/organizations/t/secret-refs/tok?project={whose}");
        world.put(path, json!({"provider": "vault", "ref": "v"})).await.expect(201);
    }
    let used = json!({"metric": "runs", "quantity": 4, "project_id": project, "dims": {"a": 1}});
    let used = id(&world.post("/organizations/t/usage", used).await.expect(201));

    assert!(store.delete_project(&project).await);
    for gone in [format!("/projects/{project}"), format!("/workspaces/{workspace}")] {
        world.get(gone).await.refused(404, "not_found");
    }
    let limits = items(world.get("/organizations/t/limits").await);
    assert_eq!(each(&limits, "project_id"), json!([null]));
    let secrets = items(world.get("/organizations/t/secret-refs").await);
    assert_eq!(each(&secrets, "project_id"), json!([null]));
    world.get(format!("/groups/{}", id(&team))).await.expect(200);
    let event = world.get(format!("/usage/{used}")).await.expect(200);
    let kept = json!({"project_id": null, "dims": {"a": 1, "project_id": project}});
    assert_eq!(with(event.clone(), kept), event);
    let summary = world.get("/organizations/t/usage/summary").await.expect(200);
    assert_eq!(summary["items"][0]["quantity"], 4);
    let check = world.get("/organizations/t/limits/check?metric=runs").await.expect(200);
    assert_eq!((&check["used"], &check["exceeded"]), (&json!(4), &json!(true)));
    let events = items(world.get(format!("/organizations/t/audit?target={project}")).await);
    let actions = each(&events, "action");
    assert!(actions.as_array().unwrap().contains(&json!("projects.create")), "{actions}");
    refuses(done(world.post("/organizations/t/usage", of_project).await), "project not found");
}
