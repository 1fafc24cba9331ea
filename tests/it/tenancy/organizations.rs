use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn an_organization_is_made_read_and_found_by_its_slug(world: World) {
    let body = json!({
        "name": "Müller & Söhne", "external_id": "crm-7", "email_domain": "Mueller.example",
        "settings": {"features": {"beta": true}}, "metadata": {"tier": 1},
    });
    let made = world.post("/organizations", body).await;
    let location = made.header("location").to_owned();
    let made = made.expect(201);
    assert_eq!(location, format!("/api/v1/organizations/{}", made["id"].as_str().unwrap()));
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "name": "Müller & Söhne", "slug": "muller-sohne", "status": "active",
            "external_id": "crm-7", "email_domain": "mueller.example",
            "owner_user_id": null, "default_workspace_id": null, "retained_until": null,
            "settings": {"isolation_level": "standard", "features": {"beta": true}},
            "metadata": {"tier": 1}, "revision": 1,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    assert_eq!(world.get("/organizations/muller-sohne").await.expect(200), made);
    let found = world.get("/organizations?external_id=crm-7").await.expect(200);
    assert_eq!(found, json!({"items": [made], "next_cursor": null}));
}

#[on_both]
async fn link_begins_with_the_path_of_the_base_url(world: World) {
    for (base, path) in [
        ("https://cp.example/licensing", "/licensing"),
        ("https://cp.example/a/b", "/a/b"),
        ("https://cp.example", ""),
    ] {
        let (_, client) = world.server(|settings| settings.shared.base_url = base.into());
        let client = client.token(crate::world::ROOT).with("idempotency-key", format!("k{path}"));
        let made = client.post("/organizations", json!({"name": "Linked"})).await;
        let location = made.header("location").to_owned();
        let made = made.expect(201);
        let right = format!("{path}/api/v1/organizations/{}", made["id"].as_str().unwrap());
        assert_eq!(location, right);
        let replayed = client.post("/organizations", json!({"name": "Linked"})).await;
        assert_eq!(replayed.header("location"), right, "a replayed answer has the same link");
        let document = client.get("/openapi.json").await.expect(200);
        assert_eq!(document["servers"], json!([{"url": base}]));
        let page = client.call(axum::http::Method::GET, "/docs", None).await.text();
        assert!(page.contains(&format!("<a href=\"{path}/api/v1/openapi.json\">")), "{path}");
    }
}

#[on_both]
async fn text_that_people_read_has_no_invisible_characters(world: World) {
    for c in ['\u{7}', '\u{200b}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{feff}'] {
        let text = format!("Ac{c}me");
        for (path, body, field) in [
            ("/organizations".into(), json!({"name": text}), "name"),
            ("/organizations".into(), json!({"name": "A", "external_id": text}), "external_id"),
            (world.org("/workspaces"), json!({"name": text}), "name"),
            (world.org("/projects"), json!({"name": text}), "name"),
            (world.org("/groups"), json!({"name": text}), "name"),
            (world.org("/deployments"), json!({"name": text, "type": "cloud"}), "name"),
            (
                "/users".into(),
                json!({"email": "x@y.example", "display_name": text}),
                "display_name",
            ),
            ("/service-tokens".into(), json!({"name": text, "permissions": []}), "name"),
            (
                world.org("/roles"),
                json!({"code": "X_Y", "name": text, "scope": "organization", "permissions": []}),
                "name",
            ),
            (
                world.org("/roles"),
                json!({"code": "X_Y", "name": "x", "description": text, "scope": "organization",
                       "permissions": []}),
                "description",
            ),
            (
                format!("/licenses/{}/suspend", world.acme.license),
                json!({"reason": text}),
                "reason",
            ),
        ] {
            world.post(path, body).await.invalid(field);
        }
        let path = world.org("");
        world.patch(path, json!({"name": text})).await.invalid("name");
    }
    for (n, good) in
        ["Team \u{1f469}\u{200d}\u{1f4bb}", "\u{915}\u{94d}\u{200d}\u{937}"].iter().enumerate()
    {
        let body = json!({"name": good, "slug": format!("joined-{n}")});
        assert_eq!(world.post("/organizations", body).await.expect(201)["name"], **good);
    }
    world.post("/organizations", json!({"name": "\u{200d}"})).await.invalid("name");
}

#[on_both]
async fn a_slug_is_made_from_the_name_and_numbered_while_taken(world: World) {
    for (name, slug) in [
        ("Big Corp", "big-corp"),
        ("Big Corp!", "big-corp-1"),
        ("big corp", "big-corp-2"),
        ("ACME", "acme-1"),
    ] {
        let made = world.post("/organizations", json!({"name": name})).await.expect(201);
        assert_eq!(made["slug"], slug);
    }
    let made = world.post("/organizations", json!({"name": "!!!"})).await.expect(201);
    assert!(made["slug"].as_str().unwrap().starts_with("org-"), "{made}");
}

#[on_both]
async fn names_that_must_be_unique_are_refused_with_the_field(world: World) {
    let taken = json!({
        "name": "One", "slug": "one", "external_id": "e1", "email_domain": "one.example",
    });
    world.post("/organizations", taken).await.expect(201);
    for (field, value, code) in [
        ("slug", "one", "slug_taken"),
        ("external_id", "e1", "external_id_taken"),
        ("email_domain", "ONE.example", "email_domain_taken"),
    ] {
        let body = json!({"name": "Two", field: value});
        let problem = world.post("/organizations", body.clone()).await.refused(409, code);
        assert_eq!(problem["field"], field);
        let mut body = body;
        body.as_object_mut().unwrap().remove("name");
        let problem = world.patch(world.org(""), body).await.refused(409, code);
        assert_eq!(problem["field"], field);
    }
    for slug in ["-a", "A b", "", "01900000-0000-7000-8000-000000000000"] {
        let body = json!({"name": "Two", "slug": slug});
        world.post("/organizations", body).await.invalid("slug");
    }
}

#[on_both]
async fn an_owner_is_named_by_id_or_address_and_seated(world: World) {
    let body = json!({"name": "Owned", "owner": "Olga@acme.example"});
    let made = world.post("/organizations", body).await.expect(201);
    assert_eq!(made["owner_user_id"], world.acme.owner, "addresses compare without case");
    let members = world.get("/organizations/owned/memberships").await.expect(200);
    assert_eq!(members["items"][0]["role"]["code"], "ORGANIZATION_OWNER");
    assert_eq!(members["items"][0]["status"], "active");

    let body = json!({"name": "New", "owner": "first@new.example"});
    world.post("/organizations", body).await.expect(201);
    let users = world.get("/users?email=first@new.example").await.expect(200);
    assert_eq!(users["items"].as_array().unwrap().len(), 1);

    let body = json!({"name": "X", "owner_user_id": "01900000-0000-7000-8000-000000000000"});
    world.post("/organizations", body).await.refused(404, "not_found");
    let body = json!({"name": "X", "owner": "not an address"});
    world.post("/organizations", body).await.invalid("owner");
    let body = json!({"name": "X", "owner": "a@b.example", "owner_user_id": world.acme.owner});
    world.post("/organizations", body).await.invalid("owner");
}

#[on_both]
async fn new_organization_has_a_subscription_that_a_chosen_one_replaces(world: World) {
    let subscriptions = "/organizations/initech/subscriptions";
    let listed = async || world.get(subscriptions).await.expect(200)["items"].clone();
    world.post("/organizations", json!({"name": "Initech"})).await.expect(201);
    let begun = listed().await;
    assert_eq!(begun.as_array().unwrap().len(), 1);
    assert_eq!((&begun[0]["plan_code"], &begun[0]["status"]), (&json!("free"), &json!("active")));
    let over = json!({"plan_code": "team", "status": "expired"});
    world.post(subscriptions, over).await.expect(201);
    assert_eq!(
        listed().await.as_array().unwrap().len(),
        2,
        "what entitles to nothing, ends nothing"
    );
    let chosen = world.post(subscriptions, json!({"plan_code": "team"})).await.expect(201);
    let live = format!("{subscriptions}?status=active");
    assert_eq!(world.get(&live).await.expect(200)["items"], json!([chosen]));
    let again = world.post(subscriptions, json!({"plan_code": "team"})).await;
    again.refused(409, "subscription_exists");

    let body = json!({"name": "Hooli", "plan_code": "pro"});
    world.post("/organizations", body).await.expect(201);
    let another = json!({"plan_code": "team"});
    let another = world.post("/organizations/hooli/subscriptions", another).await;
    another.refused(409, "subscription_exists");
    for (plan, status, code, field) in
        [("nope", 404, "not_found", "plan_code"), ("internal", 422, "invalid", "seat_cap")]
    {
        let body = json!({"name": "Umbrella", "plan_code": plan});
        let problem = world.post("/organizations", body).await.refused(status, code);
        assert_eq!(problem["field"], field);
    }
    world.get("/organizations/umbrella").await.refused(404, "not_found");
}

#[on_both]
async fn organization_may_begin_with_seats_of_its_own(world: World) {
    for (name, plan) in [("umbrella", "internal"), ("tyrell", "team")] {
        let body = json!({"name": name, "plan_code": plan, "seat_cap": 7});
        world.post("/organizations", body).await.expect(201);
        let path = format!("/organizations/{name}/subscriptions");
        let begun = world.get(&path).await.expect(200)["items"][0].clone();
        let begun = (&begun["plan_code"], &begun["seat_cap"], &begun["seats_from_plan"]);
        assert_eq!(begun, (&json!(plan), &json!(7), &json!(false)));
    }
    let body = json!({"name": "Wayne", "plan_code": "internal", "seat_cap": 0});
    world.post("/organizations", body).await.invalid("seat_cap");
}

#[on_both]
async fn a_begun_subscription_that_licenses_stand_on_stays(world: World) {
    world.post("/organizations", json!({"name": "Initech"})).await.expect(201);
    let subscriptions = "/organizations/initech/subscriptions";
    let begun = world.get(subscriptions).await.expect(200)["items"][0]["id"].clone();
    let deployment = json!({"name": "main", "type": "cloud"});
    let deployment = world.post("/organizations/initech/deployments", deployment).await;
    let deployment = deployment.expect(201)["id"].as_str().unwrap().to_owned();
    let license = json!({"subscription_id": begun});
    world.post(format!("/deployments/{deployment}/licenses"), license).await.expect(201);
    let another = json!({"plan_code": "team"});
    world.post(subscriptions, another).await.refused(409, "subscription_exists");
}

#[on_both]
async fn settings_have_their_shape_and_every_change_is_later(world: World) {
    let org = world.org("");
    let before = world.get(&org).await.expect(200)["updated_at"].clone();
    let bad = json!({"settings": {"isolation_level": "none"}});
    world.patch(&org, bad).await.invalid("settings.isolation_level");
    let bad = json!({"name": "X", "settings": {"security": {"require_2fa": 1}}});
    world.post("/organizations", bad).await.invalid("settings.security.require_2fa");
    let good = json!({"settings": {
        "isolation_level": "strict", "notifications": {"mail": "daily"}, "any": [1, 2],
        "security": {"require_2fa": true, "ip_whitelist": ["10.0.0.0/8"]},
    }});
    let first = world.patch(&org, good).await.expect(200);
    assert_eq!(first["settings"]["security"]["require_2fa"], true);
    let second = world.patch(&org, json!({})).await.expect(200);
    let instant =
        |value: &Value| value.as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert!(instant(&before) < instant(&first["updated_at"]));
    assert!(instant(&first["updated_at"]) < instant(&second["updated_at"]));
}

#[on_both]
async fn settings_merge_one_level_and_features_member_by_member(world: World) {
    let org = world.org("");
    let first = json!({"settings": {
        "theme": {"dark": true}, "locale": "de", "features": {"a": true, "b": true},
    }});
    let before = world.patch(&org, first).await.expect(200);
    let second = json!({
        "settings": {"theme": {"accent": "red"}, "locale": null, "features": {"b": null, "c": false}},
        "metadata": {"k": "v"},
    });
    let after = world.patch(&org, second).await.expect(200);
    assert_eq!(
        after["settings"],
        json!({
            "isolation_level": "standard", "theme": {"accent": "red"},
            "features": {"a": true, "c": false},
        })
    );
    assert_eq!(after["metadata"], json!({"k": "v"}));
    assert!(after["revision"].as_i64() > before["revision"].as_i64());
    let patch = json!({"external_id": "x"});
    assert_eq!(world.patch(&org, patch).await.expect(200)["external_id"], "x");
    let patch = json!({"external_id": null});
    assert_eq!(world.patch(&org, patch).await.expect(200)["external_id"], Value::Null);
}

#[on_both]
async fn suspending_keeps_everything_and_stops_issuing(world: World) {
    let (org, bundles) = (world.org(""), bundles(&world));
    world.delete(&org).await.expect(204);
    assert_eq!(world.get(&org).await.expect(200)["status"], "suspended");
    world.get(&bundles).await.expect(200);
    world.post(&bundles, json!({})).await.refused(409, "organization_suspended");
    let renewal = json!({"valid_until": "2027-01-01T00:00:00Z"});
    let renew = format!("/licenses/{}/renew", world.acme.license);
    world.post(&renew, renewal).await.refused(409, "organization_suspended");
    world.patch(&org, json!({"status": "ACTIVE"})).await.expect(200);
    world.post(&bundles, json!({})).await.expect(201);
}

#[on_both]
async fn a_purge_needs_the_exact_name_and_force(world: World) {
    let org = world.org("");
    let purge = |query: &str| format!("{org}?mode=purge{query}");
    world.delete(purge("")).await.invalid("confirm");
    world.delete(purge("&confirm=acme&force=true")).await.invalid("confirm");
    let problem = world.delete(purge("&confirm=Acme")).await;
    let problem = problem.refused(409, "organization_not_empty");
    assert_eq!((&problem["licenses"], &problem["projects"]), (&json!(1), &json!(1)));
    world.delete(purge("&confirm=Acme&force=true")).await.expect(204);

    for path in [
        org.clone(),
        format!("/workspaces/{}", world.acme.workspace),
        format!("/licenses/{}", world.acme.license),
        format!("/bundles/{}", world.acme.bundle),
        format!("/memberships/{}", world.acme.membership),
        format!("/groups/{}", world.acme.group),
        format!("/projects/{}", world.acme.project),
        format!("/artifacts/{}", world.acme.artifact),
        format!("/invitations/{}", world.acme.invitation),
    ] {
        world.get(path).await.refused(404, "not_found");
    }
    world.by(&world.acme.token).get("/me").await.refused(401, "unauthenticated");
    world.get(format!("/users/{}", world.acme.user)).await.expect(200);
    let events = format!("/audit?organization={}", world.acme.org);
    let events = world.get(events).await.expect(200);
    assert_eq!(events["items"][0]["action"], "organizations.delete");
    assert!(events["items"].as_array().unwrap().len() > 10, "audit events outlive it");
    world.get(format!("/organizations/{}", world.globex.org)).await.expect(200);
}

#[on_both]
async fn an_owners_deletion_is_a_suspension_that_the_platform_can_undo(world: World) {
    let (org, owner) = (world.org(""), world.person("auth0|olga-acme"));
    assert_eq!(world.get(&org).await.expect(200)["retained_until"], Value::Null);
    let usage = async || {
        let summary = world.get(world.org("/usage/summary")).await.expect(200);
        (summary["items"][0]["quantity"].clone(), world.get(world.org("/subscriptions")).await)
    };
    let before = usage().await;
    // Neither the owner nor a token with every permission in the organization purges it.
    for client in [&owner, &world.by(&world.acme.token)] {
        let purge = format!("{org}?mode=purge&confirm=Acme&force=true");
        let problem = client.delete(purge).await.refused(403, "forbidden");
        assert_eq!(problem["permission"], "org:delete");
    }
    let narrowed = world.root().with("x-organization-id", &world.acme.org);
    narrowed.delete(format!("{org}?mode=purge&confirm=Acme")).await.refused(403, "forbidden");

    owner.delete(&org).await.expect(204);
    let suspended = world.get(&org).await.expect(200);
    assert_eq!(suspended["status"], "suspended");
    assert_eq!(suspended["retained_until"], "2026-04-02T00:00:00Z");
    let after = usage().await;
    assert_eq!((before.0, before.1.expect(200)), (after.0, after.1.expect(200)));
    // What was deleted stays so for its own people, and is not kept for longer.
    world.pass(TimeDelta::days(1));
    owner.delete(&org).await.refused(409, "organization_suspended");
    world.delete(&org).await.expect(204);
    let again = world.get(&org).await.expect(200);
    assert_eq!(again["retained_until"], "2026-04-02T00:00:00Z");
    let active = json!({"status": "active"});
    let active = world.patch(&org, active).await.expect(200);
    assert_eq!((&active["status"], &active["retained_until"]), (&json!("active"), &Value::Null));
}

#[on_both]
async fn a_retained_organization_is_purged_with_force_or_in_its_time(world: World) {
    let org = world.org("");
    world.post(format!("/licenses/{}/revoke", world.acme.license), json!({})).await.expect(200);
    world.delete(format!("/projects/{}", world.acme.project)).await.expect(204);
    world.by(&world.acme.token).delete(&org).await.expect(204);
    let purge = format!("{org}?mode=purge&confirm=Acme");
    let problem = world.delete(&purge).await.refused(409, "conflict");
    assert_eq!(problem["retained_until"], "2026-04-02T00:00:00Z");
    world.pass(TimeDelta::days(90));
    world.delete(&purge).await.expect(204);
}

#[on_both]
async fn a_suspension_by_the_platform_retains_nothing(world: World) {
    world.delete(world.org("")).await.expect(204);
    assert_eq!(world.get(world.org("")).await.expect(200)["retained_until"], Value::Null);
    world.delete(world.org("?mode=purge&confirm=Acme&force=true")).await.expect(204);
}

#[on_both]
async fn a_purge_without_live_licenses_needs_no_force(world: World) {
    world.post(format!("/licenses/{}/revoke", world.acme.license), json!({})).await.expect(200);
    let project = format!("/projects/{}", world.acme.project);
    world.delete(project).await.expect(204);
    let purge = format!("{}?mode=PURGE&confirm=Acme", world.org(""));
    world.delete(purge).await.expect(204);
}

fn bundles(world: &World) -> String {
    format!("/licenses/{}/bundles", world.acme.license)
}
