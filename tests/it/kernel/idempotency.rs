use chrono::TimeDelta;
use cp_server::kernel::secret::Kek;
use serde_json::json;

use crate::world::{Client, World, on_both};

#[on_both]
async fn the_same_request_is_done_once_and_answered_twice(world: World) {
    let (org, body) = (world.org("/deployments"), json!({"name": "lab", "type": "cloud"}));
    let keyed = with_key(&world, "k1");
    let first = keyed.post(&org, body.clone()).await;
    let second = keyed.post(&org, body).await;
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!((first.status, &first.body), (second.status, &second.body));
    for header in ["location", "etag", "content-type"] {
        assert_eq!(first.header(header), second.header(header), "{header}");
    }
    first.expect(201);
}

#[on_both]
async fn a_repeated_issuance_gives_the_same_token(world: World) {
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    let keyed = with_key(&world, "k1");
    let first = keyed.post(&bundles, json!({})).await;
    world.pass(TimeDelta::hours(23));
    let second = keyed.post(&bundles, json!({})).await;
    assert_eq!(first.body, second.body);
    let first = first.expect(201);
    let other = world.post(&bundles, json!({})).await.expect(201);
    assert_ne!(first["jti"], other["jti"]);
    assert_ne!(first["token"], other["token"]);
    let rows = world.get(&bundles).await.expect(200);
    assert_eq!(rows["items"].as_array().unwrap().len(), 3, "the template's and two");
}

#[on_both]
async fn a_key_is_good_for_one_request(world: World) {
    let keyed = with_key(&world, "k1");
    let deployments = world.org("/deployments");
    let body = json!({"name": "lab", "type": "cloud"});
    keyed.post(&deployments, body.clone()).await.expect(201);
    let other = json!({"name": "lab2", "type": "cloud"});
    keyed.post(&deployments, other).await.refused(422, "idempotency_key_reused");
    let elsewhere = format!("/organizations/{}/deployments", world.globex.org);
    keyed.post(elsewhere, body).await.refused(422, "idempotency_key_reused");
    let patch = json!({"name": "lab3"});
    let path = format!("/deployments/{}", world.acme.deployment);
    keyed.patch(path, patch).await.refused(422, "idempotency_key_reused");
}

#[on_both]
async fn a_key_belongs_to_its_caller(world: World) {
    let body = |name: &str| json!({"name": name, "type": "cloud"});
    let deployments = world.org("/deployments");
    with_key(&world, "k").post(&deployments, body("one")).await.expect(201);
    let own = world.by(&world.acme.token).with("idempotency-key", "k");
    let made = own.post(&deployments, body("two")).await;
    assert_eq!(made.header("idempotent-replayed"), "");
    made.expect(201);
}

#[on_both]
async fn a_replay_still_needs_the_permission(world: World) {
    let body = json!({"name": "lab", "type": "cloud"});
    let keyed = world.by(&world.acme.token).with("idempotency-key", "k");
    keyed.post(world.org("/deployments"), body.clone()).await.expect(201);
    world.delete(format!("/service-tokens/{}", world.acme.token_id)).await.expect(204);
    keyed.post(world.org("/deployments"), body).await.refused(401, "unauthenticated");
}

#[on_both]
async fn a_key_is_kept_for_24_hours(world: World) {
    let keyed = with_key(&world, "k");
    let body = |name: &str| json!({"name": name, "type": "cloud"});
    keyed.post(world.org("/deployments"), body("one")).await.expect(201);
    world.pass(TimeDelta::hours(24) - TimeDelta::microseconds(1));
    let answer = keyed.post(world.org("/deployments"), body("two")).await;
    answer.refused(422, "idempotency_key_reused");
    world.pass(TimeDelta::microseconds(1));
    keyed.post(world.org("/deployments"), body("two")).await.expect(201);
    keyed.post(world.org("/deployments"), body("two")).await.expect(201);
    world.pass(TimeDelta::hours(24));
    assert_eq!(cp_server::kernel::http::idempotency::purge(&world.app).await.unwrap(), 1);
}

#[on_both]
async fn a_refused_request_may_be_sent_again(world: World) {
    let keyed = with_key(&world, "k");
    let body = json!({"name": "main", "type": "cloud"});
    keyed.post(world.org("/deployments"), body.clone()).await.refused(409, "name_taken");
    let main = format!("/deployments/{}", world.acme.deployment);
    world.patch(main, json!({"name": "renamed"})).await.expect(200);
    keyed.post(world.org("/deployments"), body).await.expect(201);
}

#[on_both]
async fn a_key_has_a_form(world: World) {
    let body = json!({"name": "lab", "type": "cloud"});
    for key in ["", "\u{e9}", &"k".repeat(256)] {
        let answer = with_key(&world, key).post(world.org("/deployments"), body.clone()).await;
        answer.refused(400, "bad_request");
    }
    let longest = with_key(&world, &"k".repeat(255));
    longest.post(world.org("/deployments"), body).await.expect(201);
}

#[on_both]
async fn racing_twins_make_one_thing(world: World) {
    let (_app, elsewhere) = world.replica().await;
    let elsewhere = elsewhere.token(crate::world::ROOT).with("idempotency-key", "k");
    let here = with_key(&world, "k");
    let before = world.count_events().await;
    let body = || json!({"name": "Racing", "slug": "racing"});
    let (one, two, three) = tokio::join!(
        here.post("/organizations", body()),
        elsewhere.post("/organizations", body()),
        here.post("/organizations", body()),
    );
    assert_eq!(one.body, two.body);
    assert_eq!(one.body, three.body);
    one.expect(201);
    assert_eq!(world.count_events().await, before + 1);
}

#[on_both]
async fn racing_twins_get_one_token(world: World) {
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    let (_app, elsewhere) = world.replica().await;
    let elsewhere = elsewhere.token(crate::world::ROOT).with("idempotency-key", "k");
    let here = with_key(&world, "k");
    let (one, two) =
        tokio::join!(here.post(&bundles, json!({})), elsewhere.post(&bundles, json!({})));
    assert_eq!(one.body, two.body);
    one.expect(201);
    let rows: i64 = world.value("SELECT COUNT(*) FROM bundles").await;
    assert_eq!(rows, 3, "the template's two and one more");
}

#[on_both]
async fn racing_for_a_slug_made_from_a_name_gives_each_its_own(world: World) {
    let (_app, elsewhere) = world.replica().await;
    let (here, elsewhere) = (world.root(), elsewhere.token(crate::world::ROOT));
    let body = || json!({"name": "Racing"});
    let (one, two) = tokio::join!(
        here.post("/organizations", body()),
        elsewhere.post("/organizations", body()),
    );
    let mut slugs = [one, two].map(|made| made.expect(201)["slug"].as_str().unwrap().to_owned());
    slugs.sort();
    assert_eq!(slugs, ["racing", "racing-1"]);
}

#[on_both]
async fn stored_answer_is_sealed(world: World) {
    let keyed = with_key(&world, "k");
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    keyed.post(&bundles, json!({})).await.expect(201);
    let stored: Vec<u8> = world.value("SELECT answer FROM idempotency_keys").await;
    assert!(!stored.windows(10).any(|window| window == b"eyJhbGciOi"), "a token lies open");
}

#[on_both]
async fn stored_answer_in_another_row_does_not_open(world: World) {
    let workspaces = world.org("/workspaces");
    let victim = json!({"name": "root", "permissions": ["*"]});
    with_key(&world, "theirs").post("/service-tokens", victim).await.expect(201);
    let own = world.by(&world.acme.token).with("idempotency-key", "mine");
    own.post(&workspaces, json!({"name": "One"})).await.expect(201);
    let count: i64 = world.value("SELECT COUNT(*) FROM workspaces").await;
    // A person who can write the database copies the answer, and then the request as well.
    for copied in [
        "UPDATE idempotency_keys SET answer =
                 (SELECT answer FROM idempotency_keys ORDER BY length(answer) DESC LIMIT 1)",
        "UPDATE idempotency_keys SET request =
                 (SELECT request FROM idempotency_keys ORDER BY length(answer) DESC LIMIT 1)",
    ] {
        world.exec(copied).await;
        let again = own.post(&workspaces, json!({"name": "One"})).await;
        assert!([409, 422].contains(&again.status), "{}", again.text());
        assert!(!again.text().contains("cpat_"), "{}", again.text());
    }
    let after: i64 = world.value("SELECT COUNT(*) FROM workspaces").await;
    assert_eq!(count, after, "what was done once is not done again");
}

#[on_both]
async fn stored_answer_of_an_earlier_version_is_refused(world: World) {
    let keyed = with_key(&world, "k");
    let workspaces = world.org("/workspaces");
    keyed.post(&workspaces, json!({"name": "One"})).await.expect(201);
    let plain = br#"{"status":201,"location":null,"body":"{}"}"#;
    let sealed = world.app.kek.seal(&world.app.random, "idempotency", plain);
    let mut tx = world.app.db.begin().await.unwrap();
    tx.q("UPDATE idempotency_keys SET answer = $1").bind(sealed.clone()).exec().await.unwrap();
    tx.commit().await.unwrap();
    let again = keyed.post(&workspaces, json!({"name": "One"})).await;
    let detail = again.refused(409, "conflict")["detail"].clone();
    assert!(detail.as_str().unwrap().contains("Idempotency-Key"), "{detail}");
    // It does not keep the key-encryption key from being changed.
    let new = Kek::new(&[9; 32]).unwrap();
    cp_server::licensing::keys::rekey::rekey(&world.app, &new).await.unwrap();
    let kept: Vec<u8> = world.value("SELECT answer FROM idempotency_keys").await;
    assert_eq!(kept, sealed);
}

fn with_key(world: &World, key: &str) -> Client {
    world.root().with("idempotency-key", key)
}
