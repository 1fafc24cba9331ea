//! What seats cost, as ratios in the same run:
//!
//! - a claim against a bare conditional update and insert, a heartbeat against a bare conditional
//!   update, and a refusal against the license itself,
//! - the same in a pool with a million live leases against one with a thousand,
//! - 32 clients on one pool against 32 clients on a pool each,
//! - a claim with a lease token against a raw signature,
//! - a check-in without a signature, and a validation, against whoami without its cache.
//!
//! On SQLite with `synchronous=FULL`, and on the empty database that `CP_BENCH_POSTGRES` names.
//! Measurements of one comparison are interleaved, and medians compared: machines drift.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure has nothing to say")]

mod measure;

use std::cell::Cell;
use std::time::Duration;

use axum::http::Method;
use chrono::TimeDelta;
use cp_server::kernel::clock::{Clock, ManualClock};
use cp_server::kernel::db::Db;
use cp_server::licensing::keys::signer::{LocalKey, Signer};
use futures_util::future::join_all;
use serde_json::{Value, json};

use self::measure::local::{Local, on_each_database, resident};
use self::measure::rounds::per_second;
use self::measure::rows::{median, row};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(500);
/// The clients that claim at once.
const CLIENTS: u32 = 32;

fn main() {
    on_each_database(measure);
}

async fn measure(name: &'static str, url: &str) {
    // PostgreSQL has one connection for each of the clients at once.
    let connections = (name == "PostgreSQL").then_some(CLIENTS + 1);
    let bench = Bench::new(Db::open_with(url, connections).await.unwrap()).await;
    println!("{name:<58} {:>12} {:>12} {:>7}", "limit/s", "ours/s", "ratio");
    bench.beside_whoami().await;
    bench.beside_bare_statements().await;
    bench.beside_a_signature().await;
    bench.contention().await;
    let mut first = None;
    for (pool, count) in [("small", 1_000), ("large", 1_000_000)] {
        bench.fill(pool, count).await;
        let rates = bench.at_size(pool, count).await;
        let [claim, heartbeat, refusal] = rates;
        let [c, h, r] = *first.get_or_insert(rates);
        println!(
            "{:<58} {:>12.2} {:>12.2} {:>7.2}",
            format!("release and claim, heartbeat, refusal at {count} / 1000"),
            claim / c,
            heartbeat / h,
            refusal / r
        );
        println!("{:<58} {:>12}", format!("resident memory at {count}, KiB"), resident());
    }
}

struct Bench {
    local: Local,
    clock: ManualClock,
    org: String,
    license: String,
    next: Cell<u64>,
}

impl Bench {
    async fn new(db: Db) -> Self {
        let (clock, hand) = Clock::manual(Clock::system().now());
        let local = Local::at(db, clock).await;
        let org = local.create("/organizations", json!({"name": "Acme"})).await;
        let org = format!("/organizations/{org}");
        let plan = json!({"plan_code": "team"});
        local.call(Method::POST, &format!("{org}/subscriptions"), plan).await;
        let (license, next) = (String::new(), Cell::new(0));
        let bench = Self { local, clock: hand, org, license, next };
        let pool = |cap: Value| json!({"kind": "floating", "cap": cap, "ttl_seconds": 2_678_400});
        let leasing = json!({
            "leasing": {"open": pool(json!(null)), "full": pool(json!(1)),
                        "small": pool(json!(1_000)), "large": pool(json!(1_000_000))},
        });
        Self { license: bench.licensed("main", leasing).await, ..bench }
    }

    /// A deployment with a license.
    async fn licensed(&self, name: &str, license: Value) -> String {
        let deployment = json!({"name": name, "type": "cloud"});
        let path = format!("{}/deployments", self.org);
        let deployment = self.local.create(&path, deployment).await;
        self.local.create(&format!("/deployments/{deployment}/licenses"), license).await
    }

    /// Clients that release their seat and claim it again: on one pool, and on a pool each.
    async fn contention(&self) {
        let pools = json!({"leasing": {"shared": {"kind": "floating", "cap": null}}});
        let mut licenses = Vec::new();
        for n in 0..CLIENTS {
            licenses.push(self.licensed(&format!("apart {n}"), pools.clone()).await);
        }
        let shared = vec![licenses[0].clone(); licenses.len()];
        let (mut apart, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            apart.push(self.turnovers(&licenses).await);
            ours.push(self.turnovers(&shared).await);
        }
        row("release and claim: 32 clients on one pool / on 32", apart, ours);
    }

    /// The releases and claims per second of one client for each license.
    async fn turnovers(&self, licenses: &[String]) -> f64 {
        let clients = licenses.iter().enumerate().map(async |(n, license)| {
            let path = format!("/licenses/{license}/leases");
            let body = json!({"pool": "shared", "holder": {"id": format!("client-{n}")}});
            let turn = async || {
                let lease = self.local.create(&path, body.clone()).await;
                let lease = format!("/leases/{lease}");
                self.call(Method::DELETE, &lease, json!(null)).await;
            };
            per_second(ROUND, turn).await
        });
        join_all(clients).await.into_iter().sum()
    }

    async fn beside_bare_statements(&self) {
        let mut tx = self.local.app.db.begin().await.unwrap();
        let sql = "CREATE TABLE bare (n BIGINT PRIMARY KEY, holder TEXT, expires_at TEXT)";
        tx.q(sql).exec().await.unwrap();
        let sql = "CREATE TABLE bare_log (id TEXT PRIMARY KEY, holder TEXT, at TEXT)";
        tx.q(sql).exec().await.unwrap();
        for n in 0..1000_i64 {
            tx.q("INSERT INTO bare VALUES ($1, 'a', '0')").bind(n).exec().await.unwrap();
        }
        tx.commit().await.unwrap();
        let full = self.claim("full").await;
        let heartbeat = self.paced(full["id"].as_str().unwrap().parse().unwrap()).await;
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(per_second(ROUND, async || self.bare(true).await).await);
            ours.push(per_second(ROUND, async || drop(self.claim("open").await)).await);
        }
        row("claim / bare conditional update and insert", bare, ours);
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(per_second(ROUND, async || self.bare(false).await).await);
            ours.push(per_second(ROUND, async || self.beat(&heartbeat).await).await);
        }
        row("heartbeat / bare conditional update", bare, ours);
        let (mut read, mut ours) = (Vec::new(), Vec::new());
        let license = format!("/licenses/{}", self.license);
        for _ in 0..ROUNDS {
            let get = async || {
                self.call(Method::GET, &license, json!(null)).await;
            };
            read.push(per_second(ROUND, get).await);
            ours.push(per_second(ROUND, async || self.is_refused("full").await).await);
        }
        row("refusal of a full pool / the license", read, ours);
    }

    /// Claims that return a lease token, and signatures of one core.
    async fn beside_a_signature(&self) {
        let (key, message) = (LocalKey::generate(2048).unwrap(), vec![b'x'; 1024]);
        let (mut raw, mut ours) = (Vec::new(), Vec::new());
        let path = format!("/licenses/{}/leases", self.license);
        for _ in 0..ROUNDS {
            raw.push(per_second(ROUND, async || drop(key.sign(&message).unwrap())).await);
            let claim = async || {
                let holder = json!({"id": format!("holder-{}", self.number())});
                let body = json!({"pool": "open", "holder": holder, "token": true});
                assert!(self.call(Method::POST, &path, body).await["token"].is_string());
            };
            ours.push(per_second(ROUND, claim).await);
        }
        row("claim with a token / RSA-2048 signature, one core", raw, ours);
    }

    /// Check-ins and validations, and whoami without its cache.
    async fn beside_whoami(&self) {
        let user = self.call(Method::POST, "/users", json!({"email": "anna@acme.example"})).await;
        let user = user["id"].as_str().unwrap();
        let link = json!({"provider": "auth0", "subject": "anna"});
        self.call(Method::POST, &format!("/users/{user}/auth-accounts"), link).await;
        let seat = json!({"user_id": user, "role": "member"});
        self.call(Method::POST, &format!("{}/memberships", self.org), seat).await;
        let license = format!("/licenses/{}", self.license);
        let deployment =
            self.call(Method::GET, &license, json!(null)).await["deployment_id"].clone();
        let bundle = self.call(Method::POST, &format!("{license}/bundles"), json!({})).await;
        let key =
            self.call(Method::POST, &format!("{license}/keys"), json!({})).await["key"].clone();
        let check_in = format!("/deployments/{}/check-in", deployment.as_str().unwrap());
        let (mut limits, mut answers, mut validations) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let whoami = async || {
                self.local.app.rights.advance(None);
                let path = "/users/whoami?provider=auth0&subject=anna";
                self.call(Method::GET, path, json!(null)).await;
            };
            limits.push(per_second(ROUND, whoami).await);
            let silent = async || {
                let body = json!({"jti": bundle["jti"]});
                self.call(Method::POST, &check_in, body).await;
            };
            answers.push(per_second(ROUND, silent).await);
            let validate = async || {
                self.call(Method::POST, "/licenses/validate", json!({"key": key})).await;
            };
            validations.push(per_second(ROUND, validate).await);
        }
        row("check-in without signature / whoami uncached", limits.clone(), answers);
        row("validation of a license key / whoami uncached", limits, validations);
    }

    /// A conditional update, and an insert, in one transaction.
    async fn bare(&self, inserts: bool) {
        let n = self.number();
        let row = i64::try_from(n % 1000).unwrap();
        let mut tx = self.local.app.db.begin().await.unwrap();
        let sql = "UPDATE bare SET holder = $2, expires_at = $3 WHERE n = $1 AND expires_at <= $3";
        let update = tx.q(sql).bind(row).bind(format!("holder-{n}"));
        update.bind(format!("{n:020}")).exec().await.unwrap();
        if inserts {
            let sql = "INSERT INTO bare_log VALUES ($1, $2, $3)";
            let id = self.local.app.random.uuid(self.local.app.clock.now()).to_string();
            tx.q(sql).bind(id).bind("a").bind("b").exec().await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Fills the pool with live leases, without the API: the claims themselves are measured.
    async fn fill(&self, pool: &str, count: i64) {
        let lease = self.claim(pool).await;
        let lease: uuid::Uuid = lease["id"].as_str().unwrap().parse().unwrap();
        let (random, now) = (&self.local.app.random, self.local.app.clock.now());
        let numbers: Vec<i64> = (2..=count).collect();
        for chunk in numbers.chunks(500) {
            let mut tx = self.local.app.db.begin().await.unwrap();
            let sql = "INSERT INTO lease_seats
                       (pool_id, n, lease_id, holder, holder_kind, label, meta, acquired_at,
                        heartbeat_at, ttl_seconds, expires_at, overage, free_at, organization_id,
                        license_id)
                       SELECT s.pool_id, v.column1, v.column2, v.column3, s.holder_kind, s.label,
                              s.meta, s.acquired_at, s.heartbeat_at, s.ttl_seconds, s.expires_at,
                              s.overage, s.free_at, s.organization_id, s.license_id
                       FROM lease_seats s, (VALUES ";
            let insert = tx.q(sql).rows(chunk, |query, n| {
                query.bind(*n).bind(random.uuid(now)).bind(format!("holder-of-{n}"))
            });
            insert.and(") AS v WHERE s.lease_id = ?", lease).exec().await.unwrap();
            tx.commit().await.unwrap();
        }
        let mut tx = self.local.app.db.begin().await.unwrap();
        let sql = "UPDATE lease_pools SET allocated = $2
                   WHERE id = (SELECT pool_id FROM lease_seats WHERE lease_id = $1)";
        tx.q(sql).bind(lease).bind(count).exec().await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Claims of a seat that was just released, heartbeats and refusals per second.
    async fn at_size(&self, pool: &str, count: i64) -> [f64; 3] {
        let sql = "SELECT lease_id FROM lease_seats s JOIN lease_pools p ON p.id = s.pool_id
                   WHERE p.name = $1 AND s.n = $2";
        let mut tx = self.local.app.db.read();
        let middle: Option<uuid::Uuid> =
            tx.q(sql).bind(pool).bind(count / 2).value().await.unwrap();
        drop(tx);
        let path = self.paced(middle.unwrap()).await;
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let claim = async || {
                self.call(Method::DELETE, &self.first(pool).await, json!(null)).await;
                self.claim(pool).await;
            };
            rates[0].push(per_second(ROUND, claim).await);
            rates[1].push(per_second(ROUND, async || self.beat(&path).await).await);
            rates[2].push(per_second(ROUND, async || self.is_refused(pool).await).await);
        }
        rates.map(|mut rates| median(&mut rates))
    }

    /// The path of a lease that now has a ttl of a minute, and its end.
    async fn paced(&self, lease: uuid::Uuid) -> String {
        let mut tx = self.local.app.db.begin().await.unwrap();
        let sql = "UPDATE lease_seats SET ttl_seconds = 60 WHERE lease_id = $1";
        tx.q(sql).bind(lease).exec().await.unwrap();
        tx.commit().await.unwrap();
        format!("/leases/{lease}")
    }

    /// The path of the lease on the first seat.
    async fn first(&self, pool: &str) -> String {
        let sql = "SELECT lease_id FROM lease_seats s JOIN lease_pools p ON p.id = s.pool_id
                   WHERE p.name = $1 AND s.n = 1";
        let lease: Option<uuid::Uuid> =
            self.local.app.db.read().q(sql).bind(pool).value().await.unwrap();
        format!("/leases/{}", lease.unwrap())
    }

    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    fn claims(&self) -> (String, Value) {
        let path = format!("/licenses/{}/leases", self.license);
        (path, json!({"id": format!("holder-{}", self.number())}))
    }

    async fn claim(&self, pool: &str) -> Value {
        let (path, holder) = self.claims();
        self.call(Method::POST, &path, json!({"pool": pool, "holder": holder})).await
    }

    async fn is_refused(&self, pool: &str) {
        let (path, holder) = self.claims();
        let body = json!({"pool": pool, "holder": holder});
        self.local.ask(Method::POST, &path, &body, 409).await;
    }

    async fn beat(&self, path: &str) {
        // Past the pace of a lease with a ttl of a minute: each heartbeat writes.
        self.clock.advance(TimeDelta::seconds(11));
        self.call(Method::PUT, path, json!({})).await;
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        self.local.call(method, path, body).await
    }
}
