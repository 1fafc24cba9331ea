//! What a client may send, and what it may not decide.

use axum::http::Method;
use cp_server::kernel::http::line::Line;
use cp_server::kernel::http::openapi;
use serde_json::{Value, json};

use crate::sweep::examples::example;
use crate::world::{World, on_both};

/// Values that once exposed a fault in another server.
fn nasty() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!("'; DROP TABLE users; --"),
        json!("\u{1F600}\u{202E}\u{0301}"),
        json!("x".repeat(5000)),
        json!("0000-01-01T00:00:00Z"),
        json!("9999-12-31T23:59:59.999999999Z"),
        json!("+262142-12-31T00:00:00Z"),
        json!("-0001-01-01T00:00:00Z"),
        json!("01900000-0000-7000-8000-000000000000"),
        json!([]),
        json!(["", 1]),
        json!({}),
        json!({"": {"a": [null]}, "$ref": "#", "__proto__": 1}),
    ]
}

fn members(line: &Line, document: &Value) -> Vec<String> {
    let Some(input) = line.shapes(&mut openapi::schemas()).input else { return Vec::new() };
    let input = input.as_value();
    let schema = match input.get("$ref").and_then(Value::as_str) {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => input,
    };
    let members = schema.get("properties").and_then(Value::as_object);
    members.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

#[on_both]
async fn stored_json_has_a_largest_size_that_the_refusal_names(world: World) {
    let large = json!({"k": "x".repeat(70_000)});
    let acme = |path: &str| world.org(path);
    let project = format!("/projects/{}", world.acme.project);
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    let license = format!("/licenses/{}", world.acme.license);
    let licenses = format!("/deployments/{}/licenses", world.acme.deployment);
    let artifact = json!({"run_id": "r", "step_id": "s", "type": "log", "path": "p"});
    let provider = json!({"type": "saml", "issuer": "https://idp.example"});
    let usage = json!({"metric": "calls", "quantity": 1});
    let event = json!({"action": "seen", "target_type": "door"});
    let new_license = json!({"subscription_id": world.acme.subscription});
    let plan = json!({"code": "large", "name": "Large"});
    let texts = json!({"k": vec!["x".repeat(100); 700]});
    let cases = [
        (Method::POST, "/organizations".into(), json!({"name": "L"}), "metadata", &large),
        (Method::POST, "/organizations".into(), json!({"name": "L"}), "settings", &large),
        (Method::PATCH, acme(""), json!({}), "metadata", &large),
        (Method::PATCH, acme(""), json!({}), "settings", &large),
        (Method::POST, acme("/projects"), json!({"name": "L"}), "metadata", &large),
        (Method::PATCH, project.clone(), json!({}), "metadata", &large),
        (Method::POST, format!("{project}/artifacts"), artifact, "metadata", &large),
        (Method::PUT, acme("/identity-providers/x"), provider.clone(), "metadata", &large),
        (Method::PUT, acme("/identity-providers/x"), provider.clone(), "claim_map", &texts),
        (Method::PUT, acme("/identity-providers/x"), provider, "role_map", &texts),
        (Method::POST, acme("/subscriptions"), json!({"plan_code": "team"}), "features", &large),
        (Method::PATCH, subscription, json!({}), "features", &large),
        (Method::POST, licenses, new_license, "features", &large),
        (Method::PATCH, license, json!({}), "features", &large),
        (Method::POST, "/plans".into(), plan, "features", &large),
        (Method::PATCH, "/plans/internal".into(), json!({}), "features", &large),
        (Method::POST, acme("/usage"), usage.clone(), "metadata", &large),
        (Method::POST, acme("/usage"), usage, "dims", &large),
        (Method::POST, acme("/audit"), event, "metadata", &large),
    ];
    for (method, path, mut body, field, value) in cases {
        body[field] = value.clone();
        let path = format!("/api/v1{path}");
        let problem = world.root().call(method, &path, Some(body)).await.invalid(field);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("65536") && detail.contains("(got 7"), "{path}: {detail}");
    }
    let codes: Vec<String> = (0..900).map(|n| format!("x:{n:0100}")).collect();
    let role = json!({"code": "LARGE", "name": "L", "scope": "workspace", "permissions": codes});
    world.post(acme("/roles"), role).await.invalid("permissions");
}

#[on_both]
async fn stored_json_is_measured_after_merging(world: World) {
    let project = format!("/projects/{}", world.acme.project);
    let half = "x".repeat(40_000);
    world.patch(&project, json!({"metadata": {"a": half}})).await.expect(200);
    let problem = world.patch(&project, json!({"metadata": {"b": half}})).await;
    let problem = problem.invalid("metadata");
    assert_eq!((&problem["limit"], &problem["size"]), (&json!(65_536), &json!(80_015)));
    world.patch(&project, json!({"metadata": {"a": null, "b": half}})).await.expect(200);
    let org = world.org("");
    world.patch(&org, json!({"settings": {"a": half}})).await.expect(200);
    world.patch(&org, json!({"settings": {"features": {}, "b": half}})).await.invalid("settings");
}

#[on_both]
async fn blank_reason_is_refused_wherever_a_change_accepts_one(world: World) {
    let license = format!("/licenses/{}", world.acme.license);
    let deployment = world.acme.deployment.to_string();
    for (path, mut body) in [
        (format!("{license}/suspend"), json!({})),
        (format!("{license}/reinstate"), json!({})),
        (format!("{license}/revoke"), json!({})),
        (format!("{license}/transfer"), json!({"deployment_id": deployment})),
        (format!("/subscriptions/{}/cancel", world.acme.subscription), json!({})),
        ("/signing/rotate".to_owned(), json!({"emergency": true})),
    ] {
        for blank in ["", " \n", "\u{200d}"] {
            body["reason"] = blank.into();
            world.post(&path, body.clone()).await.invalid("reason");
        }
    }
    world.patch(world.org(""), json!({"reason": ""})).await.invalid("reason");
    let document = openapi::document(&crate::world::operations(), "", &Value::Null);
    for line in crate::world::operations().table {
        let Some(input) = line.shapes(&mut openapi::schemas()).input else { continue };
        let input = input.as_value();
        let schema = match input.get("$ref").and_then(Value::as_str) {
            Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => input,
        };
        if let Some(reason) = schema.pointer("/properties/reason")
            && !line.in_query()
        {
            assert!(reason.to_string().contains("\"minLength\":1"), "{}: {reason}", line.name);
        }
    }
}

#[on_both]
async fn no_value_of_any_member_makes_the_server_fail(world: World) {
    let document = openapi::document(&crate::world::operations(), "", &serde_json::Value::Null);
    for line in crate::world::operations().table {
        for member in members(&line, &document) {
            for value in nasty() {
                let path = world.path_of(&line);
                let (path, body) = if line.in_query() {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    let text: String = text.bytes().map(|b| format!("%{b:02x}")).collect();
                    // A purge would leave nothing to try the rest on.
                    (format!("{path}?{member}={text}"), None)
                } else {
                    let mut body = example(&world, &line).body.unwrap_or(json!({}));
                    body[&member] = value.clone();
                    (path, Some(body))
                };
                let answer = world.root().call(line.method.clone(), &path, body).await;
                assert!(
                    answer.status < 500,
                    "{} with {member} = {value}: {}",
                    line.name,
                    answer.text()
                );
            }
        }
    }
}

#[on_both]
async fn query_that_is_not_utf8_is_refused(world: World) {
    let detail = |problem: Value| problem["detail"].clone();
    let problem = world.get("/organizations?slug=%ff").await.invalid("slug");
    assert_eq!(detail(problem), "`slug` must be UTF-8.");
    let problem = world.post("/organizations?name=A%ffB", json!({})).await.invalid("name");
    assert_eq!(detail(problem), "`name` must be UTF-8.");
    world.post("/organizations?name=%C3%A4", json!({})).await.expect(201);
}

#[on_both]
async fn no_path_makes_the_server_fail(world: World) {
    let ids = [
        "%00",
        "..%2f..",
        "%F0%9F%98%80",
        "-",
        "0",
        "null",
        "%",
        "%zz",
        "%ff",
        "01900000-0000-7000-8000-00000000000G",
        "{01900000-0000-7000-8000-000000000000}",
        "urn:uuid:01900000-0000-7000-8000-000000000000",
    ];
    for line in crate::world::operations().table {
        if !line.path.contains('{') {
            continue;
        }
        for id in ids {
            let path = world.path_to_unknown(&line);
            let path = path.replace(crate::sweep::examples::UNKNOWN_ID, id).replace("missing", id);
            let Ok(uri) = path.parse::<axum::http::Uri>() else { continue };
            let body = (line.method != Method::GET).then(|| json!({}));
            let answer = world.root().call(line.method.clone(), &uri.to_string(), body).await;
            assert!((400..500).contains(&answer.status), "{} {path}: {}", line.name, answer.text());
        }
    }
}

#[on_both]
async fn fields_of_the_server_are_refused_in_requests(world: World) {
    let decided = [
        "id",
        "organization_id",
        "created_at",
        "updated_at",
        "revision",
        "key_id",
        "bundle_hash",
        "is_system",
        "status_reason",
        "plan_version",
        "last_seen_at",
        "secret_hash",
        "effective",
    ];
    for line in crate::world::operations().table {
        // An identity provider sends more than a service reads (RFC 7644, section 3.3).
        if !matches!(line.method, Method::POST | Method::PATCH)
            || line.protocol.is_some()
            || line.shapes(&mut openapi::schemas()).input.is_none()
        {
            continue;
        }
        for member in decided {
            let mut body = example(&world, &line).body.unwrap_or(json!({}));
            body[member] = json!("01900000-0000-7000-8000-000000000000");
            let path = world.path_of(&line);
            let answer = world.root().call(line.method.clone(), &path, Some(body)).await;
            assert_eq!(answer.invalid(member)["field"], member, "{}", line.name);
        }
    }
    let license = format!("/licenses/{}", world.acme.license);
    world.patch(license, json!({"status": "revoked"})).await.invalid("status");
}

#[on_both]
async fn an_unknown_member_is_named_where_it_stands(world: World) {
    let body = json!({"name": "x", "type": "cloud", "regoin": "eu"});
    let problem = world.post(world.org("/deployments"), body).await.invalid("regoin");
    assert!(problem["detail"].as_str().unwrap().contains("region"), "{problem}");
    let nested = json!({"filter": {"licence": "x"}});
    world.post("/licenses/bundles", nested).await.invalid("filter.licence");
    world.get(world.org("/licenses?licence=x")).await.invalid("licence");
    let missing = world.post(world.org("/deployments"), json!({"type": "cloud"})).await;
    missing.invalid("name");
}

/// Nothing of the database's own words reaches a client.
#[tokio::test]
async fn a_failure_says_nothing_of_the_inside() {
    let world = World::on_sqlite().await;
    world.exec("ALTER TABLE deployments RENAME TO lost").await;
    let problem = world.get(world.org("/deployments")).await.refused(500, "internal");
    let text = problem.to_string().to_lowercase();
    for word in ["sql", "table", "select", "lost", "src/", ".rs"] {
        assert!(!text.contains(word), "{text}");
    }
}
