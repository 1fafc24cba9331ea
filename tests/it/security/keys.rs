use axum::http::Method;
use cp_server::Settings;
use cp_server::kernel::app::Part;
use cp_server::kernel::clock::{Clock, Random};
use cp_server::kernel::secret::Kek;
use cp_server::licensing::keys::keyring::Keyring;
use serde_json::json;

use crate::world::{AUDIENCE, ISSUER, World, now, on_both};

const JWKS: [&str; 2] = ["/.well-known/jwks.json", "/api/v1/.well-known/jwks.json"];

#[on_both]
async fn the_key_set_is_the_same_everywhere_and_cacheable(world: World) {
    let (_app, replica) = world.replica().await;
    let mut seen = Vec::new();
    for client in [world.anyone(), replica] {
        for path in JWKS {
            let answer = client.call(Method::GET, path, None).await;
            assert_eq!(answer.header("content-type"), "application/jwk-set+json");
            let cache = answer.header("cache-control");
            assert!(cache.starts_with("public, max-age=300"), "{cache}");
            assert_eq!(answer.header("access-control-allow-origin"), "*");
            let tag = answer.header("etag").to_owned();
            let again = client.clone().with("if-none-match", &tag);
            let again = again.call(Method::GET, path, None).await;
            assert_eq!((again.status, again.body.len()), (304, 0));
            seen.push((tag, answer.body));
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
}

#[on_both]
async fn without_its_database_it_still_publishes_its_keys(world: World) {
    let root = world.root();
    root.get("/me").await.expect(200);
    world.lose_database().await;
    for path in JWKS {
        assert_eq!(world.anyone().call(Method::GET, path, None).await.status, 200);
    }
    let health = world.anyone().call(Method::GET, "/healthz", None).await;
    assert_eq!(health.status, 200);
    let ready = world.anyone().call(Method::GET, "/readyz", None).await;
    assert_eq!(ready.header("retry-after"), "5");
    ready.refused(503, "unavailable");
    let write = root.post(world.org("/deployments"), json!({"name": "x", "type": "demo"})).await;
    assert_eq!(write.header("retry-after"), "5");
    write.refused(503, "unavailable");
    let unknown = world.by("some-other-credential").get("/me").await;
    unknown.refused(503, "unavailable");
}

#[on_both]
async fn another_key_encryption_key_refuses_to_start(world: World) {
    let before: i64 = world.value("SELECT COUNT(*) FROM signing_keys").await;
    let (clock, _) = Clock::manual(now());
    let settings = Settings::new(ISSUER, AUDIENCE);
    let kek = Kek::new(&[8; 32]).unwrap();
    let other = cp_server::app_with(
        crate::world::operations,
        world.app.db.clone(),
        clock,
        Random::seeded(9),
        kek,
        settings,
    );
    let error = format!("{:#}", cp_server::migrate(&other).await.unwrap_err());
    assert!(error.contains("CP_KEY_ENCRYPTION_KEY"), "{error}");
    let error = format!("{:#}", Keyring::of(&other).refresh(&other).await.unwrap_err());
    assert!(error.contains("does not open"), "{error}");
    let after: i64 = world.value("SELECT COUNT(*) FROM signing_keys").await;
    assert_eq!(before, after, "no new key in place of one that cannot be read");
}

#[on_both]
async fn a_private_key_lies_sealed_and_bound_to_its_row(world: World) {
    let sealed: Vec<u8> = world.value("SELECT sealed FROM signing_keys LIMIT 1").await;
    // PKCS#8 names the algorithm in clear: rsaEncryption, 1.2.840.113549.1.1.1.
    let oid = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    assert!(!sealed.windows(oid.len()).any(|window| window == oid));
    world.exec("DELETE FROM bundles").await;
    world.exec("UPDATE signing_keys SET kid = 'other' WHERE state = 'active'").await;
    let (app, _) = {
        let app = crate::world::app(world.app.db.clone(), Clock::following(&world.clock), 5);
        (app, ())
    };
    let error = format!("{:#}", Keyring::of(&app).refresh(&app).await.unwrap_err());
    assert!(error.contains("signing_keys.sealed of other"), "{error}");
}

#[on_both]
async fn keys_are_listed_without_private_members(world: World) {
    let list = world.get("/signing/keys").await.expect(200);
    let keys = list["items"].as_array().unwrap();
    let key = keys.iter().find(|key| key["state"] == "active").unwrap();
    let key = key.as_object().unwrap();
    let members: Vec<&str> = key.keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "activate_at",
            "activated_at",
            "algorithm",
            "bits",
            "created_at",
            "kid",
            "not_before",
            "published_at",
            "reason",
            "retired_at",
            "service_key",
            "state",
        ]
    );
    let info = world.get("/signing/info").await.expect(200);
    assert_eq!(
        info,
        json!({
            "issuer": ISSUER, "active_kid": key["kid"], "algorithm": "RS256",
            "jwks_uri": format!("{ISSUER}/api/v1/.well-known/jwks.json"),
            "jwks_max_age_seconds": 300, "keys": {"active": 1, "published": 1},
            "next_rotation_at": "2026-04-01T00:00:00Z",
        })
    );
}
