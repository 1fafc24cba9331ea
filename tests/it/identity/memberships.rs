use serde_json::json;

use crate::world::{World, on_both};

#[on_both]
async fn a_person_joins_by_id_or_address(world: World) {
    let body = json!({"user_id": world.acme.stranger, "role": "viewer", "permissions": ["x:y"]});
    let made = world.post(world.org("/memberships"), body).await.expect(201);
    assert_eq!(
        without_effective(world.named(&made)),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "scope": "organization",
            "workspace_id": null, "group_id": null, "user_id": "<acme's stranger>", "email": "sven@acme.example",
            "role": {
                "id": made["role"]["id"].as_str().map(|_| "<2>"),
                "code": "ORGANIZATION_VIEWER", "name": "Viewer", "rank": 1,
            },
            "status": "active", "permissions": ["x:y"],
            "accepted_at": "2026-01-02T00:00:00Z",
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let body = json!({"email": "guest@example.com", "role": "MEMBER"});
    let made = world.post(workspace(&world), body).await.expect(201);
    assert_eq!(made["status"], "invited", "this address has no login yet");
    assert_eq!(made["role"]["code"], "WORKSPACE_MEMBER");
    let body = json!({"role": "viewer"});
    world.post(world.org("/memberships"), body).await.invalid("user_id");
}

#[on_both]
async fn a_person_is_a_member_once(world: World) {
    let again = json!({"user_id": world.acme.user, "role": "viewer"});
    world.post(world.org("/memberships"), again.clone()).await.refused(409, "already_member");
    world.post(workspace(&world), again).await.refused(409, "already_member");
    let spare = format!("/workspaces/{}/memberships", world.acme.spare_workspace);
    let body = json!({"user_id": world.acme.user, "role": "owner"});
    world.post(spare, body).await.expect(201);
}

#[on_both]
async fn a_role_is_named_by_code_short_form_or_id_and_fits_its_place(world: World) {
    let membership = format!("/memberships/{}", world.acme.workspace_membership);
    for role in ["WORKSPACE_ADMIN", "workspace_admin", "admin", "Admin"] {
        let changed = world.patch(&membership, json!({"role": role})).await.expect(200);
        assert_eq!(changed["role"]["code"], "WORKSPACE_ADMIN", "{role}");
    }
    let changed = world.patch(&membership, json!({"role": world.acme.role})).await.expect(200);
    assert_eq!(changed["role"]["code"], "ANALYST");
    for role in [
        "nonsense",
        "ORGANIZATION_ADMIN",
        world.globex.role.as_str(),
        "01900000-0000-7000-8000-000000000000",
    ] {
        let patch = json!({"role": role});
        let problem = world.patch(&membership, patch).await.refused(422, "role_unknown");
        assert_eq!(problem["field"], "role", "{role}");
        let body = json!({"user_id": world.acme.stranger, "role": role});
        world.post(workspace(&world), body).await.refused(422, "role_unknown");
    }
}

#[on_both]
async fn the_owner_is_protected(world: World) {
    let members = world.get(world.org("/memberships")).await.expect(200);
    let items = members["items"].as_array().unwrap();
    let owner = items.iter().find(|m| m["role"]["code"] == "ORGANIZATION_OWNER").unwrap();
    let path = format!("/memberships/{}", owner["id"].as_str().unwrap());
    world.delete(&path).await.refused(409, "owner_protected");
    for patch in [json!({"role": "admin"}), json!({"status": "suspended"})] {
        world.patch(&path, patch).await.refused(409, "owner_protected");
    }
    world.patch(&path, json!({"permissions": ["extra:one"]})).await.expect(200);
    let owner_role = json!({"role": "owner"});
    let other = format!("/memberships/{}", world.acme.membership);
    world.patch(other, owner_role).await.refused(409, "use_transfer_ownership");
    let body = json!({"user_id": world.acme.stranger, "role": "owner"});
    world.post(world.org("/memberships"), body).await.refused(409, "use_transfer_ownership");
}

#[on_both]
async fn ownership_is_transferred_to_an_active_member(world: World) {
    let transfer = world.org("/transfer-ownership");
    let stranger = json!({"user_id": world.acme.stranger});
    let problem = world.post(&transfer, stranger).await.refused(404, "not_found");
    assert_eq!(problem["field"], "user_id");
    let membership = format!("/memberships/{}", world.acme.membership);
    world.patch(&membership, json!({"status": "suspended"})).await.expect(200);
    let heir = json!({"user_id": world.acme.user});
    world.post(&transfer, heir.clone()).await.refused(404, "not_found");
    world.patch(&membership, json!({"status": "active"})).await.expect(200);
    let seated = world.post(&transfer, heir).await.expect(200);
    assert_eq!(seated["role"]["code"], "ORGANIZATION_OWNER");
    assert_eq!(seated["id"], world.acme.membership);
    let org = world.get(world.org("")).await.expect(200);
    assert_eq!(org["owner_user_id"], world.acme.user);
    assert_eq!(
        roles(&world).await,
        [("mats", "ORGANIZATION_OWNER"), ("olga", "ORGANIZATION_ADMIN")]
            .map(|(name, role)| (format!("{name}@acme.example"), role.to_owned()))
    );
    let same = json!({"user_id": world.acme.user});
    world.post(world.org("/transfer-ownership"), same).await.expect(200);
    assert_eq!(roles(&world).await[0].1, "ORGANIZATION_OWNER");
}

#[on_both]
async fn of_two_transfers_at_once_one_comes_last_and_there_is_one_owner(world: World) {
    let body = json!({"user_id": world.acme.stranger, "role": "member"});
    world.post(world.org("/memberships"), body).await.expect(201);
    let (root, path) = (world.root(), world.org("/transfer-ownership"));
    let heirs = [&world.acme.user, &world.acme.stranger, &world.acme.owner];
    let transfers = heirs.map(|heir| root.post(&path, json!({"user_id": heir})));
    for answer in futures_util::future::join_all(transfers).await {
        answer.expect(200);
    }
    let owners: Vec<_> =
        roles(&world).await.into_iter().filter(|(_, role)| role == "ORGANIZATION_OWNER").collect();
    assert_eq!(owners.len(), 1, "{owners:?}");
    let org = world.get(world.org("")).await.expect(200);
    let owner = world.get(format!("/users/{}", org["owner_user_id"].as_str().unwrap())).await;
    assert_eq!(owner.expect(200)["email"], owners[0].0);
}

#[on_both]
async fn member_removed_from_an_organization_leaves_its_workspaces(world: World) {
    world.delete(format!("/memberships/{}", world.acme.membership)).await.expect(204);
    let seat = format!("/memberships/{}", world.acme.workspace_membership);
    let problem = world.get(seat).await.refused(404, "not_found");
    assert_eq!(problem["detail"], "member not found");
}

#[on_both]
async fn a_person_has_a_role_in_each_organization(world: World) {
    let body = json!({"user_id": world.acme.user, "role": "viewer", "permissions": ["x:y"]});
    let other = format!("/organizations/{}/memberships", world.globex.org);
    let other = world.post(other, body).await.expect(201);
    let path = format!("/users/{}/organizations", world.acme.user);
    let listed = world.get(&path).await.expect(200);
    let first = &listed["items"][0];
    assert_eq!(
        *first,
        json!({
            "id": world.globex.org, "name": "Globex", "slug": "globex", "status": "active",
            "external_id": null, "role": other["role"],
            "membership": {
                "id": other["id"], "status": "active", "permissions": ["x:y"],
                "effective_permissions": other["effective_permissions"],
                "created_at": "2026-01-02T00:00:00Z",
            },
        })
    );
    assert_eq!(listed["items"][1]["role"]["code"], "ORGANIZATION_ADMIN");
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let unknown = "/users/01900000-0000-7000-8000-000000000000/organizations";
    world.get(unknown).await.refused(404, "not_found");
}

#[on_both]
async fn members_are_listed_where_they_are(world: World) {
    let of_workspace = world.get(workspace(&world)).await.expect(200);
    assert_eq!(of_workspace["items"][0]["id"], world.acme.workspace_membership);
    let by_user = world.org(&format!("/memberships?user_id={}", world.acme.user));
    let by_user = world.get(by_user).await.expect(200);
    assert_eq!(by_user["items"].as_array().unwrap().len(), 1);
    let invited = world.get(world.org("/memberships?status=Invited")).await.expect(200);
    assert_eq!(invited, json!({"items": [], "next_cursor": null}));
}

fn workspace(world: &World) -> String {
    format!("/workspaces/{}/memberships", world.acme.workspace)
}

fn without_effective(mut membership: serde_json::Value) -> serde_json::Value {
    let effective = membership.as_object_mut().unwrap().remove("effective_permissions");
    let effective = effective.unwrap();
    let effective = effective.as_array().unwrap();
    assert!(effective.contains(&json!("org:read")) && effective.contains(&json!("x:y")));
    membership
}

async fn roles(world: &World) -> Vec<(String, String)> {
    let members = world.get(world.org("/memberships")).await.expect(200);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let items = members["items"].as_array().unwrap().iter();
    let mut roles: Vec<_> = items.map(|m| (text(&m["email"]), text(&m["role"]["code"]))).collect();
    roles.sort();
    roles
}

#[on_both]
async fn person_of_another_organization_is_missing_for_a_customer(world: World) {
    let foreign = world.globex.owner.clone();
    let missing = "01900000-0000-7000-8000-000000000000".to_owned();
    let caller = world.by(&world.acme.token);
    for user in [foreign, missing] {
        let seat = json!({"user_id": user, "role": "viewer"});
        for path in [world.org("/memberships"), workspace(&world)] {
            let problem = caller.post(&path, seat.clone()).await.refused(404, "not_found");
            assert_eq!(problem["detail"], "user not found", "{path}");
        }
        let person = json!({"user_id": user});
        caller.post(&world.org("/users"), person).await.refused(404, "not_found");
        let member = format!("/groups/{}/members/{user}", world.acme.group);
        caller.put(&member, json!({})).await.refused(404, "not_found");
    }
    // The organization's own people, and people named by their addresses.
    let person = json!({"user_id": world.acme.user});
    caller.post(&world.org("/users"), person).await.expect(200);
    let seat = json!({"email": "olga@globex.example", "role": "viewer"});
    caller.post(&world.org("/memberships"), seat).await.expect(201);
}
