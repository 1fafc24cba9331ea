//! Many claims at once.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use super::{leases, with_pools};
use crate::world::{ROOT, World, on_both};

#[on_both]
async fn two_hundred_claims_at_once_take_five_seats(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 5}})).await;
    let servers: Vec<_> = (0..3).map(|_| world.server(|_| {})).collect();
    let servers: Vec<_> = servers.iter().map(|(_, client)| client.clone().token(ROOT)).collect();
    let path = leases(&world);
    let claims = (0..200).map(|n| {
        let (client, path) = (&servers[n % servers.len()], &path);
        // Some claims have one holder, and some one idempotency key.
        let holder = if n % 10 == 0 { "same".to_owned() } else { format!("holder-{n}") };
        let client = match n % 40 {
            3 => client.clone().with("idempotency-key", "once"),
            _ => client.clone(),
        };
        let body = match n % 40 {
            3 => json!({"pool": "render", "holder": {"id": "once"}}),
            _ => json!({"pool": "render", "holder": {"id": holder}}),
        };
        async move { client.post(path, body).await }
    });
    let answers = join_all(claims).await;
    let mut granted = BTreeSet::new();
    for answer in &answers {
        match answer.status {
            200 | 201 => {
                granted.insert(answer.json()["id"].as_str().unwrap().to_owned());
            }
            409 => {}
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert_eq!(granted.len(), 5);
    let live = world.get(format!("{path}?pool=render")).await.expect(200);
    let live: BTreeSet<_> = live["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lease| lease["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(live, granted, "every lease that was granted is found again");
}

/// The leases of the pool that are live now.
async fn live(world: &World) -> BTreeSet<String> {
    let found = world.get(format!("{}?pool=render&state=live", leases(world))).await.expect(200);
    let all = found["items"].as_array().unwrap().clone();
    all.iter().map(|lease| lease["id"].as_str().unwrap().to_owned()).collect()
}

#[on_both]
async fn claims_at_once_keep_the_cap_while_leases_expire(world: World) {
    const TTL: i64 = 60;
    let settings = json!({"render": {"kind": "floating", "cap": 5, "ttl_seconds": TTL}});
    with_pools(&world, settings).await;
    let servers: Vec<_> = (0..3).map(|_| world.server(|_| {})).collect();
    let servers: Vec<_> = servers.iter().map(|(_, client)| client.clone().token(ROOT)).collect();
    let path = leases(&world);
    let mut granted = BTreeSet::new();
    for wave in 0..10 {
        let claims = (0..40).map(|n| {
            let (client, path) = (&servers[n % servers.len()], &path);
            let body = json!({"pool": "render", "holder": {"id": format!("holder-{wave}-{n}")}});
            async move { client.post(path, body).await }
        });
        // The earlier leases expire while the others claim.
        let passing = async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
                world.pass(TimeDelta::seconds(TTL / 20 + 1));
            }
        };
        let (answers, ()) = tokio::join!(join_all(claims), passing);
        for answer in &answers {
            match answer.status {
                201 => {
                    let id = answer.json()["id"].as_str().unwrap().to_owned();
                    assert!(granted.insert(id), "a lease is granted once");
                }
                409 => {}
                other => panic!("{other}: {}", answer.text()),
            }
        }
        assert!(live(&world).await.len() <= 5, "wave {wave}");
    }
    assert!(granted.len() > 5, "expired seats are free again: {}", granted.len());
    // Every lease that was granted is found again, live or over.
    for id in &granted {
        world.get(format!("/leases/{id}")).await.expect(200);
    }
}
