//! What a request costs: the CPU time of the server's own process, as a multiple of a bare axum
//! server's in the same run.
//!
//! The load is in this process, on 16 connections; the servers are processes of their own. The
//! operating system says how much CPU time each of them has used. So neither the cost of the load nor
//! other work on the machine is in the numbers. Rounds are interleaved, and medians compared.
//!
//! On SQLite with `synchronous=FULL`, or on the empty database that `CP_BENCH_POSTGRES` names.
//! Arguments select the paths whose names contain them.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure has nothing to say")]

mod measure;

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use cp_server::kernel::db::Db;
use serde_json::{Value, json};

use self::measure::connection::Connection;
use self::measure::local::is_test;
use self::measure::process::{Process, request};
use self::measure::rows::row;

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(800);
const CONNECTIONS: usize = 16;
/// The argument by which this program starts itself as the bare server.
const PEER: &str = "peer";
/// The people of the whoami that finds nothing remembered: an answer is remembered for a second.
const PEOPLE: usize = 3_000;
/// Leases of the heartbeats: each is due again when all others had their turn.
const LEASES: usize = 20_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if is_test() {
        return;
    }
    if let [PEER, database] = &*arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        return bare(database);
    }
    let chosen: Vec<_> = arguments.into_iter().filter(|one| !one.starts_with("--")).collect();
    let folder = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration")]
    let database = std::env::var("CP_BENCH_POSTGRES");
    let database = database.unwrap_or_else(|_| "sqlite:cost.db".to_owned());
    let off = [("CP_RATE_LIMITS", "false"), ("CP_DATABASE_URL", &*database)];
    let server = Process::serve(folder.path(), &off);
    let filled = Filled::new(&server);
    let mut peer = Command::new(std::env::current_exe().unwrap());
    peer.args([PEER, &database]).current_dir(folder.path());
    let peer = Process::start(peer);
    measure(&server, &peer, &filled, &chosen);
}

/// Serves a constant, and a row of a database.
fn bare(database: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Db::open(database).await.unwrap();
        let statement = move || {
            let db = db.clone();
            async move {
                let sql = "SELECT name FROM organizations WHERE slug = $1";
                let name: Option<String> = db.read().q(sql).bind("acme").value().await.unwrap();
                name.unwrap()
            }
        };
        let router = Router::new().route("/", get(|| async { "ok" })).route("/row", get(statement));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        eprintln!("address={}", listener.local_addr().unwrap());
        axum::serve(listener, router).await.unwrap();
    });
}

fn measure(server: &Process, peer: &Process, filled: &Filled, chosen: &[String]) {
    let paths = filled.paths();
    let is_chosen = |path: &&Path| {
        chosen.is_empty() || chosen.iter().any(|part| path.name.contains(part.as_str()))
    };
    let paths: Vec<_> = paths.iter().filter(is_chosen).collect();
    let plain = Path::new("bare axum", |_| request("GET", "/", ""));
    let statement = Path::new("bare axum, one statement", |_| request("GET", "/row", ""));
    let mut costs = vec![Vec::new(); paths.len() + 2];
    for _ in 0..ROUNDS {
        costs[0].push(plain.cost(peer));
        costs[1].push(statement.cost(peer));
        for (path, costs) in paths.iter().zip(&mut costs[2..]) {
            let is_busy = AtomicBool::new(path.beside_changes);
            std::thread::scope(|scope| {
                if path.beside_changes {
                    scope.spawn(|| filled.change(server, &is_busy));
                }
                costs.push(path.cost(server));
                is_busy.store(false, Ordering::Relaxed);
            });
        }
    }
    println!(
        "{:<58} {:>12} {:>12} {:>7}",
        "CPU time of a request", "bare, us", "ours, us", "ratio"
    );
    let limit = costs[0].clone();
    for (path, costs) in [&plain, &statement].into_iter().chain(paths).zip(costs) {
        row(path.name, limit.clone(), costs);
    }
}

/// A request that is repeated.
struct Path<'f> {
    name: &'static str,
    /// The request with this number.
    request: Box<dyn Fn(usize) -> String + Sync + 'f>,
    next: AtomicUsize,
    status: u16,
    /// Whether other organizations change meanwhile.
    beside_changes: bool,
}

impl<'f> Path<'f> {
    fn new(name: &'static str, request: impl Fn(usize) -> String + Sync + 'f) -> Self {
        let (request, next) = (Box::new(request), AtomicUsize::new(0));
        Self { name, request, next, status: 200, beside_changes: false }
    }

    fn answers(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Asks for one round, and returns the microseconds of CPU time of a request.
    fn cost(&self, server: &Process) -> f64 {
        let (answered, before) = (AtomicU64::new(0), cpu(server));
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let mut connection = Connection::to(server.address);
                    while started.elapsed() < ROUND {
                        let ask = (self.request)(self.next.fetch_add(1, Ordering::Relaxed));
                        let (status, body) = connection.ask(&ask);
                        let text = String::from_utf8_lossy(body);
                        assert_eq!(status, self.status, "{}: {text}", self.name);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        (cpu(server) - before) / answered.into_inner() as f64
    }
}

/// The microseconds of CPU time that the threads of the process have used.
fn cpu(server: &Process) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1000.0
}

/// The rows that the requests name.
struct Filled {
    org: String,
    other: String,
    deployment: String,
    license: String,
    user: String,
    jti: String,
    status_list: String,
    jwks_tag: String,
    leases: Vec<String>,
}

impl Filled {
    fn new(server: &Process) -> Self {
        let call = |method, path: &str, body: Value| {
            let (status, answer) = server.call(method, &format!("/api/v1{path}"), Some(body));
            assert!(status < 300, "{path}: {status} {answer}");
            answer
        };
        let id = |made: Value| made["id"].as_str().unwrap().to_owned();
        let create = |path: &str, body: Value| id(call("POST", path, body));
        let org = create("/organizations", json!({"name": "Acme", "slug": "acme"}));
        let other = create("/organizations", json!({"name": "Globex"}));
        let orgs: Vec<_> = (0..5)
            .map(|n| create("/organizations", json!({"name": format!("Umbrella {n}")})))
            .collect();
        for org in &orgs {
            call("PUT", &format!("/organizations/{org}/quotas/members"), json!({"quantity": null}));
        }
        let below = format!("/organizations/{org}");
        call("POST", &format!("{below}/subscriptions"), json!({"plan_code": "team"}));
        let licensed = |name: &str, license: Value| {
            let deployment = json!({"name": name, "type": "cloud"});
            let deployment = create(&format!("{below}/deployments"), deployment);
            let license = create(&format!("/deployments/{deployment}/licenses"), license);
            (deployment, license)
        };
        (0..50).for_each(|n| drop(licensed(&format!("site {n}"), json!({}))));
        let leasing = json!({"leasing": {"open": {"kind": "floating", "cap": null}}});
        let (deployment, license) = licensed("production", leasing);
        let user = create("/users", json!({"email": "anna@acme.example"}));
        let seat = json!({"user_id": user, "role": "member"});
        call("POST", &format!("{below}/memberships"), seat);
        let token = call("POST", &format!("/licenses/{license}/bundles"), json!({}));
        let lists = server.call("GET", "/api/v1/status-lists", None).1;
        let list = lists["status_lists"][0].as_str().unwrap();
        let status_list = list[list.find("/api").unwrap()..].to_owned();
        let filled = Self {
            jti: token["jti"].as_str().unwrap().to_owned(),
            jwks_tag: tag(server),
            leases: Vec::new(),
            org,
            other,
            deployment,
            license,
            user,
            status_list,
        };
        in_parallel(PEOPLE, |n| {
            let user = create("/users", json!({"email": format!("p{n}@acme.example")}));
            let link = json!({"provider": "auth0", "subject": format!("p{n}")});
            call("POST", &format!("/users/{user}/auth-accounts"), link);
            for org in &orgs {
                let seat = json!({"user_id": user, "role": "member"});
                call("POST", &format!("/organizations/{org}/memberships"), seat);
            }
        });
        let leases = in_parallel(LEASES, |n| {
            let body = json!({"pool": "open", "holder": {"id": format!("seat-{n}")}});
            id(call("POST", &format!("/licenses/{}/leases", filled.license), body))
        });
        Self { leases, ..filled }
    }

    /// Changes another organization, a hundred times a second.
    fn change(&self, server: &Process, is_busy: &AtomicBool) {
        let mut connection = Connection::to(server.address);
        let path = format!("/api/v1/organizations/{}", self.other);
        for n in 0_u64.. {
            if !is_busy.load(Ordering::Relaxed) {
                return;
            }
            let body = json!({"name": format!("Globex {n}")}).to_string();
            assert_eq!(connection.ask(&request("PATCH", &path, &body)).0, 200);
            std::thread::sleep(Duration::from_millis(9));
        }
    }

    fn paths(&self) -> Vec<Path<'_>> {
        let api = |name, path: String| {
            let ask = request("GET", &format!("/api/v1{path}"), "");
            Path::new(name, move |_| ask.clone())
        };
        let post = |name, path: String, body: fn(&Self, usize) -> Value| {
            let path = format!("/api/v1{path}");
            Path::new(name, move |n| request("POST", &path, &body(self, n).to_string()))
        };
        let (org, license) = (&self.org, &self.license);
        let whoami = |n: usize| {
            let path = format!("/api/v1/users/whoami?provider=auth0&subject=p{n}");
            request("GET", &path, "")
        };
        let poll = request("GET", "/api/v1/.well-known/jwks.json", "");
        let known = format!("\r\nif-none-match: {}\r\n\r\n", self.jwks_tag);
        let poll = poll.replace("\r\n\r\n", &known);
        let heartbeat = |n: usize| {
            let path = format!("/api/v1/leases/{}", self.leases[n % self.leases.len()]);
            request("PUT", &path, "{}")
        };
        let list = request("GET", &self.status_list, "");
        let beside = Path::new("whoami remembered, 100 other changes a second", move |_| whoami(0));
        vec![
            Path::new("healthz", |_| request("GET", "/healthz", "")),
            api("JWKS", "/.well-known/jwks.json".to_owned()),
            Path::new("JWKS, 304", move |_| poll.clone()).answers(304),
            Path::new("status list", move |_| list.clone()),
            Path::new("whoami remembered", move |_| whoami(0)),
            Path { beside_changes: true, ..beside },
            Path::new("whoami from the database", move |n| whoami(n % PEOPLE)),
            api("license", format!("/licenses/{license}")),
            api("organization", format!("/organizations/{org}")),
            api("list of 50 licenses", format!("/organizations/{org}/licenses?limit=50")),
            api("effective answer", format!("/organizations/{org}/effective?user={}", self.user)),
            post("issue", format!("/licenses/{license}/bundles"), |_, _| json!({})).answers(201),
            post(
                "claim",
                format!("/licenses/{license}/leases"),
                |_, n| json!({"pool": "open", "holder": {"id": format!("holder-{n}")}}),
            )
            .answers(201),
            Path::new("heartbeat", heartbeat),
            post(
                "check-in",
                format!("/deployments/{}/check-in", self.deployment),
                |this, _| json!({"jti": this.jti}),
            ),
            post("usage, 1 event", format!("/organizations/{org}/usage"), |_, _| json!([event()])),
            post("usage, 1,000 events", format!("/organizations/{org}/usage"), |_, _| {
                (0..1000).map(|_| event()).collect()
            }),
        ]
    }
}

fn event() -> Value {
    json!({"metric": "tokens", "unit": "token", "quantity": 1.5})
}

/// Returns the entity tag of the JWKS.
fn tag(server: &Process) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    let ask = request("GET", "/api/v1/.well-known/jwks.json", "");
    let ask = ask.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let mut lines = answer.lines();
    lines.find_map(|line| line.strip_prefix("etag: ")).unwrap().trim().to_owned()
}

/// Runs the work so many times, by several threads.
fn in_parallel<T: Send>(times: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                    numbers.take_while(|n| *n < times).map(&work).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}
