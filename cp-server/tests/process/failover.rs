//! A primary of PostgreSQL that dies under writes, and its standby that takes over.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sqlx::{Connection, PgConnection, Row};

use super::cluster::{self, binaries, wait_until_ready};
use super::server::{PAUSE, Server, command, folder};

/// The shell outlives this process only until the pipe to its standard input closes.
const GUARD: &str = r#"
    folder=$1; port=$2; shift 2
    "$@" -D "$folder" -p "$port" -k "$folder" -c listen_addresses=127.0.0.1 -c fsync=off \
        -c synchronous_commit=on >"$folder.log" 2>&1 &
    server=$!
    read -r _
    kill -INT $server
    wait $server
"#;

/// How long the test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// One host: a process of PostgreSQL on a port of its own.
struct Host {
    folder: PathBuf,
    port: u16,
    _guard: Child,
}

impl Host {
    fn start(binaries: &Path, folder: PathBuf, more: &[&str]) -> Self {
        let port = cluster::reserved_address().port();
        let guard = cluster::command("sh".as_ref())
            .args(["-c", GUARD, "sh"])
            .arg(&folder)
            .arg(port.to_string())
            .arg(binaries.join("postgres"))
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until_ready(&folder.with_extension("log"));
        Self { folder, port, _guard: guard }
    }

    /// The first column of the first row.
    fn ask(&self, sql: &'static str) -> Option<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let url = format!("postgres://tests@127.0.0.1:{}/postgres", self.port);
            let mut conn = PgConnection::connect(&url).await.unwrap();
            let row = sqlx::raw_sql(sql).fetch_optional(&mut conn).await.unwrap();
            row.and_then(|row| row.try_get::<Option<String>, _>(0).unwrap())
        })
    }

    fn kill(&self) {
        let text = std::fs::read_to_string(self.folder.join("postmaster.pid")).unwrap();
        let pid = Pid::from_raw(text.lines().next().unwrap().trim().parse().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }
}

fn primary(binaries: &Path, folder: &Path) -> Host {
    let data = folder.join("one");
    let made = cluster::command(binaries.join("initdb").as_os_str())
        .args(["-U", "tests", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Host::start(binaries, data, &[])
}

fn standby(binaries: &Path, folder: &Path, primary: &Host) -> Host {
    let data = folder.join("two");
    let made = cluster::command(binaries.join("pg_basebackup").as_os_str())
        .args(["-h", "127.0.0.1", "-U", "tests", "-R", "-X", "stream", "-c", "fast", "--no-sync"])
        .args(["-p", &primary.port.to_string(), "-D"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // Once promoted it has no standby to wait for.
    Host::start(binaries, data, &["-c", "synchronous_standby_names="])
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn primary_dies_under_writes_and_its_standby_loses_no_acknowledged_change() {
    // The same check of what is installed as for all tests on PostgreSQL.
    if cluster::url().is_none() {
        return;
    }
    let binaries = binaries().unwrap();
    let place = folder();
    cluster::own(place.path());
    let one = primary(&binaries, place.path());
    let two = standby(&binaries, place.path(), &one);
    one.ask("ALTER SYSTEM SET synchronous_standby_names = '*'");
    one.ask("SELECT pg_reload_conf()::text");
    wait_for("the synchronous standby", || {
        one.ask("SELECT sync_state FROM pg_stat_replication").as_deref() == Some("sync")
    });

    // The standby is named first: it answers, and does not accept changes.
    let url = format!(
        "postgres://tests@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
        two.port, one.port
    );
    let home = folder();
    let server = Server::run(command(home.path()).env("CP_DATABASE_URL", url).arg("serve"));
    let acknowledged = Mutex::new(Vec::new());
    let (count, has_ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    let reached = |most: usize| wait_for("a change", || count.load(Ordering::SeqCst) >= most);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (server, acknowledged, count, has_ended) =
                (&server, &acknowledged, &count, &has_ended);
            scope.spawn(move || {
                for n in 0.. {
                    if has_ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let slug = format!("o-{thread}-{n}");
                    let body = json!({"name": "Acme", "slug": slug});
                    match server.call("POST", "/api/v1/organizations", Some(body), &slug) {
                        (201, _) => {
                            acknowledged.lock().unwrap().push(slug);
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        (status, answer) => {
                            assert_eq!(status, 503, "{answer}");
                            std::thread::sleep(PAUSE);
                        }
                    }
                }
            });
        }
        reached(30);
        one.kill();
        two.ask("SELECT pg_promote()::text");
        let before = count.load(Ordering::SeqCst);
        reached(before + 30);
        has_ended.store(true, Ordering::SeqCst);
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() >= 60);
    for slug in &acknowledged {
        let (status, _) = server.call("GET", &format!("/api/v1/organizations/{slug}"), None, "x");
        assert_eq!(status, 200, "{slug} was acknowledged and is lost");
    }

    // A host that accepts no changes any more: its connections are left, and taken again afterwards.
    let create = |slug: &str| {
        let body = json!({"name": "Acme", "slug": slug});
        server.call("POST", "/api/v1/organizations", Some(body), slug).0
    };
    two.ask("ALTER SYSTEM SET default_transaction_read_only = on");
    two.ask("SELECT pg_reload_conf()::text");
    wait_for("the refusal", || create("refused") == 503);
    two.ask("ALTER SYSTEM RESET default_transaction_read_only");
    two.ask("SELECT pg_reload_conf()::text");
    wait_for("the return", || create("again") == 201);
}
