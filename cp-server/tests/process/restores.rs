//! Backups and restores beside what a crash has left.

use std::fs::{self, File};
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use super::crash::postgres;
use super::server::{Server, command, folder, refusal};

/// Runs the program, and returns whether it succeeded and what it wrote.
fn run(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = command(folder).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn stop(mut server: Server) {
    server.signal(Signal::TERM);
    assert!(server.wait().success());
}

#[test]
fn write_ahead_log_of_a_lost_database_is_set_aside_before_a_restore() {
    for loss in ["moved", "removed", "emptied"] {
        let folder = folder();
        let data = folder.path().join("data");
        let (file, log) = (data.join("control-plane.db"), data.join("control-plane.db-wal"));
        let server = Server::start(folder.path());
        server.post("/organizations", json!({"name": "Kept"}));
        stop(server);
        let (done, said) = run(folder.path(), &["backup", "--out", "a.cpbackup"]);
        assert!(done, "{said}");
        let mut server = Server::start(folder.path());
        for n in 0..30 {
            server.post("/organizations", json!({"name": format!("Later {n}")}));
        }
        server.signal(Signal::KILL);
        server.wait();
        let changes = fs::read(&log).unwrap();
        assert!(!changes.is_empty());
        match loss {
            "moved" => fs::rename(&file, data.join("broken.db")).unwrap(),
            "removed" => fs::remove_file(&file).unwrap(),
            _ => drop(File::create(&file).unwrap()),
        }
        // A start would delete the log.
        let said = refusal(&mut command(folder.path()));
        assert!(said.contains("control-plane.db-wal contains changes"), "{loss}: {said}");
        assert_eq!(fs::read(&log).unwrap(), changes, "{loss}");

        let (done, said) = run(folder.path(), &["restore", "a.cpbackup"]);
        assert!(done, "{loss}: {said}");
        assert!(!log.exists(), "{loss}");
        let names = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
        let aside = names.into_iter().find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("control-plane.db.before-") && name.ends_with("-wal")
        });
        let aside = aside.unwrap();
        assert!(said.contains(aside.file_name().unwrap().to_str().unwrap()), "{loss}: {said}");
        assert_eq!(fs::read(&aside).unwrap(), changes, "{loss}");

        let server = Server::start(folder.path());
        let (_, found) = server.call("GET", "/api/v1/organizations", None, "x");
        let names: Vec<_> = found["items"].as_array().unwrap().iter().map(|o| &o["name"]).collect();
        assert_eq!(names, [&json!("Kept")], "{loss}");
        stop(server);
        let (done, said) = run(folder.path(), &["audit", "verify"]);
        assert!(done, "{loss}: {said}");
    }
}

#[test]
fn journal_beside_a_damaged_database_is_set_aside() {
    let folder = folder();
    assert!(run(folder.path(), &["migrate"]).0);
    assert!(run(folder.path(), &["backup", "--out", "a.cpbackup"]).0);
    let data = folder.path().join("data");
    fs::write(data.join("control-plane.db"), vec![7; 10_000]).unwrap();
    for suffix in ["-wal", "-shm", "-journal"] {
        fs::write(data.join(format!("control-plane.db{suffix}")), vec![9; 5_000]).unwrap();
    }
    let (done, said) = run(folder.path(), &["restore", "--replace", "a.cpbackup"]);
    assert!(done, "{said}");
    for suffix in ["-wal", "-shm", "-journal"] {
        assert!(!data.join(format!("control-plane.db{suffix}")).exists(), "{suffix}");
    }
    let (done, said) = run(folder.path(), &["audit", "verify"]);
    assert!(done, "{said}");
    drop(Server::start(folder.path()));
}

#[test]
fn database_that_was_moved_under_a_server_is_in_use() {
    let folder = folder();
    let server = Server::start(folder.path());
    assert!(run(folder.path(), &["backup", "--out", "a.cpbackup"]).0);
    let data = folder.path().join("data");
    fs::rename(data.join("control-plane.db"), data.join("moved.db")).unwrap();
    let (done, said) = run(folder.path(), &["restore", "a.cpbackup"]);
    assert!(!done && said.contains("is in use; stop the server first"), "{said}");
    assert!(!data.join("control-plane.db").exists());
    drop(server);
    let (done, said) = run(folder.path(), &["restore", "a.cpbackup"]);
    assert!(done, "{said}");
    drop(Server::start(folder.path()));
}

#[test]
fn backup_beside_another_one_refuses_and_leaves_its_draft() {
    let folder = folder();
    assert!(run(folder.path(), &["migrate"]).0);
    // The draft of a backup that runs is locked.
    let draft = folder.path().join("a.cpbackup.draft");
    fs::write(&draft, "running").unwrap();
    let running = File::open(&draft).unwrap();
    running.try_lock().unwrap();
    let (done, said) = run(folder.path(), &["backup", "--out", "a.cpbackup"]);
    assert!(!done && said.contains("another process is writing a.cpbackup.draft"), "{said}");
    assert_eq!(fs::read(&draft).unwrap(), b"running");
    drop(running);
    // The draft of one that was killed is not.
    let (done, said) = run(folder.path(), &["backup", "--out", "a.cpbackup"]);
    assert!(done && !draft.exists(), "{said}");

    let (done, said) = run(folder.path(), &["backup", "--out", "none/a.cpbackup"]);
    assert!(!done && said.contains("No such file"), "{said}");
    assert!(!said.contains("another"), "{said}");
}

#[test]
fn folder_of_backups_loses_the_drafts_of_killed_ones_and_nothing_else() {
    let folder = folder();
    assert!(run(folder.path(), &["migrate"]).0);
    let backups = folder.path().join("backups");
    fs::create_dir(&backups).unwrap();
    let name = |day: u8| backups.join(format!("control-plane-2026010{day}T080000.cpbackup.draft"));
    for path in [name(1), name(2), backups.join("notes.draft")] {
        fs::write(path, "draft").unwrap();
    }
    let running = File::open(name(2)).unwrap();
    running.try_lock().unwrap();
    let (done, said) = run(folder.path(), &["backup", "--out", "backups/"]);
    assert!(done, "{said}");
    assert!(!name(1).exists() && name(2).exists() && backups.join("notes.draft").exists());
}

#[test]
fn restored_postgresql_database_is_not_continued_beside_a_server() {
    let Some(database) = postgres("already") else { return };
    let folder = folder();
    let with = |arguments: &[&str]| {
        let mut command = command(folder.path());
        let output = command.env("CP_DATABASE_URL", &database).args(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let server = Server::run(command(folder.path()).env("CP_DATABASE_URL", &database).arg("serve"));
    for arguments in [&["restore", "--already"][..], &["keys", "rekey"]] {
        let (done, said) = with(arguments);
        assert!(!done && said.contains("stop the servers first"), "{arguments:?}: {said}");
    }
    stop(server);
    for arguments in [&["restore", "--already"][..], &["keys", "rekey"]] {
        let (done, said) = with(arguments);
        assert!(done, "{arguments:?}: {said}");
    }
}
