use chrono::TimeDelta;
use cp_server::identity::bootstrap::{First, Handover, bootstrap};
use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn a_token_is_shown_once(world: World) {
    let body = json!({"name": "ci", "permissions": ["licenses:issue"]});
    let made = world.post(world.org("/service-tokens"), body).await.expect(201);
    let text = made["token"].as_str().unwrap();
    assert!(text.starts_with("cpat_") && text.len() == 111, "{}", text.len());
    assert_eq!(
        {
            let mut made = world.named(&made);
            made.as_object_mut().unwrap().remove("token");
            made.as_object_mut().unwrap().remove("created_by");
            made
        },
        json!({
            "id": "<2>", "organization_id": "<acme's org>", "deployment_id": null,
            "name": "ci", "permissions": ["licenses:issue"], "expires_at": null,
            "last_used_at": null, "revoked_at": null,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    for list in [world.org("/service-tokens"), "/service-tokens".to_owned()] {
        let list = world.get(list).await.expect(200).to_string();
        assert!(list.contains(made["id"].as_str().unwrap()));
        assert!(!list.contains("cpat_") && !list.contains("hash"), "{list}");
    }
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(event["after"]["token"], json!({"masked": true}));
}

#[on_both]
async fn caller_cannot_grant_a_token_more_than_it_holds(world: World) {
    let limited = world.with_only(&["tokens:write", "org:read"]).await;
    let tokens = world.org("/service-tokens");
    let grant = |codes: Value| json!({"name": "x", "permissions": codes});
    for codes in [json!(["org:write"]), json!(["*"]), json!(["org:read", "licenses:issue"])] {
        let problem = limited.post(&tokens, grant(codes)).await.refused(403, "forbidden");
        assert_eq!(problem["field"], "permissions");
    }
    limited.post(&tokens, grant(json!(["org:read"]))).await.expect(201);
    world.post(&tokens, grant(json!(["org:fly"]))).await.invalid("permissions");
}

#[on_both]
async fn rotating_a_stronger_token_would_be_passing_on_too(world: World) {
    let limited = world.with_only(&["tokens:write"]).await;
    let strong = rotation(&world.acme.token_id);
    limited.post(&strong, json!({})).await.refused(403, "forbidden");
    world.by(&world.acme.token).get("/me").await.expect(200);
    let weak = world.with_only(&["tokens:write"]).await.get("/me").await.expect(200);
    let weak = rotation(weak["id"].as_str().unwrap());
    limited.post(weak, json!({})).await.expect(200);
}

#[on_both]
async fn a_rotated_secret_is_taken_for_the_overlap(world: World) {
    let old = world.by(&world.acme.token);
    old.get("/me").await.expect(200);
    let body = json!({"overlap_seconds": 60});
    let rotated = world.post(rotation(&world.acme.token_id), body).await.expect(200);
    let new = world.by(rotated["token"].as_str().unwrap());
    assert_eq!(rotated["id"], world.acme.token_id);
    for token in [&old, &new] {
        assert_eq!(token.get("/me").await.expect(200)["id"], world.acme.token_id);
    }
    world.pass(TimeDelta::seconds(60));
    old.get("/me").await.refused(401, "unauthenticated");
    new.get("/me").await.expect(200);
    world.post(rotation(&world.acme.token_id), json!({})).await.expect(200);
    new.get("/me").await.refused(401, "unauthenticated");
    let long = json!({"overlap_seconds": 604_801});
    world.post(rotation(&world.acme.token_id), long).await.invalid("overlap_seconds");
}

#[on_both]
async fn a_revoked_token_is_refused_at_once_and_elsewhere_soon(world: World) {
    let (_other, elsewhere) = world.replica().await;
    let (here, elsewhere) = (world.by(&world.acme.token), elsewhere.token(&world.acme.token));
    here.get("/me").await.expect(200);
    elsewhere.get("/me").await.expect(200);
    let path = format!("/service-tokens/{}", world.acme.token_id);
    world.delete(&path).await.expect(204);
    here.get("/me").await.refused(401, "unauthenticated");
    world.pass(TimeDelta::milliseconds(4999));
    elsewhere.get("/me").await.refused(401, "unauthenticated");
    world.delete(&path).await.expect(204);
    world.post(rotation(&world.acme.token_id), json!({})).await.refused(409, "conflict");
    let revoked = world.get(world.org("/service-tokens?active=false")).await.expect(200);
    assert_eq!(revoked["items"][0]["revoked_at"], "2026-01-02T00:00:00Z");
}

#[on_both]
async fn the_database_holds_no_token(world: World) {
    let sql = "SELECT COUNT(*) FROM service_tokens WHERE LENGTH(secret_hash) = 32";
    let hashed: i64 = world.value(sql).await;
    let all: i64 = world.value("SELECT COUNT(*) FROM service_tokens").await;
    assert_eq!((hashed, all), (5, 5));
}

#[on_both]
async fn a_token_ends_when_it_expires(world: World) {
    let body = json!({
        "name": "x", "permissions": [], "expires_at": "2026-01-02T00:00:02Z",
    });
    let token = world.post(world.org("/service-tokens"), body).await.expect(201);
    let caller = world.by(token["token"].as_str().unwrap());
    world.pass(TimeDelta::milliseconds(1999));
    caller.get("/me").await.expect(200);
    world.pass(TimeDelta::milliseconds(1));
    caller.get("/me").await.refused(401, "unauthenticated");
    let past = json!({"name": "x", "permissions": [], "expires_at": "2026-01-02T00:00:02Z"});
    world.post(world.org("/service-tokens"), past).await.invalid("expires_at");
}

#[on_both]
async fn a_deployments_token_does_what_a_data_plane_needs(world: World) {
    let tokens = format!("/deployments/{}/service-tokens", world.acme.deployment);
    let more = json!({"name": "x", "permissions": ["licenses:issue"]});
    world.post(&tokens, more).await.invalid("permissions");
    let list = world.get(&tokens).await.expect(200);
    assert_eq!(list["items"][0]["deployment_id"], world.acme.deployment);
    assert_eq!(
        list["items"][0]["permissions"],
        json!([
            "users:whoami",
            "usage:write",
            "limits:read",
            "effective:read",
            "leases:read",
            "leases:write",
            "licenses:fetch",
        ])
    );
    let data_plane = world.by(&world.acme.deployment_token);
    data_plane.get(world.org("")).await.refused(403, "forbidden");
    let foreign = format!("/organizations/{}", world.globex.org);
    data_plane.get(foreign).await.refused(404, "not_found");
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    data_plane.post(bundles, json!({})).await.refused(403, "forbidden");
}

#[on_both]
async fn a_deployments_tokens_end_with_it(world: World) {
    let spare = format!("/deployments/{}", world.acme.spare_deployment);
    let token = world.by(&world.new_token(&spare, &["users:whoami"]).await);
    token.get("/me").await.expect(200);
    world.delete(spare).await.expect(204);
    token.get("/me").await.refused(401, "unauthenticated");
    world.by(&world.acme.deployment_token).get("/me").await.expect(200);
}

#[on_both]
async fn an_organizations_token_ends_with_a_purge_and_not_with_a_suspension(world: World) {
    world.delete(world.org("")).await.expect(204);
    world.by(&world.acme.token).get(world.org("")).await.expect(200);
    let purge = world.org("?mode=purge&confirm=Acme&force=true");
    world.delete(purge).await.expect(204);
    world.by(&world.acme.token).get("/me").await.refused(401, "unauthenticated");
}

fn rotation(id: &str) -> String {
    format!("/service-tokens/{id}/rotate")
}

#[on_both]
async fn a_bootstrap_token_is_made_once(world: World) {
    let made = bootstrap(&world.app, Handover::Shown).await.unwrap();
    assert!(made.is_none(), "there is a platform token already");
    world.exec("UPDATE service_tokens SET revoked_at = created_at").await;
    let made = bootstrap(&world.app, Handover::Shown).await.unwrap();
    let Some(First::Shown(token)) = made else { panic!("no token was made") };
    first_steps(&world, token.expose()).await;
    assert!(bootstrap(&world.app, Handover::Shown).await.unwrap().is_none());
    let own = Handover::Own("chosen-by-the-operator");
    assert!(bootstrap(&world.app, own).await.unwrap().is_none());
    first_steps(&world, "chosen-by-the-operator").await;
}

#[on_both]
async fn bootstrap_token_in_a_file_works_after_any_crash(world: World) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys/bootstrap-token");
    let begin = async || bootstrap(&world.app, Handover::File(&path)).await;
    let read = || std::fs::read_to_string(&path).unwrap().trim_end().to_owned();
    assert!(begin().await.unwrap().is_none() && !path.exists(), "there is a token already");

    world.exec("UPDATE service_tokens SET revoked_at = created_at").await;
    assert!(matches!(begin().await.unwrap(), Some(First::File(found)) if found == path));
    let first = read();
    first_steps(&world, &first).await;
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(begin().await.unwrap().is_none(), "it is made once");

    // The file was written, and its token was not committed.
    world.exec("DELETE FROM service_tokens WHERE name = 'bootstrap'").await;
    world
        .exec(
            "DELETE FROM installation
                    WHERE name LIKE 'bootstrap token %' OR name LIKE 'service token %'",
        )
        .await;
    assert!(begin().await.unwrap().is_some());
    assert_eq!(read(), first, "the token of the file is the one that works");
    first_steps(&world, &first).await;

    // It was revoked: another one follows.
    world.exec("UPDATE service_tokens SET revoked_at = created_at").await;
    assert!(begin().await.unwrap().is_some());
    assert_ne!(read(), first);
    first_steps(&world, &read()).await;

    // Something else has the name.
    world.exec("UPDATE service_tokens SET revoked_at = created_at").await;
    std::fs::write(&path, "canary-of-a-file").unwrap();
    let error = format!("{:#}", begin().await.err().unwrap());
    assert!(error.contains("is not a token of this server"), "{error}");
    assert!(!error.contains("canary-of-a-file"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert!(begin().await.unwrap().is_some(), "a refusal used nothing up");
}

async fn first_steps(world: &World, token: &str) {
    world.by(token).get("/organizations").await.expect(200);
}
