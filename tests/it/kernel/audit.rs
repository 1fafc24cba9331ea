use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{ROOT, World, on_both};

#[on_both]
async fn event_names_its_actor_action_and_target_with_both_states(world: World) {
    let by = world.root().with("x-request-id", "trace-1");
    by.patch(world.org(""), json!({"metadata": {"k": 1}})).await.expect(200);
    let events = world.get(world.org("/audit?limit=1")).await.expect(200);
    let event = world.named(&events["items"][0]);
    let mut after = event["before"].clone();
    after["metadata"] = json!({"k": 1});
    after["revision"] = event["after"]["revision"].clone();
    after["updated_at"] = json!("2026-01-02T00:00:00Z");
    assert_eq!(event["after"], after);
    assert_eq!(
        without(event, &["before", "after", "actor_id", "id", "seq"]),
        json!({
            "at": "2026-01-02T00:00:00Z", "occurred_at": "2026-01-02T00:00:00Z",
            "source": "server", "actor": null, "vouched_by": null, "project_id": null, "metadata": null,
            "organization_id": "<acme's org>",
            "actor_kind": "service_token", "actor_name": "bootstrap",
            "action": "organizations.update", "target_type": "organization",
            "target_id": "<acme's org>", "reason": null, "request_id": "trace-1", "ip": null,
            "erased_at": null,
        })
    );
}

#[on_both]
async fn events_are_narrowed(world: World) {
    let me = world.by(ROOT).get("/me").await.expect(200)["id"].clone();
    world.pass(TimeDelta::hours(1));
    world.by(&world.acme.token).patch(world.org(""), json!({"name": "A"})).await.expect(200);
    world.pass(TimeDelta::hours(1));
    world.patch(world.org(""), json!({"name": "B"})).await.expect(200);
    let count = async |filter: String| {
        let list = world.get(world.org(&format!("/audit?limit=500&{filter}"))).await;
        list.expect(200)["items"].as_array().unwrap().len()
    };
    let updates = "action=organizations.update";
    assert_eq!(count(updates.into()).await, 2);
    assert_eq!(count(format!("{updates}&actor={}", me.as_str().unwrap())).await, 1);
    assert_eq!(count(format!("{updates}&actor={}", world.acme.token_id)).await, 1);
    assert_eq!(count(format!("{updates}&since=2026-01-02T02:00:00Z")).await, 1);
    assert_eq!(count(format!("{updates}&until=2026-01-02T02:00:00Z")).await, 2);
    assert_eq!(count(format!("{updates}&until=2026-01-02T01:59:59.999999Z")).await, 1);
    assert_eq!(count(format!("target={}", world.acme.license)).await, 1);
    world.get(world.org("/audit?since=never")).await.invalid("since");
}

#[on_both]
async fn events_are_narrowed_by_product_target_type_and_slice(world: World) {
    let group = json!({"name": "Studio", "product": "atelier"});
    let made = world.post(world.org("/groups"), group).await.expect(201);
    let path = format!("/groups/{}", made["id"].as_str().unwrap());
    world.pass(TimeDelta::milliseconds(1));
    world.patch(&path, json!({"product": "loom"})).await.expect(200);
    world.pass(TimeDelta::milliseconds(1));
    world.delete(&path).await.expect(204);
    let list = async |path: String| {
        let list = world.get(path).await.expect(200);
        let items = list["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|event| event["action"].as_str().unwrap().to_owned())
            .collect::<Vec<String>>()
    };
    let own = async |filter: &str| list(world.org(&format!("/audit?limit=500&{filter}"))).await;
    // The state after decides; without one, the state before.
    assert_eq!(own("product=atelier").await, ["groups.create"]);
    assert_eq!(own("product=loom").await, ["groups.delete", "groups.update"]);
    assert_eq!(own("product=none").await, [""; 0]);
    let all = list("/audit?product=atelier".to_owned()).await;
    assert_eq!(all, ["groups.create"], "the platform's list");
    let slice = own("action=groups.*&product=loom").await;
    assert_eq!(slice, ["groups.delete", "groups.update"]);
    let mut all = own("").await;
    all.retain(|action| action.starts_with("groups."));
    assert!(all.len() >= 7, "{all:?}");
    assert_eq!(own("action=groups.*").await, all);
    // A prefix of a name is no slice, and no character stands for others.
    for none in ["groups.c*", "group.*", "*", ".*", "groups", "group_.*", "%25.*"] {
        assert_eq!(own(&format!("action={none}")).await, [""; 0], "{none}");
    }
    let of_type = own("target_type=group&product=atelier").await;
    assert_eq!(of_type, ["groups.create"]);
    assert_eq!(own("target_type=grou").await, [""; 0]);
    assert!(own("target_type=license").await.contains(&"licenses.create".to_owned()));
}

/// Changes whose states are no rows of the product have it, too.
#[on_both]
async fn events_of_allocations_and_replacements_have_their_product(world: World) {
    let budget = world.org("/budgets/atelier");
    world.put(&budget, json!({"credits": 100})).await.expect(201);
    world.post(format!("{budget}/cycles"), json!({})).await.expect(201);
    let scope = format!("group:{}", world.acme.group);
    let allocation = json!({"scope": scope, "quantity": 1});
    world.put(format!("{budget}/allocations"), allocation).await.expect(201);
    let shares = json!({"scopes": [scope], "total": 2});
    world.post(format!("{budget}/distribute"), shares).await.expect(200);
    world.delete(format!("{budget}/allocations?scope={scope}")).await.expect(204);
    let items = json!([{"scope": scope}]);
    let body = json!({"kind": "model", "subject": "m", "product": "atelier", "items": items});
    world.post(world.org("/bindings/replace"), body).await.expect(200);
    let list = world.get(world.org("/audit?product=atelier&limit=500")).await.expect(200);
    let mut actions: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    actions.sort_unstable();
    assert_eq!(
        actions,
        [
            "allocations.delete",
            "allocations.distribute",
            "allocations.put",
            "bindings.replace",
            "budget_cycles.open",
            "budgets.put",
        ]
    );
}

#[on_both]
async fn large_event_keeps_its_product(world: World) {
    let body = json!({
        "kind": "agent", "name": "Scout", "product": "studio",
        "spec": {"definition": {"text": "x".repeat(20_000)}},
    });
    let preset = json!({"kind": "guardrail", "name": "PII", "product": "studio"});
    let preset = world.post(world.org("/resources"), preset).await.expect(201);
    let mut body = body;
    body["guardrails"] = json!([preset["id"]]);
    let made = world.post(world.org("/resources"), body).await.expect(201);
    let path = format!("/resources/{}", made["id"].as_str().unwrap());
    world.patch(path, json!({"name": "Ranger"})).await.expect(200);
    let filter = "/audit?product=studio&action=resources.update";
    let found = world.get(world.org(filter)).await.expect(200)["items"].clone();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(found[0]["after"]["product"], "studio");
    assert!(found[0]["after"]["$whole"].is_object(), "{}", found[0]["after"]);
}

#[on_both]
async fn an_organization_sees_its_own_events_only(world: World) {
    let own = world.by(&world.acme.token);
    let list = own.get(world.org("/audit?limit=500")).await.expect(200);
    let items = list["items"].as_array().unwrap();
    assert!(items.len() > 10);
    assert!(items.iter().all(|event| event["organization_id"] == world.acme.org));
    let foreign = world.org(&format!("/audit?organization={}", world.globex.org));
    for event in own.get(foreign).await.expect(200)["items"].as_array().unwrap() {
        assert_eq!(event["organization_id"], world.acme.org);
    }
    own.get("/audit").await.refused(403, "forbidden");
}

#[on_both]
async fn an_event_of_a_change_to_a_role_belongs_to_its_organization(world: World) {
    let role = format!("/roles/{}", world.acme.role);
    world.patch(role, json!({"name": "Other"})).await.expect(200);
    let list = world.get(world.org("/audit?action=roles.update")).await.expect(200);
    assert_eq!(list["items"][0]["before"]["name"], "Analyst");
    assert_eq!(list["items"][0]["after"]["name"], "Other");
}

#[on_both]
async fn caller_records_an_event_from_elsewhere(world: World) {
    let by = world.with_only(&["audit:write"]).await.with("x-request-id", "trace-1");
    let body = json!({
        "action": "runs.finish", "target_type": "run", "target_id": "r-7", "actor": "anna",
        "metadata": {"exit": 0}, "occurred_at": "2025-12-31T23:59:59.5Z",
    });
    let recorded = by.post(world.org("/audit"), body).await.expect(201);
    let event = world.named(&recorded);
    assert_eq!(
        without(event, &["id", "actor_id", "seq"]),
        json!({
            "at": "2026-01-02T00:00:00Z", "occurred_at": "2025-12-31T23:59:59.500Z",
            "source": "caller", "organization_id": "<acme's org>",
            "actor_kind": "service_token", "actor_name": "made by a test", "actor": "anna",
            "vouched_by": null,
            "action": "runs.finish", "target_type": "run", "target_id": "r-7",
            "project_id": null, "before": null, "after": null, "metadata": {"exit": 0},
            "reason": null, "request_id": "trace-1", "ip": null, "erased_at": null,
        })
    );
    let list = world.get(world.org("/audit?source=caller")).await.expect(200);
    assert_eq!(list["items"], json!([recorded]));
    let filter = "/audit?until=2026-01-01T00:00:00Z";
    let early = world.get(world.org(filter)).await.expect(200);
    assert_eq!(early["items"], json!([recorded]), "it is found by when it happened");
    let least = json!({"action": "licenses.revoke", "target_type": "license"});
    let recorded = by.post(world.org("/audit"), least).await.expect(201);
    assert_eq!(recorded["target_id"], Value::Null);
    assert_eq!(recorded["source"], "caller", "a caller cannot forge the server's own events");
    for (field, value) in [
        ("action", json!("")),
        ("target_type", json!(7)),
        ("project_id", json!("x")),
        ("occurred_at", json!("1969-12-31T23:59:59Z")),
        ("source", json!("server")),
    ] {
        let mut body = json!({"action": "a", "target_type": "b"});
        body[field] = value;
        by.post(world.org("/audit"), body).await.invalid(field);
    }
    let body = json!({"action": "a", "target_type": "b", "project_id": world.globex.org});
    let problem = by.post(world.org("/audit"), body).await.refused(404, "not_found");
    assert_eq!(problem["field"], "project_id");
}

fn without(mut value: Value, names: &[&str]) -> Value {
    for name in names {
        value.as_object_mut().unwrap().remove(*name);
    }
    value
}
