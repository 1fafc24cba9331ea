//! The ID of another organization in every place of every body: 404 as for a missing one, and no change.

use axum::http::Method;
use serde_json::{Value, json};

use super::examples::UNKNOWN_ID;
use crate::world::zitadel::Zitadel;
use crate::world::{Answer, World, on_both, operations};

/// A body with `ID` in one place.
struct Case {
    operation: &'static str,
    path: String,
    body: Value,
    foreign: String,
}

/// Operations whose IDs are those of the platform, or of people, who belong to no organization.
const OTHERS: [&str; 17] = [
    "audit.erase",
    "console_links.create",
    "deployments.check_in",
    "invitations.accept",
    "leases.claim",
    "leases.heartbeat",
    "license_keys.validate",
    "memberships.create",
    "organizations.create",
    "organizations.transfer_ownership",
    "users.link",
    "webhooks.create",
    "webhooks.create_for_platform",
    "webhooks.update",
    "workspaces.add_member",
    "projects.move",
    "plans.migrate",
];

async fn cases(world: &World) -> Vec<Case> {
    let (acme, globex) = (&world.acme, &world.globex);
    let case = |operation, path: &str, body, foreign: &str| Case {
        operation,
        path: path.to_owned(),
        body,
        foreign: foreign.to_owned(),
    };
    let of = |operation, path: &str, body, foreign: &str| {
        case(operation, &world.org(path), body, foreign)
    };
    // What the body needs besides.
    let preset = json!({"kind": "guardrail", "name": "own"});
    let preset = world.post(world.org("/resources"), preset).await.expect(201)["id"].clone();
    let agent = json!({"kind": "agent", "name": "own", "guardrails": [preset]});
    let agent = world.post(world.org("/resources"), agent).await.expect(201)["id"].clone();
    let agent = agent.as_str().unwrap();
    let theirs = |body: Value| world.post("/organizations/globex/resources", body);
    let foreign_preset = theirs(json!({"kind": "guardrail", "name": "theirs"})).await.expect(201);
    let foreign_preset = foreign_preset["id"].as_str().unwrap();
    let foreign_agent =
        theirs(json!({"kind": "agent", "name": "theirs", "guardrails": [foreign_preset]})).await;
    let foreign_agent = foreign_agent.expect(201)["id"].clone();
    let foreign_agent = foreign_agent.as_str().unwrap();
    let listing = json!({
        "kind": "listing", "name": "theirs", "parent_id": foreign_agent, "is_public": true,
    });
    let listing = theirs(listing).await.expect(201)["id"].clone();
    let listing = listing.as_str().unwrap();
    let cycle = world.get("/organizations/globex/budgets/studio/cycles").await.expect(200);
    let cycle = cycle["items"][0]["id"].as_str().unwrap();
    world.post(world.org("/budgets/studio/cycles"), json!({})).await;

    let model = |scope: &str| json!({"kind": "model", "subject": "x", "scope": scope});
    let rule = |scope: &str| json!({"kind": "guardrail", "subject": preset, "scope": scope});
    let set = |scope: &str| json!({"kind": "model", "subject": "x", "items": [{"scope": scope}]});
    let own = format!("group:{}", acme.group);
    let usage = |member: &str| {
        let mut event = json!({"metric": "m", "quantity": 1});
        event[member] = json!("ID");
        event
    };
    let limit = |member: &str, id: &str| json!({"metric": "m", "quantity": 1, member: id});
    let installation = format!("/marketplace/{listing}/installation");
    let own_listing = &acme.others["marketplace"];
    let group = format!("/groups/{}", acme.spare_group);
    let project = &*globex.project;
    let mut cases = vec![
        case("groups.update", &group, json!({"parent_id": "ID"}), &globex.group),
        of("groups.create", "/groups", json!({"name": "x", "parent_id": "ID"}), &globex.group),
        of("bindings.put", "/bindings", rule("agent:ID"), foreign_agent),
        of(
            "allocations.put",
            "/budgets/studio/allocations",
            json!({"scope": own, "quantity": 1, "cycle": "ID"}),
            cycle,
        ),
        of(
            "allocations.put",
            "/budgets/studio/allocations",
            json!({"scope": "pool", "quantity": 1, "within": "group:ID"}),
            &globex.group,
        ),
        of(
            "allocations.distribute",
            "/budgets/studio/distribute",
            json!({"scopes": ["group:ID"], "total": 1}),
            &globex.group,
        ),
        of(
            "allocations.distribute",
            "/budgets/studio/distribute",
            json!({"scopes": [format!("user:{}", acme.user)], "total": 1, "within": "group:ID"}),
            &globex.group,
        ),
        of(
            "providers.provision",
            "/identity-providers/zitadel/provision",
            json!({"roles": [], "grants": [{"user_id": "ID", "role_keys": ["a"]}]}),
            &globex.user,
        ),
        of("limits.put", "/limits", limit("project_id", "ID"), project),
        of("limits.put", "/limits", limit("scope", "group:ID"), &globex.group),
        of("limits.put", "/limits", limit("scope", "user:ID"), &globex.user),
        of("limits.put", "/limits", limit("scope", "project:ID"), project),
        of("marketplace.install", &installation, json!({"guardrails": ["ID"]}), foreign_preset),
        of(
            "marketplace.install",
            &format!("/marketplace/{own_listing}/installation"),
            json!({"user": "ID"}),
            &globex.user,
        ),
        of(
            "marketplace.rate",
            &format!("/marketplace/{own_listing}/rating"),
            json!({"user": "ID", "stars": 1}),
            &globex.user,
        ),
        of(
            "resources.create",
            "/resources",
            json!({"kind": "agent", "name": "x", "guardrails": ["ID"]}),
            foreign_preset,
        ),
        of(
            "resources.create",
            "/resources",
            json!({"kind": "listing", "name": "x", "parent_id": "ID"}),
            foreign_agent,
        ),
        case(
            "resources.update",
            &format!("/resources/{agent}"),
            json!({"guardrails": [preset, "ID"]}),
            foreign_preset,
        ),
        of(
            "directory.upsert",
            "/users",
            json!({"email": "new@acme.example", "groups": [{"group_id": "ID"}]}),
            &globex.group,
        ),
        of("workspaces.create", "/workspaces", json!({"name": "x", "project_id": "ID"}), project),
        case(
            "workspaces.update",
            &format!("/workspaces/{}", acme.workspace),
            json!({"project_id": "ID"}),
            project,
        ),
        of(
            "invitations.create",
            "/invitations",
            json!({"email": "a@b.example", "role": "viewer", "workspace_id": "ID"}),
            &globex.workspace,
        ),
        case(
            "licenses.create",
            &format!("/deployments/{}/licenses", acme.spare_deployment),
            json!({"subscription_id": "ID"}),
            &globex.subscription,
        ),
        case(
            "licenses.transfer",
            &format!("/licenses/{}/transfer", acme.license),
            json!({"deployment_id": "ID"}),
            &globex.deployment,
        ),
        of(
            "audit.record",
            "/audit",
            json!({"action": "x", "target_type": "y", "project_id": "ID"}),
            project,
        ),
    ];
    for (kind, foreign) in [
        ("group", &globex.group),
        ("user", &globex.user),
        ("project", &globex.project),
        ("workspace", &globex.workspace),
    ] {
        let scope = format!("{kind}:ID");
        cases.push(of("bindings.put", "/bindings", model(&scope), foreign));
        cases.push(of("bindings.put", "/bindings", rule(&scope), foreign));
        cases.push(of("bindings.replace", "/bindings/replace", set(&scope), foreign));
        if ["group", "user"].contains(&kind) {
            let first = json!({
                "kind": "agent", "name": "x", "guardrails": [preset],
                "bindings": [{"scope": scope}],
            });
            cases.push(of("resources.create", "/resources", first, foreign));
            let part = json!({"scope": scope, "quantity": 1});
            cases.push(of("allocations.put", "/budgets/studio/allocations", part, foreign));
        }
    }
    for (kind, foreign) in [
        ("agent", foreign_agent),
        ("guardrail", foreign_preset),
        ("connection", foreign_agent),
        ("listing", listing),
    ] {
        let body = json!({"kind": kind, "subject": "ID", "scope": "organization"});
        cases.push(of("bindings.put", "/bindings", body, foreign));
        let body = json!({"kind": kind, "subject": "ID", "items": []});
        cases.push(of("bindings.replace", "/bindings/replace", body, foreign));
    }
    for (member, foreign) in [
        ("project_id", &globex.project),
        ("group_id", &globex.group),
        ("user_id", &globex.user),
        ("deployment_id", &globex.deployment),
    ] {
        cases.push(of("usage.record", "/usage", usage(member), foreign));
    }
    cases
}

/// Where the body has the ID, such as `items[].scope`.
fn place(value: &Value, at: &str) -> Option<String> {
    match value {
        Value::String(text) => (text == "ID" || text.ends_with(":ID")).then(|| at.to_owned()),
        Value::Array(items) => items.iter().find_map(|item| place(item, &format!("{at}[]"))),
        Value::Object(members) => {
            let dot = if at.is_empty() { "" } else { "." };
            members.iter().find_map(|(name, value)| place(value, &format!("{at}{dot}{name}")))
        }
        _ => None,
    }
}

#[on_both]
async fn foreign_id_in_a_body_is_missing_and_changes_nothing(world: World) {
    let zitadel = Zitadel::start().await;
    let provider = world.org("/identity-providers/zitadel");
    world.put(provider, zitadel.body(json!({}))).await.expect(201);
    let cases = cases(&world).await;
    let (own, mut faults) = (world.by(&world.acme.token), Vec::new());
    let before = (world.count_events().await, state(&world).await);
    for Case { operation, path, body, foreign } in &cases {
        let line = operations().table.into_iter().find(|line| line.name == *operation).unwrap();
        let send = async |id: &str| {
            let body = serde_json::from_str(&body.to_string().replace("ID", id)).unwrap();
            let same = own.clone().with("x-request-id", "same");
            same.call(line.method.clone(), &format!("/api/v1{path}"), Some(body)).await
        };
        let (there, missing) = (send(foreign).await, send(UNKNOWN_ID).await);
        let blank = |answer: &Answer, id: &str| answer.text().replace(id, "ID");
        let is_alike = blank(&there, foreign) == blank(&missing, UNKNOWN_ID);
        let is_missing = there.status == 404 && there.json()["code"] == "not_found";
        let is_unchanged = world.count_events().await == before.0;
        if !(is_alike && is_missing && is_unchanged) {
            faults.push(format!("{operation} {body}: {} and {}", there.text(), missing.text()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(state(&world).await, before.1);
    assert!(zitadel.recorded().iter().all(|one| one.method == "GET"), "{:?}", zitadel.calls());
}

/// All rows of the organization.
async fn state(world: &World) -> Value {
    let mut export = world.get(world.org("/export")).await.expect(200);
    // The time of the export itself, and the use of tokens.
    for member in ["exported_at", "service_tokens", "audit_events"] {
        export.as_object_mut().unwrap().remove(member);
    }
    export
}

/// Every ID and scope of a body in the OpenAPI document is a case above, or is one of the platform.
#[tokio::test]
async fn every_place_of_an_id_is_a_case() {
    let world = World::on_sqlite().await;
    let known: std::collections::BTreeSet<(String, String)> = cases(&world)
        .await
        .iter()
        .map(|case| (case.operation.to_owned(), place(&case.body, "").unwrap()))
        .collect();
    let document: Value =
        serde_json::from_str(include_str!("../../../cp-server/openapi.json")).unwrap();
    let mut places = Vec::new();
    for line in operations().table.iter().filter(|line| !line.raw && line.method != Method::GET) {
        let method = line.method.as_str().to_lowercase();
        let body = &document["paths"][line.full_path()][method]["requestBody"];
        let schema = &body["content"]["application/json"]["schema"];
        if !OTHERS.contains(&line.name) {
            find(&document, schema, "", &mut |place| places.push((line.name.to_owned(), place)), 0);
        }
    }
    // The scope of a group's own binding is its group, an array of events is a list of events, and the
    // directory invites people.
    let is_other = |line: &str, place: &str| {
        line == "groups.put_binding"
            || place.starts_with("[]")
            || (line, place) == ("directory.upsert", "user_id")
    };
    places.retain(|(line, place)| !is_other(line, place));
    assert!(places.len() > 25, "{places:?}");
    let left: Vec<_> = places.iter().filter(|place| !known.contains(place)).collect();
    assert!(left.is_empty(), "add cases for {left:?}");
}

fn find(document: &Value, schema: &Value, at: &str, found: &mut dyn FnMut(String), depth: usize) {
    if depth > 8 {
        return;
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return find(document, document.pointer(&reference[1..]).unwrap(), at, found, depth + 1);
    }
    let is_scope = schema["pattern"].as_str().is_some_and(|one| one.contains("organization|pool"));
    if schema["format"] == "uuid" || is_scope {
        found(at.to_owned());
    }
    for one in ["anyOf", "oneOf", "allOf"].iter().filter_map(|name| schema[name].as_array()) {
        one.iter().for_each(|one| find(document, one, at, found, depth + 1));
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if at.is_empty() { "" } else { "." };
        find(document, member, &format!("{at}{dot}{name}"), found, depth + 1);
    }
    if schema["items"].is_object() {
        find(document, &schema["items"], &format!("{at}[]"), found, depth + 1);
    }
}
