//! The stream is the log, read forward.

use chrono::TimeDelta;
use serde_json::json;

use super::{change, head, place, read};
use crate::world::{World, on_both};

#[on_both]
async fn event_names_the_change_without_its_values(world: World) {
    let before = head(&world).await;
    world.pass(TimeDelta::seconds(1));
    let body = json!({"seat_cap": 7, "features": {"sso": true}});
    let path = format!("/licenses/{}", world.acme.license);
    world.patch(&path, body).await.expect(200);
    place(&world).await;
    let audited = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    let page = world.get(format!("/events?after={before}")).await.expect(200);
    assert_eq!(
        page,
        json!({
            "items": [{
                "id": audited["id"],
                "seq": before + 1,
                "type": "licenses.update",
                "at": "2026-01-02T00:00:01Z",
                "organization_id": world.acme.org,
                "actor": {
                    "kind": "service_token", "id": audited["actor_id"], "name": audited["actor_name"],
                },
                "target": {"type": "license", "id": world.acme.license},
                "changed": page["items"][0]["changed"],
            }],
            "next": before + 1,
            "head": before + 1,
        })
    );
    let changed: Vec<&str> = page["items"][0]["changed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap())
        .collect();
    assert!(changed.contains(&"seat_cap") && changed.contains(&"features"), "{changed:?}");
    assert!(!changed.contains(&"name") && !changed.contains(&"updated_at"), "{changed:?}");

    let path = format!("/licenses/{}/suspend", world.acme.license);
    world.post(&path, json!({"reason": "unpaid"})).await.expect(200);
    place(&world).await;
    let page = world.get(format!("/events?after={}", before + 1)).await.expect(200);
    assert_eq!(page["items"][0]["type"], "licenses.suspend");
    assert_eq!(page["items"][0]["reason"], "unpaid");
}

#[on_both]
async fn pages_have_each_event_once_in_order(world: World) {
    for n in 0..7 {
        change(&world, &format!("Acme {n}")).await;
    }
    place(&world).await;
    let total = world.count_events().await;
    for limit in [3, 500] {
        let events = read(&world.root(), "/events", -1, limit).await;
        let seqs: Vec<i64> = events.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
        assert_eq!(seqs, (0..total).collect::<Vec<_>>());
    }
    // Without a position the stream begins now.
    let page = world.get("/events").await.expect(200);
    assert_eq!(page, json!({"items": [], "next": total - 1, "head": total - 1}));
}

#[on_both]
async fn organization_reads_its_own_events_only(world: World) {
    change(&world, "Acme 2").await;
    world
        .patch(format!("/organizations/{}", world.globex.org), json!({"name": "G"}))
        .await
        .expect(200);
    place(&world).await;
    let own = world.by(&world.acme.token);
    let path = world.org("/events");
    let events = read(&own, &path, -1, 10).await;
    assert!(events.iter().all(|event| event["organization_id"] == world.acme.org));
    let all = read(&world.root(), "/events", -1, 500).await;
    let expected = all.into_iter().filter(|event| event["organization_id"] == world.acme.org);
    assert_eq!(events, expected.collect::<Vec<_>>());
    own.get("/events").await.refused(403, "forbidden");
    own.get(format!("/organizations/{}/events", world.globex.org)).await.refused(404, "not_found");
}

#[on_both]
async fn types_select_events(world: World) {
    change(&world, "Acme 2").await;
    place(&world).await;
    let of = async |types: &str| {
        let events = read(&world.root(), &format!("/events?types={types}"), -1, 100).await;
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let licenses = of("licenses.*").await;
    assert!(!licenses.is_empty() && licenses.iter().all(|kind| kind.starts_with("licenses.")));
    let both = of("organizations.update,%20licenses.create").await;
    assert!(
        both.contains(&"organizations.update".into()) && both.contains(&"licenses.create".into())
    );
    assert!(both.iter().all(|kind| kind == "organizations.update" || kind == "licenses.create"));
    assert_eq!(
        world.get("/events?types=licenses.revoked").await.refused(422, "invalid")["detail"],
        "`types` has an unknown type: `licenses.revoked`. Did you mean `licenses.revoke`? \
         `GET /api/v1/event-types` lists all types."
    );
    assert_eq!(
        world.get("/events?types=licences.*").await.refused(422, "invalid")["detail"],
        "`types` has an unknown type: `licences`. Did you mean `licenses.*`? \
         `GET /api/v1/event-types` lists all types."
    );
    for types in ["", "*", "licenses*", "nothing.*", &["licenses.create"; 51].join(",")] {
        world.get(format!("/events?types={types}")).await.invalid("types");
    }
}

#[on_both]
async fn reported_event_is_no_event_of_the_server(world: World) {
    let before = head(&world).await;
    let forged = json!({
        "action": "licenses.revoke", "target_type": "license", "target_id": world.acme.license,
    });
    world.by(&world.acme.token).post(world.org("/audit"), forged).await.expect(201);
    place(&world).await;
    let page = world.get(format!("/events?after={before}")).await.expect(200);
    assert_eq!(page["items"][0]["type"], "audit.record");
    let page = world.get(format!("/events?after={before}&types=licenses.*")).await.expect(200);
    assert_eq!(page["items"], json!([]));
    assert_eq!(page["next"], page["head"], "events of other types are passed over");
    let page = world.get(format!("/events?after={before}&types=audit.record")).await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
}

#[on_both]
async fn position_beyond_the_log_is_refused(world: World) {
    let head = head(&world).await;
    let refused = world.get(format!("/events?after={}", head + 1)).await;
    assert_eq!(refused.refused(422, "invalid")["head"], head);
    world.get("/events?after=-2").await.invalid("after");
    world.get("/events?limit=501").await.invalid("limit");
    world.get("/events?wait=26").await.invalid("wait");
    let with = |id: &str| world.root().with("last-event-id", id.to_owned());
    with("x").get("/events").await.refused(400, "bad_request");
    let page = with(&(head - 1).to_string()).get("/events?after=-1").await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
}
