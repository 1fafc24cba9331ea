//! The example resource: four endpoints that its file alone declares.

use serde_json::json;

use crate::world::{World, on_both};

#[on_both]
async fn note_of_an_organization_is_created_read_and_deleted(world: World) {
    let made = world.post(world.org("/notes"), json!({"name": "first"})).await.expect(201);
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "name": "first",
            "created_at": "2026-01-02T00:00:00Z",
        })
    );
    let path = format!("/notes/{id}");
    assert_eq!(world.get(&path).await.expect(200), made);
    let list = world.get(world.org("/notes?limit=1")).await.expect(200);
    assert_eq!(list["items"], json!([made]));
    world.delete(&path).await.expect(204);
    world.get(&path).await.refused(404, "not_found");
}

#[on_both]
async fn note_with_a_taken_name_is_refused_with_a_derived_detail(world: World) {
    world.post(world.org("/notes"), json!({"name": "first"})).await.expect(201);
    let problem = world.post(world.org("/notes"), json!({"name": "first"})).await;
    let problem = problem.refused(409, "name_taken");
    assert_eq!(problem["field"], "name");
    assert_eq!(problem["detail"], "`name` is already used by another note of the organization.");
}

#[on_both]
async fn note_is_exported_and_purged_with_its_organization(world: World) {
    let export = world.get(world.org("/export")).await.expect(200);
    let list = world.get(world.org("/notes")).await.expect(200);
    assert_eq!(export["notes"], list["items"]);
    world.delete(world.org("?mode=purge&confirm=Acme&force=true")).await.expect(204);
    let left = "SELECT COUNT(*) FROM notes";
    assert_eq!(world.value::<i64>(left).await, 1, "those of the other organization");
}

#[on_both]
async fn note_is_written_by_members_and_read_by_viewers(world: World) {
    let roles = world.get("/roles?scope=organization").await.expect(200);
    for role in roles["items"].as_array().unwrap() {
        let holds = |code: &str| role["permissions"].as_array().unwrap().contains(&json!(code));
        let code = role["code"].as_str().unwrap();
        assert!(holds("notes:read"), "{code}");
        assert_eq!(holds("notes:write"), code != "ORGANIZATION_VIEWER", "{code}");
    }
}
