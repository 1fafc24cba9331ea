//! Backups: what comes back is what was there, on either database, and nothing else is taken for one.

mod continuation;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use cp_server::backup::archive::{Archive, Manifest, Writer};
use cp_server::backup::restore::{self, Restored};
use cp_server::backup::tables::{self, Cell};
use cp_server::backup::{self, BackupSource, Made};
use cp_server::kernel::clock::{Clock, ManualClock, Random};
use cp_server::kernel::db::Db;
use cp_server::kernel::secret::Kek;
use cp_server::server;
use dp_verifier::Verifier;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::database::Database;
use crate::world::{AUDIENCE, Client, ISSUER, KEK, World, app, on_both};

fn kek() -> Kek {
    Kek::new(&KEK).unwrap()
}

fn place(world: &World) -> BackupSource {
    let clock = Clock::following(&world.clock);
    BackupSource { db: world.app.db.clone(), kek: kek(), clock, random: Random::seeded(9) }
}

async fn make(world: &World, folder: &TempDir) -> Made {
    // A backup is restored into the product's schema.
    world.drop_example().await;
    backup::make(&place(world), &folder.path().join("a.cpbackup"), 30, backup::SILENT)
        .await
        .unwrap()
}

async fn restore_to(hand: &ManualClock, path: &Path, url: &str) -> anyhow::Result<Restored> {
    restore::restore(path, &kek(), &Clock::following(hand), url, false, backup::SILENT).await
}

/// Every row of every table, in an order that both databases have.
pub async fn rows(db: &Db) -> BTreeMap<String, Vec<String>> {
    let mut conn = db.snapshot().await.unwrap();
    let mut found = BTreeMap::new();
    for table in tables::all(&mut conn).await.unwrap() {
        let names: Vec<&str> = table.columns.iter().map(|column| &*column.name).collect();
        let mut rows = Vec::new();
        tables::read(&mut conn, &table, |cells| {
            let row: BTreeMap<&str, Value> =
                names.iter().copied().zip(cells.iter().map(as_value)).collect();
            rows.push(json!(row).to_string());
            Ok(())
        })
        .await
        .unwrap();
        rows.sort();
        found.insert(table.name.clone(), rows);
    }
    found
}

/// JSON as what it says: the databases keep its members in orders of their own.
fn as_value(cell: &Cell) -> Value {
    match cell {
        Cell::Text(text) if text.starts_with(['{', '[']) => {
            serde_json::from_str(text).unwrap_or_else(|_| json!(text))
        }
        cell => json!(cell),
    }
}

/// The data plane of a customer who has this token and these keys.
fn verifies(jwks: &str, token: &str, now: i64) -> bool {
    let verifier = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(jwks.to_owned());
    verifier.clock(move || now).build().unwrap().verify(token).is_ok()
}

/// A world after some more work, so that there is something of everything.
async fn worked(world: &World) -> Value {
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    let bundle = world.post(&bundles, json!({})).await.expect(201);
    let gone = world.post(&bundles, json!({})).await.expect(201);
    let path = format!("/bundles/{}/revoke", gone["jti"].as_str().unwrap());
    world.post(path, json!({"reason": "lost"})).await.expect(200);
    world.patch(world.org(""), json!({"name": "Ümläut \u{1f600} \"quoted\" \\"})).await.expect(200);
    bundle
}

/// Into an empty machine of either kind: every row is the same, old licenses verify against the
/// restored keys, and the authority goes on.
#[on_both]
async fn restored_database_equals_the_original(world: World) {
    let folder = tempfile::tempdir().unwrap();
    let bundle = worked(&world).await;
    world.drop_example().await;
    // The backup itself leaves a row, which it does not contain.
    let before = rows(&world.app.db).await;
    let made = make(&world, &folder).await;
    let size: i64 = world.value("SELECT size FROM log_tree").await;
    assert_eq!(made.manifest.log.as_ref().map(|log| log.size as i64), Some(size));
    assert!(size > 0 || matches!(world.app.db, Db::Postgres(_)));
    let count: usize = before.values().map(Vec::len).sum();
    assert_eq!(made.manifest.rows(), count as u64);
    let jwks = world.anyone().get("/.well-known/jwks.json").await.text();
    let file = format!("sqlite:{}", folder.path().join("restored.db").display());
    let mut targets = vec![file];
    let empty = Database::postgres(None).await;
    targets.extend(empty.as_ref().map(|database| database.url.clone()));
    for url in targets {
        restore_to(&world.clock, &made.path, &url).await.unwrap();
        let db = Db::open(&url).await.unwrap();
        let after = rows(&db).await;
        for (table, rows) in &before {
            match &**table {
                // What data planes remember goes on, and does not come back.
                "status_lists" | "status_list_tokens" | "sessions" => {}
                // The restore itself is noted, because a backup does not know the newest leases.
                "installation" => {
                    let noted = |row: &&String| row.contains("leases_restored_at");
                    let others = after[table].iter().filter(|row| !noted(row));
                    assert_eq!(others.collect::<Vec<_>>(), rows.iter().collect::<Vec<_>>());
                    assert_eq!(after[table].iter().filter(noted).count(), 1);
                }
                "licenses" => assert_eq!(after[table].len(), rows.len()),
                _ => assert_eq!(&after[table], rows, "{table} of {url}"),
            }
        }
        let app = app(db, Clock::following(&world.clock), 7);
        cp_server::licensing::keys::start::prepare(&app, None, None).await.unwrap();
        let client = Client::new(server::router(&app)).token(crate::world::ROOT);
        let restored = client.get("/.well-known/jwks.json").await.text();
        assert_eq!(restored, jwks);
        let token = bundle["token"].as_str().unwrap();
        assert!(verifies(&restored, token, world.clock.now().timestamp()));
        let known = client.get(format!("/bundles/{}", bundle["jti"].as_str().unwrap())).await;
        assert_eq!(known.expect(200)["bundle_hash"], bundle["bundle_hash"]);
        let bundles = format!("/licenses/{}/bundles", world.acme.license);
        client.post(&bundles, json!({})).await.expect(201);
        // What refuses rows is back: a foreign key, and a unique index.
        let mut tx = app.db.begin().await.unwrap();
        let sql = "UPDATE deployments SET organization_id = $1";
        assert!(tx.q(sql).bind(uuid::Uuid::from_u128(1)).exec().await.is_err());
        drop(tx);
        let mut conn = app.db.snapshot().await.unwrap();
        let ours = tables::all(&mut world.app.db.snapshot().await.unwrap()).await.unwrap();
        let names = |tables: &[tables::Table]| -> Vec<String> {
            tables.iter().map(|table| table.name.clone()).collect()
        };
        assert_eq!(names(&tables::all(&mut conn).await.unwrap()), names(&ours));
        assert_eq!(objects(&app.db).await, objects_like(&app.db, &world).await, "{url}");
        drop(conn);
        // A second one finds it taken.
        let error = restore_to(&world.clock, &made.path, &url).await.err().unwrap().to_string();
        assert!(
            ["contains an installation", "has tables", "in use"].iter().any(|e| error.contains(e)),
            "{error}"
        );
        app.db.close().await;
    }
}

#[on_both]
async fn a_backup_is_of_one_moment_while_others_write(world: World) {
    let folder = tempfile::tempdir().unwrap();
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    let root = world.root();
    let writing = async {
        for _ in 0..40 {
            root.post(&bundles, json!({})).await.expect(201);
        }
    };
    let (made, ()) = tokio::join!(make(&world, &folder), writing);
    let mut archive = Archive::open(&made.path).unwrap();
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut issued = 0;
    archive
        .each(async |table, batch| {
            *seen.entry(table.name.clone()).or_default() += batch.len() as u64;
            let action = table.columns.iter().position(|column| column == "action");
            if let (Some(action), "audit_events") = (action, &*table.name) {
                issued += batch
                    .rows()
                    .filter(|row| row[action] == Cell::Text("bundles.issue".into()))
                    .count();
            }
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(seen["bundles"], issued as u64, "a bundle and its event are of one transaction");
}

#[on_both]
async fn backup_changed_is_refused(world: World) {
    let folder = tempfile::tempdir().unwrap();
    let made = make(&world, &folder).await;
    let good = std::fs::read(&made.path).unwrap();
    let broken = folder.path().join("broken");
    let url = format!("sqlite:{}", folder.path().join("never.db").display());
    let mut manifest: Manifest = serde_json::from_slice(&good[..16 * 1024]).unwrap();
    let with_manifest = |manifest: &Manifest| {
        let mut bytes = serde_json::to_vec(manifest).unwrap();
        bytes.resize(16 * 1024 - 1, b' ');
        bytes.push(b'\n');
        [&bytes, &good[16 * 1024..]].concat()
    };
    let mut flipped = good.clone();
    let middle = flipped.len() / 2 + 8 * 1024;
    flipped[middle] ^= 1;
    let mut cases = vec![
        (Vec::new(), "not a backup"),
        (b"SQLite format 3\0".repeat(2_000), "not a backup"),
        (good[..good.len() - 1].to_vec(), "damaged"),
        ([&good[..], b"x"].concat(), "damaged"),
        (flipped, "damaged"),
    ];
    manifest.tables[0].rows += 1;
    cases.push((with_manifest(&manifest), "was changed"));
    manifest.tables[0].rows -= 1;
    cases.push((with_manifest(&Manifest { format: 2, ..manifest.clone() }), "format 2"));
    let schema = [&manifest.schema[..], &[9_999]].concat();
    cases.push((with_manifest(&Manifest { schema, ..manifest.clone() }), "newer schema"));
    for (bytes, words) in cases {
        std::fs::write(&broken, bytes).unwrap();
        let error = format!("{:#}", restore_to(&world.clock, &broken, &url).await.err().unwrap());
        assert!(error.contains(words), "{words}: {error}");
    }
    let other = Kek::new(&[8; 32]).unwrap();
    let error = restore::check(&made.path, &other, &url).await.unwrap_err().to_string();
    assert!(error.contains("not the key-encryption key of this backup"), "{error}");
    restore::check(&made.path, &kek(), &url).await.unwrap();
    let left: Vec<_> = files(folder.path());
    assert_eq!(left, ["a.cpbackup", "broken"], "nothing was made");
}

/// A restore reads each row once, while it writes. A row that cannot be read leaves no file behind.
#[on_both]
async fn a_row_that_cannot_be_read_is_not_restored(world: World) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = make(&world, &folder).await.manifest;
    let broken = folder.path().join("broken");
    let tables = tables::all(&mut world.app.db.snapshot().await.unwrap()).await.unwrap();
    let empty = Manifest { tables: Vec::new(), ..manifest };
    let mut writer = Writer::new(File::create(&broken).unwrap(), empty).unwrap();
    for table in &tables {
        writer.begin(table).unwrap();
        if table.name == "installation" {
            writer.row(&[Cell::Text("too few".into())]).unwrap();
        }
    }
    writer.finish(&kek(), &Random::seeded(9)).unwrap();
    let url = format!("sqlite:{}", folder.path().join("never.db").display());
    let error = restore_to(&world.clock, &broken, &url).await.err().unwrap();
    assert!(format!("{error:#}").contains("a row of installation"), "{error:#}");
    let error = restore::check(&broken, &kek(), &url).await.unwrap_err();
    assert!(format!("{error:#}").contains("a row of installation"), "{error:#}");
    assert_eq!(files(folder.path()), ["a.cpbackup", "broken"], "nothing was made");
}

/// The backup contains neither the key-encryption key nor what it seals.
#[on_both]
async fn a_backup_has_no_key_in_the_clear(world: World) {
    let folder = tempfile::tempdir().unwrap();
    let made = make(&world, &folder).await;
    let mut archive = Archive::open(&made.path).unwrap();
    let mut sealed = 0;
    archive
        .each(async |table, batch| {
            for cell in batch.rows().flatten() {
                if let Cell::Blob(bytes) = cell {
                    assert!(!bytes.windows(32).any(|part| part == KEK), "{}", table.name);
                    // A PKCS#8 document begins like this, and an RSA key is one.
                    assert!(!bytes.starts_with(&[0x30, 0x82]), "{}", table.name);
                    sealed += 1;
                }
            }
            Ok(())
        })
        .await
        .unwrap();
    assert!(sealed > 0);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&made.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[on_both]
async fn a_folder_keeps_the_newest_and_nothing_else_is_deleted(world: World) {
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("deep/backups");
    std::fs::create_dir_all(&backups).unwrap();
    std::fs::write(backups.join("control-plane-notes.txt"), "mine").unwrap();
    std::fs::write(backups.join("a.cpbackup"), "mine").unwrap();
    let mut made = Vec::new();
    for round in 0..5 {
        world.pass(TimeDelta::seconds(1));
        let new = backup::make(&place(&world), &backups, 3, backup::SILENT).await.unwrap();
        assert_eq!(new.dropped.len(), usize::from(round >= 3));
        made.push(new.path);
    }
    let mut expected: Vec<String> =
        made[2..].iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    expected.extend(["a.cpbackup".to_owned(), "control-plane-notes.txt".to_owned()]);
    expected.sort();
    assert_eq!(files(&backups), expected);
    let error =
        backup::make(&place(&world), &made[4], 3, backup::SILENT).await.err().unwrap().to_string();
    assert!(error.contains("exists"), "{error}");
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The names of triggers, indexes and constraints.
async fn objects(db: &Db) -> Vec<String> {
    let mut conn = db.snapshot().await.unwrap();
    let names: Vec<(String,)> = conn
        .q2(
            "SELECT type || ' ' || name FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY 1",
            "SELECT conname::text || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
             WHERE connamespace = current_schema()::regnamespace
             UNION ALL SELECT tgname::text || ' ' || tgenabled::text FROM pg_trigger
             WHERE NOT tgisinternal
             UNION ALL SELECT indexname::text FROM pg_indexes WHERE schemaname = current_schema()
             ORDER BY 1",
        )
        .all()
        .await
        .unwrap();
    names.into_iter().map(|(name,)| name).collect()
}

/// Those of a database that was only migrated.
async fn objects_like(db: &Db, _: &World) -> Vec<String> {
    let fresh = match db {
        Db::Sqlite { .. } => Database::sqlite(None).await,
        Db::Postgres(_) => Database::postgres(None).await.unwrap(),
    };
    fresh.db.migrate().await.unwrap();
    objects(&fresh.db).await
}

/// A file that is there is kept beside, and one that a server has open is left alone.
#[tokio::test]
async fn a_file_that_is_there_is_set_aside() {
    let world = World::on_sqlite().await;
    let folder = tempfile::tempdir().unwrap();
    let made = make(&world, &folder).await;
    let file = folder.path().join("data.db");
    let url = format!("sqlite:{}", file.display());
    restore_to(&world.clock, &made.path, &url).await.unwrap();
    let server = Db::open(&url).await.unwrap();
    let mut tx = server.begin().await.unwrap();
    tx.q("UPDATE users SET display_name = 'Changed'").exec().await.unwrap();
    tx.commit().await.unwrap();
    let replace = async || {
        restore::restore(&made.path, &kek(), &Clock::system(), &url, true, backup::SILENT).await
    };
    let error = replace().await.err().unwrap().to_string();
    assert!(error.contains("in use; stop the server first"), "{error}");
    // As after a crash: the last change is in the write-ahead log alone.
    drop(server);
    let restored = loop {
        // The pool's threads let go of the file in their own time.
        match replace().await {
            Err(error) if error.to_string().contains("in use") => tokio::task::yield_now().await,
            done => break done.unwrap(),
        }
    };
    let aside: PathBuf = restored.set_aside.unwrap();
    let names = async |path: &Path| -> i64 {
        let db = Db::open(&format!("sqlite:{}", path.display())).await.unwrap();
        let sql = "SELECT COUNT(*) FROM users WHERE display_name = 'Changed'";
        let count = db.read().q(sql).value::<i64>().await.unwrap().unwrap();
        db.close().await;
        count
    };
    assert_eq!(names(&file).await, 0);
    assert!(names(&aside).await > 0, "what was there is kept whole");
    // What is damaged is kept as well.
    std::fs::write(&file, b"SQLite format 3\0 but not really, it is only text of some length")
        .unwrap();
    let restored = replace().await.unwrap();
    assert!(std::fs::read(restored.set_aside.unwrap()).unwrap().ends_with(b"length"));
    assert_eq!(names(&file).await, 0);
}

/// A backup of an older version goes into its own schema, and from there the usual way.
#[tokio::test]
async fn an_older_schema_is_brought_along() {
    let folder = tempfile::tempdir().unwrap();
    let old = Database::sqlite(None).await;
    let versions: Vec<i64> = Db::migrations(&old.url).into_iter().filter(|v| *v <= 5).collect();
    old.db.migrate_some(&versions).await.unwrap();
    let (clock, hand) = Clock::manual(crate::world::now());
    let authority = app(old.db.clone(), clock.clone(), 1);
    cp_server::kernel::kek::check(&authority).await.unwrap();
    let place = BackupSource { db: old.db.clone(), kek: kek(), clock, random: Random::seeded(9) };
    let made =
        backup::make(&place, &folder.path().join("old.cpbackup"), 1, backup::SILENT).await.unwrap();
    assert_eq!(made.manifest.schema, versions);
    let mut targets = vec![format!("sqlite:{}", folder.path().join("new.db").display())];
    let empty = Database::postgres(None).await;
    targets.extend(empty.as_ref().map(|database| database.url.clone()));
    for url in targets {
        restore_to(&hand, &made.path, &url).await.unwrap();
        let db = Db::open(&url).await.unwrap();
        let schema = tables::migrated(&mut db.snapshot().await.unwrap()).await.unwrap();
        assert_eq!(schema, Db::migrations(&url));
        db.close().await;
    }
}
