//! A database that came back continues past what data planes remember.

use cp_server::backup::{BackupSource, continuation};
use cp_server::kernel::app::Part;
use cp_server::kernel::clock::Clock;
use cp_server::kernel::db::Db;
use cp_server::kernel::secret::Kek;
use cp_server::licensing::status_lists::StatusLists;
use cp_server::server;
use serde_json::{Value, json};

use super::{make, place, restore_to};
use crate::world::database::Database;
use crate::world::{Client, ISSUER, World, app, on_both};

/// What was given out since the backup is given out to no other token, list or file.
#[on_both]
async fn restored_database_continues_past_what_data_planes_remember(world: World) {
    let folder = tempfile::tempdir().unwrap();
    let root = world.root();
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    let refresh = format!("/licenses/{}/refresh", world.acme.license);
    let entry = |bundle: &Value| bundle["payload"]["status"]["status_list"].to_string();
    let old = root.post(&bundles, json!({})).await.expect(201);
    let made = make(&world, &folder).await;
    let mut since = Vec::new();
    let mut file = Value::Null;
    for _ in 0..20 {
        since.push(entry(&root.post(&bundles, json!({})).await.expect(201)));
        file = root.post(&refresh, json!({})).await.expect(201);
    }
    let iat = async |client: &Client| {
        let uri = old["payload"]["status"]["status_list"]["uri"].as_str().unwrap();
        let path = uri.strip_prefix(ISSUER).unwrap();
        let list = client.call(axum::http::Method::GET, path, None).await.text();
        crate::trust::parts(&list).1["iat"].as_i64().unwrap()
    };
    let last = iat(&world.anyone()).await;

    let empty = match &world.app.db {
        Db::Sqlite { .. } => None,
        Db::Postgres(_) => Database::postgres(None).await,
    };
    let in_folder = format!("sqlite:{}", folder.path().join("restored.db").display());
    let url = empty.as_ref().map_or(in_folder, |database| database.url.clone());
    restore_to(&world.clock, &made.path, &url).await.unwrap();
    let app = app(Db::open(&url).await.unwrap(), Clock::following(&world.clock), 7);
    cp_server::seed(&app).await.unwrap();
    cp_server::licensing::keys::start::prepare(&app, None, None).await.unwrap();
    let client = Client::new(server::router(&app)).token(crate::world::ROOT);
    for _ in 0..20 {
        let new = client.post(&bundles, json!({})).await.expect(201);
        assert!(!since.contains(&entry(&new)), "an entry is given out twice");
    }
    let next = client.post(&refresh, json!({})).await.expect(201);
    assert!(next["seq"].as_i64() > file["seq"].as_i64(), "{}", next["seq"]);
    assert!(iat(&client).await > last);
    app.db.close().await;
}

/// A dump or a snapshot was put back: the operator says so.
#[on_both]
async fn copied_database_continues_when_the_operator_says_so(world: World) {
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    world.post(&bundles, json!({})).await.expect(201);
    continuation::of_copy(&place(&world)).await.unwrap();
    let open: i64 = world.value("SELECT COUNT(*) FROM status_lists WHERE allocated < 65536").await;
    assert_eq!(open, 0);
    let (app, replica) = world.replica().await;
    replica.token(crate::world::ROOT).post(&bundles, json!({})).await.expect(201);
    StatusLists::of(&app).refresh(&app).await.unwrap();
    let other = BackupSource { kek: Kek::new(&[8; 32]).unwrap(), ..place(&world) };
    let error = continuation::of_copy(&other).await.unwrap_err().to_string();
    assert!(error.contains("key-encryption key"), "{error}");
}

/// A restore that was interrupted leaves rows, and no server starts on them.
#[on_both]
async fn database_whose_restore_was_interrupted_refuses_to_start(world: World) {
    world
        .exec(
            "INSERT INTO installation (name, value)
                    SELECT 'restoring', value FROM installation WHERE name = 'log origin'",
        )
        .await;
    let (app, _) = world.replica().await;
    let error = cp_server::seed(&app).await.unwrap_err().to_string();
    assert!(error.contains("was interrupted"), "{error}");
}
