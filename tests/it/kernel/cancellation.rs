//! Futures that are dropped: at each poll of `begin`, of a statement, of `commit` and of a rollback,
//! what was acknowledged is there, and no other member notices.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use cp_server::kernel::db::{Conn, Db, Share};
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use uuid::Uuid;

use crate::world::database::Database;

/// Polls the future at most so often, and drops it then.
async fn polled<T>(future: impl Future<Output = T>, mut times: usize) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if times == 0 {
            return Poll::Ready(None);
        }
        times -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if times == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Where a member's future is dropped, and after how many polls.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Begin(usize),
    Statement(usize),
    /// A later statement is dropped, and the member commits all the same.
    Last(usize),
    Commit(usize),
    /// It rolls back.
    Never,
    /// It commits.
    Not,
}

/// One transaction: two rows, which come and go together.
#[derive(Clone, Copy, Debug)]
struct Member {
    cut: Cut,
    share: u128,
}

/// What is known of a member's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// The commit was acknowledged.
    There,
    /// No commit was asked for.
    Gone,
    /// The commit was dropped.
    Either,
}

async fn insert(tx: &mut Conn, name: String) -> sqlx::Result<()> {
    let sql = "INSERT INTO installation (name, value) VALUES ($1, $2)";
    tx.q(sql).bind(name).bind(&b"x"[..]).exec().await.map(|_| ())
}

async fn run(db: &Db, name: &str, member: Member) -> Known {
    let all = usize::MAX;
    let share = Share::of(Uuid::from_u128(member.share));
    let begin = if let Cut::Begin(n) = member.cut { n } else { all };
    let Some(tx) = polled(db.begin_for(share), begin).await else { return Known::Gone };
    let mut tx = tx.expect("no neighbor's fault");
    insert(&mut tx, format!("{name} 1")).await.expect("no neighbor's fault");
    let statement = if let Cut::Statement(n) = member.cut { n } else { all };
    match polled(insert(&mut tx, format!("{name} 2")), statement).await {
        Some(done) => done.expect("no neighbor's fault"),
        None => return Known::Gone,
    }
    if let Cut::Last(n) = member.cut {
        // Done or not done: its row is not looked at.
        let _ = polled(insert(&mut tx, format!("other {name}")), n).await;
    }
    match member.cut {
        Cut::Never => Known::Gone,
        Cut::Commit(n) => match polled(tx.commit(), n).await {
            Some(done) => done.map(|()| Known::There).expect("no neighbor's fault"),
            None => Known::Either,
        },
        _ => tx.commit().await.map(|()| Known::There).expect("no neighbor's fault"),
    }
}

/// Runs the members at the same time, and compares what is there with what is known of each.
async fn check(db: &Db, case: usize, members: &[Member]) {
    let names: Vec<String> = (0..members.len()).map(|n| format!("{case}-{n}")).collect();
    let standing = db.durability_mark();
    let running = names.iter().zip(members).map(|(name, member)| run(db, name, *member));
    let known = join_all(running).await;
    // Whatever was left behind has ended when another transaction has.
    db.begin().await.unwrap().commit().await.unwrap();
    db.wait_until_durable(standing).await.expect("no group is lost");
    let mut tx = db.begin().await.unwrap();
    let sql = "SELECT name FROM installation WHERE name LIKE $1";
    let rows: Vec<(String,)> = tx.q(sql).bind(format!("{case}-%")).all().await.unwrap();
    drop(tx);
    let rows: BTreeSet<String> = rows.into_iter().map(|(name,)| name).collect();
    for (name, known) in names.iter().zip(&known) {
        let own = [format!("{name} 1"), format!("{name} 2")].map(|row| rows.contains(&row));
        let is_right = match known {
            Known::There => own == [true, true],
            Known::Gone => own == [false, false],
            Known::Either => own[0] == own[1],
        };
        assert!(is_right, "{name} is {known:?} and {own:?}: {members:?}");
    }
}

/// More polls than any of the futures takes.
const POLLS: usize = 8;

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![
        (0..POLLS).prop_map(Cut::Begin),
        (0..POLLS).prop_map(Cut::Statement),
        (0..POLLS).prop_map(Cut::Last),
        (0..POLLS).prop_map(Cut::Commit),
        Just(Cut::Never),
        Just(Cut::Not),
        Just(Cut::Not),
    ]
}

fn member() -> impl Strategy<Value = Member> {
    (cut(), 0..3_u128).prop_map(|(cut, share)| Member { cut, share })
}

async fn each_future_at_each_poll(db: &Db) {
    db.migrate().await.unwrap();
    let mut case = 0;
    // Alone, and between two others of the same and of other shares.
    for of in [Cut::Begin, Cut::Statement, Cut::Last, Cut::Commit] {
        for polls in 0..POLLS {
            for neighbors in [0, 1, 3] {
                let mut members: Vec<Member> =
                    (0..neighbors).map(|share| Member { cut: Cut::Not, share }).collect();
                members.insert(members.len() / 2, Member { cut: of(polls), share: 1 });
                case += 1;
                check(db, case, &members).await;
            }
        }
    }
    // The same moments each time: a failure can be found again.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for _ in 0..200 {
        let members =
            prop::collection::vec(member(), 1..7).new_tree(&mut runner).unwrap().current();
        case += 1;
        check(db, case, &members).await;
    }
}

#[tokio::test]
async fn a_future_dropped_at_any_poll_costs_no_neighbor_a_row_on_sqlite() {
    each_future_at_each_poll(&Database::sqlite(None).await.db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_future_dropped_at_any_poll_costs_no_neighbor_a_row_on_sqlite_in_threads() {
    each_future_at_each_poll(&Database::sqlite(None).await.db).await;
}

#[tokio::test]
async fn a_future_dropped_at_any_poll_costs_no_neighbor_a_row_on_postgres() {
    if let Some(database) = Database::postgres(None).await {
        each_future_at_each_poll(&database.db).await;
    }
}
