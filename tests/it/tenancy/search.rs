//! The search over all resources.

use serde_json::{Value, json};

use crate::world::{Client, World, on_both};

async fn find(client: &Client, q: &str) -> Vec<Value> {
    let q: String = url::form_urlencoded::byte_serialize(q.as_bytes()).collect();
    let found = client.get(format!("/search?q={q}")).await.expect(200);
    found["items"].as_array().unwrap().clone()
}

/// The kinds of the resources that are found.
async fn kinds(client: &Client, q: &str) -> Vec<String> {
    let found = find(client, q).await;
    found.iter().map(|hit| hit["kind"].as_str().unwrap().to_owned()).collect()
}

#[on_both]
async fn each_kind_is_found_by_its_complete_reference(world: World) {
    let root = world.root();
    let acme = &world.acme;
    let deployment = format!("/deployments/{}", acme.deployment);
    world.patch(&deployment, json!({"external_id": "crm-1", "name": "Lab_%"})).await.expect(200);
    let bundle = world.get(format!("/bundles/{}", acme.bundle)).await.expect(200);
    let user = world.get(format!("/users/{}", acme.user)).await.expect(200);
    for (q, kind, id) in [
        (acme.org.as_str(), "organization", acme.org.as_str()),
        ("acme", "organization", &acme.org),
        (&acme.license, "license", &acme.license),
        (&acme.deployment, "deployment", &acme.deployment),
        ("crm-1", "deployment", &acme.deployment),
        ("LAB_%", "deployment", &acme.deployment),
        (&acme.subscription, "subscription", &acme.subscription),
        (&acme.bundle, "bundle", &acme.bundle),
        (bundle["bundle_hash"].as_str().unwrap(), "bundle", &acme.bundle),
        (&acme.workspace, "workspace", &acme.workspace),
        (&acme.project, "project", &acme.project),
        (&acme.group, "group", &acme.group),
        (&acme.user, "user", &acme.user),
        (user["email"].as_str().unwrap(), "user", &acme.user),
        (&acme.others["webhooks"], "webhook", &acme.others["webhooks"]),
        (&world.successor, "signing_key", &world.successor),
        ("team", "plan", ""),
    ] {
        let found = find(&root, q).await;
        let hit = found.iter().find(|hit| hit["kind"] == kind);
        let hit = hit.unwrap_or_else(|| panic!("{q} finds {found:?}"));
        assert!(id.is_empty() || hit["id"] == id, "{q} finds {hit}");
        // The path leads to the resource.
        world.get(hit["path"].as_str().unwrap()).await.expect(200);
    }
    for none in ["lab_x", "cme", "01900000-0000-7000-8000-000000000000", "%", "\u{10ffff}"] {
        assert_eq!(kinds(&root, none).await, Vec::<String>::new(), "{none}");
    }
    world.get("/search").await.invalid("q");
    world.get(format!("/search?q={}", "x".repeat(256))).await.invalid("q");
}

#[on_both]
async fn only_what_the_caller_may_read_is_found(world: World) {
    let own = world.by(&world.acme.token);
    assert!(kinds(&own, &world.acme.license).await.contains(&"license".to_owned()));
    let globex = &world.globex;
    for foreign in [&globex.org, &globex.license, &globex.bundle, &globex.deployment, &globex.user]
    {
        assert_eq!(find(&own, foreign).await, Vec::<Value>::new());
    }
    assert_eq!(kinds(&own, "globex").await, Vec::<String>::new());
    // Signing keys, plans and users are of the platform; members are of the organization.
    assert_eq!(kinds(&own, &world.successor).await, Vec::<String>::new());
    let user = world.get(format!("/users/{}", world.acme.user)).await.expect(200);
    let memberships = kinds(&own, user["email"].as_str().unwrap()).await;
    assert!(!memberships.is_empty() && memberships.iter().all(|kind| kind == "membership"));
    let machine = world.by(&world.acme.deployment_token);
    assert_eq!(kinds(&machine, "acme").await, Vec::<String>::new());
    let narrow = world.with_only(&["deployments:read"]).await;
    assert_eq!(kinds(&narrow, &world.acme.license).await, Vec::<String>::new());
    assert_eq!(kinds(&narrow, &world.acme.deployment).await, ["deployment"]);
    world.anyone().get("/search?q=acme").await.refused(401, "unauthenticated");
}
