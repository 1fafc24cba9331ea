//! No caller grants more than it holds: every line that grants, by every path to it.

use axum::http::Method;
use cp_server::kernel::http::line::Line;
use cp_server::kernel::http::openapi;
use serde_json::{Value, json};

use crate::world::{Client, World, on_both};

fn granting() -> impl Iterator<Item = Line> {
    crate::world::operations().table.into_iter().filter(|line| line.grants)
}

/// Requests that give more than the line's own permission: a role, a permission of this server, a
/// code of a data plane, a wildcard, a rank, a person who holds more.
///
/// # Panics
/// For a line that has none: it would be swept by no test.
fn too_much(world: &World, line: &Line, own: &str) -> Vec<Value> {
    let acme = &world.acme;
    let person = json!({"email": "new@new.example"});
    let with = |base: &Value, more: Value| {
        let mut body = base.clone();
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let codes = ["org:write", "runs:delete", "runs:*", "*.*", "*"];
    let each = |base: &Value| codes.map(|code| with(base, json!({"permissions": [code]}))).to_vec();
    match line.name {
        "users.upsert" => vec![
            with(&person, json!({"is_superadmin": true})),
            json!({"email": "boss@acme.example", "display_name": "Renamed"}),
        ],
        "users.update" => {
            vec![json!({"is_superadmin": true}), json!({"email": "mine@new.example"})]
        }
        "users.link" => vec![json!({"provider": "auth0", "subject": "mine"})],
        "roles.create" => {
            let role = json!({"code": "NEW", "name": "New", "scope": "organization"});
            let mut bodies = each(&role);
            bodies.push(with(&role, json!({"rank": 100})));
            bodies
        }
        "roles.update" => {
            let mut bodies = each(&json!({}));
            bodies.extend([json!({"permissions": []}), json!({"rank": 100}), json!({"name": "x"})]);
            bodies
        }
        "memberships.create" | "workspaces.add_member" => {
            let seat = json!({"user_id": acme.stranger, "role": "viewer"});
            let least = if line.name == "memberships.create" { own } else { "GUEST" };
            let mut bodies = each(&with(&seat, json!({"role": least})));
            bodies.extend([seat, json!({"email": "new@new.example", "role": "admin"})]);
            bodies
        }
        "console_links.create" => {
            vec![json!({"user_id": acme.user}), json!({"user_id": acme.owner})]
        }
        "directory.upsert" => vec![
            with(&person, json!({"role": "viewer"})),
            with(&person, json!({"role": "admin"})),
            json!({"user_id": acme.user, "role": "viewer"}),
            json!({
                "user_id": acme.user, "groups": [{"group_id": acme.group, "role": "admin"}],
            }),
            json!({
                "user_id": acme.user, "identity": {"provider": "auth0", "subject": "mine"},
            }),
        ],
        "memberships.update" => {
            let mut bodies = each(&json!({}));
            bodies.extend([json!({"role": "viewer"}), json!({"status": "suspended"})]);
            bodies
        }
        "organizations.transfer_ownership" => vec![json!({"user_id": acme.user})],
        "scim.create_user" => vec![json!({"userName": "new@new.example"})],
        "scim.replace_group" => vec![json!({
            "displayName": "Sales", "members": [{"value": acme.user}, {"value": acme.owner}],
        })],
        "scim.update_group" => vec![json!({"Operations": [
            {"op": "add", "path": "members", "value": [{"value": acme.owner}]},
        ]})],
        "groups.put_member" => vec![json!({}), json!({"role": "admin"})],
        "projects.grant" => vec![json!({}), json!({"role": "admin"})],
        "invitations.create" => vec![
            with(&person, json!({"role": "viewer"})),
            with(&person, json!({"role": "admin"})),
            with(&person, json!({"role": own, "workspace_id": acme.workspace})),
        ],
        "invitations.resend" => vec![json!({})],
        "providers.put" => vec![
            json!({"type": "oidc", "issuer": "https://login.example", "audience": "a"}),
            json!({"type": "saml", "issuer": "https://x.example", "role_map": {"a": own}}),
        ],
        "providers.provision" => vec![json!({}), json!({"dry_run": true})],
        "service_tokens.create_for_platform" | "service_tokens.create" => {
            let mut bodies = each(&json!({"name": "t", "permissions": []}));
            // Codes that this server does not know are refused before.
            bodies.retain(|body| {
                !["runs:*", "*.*"].contains(&body["permissions"][0].as_str().unwrap())
            });
            bodies
        }
        "service_tokens.create_for_deployment" => vec![json!({"name": "t"})],
        "service_tokens.rotate" => vec![json!({})],
        "license_keys.create" | "license_keys.rotate" => vec![json!({})],
        // What is offered is compared with the inviter: see the tests below.
        "memberships.accept" | "invitations.accept" => Vec::new(),
        other => panic!("nothing says what {other} could give too much: add it"),
    }
}

/// A person with this one permission in acme, by a role of this code.
async fn person(world: &World, role: &str, permission: &str) -> Client {
    let new = json!({
        "code": role, "name": role, "scope": "organization", "permissions": [permission],
    });
    world.post(world.org("/roles"), new).await.expect(201);
    world.member(role).await
}

#[test]
fn lines_that_take_a_role_or_permissions_say_that_they_grant() {
    // A provider's subject is a person's identity.
    let granting = ["role", "permissions", "is_superadmin", "role_map", "rank"];
    let mut schemas = openapi::schemas();
    for line in crate::world::operations().table {
        if !matches!(line.method, Method::POST | Method::PUT | Method::PATCH) || line.raw {
            continue;
        }
        let Some(input) = line.shapes(&mut schemas).input else { continue };
        let text = serde_json::to_value(&input).unwrap();
        let name = text["$ref"].as_str().and_then(|r| r.rsplit('/').next()).map(str::to_owned);
        let definitions = serde_json::to_value(schemas.definitions()).unwrap();
        let body = name.map_or(text.clone(), |name| definitions[name].clone());
        let members = body["properties"].as_object().cloned().unwrap_or_default();
        let is_link = members.contains_key("provider") && members.contains_key("subject");
        let grants = is_link || members.keys().any(|name| granting.contains(&name.as_str()));
        assert!(line.grants || !grants, "{} takes a role or permissions", line.name);
    }
}

#[on_both]
async fn a_token_with_the_lines_permission_alone_grants_nothing(world: World) {
    let boss = json!({"email": "boss@acme.example", "is_superadmin": true});
    world.post("/users", boss).await.expect(201);
    person(&world, "LEAST", "members:read").await;
    let mut tried = 0;
    for line in granting().filter(|line| !line.name.ends_with(".accept")) {
        let reach = if line.path.starts_with("/users") || line.path == "/service-tokens" {
            String::new()
        } else {
            world.org("")
        };
        let caller = world.by(&world.new_token(&reach, &[line.permission.as_str()]).await);
        for body in too_much(&world, &line, "LEAST") {
            let before = world.count_events().await;
            let answer =
                caller.call(line.method.clone(), &world.path_of(&line), Some(body.clone())).await;
            assert_eq!(answer.status, 403, "{} {body}: {}", line.name, answer.text());
            assert_eq!(world.count_events().await, before, "{} {body}", line.name);
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
}

#[on_both]
async fn a_person_with_the_lines_permission_alone_grants_nothing(world: World) {
    let codes =
        ["members:write", "roles:write", "tokens:write", "projects:write", "providers:write"];
    for (n, code) in codes.into_iter().enumerate() {
        let own = format!("LEAST_{n}");
        let caller = person(&world, &own, code).await;
        let lines = granting().filter(|line| line.permission.as_str() == code);
        for line in lines.filter(|line| line.path != "/service-tokens") {
            for body in too_much(&world, &line, &own) {
                let answer = caller
                    .call(line.method.clone(), &world.path_of(&line), Some(body.clone()))
                    .await;
                assert_eq!(answer.status, 403, "{} {body}: {}", line.name, answer.text());
            }
        }
    }
}

#[on_both]
async fn offer_is_checked_again_when_accepted(world: World) {
    let mats = world.person("auth0|mats-acme");
    let seats = world.get(world.org(&format!("/memberships?user_id={}", world.acme.user))).await;
    let own = format!("/memberships/{}", seats.expect(200)["items"][0]["id"].as_str().unwrap());
    let invitation = json!({"email": "a@new.example", "role": "member"});
    let token = mats.post(world.org("/invitations"), invitation).await.expect(201);
    let token = json!({"token": token["token"]});
    let offer = json!({"email": "mats@globex.example", "role": "member"});
    let offer = mats.post(world.org("/memberships"), offer).await.expect(201);
    let accept = format!("/memberships/{}/accept", offer["id"].as_str().unwrap());
    let guest = world.person("auth0|mats-globex");
    // The inviter holds less, then as much again.
    world.patch(&own, json!({"role": "viewer"})).await.expect(200);
    world.anyone().post("/invitations/accept", token.clone()).await.refused(403, "forbidden");
    guest.post(&accept, json!({})).await.refused(403, "forbidden");
    world.patch(&own, json!({"role": "admin"})).await.expect(200);
    world.anyone().post("/invitations/accept", token).await.expect(201);
    guest.post(&accept, json!({})).await.expect(200);
    // A token that ended has offered nothing.
    let maker = world.new_token(&world.org(""), &crate::world::everything()).await;
    let maker = world.by(&maker);
    let invitation = json!({"email": "b@new.example", "role": "member"});
    let token = maker.post(world.org("/invitations"), invitation).await.expect(201);
    let id = maker.get("/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    world.delete(format!("/service-tokens/{id}")).await.expect(204);
    let token = json!({"token": token["token"]});
    world.anyone().post("/invitations/accept", token).await.refused(403, "forbidden");
}

#[on_both]
async fn a_token_creates_and_rotates_none_that_ends_later(world: World) {
    let soon = "2026-01-02T01:00:00Z";
    let own = json!({
        "name": "ci", "permissions": ["org:read", "tokens:write"], "expires_at": soon,
    });
    let own = world.post(world.org("/service-tokens"), own).await.expect(201);
    let caller = world.by(own["token"].as_str().unwrap());
    let child = json!({"name": "child", "permissions": ["org:read"]});
    let made = caller.post(world.org("/service-tokens"), child.clone()).await.expect(201);
    assert_eq!(made["expires_at"], soon, "it ends with its parent");
    let mut later = child.clone();
    later["expires_at"] = json!("2026-01-02T01:00:01Z");
    caller.post(world.org("/service-tokens"), later).await.invalid("expires_at");
    let endless = world.post(world.org("/service-tokens"), child).await.expect(201);
    let rotate =
        |token: &Value| format!("/service-tokens/{}/rotate", token["id"].as_str().unwrap());
    caller.post(rotate(&endless), json!({})).await.refused(403, "forbidden");
    caller.post(rotate(&made), json!({})).await.expect(200);
    caller.post(rotate(&own), json!({})).await.expect(200);
    // A person's login ends sooner than what the person sets up.
    let olga = world.person("auth0|olga-acme");
    let child = json!({"name": "child", "permissions": ["org:read"]});
    let made = olga.post(world.org("/service-tokens"), child).await.expect(201);
    assert_eq!(made["expires_at"], Value::Null);
}
