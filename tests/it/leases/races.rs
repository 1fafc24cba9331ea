//! Many claims at once.

use std::collections::BTreeSet;

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
