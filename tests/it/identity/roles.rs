use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn system_roles_are_seeded_and_protected(world: World) {
    let roles = world.get("/roles").await.expect(200);
    let codes: Vec<_> = roles["items"].as_array().unwrap().iter().map(|r| &r["code"]).collect();
    assert_eq!(
        codes,
        [
            "SUPERADMIN",
            "ORGANIZATION_OWNER",
            "ORGANIZATION_ADMIN",
            "ORGANIZATION_MEMBER",
            "ORGANIZATION_VIEWER",
            "WORKSPACE_OWNER",
            "WORKSPACE_ADMIN",
            "WORKSPACE_MEMBER",
            "WORKSPACE_VIEWER",
            "PROJECT_ADMIN",
            "PROJECT_MEMBER",
            "PROJECT_VIEWER",
            "GROUP_ADMIN",
            "GROUP_MEMBER",
        ]
    );
    let owner = &roles["items"][1];
    assert_eq!((&owner["is_system"], &owner["rank"]), (&json!(true), &json!(4)));
    let path = format!("/roles/{}", owner["id"].as_str().unwrap());
    for by in [world.root(), world.by(&world.acme.token)] {
        assert_eq!(by.get(&path).await.expect(200), *owner);
        by.patch(&path, json!({"name": "x"})).await.refused(409, "system_protected");
        by.delete(&path).await.refused(409, "system_protected");
    }
    let filtered = world.get("/roles?scope=GROUP").await.expect(200);
    assert_eq!(filtered["items"].as_array().unwrap().len(), 2);
}

#[on_both]
async fn an_organization_has_roles_of_its_own(world: World) {
    let body = json!({
        "code": "BILLING", "name": "Billing", "scope": "organization",
        "permissions": ["billing:read", "billing:manage", "billing:read"],
    });
    let made = world.post(world.org("/roles"), body.clone()).await.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "code": "BILLING",
            "name": "Billing", "description": null, "scope": "organization", "rank": 0,
            "permissions": ["billing:manage", "billing:read"], "is_system": false,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    world.post(world.org("/roles"), body.clone()).await.refused(409, "code_taken");
    let elsewhere = format!("/organizations/{}/roles", world.globex.org);
    world.post(elsewhere, body).await.expect(201);
    for code in ["ORGANIZATION_OWNER", "SUPERADMIN"] {
        let shadow = json!({"code": code, "name": "x", "scope": "organization"});
        world.post(world.org("/roles"), shadow).await.refused(409, "code_taken");
    }
    for code in ["x", "lower", "1A", "A", ""] {
        let body = json!({"code": code, "name": "x", "scope": "organization"});
        world.post(world.org("/roles"), body).await.invalid("code");
    }
    let system = json!({"code": "OK", "name": "x", "scope": "workspace", "is_system": true});
    world.post(world.org("/roles"), system).await.invalid("is_system");
}

#[on_both]
async fn a_role_in_use_stays(world: World) {
    let role = format!("/roles/{}", world.acme.role);
    let problem = world.delete(&role).await.refused(409, "in_use");
    assert_eq!(problem["count"], 1);
    let membership = format!("/memberships/{}", world.acme.workspace_membership);
    world.delete(membership).await.expect(204);
    world.delete(&role).await.expect(204);
    world.get(&role).await.refused(404, "not_found");
}

#[on_both]
async fn role_of_an_open_invitation_stays(world: World) {
    let role = json!({"code": "AUDITOR", "name": "Auditor", "scope": "organization"});
    let role = world.post(world.org("/roles"), role).await.expect(201);
    let role = format!("/roles/{}", role["id"].as_str().unwrap());
    let invitation = json!({"email": "new@acme.example", "role": "AUDITOR"});
    let invitation = world.post(world.org("/invitations"), invitation).await.expect(201);
    let problem = world.delete(&role).await.refused(409, "in_use");
    assert_eq!(problem["count"], 1);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("0 memberships and 1 open invitations have this role."), "{detail}");
    world.delete(format!("/invitations/{}", invitation["id"].as_str().unwrap())).await.expect(204);
    world.delete(&role).await.expect(204);
}

#[on_both]
async fn a_changed_role_changes_what_its_members_may_do(world: World) {
    let role = format!("/roles/{}", world.acme.role);
    let patch = json!({"description": "Sees reports", "permissions": ["reports:write"]});
    let changed = world.patch(&role, patch).await.expect(200);
    assert_eq!(changed["description"], "Sees reports");
    let cleared = world.patch(&role, json!({"description": null})).await.expect(200);
    assert_eq!(cleared["description"], Value::Null);
    let membership = format!("/memberships/{}", world.acme.workspace_membership);
    let membership = world.get(membership).await.expect(200);
    assert_eq!(membership["effective_permissions"], json!(["reports:write"]));
}
