use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{guardrail, id, resource};
use crate::sweep::examples::UNKNOWN_ID;
use crate::world::{World, on_both};

/// A whole resource, without what its kind adds.
fn shown(world: &World, own: Value) -> Value {
    let mut shown = json!({
        "organization_id": world.acme.org, "product": "", "description": null, "status": "active",
        "is_public": false, "parent_id": null, "source_id": null, "secret": null,
        "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
    });
    shown.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    shown
}

#[on_both]
async fn six_kinds_are_shown_with_their_defaults(world: World) {
    let preset = resource(&world, json!({"kind": "guardrail", "name": "No PII"})).await;
    let spec = json!({"config": {}});
    let own = json!({
        "id": preset["id"], "kind": "guardrail", "key": "no-pii", "name": "No PII", "spec": spec,
    });
    assert_eq!(preset, shown(&world, own));

    let body = json!({
        "kind": "pattern", "name": "Card", "parent_id": preset["id"],
        "spec": {"regex": "\\d{16}", "type": "Block"},
    });
    let pattern = resource(&world, body).await;
    let own = json!({
        "id": pattern["id"], "kind": "pattern", "key": "card", "name": "Card",
        "parent_id": preset["id"],
        "spec": {"regex": "\\d{16}", "type": "block", "action": null},
    });
    assert_eq!(pattern, shown(&world, own));

    let body = json!({
        "kind": "agent", "name": "Scout", "product": "copilot", "description": "It looks around.",
        "guardrails": [preset["id"]], "spec": {"definition": {"steps": [1, 2]}},
    });
    let agent = resource(&world, body).await;
    let own = json!({
        "id": agent["id"], "kind": "agent", "key": "scout", "name": "Scout", "product": "copilot",
        "description": "It looks around.", "spec": {"definition": {"steps": [1, 2]}},
        "guardrails": [preset["id"]],
    });
    assert_eq!(agent, shown(&world, own));

    let body = json!({
        "kind": "connection", "name": "Mail", "spec": {"type": "mcp"}, "status": "disabled",
        "secret": {"token": "canary-0123"},
    });
    let connection = resource(&world, body).await;
    let own = json!({
        "id": connection["id"], "kind": "connection", "key": "mail", "name": "Mail",
        "status": "disabled", "secret": {"masked": true},
        "spec": {
            "type": "mcp", "config": {}, "auth_mode": null, "credential_visibility": "use_only",
            "allow_user_self_manage": false, "secret_ref": null,
        },
    });
    assert_eq!(connection, shown(&world, own));

    let body = json!({
        "kind": "model", "name": "GPT X", "key": "gpt-x", "is_public": true,
        "spec": {"deployment": "x-eu", "input_cost_per_million": 0.000001, "sort_order": 7},
    });
    let model = resource(&world, body).await;
    let own = json!({
        "id": model["id"], "kind": "model", "key": "gpt-x", "name": "GPT X", "is_public": true,
        "spec": {
            "deployment": "x-eu", "provider": null, "capability": null,
            "input_cost_per_million": 0.000001, "output_cost_per_million": null,
            "content_capabilities": {}, "extra_body": {}, "base_url_env": null,
            "api_key_env": null, "sort_order": 7,
        },
    });
    assert_eq!(model, shown(&world, own));

    let body = json!({"kind": "listing", "name": "Scout", "parent_id": agent["id"]});
    let listing = resource(&world, body.clone()).await;
    let own = json!({
        "id": listing["id"], "kind": "listing", "key": "scout", "name": "Scout",
        "parent_id": agent["id"],
        "spec": {
            "version": "1.0.0", "pricing": "free", "author": null, "published": true,
            "featured": false, "verified": false,
        },
        "installations": 0, "rating": {"average": null, "count": 0},
    });
    assert_eq!(listing, shown(&world, own));
    let second = world.post(world.org("/resources"), body).await.refused(409, "conflict");
    assert_eq!(second["field"], "parent_id");
    for made in [&preset, &pattern, &agent, &connection, &model, &listing] {
        let path = format!("/resources/{}", made["id"].as_str().unwrap());
        assert_eq!(world.get(path).await.expect(200), *made);
    }
}

#[on_both]
async fn keys_are_derived_and_unique_for_each_kind(world: World) {
    let body = json!({"kind": "guardrail", "name": "Müller & Co"});
    let keys = [resource(&world, body.clone()).await, resource(&world, body).await];
    assert_eq!(keys.map(|made| made["key"].clone()), ["muller-co", "muller-co-1"]);
    let body = json!({"kind": "guardrail", "name": "x", "key": "muller-co"});
    let taken = world.post(world.org("/resources"), body).await.refused(409, "code_taken");
    assert_eq!(taken["field"], "key");
    let body =
        json!({"kind": "connection", "name": "x", "key": "muller-co", "spec": {"type": "mcp"}});
    let other = resource(&world, body).await;
    let foreign = "/organizations/globex/resources";
    let body = json!({"kind": "guardrail", "name": "x", "key": "muller-co"});
    world.post(foreign, body).await.expect(201);
    let second = json!({"kind": "connection", "name": "y", "spec": {"type": "mcp"}});
    let second = format!("/resources/{}", id(&resource(&world, second).await));
    let patch = json!({"key": other["key"]});
    world.patch(second, patch).await.refused(409, "code_taken");
}

#[on_both]
async fn wrong_members_are_refused_at_their_path(world: World) {
    let preset = guardrail(&world, "pii").await;
    let pattern =
        |spec: Value| json!({"kind": "pattern", "name": "x", "parent_id": preset, "spec": spec});
    let connection = |spec: Value| json!({"kind": "connection", "name": "x", "spec": spec});
    let with = |mut body: Value, more: Value| {
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, field) in [
        (json!({"kind": "agnt", "name": "x"}), "kind"),
        (json!({"kind": "guardrail", "name": "x", "key": "a b"}), "key"),
        (json!({"kind": "guardrail", "name": "x", "spec": {"confg": {}}}), "spec.confg"),
        (json!({"kind": "guardrail", "name": "x", "spec": {"config": []}}), "spec.config"),
        (json!({"kind": "guardrail", "name": "x", "parent_id": preset}), "parent_id"),
        (json!({"kind": "guardrail", "name": "x", "is_public": true}), "is_public"),
        (json!({"kind": "guardrail", "name": "x", "guardrails": [preset]}), "guardrails"),
        (json!({"kind": "guardrail", "name": "x", "bindings": []}), "bindings"),
        (json!({"kind": "guardrail", "name": "x", "secret": {"a": "b"}}), "secret"),
        (json!({"kind": "pattern", "name": "x", "spec": {}}), "spec.regex"),
        (
            json!({"kind": "pattern", "name": "x", "spec": {"regex": "a", "type": "block"}}),
            "parent_id",
        ),
        (pattern(json!({"regex": "(", "type": "block"})), "spec.regex"),
        (pattern(json!({"regex": "(a{999}){999}", "type": "block"})), "spec.regex"),
        (pattern(json!({"regex": "a".repeat(4097), "type": "block"})), "spec.regex"),
        (pattern(json!({"regex": "a", "type": "find"})), "spec.type"),
        (pattern(json!({"regex": "a", "type": "block", "action": ""})), "spec.action"),
        (connection(json!({})), "spec.type"),
        (connection(json!({"type": "composio"})), "spec.auth_mode"),
        (connection(json!({"type": "composio", "auth_mode": "api_key"})), "secret"),
        (with(connection(json!({"type": "mcp"})), json!({"secret": {}})), "secret"),
        (with(connection(json!({"type": "mcp"})), json!({"secret": "canary"})), "secret"),
        (
            with(
                connection(json!({"type": "mcp", "secret_ref": "app/token"})),
                json!({"secret": {"a": "b"}}),
            ),
            "secret",
        ),
        (json!({"kind": "model", "name": "x", "spec": {}}), "spec.deployment"),
        (
            json!({"kind": "model", "name": "x", "spec": {"deployment": "d", "api_key_env": "a-b"}}),
            "spec.api_key_env",
        ),
        (
            json!({"kind": "model", "name": "x", "spec": {"deployment": "d", "input_cost_per_million": -1}}),
            "spec.input_cost_per_million",
        ),
        (json!({"kind": "agent", "name": "x"}), "guardrails"),
        (json!({"kind": "agent", "name": "x", "guardrails": []}), "guardrails"),
        (json!({"kind": "agent", "name": "x", "guardrails": [preset, preset]}), "guardrails"),
    ] {
        world.post(world.org("/resources"), body).await.invalid(field);
    }
    let body = pattern(json!({"regex": "(", "type": "block"}));
    let problem = world.post(world.org("/resources"), body).await.invalid("spec.regex");
    assert_eq!(problem["detail"], "`spec.regex` must be a regular expression: unclosed group.");
    let body =
        json!({"kind": "listing", "name": "x", "parent_id": UNKNOWN_ID, "spec": {"version": "1"}});
    world.post(world.org("/resources"), body).await.invalid("spec.version");
    for (body, field) in [
        (json!({"kind": "listing", "name": "x", "parent_id": preset}), "parent_id"),
        (json!({"kind": "listing", "name": "x", "parent_id": UNKNOWN_ID}), "parent_id"),
        (connection(json!({"type": "mcp", "secret_ref": "none"})), "spec.secret_ref"),
        (json!({"kind": "agent", "name": "x", "guardrails": [preset, UNKNOWN_ID]}), "guardrails"),
    ] {
        let problem = world.post(world.org("/resources"), body).await.refused(404, "not_found");
        assert_eq!(problem["field"], field);
    }
}

#[on_both]
async fn patch_merges_the_spec_and_checks_the_result(world: World) {
    let spec = json!({"type": "composio", "auth_mode": "api_key", "config": {"a": 1}});
    let secret = json!({"api_key": "canary-one", "other": "canary-two"});
    let body = json!({"kind": "connection", "name": "C", "spec": spec, "secret": secret});
    let made = resource(&world, body).await;
    let path = format!("/resources/{}", id(&made));
    world.pass(TimeDelta::hours(1));
    let patch = json!({
        "name": "D", "key": "d", "description": "x", "status": "disabled",
        "spec": {"config": {"b": 2}, "credential_visibility": "self_managed"},
    });
    let changed = world.patch(&path, patch).await.expect(200);
    let mut expected = made.clone();
    for (member, value) in [
        ("name", json!("D")),
        ("key", json!("d")),
        ("description", json!("x")),
        ("status", json!("disabled")),
        ("updated_at", json!("2026-01-02T01:00:00Z")),
    ] {
        expected[member] = value;
    }
    expected["spec"]["config"] = json!({"b": 2});
    expected["spec"]["credential_visibility"] = json!("self_managed");
    assert_eq!(changed, expected);
    // The stored secret has the key; another or none has not.
    world.patch(&path, json!({"secret": {"other": "x"}})).await.invalid("secret");
    world.patch(&path, json!({"secret": null})).await.invalid("secret");
    world.patch(&path, json!({"spec": {"auth_mode": null}})).await.invalid("spec.auth_mode");
    world.patch(&path, json!({"spec": {"secret_ref": "app/token"}})).await.invalid("secret");
    world.patch(&path, json!({"spec": {"type": null}})).await.invalid("spec.type");
    let referred = json!({"secret": null, "spec": {"secret_ref": "app/token"}});
    let referred = world.patch(&path, referred).await.expect(200);
    assert_eq!(referred["secret"], Value::Null);
    world.patch(&path, json!({"kind": "agent"})).await.invalid("kind");
    world.patch(&path, json!({"product": "x"})).await.invalid("product");
    world.patch(&path, json!({"guardrails": []})).await.invalid("guardrails");
    world.delete(&path).await.expect(204);
    world.get(&path).await.refused(404, "not_found");
}

#[on_both]
async fn list_filters_by_every_member(world: World) {
    let preset = guardrail(&world, "pii").await;
    for (name, product) in [("50% Off_er", ""), ("50X Offers", "copilot"), ("Ünique", "console")] {
        let body = json!({
            "kind": "pattern", "name": name, "product": product, "parent_id": preset,
            "spec": {"regex": "a", "type": "allow"},
        });
        world.pass(TimeDelta::milliseconds(1));
        resource(&world, body).await;
    }
    let names = async |query: &str| -> Vec<String> {
        let path = world.org(&format!("/resources?kind=pattern&{query}"));
        let list = world.get(path).await.expect(200);
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("").await, ["Ünique", "50X Offers", "50% Off_er"]);
    assert_eq!(names("q=off").await, ["50X Offers", "50% Off_er"]);
    assert_eq!(names("q=50%25").await, ["50% Off_er"]);
    assert_eq!(names("q=f_E").await, ["50% Off_er"]);
    assert_eq!(names("product=").await, ["50% Off_er"]);
    assert_eq!(names("product=console").await, ["Ünique"]);
    assert_eq!(names(&format!("parent={preset}&limit=1")).await, ["Ünique"]);
    assert_eq!(names(&format!("parent={UNKNOWN_ID}")).await, [""; 0]);
    assert_eq!(names("status=disabled").await, [""; 0]);
    assert_eq!(names("key=50-off-er").await, ["50% Off_er"]);
}

#[on_both]
async fn catalogue_shows_public_resources_to_every_caller(world: World) {
    let model = json!({
        "kind": "model", "name": "GPT X", "key": "gpt-x", "is_public": true,
        "spec": {
            "deployment": "d", "extra_body": {"k": "v"}, "base_url_env": "URL", "api_key_env": "KEY",
        },
    });
    let made = resource(&world, model.clone()).await;
    let mut hidden = model.clone();
    hidden["key"] = json!("gpt-y");
    hidden["is_public"] = json!(false);
    resource(&world, hidden).await;
    let mut disabled = model;
    disabled["key"] = json!("gpt-z");
    disabled["status"] = json!("disabled");
    resource(&world, disabled).await;
    let foreign = world.person("auth0|olga-globex");
    for path in ["/resources", "/resources?kind=model&q=gpt&product="] {
        let list = foreign.get(path).await.expect(200);
        assert_eq!(
            list,
            json!({"items": [{
                "id": made["id"], "kind": "model", "key": "gpt-x", "name": "GPT X", "product": "",
                "description": null, "parent_id": null,
                "spec": {
                    "deployment": "d", "provider": null, "capability": null,
                    "input_cost_per_million": null, "output_cost_per_million": null,
                    "content_capabilities": {}, "sort_order": 100,
                },
                "publisher": {"organization_id": world.acme.org, "name": "Acme"},
                "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
            }], "next_cursor": null})
        );
    }
    let path = format!("/resources/{}", id(&made));
    foreign.get(&path).await.refused(404, "not_found");
    world.patch(&path, json!({"is_public": false})).await.expect(200);
    assert_eq!(foreign.get("/resources").await.expect(200)["items"], json!([]));
}

#[on_both]
async fn vendor_alone_sets_what_others_see(world: World) {
    let preset = guardrail(&world, "pii").await;
    let owner = world.person("auth0|olga-acme");
    let body = json!({"kind": "agent", "name": "Scout", "guardrails": [preset]});
    let agent = owner.post(world.org("/resources"), body).await.expect(201);
    let listing = json!({"kind": "listing", "name": "Scout", "parent_id": agent["id"]});
    let with = |more: Value| {
        let mut body = listing.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (more, field) in [
        (json!({"is_public": true}), "is_public"),
        (json!({"spec": {"featured": true}}), "spec.featured"),
        (json!({"spec": {"verified": true}}), "spec.verified"),
    ] {
        let problem = owner.post(world.org("/resources"), with(more)).await;
        assert_eq!(problem.refused(403, "forbidden")["field"], field);
    }
    let plain = json!({"spec": {"featured": false, "published": false}, "is_public": false});
    let made = owner.post(world.org("/resources"), with(plain)).await.expect(201);
    let path = format!("/resources/{}", id(&made));
    let vendors = json!({"spec": {"featured": true, "verified": true}, "is_public": true});
    world.patch(&path, vendors).await.expect(200);
    // What the vendor has set stays, and only the vendor removes it.
    owner.patch(&path, json!({"spec": {"published": true}})).await.expect(200);
    for (patch, field) in [
        (json!({"is_public": false}), "is_public"),
        (json!({"spec": {"featured": null}}), "spec.featured"),
        (json!({"spec": {"verified": false}}), "spec.verified"),
    ] {
        let problem = owner.patch(&path, patch).await.refused(403, "forbidden");
        assert_eq!(problem["field"], field);
    }
}

#[on_both]
async fn deletion_takes_children_and_bindings_along(world: World) {
    let preset = guardrail(&world, "pii").await;
    let body = json!({"kind": "agent", "name": "Scout", "guardrails": [preset], "bindings": [
        {"scope": "organization"},
        {"scope": format!("user:{}", world.acme.user), "effect": "deny"},
    ]});
    let agent = id(&resource(&world, body).await);
    let body = json!({"kind": "listing", "name": "Scout", "parent_id": agent});
    let listing = id(&resource(&world, body).await);
    let bindings = world.org(&format!("/bindings?subject={agent}"));
    let found = world.get(&bindings).await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 2);
    world.delete(format!("/resources/{agent}")).await.expect(204);
    world.get(format!("/resources/{listing}")).await.refused(404, "not_found");
    assert_eq!(world.get(&bindings).await.expect(200)["items"], json!([]));
    // The guardrail has no agent any more.
    world.delete(format!("/resources/{preset}")).await.expect(204);
}

#[on_both]
async fn invalid_scope_of_a_first_binding_refuses_the_whole_agent(world: World) {
    let preset = guardrail(&world, "pii").await;
    let body = |scope: &str| {
        json!({"kind": "agent", "name": "Scout", "guardrails": [preset], "bindings": [
            {"scope": "organization"}, {"scope": scope},
        ]})
    };
    let path = world.org("/resources");
    let problem = world.post(&path, body("pool")).await.invalid("bindings[1].scope");
    assert_eq!(
        problem["detail"],
        "`bindings[1].scope` must be `organization`, `group:<id>` or `user:<id>` (got kind `pool`)."
    );
    world.post(&path, body("organization")).await.invalid("bindings[1].scope");
    for missing in [
        format!("group:{UNKNOWN_ID}"),
        format!("group:{}", world.globex.group),
        format!("user:{}", world.acme.stranger),
        format!("user:{}", world.globex.user),
    ] {
        let problem = world.post(&path, body(&missing)).await.refused(404, "not_found");
        assert_eq!(problem["field"], "bindings[1].scope");
    }
    let agents = world.get(world.org("/resources?kind=agent")).await.expect(200);
    assert_eq!(agents["items"], json!([]));
}
