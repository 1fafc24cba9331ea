use serde_json::json;

use crate::world::{World, on_both};

#[on_both]
async fn a_workspace_is_made_with_its_defaults(world: World) {
    let made = world.post(world.org("/workspaces"), json!({"name": "Try It"})).await.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "project_id": null,
            "name": "Try It", "slug": "try-it",
            "type": "prod", "is_default": false, "isolation": "standard", "path": null,
            "status": "active", "external_id": null, "rbac_revision": 1,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let path = format!("/workspaces/{}", made["id"].as_str().unwrap());
    assert_eq!(world.get(path).await.expect(200), made);
    let body = json!({"name": "Other", "slug": "try-it"});
    world.post(world.org("/workspaces"), body).await.refused(409, "slug_taken");
    let body = json!({"name": "Elsewhere", "slug": "try-it"});
    let elsewhere = format!("/organizations/{}/workspaces", world.globex.org);
    world.post(elsewhere, body).await.expect(201);
}

#[on_both]
async fn the_first_workspace_is_the_default_until_another_takes_its_place(world: World) {
    assert_eq!(defaults(&world).await, ["production"]);
    let spare = format!("/workspaces/{}", world.acme.spare_workspace);
    let moved = world.patch(&spare, json!({"is_default": true})).await.expect(200);
    assert_eq!(moved["is_default"], true);
    assert_eq!(defaults(&world).await, ["demo"]);
    world.patch(&spare, json!({"is_default": false})).await.invalid("is_default");
    let body = json!({"name": "Third", "is_default": true});
    world.post(world.org("/workspaces"), body).await.expect(201);
    assert_eq!(defaults(&world).await, ["third"]);
}

#[on_both]
async fn the_default_goes_last(world: World) {
    let (first, spare) = (&world.acme.workspace, &world.acme.spare_workspace);
    world.delete(format!("/workspaces/{first}")).await.refused(409, "in_use");
    let before = world.get(world.org("")).await.expect(200);
    world.delete(format!("/workspaces/{spare}")).await.expect(204);
    let after = world.get(world.org("")).await.expect(200);
    assert!(after["revision"].as_i64() > before["revision"].as_i64(), "rights went with it");
    world.delete(format!("/workspaces/{first}")).await.expect(204);
    let org = world.get(world.org("")).await.expect(200);
    assert_eq!(org["default_workspace_id"], json!(null));
    let membership = format!("/memberships/{}", world.acme.workspace_membership);
    world.get(membership).await.refused(404, "not_found");
    let next = world.post(world.org("/workspaces"), json!({"name": "Next"})).await.expect(201);
    assert_eq!(next["is_default"], true, "the first one again");
}

#[on_both]
async fn revision_shows_when_answers_are_old(world: World) {
    let path = format!("/workspaces/{}/rbac-revision", world.acme.workspace);
    let data_plane = world.by(&world.acme.deployment_token);
    let before = data_plane.get(&path).await.expect(200);
    let membership = format!("/memberships/{}", world.acme.workspace_membership);
    world.patch(&membership, json!({"role": "viewer"})).await.expect(200);
    let after = data_plane.get(&path).await.expect(200);
    assert_eq!(after["revision"].as_i64(), before["revision"].as_i64().map(|n| n + 1));
    assert_eq!(after["updated_at"], "2026-01-02T00:00:00Z");
    let role = format!("/roles/{}", world.acme.role);
    world.patch(role, json!({"permissions": ["a:b"]})).await.expect(200);
    let last = data_plane.get(&path).await.expect(200);
    assert_eq!(last["revision"].as_i64(), after["revision"].as_i64().map(|n| n + 1));
}

#[on_both]
async fn workspaces_are_filtered_and_enumerations_ignore_case(world: World) {
    let list = world.get(world.org("/workspaces?type=DEMO")).await.expect(200);
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|w| &w["name"]).collect();
    assert_eq!(names, ["Demo"]);
    let body = json!({"name": "Odd", "type": "nope"});
    world.post(world.org("/workspaces"), body).await.invalid("type");
    world.get(world.org("/workspaces?type=nope")).await.invalid("type");
    world.get(world.org("/workspaces?typ=demo")).await.invalid("typ");
}

async fn defaults(world: &World) -> Vec<String> {
    let list = world.get(world.org("/workspaces")).await.expect(200);
    let items = list["items"].as_array().unwrap().iter();
    let items = items.filter(|workspace| workspace["is_default"] == true);
    items.map(|workspace| workspace["slug"].as_str().unwrap().to_owned()).collect()
}
