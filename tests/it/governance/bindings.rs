use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{agent, guardrail, id, resource};
use crate::sweep::examples::UNKNOWN_ID;
use crate::world::{World, on_both};

#[on_both]
async fn guarded_agent_is_bound_to_a_group_and_listed(world: World) {
    let preset = guardrail(&world, "pii").await;
    let agent = agent(&world, "Scout", &[&preset]).await;
    let scope = format!("group:{}", world.acme.group);
    let body = json!({"kind": "agent", "subject": agent, "scope": scope});
    let answer = world.put(world.org("/bindings"), body.clone()).await;
    let location = answer.header("location").to_owned();
    let made = answer.expect(201);
    assert_eq!(
        made,
        json!({
            "id": made["id"], "organization_id": world.acme.org, "kind": "agent", "product": "",
            "subject": agent, "scope": scope, "effect": "allow", "value": {}, "mandatory": false,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let list = world.get(location.strip_prefix("/api/v1").unwrap()).await.expect(200);
    assert_eq!(list, json!({"items": [made], "next_cursor": null}));
    let own = world.get(format!("/groups/{}/bindings", world.acme.group)).await.expect(200);
    assert_eq!(own["items"][0], made);

    world.pass(TimeDelta::hours(1));
    let mut denied = body.clone();
    denied["effect"] = json!("deny");
    let changed = world.put(world.org("/bindings"), denied).await.expect(200);
    let mut expected = made.clone();
    expected["effect"] = json!("deny");
    expected["updated_at"] = json!("2026-01-02T01:00:00Z");
    assert_eq!(changed, expected);
    let event = world.get(world.org("/audit?action=bindings.put&limit=1")).await.expect(200);
    assert_eq!((&event["items"][0]["before"], &event["items"][0]["after"]), (&made, &changed));

    let path = world.org(&format!("/bindings?kind=agent&subject={agent}&scope={scope}"));
    world.delete(&path).await.expect(204);
    world.delete(&path).await.refused(404, "not_found");
}

#[on_both]
async fn wrong_bindings_are_refused_at_their_field(world: World) {
    let preset = guardrail(&world, "pii").await;
    let agent = agent(&world, "Scout", &[&preset]).await;
    let path = world.org("/bindings");
    let user = format!("user:{}", world.acme.user);
    let body = |kind: &str, subject: &str, scope: &str, more: Value| {
        let mut body = json!({"kind": kind, "subject": subject, "scope": scope});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let nothing = || json!({});
    let long = "x".repeat(256);
    for (body, field) in [
        (body("model", "gpt", "planet:1", nothing()), "scope"),
        (body("model", "gpt", "group", nothing()), "scope"),
        (body("model", "gpt", "pool", nothing()), "scope"),
        (body("agent", &agent, &format!("project:{}", world.acme.project), nothing()), "scope"),
        (body("feature", "f", &format!("agent:{agent}"), nothing()), "scope"),
        (body("models", "gpt", &user, nothing()), "kind"),
        (body("model", &long, &user, nothing()), "subject"),
        (body("model", "a*b", &user, nothing()), "subject"),
        (body("model", "", &user, nothing()), "subject"),
        (body("feature", "a b", &user, nothing()), "subject"),
        (body("agent", &agent, &user, json!({"value": {"config": {}}})), "value.config"),
        (body("feature", "f", &user, json!({"value": {"config": 1}})), "value.config"),
        (body("feature", "f", &user, json!({"value": {"can_manage": true}})), "value.can_manage"),
        (
            body("feature", "f", &user, json!({"value": {"config": {"k": long.repeat(65)}}})),
            "value",
        ),
        (body("agent", &agent, &user, json!({"product": "copilot"})), "product"),
        (
            body("guardrail", &preset, &user, json!({"effect": "deny", "mandatory": true})),
            "mandatory",
        ),
        (body("model", "gpt", &user, json!({"effect": "block"})), "effect"),
    ] {
        world.put(&path, body).await.invalid(field);
    }
    for (body, field) in [
        (body("agent", UNKNOWN_ID, &user, nothing()), "subject"),
        (body("agent", "scout", &user, nothing()), "subject"),
        (body("agent", &preset, &user, nothing()), "subject"),
        (body("connection", &agent, &user, nothing()), "subject"),
        (body("guardrail", &preset, &format!("agent:{preset}"), nothing()), "scope"),
        (body("model", "gpt", &format!("user:{}", world.acme.stranger), nothing()), "scope"),
        (body("model", "gpt", &format!("project:{}", world.globex.project), nothing()), "scope"),
        (
            body("model", "gpt", &format!("workspace:{}", world.globex.workspace), nothing()),
            "scope",
        ),
        (body("model", "gpt", &format!("group:{}", world.globex.group), nothing()), "scope"),
    ] {
        let problem = world.put(&path, body.clone()).await.refused(404, "not_found");
        assert_eq!(problem["field"], field, "{body}");
    }
}

#[on_both]
async fn values_have_defaults_and_scopes_every_kind(world: World) {
    let path = world.org("/bindings");
    let acme = &world.acme;
    let body =
        json!({"kind": "connection", "name": "Mail", "spec": {"type": "mcp"}, "product": "p"});
    let mail = id(&resource(&world, body).await);
    let body =
        json!({"kind": "connection", "subject": mail, "scope": format!("user:{}", acme.user)});
    let made = world.put(&path, body).await.expect(201);
    assert_eq!((&made["value"], &made["product"]), (&json!({"can_manage": false}), &json!("p")));
    for scope in [
        "organization".to_owned(),
        format!("group:{}", acme.group),
        format!("user:{}", acme.user),
        format!("project:{}", acme.project),
        format!("workspace:{}", acme.workspace),
    ] {
        world.pass(TimeDelta::milliseconds(1));
        let body = json!({"kind": "feature", "subject": "beta", "scope": scope, "product": "p"});
        let made = world.put(&path, body).await.expect(201);
        assert_eq!((&made["value"], &made["scope"]), (&json!({"config": {}}), &json!(scope)));
        let list = world.get(format!("{path}?scope={scope}&kind=feature&product=p")).await;
        assert_eq!(list.expect(200)["items"], json!([made]));
    }
    let all = world.get(format!("{path}?subject=beta&limit=4")).await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 4);
    assert_eq!(all["items"][0]["scope"], json!(format!("workspace:{}", acme.workspace)));
    world.get(format!("{path}?scope=planet")).await.invalid("scope");
}

#[on_both]
async fn replacement_is_the_whole_set_and_repeats_without_a_change(world: World) {
    let (path, replace) = (world.org("/bindings"), world.org("/bindings/replace"));
    let (group, user) =
        (format!("group:{}", world.acme.group), format!("user:{}", world.acme.user));
    for scope in ["organization", &group] {
        let body = json!({"kind": "model", "subject": "gpt-*", "scope": scope});
        world.put(&path, body).await.expect(201);
    }
    world.pass(TimeDelta::hours(1));
    let body = json!({"kind": "model", "subject": "gpt-*", "items": [
        {"scope": "organization", "effect": "deny", "mandatory": true}, {"scope": user},
    ]});
    let done = world.post(&replace, body.clone()).await.expect(200);
    assert_eq!(
        (&done["added"], &done["changed"], &done["removed"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let list = world.get(format!("{path}?kind=model")).await.expect(200);
    assert_eq!(list["items"], done["items"]);
    let scopes: Vec<&Value> =
        done["items"].as_array().unwrap().iter().map(|item| &item["scope"]).collect();
    assert_eq!(scopes, [&json!(user), &json!("organization")]);
    let again = world.post(&replace, body.clone()).await.expect(200);
    assert_eq!(
        again,
        json!({"product": "", "items": done["items"], "added": 0, "changed": 0, "removed": 0})
    );
    let mut twice = body.clone();
    twice["items"][1]["scope"] = json!("organization");
    world.post(&replace, twice).await.invalid("items[1].scope");
    let mut missing = body.clone();
    missing["items"][1]["scope"] = json!(format!("user:{}", world.globex.user));
    let problem = world.post(&replace, missing).await.refused(404, "not_found");
    assert_eq!(problem["field"], "items[1].scope");
    assert_eq!(world.get(format!("{path}?kind=model")).await.expect(200)["items"], done["items"]);
    let none = json!({"kind": "model", "subject": "gpt-*", "items": []});
    let none = world.post(&replace, none).await.expect(200);
    assert_eq!(none, json!({"product": "", "items": [], "added": 0, "changed": 0, "removed": 2}));
}

#[on_both]
async fn group_admin_binds_its_own_groups_and_undoes_nothing_mandatory(world: World) {
    let below = json!({"name": "North", "parent_id": world.acme.group});
    let below = id(&world.post(world.org("/groups"), below).await.expect(201));
    let seat = format!("/groups/{}/members/{}", world.acme.group, world.acme.stranger);
    world.put(seat, json!({"role": "admin"})).await.expect(201);
    let sven = world.person("auth0|sven-acme");
    let path = |group: &str| format!("/groups/{group}/bindings");
    let body = |more: Value| {
        let mut body = json!({"kind": "model", "subject": "gpt-x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let made = sven.put(path(&below), body(json!({}))).await.expect(201);
    assert_eq!(made["scope"], json!(format!("group:{below}")));
    sven.put(path(&world.acme.group), body(json!({}))).await.expect(201);
    sven.put(path(&below), body(json!({"effect": "deny"}))).await.expect(200);
    let list = sven.get(path(&below)).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let other = json!({"scope": format!("group:{}", world.acme.group)});
    sven.put(path(&below), body(other)).await.invalid("scope");
    sven.put(path(&below), body(json!({"scope": "organization"}))).await.invalid("scope");
    let problem = sven.put(path(&below), body(json!({"mandatory": true}))).await;
    assert_eq!(problem.refused(403, "forbidden")["field"], "mandatory");
    sven.put(world.org("/bindings"), body(json!({"scope": "organization"})))
        .await
        .refused(403, "forbidden");
    sven.get(world.org("/bindings")).await.refused(403, "forbidden");
    sven.get(path(&world.acme.spare_group)).await.refused(403, "forbidden");
    sven.put(path(&world.acme.spare_group), body(json!({}))).await.refused(403, "forbidden");
    // An admin of the organization sets a mandatory one, which the group keeps.
    world.put(path(&below), body(json!({"mandatory": true}))).await.expect(200);
    sven.put(path(&below), body(json!({}))).await.refused(403, "forbidden");
    let which = format!("{}?kind=model&subject=gpt-x", path(&below));
    sven.delete(&which).await.refused(403, "forbidden");
    world.delete(&which).await.expect(204);
    sven.delete(&which).await.refused(404, "not_found");
}

/// The subjects of acme's model bindings, sorted.
async fn models(world: &World) -> Vec<String> {
    let list = world.get(world.org("/bindings?kind=model")).await.expect(200);
    let items = list["items"].as_array().unwrap().iter();
    let mut subjects: Vec<String> =
        items.map(|item| item["subject"].as_str().unwrap().to_owned()).collect();
    subjects.sort();
    subjects
}

#[on_both]
async fn bindings_end_with_their_scope(world: World) {
    let project = id(&world.post(world.org("/projects"), json!({"name": "P"})).await.expect(201));
    let own = json!({"name": "W", "project_id": project});
    let workspace = id(&world.post(world.org("/workspaces"), own).await.expect(201));
    let lone = id(&world.post(world.org("/workspaces"), json!({"name": "L"})).await.expect(201));
    let group = id(&world.post(world.org("/groups"), json!({"name": "G"})).await.expect(201));
    let seat = json!({"user_id": world.acme.stranger, "role": "viewer"});
    let seat = id(&world.post(world.org("/memberships"), seat).await.expect(201));
    for (subject, scope) in [
        ("group", format!("group:{group}")),
        ("lone", format!("workspace:{lone}")),
        ("organization", "organization".to_owned()),
        ("project", format!("project:{project}")),
        ("user", format!("user:{}", world.acme.stranger)),
        ("workspace", format!("workspace:{workspace}")),
    ] {
        let body = json!({"kind": "model", "subject": subject, "scope": scope});
        world.put(world.org("/bindings"), body).await.expect(201);
    }
    world.delete(format!("/groups/{group}")).await.expect(204);
    assert_eq!(models(&world).await, ["lone", "organization", "project", "user", "workspace"]);
    let limit = json!({
        "metric": "m", "quantity": 1, "scope": format!("user:{}", world.acme.stranger),
    });
    let limit = id(&world.put(world.org("/limits"), limit).await.expect(201));
    // A person who comes back finds no former grant, and no former limit.
    world.delete(format!("/memberships/{seat}")).await.expect(204);
    let seat = json!({"user_id": world.acme.stranger, "role": "viewer"});
    world.post(world.org("/memberships"), seat).await.expect(201);
    world.get(format!("/limits/{limit}")).await.refused(404, "not_found");
    assert_eq!(models(&world).await, ["lone", "organization", "project", "workspace"]);
    let to = json!({"organization": world.globex.org});
    world.post(format!("/projects/{project}/move"), to).await.expect(200);
    assert_eq!(models(&world).await, ["lone", "organization"]);
    world.delete(format!("/workspaces/{lone}")).await.expect(204);
    assert_eq!(models(&world).await, ["organization"]);
}

#[on_both]
async fn every_change_increases_the_revision(world: World) {
    let revision =
        async || world.get(world.org("")).await.expect(200)["revision"].as_i64().unwrap();
    let mut last = revision().await;
    let mut grew = async |what: &str| {
        let now = revision().await;
        assert!(now > last, "{what}: {last} to {now}");
        last = now;
    };
    let preset = guardrail(&world, "pii").await;
    grew("resources.create").await;
    world.patch(format!("/resources/{preset}"), json!({"name": "x"})).await.expect(200);
    grew("resources.update").await;
    let body = json!({"kind": "guardrail", "subject": preset, "scope": "organization"});
    world.put(world.org("/bindings"), body).await.expect(201);
    grew("bindings.put").await;
    let body = json!({"kind": "guardrail", "subject": preset, "items": []});
    world.post(world.org("/bindings/replace"), body).await.expect(200);
    grew("bindings.replace").await;
    world.delete(format!("/resources/{preset}")).await.expect(204);
    grew("resources.delete").await;
}
