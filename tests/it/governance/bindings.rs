use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{agent, guardrail, id, resource};
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
