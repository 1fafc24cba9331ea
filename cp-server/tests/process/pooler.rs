//! Servers behind a pooler in transaction mode, where a session lasts as long as a transaction.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::json;

use super::cluster;
use super::crash::postgres;
use super::server::{Server, command, folder};

/// The shell outlives this process only until the pipe to its standard input closes.
const GUARD: &str =
    r#""$1" "$2" >/dev/null 2>&1 & pooler=$!; read -r _; kill -INT $pooler; wait $pooler"#;

/// A running PgBouncer with few sessions for many connections.
struct Pooler {
    url: String,
    _guard: Child,
}

impl Pooler {
    /// In front of the database of this URL; `None` where PgBouncer is not installed.
    ///
    /// # Panics
    /// Where `CI` is `true`, which must not pass without it.
    fn start(folder: &Path, database: &str) -> Option<Self> {
        let binary = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];
        let Some(binary) = binary.into_iter().find(|path| Path::new(path).exists()) else {
            let is_required = std::env::var_os("CI").is_some_and(|ci| ci == "true");
            assert!(!is_required, "CI needs PgBouncer: install the package pgbouncer");
            eprintln!("PgBouncer is not installed: its tests are skipped");
            return None;
        };
        let url = url::Url::parse(database).unwrap();
        let (name, user) = (url.path().trim_start_matches('/'), url.username());
        let port = cluster::reserved_address().port();
        let home = folder.join("pooler");
        fs::create_dir(&home).unwrap();
        fs::write(home.join("users"), format!("\"{user}\" \"\"\n")).unwrap();
        let settings = format!(
            "[databases]\n{name} = host=127.0.0.1 port={} dbname={name} user={user}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {users}\npool_mode = transaction\n\
             default_pool_size = 4\nserver_round_robin = 1\n",
            url.port().unwrap(),
            users = home.join("users").display(),
        );
        fs::write(home.join("pgbouncer.ini"), settings).unwrap();
        for path in [folder, &home, &home.join("users"), &home.join("pgbouncer.ini")] {
            cluster::own(path);
        }
        let mut guard = cluster::command(OsStr::new("sh"));
        guard.args(["-c", GUARD, "sh", binary]).arg(home.join("pgbouncer.ini"));
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let guard = guard.spawn().unwrap();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        Some(Self { url: format!("postgres://{user}@127.0.0.1:{port}/{name}"), _guard: guard })
    }
}

#[test]
fn servers_behind_a_transaction_pooler_work_without_a_setting() {
    let Some(database) = postgres("pooled") else { return };
    let place = folder();
    let Some(pooler) = Pooler::start(place.path(), &database) else { return };
    let home = folder();
    let start =
        || Server::run(command(home.path()).env("CP_DATABASE_URL", &pooler.url).arg("serve"));
    let servers = [start(), start()];
    let bundles = format!("/api/v1{}", servers[0].license());
    std::thread::scope(|scope| {
        for (n, server) in servers.iter().cycle().take(6).enumerate() {
            let bundles = &bundles;
            scope.spawn(move || {
                for round in 0..20 {
                    let key = format!("{n}-{round}");
                    let bundle = format!("bundle-{key}");
                    let (status, made) = server.call("POST", bundles, Some(json!({})), &bundle);
                    assert_eq!(status, 201, "{made}");
                    let row = format!("/api/v1/bundles/{}", made["jti"].as_str().unwrap());
                    let (status, read) = server.call("GET", &row, None, "x");
                    assert_eq!((status, &read["bundle_hash"]), (200, &made["bundle_hash"]));
                    let organization = json!({"name": format!("Org {key}")});
                    let (status, made) =
                        server.call("POST", "/api/v1/organizations", Some(organization), &key);
                    assert_eq!(status, 201, "{made}");
                    let (status, list) =
                        server.call("GET", "/api/v1/organizations?limit=5", None, "x");
                    assert_eq!(status, 200, "{list}");
                }
            });
        }
    });
    for server in &servers {
        let said = server.said.lock().unwrap().clone();
        assert!(said.contains("behind a pooler in transaction mode"), "{said}");
        assert!(!said.contains("ERROR"), "{said}");
    }
    // Other commands that open the database, too.
    let run = |arguments: &[&str]| {
        let output = command(home.path())
            .env("CP_DATABASE_URL", &pooler.url)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    };
    assert!(run(&["audit", "verify"]).contains("The log is sound"));
    assert!(run(&["backup", "--out", "pooled.cpbackup"]).contains(" rows in "));
    assert!(run(&["call", "organizations.list", "slug=org-0-0"]).contains("Org 0-0"));
}
