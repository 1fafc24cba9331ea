//! What the log costs, as ratios measured in the same run:
//!
//! - a change with its event and its place in the tree against the same change and the same row without,
//! - the size of a proof, and the time to build it, in a log of a million events,
//! - verification against hashing the same texts, and nothing else.
//!
//! `cargo bench --bench log -- postgres://…` names an empty database for the other half; a number is another
//! size of the log.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure has nothing to say")]

mod measure;

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use cp_server::App;
use cp_server::audit::{Log, checkpoints, integrator, stored_hashes, verify};
use cp_server::kernel::access::caller::CallerKind;
use cp_server::kernel::access::ids::AuditEventId;
use cp_server::kernel::app::Part;
use cp_server::kernel::db::{Db, readonly};
use cp_server::kernel::journal::canonical::Text;
use cp_server::kernel::journal::leaf::{Event, LeafFacts, Source};
use cp_server::kernel::journal::store;
use cp_server::kernel::secret::sha256;
use serde_json::json;
use tlog_tiles::{node_hash, record_hash};
use uuid::Uuid;

use self::measure::local::{Local, is_test};
use self::measure::rounds::per_second;
use self::measure::rows::row;

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(500);

fn main() {
    if is_test() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/bench.db", folder.path().display());
        println!("{:<58} {:>12} {:>12} {:>7}", "", "limit/s", "ours/s", "ratio");
        let lite = open(&url).await;
        change(&lite, "SQLite, synchronous=FULL").await;
        if let Some(url) = std::env::args().find(|arg| arg.starts_with("postgres")) {
            change(&open(&url).await, "PostgreSQL").await;
        }
        let size = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
        fill(&lite, size).await;
        prove(&lite).await;
        replay(&lite, &url).await;
    });
}

async fn open(url: &str) -> App {
    Local::open(Db::open(url).await.unwrap()).await.app
}

/// A change is a row, its event, and a commit.
async fn change(app: &App, what: &str) {
    let mut tx = app.db.begin().await.unwrap();
    tx.q("CREATE TABLE changed (n BIGINT NOT NULL)").exec().await.unwrap();
    tx.q("INSERT INTO changed (n) VALUES (0)").exec().await.unwrap();
    // The same columns without a tree: nothing gives these events their places.
    let like = "CREATE TABLE plain_events AS SELECT * FROM audit_events WHERE FALSE";
    tx.q(like).exec().await.unwrap();
    tx.commit().await.unwrap();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(
            per_second(ROUND, async || {
                let mut tx = app.db.begin().await.unwrap();
                tx.q("UPDATE changed SET n = n + 1").exec().await.unwrap();
                plain(&mut tx, event(app, app.clock.now())).await;
                tx.commit().await.unwrap();
            })
            .await,
        );
        with.push(
            per_second(ROUND, async || {
                let mut tx = app.db.begin().await.unwrap();
                tx.q("UPDATE changed SET n = n + 1").exec().await.unwrap();
                let event = event(app, app.clock.now());
                store::insert(&mut tx, &app.random, vec![event]).await.unwrap();
                tx.commit().await.unwrap();
            })
            .await,
        );
    }
    row(&format!("a change with the log / without, {what}"), without, with);
    let started = Instant::now();
    let placed = integrator::integrate(app).await.unwrap();
    if placed > 0 {
        let rate = f64::from(u32::try_from(placed).unwrap()) / started.elapsed().as_secs_f64();
        println!("{:<58} {:>12} {rate:>12.0}", format!("{placed} places in arrears, {what}"), "");
    }
}

async fn plain(tx: &mut cp_server::kernel::db::Conn, event: Event) {
    let facts = &event.facts;
    let sql = "INSERT INTO plain_events
               (id, at, source, organization_id, action, target_type, target_id, occurred_at,
                actor_kind, actor_id, actor_name, before, after, request_id)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $2, $8, $9, $10, $11, $12, $13)";
    let insert = tx
        .q(sql)
        .bind(facts.id)
        .bind(facts.at)
        .bind(facts.source)
        .bind(facts.organization_id)
        .bind(&*facts.action)
        .bind(&*facts.target_type)
        .bind(&*facts.target_id)
        .bind(event.actor_kind)
        .bind(event.actor_id)
        .bind(&*event.actor_name)
        .bind(&event.before)
        .bind(&event.after)
        .bind(event.request_id.as_deref());
    insert.exec().await.unwrap();
}

/// An event as a change of a license leaves it.
fn event(app: &App, at: DateTime<Utc>) -> Event {
    let id = AuditEventId::new(&app.random, at);
    let state = |status: &str| {
        json!({
            "id": id, "organization_id": id, "deployment_id": id, "subscription_id": id,
            "status": status, "seat_cap": 25, "features": {"exports": true, "sso": false},
            "valid_from": at, "valid_until": null, "grace_days": 7, "revision": 4,
            "created_at": at, "updated_at": at, "external_id": "crm-4711",
        })
    };
    Event {
        facts: LeafFacts {
            id,
            at,
            source: Source::Server,
            organization_id: None,
            action: "licenses.suspend".into(),
            target_type: "license".into(),
            target_id: id.to_string(),
            commitment: None,
            jti: None,
            kid: None,
            token_sha256: None,
        },
        occurred_at: Some(at),
        actor_kind: CallerKind::ServiceToken,
        actor_id: Uuid::nil(),
        actor_name: "billing".into(),
        vouched_by: None,
        actor: None,
        project_id: None,
        before: Text::of(&state("active")),
        after: Text::of(&state("suspended")),
        metadata: None,
        reason: None,
        request_id: Some(id.to_string()),
        ip: None,
        seq: None,
        salt: None,
        erased_at: None,
    }
}

async fn fill(app: &App, size: u64) {
    let (started, mut at) = (Instant::now(), app.clock.now());
    loop {
        let mut tx = app.db.begin().await.unwrap();
        let before = store::tree(&mut tx).await.unwrap().size;
        if before >= size {
            break;
        }
        for _ in 0..10 {
            let events = (0..500).map(|_| {
                at += TimeDelta::microseconds(1);
                event(app, at)
            });
            store::insert(&mut tx, &app.random, events.collect()).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    println!("{size} events written in {:.0} s", started.elapsed().as_secs_f64());
}

async fn prove(app: &App) {
    let signed = checkpoints::current(app).await.unwrap();
    let mut tx = app.db.read();
    let (mut n, mut size, started) = (1_u64, 0, Instant::now());
    for i in 0..500_u64 {
        // Here and there, so that no page is the one that was read just now.
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i) % signed.size;
        let path = stored_hashes::proven(&mut tx, |hashes| {
            tlog_tiles::prove_record(signed.size, n, hashes)
        });
        size = path.await.unwrap().len();
    }
    let each = started.elapsed().as_secs_f64() * 1e6 / 500.0;
    println!(
        "a proof of {} events: {size} hashes, {} bytes of base64, {each:.0} µs",
        signed.size,
        size * 45
    );
}

async fn replay(app: &App, url: &str) {
    let mut tx = readonly::snapshot(url).await.unwrap();
    let key = Log::of(app).key(app, &mut tx).await.unwrap();
    let evidence = verify::Evidence { tx, key };
    let started = Instant::now();
    let report = verify::verify(evidence, None, false, |_, _| {}).await.unwrap();
    let ours = f64::from(u32::try_from(report.size).unwrap()) / started.elapsed().as_secs_f64();
    // The bare limit: the same texts are hashed, and nothing else is done.
    let mut one = event(app, app.clock.now());
    one.facts.commitment = Some(vec![7; 32]);
    let text = format!("{}{}{}", one.before.as_str(), one.after.as_str(), one.facts.id);
    let content = vec![b'x'; text.len() + 420];
    let leaf = one.facts.leaf(999_999);
    let (started, mut n) = (Instant::now(), 0_u32);
    let mut root = record_hash(b"");
    while started.elapsed() < ROUND * 2 {
        for _ in 0..100 {
            root = node_hash(root, record_hash(&leaf));
            root.0[0] ^= sha256(&content)[0];
        }
        n += 100;
    }
    std::hint::black_box(root);
    let limit = f64::from(n) / started.elapsed().as_secs_f64();
    row("events verified / the same texts hashed, one core", vec![limit], vec![ours]);
}
