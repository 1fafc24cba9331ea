//! Clients that reset their connections at any moment, beside honest ones, on a disk that is slow: each
//! change that was acknowledged is there, and no honest caller is refused for what a neighbor did.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::crash::{Dice, check_whole, postgres};
use super::faults::Disk;
use super::server::{KEK, Server, command, folder};

const ATTACKERS: u64 = 12;
const HONEST: usize = 6;
/// Changes of each honest caller.
const CHANGES: usize = 60;

/// Sends a change and resets the connection, again and again.
async fn attack(address: SocketAddr, token: String, seed: u64, has_ended: Arc<AtomicBool>) {
    let mut dice = Dice(seed);
    for n in 0.. {
        if has_ended.load(Ordering::SeqCst) {
            return;
        }
        let body = json!({"email": format!("attacker-{seed}-{n}@x.example")}).to_string();
        let request = format!(
            "POST /api/v1/users HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        stream.set_zero_linger().unwrap();
        if stream.write_all(request.as_bytes()).await.is_ok() {
            // A moment, whichever it is.
            for _ in 0..dice.below(2_000) {
                tokio::task::yield_now().await;
            }
        }
    }
}

fn user(server: &Server, caller: usize, n: usize) -> (u16, Value) {
    let email = format!("honest-{caller}-{n}@x.example");
    server.call("POST", "/api/v1/users", Some(json!({"email": email})), &format!("{caller}-{n}"))
}

fn resets(folder: &Path, database: &str) {
    let disk = Disk::under(folder);
    let mut command = command(folder);
    disk.lies_under(&mut command);
    command
        .env("CP_DATABASE_URL", database)
        .env("CP_KEY_ENCRYPTION_KEY", KEK)
        .env("CP_RATE_LIMITS", "false")
        .env("CP_MAX_CONNECTIONS_PER_ADDRESS", "4000");
    let server = Server::run(command.arg("serve"));
    // Their own token: shares of the writer are by caller.
    let token = json!({"name": "attackers", "permissions": ["users:write"]});
    let token = server.post("/service-tokens", token)["token"].as_str().unwrap().to_owned();
    disk.fails("slow");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let has_ended = Arc::<AtomicBool>::default();
    for seed in 0..ATTACKERS {
        runtime.spawn(attack(server.address, token.clone(), seed, has_ended.clone()));
    }
    let acknowledged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for caller in 0..HONEST {
            let (server, acknowledged) = (&server, &acknowledged);
            scope.spawn(move || {
                for n in 0..CHANGES {
                    let (status, made) = user(server, caller, n);
                    assert_eq!(status, 201, "{made}");
                    acknowledged.lock().unwrap().push((caller, n, made));
                }
            });
        }
    });
    has_ended.store(true, Ordering::SeqCst);
    drop(runtime);
    disk.recovers("slow");
    for (caller, n, made) in acknowledged.into_inner().unwrap() {
        let path = format!("/api/v1/users/{}", made["id"].as_str().unwrap());
        assert_eq!(server.call("GET", &path, None, "x"), (200, made.clone()));
        assert_eq!(user(&server, caller, n), (201, made), "replayed");
    }
    let said = server.said.lock().unwrap().clone();
    assert!(!said.contains("no such savepoint") && !said.contains("panic"), "{said}");
    drop(server);
    let events = check_whole(database);
    eprintln!("{events} events, {} of honest callers", HONEST * CHANGES);
}

#[test]
fn clients_that_reset_cost_no_other_caller_a_change_on_a_file() {
    let folder = folder();
    let database = format!("sqlite:{}", folder.path().join("data/cp.db").display());
    resets(folder.path(), &database);
}

#[test]
fn clients_that_reset_cost_no_other_caller_a_change_on_postgresql() {
    let Some(database) = postgres("resets") else { return };
    resets(folder().path(), &database);
}
