//! A disk that is full: changes fail in words, reads go on, and all is well once there is room.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::json;

use super::server::{PAUSE, Server, command, folder};

/// A file system in memory of a size; gone with it.
pub struct Mounted(PathBuf);

impl Mounted {
    /// `None`, and a line that says so, where this process may not mount.
    pub fn at(place: &Path, size: &str) -> Option<Self> {
        fs::create_dir(place).unwrap();
        let options = format!("size={size},mode=0700");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(place)
            .output()
            .is_ok_and(|output| output.status.success());
        if !done {
            eprintln!(
                "this process may not mount a file system: what needs one of a size is skipped"
            );
        }
        done.then(|| Self(place.to_owned()))
    }

    /// Lets it be written, `rw`, or only read, `ro`.
    pub fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(done.unwrap().success(), "{mode}");
    }

    /// Takes all the room that is left. Gives the file that does.
    pub fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [65_536, 4_096, 512, 1] {
            let bytes = vec![7; size];
            while file.write_all(&bytes).is_ok() {}
        }
        path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_changes_and_nothing_else() {
    let folder = folder();
    let Some(disk) = Mounted::at(&folder.path().join("disk"), "8m") else { return };
    let database = format!("sqlite:{}", folder.path().join("disk/cp.db").display());
    let server = Server::run(command(folder.path()).env("CP_DATABASE_URL", database).arg("serve"));
    let bundles = server.license();
    let bundle = server.post(&bundles, json!({}));
    let ready = || server.call("GET", "/readyz", None, "x").0;
    assert_eq!(ready(), 200);
    for round in 0..3 {
        let filler = disk.fill();
        // What is allocated already may take some changes more.
        let user = |n: usize| {
            let body = json!({"email": format!("u{round}-{n}@x.example")});
            server.call("POST", "/api/v1/users", Some(body), &format!("{round}-{n}"))
        };
        // Callers share their commits. A row for which no room is left undoes no acknowledged row of
        // another caller.
        let until_refused = |caller: usize| {
            let mut acknowledged = Vec::new();
            for n in caller * 5_000..(caller + 1) * 5_000 {
                let (status, answer) = user(n);
                if status != 201 {
                    return (acknowledged, n, status, answer);
                }
                acknowledged.push(answer["id"].as_str().unwrap().to_owned());
            }
            panic!("the disk is full");
        };
        let outcomes: Vec<_> = thread::scope(|scope| {
            let callers = [0, 1, 2, 3].map(|caller| scope.spawn(move || until_refused(caller)));
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        for (_, _, status, problem) in &outcomes {
            assert_eq!((*status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("nothing was changed"), "{detail}");
        }
        let first = outcomes[0].1;
        // An outcome answers for a second.
        while ready() != 503 {
            thread::sleep(PAUSE);
        }
        // All at once, each finds what the refusal before it left behind.
        thread::scope(|callers| {
            for _ in 0..4 {
                callers.spawn(|| {
                    for _ in 0..10 {
                        assert_eq!(ready(), 503, "a disk that takes no change is not ready");
                        assert_eq!(user(first).0, 503);
                    }
                });
            }
        });
        let bundle = format!("/api/v1/bundles/{}", bundle["jti"].as_str().unwrap());
        for path in ["/.well-known/jwks.json", "/healthz", &bundle] {
            assert_eq!(server.call("GET", path, None, "x").0, 200, "{path}");
        }
        fs::remove_file(filler).unwrap();
        // By itself, and with the same key: the request that was refused is done now.
        let (status, made) = user(first);
        assert_eq!(status, 201, "{made}");
        while ready() != 200 {
            thread::sleep(PAUSE);
        }
        for id in outcomes.iter().flat_map(|(acknowledged, ..)| acknowledged) {
            let (status, _) = server.call("GET", &format!("/api/v1/users/{id}"), None, "x");
            assert_eq!(status, 200);
        }
    }
}
