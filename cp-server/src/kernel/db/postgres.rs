//! PostgreSQL: its hosts, and the effects of a pooler in front of it.
//!
//! # Design
//!
//! A pooler in transaction mode gives a connection another session for each transaction. A
//! statement of sqlx has two steps, each in its own transaction: it is prepared, then bound and
//! executed. Behind such a pooler the second step may run in another session, in which that name is
//! missing or belongs to another statement. So behind a pooler, every statement runs between
//! `BEGIN` and `COMMIT`, reads included, and has no name. That costs two more round trips per read
//! and one more per statement, so only installations in which [`is_pooled`] finds such a pooler pay
//! it. Nothing else depends on the session: settings and locks end with their transaction.

use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres, Row, Transaction};
use tokio::time::timeout;
use url::Url;

use super::hosts::{self, split_hosts};
use super::queue::Share;
use super::shares::{Held, Shares};

/// The time for which an idle connection is assumed to be alive.
const FRESH: Duration = Duration::from_secs(1);
/// How long a request waits for a connection before it fails with `Retry-After`.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The name of this program's sessions, unless the URL has another one.
const APPLICATION: &str = "cp-server";
/// The number of looks at sessions that end, and the time between two of them.
const LOOKS: usize = 20;
const ENDS: Duration = Duration::from_millis(100);

/// Whether the statements of a connection are prepared under names and reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statements {
    Named,
    Unnamed,
}

/// A connection for reading.
pub(super) enum Reading {
    /// A connection with its own session.
    Session(PoolConnection<Postgres>),
    /// A connection behind a pooler, where only a transaction keeps its session.
    Transaction(Transaction<'static, Postgres>),
}

/// A write transaction.
pub struct Change {
    pub(super) tx: Transaction<'static, Postgres>,
    pub(super) statements: Statements,
    _held: Held,
}

/// A connection for a change of a single statement, which commits when it ends.
pub struct Single {
    pub(super) conn: PoolConnection<Postgres>,
    pub(super) is_used: bool,
    _held: Held,
}

/// A pool of connections to the host that accepts changes.
#[derive(Clone, Debug)]
pub struct PgDatabase {
    pool: PgPool,
    statements: Statements,
    shares: Arc<Shares>,
}

impl Deref for PgDatabase {
    type Target = PgPool;
    fn deref(&self) -> &PgPool {
        &self.pool
    }
}

impl PgDatabase {
    pub(super) async fn open(url: &str, pool: Option<u32>) -> anyhow::Result<Self> {
        let hosts = postgres_hosts(url)?;
        // The pool would retry until its timeout, and then not report the reason.
        let (at, mut first) = timeout(PATIENCE, hosts::find_writable(&hosts)).await??;
        let options = hosts[at].clone();
        let pooled = names_no_statements(url) || {
            let mut second = timeout(PATIENCE, options.connect()).await??;
            let pooled = is_pooled(&mut first, &mut second).await?;
            second.close().await?;
            pooled
        };
        first.close().await?;
        if pooled {
            tracing::info!(
                "the database is behind a pooler in transaction mode: statements are unnamed"
            );
        }
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let most = pool.unwrap_or(u32::try_from(cores * 4).unwrap_or(8).max(8));
        let settings = PgPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(false)
            .before_acquire(|conn, state| Box::pin(answers(conn, state.idle_for)));
        let pool = if hosts.len() > 1 {
            hosts::follow(hosts, at, settings).await?
        } else {
            settings.connect_with(options).await?
        };
        let statements = if pooled { Statements::Unnamed } else { Statements::Named };
        Ok(Self { pool, statements, shares: Arc::new(Shares::new(most, PATIENCE)) })
    }

    /// Whether a connection keeps its session between statements.
    pub(super) fn has_sessions(&self) -> bool {
        self.statements == Statements::Named
    }

    /// Acquires a connection for reading.
    pub(super) async fn read(&self) -> sqlx::Result<Reading> {
        Ok(match self.statements {
            Statements::Named => Reading::Session(self.pool.acquire().await?),
            Statements::Unnamed => Reading::Transaction(self.pool.begin().await?),
        })
    }

    /// Begins a write transaction, when its share may hold a connection.
    pub(super) async fn begin(&self, share: Share) -> sqlx::Result<Change> {
        let _held = self.shares.take(share).await?;
        Ok(Change { tx: self.pool.begin().await?, statements: self.statements, _held })
    }

    /// Acquires a connection for a change of a single statement, when its share may hold one.
    pub(super) async fn single(&self, share: Share) -> sqlx::Result<Single> {
        let _held = self.shares.take(share).await?;
        Ok(Single { conn: self.pool.acquire().await?, is_used: false, _held })
    }

    /// Begins a transaction that reads one state of the database.
    pub(super) async fn consistent_read(
        &self,
    ) -> sqlx::Result<(Transaction<'static, Postgres>, Statements)> {
        Ok((self.pool.begin_with(SNAPSHOT).await?, self.statements))
    }

    /// Returns a separate connection that reads one state of the database.
    pub(super) async fn snapshot(&self) -> sqlx::Result<PgConnection> {
        begin_snapshot(self.pool.acquire().await?.detach()).await
    }
}

/// Whether a connection that was idle for this time still answers. A question before each statement
/// would be a second round trip.
async fn answers(conn: &mut PgConnection, idle: Duration) -> sqlx::Result<bool> {
    Ok(idle < FRESH || conn.ping().await.is_ok())
}

/// Begins a transaction that reads one state of the database.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// Begins a snapshot that no statement ends: the connection is closed instead.
pub(in crate::kernel) async fn begin_snapshot(
    mut conn: PgConnection,
) -> sqlx::Result<PgConnection> {
    sqlx::raw_sql(SNAPSHOT).execute(&mut conn).await?;
    Ok(conn)
}

/// Connects to the host that accepts changes, outside any pool.
pub(crate) async fn connect_postgres(url: &str) -> anyhow::Result<PgConnection> {
    let hosts = postgres_hosts(url)?;
    Ok(timeout(PATIENCE, hosts::find_writable(&hosts)).await??.1)
}

/// Returns the number of other sessions of this program in the database. Returns `None` behind a
/// pooler, which keeps sessions of programs that have ended.
pub(crate) async fn other_sessions(url: &str) -> anyhow::Result<Option<i64>> {
    let hosts = postgres_hosts(url)?;
    let (at, mut conn) = timeout(PATIENCE, hosts::find_writable(&hosts)).await??;
    let mut second = timeout(PATIENCE, hosts[at].connect()).await??;
    let is_pooled = names_no_statements(url) || is_pooled(&mut conn, &mut second).await?;
    second.close().await?;
    if is_pooled {
        conn.close().await?;
        return Ok(None);
    }
    let sql = "SELECT COUNT(*) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()
                   AND application_name = current_setting('application_name')";
    let mut count: i64 = sqlx::raw_sql(sql).fetch_one(&mut conn).await?.try_get(0)?;
    // A session ends a moment after its process.
    for _ in 0..LOOKS {
        if count == 0 {
            break;
        }
        tokio::time::sleep(ENDS).await;
        count = sqlx::raw_sql(sql).fetch_one(&mut conn).await?.try_get(0)?;
    }
    conn.close().await?;
    Ok(Some(count))
}

/// Parses a PostgreSQL URL into the options of each host.
///
/// # Errors
/// The message does not quote the parser's: a password that is not percent-encoded may end up in
/// any part of the URL.
pub fn postgres_hosts(url: &str) -> anyhow::Result<Vec<PgConnectOptions>> {
    let refused = || {
        anyhow::anyhow!(
            "must be a PostgreSQL URL; percent-encode special characters in the password, and \
             check the port and the parameters, such as sslmode=verify-full"
        )
    };
    let options = split_hosts(url).into_iter().map(|url| {
        let options = PgConnectOptions::from_str(&url).map_err(|_| refused())?;
        let is_named = options.get_application_name().is_some();
        let options = if is_named { options } else { options.application_name(APPLICATION) };
        // A pooler refuses session settings that it does not know. No column is a float.
        Ok(options.extra_float_digits(None))
    });
    let options = options.collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!options.is_empty(), refused());
    Ok(options)
}

/// Whether the URL requests unnamed statements.
fn names_no_statements(url: &str) -> bool {
    let Some(Ok(url)) = split_hosts(url).first().map(|url| Url::parse(url)) else { return false };
    url.query_pairs().any(|(name, value)| name == "statement-cache-capacity" && value == "0")
}

/// How often two connections are compared: other clients of a pooler may hide it for some time.
const ROUNDS: usize = 16;

/// Whether sessions are shared: an open connection changes its session, or two connections have the
/// same one.
///
/// A pooler assigns the most recently used session, or the least recently used one. In the first
/// case two alternating connections get the same session. In the second case one of them gets
/// another session; asking one of them twice ensures that for two sessions, too.
async fn is_pooled(a: &mut PgConnection, b: &mut PgConnection) -> sqlx::Result<bool> {
    for _ in 0..ROUNDS {
        let (first, other) = (session(a).await?, session(b).await?);
        let again = [session(a).await?, session(a).await?];
        if first == other || again != [first; 2] || session(b).await? != other {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn session(conn: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(conn).await?.try_get(0)
}
