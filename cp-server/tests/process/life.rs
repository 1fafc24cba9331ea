use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::cluster::reserved_address;
use super::server::{Server, TOKEN, command, folder, refusal};
use super::tls::until;

#[test]
fn requests_in_flight_finish_and_the_process_ends_well() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let body = json!({"name": "In Flight"}).to_string();
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST /api/v1/organizations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    // The server asks for the body: the request is in its hands.
    answer.read_line(&mut line).unwrap();
    assert!(line.contains("100"), "{line}");

    server.signal(Signal::TERM);
    // No new connections are taken…
    while TcpStream::connect(server.address).is_ok() {
        std::thread::yield_now();
    }
    // …and what was accepted is answered.
    stream.write_all(body.as_bytes()).unwrap();
    let mut rest = String::new();
    answer.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("201 Created"), "{rest}");
    assert!(server.wait().success(), "{}", server.said.lock().unwrap());
    let log = folder.path().join("data/control-plane.db-wal");
    assert!(!log.exists(), "the write-ahead log is folded into the file");

    let again = Server::start(folder.path());
    let (status, _) = again.call("GET", "/api/v1/organizations/in-flight", None, "x");
    assert_eq!(status, 200);
}

#[test]
fn quickstart_prints_paths_that_answer() {
    let folder = folder();
    let free = reserved_address();
    for _ in 0..2 {
        let mut quickstart = command(folder.path());
        let server = Server::run(quickstart.env("CP_LISTEN", free.to_string()).arg("quickstart"));
        let base = format!("http://{free}");
        // Its last words: what it prints and what it logs are read by two threads.
        let is_printed = || server.said.lock().unwrap().contains("Stop with Ctrl-C");
        until(is_printed, "the end of what it prints");
        let said = server.said.lock().unwrap().clone();
        let paths: Vec<&str> =
            said.split_whitespace().filter_map(|word| word.strip_prefix(&base)).collect();
        assert_eq!(paths.len(), 7, "{said}");
        for path in paths {
            let (status, answer) = server.call("GET", path, None, "x");
            let is_whoami = path.ends_with("/whoami");
            assert_eq!(status, if is_whoami { 422 } else { 200 }, "{path}: {answer}");
        }
        assert!(said.contains("\"organization\""), "{said}");
        let (_, info) = server.call("GET", "/api/v1/openapi.json", None, "x");
        assert!(info.is_object());
        assert!(said.contains(&format!("base_url=\"{base}\"")), "{said}");
        assert!(!said.contains("WARN"), "{said}");
    }
}

#[test]
fn quickstart_without_a_free_port_makes_nothing() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    for (listen, advice) in [
        (taken.local_addr().unwrap().to_string(), "choose another address with --listen"),
        ("127.0.0.1:0".to_owned(), "cp-server quickstart --listen 127.0.0.1:8801"),
    ] {
        let mut quickstart = command(folder.path());
        let output = quickstart.env("CP_LISTEN", listen).arg("quickstart").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(advice), "{said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn after_a_kill_every_token_that_left_is_known() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let bundles = server.license();
    let path = format!("/api/v1{bundles}");
    for round in 0..4 {
        let (sender, receiver) = channel();
        std::thread::scope(|scope| {
            let (server, path) = (&server, &path);
            for thread in 0..3 {
                let sender = sender.clone();
                scope.spawn(move || {
                    for n in 0.. {
                        let key = format!("{round}-{thread}-{n}");
                        let Ok((201, bundle)) =
                            server.try_call("POST", path, Some(json!({})), &key)
                        else {
                            break;
                        };
                        sender.send((key, bundle)).unwrap();
                    }
                });
            }
            drop(sender);
            // In the middle of the work, wherever that is.
            let mut left: Vec<(String, Value)> = receiver.iter().take(20 + 7 * round).collect();
            server.signal(Signal::KILL);
            left.extend(receiver.iter());
            let again = Server::start(folder.path());
            for (key, bundle) in left {
                let row = format!("/api/v1/bundles/{}", bundle["jti"].as_str().unwrap());
                let (status, row) = again.call("GET", &row, None, "x");
                assert_eq!((status, &row["bundle_hash"]), (200, &bundle["bundle_hash"]), "{key}");
                let (status, replayed) = again.call("POST", path, Some(json!({})), &key);
                assert_eq!((status, replayed), (201, bundle), "{key}");
            }
        });
        server = Server::start(folder.path());
    }
}

#[test]
fn a_setting_that_does_not_fit_is_named_with_its_fault() {
    let folder = folder();
    for (name, value) in [
        ("CP_LISTEN", "everywhere"),
        ("CP_DATABASE_URL", "mysql://x"),
        ("CP_BASE_URL", "cp.example"),
        ("CP_BUNDLE_TTL", "soon"),
        ("CP_KEY_ENCRYPTION_KEY", "short"),
        ("CP_SIGNING_KEY_BITS", "1024"),
        ("CP_LOG", "=x"),
        ("CP_LOG", "inf"),
        ("CP_BOOTSTRAP_TOKEN", "short"),
        ("CP_BOOTSTRAP_TOKEN", ""),
        ("CP_DATABASE_URL", ""),
        ("CP_DATABASE_POOL", "1"),
        ("CP_RATE_LIMITS", "maybe"),
        ("CP_OIDC_ALLOW_LOOPBACK", "2"),
        ("ZITADEL_ENABLED", "ja"),
        ("CP_ON_STALE", "wait"),
        ("CP_LOG_FORMAT", "xml"),
    ] {
        let said = refusal(command(folder.path()).env(name, value));
        assert!(said.contains(name), "{name}: {said}");
        let is_format = name == "CP_LOG_FORMAT";
        assert_eq!(said.contains("text, json"), is_format, "{name} names its own values: {said}");
        assert_eq!(said.contains("degrade, block"), name == "CP_ON_STALE", "{said}");
    }
    assert!(!folder.path().join("data").exists(), "nothing was made by a start that was refused");
}

#[test]
fn variables_are_trimmed_and_empty_ones_are_absent() {
    let folder = folder();
    let mut command = command(folder.path());
    for name in [
        "CP_SIGNING_PRIVATE_KEY_PATH",
        "CP_TLS_CERT",
        "CP_TLS_KEY",
        "CP_OIDC_ISSUER",
        "CP_AUDIT_RETENTION_DAYS",
        "CP_IDENTITY_PROVIDERS",
        "CP_BUNDLE_TTL",
        "CP_URL",
        "CP_TOKEN",
        "CP_OIDC_ALLOWED_HOSTS",
        "CP_DATABASE_POOL",
        "CP_LOG_FORMAT",
        "CP_SIGNING_KEY_BITS",
    ] {
        command.env(name, "");
    }
    for (name, value) in [
        ("CP_LISTEN", " localhost:0\r\n"),
        ("CP_BASE_URL", "\u{feff}https://lic.example.com\n"),
        ("CP_DATABASE_URL", " sqlite:data/cp.db\n"),
        ("CP_RATE_LIMITS", "On"),
        ("CP_OIDC_ALLOW_LOOPBACK", "no"),
        ("ZITADEL_ENABLED", "0"),
        ("CP_STATUS_TTL", "5m "),
    ] {
        command.env(name, value);
    }
    let server = Server::run(command.arg("serve"));
    assert!(server.address.ip().is_loopback());
    let said = server.said.lock().unwrap().clone();
    assert!(
        said.lines().any(|line| line.contains("https://lic.example.com\"")
            || line.trim_end().ends_with("https://lic.example.com")),
        "{said}"
    );
    assert!(folder.path().join("data/cp.db").exists());
}
