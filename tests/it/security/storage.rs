use axum::http::Method;
use cp_server::kernel::db::Db;
use cp_server::server::monitoring;
use serde_json::json;

use crate::world::{World, on_both};

#[tokio::test]
async fn sqlite_survives_a_power_cut_and_checks_references() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&format!("sqlite:{}/a.db", folder.path().display())).await.unwrap();
    db.migrate().await.unwrap();
    let mut writer = db.begin().await.unwrap();
    let mut setting =
        async |sql: &'static str| -> i64 { writer.q(sql).value().await.unwrap().unwrap() };
    assert_eq!(setting("SELECT synchronous FROM pragma_synchronous").await, 2, "FULL");
    assert_eq!(setting("SELECT foreign_keys FROM pragma_foreign_keys").await, 1);
    assert_eq!(setting("SELECT timeout FROM pragma_busy_timeout").await, 5000);
    assert_eq!(setting("SELECT trusted_schema FROM pragma_trusted_schema").await, 0);
    assert_eq!(setting("SELECT cell_size_check FROM pragma_cell_size_check").await, 1);
    assert_eq!(setting("SELECT secure_delete FROM pragma_secure_delete").await, 1);
    let journal: Option<String> =
        writer.q("SELECT journal_mode FROM pragma_journal_mode").value().await.unwrap();
    assert_eq!(journal.as_deref(), Some("wal"));
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let world = crate::world::World::on_sqlite().await;
    let mut reader = world.app.db.read();
    let error = reader.q("DELETE FROM bundles").exec().await.unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_database_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let url = format!("sqlite:{}", file.display());
    drop(Db::open(&url).await.unwrap());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = format!("{:#}", Db::open(&url).await.unwrap_err());
    assert!(error.contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn a_full_database_refuses_changes_and_recovers_by_itself() {
    let world = crate::world::World::on_sqlite().await;
    // What a full disk is to SQLite: no page more.
    let most = async |sql: &'static str| {
        let mut writer = world.app.db.begin().await.unwrap();
        writer.q(sql).value::<i64>().await.unwrap();
    };
    most("PRAGMA max_page_count = 1").await;
    let organization = |n: i32| serde_json::json!({"name": format!("Full {n}"), "metadata": {"x": "y".repeat(4000)}});
    let mut made = 0;
    let refused = loop {
        let answer = world.post("/organizations", organization(made)).await;
        if answer.status != 201 {
            break answer;
        }
        made += 1;
        assert!(made < 200, "the database is never full");
    };
    assert_eq!(refused.header("retry-after"), "30");
    refused.refused(503, "unavailable");
    world.anyone().get("/.well-known/jwks.json").await.expect(200);
    world.get("/organizations?slug=acme").await.expect(200);
    most("PRAGMA max_page_count = 1000000").await;
    world.post("/organizations", organization(made)).await.expect(201);

    // On a disk that is full, SQLite ends the transaction itself, behind the driver's back.
    let mut writer = world.app.db.begin().await.unwrap();
    writer.q("ROLLBACK").exec().await.unwrap();
    drop(writer);
    world.post("/organizations", organization(made + 1)).await.expect(201);
}

/// A revoked grant, or a foreign trigger, blocks the log: the server refuses changes without their
/// event and reports the reason. Reads continue.
#[on_both]
async fn a_log_that_cannot_be_written_refuses_changes_alone(world: World) {
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    let events = world.count_events().await;
    let refuse = match &world.app.db {
        Db::Sqlite { .. } => {
            "CREATE TRIGGER no_more BEFORE INSERT ON audit_events
                 BEGIN SELECT RAISE(ABORT, 'no more'); END"
        }
        Db::Postgres(_) => {
            "CREATE FUNCTION no_more() RETURNS TRIGGER LANGUAGE plpgsql AS
                 'BEGIN RAISE EXCEPTION ''no more''; END'"
        }
    };
    world.exec(refuse).await;
    if let Db::Postgres(_) = &world.app.db {
        let sql = "CREATE TRIGGER no_more BEFORE INSERT ON audit_events
                       FOR EACH ROW EXECUTE FUNCTION no_more()";
        world.exec(sql).await;
    }
    for (path, body) in
        [(bundles.as_str(), json!({})), ("/organizations", json!({"name": "Never"}))]
    {
        let problem = world.post(path, body).await.expect(503);
        assert_eq!(
            (&problem["code"], &problem["detail"]),
            (&json!("unavailable"), &json!("The database refuses to write; nothing was changed.")),
        );
    }
    world.get("/organizations/never").await.expect(404);
    world.get(world.org("")).await.expect(200);
    world.anyone().get("/.well-known/jwks.json").await.expect(200);
    assert_eq!(world.count_events().await, events);
    world
        .exec(match &world.app.db {
            Db::Sqlite { .. } => "DROP TRIGGER no_more",
            Db::Postgres(_) => "DROP TRIGGER no_more ON audit_events",
        })
        .await;
    world.post(&bundles, json!({})).await.expect(201);
    assert_eq!(world.count_events().await, events + 1);
}

#[on_both]
async fn metrics_are_served_without_the_database(world: World) {
    monitoring::refresh(&world.app).await.unwrap();
    world.lose_database().await;
    monitoring::refresh(&world.app).await.unwrap_err();
    let metrics = world.anyone().call(Method::GET, "/metrics", None).await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("\ncp_log_entries "), "{}", metrics.text());
}
