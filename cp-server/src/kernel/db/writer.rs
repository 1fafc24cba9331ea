//! SQLite's only writer, and the commits that its transactions share.
//!
//! A commit waits for the disk, whatever it contains. So a transaction that finishes while others
//! wait for the writer leaves its rows uncommitted and passes the connection on. The next one runs
//! in a savepoint of the same SQLite transaction, and one commit serves all of them. They are the
//! members of a group. A member is answered after the commit, so acknowledged changes are on the
//! disk. A failed commit fails for each member. A transaction without company commits at once.
//!
//! # Design
//! - **One task owns the group.** Only that task sends `BEGIN`, `SAVEPOINT`, `RELEASE`, `ROLLBACK`
//!   and `COMMIT`. It is never dropped between a statement and its bookkeeping. A member borrows
//!   the connection and returns it with its verdict. A future that is dropped at any point returns
//!   the connection with the verdict "roll back", and does no more. The driver runs statements in
//!   the order in which they were sent. So a dropped future's statement ends before the rollback
//!   begins.
//! - **An unknown state loses the group.** Each member, also the first one, has a savepoint with a
//!   unique name. Where SQLite rolled back by itself (a full disk), the name is unknown, and
//!   `RELEASE` or `ROLLBACK TO` fails. The group then commits nothing, and all members fail.
//! - A member that rolls back ends its group: the rest is committed at once.
//! - A member sees rows that earlier members wrote, and may refuse because of them. Its refusal is
//!   valid only once those rows are on the disk: [`Writer::wait_until_durable`].
//! - A group accepts no more turns than were waiting when its first member finished. It stops growing
//!   when it is older than a commit takes, and before a turn that takes longer than a commit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::sqlite::SqlitePool;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Notify, oneshot};
use tokio::time::{timeout, timeout_at};

use super::queue::{Growth, MOST, Next, Queue, Share};

#[derive(Clone)]
pub struct Writer(Arc<Shared>);

struct Shared {
    /// A pool of one connection.
    pool: SqlitePool,
    patience: Duration,
    growth: Growth,
    state: Mutex<State>,
    /// Signals that the queue has a new item.
    arrived: Notify,
}

#[derive(Default)]
struct State {
    queue: Queue<oneshot::Sender<sqlx::Result<Turn>>>,
    /// Whether a task serves the queue.
    is_served: bool,
    /// The number of finished members that are not committed.
    uncommitted: usize,
    /// Callers that wait until no member is uncommitted.
    settling: Vec<oneshot::Sender<()>>,
    /// The number of lost groups.
    lost: u64,
}

/// The writer, for one transaction. Dropped without `commit`, it rolls back.
pub struct Turn(Option<Loan>);

/// The connection, lent to a member. Only its [`Turn`] may drop it: the transaction belongs to the
/// group.
struct Loan {
    tx: Transaction<'static, Sqlite>,
    back: oneshot::Sender<Returned>,
}

/// The connection, returned by a member that requests a commit or a rollback.
struct Returned {
    tx: Transaction<'static, Sqlite>,
    commit: Option<Member>,
}

/// A finished member that waits for the commit.
type Member = oneshot::Sender<Result<(), SharedFailure>>;

impl Writer {
    pub(super) fn new(pool: SqlitePool, patience: Duration, growth: Growth) -> Self {
        let (state, arrived) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { pool, patience, growth, state, arrived }))
    }

    /// Returns the connection itself, for work outside the transactions of this module.
    pub fn pool(&self) -> &SqlitePool {
        &self.0.pool
    }

    pub(super) async fn begin(&self, share: Share) -> sqlx::Result<Turn> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.0.state();
            state.queue.push(share, sender);
            if !std::mem::replace(&mut state.is_served, true) {
                let (shared, group) = (self.0.clone(), Group::default());
                tokio::spawn(Serving { shared, group, is_done: false }.run());
            }
        }
        self.0.arrived.notify_one();
        let turn =
            timeout(self.0.patience, receiver).await.map_err(|_| sqlx::Error::PoolTimedOut)?;
        turn.map_err(|_| sqlx::Error::PoolClosed)?
    }

    /// Returns the number of lost groups: for [`Self::wait_until_durable`], before a transaction begins.
    pub(super) fn lost(&self) -> u64 {
        self.0.state().lost
    }

    /// Waits until everything that a finished transaction read is on the disk. Fails when the
    /// transaction may have read rows that were lost.
    pub(super) async fn wait_until_durable(&self, lost: u64) -> sqlx::Result<()> {
        let settled = {
            let mut state = self.0.state();
            let (sender, receiver) = oneshot::channel();
            (state.uncommitted > 0).then(|| {
                state.settling.push(sender);
                receiver
            })
        };
        if let Some(settled) = settled {
            settled.await.map_err(failed)?;
        }
        if self.lost() == lost { Ok(()) } else { Err(failed("a commit of others")) }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The transactions that share one SQLite transaction.
#[derive(Default)]
struct Group {
    tx: Option<Transaction<'static, Sqlite>>,
    members: Vec<Member>,
    /// When the first member finished.
    since: Option<Instant>,
    /// The number of turns that the group still accepts.
    turns: usize,
    /// The duration of the last commit.
    commit_time: Duration,
    /// Counts savepoints, so that their names are unique.
    savepoint: u64,
}

/// The task that serves the queue until it is empty.
struct Serving {
    shared: Arc<Shared>,
    group: Group,
    is_done: bool,
}

impl Serving {
    async fn run(mut self) {
        loop {
            let now = Instant::now();
            let next = self.shared.state().queue.next_cost(now);
            if self.group.is_due(next, self.shared.growth) {
                self.close().await;
            }
            let next = self.shared.state().queue.pop(now, |waiting| !waiting.is_closed());
            match next {
                Next::Item(share, waiting) => {
                    self.serve(share, waiting).await;
                    continue;
                }
                Next::Rest(until) => {
                    self.close().await;
                    let _ = timeout_at(until.into(), self.shared.arrived.notified()).await;
                    continue;
                }
                Next::Empty => self.close().await,
            }
            let mut state = self.shared.state();
            if state.queue.is_empty() {
                // Under the lock: the next caller that waits starts another task.
                state.is_served = false;
                self.is_done = true;
                return;
            }
        }
    }

    /// Lends the connection to one member, and follows its verdict when it returns it.
    async fn serve(&mut self, share: Share, waiting: oneshot::Sender<sqlx::Result<Turn>>) {
        let tx = match self.begin().await {
            Ok(tx) => tx,
            Err(error) => {
                // A caller that disconnected does not receive the error.
                let _ = waiting.send(Err(error));
                return;
            }
        };
        let (lent, (back, returned)) = (Instant::now(), oneshot::channel());
        // The turn of a caller that disconnected is dropped, which returns the connection.
        drop(waiting.send(Ok(Turn(Some(Loan { tx, back })))));
        let returned = returned.await;
        let now = Instant::now();
        // Without the commit, which waits for the disk and not for the share.
        self.shared.state().queue.took(share, now - lent, now);
        match returned {
            Ok(Returned { tx, commit: Some(member) }) => self.done(tx, member).await,
            Ok(Returned { tx, commit: None }) => self.roll_back(tx).await,
            Err(_) => self.lose(None, failed("the connection was not returned")).await,
        }
    }

    /// Begins a savepoint in the group's transaction; without a group, in a new transaction.
    async fn begin(&mut self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        self.group.savepoint += 1;
        if let Some(mut tx) = self.group.tx.take() {
            match self.savepoint("SAVEPOINT", &mut tx).await {
                Ok(()) => return Ok(tx),
                Err(error) => self.lose(Some(tx), error).await,
            }
        }
        // Acquire the write lock now: an upgrade at the first write fails with
        // SQLITE_BUSY_SNAPSHOT, for which no busy timeout waits.
        let mut tx = self.shared.pool.begin_with("BEGIN IMMEDIATE").await?;
        self.savepoint("SAVEPOINT", &mut tx).await?;
        Ok(tx)
    }

    /// Adds a finished member to the group.
    async fn done(&mut self, mut tx: Transaction<'static, Sqlite>, member: Member) {
        let queued = {
            let mut state = self.shared.state();
            state.uncommitted += 1;
            state.queue.len()
        };
        self.group.members.push(member);
        if self.group.since.is_none() {
            (self.group.since, self.group.turns) = (Some(Instant::now()), queued);
        }
        if queued == 0 {
            // The commit releases the savepoint.
            self.group.tx = Some(tx);
            return self.close().await;
        }
        match self.savepoint("RELEASE", &mut tx).await {
            Ok(()) => self.group.tx = Some(tx),
            Err(error) => self.lose(Some(tx), error).await,
        }
    }

    /// Rolls back the rows of one member, and commits those of the others.
    async fn roll_back(&mut self, mut tx: Transaction<'static, Sqlite>) {
        if self.group.members.is_empty() {
            return self.lose(Some(tx), failed("rolled back")).await;
        }
        match self.savepoint("ROLLBACK TO", &mut tx).await {
            Ok(()) => {
                self.group.tx = Some(tx);
                self.close().await;
            }
            Err(error) => self.lose(Some(tx), error).await,
        }
    }

    async fn savepoint(
        &self,
        verb: &'static str,
        tx: &mut Transaction<'static, Sqlite>,
    ) -> sqlx::Result<()> {
        let sql = format!("{verb} member_{}", self.group.savepoint);
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **tx).await.map(drop)
    }

    /// Commits the rows of all members, and reports the outcome to them.
    async fn close(&mut self) {
        let Some(tx) = self.group.tx.take() else { return };
        let began = Instant::now();
        let done = tx.commit().await;
        self.group.commit_time = began.elapsed();
        self.report(done.map_err(|error| match &error {
            // No transaction is open any more: this is no message of the disk and no fault of a
            // statement.
            sqlx::Error::Database(refusal) if refusal.code().as_deref() == Some("1") => {
                failed(error)
            }
            _ => error,
        }));
    }

    /// Commits nothing of the transaction: its state is unknown, or it has no members.
    async fn lose(&mut self, tx: Option<Transaction<'static, Sqlite>>, why: sqlx::Error) {
        if let Some(tx) = tx
            && let Err(error) = tx.rollback().await
        {
            // SQLite rolled back by itself. The pool closes such a connection.
            tracing::debug!(%error, "a lost transaction was no longer open");
        }
        if !self.group.members.is_empty() {
            self.report(Err(failed(why)));
        }
    }

    fn report(&mut self, done: sqlx::Result<()>) {
        self.group.since = None;
        let members = std::mem::take(&mut self.group.members);
        let settling = {
            let mut state = self.shared.state();
            state.lost += u64::from(done.is_err());
            state.uncommitted = 0;
            std::mem::take(&mut state.settling)
        };
        let done = done.map_err(|error| SharedFailure(Arc::new(error)));
        for member in members {
            // A caller that disconnected does not receive the outcome, as with any commit.
            let _ = member.send(done.clone());
        }
        for caller in settling {
            let _ = caller.send(());
        }
    }
}

impl Group {
    /// Whether the group is committed before the next turn, whose expected length is `next`.
    fn is_due(&mut self, next: Duration, growth: Growth) -> bool {
        let Some(since) = self.since else { return false };
        let is_full = self.turns == 0 || self.members.len() >= MOST;
        self.turns = self.turns.saturating_sub(1);
        is_full || growth.is_over(since.elapsed(), next, self.commit_time)
    }
}

impl Drop for Serving {
    /// The runtime ends, or the task panicked: waiting callers get an error, and the next one
    /// starts another task.
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut state = self.shared.state();
        state.lost += u64::from(!self.group.members.is_empty());
        state.uncommitted = 0;
        state.settling.clear();
        state.queue = Queue::default();
        state.is_served = false;
    }
}

impl Turn {
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        let Loan { tx, back } = self.0.take().ok_or(sqlx::Error::PoolClosed)?;
        let (sender, receiver) = oneshot::channel();
        let returned = back.send(Returned { tx, commit: Some(sender) });
        returned.map_err(|_| sqlx::Error::PoolClosed)?;
        receiver.await.map_err(failed)?.map_err(failed)
    }

    pub(in crate::kernel) fn connection(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        self.0.as_mut().map(|loan| &mut *loan.tx).ok_or(sqlx::Error::PoolClosed)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(Loan { tx, back }) = self.0.take() {
            // Without a task that receives it, the transaction is dropped, which rolls it back.
            let _ = back.send(Returned { tx, commit: None });
        }
    }
}

/// The reason why a commit failed, for every member that shared it.
#[derive(Clone, Debug)]
struct SharedFailure(Arc<sqlx::Error>);

impl std::fmt::Display for SharedFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the shared commit failed: {}", self.0)
    }
}

impl std::error::Error for SharedFailure {}

/// A commit that failed for an unknown reason.
fn failed(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(why))
}

/// Returns the original error of a shared commit.
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
