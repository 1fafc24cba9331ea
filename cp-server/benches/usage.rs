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

mod measure;

use std::time::Duration;

use axum::http::Method;
use chrono::{DateTime, TimeDelta, Utc};
use cp_server::kernel::access::ids::OrganizationId;
use cp_server::kernel::db::Db;
use cp_server::kernel::db::record::Object;
use cp_server::metering::ids::UsageEventId;
use serde_json::{Value, json};

use self::measure::local::{Local, on_each_database};
use self::measure::rounds::per_second;
use self::measure::rows::{median, row};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);
/// Rows of one statement, as the server inserts them.
const CHUNK: usize = 100;

fn main() {
    on_each_database(measure);
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
    local: Local,
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
        let local = Local::open(db).await;
        let org = local.create("/organizations", json!({"name": "Acme", "slug": "acme"})).await;
        let other = local.create("/organizations", json!({"name": "Globex"})).await;
        let project = json!({"name": "Apollo"});
        let project = local.create("/organizations/acme/projects", project).await;
        let limit = json!({"metric": "checked", "quantity": 1_000_000_000});
        local.call(Method::PUT, "/organizations/acme/limits", limit).await;
        let upper = local.create("/organizations/acme/groups", json!({"name": "A"})).await;
        let lower = json!({"name": "T", "parent_id": upper});
        let group = local.create("/organizations/acme/groups", lower).await;
        let seat = json!({"email": "anna@acme.example", "role": "member"});
        let seat = local.call(Method::POST, "/organizations/acme/memberships", seat).await;
        let user = seat["user_id"].as_str().unwrap().to_owned();
        let budget = "/organizations/acme/budgets/copilot";
        let credits =
            json!({"credits": 1_000_000_000, "cost_metric": "tokens", "cost_unit": "token"});
        local.call(Method::PUT, budget, credits).await;
        local.call(Method::POST, &format!("{budget}/cycles"), json!({})).await;
        let (org, other) = (org.parse().unwrap(), other.parse().unwrap());
        let start = local.app.clock.now();
        Self { local, org, other, project, group, user, start }
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
        let (random, now) = (&self.local.app.random, self.local.app.clock.now());
        let mut tx = self.local.app.db.begin().await.unwrap();
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
        let now = self.local.app.clock.now();
        let events = (0..size).map(|n| {
            let at = now + TimeDelta::microseconds(n as i64);
            json!({
                "metric": "tokens", "unit": "token", "quantity": 1.5, "observed_at": at,
                "idempotency_key": self.local.app.random.uuid(at),
                "project_id": (of == Of::Project).then_some(&self.project),
                "product": (of == Of::Everything).then_some("copilot"),
                "group_id": (of == Of::Everything).then_some(&self.group),
                "user_id": (of == Of::Everything).then_some(&self.user),
            })
        });
        self.post(events.collect()).await;
    }

    async fn post(&self, mut events: Vec<Value>) {
        let (body, status) = match events.len() {
            1 => (events.remove(0), 201),
            _ => (events.into(), 200),
        };
        let path = format!("/organizations/{}/usage", self.org);
        self.local.ask(Method::POST, &path, &body, status).await;
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
            let once = async || self.local.ask(Method::GET, path, &Value::Null, 200).await;
            rates.push(per_second(ROUND, once).await);
        }
        1e6 / median(&mut rates)
    }
}
