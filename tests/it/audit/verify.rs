use cp_server::audit::Log;
use cp_server::audit::high_water::SUFFIX;
use cp_server::audit::integrator::integrate;
use cp_server::audit::key::SignedCheckpoint;
use cp_server::audit::verify::{Evidence, Finding, Report, Stopped, verify};
use cp_server::kernel::app::Part;
use cp_server::kernel::journal::leaf::Event;
use cp_server::kernel::journal::store;
use cp_server::kernel::journal::tree::Tree;
use serde_json::json;
use uuid::Uuid;

use super::{checkpoint, unlock};
use crate::world::{World, on_both};

async fn run(
    world: &World,
    since: Option<&SignedCheckpoint>,
    full: bool,
) -> Result<Report, Finding> {
    match verify(Evidence::of(&world.app).await.unwrap(), since, full, |_, _| {}).await {
        Ok(report) => Ok(report),
        Err(Stopped::Found(finding)) => Err(finding),
        Err(Stopped::Failed(error)) => panic!("{error:#}"),
    }
}

async fn found(world: &World) -> String {
    match run(world, None, false).await {
        Err(finding) => finding.to_string(),
        Ok(report) => panic!("nothing was found: {report:?}"),
    }
}

/// What the log was, to be put back: as a copy of the whole database would.
const TABLES: [[&str; 3]; 4] = [
    [
        "CREATE TABLE kept_events AS SELECT * FROM audit_events",
        "DELETE FROM audit_events",
        "INSERT INTO audit_events SELECT * FROM kept_events",
    ],
    [
        "CREATE TABLE kept_hashes AS SELECT * FROM log_hashes",
        "DELETE FROM log_hashes",
        "INSERT INTO log_hashes SELECT * FROM kept_hashes",
    ],
    [
        "CREATE TABLE kept_tree AS SELECT * FROM log_tree",
        "DELETE FROM log_tree",
        "INSERT INTO log_tree SELECT * FROM kept_tree",
    ],
    [
        "CREATE TABLE kept_checkpoints AS SELECT * FROM log_checkpoints",
        "DELETE FROM log_checkpoints",
        "INSERT INTO log_checkpoints SELECT * FROM kept_checkpoints",
    ],
];

async fn keep(world: &World) {
    unlock(world).await;
    for [create, ..] in TABLES {
        world.exec(create).await;
    }
}

async fn put_back(world: &World) {
    for [_, delete, insert] in TABLES {
        world.exec(delete).await;
        world.exec(insert).await;
    }
}

async fn signed(world: &World) -> SignedCheckpoint {
    integrate(&world.app).await.unwrap();
    let note = checkpoint(world).await;
    let key = Log::of(&world.app).key(&world.app, &mut world.app.db.read()).await.unwrap();
    key.read(&note).unwrap()
}

const CONTENT: &str = "its content was edited";
const LEAF: &str = "the content of its leaf was edited";

#[on_both]
async fn sound_log_is_reported_as_sound(world: World) {
    signed(&world).await;
    world.post(world.org("/workspaces"), json!({"name": "Later"})).await.expect(201);
    let report = run(&world, None, false).await.unwrap();
    let lone = world.app.db.writes_alone();
    assert_eq!(report.waiting, u64::from(!lone));
    assert_eq!((report.from, report.erased, report.bundles), (0, 0, 2));
    assert_eq!(report.signed, Some(report.size - u64::from(lone)));
    assert_eq!(i64::try_from(report.size + report.waiting).unwrap(), world.count_events().await);
}

#[on_both]
async fn every_edit_of_a_row_is_found_and_named(world: World) {
    signed(&world).await;
    keep(&world).await;
    // Place 20 is that of a bundle.
    for (edit, what) in [
        ("UPDATE audit_events SET id = actor_id WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET organization_id = id WHERE seq = 20", CONTENT),
        (
            "UPDATE audit_events SET occurred_at = (SELECT MAX(at) FROM audit_events)
              WHERE seq = 20",
            CONTENT,
        ),
        ("UPDATE audit_events SET actor_kind = 'person' WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET actor_id = id WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET actor_name = 'anna' WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET actor = 'anna' WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET project_id = id WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET before = after WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET after = before WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET metadata = after WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET reason = 'none' WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET request_id = 'r' WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET ip = '::1' WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET salt = commitment WHERE seq = 20", CONTENT),
        ("UPDATE audit_events SET salt = NULL WHERE seq = 20", "was not erased"),
        ("UPDATE audit_events SET actor_kind = 'unknown' WHERE seq = 20", "cannot be read"),
        ("UPDATE audit_events SET at = (SELECT MAX(at) FROM audit_events) WHERE seq = 20", LEAF),
        ("UPDATE audit_events SET source = 'caller' WHERE seq = 20", LEAF),
        ("UPDATE audit_events SET action = 'bundles.revoke' WHERE seq = 20", LEAF),
        ("UPDATE audit_events SET target_type = 'license' WHERE seq = 20", LEAF),
        (
            "UPDATE audit_events SET target_id = '01900000-0000-7000-8000-000000000000'
              WHERE seq = 20",
            LEAF,
        ),
        ("UPDATE audit_events SET jti = id WHERE seq = 20", LEAF),
        ("UPDATE audit_events SET kid = 'other' WHERE seq = 20", LEAF),
        ("UPDATE audit_events SET token_sha256 = 'other' WHERE seq = 20", LEAF),
        ("UPDATE audit_events SET commitment = salt WHERE seq = 20", "its commitment was edited"),
        ("UPDATE audit_events SET commitment = NULL, salt = NULL WHERE seq = 20", LEAF),
        ("DELETE FROM audit_events WHERE seq = 20", "its row was removed"),
        ("DELETE FROM log_hashes WHERE idx = 38", "log_hashes idx 38 is missing"),
        // 38 is the hash of leaf 20, and 41 that of the leaves 20 and 21.
        (
            "UPDATE log_hashes SET hash = (SELECT hash FROM log_hashes WHERE idx = 0)
              WHERE idx = 38",
            "log_hashes idx 38, the hash of its leaf, was edited",
        ),
    ] {
        world.exec(edit).await;
        let detail = found(&world).await;
        assert!(detail.starts_with("seq 20") && detail.contains(what), "{edit}: {detail}");
        put_back(&world).await;
    }
    for (edit, what) in [
        (
            "UPDATE log_hashes SET hash = (SELECT hash FROM log_hashes WHERE idx = 0)
              WHERE idx = 40",
            "log_hashes idx 40 (level 1, number 10) is missing or edited",
        ),
        (
            "DELETE FROM audit_events WHERE seq = (SELECT MAX(seq) FROM audit_events)",
            "the event is missing: its row was removed",
        ),
        ("UPDATE log_tree SET size = size - 1", "log_tree"),
        ("UPDATE log_checkpoints SET note = 'x'", "log_checkpoints.note"),
        ("UPDATE log_checkpoints SET size = size - 1", "log_checkpoints.size"),
    ] {
        world.exec(edit).await;
        let detail = found(&world).await;
        assert!(detail.contains(what), "{edit}: {detail}");
        put_back(&world).await;
    }
    run(&world, None, false).await.unwrap();
}

#[on_both]
async fn a_swapped_pair_is_found(world: World) {
    signed(&world).await;
    unlock(&world).await;
    world.exec("UPDATE audit_events SET seq = -1 WHERE seq = 20").await;
    world.exec("UPDATE audit_events SET seq = 20 WHERE seq = 21").await;
    world.exec("UPDATE audit_events SET seq = 21 WHERE seq = -1").await;
    let detail = found(&world).await;
    assert!(detail.starts_with("seq 20") && detail.contains("now at position 21"), "{detail}");
}

#[on_both]
async fn an_inserted_event_is_found(world: World) {
    signed(&world).await;
    unlock(&world).await;
    let size = run(&world, None, false).await.unwrap().size;
    insert(&world, Some(size)).await;
    let detail = found(&world).await;
    assert!(detail.starts_with(&format!("seq {size}")) && detail.contains("inserted"), "{detail}");
    world.exec("DELETE FROM audit_events WHERE seq = (SELECT MAX(seq) FROM audit_events)").await;
    run(&world, None, false).await.unwrap();
    insert(&world, None).await;
    // On PostgreSQL it looks like one that waits for its place, until it has one.
    integrate(&world.app).await.unwrap();
    let detail = found(&world).await;
    assert!(detail.contains("inserted") || detail.contains(CONTENT), "{detail}");
}

#[on_both]
async fn bundle_without_an_issuance_is_found(world: World) {
    signed(&world).await;
    world
        .exec(
            "UPDATE bundles SET bundle_hash = 'x' WHERE id =
                    (SELECT jti FROM audit_events WHERE seq = 20)",
        )
        .await;
    let detail = found(&world).await;
    assert!(detail.starts_with("seq 20") && detail.contains("another key or token"), "{detail}");
    world.exec("UPDATE bundles SET id = license_id").await;
    let detail = found(&world).await;
    assert!(detail.contains("is not in the log"), "{detail}");
}

#[on_both]
async fn an_older_copy_is_found_by_a_checkpoint_that_was_kept(world: World) {
    let before = signed(&world).await;
    keep(&world).await;
    for n in 0..3 {
        let body = json!({"name": format!("Lost {n}")});
        world.post(world.org("/workspaces"), body).await.expect(201);
    }
    let after = signed(&world).await;
    for full in [false, true] {
        let report = run(&world, Some(&before), full).await.unwrap();
        assert_eq!(report.from, if full { 0 } else { before.size });
        run(&world, Some(&after), full).await.unwrap();
    }
    put_back(&world).await;
    if world.app.db.writes_alone() {
        let detail = found(&world).await;
        assert!(detail.contains("rolled back") && detail.contains("-head covers"), "{detail}");
        forget_head(&world).await;
    }
    run(&world, None, false).await.unwrap();
    run(&world, Some(&before), false).await.unwrap();
    for full in [false, true] {
        let detail = run(&world, Some(&after), full).await.unwrap_err().to_string();
        assert!(
            detail.contains("rolled back") && detail.contains("the last 3 are gone"),
            "{detail}"
        );
    }
    // It goes on from there, and is another log from then on.
    let (app, client) = world.replica().await;
    for n in 0..4 {
        let body = json!({"name": format!("Else {n}")});
        client
            .clone()
            .token(crate::world::ROOT)
            .post(world.org("/workspaces"), body)
            .await
            .expect(201);
    }
    integrate(&app).await.unwrap();
    run(&world, None, false).await.unwrap();
    let detail = run(&world, Some(&after), false).await.unwrap_err().to_string();
    assert!(detail.contains("does not begin with"), "{detail}");
    let detail = run(&world, Some(&after), true).await.unwrap_err().to_string();
    let place = format!("seq {}", after.size - 1);
    assert!(detail.starts_with(&place) && detail.contains("root mismatch"), "{detail}");
}

#[on_both]
async fn rewritten_history_does_not_match_its_signature(world: World) {
    signed(&world).await;
    unlock(&world).await;
    // The attacker can compute all of it, but does not have the log's key.
    world.exec("UPDATE audit_events SET actor_name = 'anna' WHERE seq = 20").await;
    let mut tx = world.app.db.begin().await.unwrap();
    let edited = tx.select_from::<Event>(Event::COLUMNS, "audit_events WHERE seq = 20");
    let edited = edited.one().await.unwrap();
    store::commit(&mut tx, &world.app.random, &edited).await.unwrap();
    tx.q("UPDATE audit_events SET seq = NULL").exec().await.unwrap();
    tx.q("DELETE FROM log_hashes").exec().await.unwrap();
    store::place(&mut tx, Tree::empty(), 10_000).await.unwrap();
    tx.commit().await.unwrap();
    let detail = found(&world).await;
    assert!(detail.contains("root mismatch") && detail.contains("log_checkpoints"), "{detail}");
}

#[on_both]
async fn the_tables_of_the_log_are_append_only(world: World) {
    let mut statements = vec![
        "DELETE FROM audit_events WHERE seq = 20",
        "UPDATE audit_events SET id = actor_id WHERE seq = 20",
        "UPDATE audit_events SET seq = 100000 WHERE seq = 20",
        "UPDATE audit_events SET seq = NULL WHERE seq = 20",
        "UPDATE audit_events SET commitment = salt WHERE seq = 20",
        "UPDATE audit_events SET salt = commitment WHERE seq = 20",
        "UPDATE audit_events SET actor_name = 'anna' WHERE seq = 20",
        "UPDATE audit_events SET after = before WHERE seq = 20",
        "UPDATE audit_events SET action = 'x' WHERE seq = 20",
        "UPDATE audit_events SET jti = id WHERE seq = 20",
        "DELETE FROM log_hashes WHERE idx = 0",
        "UPDATE log_hashes SET idx = -1 WHERE idx = 0",
        "DELETE FROM log_tree",
        "UPDATE log_tree SET size = size - 1",
        "DELETE FROM log_checkpoints",
        "UPDATE log_checkpoints SET size = size - 1",
    ];
    signed(&world).await;
    if !world.app.db.writes_alone() {
        statements.extend(["TRUNCATE audit_events", "TRUNCATE log_hashes"]);
    }
    for sql in statements {
        let mut tx = world.app.db.begin().await.unwrap();
        assert!(tx.q(sql).exec().await.is_err(), "{sql}");
    }
    run(&world, None, false).await.unwrap();
}

/// Removes the file beside the database, as an attacker who restores an older copy would.
async fn forget_head(world: &World) {
    let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
    let file: Option<String> = world.app.db.read().q(sql).value().await.unwrap();
    std::fs::remove_file(file.unwrap() + SUFFIX).unwrap();
}

/// A copy of an event under another id.
async fn insert(world: &World, seq: Option<u64>) {
    let sql = "INSERT INTO audit_events
               (id, at, source, organization_id, action, target_type, target_id, commitment,
                occurred_at, actor_kind, actor_id, actor_name, before, after, seq, salt)
               SELECT $1, at, source, organization_id, action, target_type, target_id, commitment,
                      occurred_at, actor_kind, actor_id, actor_name, before, after, $2, salt
               FROM audit_events WHERE seq = 30";
    let mut tx = world.app.db.begin().await.unwrap();
    let seq = seq.map(|seq| i64::try_from(seq).unwrap());
    tx.q(sql).bind(Uuid::from_u128(7)).bind(seq).exec().await.unwrap();
    tx.commit().await.unwrap();
}
