use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn a_project_is_made_and_changed(world: World) {
    let body = json!({
        "name": "Gemini", "repo_url": "git@example.com:gemini.git", "default_branch": "main",
        "local_path": "/src/gemini", "workspace_mode": "WORKTREE", "git_mode": "basic",
        "external_id": "p-1", "metadata": {"a": 1, "b": null},
    });
    let made = world.post(world.org("/projects"), body).await.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "name": "Gemini", "slug": "gemini",
            "description": null, "repo_url": "git@example.com:gemini.git",
            "default_branch": "main", "local_path": "/src/gemini", "workspace_mode": "worktree",
            "git_mode": "basic", "external_id": "p-1", "metadata": {"a": 1},
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let path = format!("/projects/{}", made["id"].as_str().unwrap());
    let patch = json!({"git_mode": null, "metadata": {"a": null, "c": [2]}, "slug": "second"});
    let changed = world.patch(&path, patch).await.expect(200);
    assert_eq!(changed["git_mode"], Value::Null);
    assert_eq!((&changed["metadata"], &changed["slug"]), (&json!({"c": [2]}), &json!("second")));
    assert_eq!(changed["workspace_mode"], "worktree");
    assert_eq!(
        world.get(world.org("/projects?slug=second")).await.expect(200)["items"],
        json!([changed])
    );
    let bad = json!({"name": "X", "workspace_mode": "cloud"});
    world.post(world.org("/projects"), bad).await.invalid("workspace_mode");
    let taken = json!({"name": "Second"});
    let problem = world.post(world.org("/projects"), taken).await.refused(409, "slug_taken");
    assert_eq!(problem["field"], "slug");
    let taken = json!({"name": "X", "external_id": "p-1"});
    world.post(world.org("/projects"), taken).await.refused(409, "external_id_taken");
}

#[on_both]
async fn projects_made_at_once_never_pass_their_quota(world: World) {
    world.post("/organizations", json!({"name": "Initech"})).await.expect(201);
    let root = world.root();
    let make = async |n: usize| {
        let body = json!({"name": format!("Project {n}")});
        root.post("/organizations/initech/projects", body).await
    };
    let answers = join_all((0..40).map(make)).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 3);
    let refused = answers.into_iter().find(|answer| answer.status != 201).unwrap();
    let problem = refused.refused(429, "quota_exceeded");
    assert_eq!(problem["detail"], "project quota exceeded: 3 of 3 in use, and 1 more asked for.");
    let listed = world.get("/organizations/initech/projects").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    let path = format!("/projects/{}", listed["items"][0]["id"].as_str().unwrap());
    world.delete(path).await.expect(204);
    make(99).await.expect(201);
}

#[on_both]
async fn a_project_goes_with_what_is_its_own(world: World) {
    let workspace = json!({
        "name": "Apollo", "project_id": world.acme.project, "is_default": true,
    });
    let workspace = world.post(world.org("/workspaces"), workspace).await.expect(201);
    assert_eq!(workspace["project_id"], world.acme.project);
    let of_project = world.org(&format!("/workspaces?project={}", world.acme.project));
    assert_eq!(world.get(of_project).await.expect(200)["items"], json!([workspace]));
    let seat = json!({"user_id": world.acme.user, "role": "viewer"});
    let path = format!("/workspaces/{}", workspace["id"].as_str().unwrap());
    let seat = world.post(format!("{path}/memberships"), seat).await.expect(201);

    world.delete(format!("/projects/{}", world.acme.project)).await.expect(204);
    for gone in [
        path,
        format!("/memberships/{}", seat["id"].as_str().unwrap()),
        format!("/artifacts/{}", world.acme.artifact),
    ] {
        world.get(gone).await.refused(404, "not_found");
    }
    assert_eq!(storage(&world, "acme").await, 0, "its storage is given back");
    let org = world.get(world.org("")).await.expect(200);
    assert_eq!(org["default_workspace_id"], world.acme.workspace, "the oldest of the others");
    let events = world.get(format!("/audit?target={}", world.acme.project)).await.expect(200);
    assert_eq!(events["items"][0]["action"], "projects.delete");
    assert_eq!(events["items"][0]["before"]["slug"], "apollo-acme");
}

#[on_both]
async fn a_workspace_belongs_to_a_project_of_its_organization(world: World) {
    let foreign = json!({"name": "X", "project_id": world.globex.project});
    let problem = world.post(world.org("/workspaces"), foreign).await;
    assert_eq!(problem.refused(404, "not_found")["field"], "project_id");
    let workspace = format!("/workspaces/{}", world.acme.spare_workspace);
    let foreign = json!({"project_id": world.globex.project});
    world.patch(&workspace, foreign).await.refused(404, "not_found");
    let own = json!({"project_id": world.acme.project});
    let moved = world.patch(&workspace, own).await.expect(200);
    assert_eq!(moved["project_id"], world.acme.project);
    let none = world.patch(&workspace, json!({"project_id": null})).await.expect(200);
    assert_eq!(none["project_id"], Value::Null);
}

#[on_both]
async fn teams_are_granted_roles_on_a_project(world: World) {
    let body = json!({"name": "Night Shift"});
    let team = world.post(world.org("/groups"), body).await.expect(201);
    let team = team["id"].as_str().unwrap();
    let grant = format!("/projects/{}/groups/{team}", world.acme.project);
    let made = world.put(&grant, json!({})).await;
    assert_eq!(made.header("location"), format!("/api/v1{grant}"));
    let made = made.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "project_id": "<acme's project>", "group_id": "<1>", "group_name": "Night Shift",
            "group_slug": "night-shift", "role": {
                "id": "<2>", "code": "PROJECT_VIEWER", "name": "Project viewer", "rank": 1,
            },
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let changed = world.put(&grant, json!({"role": "ADMIN"})).await.expect(200);
    assert_eq!(changed["role"]["code"], "PROJECT_ADMIN");
    world.put(&grant, json!({"role": "owner"})).await.refused(422, "role_unknown");
    let listed = world.get(format!("/projects/{}/groups", world.acme.project)).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    let foreign = format!("/projects/{}/groups/{}", world.acme.project, world.globex.group);
    let problem = world.put(&foreign, json!({})).await.refused(404, "not_found");
    assert_eq!(problem["detail"], "group not found");
    world.delete(&grant).await.expect(204);
    world.delete(&grant).await.refused(404, "not_found");
}

#[on_both]
async fn a_project_moves_with_its_workspaces_and_artifacts(world: World) {
    let project = format!("/projects/{}", world.acme.project);
    let workspace = json!({"name": "Apollo", "project_id": world.acme.project});
    let workspace = world.post(world.org("/workspaces"), workspace).await.expect(201);
    let workspace = workspace["id"].as_str().unwrap();
    let seat = json!({"user_id": world.acme.user, "role": "ANALYST"});
    world.post(format!("/workspaces/{workspace}/memberships"), seat).await.expect(201);

    let to = json!({"organization": "globex"});
    let moved = world.post(format!("{project}/move"), to.clone()).await.expect(200);
    assert_eq!(moved["organization_id"], world.globex.org);
    for path in [format!("/workspaces/{workspace}"), format!("/artifacts/{}", world.acme.artifact)]
    {
        let there = world.by(&world.globex.token).get(&path).await.expect(200);
        assert_eq!(there["organization_id"], world.globex.org);
        world.by(&world.acme.token).get(&path).await.refused(404, "not_found");
    }
    for left in [format!("/workspaces/{workspace}/memberships"), format!("{project}/groups")] {
        assert_eq!(world.get(left).await.expect(200)["items"], json!([]));
    }
    assert_eq!((storage(&world, "acme").await, storage(&world, "globex").await), (0, 2000));
    world.post(format!("{project}/move"), to).await.invalid("organization");
}

#[on_both]
async fn a_move_needs_room_and_the_right_to_both(world: World) {
    let (project, acme) = (format!("/projects/{}/move", world.acme.project), &world.acme.token);
    let foreign = world.by(acme).post(&project, json!({"organization": "globex"})).await;
    let problem = foreign.refused(404, "not_found");
    assert_eq!(
        (&problem["detail"], &problem["field"]),
        (&json!("organization not found"), &json!("organization"))
    );
    let missing = world.post(&project, json!({"organization": "nowhere"})).await;
    missing.refused(404, "not_found");

    let subscription = format!("/subscriptions/{}", world.globex.subscription);
    for (metric, limits) in
        [("projects", json!({"projects": 1})), ("storage_bytes", json!({"storage_bytes": 1999}))]
    {
        let plan = json!({"code": metric, "name": "Small", "limits": limits, "seat_cap": 5});
        world.post("/plans", plan).await.expect(201);
        world.patch(&subscription, json!({"plan_code": metric})).await.expect(200);
        let problem = world.post(&project, json!({"organization": world.globex.org})).await;
        let problem = problem.refused(429, "quota_exceeded");
        assert_eq!(problem["metric"], metric);
        assert_eq!(problem["organization_id"], world.globex.org);
    }
    assert_eq!((storage(&world, "acme").await, storage(&world, "globex").await), (1000, 1000));
    world.get(format!("/projects/{}", world.acme.project)).await.expect(200);
}

#[on_both]
async fn an_artifact_moves_the_storage_with_it(world: World) {
    let artifacts = format!("/projects/{}/artifacts", world.acme.project);
    let body = json!({
        "run_id": "run 7", "step_id": "build", "type": "binary", "path": "out/app",
        "size_bytes": 500, "mime_type": "application/octet-stream", "metadata": {"k": "v"},
    });
    let made = world.post(&artifacts, body).await.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "project_id": "<acme's project>",
            "run_id": "run 7", "step_id": "build", "type": "binary", "path": "out/app",
            "size_bytes": 500, "mime_type": "application/octet-stream", "metadata": {"k": "v"},
            "created_at": "2026-01-02T00:00:00Z",
        })
    );
    assert_eq!(storage(&world, "acme").await, 1500);
    let found = world.org(&format!("/artifacts?project={}&run=run%207", world.acme.project));
    assert_eq!(world.get(found).await.expect(200)["items"], json!([made]));
    let path = format!("/artifacts/{}", made["id"].as_str().unwrap());
    assert_eq!(world.get(&path).await.expect(200), made);
    world.delete(&path).await.expect(204);
    world.delete(&path).await.refused(404, "not_found");
    assert_eq!(storage(&world, "acme").await, 1000);

    let body = json!({
        "run_id": "r", "step_id": "s", "type": "t", "path": "p", "size_bytes": 200_i64 << 30,
    });
    let problem = world.post(&artifacts, body).await.refused(429, "quota_exceeded");
    assert_eq!(problem["metric"], "storage_bytes");
    let listed = world.get(world.org("/artifacts?run=r")).await.expect(200);
    assert_eq!(listed["items"], json!([]), "nothing was kept of it");
}

#[on_both]
async fn a_run_has_so_many_artifacts(world: World) {
    world.post("/organizations", json!({"name": "Initech"})).await.expect(201);
    let project = world.post("/organizations/initech/projects", json!({"name": "P"})).await;
    let project = project.expect(201)["id"].as_str().unwrap().to_owned();
    let root = world.root();
    let make = async |n: usize| {
        let body = json!({
            "run_id": "r", "step_id": "s", "type": "t", "path": format!("{n}"), "size_bytes": 1,
        });
        root.post(format!("/projects/{project}/artifacts"), body).await
    };
    let answers = join_all((0..15).map(make)).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 10);
    let refused = answers.into_iter().find(|answer| answer.status != 201).unwrap();
    let problem = refused.refused(429, "quota_exceeded");
    assert_eq!(
        [&problem["metric"], &problem["limit"], &problem["used"], &problem["run_id"]],
        [&json!("artifacts_per_run"), &json!(10), &json!(10), &json!("r")]
    );
    assert_eq!(storage(&world, "initech").await, 10);
}

async fn storage(world: &World, org: &str) -> i64 {
    let quotas = world.get(format!("/organizations/{org}/quotas")).await.expect(200);
    quotas["quotas"]["storage_bytes"]["used"].as_i64().unwrap()
}
