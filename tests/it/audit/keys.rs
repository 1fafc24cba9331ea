//! The log's key, and another one that follows it.

use cp_server::audit::integrator::integrate;
use cp_server::audit::rotation::{Change, change};
use cp_server::audit::verify::{Evidence, verify};
use cp_server::audit::{Log, checkpoints, key};
use cp_server::kernel::app::Part;
use cp_server::kernel::secret::Kek;
use cp_server::licensing::keys::rekey::rekey;
use serde_json::json;
use signed_note::{Note, StandardVerifier, VerifierList};

use super::checkpoint;
use crate::world::{World, on_both};

async fn published_key(world: &World) -> String {
    world.anyone().get("/log/key").await.text().trim_end().to_owned()
}

/// Whether a reader with this key accepts a checkpoint.
fn believes(key: &str, checkpoint: &str) -> bool {
    let key = StandardVerifier::new(key).unwrap();
    let note = Note::from_bytes(checkpoint.as_bytes()).unwrap();
    note.verify(&VerifierList::new(vec![Box::new(key)])).is_ok()
}

/// Something happens, and the log grows by it.
async fn grow(world: &World, name: &str) {
    world.post(world.org("/workspaces"), json!({"name": name})).await.expect(201);
    integrate(&world.app).await.unwrap();
}

/// The log is sound, and goes on from a checkpoint that was kept.
async fn goes_on_from(world: &World, kept: &str) {
    let evidence = Evidence::of(&world.app).await.unwrap();
    let since = evidence.key.read_kept(kept).unwrap();
    verify(evidence, Some(&since), true, |_, _| {}).await.unwrap();
}

#[on_both]
async fn another_key_follows_and_both_sign_until_the_first_is_retired(world: World) {
    grow(&world, "Before").await;
    let (old, kept) = (published_key(&world).await, checkpoint(&world).await);
    // A replica that knows the key from before.
    let (replica, _) = world.replica().await;
    checkpoints::current(&replica).await.unwrap();
    let refused = change(&world.app, Change::Retire, None).await.unwrap_err();
    assert!(refused.to_string().contains("only the log's key"), "{refused}");

    let bridge = change(&world.app, Change::Follow, Some("once a year".into())).await.unwrap();
    let new = published_key(&world).await;
    assert_ne!(new, old);
    assert_eq!(new.split('+').next(), old.split('+').next(), "the log keeps its name");
    grow(&world, "Between").await;
    let between = checkpoints::current(&replica).await.unwrap();
    assert!(between.size > bridge.size);
    for note in [&bridge.note, &between.note] {
        assert!(believes(&old, note) && believes(&new, note), "{note}");
    }
    goes_on_from(&world, &kept).await;
    let refused = change(&world.app, Change::Follow, None).await.unwrap_err();
    assert!(refused.to_string().contains("retire it first"), "{refused}");

    change(&world.app, Change::Retire, None).await.unwrap();
    grow(&world, "After").await;
    let after = checkpoints::current(&replica).await.unwrap();
    assert!(!believes(&old, &after.note) && believes(&new, &after.note), "{}", after.note);
    for note in [&kept, &between.note, &after.note] {
        goes_on_from(&world, note).await;
    }
    // What the old key alone has signed is no word of this log's any more.
    let current = Log::of(&world.app).key(&world.app, &mut world.app.db.read()).await.unwrap();
    assert!(current.read(&kept).is_err() && current.read(&between.note).is_ok());
    let events = world.get("/audit?limit=20").await.expect(200);
    let events = events["items"].as_array().unwrap();
    for (action, reason) in
        [("log.rotate_key", json!("once a year")), ("log.retire_key", json!(null))]
    {
        let event = events.iter().find(|event| event["action"] == action).unwrap();
        assert_eq!(event["reason"], reason);
    }
}

#[on_both]
async fn rekeying_seals_both_keys_again(world: World) {
    change(&world.app, Change::Follow, None).await.unwrap();
    let kek = Kek::new(&[9; 32]).unwrap();
    rekey(&world.app, &kek).await.unwrap();
    let mut tx = world.app.db.read();
    assert!(key::load(&world.app.kek, &mut tx).await.is_err());
    let loaded = key::load(&kek, &mut tx).await.unwrap();
    let head = cp_server::audit::head(&mut tx).await.unwrap();
    loaded.read(&head.checkpoint.unwrap()).unwrap();
}

#[on_both]
async fn log_key_in_the_row_of_the_one_before_does_not_open(world: World) {
    change(&world.app, Change::Follow, None).await.unwrap();
    world
        .exec(
            "UPDATE installation SET value =
                        (SELECT value FROM installation WHERE name = 'log key before')
                    WHERE name = 'log key'",
        )
        .await;
    let error = key::load(&world.app.kek, &mut world.app.db.read()).await.err().unwrap();
    assert!(error.to_string().contains("log key cannot be opened"), "{error}");
}

#[on_both]
async fn log_key_of_an_earlier_version_opens_and_is_bound_to_its_row_at_the_start(world: World) {
    change(&world.app, Change::Follow, None).await.unwrap();
    let known = published_key(&world).await;
    let app = &world.app;
    let origin = known.split('+').next().unwrap();
    for row in ["log key", "log key before"] {
        let mut tx = app.db.begin().await.unwrap();
        let sealed: Vec<u8> = tx
            .q("SELECT value FROM installation WHERE name = $1")
            .bind(row)
            .value()
            .await
            .unwrap()
            .unwrap();
        let seed = app.kek.open(&format!("{row} of {origin} v2"), &sealed).unwrap();
        let old = app.kek.seal(&app.random, "log key v1", &seed);
        tx.q("UPDATE installation SET value = $2 WHERE name = $1")
            .bind(row)
            .bind(old)
            .exec()
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    let loaded = key::load(&app.kek, &mut app.db.read()).await.unwrap();
    assert_eq!(loaded.verifier(), known);
    let (replica, _) = world.replica().await;
    cp_server::seed(&replica).await.unwrap();
    let sealed: Vec<u8> =
        world.value("SELECT value FROM installation WHERE name = 'log key'").await;
    assert!(app.kek.open("log key v1", &sealed).is_none());
    let loaded = key::load(&app.kek, &mut app.db.read()).await.unwrap();
    assert_eq!(loaded.verifier(), known);
}
