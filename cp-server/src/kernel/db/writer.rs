//! SQLite's one writer, and the commits that those who want it share.
//!
//! A commit waits for the disk, whatever it carries. So a transaction that is done while others wait
//! for the writer leaves what it wrote where it is and hands the connection on: the next runs in a
//! savepoint of the same transaction of SQLite's, and one commit is for all of them. Nobody is
//! answered before it, so what was acknowledged is on the disk; where it fails, it fails for each.
//!
//! Who comes alone commits alone: nothing waits for company.
//!
//! - A member that rolls back ends its group. SQLite may have rolled back by itself before (a full
//!   disk), and then everything of the group is gone: its commit finds out and says so.
//! - A member sees what those before it wrote, and may refuse because of it. Its refusal holds only
//!   once that is on the disk: [`Writer::settled`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::time::timeout;

/// The most that share a commit: its first member waits for the last.
const MOST: usize = 64;

#[derive(Clone)]
pub struct Writer(Arc<Shared>);

struct Shared {
    /// Of one connection.
    pool: SqlitePool,
    patience: Duration,
    /// Whose turn it is; the others queue in the order in which they came.
    turn: Arc<Mutex<Group>>,
    /// How many queue.
    queue: AtomicUsize,
    /// How many groups were lost.
    lost: AtomicU64,
}

/// Those who share a transaction of SQLite's.
#[derive(Default)]
struct Group {
    tx: Option<Transaction<'static, Sqlite>>,
    /// Who is done, and waits for the commit.
    members: Vec<oneshot::Sender<Result<(), SharedFailure>>>,
    /// The last one left without a commit, and its rows have to go.
    is_torn: bool,
    /// Tells one group from the next.
    number: u64,
}

/// The writer, for one transaction; dropped without `commit`, it rolls back.
pub struct Turn {
    writer: Writer,
    group: OwnedMutexGuard<Group>,
    part: Part,
}

/// What a turn has of its group's transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Nothing (yet, or any more).
    None,
    /// It began it.
    First,
    /// A savepoint.
    Later,
}

impl Writer {
    pub(super) fn new(pool: SqlitePool, patience: Duration) -> Self {
        let (queue, lost) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self(Arc::new(Shared { pool, patience, turn: Arc::default(), queue, lost }))
    }

    /// The connection itself, for what is no transaction of ours.
    pub fn pool(&self) -> &SqlitePool {
        &self.0.pool
    }

    pub(super) async fn begin(&self) -> sqlx::Result<Turn> {
        let mut group = self.turn().await?;
        if group.is_torn || group.members.len() >= MOST {
            group = self.close(group).await?;
        }
        let mut turn = Turn { writer: self.clone(), group, part: Part::None };
        if turn.group.tx.is_none() {
            // Takes the write lock now: one taken at the first write fails with
            // SQLITE_BUSY_SNAPSHOT, which no busy timeout waits out.
            turn.group.tx = Some(self.0.pool.begin_with("BEGIN IMMEDIATE").await?);
            turn.part = Part::First;
        } else {
            turn.execute("SAVEPOINT member").await?;
            turn.part = Part::Later;
        }
        Ok(turn)
    }

    /// How many groups were lost: for [`Self::settled`], before a transaction is begun.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Acquire)
    }

    /// Returns when all that a transaction which is over saw is on the disk. Fails when it may have
    /// seen something that never came there.
    pub(super) async fn settled(&self, lost: u64) -> sqlx::Result<()> {
        let group = self.turn().await?;
        if !group.members.is_empty() {
            self.close(group).await?;
        }
        if self.lost() == lost { Ok(()) } else { Err(failed("a commit of others")) }
    }

    async fn turn(&self) -> sqlx::Result<OwnedMutexGuard<Group>> {
        let queued = Queued::at(&self.0.queue);
        let turn = timeout(self.0.patience, self.0.turn.clone().lock_owned()).await;
        drop(queued);
        turn.map_err(|_| sqlx::Error::PoolTimedOut)
    }

    /// Commits for all, even if the one who asked goes away in between.
    async fn close(
        &self,
        mut group: OwnedMutexGuard<Group>,
    ) -> sqlx::Result<OwnedMutexGuard<Group>> {
        let shared = self.0.clone();
        let closing = tokio::spawn(async move {
            group.close(&shared.lost).await;
            group
        });
        closing.await.map_err(failed)
    }

    /// Commits as soon as those who queue now had their turns.
    fn close_soon(&self, number: u64) {
        let shared = self.0.clone();
        tokio::spawn(async move {
            let mut group = shared.turn.clone().lock_owned().await;
            if group.number == number {
                group.close(&shared.lost).await;
            }
        });
    }
}

impl Group {
    async fn close(&mut self, lost: &AtomicU64) {
        self.number += 1;
        let is_torn = std::mem::take(&mut self.is_torn);
        let members = std::mem::take(&mut self.members);
        let Some(mut tx) = self.tx.take() else { return };
        let commit = async {
            if is_torn {
                sqlx::raw_sql("ROLLBACK TO member").execute(&mut *tx).await?;
            }
            tx.commit().await
        };
        let done = commit.await;
        if done.is_err() {
            lost.fetch_add(1, Ordering::Release);
        }
        let done = done.map_err(|error| SharedFailure(Arc::new(error)));
        for member in members {
            // Who went away will not know, as with any commit.
            let _ = member.send(done.clone());
        }
    }
}

impl Turn {
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        let queue = self.writer.0.queue.load(Ordering::Acquire);
        if self.part == Part::First && queue == 0 {
            self.part = Part::None;
            let tx = self.group.tx.take();
            return tx.ok_or(sqlx::Error::PoolClosed)?.commit().await;
        }
        if self.part == Part::Later {
            self.execute("RELEASE member").await?;
        }
        self.part = Part::None;
        let (tell, told) = oneshot::channel();
        self.group.members.push(tell);
        if self.group.members.len() == 1 {
            self.writer.close_soon(self.group.number);
        }
        drop(self);
        told.await.map_err(failed)?.map_err(failed)
    }

    async fn execute(&mut self, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(self.connection()?).await.map(|_| ())
    }

    pub(in crate::kernel) fn connection(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        self.group.tx.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        match self.part {
            Part::None => {}
            // Nobody else has anything in it.
            Part::First => self.group.tx = None,
            Part::Later => self.group.is_torn = true,
        }
    }
}

/// Somebody in the queue, for as long as it is there.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn at(queue: &'a AtomicUsize) -> Self {
        queue.fetch_add(1, Ordering::AcqRel);
        Self(queue)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why a commit failed, for each of those who shared it.
#[derive(Clone, Debug)]
struct SharedFailure(Arc<sqlx::Error>);

impl std::fmt::Display for SharedFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the shared commit failed: {}", self.0)
    }
}

impl std::error::Error for SharedFailure {}

/// A commit of which nobody can tell more than that it did not come about.
fn failed(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(why))
}

/// The error itself, where it was shared.
pub(in crate::kernel) fn cause(error: &sqlx::Error) -> &sqlx::Error {
    let sqlx::Error::Io(failure) = error else { return error };
    let shared = failure.get_ref().and_then(|inner| inner.downcast_ref::<SharedFailure>());
    shared.map_or(error, |shared| &shared.0)
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Writer").field(&self.0.pool).finish()
    }
}
