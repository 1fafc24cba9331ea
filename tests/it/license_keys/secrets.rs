//! The text of a key is in no answer, audit event, export or row.

use serde_json::json;

use super::{by, new_key, path, text, validate};
use crate::backup::rows;
use crate::world::{World, on_both};

#[on_both]
async fn key_is_stored_nowhere(world: World) {
    let made = new_key(&world, json!({"name": "x"})).await;
    let foreign = new_key(&world, json!({"key": "canary-0123456789"})).await;
    let rotated = world.post(format!("{}/rotate", path(&made)), json!({})).await.expect(200);
    let keys = [text(&made, "key"), text(&rotated, "key"), text(&foreign, "key")];
    for key in &keys {
        let holder = json!({"key": key, "holder": {"id": &key[..4]}, "activate": true});
        validate(&world, holder).await;
        by(&world, key).get("/me").await;
    }
    let idempotent = world.root().with("idempotency-key", "one");
    idempotent.post(super::keys(&world), json!({"key": "canary-9876543210"})).await.expect(201);
    let secrets: Vec<String> = keys
        .iter()
        .flat_map(|key| [key.clone(), key.replace('-', "")])
        .chain(["canary-9876543210".to_owned()])
        .collect();
    let contains = |place: &str, text: &str| {
        for secret in &secrets {
            assert!(!text.contains(secret), "{place} contains a key");
        }
    };
    let export = world.get(world.org("/export")).await;
    assert!(export.text().contains(&format!("\"hint\":\"{}\"", text(&rotated, "hint"))));
    contains("the export", &export.text());
    for page in ["/audit?limit=500".to_owned(), super::keys(&world), world.org("/audit?limit=500")]
    {
        contains(&page, &world.get(&page).await.text());
    }
    for (table, rows) in rows(&world.app.db).await {
        contains(&table, &rows.join("\n"));
    }
}
