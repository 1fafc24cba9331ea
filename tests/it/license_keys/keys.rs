//! Creation, lists, changes, rotation and revocation.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{UNKNOWN, by, code, keys, new_key, path, text, validate};
use crate::world::{World, on_both};

#[on_both]
async fn key_is_shown_once_and_named_by_its_hint(world: World) {
    let body = json!({"name": "Build server", "pools": ["seats"]});
    let made = new_key(&world, body).await;
    let key = text(&made, "key");
    assert_eq!(key.split('-').map(str::len).collect::<Vec<_>>(), [5; 5], "{key}");
    assert_eq!(
        made,
        json!({
            "key": key, "id": made["id"], "organization_id": world.acme.org,
            "license_id": world.acme.license, "hint": &key[..5], "name": "Build server",
            "expires_at": null, "pools": ["seats"], "revoked_at": null, "previous_until": null,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let mut hidden = made.clone();
    hidden.as_object_mut().unwrap().remove("key");
    assert_eq!(world.get(path(&made)).await.expect(200), hidden);
    let list = world.get(keys(&world)).await.expect(200);
    assert_eq!(list["items"][0], hidden);
    assert!(!list.to_string().contains(&key), "{list}");
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(event["action"], "license_keys.create");
    assert_eq!(event["after"]["key"], json!({"masked": true}));
    assert_eq!(event["after"]["hint"], key[..5]);
}

#[on_both]
async fn forms_of_a_key_are_one_key(world: World) {
    let key = world.acme.license_key.clone();
    let forms = [
        key.to_lowercase(),
        key.replace('-', ""),
        format!("  {} ", key.replace('-', " ")),
        key.replace('0', "o").replace('1', "l"),
        key.replace('0', "O").replace('1', "I"),
    ];
    for form in forms {
        assert_eq!(code(&world, &form).await, "valid", "{form}");
    }
    let (_, server) = world.server(|settings| settings.license_keys.prefix = Some("ACME".into()));
    let made = server.clone().token(crate::world::ROOT).post(keys(&world), json!({})).await;
    let prefixed = text(&made.expect(201), "key");
    assert!(prefixed.starts_with("ACME-"), "{prefixed}");
    for key in [&prefixed, &prefixed.to_lowercase(), &prefixed[5..], &key] {
        let answer = server.post("/licenses/validate", json!({"key": key})).await.expect(200);
        assert_eq!(answer["code"], "valid", "{key}");
    }
}

#[on_both]
async fn unknown_key_with_a_u_is_refused_at_its_field(world: World) {
    let (_, server) = world.server(|settings| settings.license_keys.prefix = Some("ACME".into()));
    let ask = async |key: &str| server.post("/licenses/validate", json!({"key": key})).await;
    let with_u = "U1234-56789-ABCDE-FGHJK-MNP8N";
    for key in
        [with_u, &with_u.to_lowercase(), &with_u.replace('-', " "), &format!("ACME-{with_u}")]
    {
        ask(key).await.invalid("key");
    }
    for key in ["U1234-56789-ABCDE-FGHJK", "U1234-56789-ABCDE-FGHJK-MNP8!"] {
        assert_eq!(ask(key).await.expect(200)["code"], "key_unknown", "{key}");
    }
    // A key of another system may have the same form.
    new_key(&world, json!({"key": with_u})).await;
    assert_eq!(ask(with_u).await.expect(200)["code"], "valid");
}

#[on_both]
async fn mistyped_key_is_refused_without_a_look_up(world: World) {
    let key = &world.acme.license_key;
    let last = key.chars().last().unwrap();
    let wrong = format!("{}{}", &key[..key.len() - 1], if last == '0' { '2' } else { '0' });
    for body in [json!({"key": wrong}), json!({"key": "short"}), json!({"key": "x".repeat(513)})] {
        let problem = world.anyone().post("/licenses/validate", body).await.invalid("key");
        assert!(!problem.to_string().contains(&wrong), "{problem}");
    }
    world.anyone().post("/licenses/validate", json!({})).await.invalid("key");
    world.anyone().post("/licenses/validate", json!({"key": 5})).await.refused(422, "invalid");
    assert_eq!(code(&world, UNKNOWN).await, "key_unknown");
}

#[on_both]
async fn keys_of_other_systems_are_compared_exactly(world: World) {
    let foreign = "  Größe_4711/a b  ";
    let made = new_key(&world, json!({"key": foreign})).await;
    assert_eq!((&*text(&made, "key"), &*text(&made, "hint")), (foreign.trim(), "Grö"));
    assert_eq!(code(&world, "Größe_4711/a b").await, "valid");
    assert_eq!(code(&world, "größe_4711/a b").await, "key_unknown");
    assert_eq!(code(&world, "Größe_4711/ab").await, "key_unknown");
    let again = world.post(keys(&world), json!({"key": foreign})).await;
    let problem = again.refused(409, "code_taken");
    assert_eq!(problem["field"], "key");
    assert!(!problem.to_string().contains("4711"), "{problem}");
    let globex = format!("/licenses/{}/keys", world.globex.license);
    world.post(globex, json!({"key": foreign})).await.refused(409, "code_taken");
    // The text of another license's key is taken in any form.
    let known = world.acme.license_key.to_lowercase();
    world.post(keys(&world), json!({"key": known})).await.refused(409, "code_taken");
    for wrong in ["1234567", "tab\tinside-the-key", &"x".repeat(513)] {
        world.post(keys(&world), json!({"key": wrong})).await.invalid("key");
    }
}

#[on_both]
async fn rotated_key_is_valid_for_the_overlap(world: World) {
    let made = new_key(&world, json!({"name": "x"})).await;
    let old = text(&made, "key");
    let rotate = format!("{}/rotate", path(&made));
    let rotated = world.post(&rotate, json!({"overlap_seconds": 60})).await.expect(200);
    let new = text(&rotated, "key");
    assert_eq!((&rotated["id"], &rotated["hint"]), (&made["id"], &json!(new[..5])));
    assert_eq!(rotated["previous_until"], "2026-01-02T00:01:00Z");
    for key in [&old, &new] {
        assert_eq!(code(&world, key).await, "valid");
        assert_eq!(by(&world, key).get("/me").await.expect(200)["id"], made["id"]);
    }
    world.pass(TimeDelta::seconds(60));
    assert_eq!(code(&world, &old).await, "key_expired");
    by(&world, &old).get("/me").await.refused(401, "unauthenticated");
    assert_eq!(code(&world, &new).await, "valid");
    by(&world, &new).get("/me").await.expect(200);
    world.post(&rotate, json!({})).await.expect(200);
    assert_eq!(code(&world, &new).await, "key_expired");
    assert_eq!(code(&world, &old).await, "key_unknown");
    world.post(&rotate, json!({"overlap_seconds": 2_592_001})).await.invalid("overlap_seconds");
}

#[on_both]
async fn revoked_key_is_refused_at_once_and_permanently(world: World) {
    let made = new_key(&world, json!({})).await;
    let key = text(&made, "key");
    by(&world, &key).get("/me").await.expect(200);
    world.delete(path(&made)).await.expect(204);
    by(&world, &key).get("/me").await.refused(401, "unauthenticated");
    let answer = validate(&world, json!({"key": key})).await;
    assert_eq!((&answer["code"], &answer["valid"]), (&json!("key_revoked"), &json!(false)));
    assert!(answer["license"].is_null(), "{answer}");
    world.delete(path(&made)).await.expect(204);
    world.patch(path(&made), json!({"name": "x"})).await.refused(409, "conflict");
    world.post(format!("{}/rotate", path(&made)), json!({})).await.refused(409, "conflict");
    let revoked = world.get(keys(&world) + "?active=false").await.expect(200);
    assert_eq!(revoked["items"].as_array().unwrap().len(), 1);
    assert_eq!(revoked["items"][0]["revoked_at"], "2026-01-02T00:00:00Z");
}

#[on_both]
async fn key_ends_when_it_expires(world: World) {
    let made = new_key(&world, json!({"expires_at": "2026-01-02T00:00:05Z"})).await;
    let key = text(&made, "key");
    assert_eq!(code(&world, &key).await, "valid");
    by(&world, &key).get("/me").await.expect(200);
    world.pass(TimeDelta::seconds(5));
    assert_eq!(code(&world, &key).await, "key_expired");
    by(&world, &key).get("/me").await.refused(401, "unauthenticated");
    let past = json!({"expires_at": "2026-01-02T00:00:05Z"});
    world.patch(path(&made), past.clone()).await.invalid("expires_at");
    world.post(keys(&world), past).await.invalid("expires_at");
    let later = json!({"expires_at": null, "name": null, "pools": ["seats"]});
    let patched = world.patch(path(&made), later).await.expect(200);
    assert_eq!((&patched["expires_at"], &patched["pools"]), (&Value::Null, &json!(["seats"])));
    assert_eq!(code(&world, &key).await, "valid");
}

#[on_both]
async fn license_has_at_most_a_hundred_keys(world: World) {
    let created = (0..110).map(|_| async { world.post(keys(&world), json!({})).await.status });
    let statuses = futures_util::future::join_all(created).await;
    let made = statuses.iter().filter(|status| **status == 201).count();
    // The world has one.
    assert_eq!(made, 99, "{statuses:?}");
    let problem = world.post(keys(&world), json!({})).await.refused(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains("100"), "{problem}");
    let first = world.get(keys(&world) + "?limit=1").await.expect(200)["items"][0].clone();
    world.delete(path(&first)).await.expect(204);
    new_key(&world, json!({})).await;
    let live = world.get(keys(&world) + "?active=true&limit=500").await.expect(200);
    assert_eq!(live["items"].as_array().unwrap().len(), 100);
}

#[on_both]
async fn revoked_license_gets_no_key(world: World) {
    world.post(format!("/licenses/{}/revoke", world.acme.license), json!({})).await.expect(200);
    world.post(keys(&world), json!({})).await.refused(409, "license_revoked");
    for pools in [json!([]), json!(["Seats"]), json!(vec!["a"; 17])] {
        world.post(keys(&world), json!({"pools": pools})).await;
    }
}

#[on_both]
async fn organization_lists_and_rotates_its_keys_but_creates_none(world: World) {
    let admin = world.person("auth0|mats-acme");
    let list = admin.get(keys(&world)).await.expect(200);
    let key = list["items"][0].clone();
    admin.get(path(&key)).await.expect(200);
    let rotated = admin.post(format!("{}/rotate", path(&key)), json!({})).await.expect(200);
    assert_eq!(code(&world, &text(&rotated, "key")).await, "valid");
    admin.post(keys(&world), json!({})).await.refused(403, "forbidden");
    admin.patch(path(&key), json!({"name": "x"})).await.refused(403, "forbidden");
    admin.delete(path(&key)).await.refused(403, "forbidden");
    // A data plane holds the permission on its own deployment, and sees no credentials.
    let machine = world.by(&world.acme.deployment_token);
    machine.get(keys(&world)).await.refused(403, "forbidden");
    machine.get(path(&key)).await.refused(403, "forbidden");
    machine.post(format!("{}/rotate", path(&key)), json!({})).await.refused(403, "forbidden");
}

#[on_both]
async fn creator_must_hold_what_a_key_holds(world: World) {
    let writer = world.with_only(&["licenses:write", "leases:write"]).await;
    let problem = writer.post(keys(&world), json!({})).await.refused(403, "forbidden");
    assert_eq!(problem["lacking"], json!(["licenses:fetch"]));
    let all = world.with_only(&["licenses:write", "leases:write", "licenses:fetch"]).await;
    all.post(keys(&world), json!({})).await.expect(201);
}
