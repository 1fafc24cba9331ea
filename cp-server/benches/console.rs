//! What pages of the console cost, with 10^5 licenses and 10^6 usage events:
//!
//! - the median and the 99th percentile of the time of each page in the server,
//! - pages against the reads that they show, over the API,
//! - whoami beside 20 people who click once a second, against whoami alone,
//! - the bytes of pages and of their files, as sent and compressed.
//!
//! On SQLite with `synchronous=FULL`, and on the empty database that `CP_BENCH_POSTGRES` names.
//! Measurements of one comparison are interleaved, and medians compared: machines drift.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure has nothing to say")]

mod measure;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request};
use chrono::TimeDelta;
use cp_server::backup::tables;
use cp_server::identity::bootstrap::{Handover, bootstrap};
use cp_server::kernel::db::Db;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use self::measure::connection::{Connection, request};
use self::measure::local::{Local, on_each_database};
use self::measure::network::{load, serve};
use self::measure::rounds::per_second;
use self::measure::rows::row;

const TOKEN: &str = "bootstrap-token-of-the-console";
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);
const LICENSES: usize = 100_000;
const EVENTS: usize = 1_000_000;
/// The requests of a percentile.
const SAMPLES: usize = 1_000;
const PEOPLE: usize = 20;

fn main() {
    on_each_database(measure);
}

async fn measure(name: &'static str, url: &str) {
    let bench = Bench::new(Db::open(url).await.unwrap()).await;
    bench.fill().await;
    println!("\n{name:<58} {:>12} {:>12} {:>12}", "p50, ms", "p99, ms", "bytes");
    for (title, path) in bench.pages() {
        bench.times(title, &path).await;
    }
    bench.files().await;
    println!("\n{name:<58} {:>12} {:>12} {:>7}", "API/s", "page/s", "ratio");
    bench.beside_the_api().await;
    println!("\n{name:<58} {:>12} {:>12} {:>7}", "alone/s", "beside/s", "ratio");
    bench.whoami_beside_people().await;
}

struct Bench {
    local: Local,
    org: String,
    subscription: String,
    deployment: Uuid,
    license: Uuid,
}

fn key(value: &Value) -> Uuid {
    value["id"].as_str().unwrap().parse().unwrap()
}

impl Bench {
    async fn new(db: Db) -> Self {
        let local = Local::open(db).await;
        bootstrap(&local.app, Handover::Own(TOKEN)).await.unwrap();
        let (org, subscription) = (String::new(), String::new());
        let (deployment, license) = (Uuid::nil(), Uuid::nil());
        let bench = Self { local, org, subscription, deployment, license };
        let org = bench.post("/organizations", json!({"name": "Acme"})).await;
        let org = format!("/organizations/{}", key(&org));
        let plan = json!({"plan_code": "team"});
        let subscription = bench.post(&format!("{org}/subscriptions"), plan).await;
        let deployment = json!({"name": "first", "type": "cloud", "region": "eu-1"});
        let deployment = key(&bench.post(&format!("{org}/deployments"), deployment).await);
        let license = bench.post(&format!("/deployments/{deployment}/licenses"), json!({})).await;
        bench.post(&format!("/licenses/{}/bundles", key(&license)), json!({})).await;
        let user = bench.post("/users", json!({"email": "anna@acme.example"})).await;
        let link = json!({"provider": "auth0", "subject": "anna"});
        bench.post(&format!("/users/{}/auth-accounts", key(&user)), link).await;
        let seat = json!({"user_id": key(&user), "role": "member"});
        bench.post(&format!("{org}/memberships"), seat).await;
        let (subscription, license) = (key(&subscription).to_string(), key(&license));
        Self { org, subscription, deployment, license, ..bench }
    }

    /// Copies the license, and records the usage of 30 days.
    async fn fill(&self) {
        let now = self.local.app.clock.now();
        let ids: Vec<[Uuid; 2]> = (1..LICENSES)
            .map(|_| [self.local.app.random.uuid(now), self.local.app.random.uuid(now)])
            .collect();
        for chunk in ids.chunks(500) {
            self.copy("deployments", self.deployment, ["id", "name"], chunk, |[deployment, _]| {
                (*deployment, deployment.to_string())
            })
            .await;
            self.copy("licenses", self.license, ["id", "deployment_id"], chunk, |ids| {
                (ids[1], ids[0])
            })
            .await;
        }
        let month = TimeDelta::days(30).num_seconds();
        let numbers: Vec<usize> = (0..EVENTS).collect();
        for chunk in numbers.chunks(1000) {
            // Each request has its own hour.
            let hour = (chunk[0] / 1000 * 7919 * 60) as i64 % month;
            let event = |n: &usize| {
                let at = now - TimeDelta::seconds(hour) - TimeDelta::milliseconds(*n as i64 % 1000);
                json!({"metric": "runs", "quantity": 1, "observed_at": at})
            };
            let events: Value = chunk.iter().map(event).collect();
            self.post(&format!("{}/usage", self.org), events).await;
        }
        let limit = json!({"metric": "runs", "quantity": 2_000_000, "window": "calendar"});
        self.call(Method::PUT, &format!("/api/v1{}/limits", self.org), limit).await;
    }

    /// Copies a row, each time with two values of its own.
    async fn copy<T: for<'q> cp_server::kernel::db::values::Value<'q>>(
        &self,
        table: &str,
        row: Uuid,
        own: [&str; 2],
        chunk: &[[Uuid; 2]],
        values: impl Fn(&[Uuid; 2]) -> (Uuid, T),
    ) {
        let mut conn = self.local.app.db.snapshot().await.unwrap();
        let all = tables::all(&mut conn).await.unwrap();
        drop(conn);
        let table = all.iter().find(|one| one.name == table).unwrap();
        let names = table.columns.iter().map(|column| column.name.as_str());
        let others: Vec<&str> = names.filter(|name| !own.contains(name)).collect();
        let (name, others, [first, second]) = (&table.name, others.join(", "), own);
        // One statement for each table: the process ends soon.
        let sql = format!(
            "INSERT INTO {name} ({first}, {second}, {others}) \
             SELECT v.column1, v.column2, {others} FROM {name} s, (VALUES "
        );
        let mut tx = self.local.app.db.begin().await.unwrap();
        let insert = tx.q(sql.leak()).rows(chunk, |query, ids| {
            let (first, second) = values(ids);
            query.bind(first).bind(second)
        });
        insert.and(") AS v WHERE s.id = ?", row).exec().await.unwrap();
        tx.commit().await.unwrap();
    }

    fn pages(&self) -> [(&'static str, String); 7] {
        let org = &self.org;
        [
            ("list of the licenses of an organization", format!("/console{org}/licenses")),
            ("list of all licenses", "/console/licenses".to_owned()),
            ("license", format!("/console/licenses/{}", self.license)),
            ("overview of the platform", "/console".to_owned()),
            ("organization", format!("/console{org}")),
            ("usage and limits", format!("/console{org}/limits")),
            ("audit log", "/console/audit".to_owned()),
        ]
    }

    /// The times of a page in the server, and its bytes.
    async fn times(&self, title: &str, path: &str) {
        let bytes = self.get(path).await.len();
        let mut times = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            let started = Instant::now();
            self.get(path).await;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let (p50, p99) = (times[SAMPLES / 2], times[SAMPLES * 99 / 100]);
        println!("{title:<58} {p50:>12.2} {p99:>12.2} {bytes:>12}");
    }

    /// The files that the pages name: their bytes, and compressed.
    async fn files(&self) {
        let page = String::from_utf8(self.get("/console").await).unwrap();
        let names =
            page.split("/console/assets/").skip(1).map(|rest| rest.split('"').next().unwrap());
        println!("{:<58} {:>12} {:>12}", "files of a page", "plain", "gzip");
        for name in names {
            let plain = self.get(&format!("/console/assets/{name}")).await;
            let mut zip = GzEncoder::new(Vec::new(), Compression::best());
            zip.write_all(&plain).unwrap();
            println!("{name:<58} {:>12} {:>12}", plain.len(), zip.finish().unwrap().len());
        }
    }

    /// Pages beside the reads that they show.
    async fn beside_the_api(&self) {
        let (org, license) = (&self.org, self.license);
        let id = org.rsplit('/').next().unwrap();
        let list = vec!["/me".to_owned(), org.clone(), format!("{org}/licenses?limit=50")];
        let one = vec![
            "/me".to_owned(),
            format!("/licenses/{license}"),
            org.clone(),
            format!("/deployments/{}", self.deployment),
            format!("/subscriptions/{}", self.subscription),
            "/plans/team/versions".to_owned(),
            format!("/licenses/{license}/bundles?limit=4"),
            format!("/licenses/{license}/pools"),
            format!("/organizations/{id}/audit?limit=8&target={license}"),
            format!("/licenses/{license}/verdict"),
        ];
        let pages = [
            ("list of licenses / its reads", format!("/console{org}/licenses"), list),
            ("license / its reads", format!("/console/licenses/{license}"), one),
        ];
        for (title, page, reads) in pages {
            let (mut api, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let all = async || {
                    for read in &reads {
                        self.get(&format!("/api/v1{read}")).await;
                    }
                };
                api.push(per_second(ROUND, all).await);
                ours.push(per_second(ROUND, async || drop(self.get(&page).await)).await);
            }
            row(title, api, ours);
        }
    }

    /// whoami on connections of its own, while people click.
    async fn whoami_beside_people(&self) {
        let (address, _serving) = serve(self.local.router.clone()).await;
        let whoami = request("GET", "/api/v1/users/whoami?provider=auth0&subject=anna", TOKEN, "");
        let pages = self.pages().map(|(_, path)| request("GET", &path, TOKEN, ""));
        let pages = Arc::new(pages);
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        let time = Duration::from_secs(2);
        for _ in 0..ROUNDS {
            alone.push(load(address, &whoami, 8, time).await);
            let stop = Arc::new(AtomicBool::new(false));
            for n in 0..PEOPLE {
                let (pages, stop) = (pages.clone(), stop.clone());
                std::thread::spawn(move || click(address, n, &pages[..], &stop));
            }
            beside.push(load(address, &whoami, 8, time).await);
            stop.store(true, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        row("whoami beside 20 people / alone", alone, beside);
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, &format!("/api/v1{path}"), body).await
    }

    async fn get(&self, path: &str) -> Vec<u8> {
        self.send(Method::GET, path, String::new()).await
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.send(method, path, body.to_string()).await;
        serde_json::from_slice(&answer).unwrap_or_default()
    }

    /// Calls as a client does, without a network.
    async fn send(&self, method: Method, path: &str, body: String) -> Vec<u8> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/json")
            .header("accept", "text/html, application/json")
            .body(Body::from(body))
            .unwrap();
        let response = self.local.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        body.to_vec()
    }
}

/// A person who opens a page each second, one after the other.
fn click(address: SocketAddr, n: usize, pages: &[String], stop: &AtomicBool) {
    let mut connection = Connection::to(address);
    std::thread::sleep(Duration::from_millis(1000 * n as u64 / PEOPLE as u64));
    for page in pages.iter().cycle().skip(n) {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        assert_eq!(connection.ask(page).0, 200);
        std::thread::sleep(Duration::from_secs(1));
    }
}
