//! Seats under `kill -9`: no seat is taken twice, and every lease that was granted is found again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::channel;

use rustix::process::Signal;
use serde_json::json;

use super::crash::postgres;
use super::server::{KEK, Server, command, folder};

const SEATS: usize = 5;

#[test]
fn leases_on_a_file_survive_kills() {
    let folder = folder();
    exercise(folder.path(), None);
}

#[test]
fn leases_on_postgresql_survive_kills() {
    let (folder, Some(url)) = (folder(), postgres("leases")) else { return };
    exercise(folder.path(), Some(&url));
}

/// How often the server is killed. More kills take minutes.
fn kills() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting")]
    let kills = std::env::var("KILLS");
    kills.map_or(6, |kills| kills.parse().unwrap())
}

fn exercise(folder: &Path, database: Option<&str>) {
    let start = || {
        let mut command = command(folder);
        command.env("CP_KEY_ENCRYPTION_KEY", KEK).env("CP_RATE_LIMITS", "false");
        command.envs(database.map(|url| ("CP_DATABASE_URL", url)));
        Server::run(command.arg("serve"))
    };
    let mut server = start();
    let bundles = server.license();
    let license = format!("/api/v1{}", bundles.trim_end_matches("/bundles"));
    let leasing = json!({"leasing": {"render": {"kind": "floating", "cap": SEATS}}});
    assert_eq!(server.call("PATCH", &license, Some(leasing), "pool").0, 200);
    let path = format!("{license}/leases");
    for round in 0..kills() {
        let (sender, receiver) = channel();
        let mut granted = BTreeMap::new();
        std::thread::scope(|scope| {
            let (server, path) = (&server, &path);
            for thread in 0..4 {
                let sender = sender.clone();
                scope.spawn(move || work(server, path, &format!("{round}-{thread}"), &sender));
            }
            drop(sender);
            granted.extend(receiver.iter().take(10 + round % 7));
            // In the middle of the work, wherever that is.
            server.signal(Signal::KILL);
            granted.extend(receiver.iter());
        });
        server.wait();
        server = start();
        check(&server, &path, &granted);
    }
}

/// Claims and releases seats until the server is gone. A released lease is sent without a seat.
fn work(
    server: &Server,
    path: &str,
    name: &str,
    sender: &std::sync::mpsc::Sender<(String, Option<i64>)>,
) {
    for n in 0.. {
        let key = format!("{name}-{n}");
        let holder = json!({"id": format!("holder-{}", n % 3)});
        let body = json!({"pool": "render", "holder": holder, "ttl_seconds": 300});
        let Ok((status, lease)) = server.try_call("POST", path, Some(body), &key) else { return };
        if status == 409 {
            continue;
        }
        assert!(status == 201 || status == 200, "{lease}");
        let id = lease["id"].as_str().unwrap().to_owned();
        let _ = sender.send((id.clone(), lease["seat"].as_i64()));
        if n % 2 == 1 {
            let lease = format!("/api/v1/leases/{id}");
            // Whether it was released is not known before the answer.
            let _ = sender.send((id.clone(), None));
            if server.try_call("DELETE", &lease, None, &key).is_err() {
                return;
            }
        }
    }
}

fn check(server: &Server, path: &str, granted: &BTreeMap<String, Option<i64>>) {
    let (status, live) = server.call("GET", &format!("{path}?pool=render"), None, "x");
    assert_eq!(status, 200);
    let live = live["items"].as_array().unwrap();
    assert!(live.len() <= SEATS, "{live:?}");
    let seats: BTreeSet<_> = live.iter().map(|lease| lease["seat"].as_i64()).collect();
    assert_eq!(seats.len(), live.len(), "two leases on one seat");
    for (id, seat) in granted {
        let (status, lease) = server.call("GET", &format!("/api/v1/leases/{id}"), None, "x");
        assert_eq!(status, 200, "the lease {id} is lost");
        if let Some(seat) = seat {
            assert_eq!(lease["seat"], *seat, "{lease}");
        }
    }
}
