//! Broken object level authorization (OWASP API1:2023), checked on every operation: a caller outside
//! of what a path names learns nothing, whatever kind of caller it is.

use axum::http::Method;
use cp_server::kernel::access::areas::AreaKind;
use cp_server::kernel::access::caller::Permission;
use cp_server::kernel::access::place::Exposure;
use cp_server::kernel::http::line::Line;
use serde_json::{Value, json};

use super::has;
use crate::world::{Answer, Client, World, count_statements, on_both, statements_so_far};

/// Sven of acme, who has only the memberships that a test creates.
const SVEN: &str = "auth0|sven-acme";

/// The lines whose path names something of an organization.
fn lines() -> impl Iterator<Item = Line> {
    crate::world::operations().table.into_iter().filter(|line| {
        line.permission != Permission::PUBLIC && line.exposure == Exposure::Organization
    })
}

/// Whether the path is that of the organization itself: who is anywhere in it knows that it exists.
fn of_the_organization(line: &Line) -> bool {
    line.path.starts_with("/organizations/{org}")
}

async fn ask(client: &Client, line: &Line, path: &str) -> Answer {
    let body = (line.method != Method::GET).then(|| json!({}));
    let same = client.clone().with("x-request-id", "same");
    same.call(line.method.clone(), path, body).await
}

/// Asserts that a foreign thing and a missing one are the same to the caller.
async fn is_hidden(world: &World, client: &Client, line: &Line, who: &str) {
    let there = ask(client, line, &world.path_of(line)).await;
    let missing = ask(client, line, &world.path_to_unknown(line)).await;
    assert_eq!(there.status, 404, "{who}: {}: {}", line.name, there.text());
    assert_eq!(there.body, missing.body, "{who}: {}", line.name);
    assert_eq!(there.headers, missing.headers, "{who}: {}", line.name);
}

async fn is_forbidden(world: &World, client: &Client, line: &Line, who: &str) {
    let answer = ask(client, line, &world.path_of(line)).await;
    assert_eq!(answer.status, 403, "{who}: {}: {}", line.name, answer.text());
    let permission = line.permission.as_str();
    assert!(has(line, &answer, "permission", permission), "{who}: {}", line.name);
}

/// Asserts that a list shows the caller's part of it alone.
async fn is_narrowed(world: &World, client: &Client, line: &Line, who: &str) {
    let list = ask(client, line, &world.path_of(line)).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{who}: {}: {list}", line.name);
    let acme = &world.acme;
    for hidden in [&acme.workspace, &acme.group, &acme.spare_group] {
        assert!(!list.to_string().contains(hidden), "{who}: {}: {list}", line.name);
    }
}

async fn membership(world: &World, user: &str) -> String {
    let found = world.get(world.org(&format!("/memberships?user_id={user}"))).await.expect(200);
    format!("/memberships/{}", found["items"][0]["id"].as_str().unwrap())
}

#[on_both]
async fn another_organizations_owner_finds_nothing(world: World) {
    let foreign = world.person("auth0|olga-globex");
    for line in lines() {
        is_hidden(&world, &foreign, &line, "the owner of another organization").await;
    }
}

#[on_both]
async fn another_workspaces_owner_finds_nothing_but_the_organization(world: World) {
    let seat = json!({"user_id": world.acme.stranger, "role": "owner"});
    let seats = format!("/workspaces/{}/memberships", world.acme.spare_workspace);
    world.post(seats, seat).await.expect(201);
    let sven = world.person(SVEN);
    let who = "the owner of another workspace";
    for line in lines() {
        let has_part = line.areas.contains(&AreaKind::Workspace);
        if of_the_organization(&line) && has_part {
            is_narrowed(&world, &sven, &line, who).await;
        } else if of_the_organization(&line) {
            is_forbidden(&world, &sven, &line, who).await;
        } else if line.method != Method::DELETE || !has_part {
            // A deletion names the spare one, which is the caller's.
            is_hidden(&world, &sven, &line, who).await;
        }
    }
}

#[on_both]
async fn a_groups_admin_finds_nothing_outside_of_its_subtree(world: World) {
    let outside = json!({"name": "Elsewhere"});
    let outside = world.post(world.org("/groups"), outside).await.expect(201);
    let seat = json!({"user_id": world.acme.stranger, "role": "viewer"});
    world.post(world.org("/memberships"), seat).await.expect(201);
    let seat =
        format!("/groups/{}/members/{}", outside["id"].as_str().unwrap(), world.acme.stranger);
    world.put(seat, json!({"role": "admin"})).await.expect(201);
    let suspended = json!({"status": "suspended"});
    world.patch(membership(&world, &world.acme.stranger).await, suspended).await.expect(200);
    let sven = world.person(SVEN);
    let who = "the admin of another group";
    for line in lines() {
        match of_the_organization(&line) {
            true if line.areas.contains(&AreaKind::Group) => {
                is_narrowed(&world, &sven, &line, who).await;
            }
            true => is_forbidden(&world, &sven, &line, who).await,
            false => is_hidden(&world, &sven, &line, who).await,
        }
    }
}

#[on_both]
async fn a_suspended_member_finds_nothing(world: World) {
    let admin = world.person("auth0|mats-acme");
    for group in [&world.acme.group, &world.acme.spare_group] {
        let seat = format!("/groups/{group}/members/{}", world.acme.user);
        world.delete(seat).await.expect(204);
    }
    let elsewhere = format!("/memberships/{}", world.acme.workspace_membership);
    for seat in [membership(&world, &world.acme.user).await, elsewhere] {
        world.patch(seat, json!({"status": "suspended"})).await.expect(200);
    }
    for line in lines() {
        is_hidden(&world, &admin, &line, "a suspended member").await;
    }
}

#[on_both]
async fn a_demoted_admin_keeps_a_viewers_power(world: World) {
    let admin = world.person("auth0|mats-acme");
    for group in [&world.acme.group, &world.acme.spare_group] {
        let seat = format!("/groups/{group}/members/{}", world.acme.user);
        world.delete(seat).await.expect(204);
    }
    let seat = membership(&world, &world.acme.user).await;
    world.patch(seat, json!({"role": "viewer"})).await.expect(200);
    let me = admin.get("/me").await.expect(200);
    let held: Vec<&str> =
        me["permissions"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let (mut kept, mut lost) = (0, 0);
    // A person may leave: that takes no permission.
    for line in lines().filter(|line| line.name != "memberships.delete") {
        if held.contains(&line.permission.as_str()) {
            // All people install and rate for themselves.
            let is_own = line.permission == Permission::EFFECTIVE_READ;
            assert!(line.reads() || is_own, "a viewer may {}", line.name);
            let answer = ask(&admin, &line, &world.path_of(&line)).await;
            assert!(
                answer.status < 500 && answer.status != 403 && answer.status != 404,
                "{}: {}",
                line.name,
                answer.text()
            );
            kept += 1;
        } else {
            is_forbidden(&world, &admin, &line, "a demoted admin").await;
            lost += 1;
        }
    }
    assert!(kept > 20 && lost > 40, "{kept} kept, {lost} lost");
}

#[on_both]
async fn a_suspended_organization_is_changed_by_the_vendor_only(world: World) {
    world.patch(world.org(""), json!({"status": "suspended"})).await.expect(200);
    let own = world.by(&world.acme.token);
    // Installations and ratings refuse it after their input, and fetched tokens after their license.
    let reacts = |line: &Line| {
        line.permission == Permission::EFFECTIVE_READ && !line.reads()
            || line.name == "licenses.token"
    };
    for line in lines().filter(|line| !reacts(line)) {
        let answer = ask(&own, &line, &world.path_of(&line)).await;
        let code = line.permission.as_str();
        let kept = ["any", "licenses:fetch", "org:export", "usage:write", "users:whoami"]
            .contains(&code)
            || code.ends_with(":read");
        // A suspended organization's license is not in force.
        let stopped = !kept || line.name == "licenses.token";
        let code = "organization_suspended";
        let refused = answer.status == 409 && has(&line, &answer, "code", code);
        assert_eq!(refused, stopped, "{}: {}", line.name, answer.text());
    }
}

#[on_both]
async fn foreign_references_in_a_body_are_missing_ones(world: World) {
    let own = world.by(&world.acme.token);
    let (acme, globex) = (&world.acme, &world.globex);
    let unknown = crate::sweep::examples::UNKNOWN_ID;
    let org = |path: &str| world.org(path);
    let binding = |kind| json!({"kind": "model", "subject": "x", "scope": format!("{kind}:ID")});
    let cases = [
        (org("/groups"), json!({"name": "x", "parent_id": "ID"}), &globex.group),
        (org("/usage"), json!({"metric": "m", "quantity": 1, "project_id": "ID"}), &globex.project),
        (
            org("/limits"),
            json!({"metric": "m", "quantity": 1, "project_id": "ID"}),
            &globex.project,
        ),
        (
            org("/audit"),
            json!({"action": "x", "target_type": "y", "project_id": "ID"}),
            &globex.project,
        ),
        (org("/workspaces"), json!({"name": "x", "project_id": "ID"}), &globex.project),
        (org("/memberships"), json!({"user_id": acme.stranger, "role": "ID"}), &globex.role),
        (
            org("/invitations"),
            json!({"email": "a@b.example", "role": "viewer", "workspace_id": "ID"}),
            &globex.workspace,
        ),
        (
            format!("/deployments/{}/licenses", acme.spare_deployment),
            json!({"subscription_id": "ID"}),
            &globex.subscription,
        ),
        (
            format!("/licenses/{}/transfer", acme.license),
            json!({"deployment_id": "ID"}),
            &globex.deployment,
        ),
        (
            org("/resources"),
            json!({
                "kind": "pattern", "name": "x", "parent_id": "ID",
                "spec": {"regex": "a", "type": "block"},
            }),
            &globex.others["resources"],
        ),
        (
            org("/resources"),
            json!({"kind": "agent", "name": "x", "guardrails": ["ID"]}),
            &globex.others["resources"],
        ),
        (
            org("/bindings"),
            json!({"kind": "guardrail", "subject": "ID", "scope": "organization"}),
            &globex.others["resources"],
        ),
        (org("/bindings"), binding("group"), &globex.group),
        (org("/bindings"), binding("user"), &globex.user),
        (org("/bindings"), binding("project"), &globex.project),
        (org("/bindings"), binding("workspace"), &globex.workspace),
    ];
    for (path, body, foreign) in cases {
        let send = async |id: &str| {
            let body = serde_json::from_str(&body.to_string().replace("ID", id)).unwrap();
            let same = own.clone().with("x-request-id", "same");
            match ["/limits", "/bindings"].iter().any(|set| path.ends_with(set)) {
                true => same.put(&path, body).await,
                false => same.post(&path, body).await,
            }
        };
        let (there, missing) = (send(foreign).await, send(unknown).await);
        assert!(matches!(there.status, 404 | 422), "{path}: {}", there.text());
        let blank = |answer: &Answer, id: &str| answer.text().replace(id, "ID");
        assert_eq!(blank(&there, foreign), blank(&missing, unknown), "{path}");
    }
}

#[on_both]
async fn filters_and_cursors_reach_no_further_than_the_path(world: World) {
    let own = world.by(&world.acme.token);
    let cursor = world.get("/organizations/globex/workspaces?limit=1").await.expect(200);
    let cursor = cursor["next_cursor"].as_str().unwrap().to_owned();
    for path in [
        format!("/usage?project={}", world.globex.project),
        format!("/memberships?user_id={}", world.globex.owner),
        format!("/audit?organization={}", world.globex.org),
        format!("/audit?target={}", world.globex.license),
        format!("/groups?parent={}", world.globex.group),
        format!("/workspaces?cursor={cursor}"),
        format!("/resources?parent={}", world.globex.others["resources"]),
        format!("/bindings?scope=group:{}", world.globex.group),
    ] {
        let answer = own.get(world.org(&path)).await;
        if answer.status == 200 {
            let text = answer.text();
            assert!(
                !text.contains("globex") && !text.contains(&world.globex.org),
                "{path}: {text}"
            );
        } else {
            assert!(matches!(answer.status, 400 | 404 | 422), "{path}: {}", answer.text());
        }
    }
    let bulk = json!({"ids": [world.globex.license, crate::sweep::examples::UNKNOWN_ID]});
    let lines = own.post("/licenses/bundles", bulk).await;
    let lines: Vec<Value> =
        lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outcome = |n: usize| (lines[n]["status"].clone(), lines[n]["code"].clone());
    assert_eq!(outcome(0), outcome(1), "{lines:?}");
    assert!(lines.iter().all(|line| line["token"].is_null()));
}

/// The same work for both, which a clock would show if it were not.
#[tokio::test]
async fn foreign_and_missing_cost_the_same_statements() {
    let Some(world) = World::on_postgres().await else { return };
    count_statements();
    for (who, foreign) in [
        ("a token", world.by(&world.globex.token)),
        ("a person", world.person("auth0|olga-globex")),
    ] {
        for line in lines() {
            let paths = [world.path_of(&line), world.path_to_unknown(&line)];
            let mut costs = [u64::MAX; 2];
            // The least of three: now and then a request also records the last use of a credential.
            for n in 0..6 {
                let before = statements_so_far();
                ask(&foreign, &line, &paths[n % 2]).await;
                costs[n % 2] = costs[n % 2].min(statements_so_far() - before);
            }
            assert_eq!(costs[0], costs[1], "{who}: {}", line.name);
            assert!(costs[0] > 0, "{who}: {}: no statement was seen", line.name);
        }
    }
}
