//! One SQL text for SQLite and PostgreSQL: the only module that knows the backend.
//!
//! # Design
//!
//! A statement is written once, with `$1`. Values are bound one by one into the driver's own
//! arguments, so that UUIDs, times and JSON keep their native types on both databases. Rejected:
//! `sqlx::Any`, which has no such types; a trait with two implementations, which doubles every
//! statement; an ORM, because SQL is shorter.

mod direct;
mod drivers;
pub(super) mod failures;
mod found;
mod hosts;
pub mod installation;
mod migrations;
mod pools;
mod postgres;
pub mod query;
mod queue;
pub mod readonly;
pub(super) mod recent;
pub mod record;
pub mod references;
pub mod rehearsals;
mod savepoints;
pub mod search;
pub mod shared;
mod shares;
pub mod side_files;
pub mod tags;
pub mod values;
pub mod wal;
pub(super) mod writer;

use std::path::{Path, PathBuf};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres, SqliteConnection, Transaction};
use tokio::sync::OwnedMutexGuard;

use self::direct::{Reader, Readers};
pub(super) use self::failures::InDoubt;
pub use self::failures::constraint_of;
use self::failures::is_disconnected;
use self::found::Found;
pub use self::hosts::split_hosts;
pub use self::pools::PoolState;
pub(super) use self::postgres::begin_snapshot;
use self::postgres::{Change, PATIENCE, Reading, Single};
pub use self::postgres::{PgDatabase, Statements, postgres_hosts};
pub(crate) use self::postgres::{connect_postgres, other_sessions};
pub use self::queue::{Growth, Share};
use self::recent::SeenRecent;
use self::writer::{Turn, Writer};

/// The part of a log filter that suppresses the driver's lines with whole statements, and
/// PostgreSQL's notices about existing objects.
pub const WITHOUT_STATEMENTS: &str = "sqlx::query=error,sqlx::postgres::notice=error";

#[derive(Clone, Debug)]
pub enum Db {
    Sqlite { read: Readers, write: Writer },
    Postgres(PgDatabase),
}

/// The options of an SQLite file. The default is right where licenses are kept.
#[derive(Clone, Copy, Debug)]
pub struct FileOptions {
    /// `Full`, because an issued license must survive a power cut. Tests, whose data may be lost,
    /// use a lower level.
    pub synchronous: SqliteSynchronous,
    /// The maximum number of connections that read: by default one per core, and at least two.
    pub readers: Option<u32>,
    pub growth: Growth,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { synchronous: SqliteSynchronous::Full, readers: None, growth: Growth::default() }
    }
}

impl Db {
    /// Opens `sqlite:PATH` (created if missing, mode 0600) or `postgres://…`.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        Self::open_with(url, None).await
    }

    /// Does the same with a maximum number of connections.
    pub async fn open_with(url: &str, pool: Option<u32>) -> anyhow::Result<Self> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return Ok(Self::Postgres(PgDatabase::open(url, pool).await?));
        }
        let Some(path) = url.strip_prefix("sqlite:") else {
            anyhow::bail!("must be sqlite:PATH or postgres://USER@HOST/DATABASE");
        };
        let path = PathBuf::from(path.trim_start_matches("//"));
        super::files::create_private(&path)?;
        // The writer's connection counts as one.
        let readers = pool.map(|most| most.saturating_sub(1).max(1));
        Self::open_sqlite(&path, FileOptions { readers, ..FileOptions::default() }).await
    }

    /// Opens an SQLite file.
    pub async fn open_sqlite(path: &Path, options: FileOptions) -> anyhow::Result<Self> {
        let FileOptions { synchronous, readers, growth } = options;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            .pragma("secure_delete", "ON");
        // A file does not disconnect: its connections need no liveness check and no replacement.
        let pool = || {
            let options = SqlitePoolOptions::new().acquire_timeout(PATIENCE);
            options.test_before_acquire(false).idle_timeout(None).max_lifetime(None)
        };
        // One writer: SQLite has one write lock. The queue of `writer` is fair; SQLite's busy
        // handler is not.
        let write = pool()
            .max_connections(1)
            // SQLite rolls back by itself when the disk is full. sqlx then believes permanently
            // that a transaction is open: such a connection is unusable.
            .before_acquire(|conn, _| {
                let is_usable = !conn.is_in_transaction();
                Box::pin(async move { Ok(is_usable) })
            })
            .connect_with(options.clone())
            .await?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let most = readers.unwrap_or(u32::try_from(cores).unwrap_or(2).max(2));
        let read = Readers::new(options.read_only(true), PATIENCE, most);
        // At least one connection stays open. When the last one closes, the next one reads the
        // write-ahead log again, including the remains of a failed sync (see `wal`).
        drop(read.acquire().await?);
        let db = Self::Sqlite { read, write: Writer::new(write, PATIENCE, growth) };
        db.check_pragmas(synchronous).await?;
        Ok(db)
    }

    /// Reads the pragmas back: SQLite ignores a pragma that it cannot honour.
    async fn check_pragmas(&self, synchronous: SqliteSynchronous) -> anyhow::Result<()> {
        let mut conn = self.begin().await?;
        let level = match synchronous {
            SqliteSynchronous::Off => 0,
            SqliteSynchronous::Normal => 1,
            SqliteSynchronous::Full => 2,
            SqliteSynchronous::Extra => 3,
        };
        let journal: Option<String> =
            conn.q("SELECT journal_mode FROM pragma_journal_mode").value().await?;
        let found: Option<i64> =
            conn.q("SELECT synchronous FROM pragma_synchronous").value().await?;
        let keys: Option<i64> =
            conn.q("SELECT foreign_keys FROM pragma_foreign_keys").value().await?;
        if journal.as_deref() != Some("wal") || found != Some(level) || keys != Some(1) {
            anyhow::bail!(
                "the SQLite file does not accept journal_mode=WAL, synchronous={level} and \
                 foreign_keys=ON (found {journal:?}, {found:?}, {keys:?}); is it on a network \
                 file system?"
            );
        }
        Ok(())
    }

    /// Returns a connection for reading, acquired at the first statement: a cached answer costs no
    /// connection.
    pub fn read(&self) -> Conn {
        Conn::Idle(self.clone(), None)
    }

    /// Returns a separate connection that reads one state of the database for as long as it is
    /// kept. It does not belong to the pool: a slow reader blocks no other.
    pub async fn snapshot(&self) -> sqlx::Result<Conn> {
        match self {
            Self::Sqlite { read, .. } => {
                let mut conn = Conn::SqliteAlone(read.options().connect().await?);
                // No statement ends this transaction: the connection is closed instead.
                conn.q("BEGIN").exec().await?;
                Ok(conn)
            }
            Self::Postgres(database) => database.snapshot().await.map(Conn::PostgresAlone),
        }
    }

    /// Returns a connection of the pool that reads one state of the database. Its holder must not wait
    /// for another connection: all holders together would block the pool.
    pub async fn consistent_read(&self) -> sqlx::Result<Conn> {
        match self {
            Self::Sqlite { read, .. } => read.begin().await.map(Conn::SqliteRead),
            Self::Postgres(database) => {
                let (tx, statements) = database.consistent_read().await?;
                Ok(Conn::PostgresRead(tx, statements))
            }
        }
    }

    /// Returns a separate connection, as [`Self::snapshot`] does, for whole tables. On SQLite, rows are passed in thousands, which needs fewer
    /// switches between the two threads.
    pub async fn bulk_snapshot(&self) -> sqlx::Result<Conn> {
        let Self::Sqlite { read, .. } = self else { return self.snapshot().await };
        let options = read.options().row_buffer_size(1000);
        let mut conn = Conn::SqliteAlone(options.connect().await?);
        conn.q("BEGIN").exec().await?;
        Ok(conn)
    }

    /// Begins a write transaction for the server's own work. Dropped without `commit`, it rolls
    /// back.
    pub async fn begin(&self) -> sqlx::Result<Conn> {
        self.begin_for(Share::SERVER).await
    }

    /// Begins a write transaction. On SQLite, shares take turns when several wait for the writer.
    pub async fn begin_for(&self, share: Share) -> sqlx::Result<Conn> {
        match self {
            Self::Postgres(database) => database.begin(share).await.map(Conn::PostgresTx),
            Self::Sqlite { write, .. } => write.begin(share).await.map(Conn::SqliteTx),
        }
    }

    /// Begins a write transaction of a single statement. On PostgreSQL such a statement needs no round
    /// trips for `BEGIN` and `COMMIT`, unless a pooler is in front of it.
    pub(super) async fn begin_single(&self, share: Share) -> sqlx::Result<Conn> {
        match self {
            Self::Postgres(database) if database.has_sessions() => {
                database.single(share).await.map(Conn::PostgresSingle)
            }
            _ => self.begin_for(share).await,
        }
    }

    /// Returns a mark to pass to [`Self::wait_until_durable`]. Callers read it before they begin a
    /// transaction.
    pub fn durability_mark(&self) -> u64 {
        match self {
            Self::Sqlite { write, .. } => write.lost(),
            Self::Postgres(_) => 0,
        }
    }

    /// Waits until everything that a finished transaction read is durable. A refusal may depend on
    /// writes of other transactions. PostgreSQL shows only committed rows.
    pub async fn wait_until_durable(&self, mark: u64) -> sqlx::Result<()> {
        match self {
            Self::Sqlite { write, .. } => write.wait_until_durable(mark).await,
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Closes every connection. On SQLite, the write-ahead log is folded into the file.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { read, write } => {
                read.close().await;
                if let Ok(mut conn) = write.pool().acquire().await {
                    let checkpoint = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)");
                    if let Err(error) = checkpoint.execute(&mut *conn).await {
                        tracing::warn!(%error, "the write-ahead log remains for the next start");
                    }
                }
                write.pool().close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }

    /// Returns the state of each pool of connections.
    pub fn pools(&self) -> Vec<PoolState> {
        match self {
            Self::Sqlite { read, write } => {
                vec![PoolState::of_readers(read), PoolState::of("write", write.pool())]
            }
            Self::Postgres(database) => vec![PoolState::of("all", database)],
        }
    }

    /// Whether write transactions run one after the other.
    pub fn writes_alone(&self) -> bool {
        matches!(self, Self::Sqlite { .. })
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }
}

/// A connection, or the transaction that runs on it.
pub enum Conn {
    /// Not connected yet, with what recent reads found.
    Idle(Db, Option<SeenRecent>),
    Sqlite(Reader),
    /// A transaction that reads.
    SqliteRead(Reader),
    SqliteTx(Turn),
    /// A connection with its own session.
    Postgres(PoolConnection<Postgres>),
    /// A transaction that reads. Behind a pooler, only a transaction keeps its session.
    PostgresRead(Transaction<'static, Postgres>, Statements),
    PostgresTx(Change),
    PostgresSingle(Single),
    SqliteAlone(SqliteConnection),
    PostgresAlone(PgConnection),
    /// The turn at a connection that several reads share.
    Shared(OwnedMutexGuard<(Conn, Found)>),
}

impl Conn {
    /// Whether it has no connection yet.
    pub fn is_idle(&self) -> bool {
        matches!(self, Self::Idle(..))
    }

    /// Whether this is a write transaction.
    pub fn writes(&self) -> bool {
        matches!(self, Self::SqliteTx(_) | Self::PostgresTx(_) | Self::PostgresSingle(_))
    }

    /// Whether other reads share the connection: it may read an earlier state of the database.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Commits. A commit that has begun completes even when this future is dropped.
    pub async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::SqliteTx(tx) => tx.commit().await,
            Self::PostgresTx(change) => {
                let committed = tokio::spawn(async move { change.tx.commit().await }).await;
                let lost = |why| sqlx::Error::Io(std::io::Error::other(InDoubt(why)));
                committed.map_err(|error| lost(error.into()))?.map_err(|error| match error {
                    sqlx::Error::Io(why) => lost(why),
                    sqlx::Error::Database(why) if is_disconnected(why.as_ref()) => {
                        lost(std::io::Error::other(why))
                    }
                    refused => refused,
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether write transactions run one after the other.
    pub fn writes_alone(&self) -> bool {
        self.is_sqlite()
    }

    pub(super) fn is_sqlite(&self) -> bool {
        match self {
            Self::Idle(db, _) => matches!(db, Db::Sqlite { .. }),
            Self::Shared(shared) => shared.0.is_sqlite(),
            Self::Sqlite(_) | Self::SqliteRead(_) | Self::SqliteTx(_) | Self::SqliteAlone(_) => {
                true
            }
            Self::Postgres(_)
            | Self::PostgresRead(..)
            | Self::PostgresTx(_)
            | Self::PostgresSingle(_)
            | Self::PostgresAlone(_) => false,
        }
    }

    /// Returns the connection itself, behind the turn at a shared one.
    pub(super) fn own(&mut self) -> &mut Self {
        match self {
            Self::Shared(shared) => shared.0.own(),
            own => own,
        }
    }

    /// Connects for the next statement.
    pub(super) async fn connect(&mut self) -> sqlx::Result<()> {
        match self {
            Self::Idle(Db::Sqlite { read, .. }, _) => *self = Self::Sqlite(read.acquire().await?),
            Self::Idle(Db::Postgres(database), _) => {
                *self = match database.read().await? {
                    Reading::Session(conn) => Self::Postgres(conn),
                    Reading::Transaction(tx) => Self::PostgresRead(tx, Statements::Unnamed),
                };
            }
            _ => {}
        }
        Ok(())
    }
}
