//! The binary, and how a test runs it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::times::TestTime;

/// The time between two requests of a test that waits. A client without a pause exceeds its rate.
pub const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
pub const TOKEN: &str = "bootstrap-token-of-the-tests";
pub const KEK: &str = "a2V5LWVuY3J5cHRpb24ta2V5LW9mLXRoZS10ZXN0cyE=";

/// A folder to run in; everything that the server keeps is below it.
pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub fn command(folder: &Path) -> Command {
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
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
    /// All that it has written.
    pub said: Arc<Mutex<String>>,
    _time: TestTime,
}

impl Server {
    pub fn start(folder: &Path) -> Self {
        Self::run(command(folder).arg("serve"))
    }

    pub fn run(command: &mut Command) -> Self {
        let time = TestTime::start();
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (sender, receiver) = channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let (said, sender) = (said.clone(), sender.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    // A line of text, or of JSON.
                    let address = line.split("address=").nth(1);
                    let address = address.or_else(|| line.split("\"address\":\"").nth(1));
                    let address = address.and_then(|text| text.split([' ', '"']).next());
                    let address = address.map(|text| text.parse().unwrap());
                    // First what was said: who learns the address may look at it at once.
                    said.lock().unwrap().push_str(&(line + "\n"));
                    if let Some(address) = address {
                        let _ = sender.send(address);
                    }
                }
            });
        }
        drop(sender);
        let address = receiver.recv().unwrap_or_else(|_| panic!("{}", said.lock().unwrap()));
        Self { child, address, said, _time: time }
    }

    pub fn call(&self, method: &str, path: &str, body: Option<Value>, key: &str) -> (u16, Value) {
        self.try_call(method, path, body, key).unwrap()
    }

    pub fn try_call(
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

    pub fn post(&self, path: &str, body: Value) -> Value {
        let (status, made) =
            self.call("POST", &format!("/api/v1{path}"), Some(body.clone()), &body.to_string());
        assert_eq!(status, 201, "{path}: {made}");
        made
    }

    /// An organization with a license: what a bundle needs. Gives the path of its bundles.
    pub fn license(&self) -> String {
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

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns why a start was refused.
pub fn refusal(command: &mut Command) -> String {
    let output = command.arg("serve").output().unwrap();
    assert!(!output.status.success(), "it started");
    String::from_utf8(output.stderr).unwrap()
}
