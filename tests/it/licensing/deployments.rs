use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn a_deployment_is_made_changed_and_retired(world: World) {
    let body = json!({
        "name": "lab", "type": "OnPrem", "region": "eu-central",
        "api_base_url": "https://lab.acme.example/api", "external_id": "d-1",
    });
    let made = world.post(world.org("/deployments"), body).await.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "name": "lab", "type": "onprem",
            "region": "eu-central", "api_base_url": "https://lab.acme.example/api",
            "status": "active", "external_id": "d-1", "metadata": {}, "tags": [], "last_seen_at": null,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let path = format!("/deployments/{}", made["id"].as_str().unwrap());
    let patch = json!({"status": "retired", "region": null});
    let retired = world.patch(&path, patch).await.expect(200);
    assert_eq!((&retired["status"], &retired["region"]), (&json!("retired"), &Value::Null));
    let list = world.get(world.org("/deployments?status=retired")).await.expect(200);
    assert_eq!(list["items"], json!([retired]));
    world.delete(&path).await.expect(204);
    world.get(&path).await.refused(404, "not_found");
}

#[on_both]
async fn names_and_references_are_unique_in_the_organization(world: World) {
    let body = json!({"name": "main", "type": "cloud"});
    let problem = world.post(world.org("/deployments"), body).await.refused(409, "name_taken");
    assert_eq!(problem["field"], "name");
    let spare = format!("/deployments/{}", world.acme.spare_deployment);
    world.patch(&spare, json!({"external_id": "x"})).await.expect(200);
    let body = json!({"name": "other", "type": "cloud", "external_id": "x"});
    let answer = world.post(world.org("/deployments"), body.clone()).await;
    answer.refused(409, "external_id_taken");
    let elsewhere = format!("/organizations/{}/deployments", world.globex.org);
    world.post(elsewhere, body).await.expect(201);
}

#[on_both]
async fn a_licensed_deployment_is_retired_and_not_deleted(world: World) {
    let path = format!("/deployments/{}", world.acme.deployment);
    world.delete(path).await.refused(409, "in_use");
}

#[on_both]
async fn a_base_url_is_absolute_http(world: World) {
    for url in ["lab.acme.example", "ftp://x.example", "/api", "javascript:alert(1)", "http://"] {
        let body = json!({"name": "x", "type": "cloud", "api_base_url": url});
        world.post(world.org("/deployments"), body).await.invalid("api_base_url");
    }
    let body = json!({"name": "x"});
    let made = world.post(world.org("/deployments"), body).await.expect(201);
    assert_eq!(made["type"], "cloud", "the default");
}
