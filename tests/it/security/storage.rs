use cp_server::kernel::db::Db;

#[tokio::test]
async fn s17_sqlite_survives_a_power_cut_and_checks_references() {
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
async fn s17_a_reader_cannot_write() {
    let world = crate::world::World::on_sqlite().await;
    let mut reader = world.app.db.read();
    let error = reader.q("DELETE FROM bundles").exec().await.unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn s09_a_database_file_that_others_can_read_is_refused() {
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
