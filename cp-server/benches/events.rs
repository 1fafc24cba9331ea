//! What events cost, as ratios in the same run:
//!
//! - the fan-out to webhooks, signed and logged, against a bare hyper client that sends as many bodies of
//!   that size to the same receiver, with as many requests at once; and whoami beside it,
//! - pages of 500 events against a bare select of the same rows, written as JSON,
//! - a thousand readers that wait: the memory, and the time until the last one has the next event.
//!
//! On SQLite with `synchronous=FULL`, and on the empty database that `CP_BENCH_POSTGRES` names.
//! Measurements of one comparison are interleaved, and medians compared: machines drift.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure has nothing to say")]

mod measure;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::routing::any;
use chrono::{DateTime, Utc};
use cp_server::App;
use cp_server::audit::integrator;
use cp_server::kernel::db::Db;
use cp_server::kernel::journal::canonical::Text;
use cp_server::webhooks::sending;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use uuid::Uuid;

use self::measure::connection::request;
use self::measure::local::{Local, on_each_database, resident};
use self::measure::network::{load, serve};
use self::measure::rounds::per_second;
use self::measure::rows::{median, row};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);
/// The endpoints, each with at most 16 attempts at once.
const ENDPOINTS: usize = 4;
const AT_ONCE: usize = ENDPOINTS * 16;
/// The events of a round.
const EVENTS: usize = 500;
/// The events whose deliveries are a thousand per second of a round.
const EVENTS_BESIDE: usize = 700 / ENDPOINTS;
/// The readers that wait, four of each credential.
const READERS: usize = 1000;

fn main() {
    on_each_database(measure);
}

async fn measure(name: &str, url: &str) {
    let bench = Bench::new(Db::open(url).await.unwrap()).await;
    println!("{name:<58} {:>12} {:>12} {:>7}", "limit/s", "ours/s", "ratio");
    bench.fan_out().await;
    bench.pages().await;
    bench.waiting().await;
}

/// A row of the log.
#[derive(sqlx::FromRow, serde::Serialize)]
struct Row {
    id: Uuid,
    seq: i64,
    action: String,
    at: DateTime<Utc>,
    organization_id: Option<Uuid>,
    actor_kind: String,
    actor_id: Uuid,
    actor_name: String,
    target_type: String,
    target_id: String,
    /// The states are read to compare them, and are not in the answer.
    #[serde(skip)]
    _before: Text,
    #[serde(skip)]
    _after: Text,
    reason: Option<String>,
    erased_at: Option<DateTime<Utc>>,
}

struct Bench {
    local: Local,
    token: String,
    org: String,
    changes: AtomicU64,
}

impl Bench {
    async fn new(db: Db) -> Self {
        let local = Local::open(db).await;
        let token = local.token().await;
        let made = json!({"name": "Acme", "owner": "anna@acme.example"});
        let made = local.call(Method::POST, "/organizations", made).await;
        let org = format!("/organizations/{}", made["id"].as_str().unwrap());
        let link = json!({"provider": "auth0", "subject": "anna"});
        let user = made["owner_user_id"].as_str().unwrap();
        local.call(Method::POST, &format!("/users/{user}/auth-accounts"), link).await;
        Self { local, token, org, changes: AtomicU64::new(0) }
    }

    /// Deliveries per second of so many events at all endpoints, beside a bare client and whoami.
    async fn fan_out(&self) {
        let received = Arc::new(AtomicU64::new(0));
        let bytes = Arc::new(AtomicU64::new(0));
        let (count, size) = (received.clone(), bytes.clone());
        let sink = Router::new().fallback(any(move |body: axum::body::Bytes| {
            count.fetch_add(1, Ordering::Relaxed);
            size.store(body.len() as u64, Ordering::Relaxed);
            std::future::ready(StatusCode::NO_CONTENT)
        }));
        let (sink, _serving) = serve(sink).await;
        for _ in 0..ENDPOINTS {
            let body = json!({
                "url": format!("http://{sink}/"), "types": ["organizations.update"],
                "ordering": "none",
            });
            self.local.call(Method::POST, &format!("{}/webhooks", self.org), body).await;
        }
        let (address, _whoami) = serve(self.local.router.clone()).await;
        let whoami = "/api/v1/users/whoami?provider=auth0&subject=anna";
        let whoami = request("GET", whoami, &self.token, "");
        let deliveries = EVENTS * ENDPOINTS;
        let (mut bare, mut kept, mut ours) = (Vec::new(), Vec::new(), Vec::new());
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            self.change(EVENTS).await;
            let began = Instant::now();
            let before = received.load(Ordering::Relaxed);
            sending::settle(&self.local.app).await.unwrap();
            ours.push(deliveries as f64 / began.elapsed().as_secs_f64());
            let sent = received.load(Ordering::Relaxed) - before;
            assert_eq!(sent, deliveries as u64, "a delivery was lost or repeated");
            let size = usize::try_from(bytes.load(Ordering::Relaxed)).unwrap();
            bare.push(client(sink, size, deliveries, false).await);
            kept.push(client(sink, size, deliveries, true).await);
            // The events of a second round are due while whoami is measured.
            self.change(EVENTS_BESIDE).await;
            alone.push(load(address, &whoami, 16, ROUND).await);
            let sent = tokio::spawn(deliver_during(self.local.app.clone(), ROUND));
            beside.push(load(address, &whoami, 16, ROUND).await);
            sent.await.unwrap();
            sending::settle(&self.local.app).await.unwrap();
        }
        row("webhooks, signed and logged / bare hyper, a connection each", bare, ours.clone());
        row("webhooks, signed and logged / bare hyper, kept connections", kept, ours);
        row("whoami beside 1,000 deliveries a second / alone", alone, beside);
    }

    /// Changes the organization so many times, and gives the events their places.
    async fn change(&self, count: usize) {
        for _ in 0..count {
            let n = self.changes.fetch_add(1, Ordering::Relaxed);
            let body = json!({"name": format!("Acme {n}")});
            self.local.call(Method::PATCH, &self.org, body).await;
        }
        while integrator::integrate(&self.local.app).await.unwrap() > 0 {}
    }

    /// Pages of 500 events.
    async fn pages(&self) {
        let head =
            self.local.call(Method::GET, "/events", Value::Null).await["head"].as_i64().unwrap();
        let after = head - 1000;
        let path = format!("/events?after={after}&limit=500");
        let sql = "SELECT id, seq, action, at, organization_id, actor_kind, actor_id, actor_name,
                          target_type, target_id, before AS _before, after AS _after, reason,
                          erased_at
                   FROM audit_events WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT 500";
        let select = async || {
            let mut tx = self.local.app.db.read();
            let rows: Vec<Row> = tx.q(sql).bind(after).bind(head).all().await.unwrap();
            assert_eq!(rows.len(), 500);
            assert!(serde_json::to_vec(&rows).unwrap().len() > 1000);
        };
        let page = async || self.local.ask(Method::GET, &path, &Value::Null, 200).await;
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(per_second(ROUND, select).await);
            ours.push(per_second(ROUND, page).await);
        }
        row("a page of 500 events / bare select as JSON", bare, ours);
    }

    /// A thousand readers that wait for the next event.
    async fn waiting(&self) {
        let mut tokens = Vec::new();
        for n in 0..READERS / 4 {
            let body = json!({"name": format!("reader {n}"), "permissions": ["audit:read"]});
            let made =
                self.local.call(Method::POST, &format!("{}/service-tokens", self.org), body).await;
            tokens.push(made["token"].as_str().unwrap().to_owned());
        }
        while integrator::integrate(&self.local.app).await.unwrap() > 0 {}
        let placing = tokio::spawn(integrator::run(self.local.app.clone()));
        let head =
            self.local.call(Method::GET, "/events", Value::Null).await["head"].as_i64().unwrap();
        let (address, _serving) = serve(self.local.router.clone()).await;
        let path = format!("/api/v1{}/events?wait=25&after={head}", self.org);
        let mut delays = Vec::new();
        let mut growth = None;
        // The first connections and statements are not a cost of waiting.
        let first = format!("/api/v1{}/events?after={head}", self.org);
        let waits = Arc::new(Barrier::new(READERS));
        let readers = (0..READERS).map(|n| {
            let request = request("GET", &first, &tokens[n / 4], "");
            tokio::spawn(reader(address, request, waits.clone()))
        });
        join_all(readers.collect::<Vec<_>>()).await;
        for position in head..head + 3 {
            let before = resident();
            let path = path.replace(&format!("={head}"), &format!("={position}"));
            let waits = Arc::new(Barrier::new(READERS + 1));
            let readers: Vec<_> = (0..READERS)
                .map(|n| {
                    let request = request("GET", &path, &tokens[n / 4], "");
                    tokio::spawn(reader(address, request, waits.clone()))
                })
                .collect();
            waits.wait().await;
            // Every request is in the server, which has read the log for it.
            tokio::time::sleep(Duration::from_secs(3)).await;
            growth.get_or_insert(resident() - before);
            let done = readers.iter().filter(|reader| reader.is_finished()).count();
            assert_eq!(done, 0, "readers did not wait");
            let began = Instant::now();
            let n = self.changes.fetch_add(1, Ordering::Relaxed);
            self.local.call(Method::PATCH, &self.org, json!({"name": format!("Acme {n}")})).await;
            let woken: Vec<f64> = join_all(readers)
                .await
                .into_iter()
                .map(|at| at.unwrap().duration_since(began).as_secs_f64() * 1000.0)
                .collect();
            delays.push(woken.iter().copied().fold(0.0, f64::max));
        }
        println!(
            "{:<58} {:>12.0}",
            "1,000 readers woken by an event, the last after, ms",
            median(&mut delays)
        );
        println!(
            "{:<58} {:>12.1}",
            "1,000 readers that wait, MiB more",
            growth.unwrap_or_default() / 1024.0
        );
        placing.abort();
    }
}

/// Sends what is due.
async fn deliver_during(app: App, _: Duration) {
    sending::settle(&app).await.unwrap();
}

/// Messages per second of a hyper client that sends bodies of this size.
async fn client(sink: SocketAddr, size: usize, count: usize, keeps: bool) -> f64 {
    let body = hyper::body::Bytes::from(vec![b'x'; size]);
    let began = Instant::now();
    let tasks = (0..AT_ONCE).map(|_| {
        let body = body.clone();
        tokio::spawn(async move {
            let mut sender = None;
            for _ in 0..count / AT_ONCE {
                let mut own = match sender.take() {
                    Some(own) => own,
                    None => {
                        let stream = TcpStream::connect(sink).await.unwrap();
                        let (own, connection) =
                            http1::handshake(TokioIo::new(stream)).await.unwrap();
                        tokio::spawn(connection);
                        own
                    }
                };
                let request = hyper::Request::post("/")
                    .header("host", sink.to_string())
                    .header("content-type", "application/json")
                    .body(Full::new(body.clone()))
                    .unwrap();
                let answer = own.send_request(request).await.unwrap();
                assert_eq!(answer.status(), 204);
                answer.into_body().collect().await.unwrap();
                sender = keeps.then_some(own);
            }
        })
    });
    join_all(tasks).await.into_iter().for_each(|done| done.unwrap());
    (count / AT_ONCE * AT_ONCE) as f64 / began.elapsed().as_secs_f64()
}

/// Sends one request, and returns the time of its answer.
async fn reader(address: SocketAddr, request: String, waits: Arc<Barrier>) -> Instant {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    waits.wait().await;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    Instant::now()
}
