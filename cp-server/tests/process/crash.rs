//! kill -9 at any moment, under load, again and again: nothing that was acknowledged is lost, nothing is
//! half done, and the next start needs no operator.
//!
//! A few rounds by default; `CP_CRASH_ROUNDS=200` for the long run, `CP_CRASH_SEED` for the same moments
//! again.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cp_server::kernel::db::Db;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::server::{KEK, Server, command, folder};

/// How many callers there are on each server.
const CALLERS: usize = 3;
/// How long a start may take on a machine that has much else to do; what it took is printed.
const START: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "the long run is asked for by the environment")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Moments that are the same again for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        // Knuth's MMIX generator; its high bits are good enough to choose a moment.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A change that was acknowledged: where, under which key, what was sent and what came back.
type Acknowledged = (String, String, Value, Value);

/// Some servers on one database.
struct Fleet<'a> {
    folder: &'a Path,
    database: String,
    servers: Vec<Server>,
    slowest: Duration,
}

impl<'a> Fleet<'a> {
    fn start(folder: &'a Path, database: String, servers: usize) -> Self {
        let mut fleet = Self { folder, database, servers: Vec::new(), slowest: Duration::ZERO };
        for _ in 0..servers {
            let server = fleet.one();
            fleet.servers.push(server);
        }
        fleet
    }

    fn one(&mut self) -> Server {
        let begun = Instant::now();
        let mut command: Command = command(self.folder);
        command
            .env("CP_DATABASE_URL", &self.database)
            .env("CP_KEY_ENCRYPTION_KEY", KEK)
            .env("CP_RATE_LIMITS", "false")
            .env("CP_LOG", "warn,cp_server::cli=info");
        let server = Server::run(command.arg("serve"));
        let (status, _) = server.call("GET", "/readyz", None, "x");
        assert_eq!(status, 200);
        self.slowest = self.slowest.max(begun.elapsed());
        assert!(begun.elapsed() < START, "the start took {:?}", begun.elapsed());
        server
    }

    /// Callers change things until the victims are killed. Gives what was acknowledged.
    fn round(&mut self, round: u64, bundles: &str, dice: &mut Dice) -> Vec<Acknowledged> {
        let victims: Vec<usize> = match self.servers.len() {
            1 => vec![0],
            // Seldom all of them at once.
            many if dice.below(4) == 0 => (0..many).collect(),
            many => vec![usize::try_from(dice.below(many as u64)).unwrap()],
        };
        let moment = Duration::from_micros(dice.below(250_000));
        let acknowledged = Mutex::new(Vec::new());
        let has_ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (at, server) in self.servers.iter().enumerate() {
                for caller in 0..CALLERS {
                    let (acknowledged, has_ended) = (&acknowledged, &has_ended);
                    scope.spawn(move || {
                        for n in 0.. {
                            let key = format!("{round}-{at}-{caller}-{n}");
                            let (path, body) = match n % 2 {
                                0 => (format!("/api/v1{bundles}"), json!({})),
                                _ => (
                                    "/api/v1/users".to_owned(),
                                    json!({"email": format!("{key}@x.example")}),
                                ),
                            };
                            match server.try_call("POST", &path, Some(body.clone()), &key) {
                                Ok((201, made)) => {
                                    acknowledged.lock().unwrap().push((path, key, body, made));
                                }
                                Ok((status, problem)) => {
                                    assert!(
                                        status == 503 || has_ended.load(Ordering::SeqCst),
                                        "{status}: {problem}"
                                    );
                                }
                                Err(_) => break,
                            }
                            if has_ended.load(Ordering::SeqCst) {
                                break;
                            }
                        }
                    });
                }
            }
            // A moment, whichever it is: nothing waits for it.
            std::thread::sleep(moment);
            for at in &victims {
                self.servers[*at].signal(Signal::KILL);
            }
            has_ended.store(true, Ordering::SeqCst);
        });
        for at in victims {
            self.servers[at].wait();
            self.servers[at] = self.one();
        }
        acknowledged.into_inner().unwrap()
    }

    /// Everything that was acknowledged is there, as it was answered.
    fn check(&self, acknowledged: &[Acknowledged]) {
        for (n, (path, key, body, made)) in acknowledged.iter().enumerate() {
            let server = &self.servers[n % self.servers.len()];
            let (status, replayed) = server.call("POST", path, Some(body.clone()), key);
            assert_eq!((status, &replayed), (201, made), "{key}");
        }
    }
}

/// No change without its event, no event without its change, and a sound file.
pub fn check_whole(database: &str) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Db::open(database).await.unwrap();
        let mut conn = db.snapshot().await.unwrap();
        for (what, events) in [
            ("SELECT COUNT(*) FROM bundles", "bundles.issue"),
            ("SELECT COUNT(*) FROM users", "users.upsert"),
        ] {
            let things: Option<i64> = conn.q(what).value().await.unwrap();
            let sql = "SELECT COUNT(*) FROM audit_events WHERE action = $1";
            let events: Option<i64> = conn.q(sql).bind(events).value().await.unwrap();
            assert_eq!(things, events, "{what}");
        }
        if let Db::Sqlite { .. } = &db {
            let sql = "SELECT quick_check FROM pragma_quick_check";
            let sound: Option<String> = conn.q(sql).value().await.unwrap();
            assert_eq!(sound.as_deref(), Some("ok"));
        }
        drop(conn);
        let events = leaves(&db).await;
        db.close().await;
        events
    })
}

/// Every event is a leaf, in a sequence without gaps. On PostgreSQL one server at a time gives them their
/// places, and another goes on when that is killed.
async fn leaves(db: &Db) -> i64 {
    let begun = Instant::now();
    loop {
        let mut conn = db.snapshot().await.unwrap();
        let sql = "SELECT COUNT(*), COUNT(seq), COUNT(DISTINCT seq), COALESCE(MAX(seq), -1)
                   FROM audit_events";
        let (events, placed, distinct, last): (i64, i64, i64, i64) =
            conn.q(sql).one().await.unwrap();
        let size: Option<i64> = conn.q("SELECT size FROM log_tree").value().await.unwrap();
        assert_eq!((placed, last + 1), (distinct, placed), "no gap and nothing twice");
        assert_eq!(size, Some(placed), "the tree has what has a place");
        if events == placed {
            return events;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{events} events, {placed} leaves");
        tokio::task::yield_now().await;
    }
}

fn rounds(mut fleet: Fleet<'_>, few: u64) {
    let rounds = setting("CP_CRASH_ROUNDS", few);
    let seed = setting("CP_CRASH_SEED", 7);
    let mut dice = Dice(seed);
    let bundles = fleet.servers[0].license();
    let (mut total, mut events, begun) = (0, 0, Instant::now());
    for round in 0..rounds {
        let acknowledged = fleet.round(round, &bundles, &mut dice);
        fleet.check(&acknowledged);
        events = check_whole(&fleet.database);
        total += acknowledged.len();
    }
    eprintln!(
        "{} servers, seed {seed}: {rounds} rounds in {:?}, {total} acknowledged changes, 0 lost; {events} \
         events and leaves; slowest start {:?}",
        fleet.servers.len(),
        begun.elapsed(),
        fleet.slowest,
    );
}

#[test]
fn a_file_survives_kills_at_any_moment() {
    let folder = folder();
    let database = format!("sqlite:{}", folder.path().join("data/cp.db").display());
    rounds(Fleet::start(folder.path(), database, 1), 8);
}

#[test]
fn three_servers_on_postgresql_survive_kills_at_any_moment() {
    let Some(database) = postgres("crashes") else { return };
    let folder = folder();
    rounds(Fleet::start(folder.path(), database, 3), 5);
}

/// The URL of a new database; `None` where there is no PostgreSQL.
pub fn postgres(name: &str) -> Option<String> {
    let cluster = super::cluster::url()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Db::open(&format!("{cluster}/postgres")).await.unwrap();
        let Db::Postgres(pool) = &db else { panic!("it is PostgreSQL") };
        let sql = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(sql).execute(&**pool).await.unwrap();
        db.close().await;
    });
    Some(format!("{cluster}/{name}"))
}
