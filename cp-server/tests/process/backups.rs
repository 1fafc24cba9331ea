//! Backup and restore as an operator runs them.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use super::runbooks::{commands, run};
use super::server::{KEK, Server, command, folder};

fn restore(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = command(folder).arg("restore").args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn the_backup(folder: &Path) -> String {
    let mut found: Vec<_> = std::fs::read_dir(folder.join("backups"))
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    found.pop().unwrap()
}

#[test]
fn the_runbook_makes_a_backup_and_puts_it_back() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let bundles = server.license();
    let old = server.post(&bundles, json!({}));
    let (_, jwks) = server.call("GET", "/.well-known/jwks.json", None, "x");
    let made = run(folder.path(), &server, &[], &commands("backup.md", "Make one"));
    assert!(made.contains(" is good: "), "{made}");
    let later = server.post(&bundles, json!({"ttl_seconds": 7_200}));

    // Nothing is replaced under a server that runs.
    let backup = the_backup(folder.path());
    let (done, said) = restore(folder.path(), &[&backup]);
    assert!(
        !done && said.contains("with --replace it is kept") | said.contains("in use"),
        "{said}"
    );
    let (done, said) = restore(folder.path(), &["--replace", &backup]);
    assert!(!done && said.contains("stop the server first"), "{said}");
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let (done, said) = restore(folder.path(), &[&backup]);
    assert!(!done && said.contains("with --replace it is kept"), "{said}");

    let said = run(folder.path(), &server, &[], &commands("backup.md", "Restore a file"));
    assert!(said.contains("Restored ") && said.contains("log_rolled_back"), "{said}");
    let again = Server::start(folder.path());
    let (_, restored) = again.call("GET", "/.well-known/jwks.json", None, "x");
    assert_eq!(restored, jwks);
    let status = |bundle: &serde_json::Value| {
        again
            .call("GET", &format!("/api/v1/bundles/{}", bundle["jti"].as_str().unwrap()), None, "x")
            .0
    };
    assert_eq!((status(&old), status(&later)), (200, 404));
    again.post(&bundles, json!({}));
}

#[test]
fn an_empty_machine_needs_the_backup_and_the_key() {
    let folder = folder();
    let server = Server::run(command(folder.path()).env("CP_KEY_ENCRYPTION_KEY", KEK).arg("serve"));
    let bundle = server.post(&server.license(), json!({}));
    let file = folder.path().join("a.cpbackup");
    let make = |more: &[&str]| {
        let mut making = command(folder.path());
        making.env("CP_KEY_ENCRYPTION_KEY", KEK).arg("backup").args(more).output().unwrap()
    };
    let path = file.to_str().unwrap();
    let made = make(&["--out", path]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let twice = make(&["--out", path]);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("never replaces"));
    assert!(!make(&["--keep", "0"]).status.success());

    let empty = super::server::folder();
    let (done, said) = restore(empty.path(), &[path]);
    assert!(!done && said.contains("kek"), "{said}");
    let other = "b3RoZXItZW5jcnlwdGlvbi1rZXktb2YtdGhlLXRlc3Q=";
    let with = |key: &str| {
        let mut restoring = command(empty.path());
        let output = restoring.env("CP_KEY_ENCRYPTION_KEY", key).args(["restore", path]).output();
        let output = output.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (done, said) = with(other);
    assert!(!done && said.contains("not the key-encryption key of this backup"), "{said}");
    assert!(!empty.path().join("data").exists(), "nothing was made by a restore that was refused");
    let (done, said) = with(KEK);
    assert!(done, "{said}");
    let again = Server::run(command(empty.path()).env("CP_KEY_ENCRYPTION_KEY", KEK).arg("serve"));
    let path = format!("/api/v1/bundles/{}", bundle["jti"].as_str().unwrap());
    assert_eq!(again.call("GET", &path, None, "x").1["bundle_hash"], bundle["bundle_hash"]);

    let nothing = super::server::folder();
    let refused = command(nothing.path()).env("CP_KEY_ENCRYPTION_KEY", KEK).arg("backup").output();
    let said = String::from_utf8(refused.unwrap().stderr).unwrap();
    assert!(said.contains("there is no"), "{said}");
    assert!(!nothing.path().join("data").exists());
}

/// The file system ends in the middle of it: no half backup, and the old ones stay.
#[test]
fn a_backup_that_finds_no_room_leaves_nothing() {
    let folder = folder();
    let server = Server::start(folder.path());
    server.license();
    let small = folder.path().join("small");
    let Some(_mounted) = super::disk::Mounted::at(&small, "16k") else { return };
    let made = Command::new(env!("CARGO_BIN_EXE_cp-server"))
        .args(["backup", "--out", "small/"])
        .current_dir(folder.path())
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8(made.stderr).unwrap();
    assert!(!made.status.success() && said.contains("No space left"), "{said}");
    assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0);
}

#[test]
fn progress_is_shown_on_a_terminal_and_nowhere_else() {
    let folder = folder();
    assert!(command(folder.path()).arg("migrate").status().unwrap().success());
    let steps: [&[&str]; 3] = [
        &["backup", "--out", "a.cpbackup"],
        &["restore", "--replace", "a.cpbackup"],
        &["audit", "verify"],
    ];
    for arguments in steps {
        let output = command(folder.path()).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
    }
    let script = ["/usr/bin/script", "/bin/script"].into_iter().find(|p| Path::new(p).exists());
    let binary = env!("CARGO_BIN_EXE_cp-server");
    let output = Command::new(script.expect("the tests need `script` of util-linux"))
        .args(["-qec", &format!("{binary} restore --replace a.cpbackup"), "/dev/null"])
        .current_dir(folder.path())
        .env_clear()
        .env("TERM", "xterm")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(" rows, "), "{said}");
    assert!(said.contains("Restored "), "{said}");
    assert!(!said.contains("INSERT") && !said.contains("SELECT"), "{said}");
}
