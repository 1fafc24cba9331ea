//! What metering costs, as ratios in the same run:
//!
//! - recording events, one by one and in batches, against a bare insert of the same rows into the
//!   same table of the same database, with a commit for as many; also of a project, and of a product
//!   with a budget, a group below another one and a person,
//! - checking a limit and summing up a month, after 10^3, 10^5 and 10^6 events.
//!
//! On SQLite with `synchronous=FULL`, and on the empty database that `CP_BENCH_POSTGRES` names.
//! Measurements of one comparison are interleaved, and medians compared: machines drift.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure has nothing to say")]

#[path = "measure/rounds.rs"]
mod rounds;
#[path = "measure/rows.rs"]
mod rows;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use chrono::{DateTime, TimeDelta, Utc};
use cp_server::kernel::access::caller::Caller;
use cp_server::kernel::access::ids::OrganizationId;
use cp_server::kernel::clock::{Clock, Random};
use cp_server::kernel::db::Db;
use cp_server::kernel::db::record::Object;
use cp_server::kernel::secret::Kek;
use cp_server::metering::ids::UsageEventId;
use cp_server::{App, Settings, licensing, server};
use serde_json::{Value, json};
use tower::ServiceExt;

use self::rounds::per_second;
use self::rows::{median, row};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);
/// Rows of one statement, as the server inserts them.
const CHUNK: usize = 100;

fn main() {
    // `cargo test --benches` only wants to know that it builds and starts.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("bench.db").display());
    measure("SQLite", &file).await;
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration")]
    if let Ok(url) = std::env::var("CP_BENCH_POSTGRES") {
        measure("PostgreSQL", &url).await;
    }
}

async fn measure(name: &str, url: &str) {
    let bench = Bench::new(Db::open(url).await.unwrap()).await;
    println!("{name:<58} {:>12} {:>12} {:>7}", "limit/s", "ours/s", "ratio");
    let sizes = [1, 100, 1000].map(|size| (size, Of::Organization));
    for (size, of) in sizes.into_iter().chain([(1000, Of::Project), (1000, Of::Everything)]) {
        bench.recording(size, of).await;
    }
    println!("{:<58} {:>12} {:>12} {:>7}", "", "check, us", "month, us", "of 10^3");
    let mut first = None;
    let mut recorded = 0;
    for count in [1_000, 100_000, 1_000_000] {
        bench.fill(recorded, count).await;
        recorded = count;
        let (check, month) = (bench.check().await, bench.summary().await);
        let first = *first.get_or_insert(check);
        let ratio = check / first;
        println!("{:<58} {check:>12.0} {month:>12.0} {ratio:>7.2}", format!("{count} events"));
    }
}

/// What the events are of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Organization,
    Project,
    Everything,
}

struct Bench {
    app: App,
    router: Router,
    org: OrganizationId,
    /// An organization for rows that are not counted.
    other: OrganizationId,
    project: String,
    /// A group below another one, and a person.
    group: String,
    user: String,
    start: DateTime<Utc>,
}

impl Bench {
    async fn new(db: Db) -> Self {
        let settings = Settings::new("http://127.0.0.1:8801", "data-plane");
        let kek = Kek::new(&[7; 32]).unwrap();
        let app = cp_server::app(db, Clock::system(), Random::system(), kek, settings);
        cp_server::migrate(&app).await.unwrap();
        licensing::keys::start::prepare(&app, None, None).await.unwrap();
        let router = server::router(&app);
        let call = async |method: Method, path: String, body: Value| {
            let (status, answer) = send(&router, method, &path, body.to_string()).await;
            assert!(status < 300, "{path}: {status} {answer}");
            answer
        };
        let mut orgs = Vec::new();
        for slug in ["acme", "globex"] {
            let made = json!({"name": slug, "slug": slug});
            let made = call(Method::POST, "/organizations".into(), made).await;
            orgs.push(made["id"].as_str().unwrap().parse().unwrap());
        }
        let project = json!({"name": "Apollo"});
        let project = call(Method::POST, "/organizations/acme/projects".into(), project).await;
        let limit = json!({"metric": "checked", "quantity": 1_000_000_000});
        call(Method::PUT, "/organizations/acme/limits".into(), limit).await;
        let project = project["id"].as_str().unwrap().to_owned();
        let (groups, mut group) = ("/organizations/acme/groups", json!({"id": null}));
        for name in ["A", "T"] {
            let below = json!({"name": name, "parent_id": group["id"]});
            group = call(Method::POST, groups.into(), below).await;
        }
        let seat = json!({"email": "anna@acme.example", "role": "member"});
        let seat = call(Method::POST, "/organizations/acme/memberships".into(), seat).await;
        let budget = "/organizations/acme/budgets/copilot";
        let credits =
            json!({"credits": 1_000_000_000, "cost_metric": "tokens", "cost_unit": "token"});
        call(Method::PUT, budget.into(), credits).await;
        call(Method::POST, format!("{budget}/cycles"), json!({})).await;
        let start = app.clock.now();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (group, user) = (text(&group["id"]), text(&seat["user_id"]));
        Self { app, router, org: orgs[0], other: orgs[1], project, group, user, start }
    }

    /// Events per second, in requests of so many.
    async fn recording(&self, size: usize, of: Of) {
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(per_second(ROUND, async || self.insert(size).await).await * size as f64);
            let record = async || self.record(size, of).await;
            ours.push(per_second(ROUND, record).await * size as f64);
        }
        let events = if size == 1 { "event" } else { "events" };
        let of = match of {
            Of::Organization => "",
            Of::Project => ", of a project",
            Of::Everything => ", of a budget, group and person",
        };
        row(&format!("record {size} {events}{of} / bare insert of the rows"), bare, ours);
    }

    async fn insert(&self, size: usize) {
        let (random, now) = (&self.app.random, self.app.clock.now());
        let mut tx = self.app.db.begin().await.unwrap();
        let rows: Vec<_> = (0..size).map(|n| now + TimeDelta::microseconds(n as i64)).collect();
        for chunk in rows.chunks(CHUNK) {
            let sql = "INSERT INTO usage_events
                       (id, organization_id, project_id, deployment_id, run_id, metric, unit,
                        quantity, dims, metadata, idempotency_key, observed_at, recorded_at)
                       VALUES ";
            let insert = tx.q(sql).rows(chunk, |query, at| {
                query
                    .bind(UsageEventId::new(random, *at))
                    .bind(self.other)
                    .bind(None::<uuid::Uuid>)
                    .bind(None::<uuid::Uuid>)
                    .bind(None::<String>)
                    .bind("tokens")
                    .bind("token")
                    .bind("1.5")
                    .bind(Object::default())
                    .bind(Object::default())
                    .bind(random.uuid(*at).to_string())
                    .bind(*at)
                    .bind(now)
            });
            insert.exec().await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn record(&self, size: usize, of: Of) {
        let now = self.app.clock.now();
        let events = (0..size).map(|n| {
            let at = now + TimeDelta::microseconds(n as i64);
            json!({
                "metric": "tokens", "unit": "token", "quantity": 1.5, "observed_at": at,
                "idempotency_key": self.app.random.uuid(at),
                "project_id": (of == Of::Project).then_some(&self.project),
                "product": (of == Of::Everything).then_some("copilot"),
                "group_id": (of == Of::Everything).then_some(&self.group),
                "user_id": (of == Of::Everything).then_some(&self.user),
            })
        });
        self.post(events.collect()).await;
    }

    async fn post(&self, mut events: Vec<Value>) {
        let count = events.len();
        let body = if count == 1 { events.remove(0) } else { events.into() };
        let path = format!("/organizations/{}/usage", self.org);
        let (status, answer) = send(&self.router, Method::POST, &path, body.to_string()).await;
        assert!(status == 201 || answer["recorded"] == count, "{answer}");
    }

    /// Adds events, spread over the 30 days before the start, until there are so many.
    async fn fill(&self, from: usize, to: usize) {
        let month = TimeDelta::days(30).num_microseconds().unwrap();
        let numbers: Vec<usize> = (from..to).collect();
        for chunk in numbers.chunks(1000) {
            let events = chunk.iter().map(|n| {
                // Neighbours in a request are neighbours in time; each request has its own hour.
                let minute = (n / 1000 * 7919 % 43_200) as i64 * 60_000_000;
                let at = (minute + (n % 1000) as i64 * 59_999) % month;
                let at = self.start - TimeDelta::microseconds(at);
                json!({"metric": "checked", "quantity": 1, "observed_at": at})
            });
            self.post(events.collect()).await;
        }
    }

    /// Microseconds of a check, its ends inside of a second.
    async fn check(&self) -> f64 {
        let path = format!("/organizations/{}/limits/check?metric=checked", self.org);
        self.time(&path).await
    }

    async fn summary(&self) -> f64 {
        let since = (self.start - TimeDelta::days(29)).to_rfc3339();
        let since = since.replace('+', "%2B");
        self.time(&format!("/organizations/{}/usage/summary?since={since}", self.org)).await
    }

    async fn time(&self, path: &str) -> f64 {
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            let once = async || {
                let (status, answer) = send(&self.router, Method::GET, path, String::new()).await;
                assert_eq!(status, 200, "{answer}");
            };
            rates.push(per_second(ROUND, once).await);
        }
        1e6 / median(&mut rates)
    }
}

/// Calls as the command line does: without a network and without a token.
async fn send(router: &Router, method: Method, path: &str, body: String) -> (u16, Value) {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/api/v1{path}"))
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap();
    request.extensions_mut().insert(Caller::system("bench"));
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    // A large answer is not read here: that is the client's work.
    let head = if body.len() > 4096 { &body[..0] } else { &body[..] };
    (status, serde_json::from_slice(head).unwrap_or_else(|_| json!({"recorded": count(&body)})))
}

/// What the answer to a batch says first.
fn count(body: &[u8]) -> usize {
    let text = String::from_utf8_lossy(&body[..body.len().min(64)]).into_owned();
    let digits = text.strip_prefix(r#"{"recorded":"#).unwrap_or_default();
    digits.split(',').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}
