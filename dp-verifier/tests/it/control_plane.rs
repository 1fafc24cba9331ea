//! A control plane on loopback that gives seats and tokens, and fails on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use dp_verifier::cp_contracts::ProblemCode;
use dp_verifier::{Verifier, VerifierBuilder};
use serde_json::{Value, json};

use crate::support::*;

/// The time for which a lease lasts without a heartbeat, in seconds.
pub(crate) const TTL: i64 = 300;

pub(crate) const DEPLOYMENT: &str = "018f2a00-0000-7000-8000-000000000003";

/// The control plane and its clock, which is also that of the verifier.
pub(crate) struct ControlPlane {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    clock: AtomicI64,
    /// The clock of the verifier, ahead of the server's.
    ahead: AtomicI64,
    is_down: AtomicBool,
    /// The seconds of `Retry-After` in all answers; zero is none.
    retry_after: AtomicI64,
    /// Whether requests wait for their answers.
    is_stalled: AtomicBool,
    /// The answer to every request about leases, instead of the regular one, with these members.
    refusal: Mutex<Option<(ProblemCode, Value)>>,
    /// The response to a check-in, without its times.
    check_in: Mutex<Value>,
    leases: Mutex<HashMap<String, Value>>,
    /// The ID of each holder's last lease, by pool and holder.
    holders: Mutex<HashMap<String, String>>,
    /// The number of seats of the pool; none is unlimited.
    cap: Mutex<Option<usize>>,
    /// The method, the path, the credential and the body of each request.
    requests: Mutex<Vec<(String, String, String, Value)>>,
    connections: AtomicUsize,
}

impl ControlPlane {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        shared.clock.store(NOW, SeqCst);
        *shared.check_in.lock().unwrap() = json!({ "code": "valid" });
        let server = Self { address, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().map(|stream| stream.unwrap()) {
                let shared = Arc::clone(&shared);
                shared.connections.fetch_add(1, SeqCst);
                thread::spawn(move || shared.serve(stream));
            }
        });
        server
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn check_in_url(&self) -> String {
        format!("{}/api/v1/deployments/{DEPLOYMENT}/check-in", self.base())
    }

    /// The golden license of this issuer, without a status.
    pub(crate) fn claims(&self) -> Value {
        let mut claims = claims_with("/status", None);
        claims["iss"] = json!(self.base());
        claims["license"]["leasing"] = json!({
            "render": { "kind": "floating", "cap": 5 }, "machines": { "kind": "node", "cap": 5 },
        });
        claims
    }

    /// A verifier of this issuer by the shared clock, which knows the key.
    pub(crate) fn builder(&self) -> VerifierBuilder {
        self.keyless_builder().jwks(json!({ "keys": [KEY.jwk()] }).to_string())
    }

    pub(crate) fn keyless_builder(&self) -> VerifierBuilder {
        let shared = Arc::clone(&self.shared);
        let builder = Verifier::builder().issuer(self.base()).audience(AUDIENCE);
        builder.clock(move || shared.clock.load(SeqCst) + shared.ahead.load(SeqCst))
    }

    pub(crate) fn set_clock(&self, now: i64) {
        self.shared.clock.store(now, SeqCst);
    }

    /// Moves the clock of the verifier only.
    pub(crate) fn set_ahead(&self, seconds: i64) {
        self.shared.ahead.store(seconds, SeqCst);
    }

    /// Closes every connection without an answer, or answers again.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, SeqCst);
    }

    /// Adds `Retry-After` to all answers.
    pub(crate) fn set_retry_after(&self, seconds: i64) {
        self.shared.retry_after.store(seconds, SeqCst);
    }

    /// Lets all requests wait, or answers them.
    pub(crate) fn set_stalled(&self, is_stalled: bool) {
        self.shared.is_stalled.store(is_stalled, SeqCst);
    }

    /// Refuses all requests about leases with this code.
    pub(crate) fn refuse_with(&self, code: impl Into<Option<ProblemCode>>) {
        *self.shared.refusal.lock().unwrap() = code.into().map(|code| (code, json!({})));
    }

    /// Refuses all requests about leases with this code and these members.
    pub(crate) fn refuse_with_members(&self, code: ProblemCode, members: Value) {
        *self.shared.refusal.lock().unwrap() = Some((code, members));
    }

    /// Borrows all leases, as an administrator does.
    pub(crate) fn borrow_all(&self, until: i64) {
        let mut leases = self.shared.leases.lock().unwrap();
        leases.values_mut().for_each(|lease| borrow(lease, until));
    }

    /// Answers check-ins with these members.
    pub(crate) fn answer_check_ins(&self, answer: Value) {
        *self.shared.check_in.lock().unwrap() = answer;
    }

    /// Answers check-ins with a token of these claims.
    pub(crate) fn issue(&self, key: &Key, claims: &Value) {
        let bundle = json!({
            "license_id": claims["license"]["license_id"], "jti": claims["jti"],
            "token": key.token(claims), "key_id": key.kid, "algorithm": "RS256",
            "issued_at": rfc3339(NOW), "expires_at": rfc3339(NOW), "payload": claims,
            "bundle_hash": "0",
        });
        self.answer_check_ins(json!({ "code": "valid", "bundle": bundle }));
    }

    pub(crate) fn set_cap(&self, cap: usize) {
        *self.shared.cap.lock().unwrap() = Some(cap);
    }

    pub(crate) fn requests(&self) -> Vec<(String, String, String, Value)> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The bodies of the requests with this method.
    pub(crate) fn sent(&self, method: &str) -> Vec<Value> {
        let requests = self.requests().into_iter().filter(|request| request.0 == method);
        requests.map(|(.., body)| body).collect()
    }

    /// The hashes of the holders in the requests that release a lease.
    pub(crate) fn released(&self) -> Vec<String> {
        let requests = self.requests().into_iter().filter(|request| request.0 == "DELETE");
        requests.map(|(_, path, ..)| path.split_once("?holder=").unwrap().1.to_owned()).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// The number of live leases.
    pub(crate) fn live(&self) -> usize {
        self.shared.leases.lock().unwrap().len()
    }

    /// Ends all leases, as an administrator does.
    pub(crate) fn reset(&self) {
        self.shared.leases.lock().unwrap().clear();
    }
}

impl Shared {
    /// Answers the requests of one connection.
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        loop {
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                match reader.read_line(&mut line) {
                    Ok(0) | Err(_) => return,
                    Ok(_) if line.trim().is_empty() => break,
                    Ok(_) => head.push(line.trim().to_owned()),
                }
            }
            let header = |name: &str| {
                let lines = head.iter().filter_map(|line| line.split_once(": "));
                let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
                found.next().map(|(_, value)| value.to_owned()).unwrap_or_default()
            };
            let mut body = vec![0; header("content-length").parse().unwrap_or_default()];
            let has_failed = reader.read_exact(&mut body).is_err();
            while self.is_stalled.load(SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            if has_failed || self.is_down.load(SeqCst) {
                return;
            }
            let mut line = head[0].split(' ').map(str::to_owned);
            let (method, path) = (line.next().unwrap(), line.next().unwrap());
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let (status, answer) = self.answer(&method, &path, &body);
            self.requests.lock().unwrap().push((method, path, header("authorization"), body));
            let answer = answer.map(|answer| answer.to_string()).unwrap_or_default();
            let length = answer.len();
            let retry = match self.retry_after.load(SeqCst) {
                0 => String::new(),
                seconds => format!("Retry-After: {seconds}\r\n"),
            };
            let head = format!("HTTP/1.1 {status} X\r\n{retry}Content-Length: {length}\r\n\r\n");
            let answer = head + &answer;
            // The client may have closed the connection.
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, method: &str, path: &str, body: &Value) -> (u16, Option<Value>) {
        let now = self.clock.load(SeqCst);
        if path.ends_with("/check-in") {
            let mut answer = self.check_in.lock().unwrap().clone();
            if let Some(code) = answer.get("problem").and_then(Value::as_str) {
                return problem(&ProblemCode::from(std::borrow::Cow::Borrowed(code)));
            }
            answer["next_check_in_at"] = json!(rfc3339(now + 3_600));
            answer["not_before"] = json!(rfc3339(now));
            answer["server_time"] = json!(rfc3339(now));
            return (200, Some(answer));
        }
        if let Some((code, members)) = &*self.refusal.lock().unwrap() {
            return problem_with(code, members);
        }
        let mut leases = self.leases.lock().unwrap();
        let is_live = |lease: &Value| expires(lease).is_none_or(|end| end > now);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let id = path.split('/').nth(4).unwrap().to_owned();
        match method {
            "POST" if path.ends_with("/leases") => {
                let mut holders = self.holders.lock().unwrap();
                let holder = format!("{} {}", body["pool"], body["holder"]);
                let held = holders.get(&holder).and_then(|id| leases.get(id));
                let held = held.filter(|lease| is_live(lease));
                let (mut lease, status) = match held {
                    Some(lease) => (lease.clone(), 200),
                    None if self.cap.lock().unwrap().is_some_and(|cap| leases.len() >= cap) => {
                        return problem(&ProblemCode::SeatsExhausted);
                    }
                    None => (
                        lease_of(&id, body, leases.len(), self.requests.lock().unwrap().len()),
                        201,
                    ),
                };
                let ttl = body["ttl_seconds"].as_i64().unwrap_or(TTL);
                if lease["borrowed_until"].is_null() {
                    let ttl = Some(ttl).filter(|_| body["pool"] != "machines");
                    beat(&mut lease, now, ttl);
                }
                if let Some(seconds) = body["borrow_seconds"].as_i64() {
                    borrow(&mut lease, now + seconds);
                }
                let id = lease["id"].as_str().unwrap().to_owned();
                holders.insert(holder, id.clone());
                leases.insert(id, lease.clone());
                (status, Some(lease))
            }
            "POST" if path.ends_with("/borrow") => match leases.get_mut(&id) {
                None => problem(&ProblemCode::LeaseOver),
                Some(lease) => {
                    borrow(lease, now + body["seconds"].as_i64().unwrap());
                    let mut lease = lease.clone();
                    lease["token"] = json!("a.lease.token");
                    (200, Some(lease))
                }
            },
            "PUT" => match leases.get_mut(&id).filter(|lease| is_live(lease)) {
                None => problem(&ProblemCode::LeaseOver),
                Some(lease) if !lease["borrowed_until"].is_null() => {
                    let members = json!({ "borrowed_until": lease["borrowed_until"] });
                    problem_with(&ProblemCode::LeaseBorrowed, &members)
                }
                Some(lease) if now < instant(&lease["not_before"]).unwrap() => {
                    (200, Some(lease.clone()))
                }
                Some(lease) => {
                    let ttl = expires(lease).map(|_| TTL);
                    beat(lease, now, ttl);
                    (200, Some(lease.clone()))
                }
            },
            "DELETE" => {
                let hash = leases.get(&id).map(|lease| lease["holder"]["hash"].clone());
                if hash.is_some_and(|hash| query != format!("holder={}", hash.as_str().unwrap())) {
                    return problem(&ProblemCode::NotFound);
                }
                leases.remove(&id);
                (204, None)
            }
            _ => problem(&ProblemCode::NotFound),
        }
    }
}

fn lease_of(license: &str, body: &Value, seat: usize, n: usize) -> Value {
    json!({
        "id": format!("018f2a00-0000-7000-8000-{n:012}"), "license_id": license,
        "deployment_id": DEPLOYMENT, "pool": body["pool"],
        "kind": if body["pool"] == "machines" { "node" } else { "floating" }, "seat": seat + 1,
        "holder": { "kind": "id", "user_id": null, "hash": base64url(body["holder"].to_string()) },
        "label": body["label"], "meta": {}, "state": "live", "overage": false,
        "borrowed_until": null, "ended_at": null, "end": null,
    })
}

fn beat(lease: &mut Value, now: i64, ttl: Option<i64>) {
    if lease["acquired_at"].is_null() {
        lease["acquired_at"] = json!(rfc3339(now));
    }
    lease["heartbeat_at"] = json!(rfc3339(now));
    lease["expires_at"] = json!(ttl.map(|ttl| rfc3339(now + ttl)));
    lease["next_at"] = json!(rfc3339(now + ttl.unwrap_or(43_200) / 2));
    lease["not_before"] = json!(rfc3339(now + ttl.unwrap_or(43_200) / 6));
}

fn borrow(lease: &mut Value, until: i64) {
    lease["borrowed_until"] = json!(rfc3339(until));
    lease["expires_at"] = json!(rfc3339(until));
}

fn expires(lease: &Value) -> Option<i64> {
    instant(&lease["expires_at"])
}

fn instant(at: &Value) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(at.as_str()?).unwrap().timestamp())
}

fn rfc3339(at: i64) -> String {
    DateTime::from_timestamp(at, 0).unwrap().to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn problem(code: &ProblemCode) -> (u16, Option<Value>) {
    problem_with(code, &json!({}))
}

fn problem_with(code: &ProblemCode, members: &Value) -> (u16, Option<Value>) {
    let mut problem = json!({
        "type": format!("/problems/{code}"), "title": code.title(), "status": code.status(),
        "detail": "The test wants it.", "code": code.as_str(),
    });
    problem.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    (code.status(), Some(problem))
}
