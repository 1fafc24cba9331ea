//! Verification with access that is read-only.

use cp_server::kernel::db::Db;
use serde_json::json;

use super::server::{Server, command, folder};

async fn run(url: &str, statements: &'static str) {
    let db = Db::open(url).await.unwrap();
    let Db::Postgres(pool) = &db else { panic!("it is PostgreSQL") };
    sqlx::raw_sql(statements).execute(&**pool).await.unwrap();
    db.close().await;
}

/// On SQLite it is a file system that is read-only: `faults.rs`.
#[test]
fn a_role_that_may_only_read_verifies_the_log() {
    let Some(cluster) = super::cluster::url() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(&format!("{cluster}/postgres"), "CREATE DATABASE evidence"));
    let (folder, url) = (folder(), format!("{cluster}/evidence"));
    let server = Server::run(command(folder.path()).env("CP_DATABASE_URL", &url).arg("serve"));
    let bundles = server.license();
    server.post(&format!("{bundles}?proof=wait"), json!({}));
    let grants =
        "CREATE ROLE auditor LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO auditor";
    runtime.block_on(run(&url, grants));
    let (_, host) = url.split_once('@').unwrap();
    let verify = |arguments: &[&str]| {
        let mut command = command(folder.path());
        let url = format!("postgres://auditor@{host}");
        let output = command.env("CP_DATABASE_URL", url).args(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (is_sound, said) = verify(&["audit", "verify"]);
    assert!(is_sound && said.contains("1 bundles, each in the log"), "{said}");
    let (is_done, said) = verify(&["audit", "key", "rotate"]);
    assert!(!is_done && said.contains("permission denied"), "{said}");
}
