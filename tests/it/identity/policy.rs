//! Permissions by role and area, suspension, and permissions that no caller can grant.

use serde_json::{Value, json};

use crate::world::{Client, World, on_both};

/// Sven of acme, without any membership until a test creates one.
const SVEN: &str = "auth0|sven-acme";

fn sven(world: &World) -> Client {
    world.person(SVEN)
}

fn owner(world: &World) -> Client {
    world.person("auth0|olga-acme")
}

async fn made(world: &World, path: String, body: Value) -> String {
    let made = world.post(path, body).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

/// The person's membership of acme itself.
async fn membership(world: &World, user: &str) -> Value {
    let found = world.get(world.org(&format!("/memberships?user_id={user}"))).await.expect(200);
    found["items"][0].clone()
}

/// The ids of a list, newest first.
async fn listed(who: &Client, path: String) -> Vec<String> {
    let list = who.get(path).await.expect(200);
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[on_both]
async fn an_owner_runs_the_organization_and_buys_nothing(world: World) {
    let owner = owner(&world);
    owner.patch(world.org(""), json!({"name": "Acme Ltd"})).await.expect(200);
    owner.post(world.org("/workspaces"), json!({"name": "Lab"})).await.expect(201);
    owner.get(world.org("/export")).await.expect(200);
    owner.get(world.org("/audit")).await.expect(200);
    for (path, body) in [
        (world.org("/subscriptions"), json!({"plan_code": "enterprise"})),
        (format!("/licenses/{}/bundles", world.acme.license), json!({})),
        (format!("/licenses/{}/revoke", world.acme.license), json!({"reason": "x"})),
        (world.org("/quotas/members/adjust"), json!({"delta": 1})),
    ] {
        owner.post(path, body).await.refused(403, "forbidden");
    }
    // Whether it is served, and by which names others find it, is the vendor's to say.
    for patch in [
        json!({"status": "active"}),
        json!({"external_id": "900"}),
        json!({"email_domain": "globex.example"}),
    ] {
        owner.patch(world.org(""), patch.clone()).await.refused(403, "forbidden");
        world.by(&world.acme.token).patch(world.org(""), patch).await.refused(403, "forbidden");
    }
}

#[on_both]
async fn a_suspended_organization_is_read_and_not_changed_by_its_own(world: World) {
    world.patch(world.org(""), json!({"status": "suspended"})).await.expect(200);
    for own in [owner(&world), world.by(&world.acme.token)] {
        own.get(world.org("")).await.expect(200);
        let changed = own.patch(world.org(""), json!({"name": "x"})).await;
        changed.refused(409, "organization_suspended");
        let gone = own.delete(format!("/workspaces/{}", world.acme.spare_workspace)).await;
        gone.refused(409, "organization_suspended");
    }
    // What was used before the data planes hear of it still counts.
    let usage = json!({"metric": "calls", "quantity": 1});
    let data_plane = world.by(&world.acme.deployment_token);
    data_plane.post(world.org("/usage"), usage).await.expect(201);
    world.patch(world.org(""), json!({"name": "x"})).await.expect(200);
}

#[on_both]
async fn a_groups_admin_acts_inside_its_subtree(world: World) {
    let sales = &world.acme.group;
    let below = json!({"name": "North", "parent_id": sales});
    let below = made(&world, world.org("/groups"), below).await;
    let seats = |group: &str, user: &str| format!("/groups/{group}/members/{user}");
    let seat = json!({"user_id": world.acme.stranger, "role": "member"});
    world.post(world.org("/memberships"), seat).await.expect(201);
    let seat = seats(sales, &world.acme.stranger);
    world.put(&seat, json!({"role": "admin"})).await.expect(201);
    // Without the organization's own membership, the group is all there is.
    let own = membership(&world, &world.acme.stranger).await;
    let own = format!("/memberships/{}", own["id"].as_str().unwrap());
    world.patch(&own, json!({"status": "suspended"})).await.expect(200);

    let sven = sven(&world);
    for group in [sales, &below] {
        sven.put(seats(group, &world.acme.owner), json!({})).await.expect(201);
        sven.put(seats(group, &world.acme.owner), json!({"role": "admin"})).await.expect(200);
        sven.get(format!("/groups/{group}/members")).await.expect(200);
        sven.delete(seats(group, &world.acme.owner)).await.expect(204);
    }
    let outside = &world.acme.spare_group;
    let missing = seats(crate::sweep::examples::UNKNOWN_ID, &world.acme.owner);
    for path in [seats(outside, &world.acme.owner), missing] {
        sven.put(path, json!({})).await.refused(404, "not_found");
    }
    sven.get(format!("/groups/{outside}/members")).await.refused(404, "not_found");
    // Sven sees the organization, and of its groups the own ones.
    assert_eq!(listed(&sven, world.org("/groups")).await, [below.as_str(), sales.as_str()]);
    assert_eq!(listed(&sven, world.org("/groups?parent=none")).await, [sales.as_str()]);
    sven.get(world.org("/workspaces")).await.refused(403, "forbidden");
    sven.get("/organizations/globex/groups").await.refused(404, "not_found");
    sven.get(format!("/licenses/{}", world.acme.license)).await.refused(404, "not_found");
    // A person who is unknown in the organization does not become a member by a group.
    let foreign = seats(sales, &world.globex.user);
    sven.put(foreign, json!({})).await.refused(403, "forbidden");
    // Sven loses a group that is moved away.
    let patch = json!({"parent_id": outside, "product": "console"});
    world.patch(format!("/groups/{below}"), patch).await.expect(200);
    sven.get(format!("/groups/{below}/members")).await.refused(404, "not_found");
}

#[on_both]
async fn group_keeper_moves_groups_only_within_the_subtree(world: World) {
    let role = json!({
        "code": "KEEPER", "name": "Keeper", "scope": "group",
        "permissions": ["groups:read", "groups:write"],
    });
    world.post(world.org("/roles"), role).await.expect(201);
    let sales = &world.acme.group;
    let below = json!({"name": "North", "parent_id": sales});
    let below = made(&world, world.org("/groups"), below).await;
    let deep = json!({"name": "Far north", "parent_id": below});
    let deep = made(&world, world.org("/groups"), deep).await;
    let seat = format!("/groups/{sales}/members/{}", world.acme.stranger);
    world.put(&seat, json!({"role": "KEEPER"})).await.expect(201);
    let sven = sven(&world);
    let to = |parent: Value| json!({"parent_id": parent});
    sven.patch(format!("/groups/{deep}"), to(json!(sales))).await.expect(200);
    let outside = to(json!(world.acme.spare_group));
    let problem = sven.patch(format!("/groups/{deep}"), outside).await.refused(403, "forbidden");
    assert_eq!(problem["field"], "parent_id");
    sven.patch(format!("/groups/{deep}"), to(Value::Null)).await.refused(403, "forbidden");
}

#[on_both]
async fn workspace_owner_has_no_access_to_the_next_workspace(world: World) {
    let seats = |workspace: &str| format!("/workspaces/{workspace}/memberships");
    let seat = json!({"user_id": world.acme.stranger, "role": "owner"});
    world.post(seats(&world.acme.workspace), seat).await.expect(201);
    let sven = sven(&world);
    let workspace = format!("/workspaces/{}", world.acme.workspace);
    sven.patch(&workspace, json!({"name": "Mine"})).await.expect(200);
    sven.get(seats(&world.acme.workspace)).await.expect(200);
    let mats = format!("/memberships/{}", world.acme.workspace_membership);
    sven.get(&mats).await.expect(200);
    let next = format!("/workspaces/{}", world.acme.spare_workspace);
    for path in [&next, &format!("/memberships/{}", world.acme.membership)] {
        sven.get(path).await.refused(404, "not_found");
    }
    assert_eq!(listed(&sven, world.org("/workspaces")).await, [world.acme.workspace.as_str()]);
    sven.get(world.org("/groups")).await.refused(403, "forbidden");
    // Every caller can read plans and roles.
    sven.get("/roles").await.expect(200);
    sven.get("/plans/team").await.expect(200);
    let outsider = json!({"email": "new@globex.example", "role": "viewer"});
    sven.post(seats(&world.acme.workspace), outsider).await.refused(403, "forbidden");
}

#[on_both]
async fn a_team_brings_its_role_on_a_project(world: World) {
    let seat = format!("/groups/{}/members/{}", world.acme.group, world.acme.stranger);
    world.put(&seat, json!({})).await.expect(201);
    let other = made(&world, world.org("/projects"), json!({"name": "Gemini"})).await;
    let own = membership(&world, &world.acme.stranger).await;
    let own = format!("/memberships/{}", own["id"].as_str().unwrap());
    world.patch(own, json!({"status": "suspended"})).await.expect(200);
    let sven = sven(&world);
    let project = format!("/projects/{}", world.acme.project);
    sven.patch(&project, json!({"description": "ours"})).await.expect(200);
    sven.get(format!("/artifacts/{}", world.acme.artifact)).await.expect(200);
    sven.delete(&project).await.refused(403, "forbidden");
    sven.get(format!("/projects/{other}")).await.refused(404, "not_found");
    assert_eq!(listed(&sven, world.org("/projects")).await, [world.acme.project.as_str()]);
    assert_eq!(listed(&sven, world.org("/artifacts")).await, [world.acme.artifact.as_str()]);
    let withdrawn = format!("/projects/{}/groups/{}", world.acme.project, world.acme.group);
    world.delete(withdrawn).await.expect(204);
    sven.get(&project).await.refused(404, "not_found");
    sven.get(world.org("/projects")).await.refused(403, "forbidden");
}

#[on_both]
async fn caller_cannot_create_a_member_with_more_permissions(world: World) {
    let role = json!({
        "code": "DESK", "name": "LimitHeader", "scope": "organization",
        "permissions": ["org:read", "members:read", "members:write", "roles:write"],
    });
    world.post(world.org("/roles"), role).await.expect(201);
    let seat = json!({"user_id": world.acme.stranger, "role": "DESK"});
    world.post(world.org("/memberships"), seat).await.expect(201);
    let sven = sven(&world);
    let mut lacking = Vec::new();
    let admin = json!({"user_id": world.globex.user, "role": "admin"});
    lacking.push(sven.post(world.org("/memberships"), admin).await.refused(403, "forbidden"));
    let extra = json!({"user_id": world.globex.user, "role": "DESK", "permissions": ["*"]});
    lacking.push(sven.post(world.org("/memberships"), extra).await.refused(403, "forbidden"));
    let extra = json!({
        "user_id": world.globex.user, "role": "DESK", "permissions": ["licenses:issue"],
    });
    lacking.push(sven.post(world.org("/memberships"), extra).await.refused(403, "forbidden"));
    let invited = json!({"email": "x@y.example", "role": "admin"});
    lacking.push(sven.post(world.org("/invitations"), invited).await.refused(403, "forbidden"));
    let role = json!({
        "code": "BOSS", "name": "Boss", "scope": "organization",
        "permissions": ["licenses:issue"],
    });
    lacking.push(sven.post(world.org("/roles"), role).await.refused(403, "forbidden"));
    for problem in lacking {
        assert!(!problem["lacking"].as_array().unwrap().is_empty(), "{problem}");
    }
    // A caller cannot raise the own role, extra permissions or the role's permissions.
    let own = membership(&world, &world.acme.stranger).await;
    let (id, role) = (own["id"].as_str().unwrap(), own["role"]["id"].as_str().unwrap());
    let own = format!("/memberships/{id}");
    sven.patch(&own, json!({"role": "admin"})).await.refused(403, "forbidden");
    sven.patch(&own, json!({"permissions": ["org:write"]})).await.refused(403, "forbidden");
    let more = json!({"permissions": ["org:read", "roles:write", "tokens:write"]});
    sven.patch(format!("/roles/{role}"), more).await.refused(403, "forbidden");
    // A caller cannot change a member with more permissions.
    let mats = format!("/memberships/{}", world.acme.membership);
    sven.patch(&mats, json!({"role": "DESK"})).await.refused(403, "forbidden");
    let seat = json!({"email": "mats@globex.example", "role": "DESK"});
    sven.post(world.org("/memberships"), seat).await.expect(201);
}

#[on_both]
async fn an_admin_makes_no_owner_and_configures_no_login(world: World) {
    let admin = world.person("auth0|mats-acme");
    let olga = membership(&world, &world.acme.owner).await;
    let olga = format!("/memberships/{}", olga["id"].as_str().unwrap());
    admin.patch(&olga, json!({"role": "viewer"})).await.refused(409, "owner_protected");
    admin.delete(&olga).await.refused(409, "owner_protected");
    let heir = json!({"user_id": world.acme.user});
    admin.post(world.org("/transfer-ownership"), heir).await.refused(403, "forbidden");
    let provider = json!({"type": "oidc", "issuer": "https://evil.example"});
    let path = world.org("/identity-providers/evil");
    admin.put(&path, provider.clone()).await.refused(403, "forbidden");
    owner(&world).put(&path, provider).await.expect(201);
}

#[on_both]
async fn a_demoted_or_suspended_member_is_held_back_at_once(world: World) {
    let admin = world.person("auth0|mats-acme");
    admin.patch(world.org(""), json!({"name": "A"})).await.expect(200);
    let membership = format!("/memberships/{}", world.acme.membership);
    world.patch(&membership, json!({"role": "viewer"})).await.expect(200);
    admin.patch(world.org(""), json!({"name": "B"})).await.refused(403, "forbidden");
    admin.get(world.org("")).await.expect(200);
    world.delete(&membership).await.expect(204);
    admin.get(world.org("")).await.refused(404, "not_found");
}

#[on_both]
async fn the_last_superadmin_stays(world: World) {
    let user = |id: &str| format!("/users/{id}");
    let (olga, mats) = (user(&world.acme.owner), user(&world.acme.user));
    world.patch(&olga, json!({"is_superadmin": true})).await.expect(200);
    for patch in [json!({"is_superadmin": false}), json!({"is_active": false})] {
        world.patch(&olga, patch.clone()).await.refused(409, "system_protected");
        let mut upsert = patch;
        upsert["email"] = json!("olga@acme.example");
        world.post("/users", upsert).await.refused(409, "system_protected");
    }
    world.patch(&mats, json!({"is_superadmin": true, "is_active": false})).await.expect(200);
    world.patch(&olga, json!({"is_superadmin": false})).await.refused(409, "system_protected");
    world.patch(&mats, json!({"is_active": true})).await.expect(200);
    world.patch(&olga, json!({"is_superadmin": false})).await.expect(200);
    let gone = json!({"is_superadmin": true});
    let sole = world.post("/users", json!({"email": "x@y.example"})).await.expect(201);
    let sole = user(sole["id"].as_str().unwrap());
    world.patch(&sole, gone).await.expect(200);
    world.patch(&mats, json!({"is_superadmin": false})).await.expect(200);
    world.delete(&sole).await.refused(409, "system_protected");
}

#[on_both]
async fn organization_hint_narrows_only_platform_callers(world: World) {
    let hint = |client: Client, org: &str| client.with("x-organization-id", org);
    let globex = "/organizations/globex";
    for boss in [world.root(), {
        let patch = json!({"is_superadmin": true});
        world.patch(format!("/users/{}", world.acme.owner), patch).await.expect(200);
        owner(&world)
    }] {
        boss.get(globex).await.expect(200);
        let narrowed = hint(boss.clone(), "acme");
        narrowed.get(globex).await.refused(404, "not_found");
        let own = narrowed.get("/organizations").await.expect(200);
        assert_eq!(own["items"].as_array().unwrap().len(), 1, "{own}");
        narrowed.get(world.org("")).await.expect(200);
        assert_eq!(narrowed.get("/me").await.expect(200)["organization_id"], world.acme.org);
        let nowhere = hint(boss, "nowhere").get("/me").await.refused(404, "not_found");
        assert_eq!(nowhere["field"], "x-organization-id");
    }
    let token = world.by(&world.acme.token);
    hint(token.clone(), "acme").get(world.org("")).await.expect(200);
    hint(token, "globex").get(world.org("")).await.refused(404, "not_found");
    // A person's memberships say where they may act; a header of theirs says nothing.
    hint(world.person("auth0|mats-acme"), "globex").get(world.org("")).await.expect(200);
    hint(world.person("auth0|mats-acme"), "globex").get(globex).await.refused(404, "not_found");
}
