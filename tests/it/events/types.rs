//! The catalogue of types.

use std::collections::BTreeSet;

use crate::world::{World, on_both};

async fn known(world: &World) -> BTreeSet<String> {
    let types = world.by(&world.acme.token).get("/event-types").await.expect(200);
    let types = types["items"].as_array().unwrap().clone();
    types.iter().map(|one| one["type"].as_str().unwrap().to_owned()).collect()
}

#[on_both]
async fn every_event_of_the_server_has_a_known_type(world: World) {
    let known = known(&world).await;
    let sql = "SELECT DISTINCT action FROM audit_events WHERE source = 'server'";
    let recorded: Vec<(String,)> = world.app.db.read().q(sql).all().await.unwrap();
    let unknown: Vec<_> = recorded.iter().filter(|(action,)| !known.contains(action)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Finds the names of actions in the source: what a job or a command records is in no line of the table.
#[tokio::test]
async fn every_action_in_the_source_has_a_known_type() {
    let known = known(&World::on_sqlite().await).await;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../cp-server/src");
    let marks = [".finish(\"", "action: \"", "record::record(cx, \"", "record::record(&mut cx, \""];
    let (mut folders, mut found) = (vec![std::path::PathBuf::from(root)], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = std::fs::read_to_string(&entry).unwrap_or_default();
            let text = text.split("\n#[cfg(test)]").next().unwrap_or_default();
            for mark in marks {
                for rest in text.split(mark).skip(1) {
                    let action = rest.split('"').next().unwrap();
                    assert!(known.contains(action), "{}: {action}", entry.display());
                    found += 1;
                }
            }
        }
    }
    assert!(found >= 8, "{found}");
}
