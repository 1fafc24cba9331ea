use cp_server::kernel::app::Part;
use cp_server::licensing::keys::signer::SignerPool;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cp_contracts::LICENSE_TOKEN_MAX_BYTES;
use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn the_header_is_exactly_this(world: World) {
    let active = world.get("/signing/info").await.expect(200)["active_kid"].clone();
    for _ in 0..50 {
        let bundle = world.post(bundles(&world), json!({})).await.expect(201);
        let header = segment(bundle["token"].as_str().unwrap(), 0);
        let kid = active.as_str().unwrap();
        assert_eq!(header, format!(r#"{{"alg":"RS256","typ":"license+jwt","kid":"{kid}"}}"#));
    }
}

#[on_both]
async fn a_token_verifies_by_the_published_half_alone(world: World) {
    let bundle = world.post(bundles(&world), json!({})).await.expect(201);
    let token = bundle["token"].as_str().unwrap();
    let keys = world.anyone().get("/.well-known/jwks.json").await.expect(200);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2, "one signs, and one is next");
    let key = keys["keys"][0].as_object().unwrap();
    let members: Vec<&str> = key.keys().map(String::as_str).collect();
    assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use"], "nothing private");
    let verifier = dp_verifier::Verifier::builder()
        .issuer(crate::world::ISSUER)
        .audience(crate::world::AUDIENCE)
        .jwks(keys.to_string())
        .build()
        .unwrap();
    let now = crate::world::now().timestamp();
    verifier.verify_at(token, now).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let bent = format!(
        "{signed}.{}{}",
        if signature.starts_with('A') { "B" } else { "A" },
        &signature[1..]
    );
    assert_eq!(verifier.verify_at(&bent, now).unwrap_err().code().as_str(), "signature_invalid");
}

#[on_both]
async fn claims_that_a_data_plane_would_refuse_are_never_signed(world: World) {
    // As deep as a request may be; inside the claims it is deeper than a verifier reads.
    let deep = format!("{}1{}", "[".repeat(62), "]".repeat(62));
    let deep: Value = serde_json::from_str(&deep).unwrap();
    let license = format!("/licenses/{}", world.acme.license);
    world.patch(&license, json!({"features": {"deep": deep}})).await.expect(200);
    let before: i64 = world.value("SELECT COUNT(*) FROM bundles").await;
    let problem = world.post(bundles(&world), json!({})).await.refused(422, "invalid");
    assert_eq!(problem["field"], "features", "{problem}");
    assert_eq!(world.value::<i64>("SELECT COUNT(*) FROM bundles").await, before);
}

#[on_both]
async fn no_two_tokens_share_an_id_and_each_is_recorded(world: World) {
    let mut ids = std::collections::HashSet::new();
    for _ in 0..20 {
        let bundle = world.post(bundles(&world), json!({})).await.expect(201);
        assert!(ids.insert(bundle["jti"].clone()));
        let row = world.get(format!("/bundles/{}", bundle["jti"].as_str().unwrap())).await;
        assert_eq!(row.expect(200)["bundle_hash"], bundle["bundle_hash"]);
        assert_eq!(bundle["payload"]["jti"], bundle["jti"]);
    }
}

#[on_both]
async fn a_token_leaves_after_its_row_is_written_or_not_at_all(world: World) {
    world.exec("ALTER TABLE bundles RENAME TO lost").await;
    let answer = world.post(bundles(&world), json!({})).await;
    assert!(!answer.text().contains("eyJhbGciOi"), "{}", answer.text());
    answer.refused(500, "internal");
    let ids = json!({"ids": [world.acme.license]});
    let answer = world.post("/licenses/bundles", ids).await;
    assert!(!answer.text().contains("eyJhbGciOi"), "{}", answer.text());
    assert!(answer.text().contains(r#""ok":false"#), "{}", answer.text());
}

#[on_both]
async fn an_issuance_and_a_revocation_at_once_leave_no_valid_bundle(world: World) {
    // In either order.
    let (_app, elsewhere) = world.replica().await;
    let elsewhere = elsewhere.token(crate::world::ROOT);
    let revoke = format!("/licenses/{}/revoke", world.acme.license);
    let path = bundles(&world);
    let (issued, revoked) =
        tokio::join!(world.post(&path, json!({})), elsewhere.post(&revoke, json!({})),);
    revoked.expect(200);
    if issued.status != 201 {
        issued.refused(409, "license_revoked");
    }
    let valid = "SELECT COUNT(*) FROM bundles WHERE status = 'valid'";
    assert_eq!(world.value::<i64>(valid).await, 1, "the other organization's");
}

#[on_both]
async fn a_token_that_would_not_fit_into_a_header_is_refused(world: World) {
    let license = format!("/licenses/{}", world.acme.license);
    let features = |bytes: usize| json!({"features": {"banner": "x".repeat(bytes), "small": 1}});
    world.patch(&license, features(100)).await.expect(200);
    let small = world.post(bundles(&world), json!({})).await.expect(201);
    let room = LICENSE_TOKEN_MAX_BYTES - small["token"].as_str().unwrap().len();
    // Three bytes of claims are four characters of the token.
    let most = 100 + room * 3 / 4;
    world.patch(&license, features(most)).await.expect(200);
    let largest = world.post(bundles(&world), json!({})).await.expect(201);
    assert!(largest["token"].as_str().unwrap().len() <= LICENSE_TOKEN_MAX_BYTES);
    world.patch(&license, features(most + 2)).await.expect(200);
    let problem = world.post(bundles(&world), json!({})).await.refused(422, "token_too_large");
    let members = problem["largest_members"].as_array().unwrap();
    assert!(members.iter().any(|m| m["member"] == "features.banner"), "{problem}");
    assert!(!problem.to_string().contains("xxxx"), "a problem does not repeat the data");
}

#[tokio::test]
async fn too_many_signatures_are_refused_and_everything_else_goes_on() {
    const QUEUED_PER_THREAD: usize = 1024;
    let world = World::on_sqlite().await;
    let (open, gate) = channel::<()>();
    let (gate, entered) = (Arc::new(Mutex::new(gate)), Arc::new(AtomicUsize::new(0)));
    let queued = Arc::new(AtomicUsize::new(0));
    let wait = || {
        let (app, gate, entered) = (world.app.clone(), gate.clone(), entered.clone());
        let queued = queued.clone();
        tokio::spawn(async move {
            // The work is in the queue before this task gives way.
            queued.fetch_add(1, Ordering::SeqCst);
            let work = move || {
                entered.fetch_add(1, Ordering::SeqCst);
                // An error once the other end is gone: that is the signal.
                let _ = gate.lock().unwrap().recv();
                Ok(())
            };
            SignerPool::of(&app).run(work).await
        })
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut waiting: Vec<_> = (0..threads).map(|_| wait()).collect();
    while entered.load(Ordering::SeqCst) < threads {
        tokio::task::yield_now().await;
    }
    waiting.extend((0..threads * QUEUED_PER_THREAD).map(|_| wait()));
    while queued.load(Ordering::SeqCst) < threads * (QUEUED_PER_THREAD + 1) {
        tokio::task::yield_now().await;
    }

    let refused = world.post(bundles(&world), json!({})).await;
    assert_eq!(refused.header("retry-after"), "1");
    refused.refused(503, "unavailable");
    world.get("/users/whoami?provider=auth0&subject=auth0%7Cmats-acme").await.expect(200);
    drop(open);
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    world.post(bundles(&world), json!({})).await.expect(201);
}

#[tokio::test]
async fn a_signing_thread_survives_a_panic() {
    let world = World::on_sqlite().await;
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    for _ in 0..=threads {
        let failed = SignerPool::of(&world.app).run::<()>(|| panic!("on purpose")).await;
        assert_eq!(failed.unwrap_err().code().as_str(), "internal");
    }
    world.post(bundles(&world), json!({})).await.expect(201);
}

fn bundles(world: &World) -> String {
    format!("/licenses/{}/bundles", world.acme.license)
}

/// A segment of a token, decoded.
fn segment(token: &str, which: usize) -> String {
    let text = token.split('.').nth(which).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}
