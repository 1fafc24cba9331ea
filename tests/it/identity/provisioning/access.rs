//! Who may provision, with whose credentials, and what is refused before the provider is asked.

use cp_server::identity::oidc::provider::Provider;
use serde_json::{Value, json};

use super::{owner, path, provision, ran, run, zitadel};
use crate::world::zitadel::{PROJECT, SERVICE_SECRET, SERVICE_USER, TOKEN, Zitadel};
use crate::world::{ROOT, World, on_both};

#[on_both]
async fn settings_that_prevent_a_run_are_refused_by_their_field(world: World) {
    let missing = world.org("/identity-providers/missing/provision");
    world.post(&missing, json!({})).await.refused(404, "not_found");
    world.get(&missing).await.refused(404, "not_found");
    let zitadel = zitadel(&world, json!({})).await;
    let set = async |over: Value| {
        world.put(path(&world), zitadel.body(over)).await.expect(200);
        world.get(provision(&world)).await
    };
    set(json!({"type": "oidc"})).await.invalid("type");
    run(&world, json!({})).await.invalid("type");
    set(json!({"claim_map": {"organization_id": "900"}})).await.invalid("claim_map.project_id");
    run(&world, json!({})).await.invalid("claim_map.project_id");
    set(json!({"claim_map": {"project_id": "é"}})).await.invalid("claim_map.project_id");
    set(json!({"role_map": {}})).await.invalid("role_map");
    run(&world, json!({})).await.invalid("role_map");
    set(json!({"management": null})).await.expect(200);
    run(&world, json!({})).await.invalid("management");
    // Roles need no organization at the provider, grants do.
    let management = json!({"client_id": SERVICE_USER, "secret": SERVICE_SECRET});
    let over = json!({"claim_map": {"project_id": PROJECT}, "management": management});
    set(over).await.expect(200);
    run(&world, json!({})).await.invalid("claim_map.organization_id");
    assert!(zitadel.recorded().is_empty(), "the provider was not asked");
    ran(&world, json!({"grants": []})).await;
}

#[on_both]
async fn fields_of_a_run_are_checked(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    let long = "x".repeat(201);
    for (body, field) in [
        (json!({"roles": "all"}), "roles"),
        (json!({"grants": "owners"}), "grants"),
        (json!({"grants": 7}), "grants"),
        (json!({"roles": [{"key": "a"}]}), "roles[0].display_name"),
        (json!({"roles": [{"key": "", "display_name": "A"}]}), "roles[0].key"),
        (json!({"roles": [{"key": long, "display_name": "A"}]}), "roles[0].key"),
        (json!({"roles": [{"key": "x".repeat(198), "display_name": "A"}]}), "roles[0].key"),
        (
            json!({"roles": [{"key": "a", "display_name": "A"}, {"key": "a", "display_name": "B"}]}),
            "roles[1].key",
        ),
        (json!({"grants": [{"role_keys": ["a"]}]}), "grants[0]"),
        (
            json!({"grants": [{"email": "a@b", "provider_user_id": "1", "role_keys": ["a"]}]}),
            "grants[0]",
        ),
        (json!({"grants": [{"email": "a@b", "role_keys": []}]}), "grants[0].role_keys"),
        (
            json!({"grants": [{"provider_user_id": "..", "role_keys": ["a"]}]}),
            "grants[0].provider_user_id",
        ),
        (json!({"users": {"a@b": "\u{202e}"}}), "users.…"),
        (json!({"default_role_keys": vec!["a"; 101]}), "default_role_keys"),
        (json!({"prune_all": true}), "prune_all"),
    ] {
        run(&world, body).await.invalid(field);
    }
    for stranger in [&world.globex.owner, &world.acme.stranger] {
        let body = json!({"grants": [{"user_id": stranger, "role_keys": ["a"]}]});
        let problem = run(&world, body).await.refused(404, "not_found");
        assert_eq!(problem["field"], "grants[0].user_id");
    }
    assert!(zitadel.recorded().is_empty());
}

#[on_both]
async fn owners_provision_with_their_own_credentials(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    let outcome = owner(&world).post(provision(&world), json!({})).await.expect(200);
    assert_eq!(outcome["summary"]["done"], 4);
    let admin = world.person("auth0|mats-acme");
    admin.post(provision(&world), json!({})).await.refused(403, "forbidden");
    admin.get(provision(&world)).await.refused(403, "forbidden");
    // The permission alone is not that of an owner: roles of the provider give rights here.
    let lesser = world.with_only(&["providers:write"]).await;
    zitadel.recorded();
    lesser.post(provision(&world), json!({"dry_run": true})).await.refused(403, "forbidden");
    assert!(zitadel.recorded().is_empty());
}

/// A provider of the platform at this Zitadel, with access to its management API.
fn of_platform(zitadel: &Zitadel, over: Value) -> Provider {
    let body = zitadel.body(over);
    Provider::of_platform("platform", serde_json::from_value(body).unwrap()).unwrap()
}

#[on_both]
async fn platforms_access_is_for_callers_of_the_platform_only(world: World) {
    // The audience of the platform's provider is its own.
    let zitadel = zitadel(&world, json!({"management": null, "audience": "acme"})).await;
    let (_, server) = world.server(|settings| {
        settings.identity.providers =
            vec![of_platform(&zitadel, json!({"management": {"secret": TOKEN}}))];
    });
    let root = server.clone().token(ROOT);
    let listed = root.get("/identity-providers").await.expect(200);
    assert_eq!(listed["items"][0]["has_management"], true);
    let own = server.clone().token(&world.acme.token);
    own.get(provision(&world)).await.expect(200);
    let problem = own.post(provision(&world), json!({})).await.refused(403, "forbidden");
    assert_eq!(problem["field"], "management");
    // A caller with another permission on the platform is none of its callers here.
    let reader = json!({"name": "r", "permissions": ["providers:read"]});
    let reader = world.post("/service-tokens", reader).await.expect(201);
    let reader = server.token(reader["token"].as_str().unwrap());
    reader.post(provision(&world), json!({})).await.refused(403, "forbidden");
    assert!(zitadel.recorded().is_empty());
    let outcome = root.post(provision(&world), json!({})).await.expect(200);
    assert_eq!(outcome["summary"]["done"], 4);

    // Without access of the platform's provider there is none.
    let (_, server) = world.server(|settings| {
        settings.identity.providers = vec![of_platform(&zitadel, json!({"management": null}))];
    });
    let root = server.token(ROOT);
    root.post(provision(&world), json!({})).await.invalid("management");
    let listed = root.get("/identity-providers").await.expect(200);
    assert_eq!(listed["items"][0]["has_management"], false);
}

#[on_both]
async fn superadmins_alone_grant_the_role_of_superadmins(world: World) {
    let zitadel = zitadel(
        &world,
        json!({"audience": "acme", "claim_map": {
            "project_id": PROJECT, "organization_id": "900",
        }}),
    )
    .await;
    zitadel.set(|inner| inner.known.add_role("super_admin"));
    let (_, server) = world.server(|settings| {
        settings.identity.providers = vec![of_platform(&zitadel, json!({"management": null}))];
    });
    let grants = json!([{"provider_user_id": "71", "role_keys": ["super_admin"]}]);
    let body = json!({"roles": [], "grants": grants});
    let own = server.clone().token(&world.acme.token);
    let problem = own.post(provision(&world), body.clone()).await.refused(403, "forbidden");
    assert_eq!(problem["field"], "grants");
    server.token(ROOT).post(provision(&world), body).await.expect(200);
    zitadel.set(|inner| assert_eq!(inner.known.keys_of("71"), ["super_admin"]));
}

#[on_both]
async fn management_is_kept_replaced_and_removed(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    let shown = async || world.get(path(&world)).await.expect(200)["management"].clone();
    let masked = json!({
        "url": null, "api": "v2", "client_id": SERVICE_USER, "scope": null,
        "secret": {"masked": true},
    });
    assert_eq!(shown().await, masked);
    let mut absent = zitadel.body(json!({}));
    absent.as_object_mut().unwrap().remove("management");
    world.put(path(&world), absent.clone()).await.expect(200);
    assert_eq!(shown().await, masked);
    ran(&world, json!({"dry_run": true})).await;
    // An object without a secret keeps it for the same address and client.
    let put = async |management: Value| {
        world.put(path(&world), zitadel.body(json!({"management": management}))).await
    };
    put(json!({"client_id": SERVICE_USER, "api": "V1"})).await.expect(200);
    assert_eq!(shown().await["api"], "v1");
    put(json!({"client_id": SERVICE_USER})).await.expect(200);
    ran(&world, json!({"dry_run": true})).await;
    for other in [
        json!({"client_id": SERVICE_USER, "url": "https://thief.example"}),
        json!({"client_id": "another"}),
        json!({}),
        json!({"client_id": SERVICE_USER, "secret": ""}),
        json!({"client_id": SERVICE_USER, "secret": "x".repeat(4097)}),
    ] {
        put(other).await.invalid("management.secret");
    }
    let mut elsewhere = absent.clone();
    elsewhere["issuer"] = json!("https://thief.example");
    world.put(path(&world), elsewhere.clone()).await.invalid("management");
    elsewhere["management"] = json!({"client_id": SERVICE_USER});
    world.put(path(&world), elsewhere).await.invalid("management.secret");
    put(json!({"api": "v3"})).await.invalid("management.api");
    put(Value::Null).await.expect(200);
    assert_eq!(shown().await, Value::Null);
    world.put(path(&world), absent).await.expect(200);
    assert_eq!(shown().await, Value::Null);
    put(json!({"client_id": SERVICE_USER})).await.invalid("management.secret");
}
