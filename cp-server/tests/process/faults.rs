//! Storage that fails: a disk that does not sync, a file that cannot be written any more, a file system
//! that is read-only, and a write-ahead log that is gone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::disk::Mounted;
use super::server::{PAUSE, Server, command, folder, refusal};

/// A disk that fails on request: `faults/disk.c`, loaded into the server.
pub struct Disk {
    folder: PathBuf,
    library: PathBuf,
}

impl Disk {
    pub fn under(folder: &Path) -> Self {
        let disk = Self { folder: folder.join("disk"), library: folder.join("disk.so") };
        fs::create_dir_all(disk.folder.join(AFTER)).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/faults/disk.c");
        let built = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .args([disk.library.as_os_str(), source.as_ref()])
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        disk
    }

    fn server(&self, folder: &Path) -> Server {
        let mut command = command(folder);
        self.lies_under(&mut command);
        Server::run(command.env("CP_DATABASE_URL", database(folder)).arg("serve"))
    }

    pub fn lies_under(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("DISK", &self.folder);
    }

    pub fn fails(&self, fault: &str) {
        File::create(self.folder.join(fault)).unwrap();
    }

    pub fn recovers(&self, fault: &str) {
        fs::remove_file(self.folder.join(fault)).unwrap();
    }

    /// Puts back what the disk has.
    fn lose_power(&self, folder: &Path) {
        let _ = fs::remove_file(folder.join("data/cp.db-shm"));
        for name in ["cp.db", "cp.db-wal"] {
            fs::copy(self.folder.join(AFTER).join(name), folder.join("data").join(name)).unwrap();
        }
    }
}

const AFTER: &str = "after-a-power-cut";

fn database(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("data/cp.db").display())
}

fn user(server: &Server, name: &str) -> (u16, Value) {
    let body = json!({"email": format!("{name}@x.example")});
    server.call("POST", "/api/v1/users", Some(body), name)
}

/// Waits until the server says so: an outcome answers for a second.
fn becomes_ready(server: &Server, is_ready: bool) {
    let begun = Instant::now();
    while (server.call("GET", "/readyz", None, "x").0 == 200) != is_ready {
        assert!(begun.elapsed() < Duration::from_secs(30), "ready: {}", !is_ready);
        thread::sleep(PAUSE);
    }
}

/// What needs no disk goes on.
fn reads(server: &Server, bundle: &Value) {
    let bundle = format!("/api/v1/bundles/{}", bundle["jti"].as_str().unwrap());
    for path in ["/.well-known/jwks.json", "/healthz", &bundle] {
        assert_eq!(server.call("GET", path, None, "x").0, 200, "{path}");
    }
}

fn kill(mut server: Server) {
    server.signal(Signal::KILL);
    server.wait();
}

/// What `cp-server audit verify` says: whether the log is sound, and why.
fn verify(folder: &Path, database: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = command(folder);
    command.env("CP_DATABASE_URL", database).args(["audit", "verify"]).args(arguments);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn is_sound(folder: &Path, database: &str) {
    let (is_sound, said) = verify(folder, database, &[]);
    assert!(is_sound, "{said}");
}

#[test]
fn nothing_is_acknowledged_that_was_not_synced() {
    let folder = folder();
    let disk = Disk::under(folder.path());
    let server = disk.server(folder.path());
    let bundles = server.license();
    let bundle = server.post(&bundles, json!({}));
    let mut acknowledged = BTreeMap::new();
    for round in 0..3 {
        let (before, during) = (format!("before-{round}"), format!("during-{round}"));
        acknowledged.insert(before.clone(), user(&server, &before).1);
        disk.fails("no-fsync");
        // Concurrent callers share a commit, and each receives its outcome.
        thread::scope(|scope| {
            for caller in 0..4 {
                let (server, bundle, during) = (&server, &bundle, format!("{during}-{caller}"));
                scope.spawn(move || {
                    for _ in 0..3 {
                        let (status, problem) = user(server, &during);
                        assert_eq!(
                            (status, &problem["code"]),
                            (503, &json!("unavailable")),
                            "{problem}"
                        );
                        let detail = problem["detail"].as_str().unwrap();
                        assert!(detail.contains("Idempotency-Key"), "{problem}");
                        becomes_ready(server, false);
                        reads(server, bundle);
                    }
                });
            }
        });
        disk.recovers("no-fsync");
        // By itself, and with the same key: the request that was refused is done now.
        for caller in 0..4 {
            let during = format!("{during}-{caller}");
            let (status, made) = user(&server, &during);
            assert_eq!(status, 201, "{made}");
            acknowledged.insert(during, made);
        }
        becomes_ready(&server, true);
    }
    kill(server);
    let server = disk.server(folder.path());
    for (name, made) in &acknowledged {
        assert_eq!((201, made), (user(&server, name).0, &user(&server, name).1), "{name}");
    }
    is_sound(folder.path(), &database(folder.path()));
}

#[test]
fn failed_sync_leftovers_carry_no_later_write() {
    let folder = folder();
    let disk = Disk::under(folder.path());
    let server = disk.server(folder.path());
    let first = user(&server, "first").1;
    disk.fails("no-fsync");
    assert_eq!(user(&server, "doubtful").0, 503);
    kill(server);
    disk.recovers("no-fsync");

    // The system still shows what the disk does not have.
    let server = disk.server(folder.path());
    let second = user(&server, "second").1;
    let doubtful = user(&server, "doubtful").1;
    kill(server);
    disk.lose_power(folder.path());
    let server = disk.server(folder.path());
    for (name, made) in [("first", first), ("second", second), ("doubtful", doubtful)] {
        assert_eq!(user(&server, name), (201, made), "{name}");
    }
    is_sound(folder.path(), &database(folder.path()));
}

#[test]
fn a_disk_that_does_not_take_what_was_written_is_not_built_upon() {
    let folder = folder();
    let disk = Disk::under(folder.path());
    let server = disk.server(folder.path());
    let made = user(&server, "first").1;
    kill(server);
    disk.fails("no-fsync");
    let mut again = command(folder.path());
    again.env("LD_PRELOAD", &disk.library).env("DISK", &disk.folder);
    let output = refusal(again.env("CP_DATABASE_URL", database(folder.path())));
    assert!(output.contains("cannot be written to the disk"), "{output}");
    disk.recovers("no-fsync");
    let server = disk.server(folder.path());
    assert_eq!(user(&server, "first"), (201, made));
}

#[test]
fn full_disk_after_a_restart_allows_reads() {
    let folder = folder();
    let place = folder.path().join("mounted");
    let Some(disk) = Mounted::at(&place, "8m") else { return };
    let database = format!("sqlite:{}", place.join("cp.db").display());
    let run = || {
        let mut command = command(folder.path());
        Server::run(command.env("CP_DATABASE_URL", &database).arg("serve"))
    };
    let server = run();
    let bundles = server.license();
    let bundle = server.post(&bundles, json!({}));
    let filler = disk.fill();
    // What is allocated already may take some changes more.
    let refused = (0..5_000).map(|n| format!("u{n}")).find(|name| user(&server, name).0 == 503);
    let refused = refused.expect("the disk is full");
    kill(server);
    let server = run();
    reads(&server, &bundle);
    becomes_ready(&server, false);
    fs::remove_file(filler).unwrap();
    assert_eq!(user(&server, &refused).0, 201);
    is_sound(folder.path(), &database);
}

#[test]
fn a_file_that_cannot_be_written_any_more_refuses_changes_and_nothing_else() {
    let folder = folder();
    let disk = Disk::under(folder.path());
    let server = disk.server(folder.path());
    let bundles = server.license();
    let bundle = server.post(&bundles, json!({}));
    for round in 0..3 {
        disk.fails("read-only");
        for _ in 0..3 {
            let (status, problem) = user(&server, &format!("user-{round}"));
            assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("cannot write; nothing was changed"), "{detail}");
            becomes_ready(&server, false);
            reads(&server, &bundle);
        }
        disk.recovers("read-only");
        assert_eq!(user(&server, &format!("user-{round}")).0, 201);
        becomes_ready(&server, true);
    }
    is_sound(folder.path(), &database(folder.path()));
}

#[test]
fn a_read_only_file_system_refuses_the_start_and_no_verification() {
    let folder = folder();
    let place = folder.path().join("mounted");
    let Some(disk) = Mounted::at(&place, "16m") else { return };
    let database = |name: &str| format!("sqlite:{}", place.join(name).display());
    let run = || {
        let mut command = command(folder.path());
        Server::run(command.env("CP_DATABASE_URL", database("cp.db")).arg("serve"))
    };
    let refused = |name| refusal(command(folder.path()).env("CP_DATABASE_URL", database(name)));
    for is_stopped in [true, false] {
        let mut server = run();
        assert_eq!(user(&server, "anna").0, 201);
        if is_stopped {
            server.signal(Signal::TERM);
            assert!(server.wait().success());
        } else {
            // Its write-ahead log stays, and has to be read where no index of it can be made.
            kill(server);
            fs::remove_file(place.join("cp.db-shm")).unwrap();
        }
        disk.remount("ro");
        let before = contents(&place);
        let output = refused("cp.db");
        let is_named =
            output.contains("CP_DATABASE_URL") && output.contains("cp.db cannot be written");
        assert!(is_named && output.contains("Read-only file system"), "{output}");
        let output = refused("new.db");
        assert!(output.contains("new.db cannot be written"), "{output}");
        is_sound(folder.path(), &database("cp.db"));
        assert_eq!(contents(&place), before);
        disk.remount("rw");
        // What can be written is not written by a verification, either.
        is_sound(folder.path(), &database("cp.db"));
        let mut after = contents(&place);
        after.remove("cp.db-shm");
        assert_eq!(after, before);
    }
    assert_eq!(user(&run(), "anna").0, 201);
}

/// Every file of a folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

#[test]
fn a_database_that_lost_its_end_is_not_gone_on_with() {
    let folder = folder();
    let (data, database) = (folder.path().join("data"), database(folder.path()));
    let run = || {
        let mut command = command(folder.path());
        Server::run(command.env("CP_DATABASE_URL", &database).arg("serve"))
    };
    let checkpoint = |server: &Server| {
        let (_, text) = server.call("GET", "/api/v1/log/checkpoint", None, "x");
        text.as_str().unwrap().to_owned()
    };
    let mut server = run();
    server.license();
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let server = run();
    assert_eq!(user(&server, "anna").0, 201);
    checkpoint(&server);
    kill(server);

    let log = data.join("cp.db-wal");
    fs::rename(&log, data.join("elsewhere")).unwrap();
    let output = refusal(command(folder.path()).env("CP_DATABASE_URL", &database));
    assert!(output.contains("the database has lost its end"), "{output}");
    assert!(output.contains("the last 1 are gone") && output.contains("cp.db-head"), "{output}");
    let (is_sound, output) = verify(folder.path(), &database, &[]);
    assert!(
        !is_sound && output.contains("rolled back") && output.contains("cp.db-head"),
        "{output}"
    );

    // Put back, it is as it was.
    fs::rename(data.join("elsewhere"), &log).unwrap();
    let server = run();
    assert_eq!(user(&server, "anna").0, 201, "it is replayed");

    // An operator removes the file. The checkpoint that was kept elsewhere still shows the rollback.
    assert_eq!(user(&server, "bert").0, 201);
    let kept = folder.path().join("checkpoint.txt");
    fs::write(&kept, checkpoint(&server)).unwrap();
    let since = ["--since", kept.to_str().unwrap()];
    kill(server);
    fs::remove_file(&log).unwrap();
    fs::remove_file(data.join("cp.db-head")).unwrap();
    let server = run();
    let (is_sound, output) = verify(folder.path(), &database, &since);
    assert!(
        !is_sound && output.contains("rolled back") && output.contains("that was kept"),
        "{output}"
    );
    assert_eq!(user(&server, "bert").0, 201, "as if for the first time");
}
