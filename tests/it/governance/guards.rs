//! No agent is ever without an active guardrail of its own.

use cp_server::kernel::secret::Kek;
use cp_server::licensing::keys::rekey::rekey;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{agent, guardrail, id, resource};
use crate::world::{Answer, ROOT, World, on_both};

const UNGUARDED: &str = "SELECT COUNT(*) FROM resources a WHERE a.kind = 'agent' AND NOT EXISTS (
    SELECT 1 FROM bindings b JOIN resources g ON g.id = b.resource_id
    WHERE b.kind = 'guardrail' AND b.effect = 'allow' AND b.agent_id = a.id AND g.status = 'active')";

fn in_use(answer: Answer, agents: &[&String], count: i64) {
    let problem = answer.refused(409, "in_use");
    let mut agents: Vec<&String> = agents.to_vec();
    agents.sort();
    assert_eq!((&problem["agents"], &problem["count"]), (&json!(agents), &json!(count)));
}

#[on_both]
async fn last_guardrail_of_an_agent_stays(world: World) {
    let (first, second) = (guardrail(&world, "a").await, guardrail(&world, "b").await);
    let one = agent(&world, "One", &[&first]).await;
    let two = agent(&world, "Two", &[&first, &second]).await;
    let path = |id: &str| format!("/resources/{id}");
    let both = world.get(path(&two)).await.expect(200);
    assert_eq!(both["guardrails"], json!([first, second]), "by key");
    in_use(world.delete(path(&first)).await, &[&one], 1);
    in_use(world.patch(path(&first), json!({"status": "disabled"})).await, &[&one], 1);
    let scope = format!("agent:{one}");
    let binding = json!({"kind": "guardrail", "subject": first, "scope": scope});
    let which = world.org(&format!("/bindings?kind=guardrail&subject={first}&scope={scope}"));
    in_use(world.delete(&which).await, &[&one], 1);
    let mut denied = binding.clone();
    denied["effect"] = json!("deny");
    in_use(world.put(world.org("/bindings"), denied).await, &[&one], 1);
    let none = json!({"kind": "guardrail", "subject": first, "items": [
        {"scope": "organization"}, {"scope": scope, "effect": "deny"},
    ]});
    in_use(world.post(world.org("/bindings/replace"), none.clone()).await, &[&one], 1);
    // An agent with another guardrail lets the first one go.
    world.patch(path(&one), json!({"guardrails": [second]})).await.expect(200);
    world.post(world.org("/bindings/replace"), none).await.expect(200);
    world.patch(path(&first), json!({"status": "disabled"})).await.expect(200);
    let both = world.get(path(&two)).await.expect(200);
    assert_eq!(both["guardrails"], json!([second]));
    in_use(world.delete(path(&second)).await, &[&one, &two], 2);
    let body = json!({"kind": "agent", "name": "x", "guardrails": [first]});
    world.post(world.org("/resources"), body).await.invalid("guardrails");
    world.patch(path(&one), json!({"guardrails": [first]})).await.invalid("guardrails");
    world.patch(path(&one), json!({"guardrails": []})).await.invalid("guardrails");
    assert_eq!(world.value::<i64>(UNGUARDED).await, 0);
    world.delete(path(&first)).await.expect(204);
    world.delete(path(&one)).await.expect(204);
    world.delete(path(&two)).await.expect(204);
    world.delete(path(&second)).await.expect(204);
}

#[on_both]
async fn refusal_names_twenty_agents_and_counts_all(world: World) {
    let preset = guardrail(&world, "a").await;
    for n in 0..22 {
        agent(&world, &format!("Agent {n}"), &[&preset]).await;
    }
    let problem = world.delete(format!("/resources/{preset}")).await.refused(409, "in_use");
    assert_eq!((problem["agents"].as_array().unwrap().len(), &problem["count"]), (20, &json!(22)));
}

/// Two changes that are harmless alone would leave the agent unguarded together.
#[on_both]
async fn concurrent_removals_leave_every_agent_guarded(world: World) {
    // Three replicas on the same data.
    let replicas = [(); 3].map(|()| world.server(|_| {}).1.token(ROOT));
    let [a, b, c] = &replicas;
    for round in 0..6 {
        let mut guards = Vec::new();
        for n in 0..3 {
            guards.push(guardrail(&world, &format!("g{round}-{n}")).await);
        }
        let all: Vec<&String> = guards.iter().collect();
        let agent = agent(&world, &format!("Agent {round}"), &all).await;
        let scope = format!("agent:{agent}");
        let preset = |n: usize| format!("/resources/{}", guards[n]);
        let removal =
            world.org(&format!("/bindings?kind=guardrail&subject={}&scope={scope}", guards[1]));
        let narrowed = json!({"guardrails": [guards[0]]});
        let new = json!({"kind": "agent", "name": "Late", "guardrails": [guards[0]]});
        let none = json!({"kind": "guardrail", "subject": guards[2], "items": []});
        let (disabled, path) = (json!({"status": "disabled"}), format!("/resources/{agent}"));
        let (resources, replace) = (world.org("/resources"), world.org("/bindings/replace"));
        let requests: Vec<std::pin::Pin<Box<dyn Future<Output = Answer> + '_>>> = vec![
            Box::pin(a.delete(preset(0))),
            Box::pin(b.delete(removal)),
            Box::pin(c.post(&replace, none)),
            Box::pin(a.patch(preset(2), disabled)),
            Box::pin(b.patch(&path, narrowed)),
            Box::pin(c.post(&resources, new)),
            Box::pin(a.delete(preset(1))),
        ];
        let answers = join_all(requests).await;
        for answer in &answers {
            let is_known = [200, 201, 204, 404, 409, 422].contains(&answer.status);
            assert!(is_known, "{}", answer.text());
        }
        assert!(answers.iter().any(|answer| answer.status == 409), "{answers:?}");
        assert_eq!(world.value::<i64>(UNGUARDED).await, 0, "round {round}");
    }
}

#[on_both]
async fn secret_of_a_connection_is_nowhere_but_sealed(world: World) {
    let secret = json!({"api_key": "canary-0123456789"});
    let spec = json!({"type": "mcp"});
    let body = json!({"kind": "connection", "name": "Mail", "spec": spec, "secret": secret});
    let made = world.post(world.org("/resources"), body).await;
    assert!(!made.text().contains("canary"));
    let made = made.expect(201);
    let path = format!("/resources/{}", id(&made));
    let patch = json!({"secret": {"api_key": "canary-9876543210"}});
    let wrong = json!({"secret": {"api_key": ["canary-wrong"]}});
    for text in [
        world.patch(&path, patch).await.text(),
        world.patch(&path, wrong).await.text(),
        world.get(&path).await.text(),
        world.get(world.org("/resources")).await.text(),
        world.get(world.org("/audit?limit=500")).await.text(),
        world.get(world.org("/export")).await.text(),
    ] {
        assert!(!text.contains("canary"), "{text}");
    }
    let sealed: Vec<u8> =
        world.value("SELECT secret FROM resources WHERE secret IS NOT NULL").await;
    assert!(!sealed.windows(6).any(|window| window == b"canary"));
    let purpose = format!("resource {} {} secret v1", world.acme.org, id(&made));
    let plain = world.app.kek.open(&purpose, &sealed).unwrap();
    assert_eq!(plain.as_slice(), br#"{"api_key":"canary-9876543210"}"#);
    let new = Kek::new(&[9; 32]).unwrap();
    rekey(&world.app, &new).await.unwrap();
    let sealed: Vec<u8> =
        world.value("SELECT secret FROM resources WHERE secret IS NOT NULL").await;
    assert_eq!(new.open(&purpose, &sealed).unwrap().as_slice(), plain.as_slice());
    // This server has the former key, so it seals nothing any more.
    let patch = json!({"secret": {"api_key": "x"}});
    world.patch(&path, patch).await.refused(503, "unavailable");
}

#[on_both]
async fn purge_deletes_resources_and_bindings(world: World) {
    let preset = guardrail(&world, "pii").await;
    let one = agent(&world, "One", &[&preset]).await;
    let body = json!({"kind": "listing", "name": "One", "parent_id": one});
    let listing: Value = resource(&world, body).await;
    world.delete(world.org("?mode=purge&confirm=Acme&force=true")).await.expect(204);
    for gone in [preset, one, id(&listing)] {
        world.get(format!("/resources/{gone}")).await.refused(404, "not_found");
    }
    let left: i64 = world
        .value("SELECT COUNT(*) FROM bindings b LEFT JOIN resources r ON r.id = b.resource_id")
        .await;
    let globex = world.get("/organizations/globex/bindings").await.expect(200);
    assert_eq!(left, i64::try_from(globex["items"].as_array().unwrap().len()).unwrap());
}
