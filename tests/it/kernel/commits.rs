//! Commits: callers that wait for SQLite's writer share a commit. On both databases no answer claims
//! more than was committed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cp_server::kernel::db::{Conn, Db, Growth};
use cp_server::kernel::error::Error;
use futures_util::FutureExt;
use futures_util::future::{join, join_all, join3};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::world::database::Database;

/// A database that has its schema, and an empty write-ahead log. Its groups grow however slow the
/// machine is.
async fn database() -> (Database, PathBuf) {
    let growth = Growth { time: Duration::MAX, turn: Duration::MAX };
    let database = Database::sqlite_with(None, growth).await;
    database.db.migrate().await.unwrap();
    let Db::Sqlite { write, .. } = &database.db else { unreachable!("made above") };
    let empty = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)");
    empty.execute(write.pool()).await.unwrap();
    let log = PathBuf::from(format!("{}-wal", database.url.strip_prefix("sqlite:").unwrap()));
    (database, log)
}

/// The frames of a write-ahead log that end a commit (<https://sqlite.org/fileformat2.html>,
/// section 4.1).
fn commits(log: &PathBuf) -> usize {
    let log = std::fs::read(log).unwrap();
    let size = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    log[32..].chunks(24 + size).filter(|frame| frame[4..8] != [0; 4]).count()
}

async fn insert(tx: &mut Conn, name: &str) -> sqlx::Result<()> {
    let sql = "INSERT INTO installation (name, value) VALUES ($1, $2)";
    tx.q(sql).bind(name).bind(&b"x"[..]).exec().await.map(|_| ())
}

async fn write(db: &Db, name: &str) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    insert(&mut tx, name).await?;
    tx.commit().await
}

async fn names(conn: &mut Conn) -> Vec<String> {
    let found = conn.q("SELECT name FROM installation ORDER BY name").all::<(String,)>().await;
    found.unwrap().into_iter().map(|(name,)| name).collect()
}

#[tokio::test]
async fn waiting_changes_are_committed_together() {
    let (database, log) = database().await;
    let db = &database.db;
    let mut first = db.begin().await.unwrap();
    insert(&mut first, "first").await.unwrap();
    let rest: Vec<_> = (0..20).map(|n| format!("{n:02}")).collect();
    let (rest, first) =
        join(join_all(rest.iter().map(|name| write(db, name))), first.commit()).await;
    first.unwrap();
    assert!(rest.iter().all(Result::is_ok));
    assert_eq!(names(&mut db.read()).await.len(), 21);
    assert_eq!(commits(&log), 1);
}

#[tokio::test]
async fn single_change_is_committed_alone() {
    let (database, log) = database().await;
    for n in 1..4 {
        write(&database.db, &format!("{n}")).await.unwrap();
        assert_eq!(commits(&log), n);
    }
}

#[tokio::test]
async fn a_rollback_takes_nothing_from_others() {
    let (database, log) = database().await;
    let db = &database.db;
    let first = db.begin().await.unwrap();
    let dropped = async {
        let mut tx = db.begin().await.unwrap();
        insert(&mut tx, "dropped").await.unwrap();
        // It sees what its group has written.
        names(&mut tx).await
    };
    let rest = join3(write(db, "before"), dropped, write(db, "after"));
    let ((before, seen, after), first) = join(rest, first.commit()).await;
    assert!(before.is_ok() && after.is_ok() && first.is_ok());
    assert_eq!(seen, ["before", "dropped"]);
    assert_eq!(names(&mut db.read()).await, ["after", "before"]);
    assert_eq!(commits(&log), 2, "it ended its group");
}

#[tokio::test]
async fn seen_write_is_settled_when_durable() {
    let (database, _) = database().await;
    let db = &database.db;
    let first = db.begin().await.unwrap();
    let refused = async {
        let standing = db.durability_mark();
        let mut tx = db.begin().await.unwrap();
        assert_eq!(names(&mut tx).await, ["other"]);
        drop(tx);
        db.wait_until_durable(standing).await.unwrap();
        names(&mut db.read()).await
    };
    let ((other, seen), first) = join(join(write(db, "other"), refused), first.commit()).await;
    assert!(other.is_ok() && first.is_ok());
    assert_eq!(seen, ["other"], "others see it, too");
}

#[tokio::test]
async fn a_lost_transaction_is_lost_for_each_of_its_members() {
    let (database, _) = database().await;
    let db = &database.db;
    let first = db.begin().await.unwrap();
    let standing = db.durability_mark();
    let breaks = async {
        let mut tx = db.begin().await.unwrap();
        // As SQLite does by itself when the disk is full.
        tx.q("ROLLBACK").exec().await.unwrap();
    };
    let rest = join3(write(db, "before"), breaks, write(db, "after"));
    let ((before, (), after), first) = join(rest, first.commit()).await;
    for lost in [before, first] {
        let lost = lost.unwrap_err();
        assert!(matches!(&lost, sqlx::Error::Io(_)), "{lost}");
    }
    after.unwrap();
    assert_eq!(names(&mut db.read()).await, ["after"]);
    db.wait_until_durable(standing).await.unwrap_err();
    db.wait_until_durable(db.durability_mark()).await.unwrap();
}

#[tokio::test]
async fn caller_that_leaves_while_it_waits_does_not_block_others() {
    let (database, _) = database().await;
    let db = &database.db;
    let mut first = db.begin().await.unwrap();
    insert(&mut first, "first").await.unwrap();
    let mut next = Box::pin(db.begin());
    assert!((&mut next).now_or_never().is_none());
    let mut gone = Box::pin(first.commit());
    assert!((&mut gone).now_or_never().is_none());
    drop(gone);
    next.await.unwrap();
    write(db, "last").await.unwrap();
    assert_eq!(names(&mut db.read()).await, ["first", "last"]);
}

/// Starts a proxy to a server. Returns its port, and the flag that cuts off the answers.
async fn way_to(server: Vec<std::net::SocketAddr>) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let is_cut = Arc::<AtomicBool>::default();
    let cut = is_cut.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut asks, mut hears) = client.into_split();
            let (mut answers, mut listens) =
                TcpStream::connect(&*server).await.unwrap().into_split();
            tokio::spawn(async move { copy(&mut asks, &mut listens).await });
            let cut = cut.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                loop {
                    let size = answers.read(&mut buffer).await.unwrap();
                    if size == 0 || cut.load(Ordering::SeqCst) {
                        return hears.shutdown().await;
                    }
                    hears.write_all(&buffer[..size]).await?;
                }
            });
        }
    });
    (port, is_cut)
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_in_doubt() {
    let Some(database) = Database::postgres(None).await else { return };
    database.db.migrate().await.unwrap();
    let mut url = Url::parse(&database.url).unwrap();
    let (port, is_cut) = way_to(url.socket_addrs(|| None).unwrap()).await;
    url.set_port(Some(port)).unwrap();
    let db = Db::open(url.as_str()).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    insert(&mut tx, "made").await.unwrap();
    is_cut.store(true, Ordering::SeqCst);
    let error = Error::from(tx.commit().await.unwrap_err());
    assert_eq!(error.document().status, 503);
    assert!(error.detail().contains("may or may not have been made"), "{error}");
    assert_eq!(names(&mut database.db.read()).await, ["made"]);
}
