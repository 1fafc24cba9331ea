//! The documents for operators, done line by line as they stand there.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use cp_server::kernel::db::Db;
use serde_json::{Value, json};

use super::server::{Server, TOKEN, command, folder};

/// The first block of commands below a heading of a document.
pub fn commands(document: &str, heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(document);
    let text = std::fs::read_to_string(path).unwrap();
    let (_, below) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, block) = below.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// Runs the commands as an operator does: in a shell, on a running server.
pub fn run(folder: &Path, server: &Server, variables: &[(&str, &str)], commands: &str) -> String {
    let bin = folder.join("bin");
    if !bin.exists() {
        std::fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_cp-server"), bin.join("cp-server")).unwrap();
    }
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", commands])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("CP_URL", format!("http://{}", server.address))
        .env("CP_TOKEN", TOKEN)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    said
}

#[test]
fn the_runbook_for_a_leaked_key_does_what_it_says() {
    let folder = folder();
    let server = Server::start(folder.path());
    let bundles = server.license();
    let old = server.post(&bundles, json!({}));
    let kid = old["key_id"].as_str().unwrap();
    let (_, jwks) = server.call("GET", "/.well-known/jwks.json", None, "x");
    assert!(jwks.to_string().contains(kid));

    let drill = commands("keys.md", "When a key leaks");
    let said = run(folder.path(), &server, &[("KID", kid)], &drill);

    let answers: Vec<Value> = serde_json::Deserializer::from_str(&said)
        .into_iter::<Value>()
        .map(Result::unwrap)
        .collect();
    let [before, taken_out, after, audit] = &answers[..] else { panic!("{said}") };
    assert_eq!(
        (&before["state"], &before["signed"]["live_bundles"]),
        (&json!("active"), &json!(1))
    );
    assert_eq!(
        (&taken_out["state"], &after["state"]),
        (&json!("compromised"), &json!("compromised"))
    );
    assert_eq!(after["signed"]["live_bundles"], 0);
    assert_eq!(after["signed"]["licenses_to_reissue"], 0);
    assert_eq!(audit["items"][0]["reason"], "seen in a build log");

    let reissued = std::fs::read_to_string(folder.path().join("reissued.ndjson")).unwrap();
    let new: Value = serde_json::from_str(reissued.trim()).unwrap();
    let (_, jwks) = server.call("GET", "/.well-known/jwks.json", None, "x");
    assert!(!jwks.to_string().contains(kid), "the leaked key is still published");
    assert!(jwks.to_string().contains(new["bundle"]["key_id"].as_str().unwrap()));
    let status = |bundle: &Value| {
        let path = format!("/api/v1/bundles/{}", bundle["jti"].as_str().unwrap());
        server.call("GET", &path, None, "x").1["status"].clone()
    };
    assert_eq!((status(&old), status(&new["bundle"])), (json!("revoked"), json!("valid")));
}

#[test]
fn the_runbook_for_the_log_does_what_it_says() {
    let folder = folder();
    let server = Server::start(folder.path());
    let bundles = server.license();
    server.post(&bundles, json!({}));
    let user = json!({"email": "anna@acme.example", "display_name": "Anna"});
    let user = server.post("/users", user)["id"].as_str().unwrap().to_owned();

    let said = run(folder.path(), &server, &[], &commands("audit.md", "Verify"));
    assert_eq!(said.matches("The log is sound: ").count(), 3, "{said}");
    let kept = std::fs::read_to_string(folder.path().join("checkpoint.txt")).unwrap();
    assert!(kept.starts_with("127.0.0.1:8801/api/v1/log\n"), "{kept}");

    run(folder.path(), &server, &[], &commands("audit.md", "What to keep where"));
    let events = std::fs::read_to_string(folder.path().join("events.ndjson")).unwrap();
    assert!(events.contains("anna@acme.example"));
    assert!(events.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));

    let rotation = commands("audit.md", "Another key for the log");
    run(folder.path(), &server, &[], &rotation);
    let bridge = std::fs::read_to_string(folder.path().join("log-key-and-bridge.txt")).unwrap();
    let old = std::fs::read_to_string(folder.path().join("log-key.txt")).unwrap();
    let (new, bridge) = bridge.split_once("\n\n").unwrap();
    assert_eq!(bridge.matches("\n— 127.0.0.1:8801/api/v1/log ").count(), 2, "{bridge}");
    // The server that runs signs with the new key alone; what was kept before is still good.
    let (_, published) = server.call("GET", "/api/v1/log/key", None, "x");
    assert_eq!(published.as_str().unwrap().trim_end(), new);
    assert_ne!(old.trim_end(), new);
    let said = run(folder.path(), &server, &[], "cp-server audit verify --since checkpoint.txt");
    assert!(said.contains("The log is sound: "), "{said}");

    let variables = [("USER_ID", &*user)];
    let said = run(folder.path(), &server, &variables, &commands("audit.md", "Erase a person"));
    assert!(said.starts_with("1 events are erased"), "{said}");
    assert!(said.contains("1 erased"), "{said}");
    let said = run(folder.path(), &server, &[], "cp-server audit export");
    assert!(!said.contains("anna@acme.example"));
    let id = serde_json::from_str::<Value>(said.lines().next().unwrap()).unwrap()["id"].clone();
    let said =
        run(folder.path(), &server, &[("ID", id.as_str().unwrap())], "cp-server audit show $ID");
    assert!(said.contains("audit.erase") && said.contains("+ events: 1"), "{said}");

    let database = format!("sqlite:{}/data/control-plane.db", folder.path().display());
    edit(&database);
    let done = command(folder.path()).args(["audit", "verify"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("the log is not sound: seq 2 (event ") && stderr.contains("edited"),
        "{stderr}"
    );
}

/// Edits an event, as a caller with full access to the database can.
fn edit(database: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Db::open(database).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        tx.q("DROP TRIGGER audit_events_told").exec().await.unwrap();
        tx.q("UPDATE audit_events SET reason = 'none' WHERE seq = 2").exec().await.unwrap();
        tx.commit().await.unwrap();
        db.close().await;
    });
}
