use chrono::TimeDelta;
use cp_contracts::LicenseBundleResponse;
use dp_verifier::{Limit, Verifier};
use serde_json::{Value, json};

use crate::world::{AUDIENCE, ISSUER, World, now, on_both};

#[on_both]
async fn a_bundle_holds_all_that_a_data_plane_needs(world: World) {
    let answer = world.post(bundles(&world), json!({})).await;
    let location = answer.header("location").to_owned();
    let bundle = answer.expect(201);
    assert_eq!(location, format!("/api/v1/bundles/{}", bundle["jti"].as_str().unwrap()));
    let plan = world.get("/plans/team").await.expect(200);
    let (features, limits) = (&plan["features"], &plan["limits"]);
    let idx = &bundle["payload"]["status"]["status_list"]["idx"];
    let uri = format!("{ISSUER}/api/v1/status-lists/{}", world.acme.status_list);
    let (issued, expires) = (now(), now() + TimeDelta::days(30));
    assert_eq!(
        {
            let mut bundle = world.named(&bundle);
            for opaque in ["token", "bundle_hash", "key_id"] {
                assert!(bundle.as_object_mut().unwrap().remove(opaque).unwrap().is_string());
            }
            bundle
        },
        json!({
            "license_id": "<acme's license>", "jti": "<1>", "algorithm": "RS256",
            "issued_at": issued, "expires_at": expires,
            "payload": {
                "iss": ISSUER, "aud": AUDIENCE, "sub": "<acme's deployment>", "jti": "<1>",
                "iat": issued.timestamp(), "nbf": issued.timestamp(),
                "exp": expires.timestamp(),
                "license": {
                    "license_id": "<acme's license>", "seat_cap": 20,
                    "features": features, "limits": limits,
                    "organization": {
                        "id": "<acme's org>", "name": "Acme", "slug": "acme",
                        "status": "active",
                    },
                    "deployment": {
                        "id": "<acme's deployment>", "name": "main", "type": "cloud",
                        "region": "eu", "status": "active",
                    },
                    "subscription": {
                        "id": "<acme's subscription>", "status": "active", "seat_cap": 20,
                        "starts_at": bundle["payload"]["license"]["subscription"]["starts_at"],
                    },
                    "plan": {"code": "team", "name": "Team", "default_features": features},
                    "leasing": {"seats": {"kind": "seat", "cap": 20}},
                },
                "cp_base_url": ISSUER, "rbac_endpoint": format!("{ISSUER}/api/v1/users/whoami"),
                "status": {"status_list": {"idx": idx, "uri": uri}},
                "enforcement": {
                    "status_max_age": 604_800, "on_stale": "degrade", "grace_seconds": 0,
                },
                "contract": cp_contracts::CONTRACT_VERSION,
            },
        })
    );
    serde_json::from_value::<LicenseBundleResponse>(bundle).unwrap();
}

#[on_both]
async fn a_data_plane_accepts_the_token_while_the_authority_is_gone(world: World) {
    let patch = json!({"features": {"sso": true}, "seat_cap": 4});
    world.patch(format!("/licenses/{}", world.acme.license), patch).await.expect(200);
    let bundle = world.post(bundles(&world), json!({})).await.expect(201);
    let keys = world.anyone().get("/.well-known/jwks.json").await;
    world.lose_database().await;
    let verifier = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(keys.body.to_vec());
    let verifier = verifier.build().unwrap();
    let license = verifier.verify_at(bundle["token"].as_str().unwrap(), now().timestamp());
    let license = license.unwrap();
    assert_eq!(license.license_id().to_string(), world.acme.license);
    assert_eq!(license.token_id().to_string(), bundle["jti"].as_str().unwrap());
    assert_eq!(license.deployment().id.to_string(), world.acme.deployment);
    assert_eq!((license.seat_cap(), license.has_feature("sso")), (4, true));
    assert_eq!(license.limit("projects"), Limit::AtMost(50));
    assert_eq!(json!(license.claims()), bundle["payload"]);
}

#[on_both]
async fn a_lifetime_is_asked_for_within_bounds(world: World) {
    let ask = |ttl: Value| json!({"ttl_seconds": ttl});
    for ttl in [json!(3599), json!(0), json!(-1), json!(315_360_001), json!("1h"), json!(3600.5)] {
        world.post(bundles(&world), ask(ttl)).await.invalid("ttl_seconds");
    }
    for ttl in [3600, 315_360_000] {
        let bundle = world.post(bundles(&world), ask(json!(ttl))).await.expect(201);
        assert_eq!(bundle["expires_at"], json!(now() + TimeDelta::seconds(ttl)));
    }
}

#[on_both]
async fn a_token_never_outlives_its_license_and_subscription(world: World) {
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    let end = json!({"ends_at": "2026-01-12T00:00:00Z"});
    world.patch(subscription, end).await.expect(200);
    let license = format!("/licenses/{}", world.acme.license);
    let end = json!({"valid_until": "2026-01-05T00:00:00.9Z"});
    world.patch(&license, end).await.expect(200);
    let bundle = world.post(bundles(&world), json!({})).await.expect(201);
    assert_eq!(bundle["expires_at"], "2026-01-05T00:00:00Z", "cut to fit, to the whole second");
    let ask = json!({"ttl_seconds": 3 * 86_400 + 1});
    let problem = world.post(bundles(&world), ask).await.invalid("ttl_seconds");
    assert_eq!(problem["max_ttl_seconds"], 3 * 86_400);
    world.patch(&license, json!({"grace_days": 2})).await.expect(200);
    let bundle = world.post(bundles(&world), json!({})).await.expect(201);
    assert_eq!(bundle["expires_at"], "2026-01-07T00:00:00Z", "the days of grace count");
    let most = json!({"valid_until": "2026-01-12T00:00:00Z", "grace_days": 0});
    world.patch(&license, most).await.expect(200);
    let bundle = world.post(bundles(&world), json!({})).await.expect(201);
    assert_eq!(bundle["expires_at"], "2026-01-12T00:00:00Z");
}

#[on_both]
async fn dates_are_whole_seconds_and_never_ahead(world: World) {
    world.pass(TimeDelta::microseconds(999_999));
    let bundle = world.post(bundles(&world), json!({})).await.expect(201);
    let claims = &bundle["payload"];
    assert_eq!(claims["iat"], now().timestamp());
    assert_eq!(claims["nbf"], claims["iat"]);
    assert!(claims["exp"].as_i64() > claims["nbf"].as_i64());
}

#[on_both]
async fn an_audience_may_be_another(world: World) {
    let bundle = world.post(bundles(&world), json!({"audience": "edge"})).await.expect(201);
    assert_eq!(bundle["payload"]["aud"], "edge");
    let row = format!("/bundles/{}", bundle["jti"].as_str().unwrap());
    assert_eq!(world.get(row).await.expect(200)["audience"], "edge");
    world.post(bundles(&world), json!({"audience": ""})).await.invalid("audience");
    world.post(bundles(&world), json!({"audience": ["a"]})).await.invalid("audience");
}

#[on_both]
async fn a_bundle_is_recorded_and_its_token_never_shown_again(world: World) {
    world.pass(TimeDelta::seconds(1));
    let bundle = world.post(bundles(&world), json!({})).await.expect(201);
    let list = world.get(bundles(&world)).await.expect(200);
    let row = list["items"][0].clone();
    assert_eq!(
        row,
        json!({
            "id": bundle["jti"], "organization_id": world.acme.org,
            "license_id": world.acme.license, "key_id": bundle["key_id"],
            "audience": AUDIENCE, "bundle_hash": bundle["bundle_hash"], "status": "valid",
            "status_reason": null, "issued_at": bundle["issued_at"],
            "expires_at": bundle["expires_at"], "revoked_at": null,
        })
    );
    let path = format!("/bundles/{}", bundle["jti"].as_str().unwrap());
    assert_eq!(world.get(path).await.expect(200), row);
    let license = world.get(format!("/licenses/{}", world.acme.license)).await.expect(200);
    assert_eq!(license["bundle_hash"], bundle["bundle_hash"]);
    assert_eq!(license["key_id"], bundle["key_id"]);
    let audit = world.get("/audit?limit=500").await.expect(200);
    for read in [&list, &row, &license, &audit] {
        assert!(!read.to_string().contains("eyJhbGciOi"), "{read}");
    }
}

#[on_both]
async fn bundle_revoked_stays_revoked(world: World) {
    let path = format!("/bundles/{}", world.acme.bundle);
    let why = json!({"reason": "leaked"});
    let revoked = world.post(format!("{path}/revoke"), why).await.expect(200);
    assert_eq!(
        (&revoked["status"], &revoked["status_reason"], &revoked["revoked_at"]),
        (&json!("revoked"), &json!("leaked"), &json!("2026-01-02T00:00:00Z"))
    );
    world.pass(TimeDelta::seconds(1));
    let again = json!({"reason": "again"});
    assert_eq!(world.post(format!("{path}/revoke"), again).await.expect(200), revoked);
    for action in ["suspend", "reinstate"] {
        let path = format!("/licenses/{}/{action}", world.acme.license);
        world.post(path, json!({})).await.expect(200);
    }
    assert_eq!(world.get(path).await.expect(200), revoked, "a reinstated license brings none back");
    let list = world.get(bundles(&world) + "?status=valid").await.expect(200);
    assert_eq!(list["items"], json!([]));
}

fn bundles(world: &World) -> String {
    format!("/licenses/{}/bundles", world.acme.license)
}
