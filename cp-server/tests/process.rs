//! The process as an operator runs it: starting, refusing to start, ending, dying.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const TOKEN: &str = "bootstrap-token-of-the-tests";
const KEK: &str = "a2V5LWVuY3J5cHRpb24ta2V5LW9mLXRoZS10ZXN0cyE=";

/// A folder to run in; everything that the server keeps is below it.
fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cp-server"));
    command
        .current_dir(folder)
        .env_clear()
        .env("CP_LISTEN", "127.0.0.1:0")
        .env("CP_BOOTSTRAP_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running server; killed when the test ends.
struct Server {
    child: Child,
    address: SocketAddr,
    /// All that it has written.
    said: Arc<Mutex<String>>,
}

impl Server {
    fn start(folder: &Path) -> Self {
        Self::run(command(folder).arg("serve"))
    }

    fn run(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (tell, told) = channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let (said, tell) = (said.clone(), tell.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let address = line.split("address=").nth(1);
                    if let Some(address) = address.and_then(|text| text.split(' ').next()) {
                        let _ = tell.send(address.parse().unwrap());
                    }
                    said.lock().unwrap().push_str(&(line + "\n"));
                }
            });
        }
        drop(tell);
        let address = told.recv().unwrap_or_else(|_| panic!("{}", said.lock().unwrap()));
        Self { child, address, said }
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>, key: &str) -> (u16, Value) {
        self.try_call(method, path, body, key).unwrap()
    }

    fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        key: &str,
    ) -> Result<(u16, Value), ureq::Error> {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let request = axum::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        let body = body.map_or_else(String::new, |body| body.to_string());
        let mut answer = agent.run(request.body(body).unwrap())?;
        let text = answer.body_mut().read_to_string()?;
        Ok((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let (status, made) =
            self.call("POST", &format!("/api/v1{path}"), Some(body.clone()), &body.to_string());
        assert_eq!(status, 201, "{path}: {made}");
        made
    }

    /// An organization with a license: what a bundle needs. Gives the path of its bundles.
    fn license(&self) -> String {
        let id = |made: Value| made["id"].as_str().unwrap().to_owned();
        let org = id(self.post("/organizations", json!({"name": "Acme"})));
        let plan = json!({"plan_code": "team"});
        let subscription = id(self.post(&format!("/organizations/{org}/subscriptions"), plan));
        let deployment = json!({"name": "main", "type": "onprem"});
        let deployment = id(self.post(&format!("/organizations/{org}/deployments"), deployment));
        let license = json!({"subscription_id": subscription});
        let license = id(self.post(&format!("/deployments/{deployment}/licenses"), license));
        format!("/licenses/{license}/bundles")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it says when it refuses to start.
fn refusal(command: &mut Command) -> String {
    let output = command.arg("serve").output().unwrap();
    assert!(!output.status.success(), "it started");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn s21_requests_in_flight_finish_and_the_process_ends_well() {
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
fn i08_s15_after_a_kill_every_token_that_left_is_known() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let bundles = server.license();
    let path = format!("/api/v1{bundles}");
    for round in 0..4 {
        let (tell, told) = channel();
        std::thread::scope(|scope| {
            let (server, path) = (&server, &path);
            for thread in 0..3 {
                let tell = tell.clone();
                scope.spawn(move || {
                    for n in 0.. {
                        let key = format!("{round}-{thread}-{n}");
                        let Ok((201, bundle)) =
                            server.try_call("POST", path, Some(json!({})), &key)
                        else {
                            break;
                        };
                        tell.send((key, bundle)).unwrap();
                    }
                });
            }
            drop(tell);
            // In the middle of the work, wherever that is.
            let mut left: Vec<(String, Value)> = told.iter().take(20 + 7 * round).collect();
            server.signal(Signal::KILL);
            left.extend(told.iter());
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
fn s09_files_that_others_can_read_refuse_the_start() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    for file in ["keys/kek", "data/control-plane.db"] {
        let path = folder.path().join(file);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let said = refusal(&mut command(folder.path()));
        assert!(said.contains(file) && said.contains("chmod 600"), "{said}");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    let pem = folder.path().join("key.pem");
    std::fs::write(&pem, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    std::fs::set_permissions(&pem, Permissions::from_mode(0o644)).unwrap();
    let said = refusal(command(folder.path()).env("CP_SIGNING_PRIVATE_KEY_PATH", &pem));
    assert!(said.contains("chmod 600"), "{said}");
    Server::start(folder.path());
}

#[test]
fn s08_without_its_key_encryption_key_it_refuses_to_start() {
    let folder = folder();
    drop(Server::start(folder.path()));
    let kek = folder.path().join("keys/kek");
    let kept = std::fs::read(&kek).unwrap();
    let said = refusal(command(folder.path()).env("CP_KEY_ENCRYPTION_KEY", KEK));
    assert!(said.contains("CP_KEY_ENCRYPTION_KEY"), "{said}");
    std::fs::remove_file(&kek).unwrap();
    let said = refusal(&mut command(folder.path()));
    assert!(said.contains("CP_KEY_ENCRYPTION_KEY"), "{said}");
    assert!(!kek.exists(), "a wrong key is not made in its place");
    std::fs::write(&kek, kept).unwrap();
    std::fs::set_permissions(&kek, Permissions::from_mode(0o600)).unwrap();
    Server::start(folder.path());
}

#[test]
fn i10_s10_no_secret_is_written_anywhere() {
    let folder = folder();
    let mut command = command(folder.path());
    command.arg("serve").env("CP_KEY_ENCRYPTION_KEY", KEK).env("CP_LOG", "trace");
    let mut server = Server::run(&mut command);
    let bundles = server.license();
    let token = server.post(&bundles, json!({}))["token"].as_str().unwrap().to_owned();
    let made = server.post("/service-tokens", json!({"name": "x", "permissions": ["*"]}));
    let service_token = made["token"].as_str().unwrap().to_owned();
    let (_, metrics) = server.call("GET", "/metrics", None, "x");
    let (_, audit) = server.call("GET", "/api/v1/audit?limit=500", None, "x");
    server.call("GET", &format!("/api/v1/nothing?token={TOKEN}"), None, "x");
    server.signal(Signal::TERM);
    assert!(server.wait().success());

    let said = server.said.lock().unwrap().clone();
    assert!(said.lines().count() > 50, "it logs at trace");
    let everything = format!("{said}{metrics}{audit}");
    for secret in [TOKEN, KEK, &token, &service_token, "PRIVATE KEY", "\"d\":", "\"qi\":"] {
        let found = everything.lines().find(|line| line.contains(secret));
        assert!(found.is_none(), "a secret is told: {found:?}");
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
        ("CP_BOOTSTRAP_TOKEN", "short"),
    ] {
        let said = refusal(command(folder.path()).env(name, value));
        assert!(said.contains(name), "{name}: {said}");
    }
    assert!(!folder.path().join("data").exists(), "nothing was made by a start that was refused");
}
