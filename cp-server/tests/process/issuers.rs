//! The issuer, which outlives the setting that it came from.

use std::path::Path;
use std::process::Command;

use cp_server::kernel::db::Db;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::crash::postgres;
use super::server::{Server, command, folder, refusal};

const OLD: &str = "https://old.example";
const NEW: &str = "https://new.example";

fn at(folder: &Path, database: &str, base: &str) -> Command {
    let mut command = command(folder);
    command.env("CP_DATABASE_URL", database).env("CP_BASE_URL", base);
    command.env("CP_TRUSTED_PROXIES", "127.0.0.1");
    command
}

fn stop(mut server: Server) {
    server.signal(Signal::TERM);
    assert!(server.wait().success());
}

/// `restored` is where a backup of the database goes.
fn body(folder: &Path, database: &str, restored: &str) {
    let serve = |base: &str| Server::run(at(folder, database, base).arg("serve"));
    let refused = |database: &str, base: &str| refusal(&mut at(folder, database, base));
    let server = serve(OLD);
    let bundles = server.license();
    server.post(&bundles, json!({}));
    stop(server);

    let said = refused(database, NEW);
    assert!(said.contains(OLD) && said.contains(NEW), "{said}");
    assert!(said.contains("Live license tokens that name https://old.example: 1."), "{said}");
    assert!(said.contains("--accept-new-issuer"), "{said}");

    // A command without the setting issues for the issuer of the installation.
    let license = format!("id={}", bundles.split('/').nth(2).unwrap());
    let issue = ["call", "bundles.issue", &license];
    let mut issuing = command(folder);
    let issued = issuing.env("CP_DATABASE_URL", database).args(issue).output().unwrap();
    let issued: Value = serde_json::from_slice(&issued.stdout).unwrap();
    assert_eq!(issued["payload"]["iss"], OLD);

    let file = folder.join("old.cpbackup");
    let mut backup = at(folder, database, OLD);
    assert!(backup.args(["backup", "--out"]).arg(&file).status().unwrap().success());

    let mut accepting = at(folder, database, NEW);
    let server = Server::run(accepting.args(["serve", "--accept-new-issuer"]));
    let (_, events) = server.call("GET", "/api/v1/audit?action=issuer.accept", None, "x");
    let event = &events["items"][0];
    let change = (&event["before"], &event["after"]);
    assert_eq!(change, (&json!({"issuer": OLD}), &json!({"issuer": NEW, "live_bundles": 2})));
    assert_eq!(server.post(&bundles, json!({"ttl_seconds": 7_200}))["payload"]["iss"], NEW);
    stop(server);
    stop(serve(NEW));
    assert!(
        refused(database, OLD).contains("Live license tokens that name https://new.example: 3.")
    );

    // A database of an earlier version has none: it gets that of the next start.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Db::open(database).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        tx.q("DELETE FROM installation WHERE name = 'issuer'").exec().await.unwrap();
        tx.commit().await.unwrap();
        db.close().await;
    });
    stop(serve("https://third.example"));
    assert!(refused(database, NEW).contains("https://third.example"));

    let mut restore = at(folder, restored, NEW);
    assert!(restore.arg("restore").arg(&file).status().unwrap().success());
    assert!(refused(restored, NEW).contains("--accept-new-issuer"));
    stop(Server::run(at(folder, restored, OLD).arg("serve")));
}

#[test]
fn changed_issuer_is_refused_until_it_is_accepted_on_sqlite() {
    let folder = folder();
    let url = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    body(folder.path(), &url("cp.db"), &url("restored.db"));
}

#[test]
fn changed_issuer_is_refused_until_it_is_accepted_on_postgresql() {
    let (Some(database), Some(restored)) = (postgres("issuer"), postgres("issuer_restored")) else {
        return;
    };
    body(folder().path(), &database, &restored);
}
