//! What governance costs, as ratios in the same run:
//!
//! - effective answers of a person with 20 groups and 2,000 bindings against their one statement, from
//!   the cache against a bare axum server with the same bytes, and beside ten times as many bindings of
//!   others,
//! - the check of a limit, and of a budget, after a million events against one after a thousand, and
//!   with 10,000 allocations against ten,
//! - recording with a product, a group below another one and a person against the same events without,
//! - costs over 30 days after ten and a hundred times as many events.
//!
//! On SQLite with `synchronous=FULL`, and on the empty database that `CP_BENCH_POSTGRES` names.
//! Measurements of one comparison are interleaved, and medians compared: machines drift.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure has nothing to say")]

mod measure;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use axum::routing::get;
use chrono::{DateTime, TimeDelta, Utc};
use cp_server::kernel::db::Db;
use serde_json::{Value, json};
use tower::ServiceExt;

use self::measure::connection::request;
use self::measure::governed::Governed;
use self::measure::local::{Local, on_each_database};
use self::measure::network::{load, serve};
use self::measure::rounds::per_second;
use self::measure::rows::{median, row};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);
/// The callers of a measurement over HTTP.
const CALLERS: usize = 16;
/// The events of a request.
const BATCH: usize = 1000;

fn main() {
    on_each_database(measure);
}

async fn measure(name: &'static str, url: &str) {
    let bench = Bench::new(Db::open(url).await.unwrap()).await;
    println!("{name:<58} {:>12} {:>12} {:>7}", "limit/s", "ours/s", "ratio");
    bench.effective().await;
    bench.recording().await;
    bench.allocations().await;
    println!("{name:<58} {:>12} {:>12} {:>7}", "us, 10^3", "us, now", "ratio");
    let mut first = None;
    for sizes in [0, 1_000, 100_000, 1_000_000].windows(2) {
        bench.events(sizes[0], sizes[1], &mut first).await;
    }
}

struct Bench {
    local: Local,
    token: String,
    /// The first groups of the organization, one below the other, and a person.
    upper: String,
    lower: String,
    user: String,
    start: DateTime<Utc>,
}

impl Bench {
    async fn new(db: Db) -> Self {
        let local = Local::open(db).await;
        let (start, token) = (local.app.clock.now(), local.token().await);
        let made = json!({"name": "Acme", "slug": "acme", "owner": "olga@acme.example"});
        local.call(Method::POST, "/organizations", made).await;
        let upper = local.create("/organizations/acme/groups", json!({"name": "A"})).await;
        let lower = json!({"name": "T", "parent_id": upper});
        let lower = local.create("/organizations/acme/groups", lower).await;
        let seat = json!({"email": "anna@acme.example", "role": "member"});
        let seat = local.call(Method::POST, "/organizations/acme/memberships", seat).await;
        let user = seat["user_id"].as_str().unwrap().to_owned();
        for product in ["copilot", "small", "large"] {
            let path = format!("/organizations/acme/budgets/{product}");
            let body = json!({
                "credits": 1_000_000_000, "cost_metric": format!("cost-{product}"),
                "cost_unit": "usd", "cadence": "manual", "dimensions": ["model"],
            });
            local.call(Method::PUT, &path, body).await;
            // The events of the measurements are as old as the 30 days that are asked.
            let cycle = json!({"starts_at": start - TimeDelta::days(31)});
            local.call(Method::POST, &format!("{path}/cycles"), cycle).await;
        }
        let limit = json!({"metric": "checked", "quantity": 1_000_000_000});
        local.call(Method::PUT, "/organizations/acme/limits", limit).await;
        Self { local, token, upper, lower, user, start }
    }

    async fn effective(&self) {
        let governed = Governed::new(&self.local.app, "Governed").await;
        let crowded = Governed::new(&self.local.app, "Crowded").await;
        crowded.bind_others(&self.local.app).await;
        let path = format!("/organizations/{}/effective?user={}", governed.org, governed.user);
        let whole = format!("/api/v1{path}");
        let (address, stop) = serve(self.local.router.clone()).await;
        let ask = request("GET", &whole, &self.token, "");
        let (tag, body) = self.answer_of(&whole).await;
        let poll = ask.replace("\r\n\r\n", &format!("\r\nif-none-match: {tag}\r\n\r\n"));
        let bare = Router::new().route("/", get(move || std::future::ready(body.clone())));
        let (bare, stop_bare) = serve(bare).await;
        let root = request("GET", "/", &self.token, "");

        let (mut statements, mut answers) = (Vec::new(), Vec::new());
        let (mut limits, mut cached, mut unchanged) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            statements.push(per_second(ROUND, async || governed.read(&self.local.app).await).await);
            let fresh = async || {
                self.local.app.commits.advance(None);
                self.answer_of(&whole).await;
            };
            answers.push(per_second(ROUND, fresh).await);
            limits.push(load(bare, &root, CALLERS, ROUND).await);
            // The first answer fills the cache.
            self.answer_of(&whole).await;
            cached.push(load(address, &ask, CALLERS, ROUND).await);
            self.answer_of(&whole).await;
            unchanged.push(load(address, &poll, CALLERS, ROUND).await);
        }
        row("effective answer / its one statement", statements, answers.clone());
        row("effective answer from the cache / bare axum, same bytes", limits.clone(), cached);
        row("effective answer, 304 / bare axum, same bytes", limits, unchanged);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            before.push(per_second(ROUND, async || governed.read(&self.local.app).await).await);
            after.push(per_second(ROUND, async || crowded.read(&self.local.app).await).await);
        }
        cost("the statement, 20,000 bindings of others / without", &mut before, &mut after);
        drop((stop, stop_bare));
    }

    /// Events per second, with and without a product with a budget, a group and a person.
    async fn recording(&self) {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let plain = async || self.record(json!({"metric": "plain", "unit": "usd"})).await;
            without.push(per_second(ROUND, plain).await * BATCH as f64);
            let whole = async || {
                self.record(json!({
                    "metric": "cost-copilot", "unit": "usd", "product": "copilot",
                    "group_id": self.lower, "user_id": self.user,
                }))
                .await;
            };
            with.push(per_second(ROUND, whole).await * BATCH as f64);
        }
        row("record with a budget, group and person / without", without, with);
    }

    /// Records a request of events, of the last 30 days when they have no instant.
    async fn record(&self, event: Value) {
        let now = self.local.app.clock.now();
        let events = (0..BATCH).map(|n| {
            let mut event = event.clone();
            event["quantity"] = json!(0.5);
            event["idempotency_key"] = json!(self.local.app.random.uuid(now));
            if event.get("observed_at").is_none() {
                event["observed_at"] = json!(now - TimeDelta::microseconds(n as i64));
            }
            event
        });
        let events: Value = events.collect();
        self.local.ask(Method::POST, "/organizations/acme/usage", &events, 200).await;
    }

    /// The check of a budget with ten allocations and with 10,000.
    async fn allocations(&self) {
        for (product, count) in [("small", 10), ("large", 10_000)] {
            self.allocate(product, count).await;
        }
        let check = |product: &str| {
            format!(
                "/organizations/acme/limits/check?metric=credits&unit={product}&window=cycle&scope=user:{}",
                self.user
            )
        };
        let enforced = async |product: &str| {
            let body = json!({
                "metric": format!("cost-{product}"), "unit": "usd", "product": product,
                "quantity": 0.000_001, "user_id": self.user, "group_id": self.lower,
                "mode": "enforce",
            });
            self.local.call(Method::POST, "/organizations/acme/usage", body).await;
        };
        let (mut few, mut many) = (Vec::new(), Vec::new());
        let (mut few_enforced, mut many_enforced) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            few.push(self.rate(&check("small")).await);
            many.push(self.rate(&check("large")).await);
            few_enforced.push(per_second(ROUND, async || enforced("small").await).await);
            many_enforced.push(per_second(ROUND, async || enforced("large").await).await);
        }
        cost("check of a budget, 10,000 allocations / 10", &mut few, &mut many);
        let (few, many) = (&mut few_enforced, &mut many_enforced);
        cost("enforced event of a budget, 10,000 allocations / 10", few, many);
    }

    /// Allocates to the person and the groups, and to others without the API: the check is measured.
    async fn allocate(&self, product: &str, count: i64) {
        let path = format!("/organizations/acme/budgets/{product}/allocations");
        for scope in [
            format!("group:{}", self.upper),
            format!("group:{}", self.lower),
            format!("user:{}", self.user),
        ] {
            let body = json!({"scope": scope, "quantity": 1000});
            self.local.call(Method::PUT, &path, body).await;
        }
        let (random, now) = (&self.local.app.random, self.local.app.clock.now());
        let numbers: Vec<i64> = (4..count).collect();
        for chunk in numbers.chunks(500) {
            let mut tx = self.local.app.db.begin().await.unwrap();
            // Scopes of no group and no person: the columns for their foreign keys are null.
            let sql = "INSERT INTO usage_limits
                       (id, organization_id, scope_kind, scope_id, metric, unit, window_kind, period,
                        quantity, overflow, enforcement, cycle_id, source, created_at, updated_at)
                       SELECT v.column1, l.organization_id, 'user', v.column2, l.metric, l.unit,
                              l.window_kind, l.period, l.quantity, l.overflow, l.enforcement, l.cycle_id, 'manual',
                              l.created_at, l.updated_at
                       FROM usage_limits l, (VALUES ";
            let insert = tx
                .q(sql)
                .rows(chunk, |query, _| query.bind(random.uuid(now)).bind(random.uuid(now)));
            let insert = insert.and(
                ") AS v WHERE l.metric = 'credits' AND l.scope_kind = 'organization' AND l.unit = ?",
                product,
            );
            insert.exec().await.unwrap();
            tx.commit().await.unwrap();
        }
    }

    /// Checks and costs after so many events, beside those after the first ones.
    async fn events(&self, recorded: usize, count: usize, first: &mut Option<[f64; 3]>) {
        let limit = "/organizations/acme/limits/check?metric=checked";
        let budget = "/organizations/acme/limits/check?metric=credits&unit=copilot&window=cycle";
        let day = |days: i64| (self.start - TimeDelta::days(days)).format("%Y-%m-%d");
        let costs = format!(
            "/organizations/acme/usage/costs?product=copilot&since={}&until={}",
            day(29),
            day(0)
        );
        self.fill(recorded, count).await;
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (path, rates) in [limit, budget, &costs].into_iter().zip(&mut rates) {
                rates.push(self.rate(path).await);
            }
        }
        let times = rates.map(|mut rates| 1e6 / median(&mut rates));
        let small = *first.get_or_insert(times);
        let what = ["check of a limit", "check of a budget", "costs of 30 days"];
        for ((what, time), small) in what.into_iter().zip(times).zip(small) {
            let what = format!("{what}, {count} events / 1000");
            println!("{what:<58} {small:>12.0} {time:>12.0} {:>7.2}", time / small);
        }
    }

    /// Adds events of both series, spread over the 30 days before the start, until there are so many.
    /// Their distinct costs are the same in each thousand.
    async fn fill(&self, from: usize, to: usize) {
        for n in (from / BATCH)..(to / BATCH) {
            let day = TimeDelta::days((n * 7 % 30) as i64) + TimeDelta::hours(1);
            let now = self.local.app.clock.now();
            for (metric, product) in [("checked", ""), ("cost-copilot", "copilot")] {
                let events: Value = (0..BATCH)
                    .map(|one| {
                        let at = if from == 0 { TimeDelta::days((one % 30) as i64) } else { day };
                        let at = self.start - at - TimeDelta::microseconds(one as i64 * 59_999);
                        let mut event = json!({
                            "metric": metric, "unit": "usd", "quantity": 1, "observed_at": at,
                            "idempotency_key": self.local.app.random.uuid(now),
                            "dims": {"model": format!("m{}", one / 30 % 4)},
                        });
                        if metric == "checked" {
                            event.as_object_mut().unwrap().remove("unit");
                        } else {
                            event["product"] = json!(product);
                        }
                        event
                    })
                    .collect();
                let path = "/organizations/acme/usage";
                self.local.ask(Method::POST, path, &events, 200).await;
            }
        }
    }

    /// Reads per second.
    async fn rate(&self, path: &str) -> f64 {
        let once = async || self.local.ask(Method::GET, path, &Value::Null, 200).await;
        per_second(ROUND / 2, once).await
    }

    /// The entity tag and the body of an answer, without a network.
    async fn answer_of(&self, path: &str) -> (String, axum::body::Bytes) {
        let request = Request::get(path).header("authorization", format!("Bearer {}", self.token));
        let request = request.body(Body::empty()).unwrap();
        let answer = self.local.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
        (tag, axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap())
    }
}

/// Prints two rates, and how much more the second one costs.
fn cost(what: &str, before: &mut [f64], after: &mut [f64]) {
    let (before, after) = (median(before), median(after));
    println!("{what:<58} {before:>12.0} {after:>12.0} {:>7.2}", before / after);
}
