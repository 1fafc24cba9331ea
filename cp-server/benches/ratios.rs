//! What the server costs, as ratios against a limit in the same run:
//!
//! - issuing a bundle (rules, claims, check, JSON, signature, hash) against the bare RSA signature,
//! - issuing over HTTP, durably, by 32 callers, and in bulk, against signing on all cores,
//! - whoami and the JWKS over HTTP against a bare axum server on the same loopback.
//!
//! Measurements of one comparison are interleaved, and medians compared: machines drift.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure has nothing to say")]

mod measure;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use chrono::{DateTime, Utc};
use cp_server::client::Client;
use cp_server::kernel::access::caller::Caller;
use cp_server::kernel::app::Part;
use cp_server::kernel::db::Db;
use cp_server::kernel::http::cx::Cx;
use cp_server::licensing::ids::LicenseId;
use cp_server::licensing::issuance::{self, LicenseFacts, NewBundle};
use cp_server::licensing::keys::signer::{LocalKey, Signer};
use cp_server::licensing::status_lists::StatusLists;
use cp_server::{App, server};
use serde_json::{Map, Value, json};

use self::measure::connection::request;
use self::measure::local::{Local, is_test};
use self::measure::network::{load, serve};
use self::measure::rows::row;

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);

fn main() {
    if is_test() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder.path().join("bench.db")).await;
    println!("{:<58} {:>12} {:>12} {:>7}", "", "limit/s", "ours/s", "ratio");
    signing(&world).await;
    over_http(&world).await;
}

/// One core, one at a time: rules, claims, JSON, the check, the signature and the hash.
async fn signing(world: &World) {
    let key: Arc<dyn Signer> = Arc::new(LocalKey::generate(2048).unwrap());
    let message = vec![b'x'; 2048];
    let (facts, now) = world.facts().await;
    let new = NewBundle::default();
    let entry = StatusLists::of(&world.app).take(&world.app).await.unwrap();
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raw.push(per_second(|| drop(key.sign(&message).unwrap())));
        ours.push(per_second(|| {
            drop(issuance::make(&world.app, now, &facts, &new, entry.clone()).unwrap());
        }));
    }
    row("issue one bundle, in memory / RSA-2048 signature, one core", raw, ours);
}

async fn over_http(world: &World) {
    let (address, _serving) = serve(server::router(&world.app)).await;
    let bare = Router::new().route("/", get(|| async { "{}" }));
    let (bare, _bare) = serve(bare).await;
    let token = world.token.clone();

    let whoami =
        request("GET", "/api/v1/users/whoami?provider=auth0&subject=auth0%7Canna", &token, "");
    let jwks = request("GET", "/api/v1/.well-known/jwks.json", &token, "");
    let issue =
        request("POST", &format!("/api/v1/licenses/{}/bundles", world.license), &token, "{}");
    let root = request("GET", "/", &token, "");
    let list = request("GET", &world.status_list().await, &token, "");

    let (mut limits, mut answers, mut documents) = (Vec::new(), Vec::new(), Vec::new());
    let mut lists = Vec::new();
    for _ in 0..ROUNDS {
        limits.push(load(bare, &root, 16, ROUND).await);
        answers.push(load(address, &whoami, 16, ROUND).await);
        documents.push(load(address, &jwks, 16, ROUND).await);
        lists.push(load(address, &list, 16, ROUND).await);
    }
    row("whoami over HTTP, 5 memberships / bare axum", limits.clone(), answers);
    row("JWKS over HTTP / bare axum", limits.clone(), documents);
    row("status list over HTTP / bare axum", limits, lists);

    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let key: Arc<dyn Signer> = Arc::new(LocalKey::generate(2048).unwrap());
    let (mut limits, mut singles, mut bulks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        limits.push(on_all_cores(&key, cores));
        singles.push(load(address, &issue, 32, ROUND).await);
        bulks.push(world.bulk().await);
    }
    row("issue over HTTP, durable, 32 callers / signing, all cores", limits.clone(), singles);
    row("issue in bulk, rows and audit / signing, all cores", limits, bulks);
}

/// A server's worth of data on a real file, with `synchronous=FULL`.
struct World {
    app: App,
    client: Client,
    token: String,
    license: LicenseId,
}

impl World {
    async fn new(path: &std::path::Path) -> Self {
        let db = Db::open(&format!("sqlite:{}", path.display())).await.unwrap();
        let local = Local::open(db).await;
        let (token, app) = (local.token().await, local.app);
        let client = Client::local(app.clone());
        let license = fill(&client).await;
        Self { app, client, token, license }
    }

    async fn facts(&self) -> (LicenseFacts, DateTime<Utc>) {
        let mut cx = Cx::outside(&self.app, Caller::system("bench"), (), self.app.db.read());
        let facts = issuance::facts(&mut cx, self.license).await.unwrap();
        (facts, cx.now)
    }

    /// The path of a status list.
    async fn status_list(&self) -> String {
        let entry = StatusLists::of(&self.app).take(&self.app).await.unwrap();
        entry.uri.strip_prefix("http://127.0.0.1:8801").unwrap().to_owned()
    }

    /// Bundles per second of one bulk request over 1,000 licenses.
    async fn bulk(&self) -> f64 {
        let started = Instant::now();
        let line = cp_server::client::line("bundles.issue_many").unwrap();
        let reply = self.client.request(&line, object(json!({"filter": {}}))).await.unwrap();
        let lines = reply.body.split(|b| *b == b'\n').filter(|l| l.starts_with(b"{")).count();
        lines as f64 / started.elapsed().as_secs_f64()
    }
}

/// Anna in five workspaces, and 1,000 licensed deployments.
async fn fill(client: &Client) -> LicenseId {
    let call = async |name: &str, args: Value| client.call(name, object(args)).await.unwrap();
    let org =
        call("organizations.create", json!({"name": "Acme", "owner": "anna@acme.example"})).await;
    let user = org["owner_user_id"].clone();
    call("users.link", json!({"id": user, "provider": "auth0", "subject": "auth0|anna"})).await;
    for n in 1..=5 {
        let new = json!({"org": org["id"], "name": format!("Workspace {n}")});
        let workspace = call("workspaces.create", new).await;
        let seat = json!({"id": workspace["id"], "user_id": user, "role": "admin"});
        call("workspaces.add_member", seat).await;
    }
    let new = json!({"org": org["id"], "plan_code": "team"});
    let subscription = call("subscriptions.create", new).await;
    let mut license = Value::Null;
    for n in 0..1000 {
        let new = json!({"org": org["id"], "name": format!("dp-{n}"), "type": "onprem"});
        let deployment = call("deployments.create", new).await;
        let new = json!({"id": deployment["id"], "subscription_id": subscription["id"]});
        license = call("licenses.create", new).await;
    }
    license["id"].as_str().unwrap().parse().unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn per_second(mut once: impl FnMut()) -> f64 {
    let (started, mut n) = (Instant::now(), 0_u32);
    while started.elapsed() < ROUND {
        once();
        n += 1;
    }
    f64::from(n) / started.elapsed().as_secs_f64()
}

fn on_all_cores(key: &Arc<dyn Signer>, cores: usize) -> f64 {
    let message = vec![b'x'; 2048];
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|_| scope.spawn(|| per_second(|| drop(key.sign(&message).unwrap()))))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}
