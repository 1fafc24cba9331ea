//! The entity tag changes exactly when the answer does, whatever is changed between two reads.

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{agent, guardrail, id, resource};
use crate::world::{World, on_both};

/// Makes one of several changes, some of which change no answer.
async fn change(world: &World, n: usize, agent: &str) {
    let bindings = world.org("/bindings");
    let of_user = format!("user:{}", world.acme.user);
    match n {
        0 => {
            let body = json!({"kind": "model", "subject": "gpt-x", "scope": "organization"});
            world.put(bindings, body).await;
        }
        1 => {
            let query = "?kind=model&subject=gpt-x&scope=organization";
            world.delete(bindings + query).await;
        }
        2 | 3 => {
            let effect = if n == 2 { "allow" } else { "deny" };
            let body = json!({
                "kind": "agent", "subject": agent, "scope": of_user, "effect": effect,
            });
            world.put(bindings, body).await;
        }
        4 | 5 => {
            let status = if n == 4 { "disabled" } else { "active" };
            world.patch(format!("/resources/{agent}"), json!({"status": status})).await.expect(200);
        }
        6 => {
            let body = json!({"features": {"f": world.app.clock.now().timestamp() % 2}});
            world.patch(world.org("/entitlements"), body).await.expect(200);
        }
        7 => {
            let event = json!({"metric": "m", "quantity": 1});
            world.post(world.org("/usage"), event).await.expect(201);
        }
        8 => {
            let body = json!({"name": format!("Sales {}", world.app.clock.now().timestamp() % 2)});
            world.patch(format!("/groups/{}", world.acme.group), body).await.expect(200);
        }
        9 => {
            let body = json!({"kind": "model", "subject": "theirs", "scope": "organization"});
            world.put("/organizations/globex/bindings", body).await;
        }
        _ => world.pass(TimeDelta::seconds(1)),
    }
}

#[on_both]
async fn tag_changes_exactly_with_the_answer(world: World) {
    let preset = guardrail(&world, "pii").await;
    let scout = agent(&world, "Scout", &[&preset]).await;
    let listing = json!({"kind": "listing", "name": "Scout", "parent_id": scout});
    id(&resource(&world, listing).await);
    let user = &world.acme.user;
    let paths = [
        format!("/effective?user={user}"),
        "/effective".to_owned(),
        format!("/effective?kinds=model&user={user}&subject=gpt-x"),
        "/entitlements".to_owned(),
        "/bindings?kind=agent".to_owned(),
        "/resources?kind=agent".to_owned(),
        format!("/marketplace?user={user}"),
        "/budgets/studio".to_owned(),
        "/budgets/studio/allocations".to_owned(),
    ];
    // Another replica, whose answers are the same.
    let (_, other) = world.server(|_| {});
    let other = other.token(crate::world::ROOT);
    world.post(world.org("/budgets/studio/cycles"), json!({})).await;
    let mut runner = TestRunner::deterministic();
    let changes = prop::collection::vec(0..11_usize, 40).new_tree(&mut runner).unwrap().current();
    let mut seen: Vec<Vec<(String, String)>> = vec![Vec::new(); paths.len()];
    let (mut kept, mut changed) = (0, 0);
    for n in changes {
        change(&world, n, &scout).await;
        // Other replicas may answer from their cache for a second.
        world.pass(TimeDelta::seconds(2));
        for (path, seen) in paths.iter().zip(&mut seen) {
            let path = world.org(path);
            let answer = world.get(&path).await;
            let (tag, body) = (answer.header("etag").to_owned(), answer.text());
            answer.expect(200);
            assert_eq!(other.get(&path).await.header("etag"), tag, "{path}");
            for (former, text) in seen.iter() {
                assert_eq!(*former == tag, *text == body, "{path}: {text} and {body}");
            }
            if let Some((former, text)) = seen.last() {
                let asked = world.root().with("if-none-match", former).get(&path).await;
                assert_eq!(asked.status == 304, *text == body, "{path}");
                *(if *text == body { &mut kept } else { &mut changed }) += 1;
            }
            seen.push((tag, body));
        }
    }
    assert!(kept > 40 && changed > 40, "{kept} and {changed}");
}

/// A change that is made twice is made once: the second request finds all as the first one left it.
#[on_both]
async fn repeated_changes_change_nothing_more(world: World) {
    let preset = guardrail(&world, "pii").await;
    let scout = agent(&world, "Scout", &[&preset]).await;
    let listing = json!({"kind": "listing", "name": "Scout", "parent_id": scout});
    let listing = id(&resource(&world, listing).await);
    world.put(world.org("/budgets/copilot"), json!({"credits": 100})).await.expect(201);
    world.post(world.org("/budgets/copilot/cycles"), json!({})).await.expect(201);
    let group = format!("group:{}", world.acme.group);
    let of = |path: &str| world.org(path);
    let user = &world.acme.user;
    let groups = format!("/groups/{}/bindings", world.acme.group);
    for (method, path, body) in [
        ("PUT", of("/bindings"), json!({"kind": "agent", "subject": scout, "scope": group})),
        ("PUT", groups, json!({"kind": "model", "subject": "gpt-x", "effect": "deny"})),
        (
            "POST",
            of("/bindings/replace"),
            json!({"kind": "model", "subject": "gpt-*", "items": [
                {"scope": group}, {"scope": "organization", "mandatory": true},
            ]}),
        ),
        ("PATCH", of("/entitlements"), json!({"features": {"f": 1}, "models": {"": {}}})),
        ("PUT", of("/budgets/copilot"), json!({"credits": 200, "overflow": null})),
        ("PUT", of("/budgets/copilot/allocations"), json!({"scope": group, "quantity": 7})),
        (
            "POST",
            of("/budgets/copilot/distribute"),
            json!({"scopes": [group, format!("user:{user}")], "total": 9}),
        ),
        ("PUT", of("/limits"), json!({"metric": "m", "quantity": 1, "scope": group})),
        ("PUT", of(&format!("/marketplace/{listing}/installation")), json!({"user": user})),
        ("PUT", of(&format!("/marketplace/{listing}/rating")), json!({"user": user, "stars": 3})),
        (
            "POST",
            of("/users"),
            json!({"email": "new@acme.example", "groups": [
                {"group_id": world.acme.group, "role": "admin"},
            ]}),
        ),
        ("PATCH", format!("/resources/{scout}"), json!({"guardrails": [preset]})),
        ("PUT", "/onboarding".to_owned(), json!({"groups": [{"name": "All", "product": "x"}]})),
    ] {
        let send = async || {
            world.pass(TimeDelta::seconds(5));
            let method = method.parse().unwrap();
            world.root().call(method, &format!("/api/v1{path}"), Some(body.clone())).await
        };
        let first = send().await;
        assert!([200, 201].contains(&first.status), "{path}: {}", first.text());
        let once = state(&world).await;
        let again = send().await;
        assert_eq!(again.status, 200, "{path}: {}", again.text());
        assert_eq!(state(&world).await, once, "{path}");
    }
}

/// The organization's rows, without the times of changes.
async fn state(world: &World) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Object(members) => {
                // Each request also leaves its own event.
                let others =
                    ["updated_at", "revision", "exported_at", "last_used_at", "audit_events"];
                others.iter().for_each(|name| drop(members.remove(*name)));
                members.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    let mut state = json!([
        world.get(world.org("/export")).await.expect(200),
        world.get(world.org("/budgets/copilot/allocations")).await.expect(200),
        world.get("/onboarding").await.expect(200),
    ]);
    strip(&mut state);
    state
}
