//! Many events, three replicas, and receivers that fail one time in three.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use cp_server::App;
use cp_server::webhooks::sending::settle;
use serde_json::{Value, json};

use super::{Receiver, alone, id, webhook};
use crate::events::{head, place, read};
use crate::world::{Client, ROOT, World, on_both};

/// The changes of a run; `EVENTS=10000` asks for more.
fn changes() -> usize {
    std::env::var_os("EVENTS").and_then(|n| n.to_str()?.parse().ok()).unwrap_or(240)
}

/// The subjects: each has events in an order.
const SUBJECTS: usize = 12;

/// One replica's part of the changes. Each fifth one is refused, and so leaves no event.
async fn change(client: Client, subjects: Vec<String>, slug: String, part: usize) {
    for n in (part..changes()).step_by(3) {
        let path = format!("/deployments/{}", subjects[n % SUBJECTS]);
        client.patch(&path, json!({"region": format!("r{n}")})).await.expect(200);
        if n % 5 == 0 {
            let taken = json!({"name": "rolled back", "external_id": slug});
            client.patch(&path, taken).await.refused(409, "external_id_taken");
        }
    }
}

#[on_both]
async fn events_reach_every_endpoint_in_order_over_three_replicas(world: World) {
    alone(&world).await;
    let (second, two) = world.server(|settings| settings.shared.rate_limits = false);
    let (third, three) = world.server(|settings| settings.shared.rate_limits = false);
    let clients = [world.root(), two.token(ROOT), three.token(ROOT)];
    let mut subjects = Vec::new();
    for n in 0..SUBJECTS {
        let new = json!({"name": format!("plane {n}"), "external_id": format!("plane-{n}")});
        let made = world.post(world.org("/deployments"), new).await.expect(201);
        subjects.push(id(&made).to_owned());
    }
    // Its name is taken for all subjects but itself: no subject of the run is it.
    let taken = json!({"name": "other", "external_id": "taken"});
    world.post(world.org("/deployments"), taken).await.expect(201);
    let receivers = [Receiver::start().await, Receiver::start().await];
    for receiver in &receivers {
        receiver.fails_one_in(3);
        webhook(&world, &receiver.url, &["deployments.update"]).await;
    }
    let after = head(&world).await;
    let writing = clients.into_iter().enumerate().map(|(part, client)| {
        tokio::spawn(change(client, subjects.clone(), "taken".to_owned(), part))
    });
    let writing: Vec<_> = writing.collect();
    let replicas: [&App; 3] = [&world.app, &second, &third];
    for write in writing {
        // Sending goes on while the others write.
        send(&world, replicas).await;
        write.await.unwrap();
    }
    let events = read(&world.root(), "/events?types=deployments.update", after, 500).await;
    assert_eq!(events.len(), changes(), "a refused change leaves no event");
    let expected: BTreeSet<&str> = events.iter().map(id).collect();
    let pending = "SELECT COUNT(*) FROM webhook_deliveries WHERE status = 'pending'";
    // A failure stops its subject until the next attempt, so the passes grow with the events.
    for _ in 0..changes() {
        send(&world, replicas).await;
        if world.value::<i64>(pending).await == 0 {
            break;
        }
        world.pass(TimeDelta::minutes(10));
    }
    assert_eq!(world.value::<i64>(pending).await, 0);
    for receiver in &receivers {
        let received = receiver.received();
        let failed = received.iter().filter(|one| one.status != 204).count();
        assert!(failed * 4 > received.len(), "{failed} of {} failed", received.len());
        let arrived: Vec<Value> =
            received.iter().filter(|one| one.status == 204).map(|one| one.json()).collect();
        let ids: BTreeSet<&str> = arrived.iter().map(|one| id(&one["data"])).collect();
        assert_eq!(ids, expected, "each event arrived, and no other");
        assert_eq!(arrived.len(), expected.len(), "no event arrived twice");
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for one in &arrived {
            let (subject, seq) =
                (&one["data"]["target"]["id"], one["data"]["seq"].as_i64().unwrap());
            let before = last.insert(subject.as_str().unwrap(), seq);
            assert!(before.is_none_or(|before| before < seq), "{subject}: {before:?} before {seq}");
        }
        assert_eq!(last.len(), SUBJECTS);
    }
}

/// Every replica sends what is due, at once.
async fn send(world: &World, [one, two, three]: [&App; 3]) {
    place(world).await;
    let sent = tokio::join!(settle(one), settle(two), settle(three));
    for sent in [sent.0, sent.1, sent.2] {
        sent.unwrap();
    }
}
