//! Organizations' own providers: each vouches for its own organization, and asks nothing inside.

use chrono::TimeDelta;
use serde_json::json;

use super::{mats, me, reason, trusting};
use crate::world::issuer::Issuer;
use crate::world::{World, on_both};

#[on_both]
async fn an_organizations_provider_vouches_within_it_alone(world: World) {
    let issuer = Issuer::start().await;
    world
        .put(
            world.org("/identity-providers/auth0"),
            issuer.body(json!({
                "claim_map": {"superadmin": "is_super_admin", "superadmin_roles": ["root"]},
            })),
        )
        .await
        .expect(201);
    let boss = mats(json!({"is_super_admin": true, "roles": ["root", "SUPERADMIN"]}));
    let token = issuer.token(boss);
    let client = world.by(&token);
    assert_eq!(client.get("/me").await.expect(200)["organization_id"], json!(world.acme.org));
    client.get(world.org("")).await.expect(200);
    client.get("/organizations/globex").await.refused(404, "not_found");
    let own = client.get("/organizations").await.expect(200);
    assert_eq!(own["items"].as_array().unwrap().len(), 1, "{own}");
    client.get("/users").await.refused(403, "forbidden");
    // Another organization's people, whatever the token says.
    let globex = json!({"sub": "auth0|mats-globex", "org_id": world.globex.org});
    me(&world.anyone(), &issuer.token(globex)).await.refused(403, "forbidden");
    // The issuer is acme's, not globex's.
    let disabled = issuer.body(json!({"status": "disabled"}));
    world.put(world.org("/identity-providers/auth0"), disabled).await.expect(200);
    let detail = reason(client.get("/me").await);
    assert!(detail.contains("is not that of the identity provider here"), "{detail}");
    world.delete(world.org("/identity-providers/auth0")).await.expect(204);
    let detail = reason(client.get("/me").await);
    assert!(detail.contains("is not trusted here"), "{detail}");
}

#[on_both]
async fn organizations_that_share_an_issuer_are_distinguished(world: World) {
    let issuer = Issuer::start().await;
    let at = |org: &str| format!("/organizations/{org}/identity-providers/auth0");
    let of_globex = json!({"audience": "globex-api"});
    world.put(at(&world.acme.org), issuer.body(json!({}))).await.expect(201);
    world.put(at(&world.globex.org), issuer.body(of_globex)).await.expect(201);
    let organization = async |claims: serde_json::Value| {
        let found = me(&world.anyone(), &issuer.token(claims)).await.expect(200);
        found["organization_id"].as_str().unwrap().to_owned()
    };
    let globex = json!({"sub": "auth0|mats-globex", "aud": "globex-api"});
    assert_eq!(organization(mats(json!({}))).await, world.acme.org);
    assert_eq!(organization(globex).await, world.globex.org);

    // With one audience, it is the organization's name in the token.
    world.put(at(&world.globex.org), issuer.body(json!({}))).await.expect(200);
    world.patch("/organizations/globex", json!({"external_id": "900"})).await.expect(200);
    for name in [&*world.globex.org, "900"] {
        let claims = json!({"sub": "auth0|mats-globex", "org_id": name});
        assert_eq!(organization(claims).await, world.globex.org);
    }
    assert_eq!(organization(mats(json!({"org_id": world.acme.org}))).await, world.acme.org);
    // Or else the one that the person is in: no organization locks another's people out.
    assert_eq!(organization(mats(json!({}))).await, world.acme.org);
    let globex = json!({"sub": "auth0|mats-globex"});
    assert_eq!(organization(globex).await, world.globex.org);
    let unlinked = issuer.token(json!({"sub": "auth0|unlinked"}));
    let detail = reason(me(&world.anyone(), &unlinked).await);
    assert!(detail.contains("several organizations have this issuer and audience"), "{detail}");
    // A name of no organization decides nothing.
    assert_eq!(organization(mats(json!({"org_id": "x"}))).await, world.acme.org);

    // An organization that names the same issuer does not get the platform's own tokens.
    let (_, client) = trusting(&world, &issuer);
    let claims = mats(json!({"org_id": "globex"}));
    let found = me(&client, &issuer.token(claims)).await.expect(200);
    assert_eq!(found["user_id"], json!(world.acme.user));
    client.token(&issuer.token(mats(json!({})))).get(world.org("")).await.expect(200);
}

#[on_both]
async fn an_organizations_keys_are_its_own_affair(world: World) {
    let (issuer, evil) = (Issuer::start().await, Issuer::start().await);
    let stolen = issuer.body(json!({"jwks_uri": format!("{}/keys", evil.url)}));
    world.put("/organizations/globex/identity-providers/auth0", stolen).await.expect(201);
    let (_, client) = trusting(&world, &issuer);
    let good = issuer.token(mats(json!({})));
    me(&client, &good).await.expect(200);
    // Globex says that its keys are the issuer's: the platform's provider does not hear it.
    let forged = evil.key().sign(json!({}), &issuer.claims(mats(json!({}))));
    let detail = reason(me(&client, &forged).await);
    assert!(detail.contains("has no key"), "{detail}");
    // Where only globex has the issuer, it is good for globex.
    let problem = me(&world.anyone(), &forged).await.refused(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("No user is linked"));
    let own = json!({"sub": "auth0|mats-globex"});
    let own = evil.key().sign(json!({}), &issuer.claims(own));
    let found = me(&world.anyone(), &own).await.expect(200);
    assert_eq!(found["organization_id"], json!(world.globex.org));
}

#[on_both]
async fn no_organization_makes_the_server_look_around_inside(world: World) {
    let issuer = Issuer::start().await;
    let port = issuer.url.rsplit(':').next().unwrap().to_owned();
    let strict = || world.server(|settings| settings.identity.fetch.allow_loopback = false).1;
    for (bad, why) in [
        (issuer.url.clone(), "is not an https URL"),
        (format!("https://127.0.0.1:{port}"), "its address is not public"),
        (format!("https://localhost:{port}"), "its address is not public"),
        (format!("https://[::1]:{port}"), "its address is not public"),
        (format!("https://[::ffff:127.0.0.1]:{port}"), "its address is not public"),
        ("https://10.0.0.1".into(), "its address is not public"),
        ("https://192.168.1.1:8443".into(), "its address is not public"),
        ("https://169.254.169.254".into(), "its address is not public"),
        ("https://2130706433".into(), "its address is not public"),
        ("https://0x7f.1".into(), "its address is not public"),
        ("https://user:pass@example.com".into(), "must not contain a user"),
    ] {
        let provider = json!({"type": "oidc", "issuer": bad, "audience": "a"});
        let path = world.org("/identity-providers/inside");
        let answer = world.put(&path, provider).await;
        assert!([200, 201].contains(&answer.status), "{bad}: {}", answer.text());
        let token = issuer.token(mats(json!({"iss": bad, "aud": "a"})));
        let problem = me(&strict(), &token).await.refused(503, "unavailable");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(why), "{bad}: {detail}");
    }
    assert_eq!(issuer.asked_for_keys(), 0);

    // The keys' address is looked at like the issuer's.
    let elsewhere = json!({"jwks_uri": "https://192.168.0.1/keys"});
    let path = world.org("/identity-providers/auth0");
    world.put(&path, issuer.body(elsewhere)).await.expect(201);
    let problem =
        me(&world.anyone(), &issuer.token(mats(json!({})))).await.refused(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("its address is not public"), "{problem}");

    // An operator may allow a host: then it is asked, and fails for its own reasons.
    let provider =
        json!({"type": "oidc", "issuer": format!("https://localhost:{port}"), "audience": "a"});
    world.put(world.org("/identity-providers/inside"), provider).await.expect(200);
    let (_, allowed) = world.server(|settings| {
        settings.identity.fetch.allow_loopback = false;
        settings.identity.fetch.allowed_hosts = vec!["localhost".into()];
    });
    let token = issuer.token(mats(json!({"iss": format!("https://localhost:{port}"), "aud": "a"})));
    let problem = me(&allowed, &token).await.refused(503, "unavailable");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("cannot be read") && !detail.contains("public"), "{detail}");
}

#[on_both]
async fn a_person_who_is_deactivated_on_one_replica_is_refused_on_the_others(world: World) {
    let issuer = Issuer::start().await;
    let (_, here) = trusting(&world, &issuer);
    let (_, there) = trusting(&world, &issuer);
    let token = issuer.token(mats(json!({})));
    me(&here, &token).await.expect(200);
    me(&there, &token).await.expect(200);
    let user = format!("/users/{}", world.acme.user);
    let root = here.clone().token(crate::world::ROOT);
    root.patch(&user, json!({"is_active": false})).await.expect(200);
    me(&here, &token).await.refused(403, "forbidden");
    world.pass(TimeDelta::seconds(3));
    me(&there, &token).await.refused(403, "forbidden");
    root.patch(&user, json!({"is_active": true})).await.expect(200);
    me(&here, &token).await.expect(200);
    // An identity that is unlinked here belongs to no user.
    root.delete(format!("/auth-accounts/{}", world.acme.auth_account)).await.expect(204);
    me(&here, &token).await.refused(403, "forbidden");
    world.pass(TimeDelta::seconds(3));
    me(&there, &token).await.refused(403, "forbidden");
}

#[on_both]
async fn claim_map_malformed_is_refused_when_set(world: World) {
    let path = world.org("/identity-providers/x");
    let body = |over: serde_json::Value| {
        let mut body = json!({"type": "oidc", "issuer": "https://x.example"});
        for (name, value) in over.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    for (over, field) in [
        (json!({"claim_map": {"roles": {"a": "b"}}}), "claim_map.roles"),
        (json!({"claim_map": {"organization": [1]}}), "claim_map.organization"),
        (json!({"claim_map": {"role_prefix": ["a", "b"]}}), "claim_map.role_prefix"),
        (json!({"role_map": {"boss": 1}}), "role_map.boss"),
    ] {
        world.put(&path, body(over)).await.invalid(field);
    }
    let fine =
        json!({"claim_map": {"roles": ["a", "/b/c"], "email": "mail"}, "role_map": {"a": ["B"]}});
    world.put(&path, body(fine)).await.expect(201);
}
