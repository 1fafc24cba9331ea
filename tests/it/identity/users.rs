use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn a_user_is_made_once_and_then_changed_by_address(world: World) {
    let body = json!({"email": "Anna@Example.com", "display_name": "Anna"});
    let made = world.post("/users", body).await.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "email": "Anna@Example.com", "display_name": "Anna",
            "is_active": true, "is_superadmin": false, "external_id": null,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let again = json!({"email": "anna@example.COM", "external_id": "hr-1"});
    let again = world.post("/users", again).await.expect(200);
    assert_eq!(again["id"], made["id"]);
    assert_eq!(again["display_name"], "Anna", "what is not said stays");
    assert_eq!(again["external_id"], "hr-1");
    let found = world.get("/users?email=ANNA@example.com").await.expect(200);
    assert_eq!(found["items"], json!([again]));
}

#[on_both]
async fn addresses_and_references_are_unique(world: World) {
    let (user, owner) = (&world.acme.user, &world.acme.owner);
    world.patch(format!("/users/{owner}"), json!({"external_id": "x"})).await.expect(200);
    let path = format!("/users/{user}");
    let taken = json!({"email": "OLGA@acme.example"});
    assert_eq!(world.patch(&path, taken).await.refused(409, "email_taken")["field"], "email");
    let taken = json!({"external_id": "x"});
    world.patch(&path, taken).await.refused(409, "external_id_taken");
    for email in ["", "a", "a@", "@b", "a b@c", "a@b..c"] {
        world.post("/users", json!({"email": email})).await.invalid("email");
    }
    world
        .patch("/users/01900000-0000-7000-8000-000000000000", json!({}))
        .await
        .refused(404, "not_found");
}

#[on_both]
async fn an_identity_belongs_to_one_user_and_is_compared_exactly(world: World) {
    let accounts = |user: &str| format!("/users/{user}/auth-accounts");
    let (user, other) = (accounts(&world.acme.user), accounts(&world.acme.stranger));
    let identity = json!({"provider": "saml", "subject": " Ä|a@b ", "idp_tenant": "t1"});
    let linked = world.post(&user, identity.clone()).await.expect(201);
    assert_eq!(
        world.named(&linked),
        json!({
            "id": "<1>", "user_id": "<acme's user>", "provider": "saml", "subject": " Ä|a@b ",
            "idp_tenant": "t1", "vouched_by": null, "created_at": "2026-01-02T00:00:00Z",
        })
    );
    for taker in [&user, &other] {
        world.post(taker, identity.clone()).await.refused(409, "auth_account_taken");
    }
    let trimmed = json!({"provider": "saml", "subject": "Ä|a@b"});
    world.post(&other, trimmed).await.expect(201);
    for (field, value) in [("subject", "\u{7}"), ("subject", ""), ("provider", "a b")] {
        let mut body = json!({"provider": "oidc", "subject": "s"});
        body[field] = value.into();
        world.post(&user, body).await.invalid(field);
    }
    let account = format!("/auth-accounts/{}", linked["id"].as_str().unwrap());
    world.delete(&account).await.expect(204);
    world.delete(&account).await.refused(404, "not_found");
    world.post(&other, identity).await.expect(201);
}

#[on_both]
async fn a_user_goes_with_identities_and_memberships_unless_an_owner(world: World) {
    let owner = format!("/users/{}", world.acme.owner);
    world.delete(owner).await.refused(409, "owner_protected");
    let user = format!("/users/{}", world.acme.user);
    world.delete(&user).await.expect(204);
    world.get(&user).await.refused(404, "not_found");
    world.get(format!("/memberships/{}", world.acme.membership)).await.refused(404, "not_found");
    let whoami = "/users/whoami?provider=auth0&subject=auth0%7Cmats-acme";
    world.get(whoami).await.refused(404, "identity_unknown");
    let events = world.get(format!("/audit?target={}", world.acme.user)).await.expect(200);
    assert_eq!(events["items"][0]["action"], "users.delete");
    assert_eq!(events["items"][0]["before"]["email"], "mats@acme.example");
    assert_eq!(events["items"][0]["after"], Value::Null);
}

#[on_both]
async fn me_returns_the_caller(world: World) {
    let me = world.by(&world.acme.deployment_token).get("/me").await.expect(200);
    assert_eq!(
        world.named(&me),
        json!({
            "kind": "service_token", "id": "<acme's deployment token>", "name": "data plane",
            "user_id": null, "organization_id": "<acme's org>",
            "permissions": [
                "effective:read", "leases:read", "leases:write", "licenses:fetch", "limits:read",
                "usage:write", "users:whoami",
            ],
            "provider": null,
            "vouched_by": null,
            "roles": [], "products": [],
            "organizations": [
                {"id": "<acme's org>", "slug": "acme", "name": "Acme", "roles": []},
            ],
            "grants": [{
                "on": "organization", "organization_id": "<acme's org>", "id": null,
                "by": "service_token",
                "permissions": ["effective:read", "limits:read", "usage:write", "users:whoami"],
            }, {
                "on": "deployment", "organization_id": "<acme's org>",
                "id": "<acme's deployment>", "by": "service_token",
                "permissions": ["leases:read", "leases:write", "licenses:fetch"],
            }],
        })
    );
    let me = world.get("/me").await.expect(200);
    assert_eq!(me["organization_id"], Value::Null);
    assert_eq!(me["permissions"].as_array().unwrap().len(), crate::world::everything().len());
}
