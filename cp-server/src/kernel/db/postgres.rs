//! PostgreSQL: its hosts, and what a pooler in front of it changes.
//!
//! # Design
//! A pooler in transaction mode gives a connection another session for each transaction. sqlx sends
//! a statement in two steps, each of which ends a transaction of its own: it prepares the statement,
//! and then binds and executes it. Behind such a pooler the second step may meet another session,
//! which has no statement of that name, or another one. So there, every statement runs between `BEGIN`
//! and `COMMIT`, reads included, and has no name. That costs two more round trips for each read and
//! one more for each statement, so it is done only where [`is_pooled`] finds such a pooler. Nothing
//! else of a session is used anywhere: settings and locks end with their transaction.

use std::time::Duration;

use std::ops::Deref;
use std::str::FromStr;

use anyhow::ensure;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres, Row, Transaction};
use tokio::time::timeout;
use url::Url;

use super::hosts::{self, split_hosts};

/// How long a request waits for a connection before it is told to come back.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the statements of a connection are prepared under names, and found again by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statements {
    Named,
    Unnamed,
}

/// A connection for reading.
pub(super) enum Reading {
    /// With a session of its own.
    Session(PoolConnection<Postgres>),
    /// Behind a pooler, where only a transaction keeps its session.
    Transaction(Transaction<'static, Postgres>),
}

/// A pool of connections, all to the host that accepts changes.
#[derive(Clone, Debug)]
pub struct PgDatabase {
    pool: PgPool,
    statements: Statements,
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
        // The pool would try again until its patience ends, and then not tell why.
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
                "the database is behind a pooler in transaction mode: statements have no names"
            );
        }
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let most = pool.unwrap_or(u32::try_from(cores * 4).unwrap_or(8).max(8));
        let settings = PgPoolOptions::new().max_connections(most).acquire_timeout(PATIENCE);
        let pool = if hosts.len() > 1 {
            hosts::follow(hosts, at, settings).await?
        } else {
            settings.connect_with(options).await?
        };
        let statements = if pooled { Statements::Unnamed } else { Statements::Named };
        Ok(Self { pool, statements })
    }

    /// A connection to read from.
    pub(super) async fn read(&self) -> sqlx::Result<Reading> {
        Ok(match self.statements {
            Statements::Named => Reading::Session(self.pool.acquire().await?),
            Statements::Unnamed => Reading::Transaction(self.pool.begin().await?),
        })
    }

    /// A transaction to write in.
    pub(super) async fn begin(&self) -> sqlx::Result<(Transaction<'static, Postgres>, Statements)> {
        Ok((self.pool.begin().await?, self.statements))
    }

    /// A connection of its own that reads one state of the database.
    pub(super) async fn snapshot(&self) -> sqlx::Result<PgConnection> {
        begin_snapshot(self.pool.acquire().await?.detach()).await
    }
}

/// Begins a snapshot that no statement ends: the connection is closed instead.
pub(in crate::kernel) async fn begin_snapshot(
    mut conn: PgConnection,
) -> sqlx::Result<PgConnection> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
    sqlx::raw_sql(begin).execute(&mut conn).await?;
    Ok(conn)
}

/// Connects to the host that accepts changes, outside of any pool.
pub(crate) async fn connect_postgres(url: &str) -> anyhow::Result<PgConnection> {
    let hosts = postgres_hosts(url)?;
    Ok(timeout(PATIENCE, hosts::find_writable(&hosts)).await??.1)
}

/// Reads a URL of PostgreSQL: the options of each of its hosts.
///
/// # Errors
/// Without the words of the parser, which quote: a password that was not percent-encoded ends up in
/// any part of the URL.
pub fn postgres_hosts(url: &str) -> anyhow::Result<Vec<PgConnectOptions>> {
    let refused = || {
        anyhow::anyhow!(
            "it is not a URL of PostgreSQL; percent-encode what is special in the password, and \
             check the port and the parameters, such as sslmode=verify-full"
        )
    };
    let options = split_hosts(url).into_iter().map(|url| {
        let options = PgConnectOptions::from_str(&url).map_err(|_| refused())?;
        // A pooler refuses a setting of the session that it does not know. No column is a float.
        Ok(options.extra_float_digits(None))
    });
    let options = options.collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!options.is_empty(), refused());
    Ok(options)
}

/// Whether the URL asks for statements without names.
fn names_no_statements(url: &str) -> bool {
    let Some(Ok(url)) = split_hosts(url).first().map(|url| Url::parse(url)) else { return false };
    url.query_pairs().any(|(name, value)| name == "statement-cache-capacity" && value == "0")
}

/// How often two connections are compared: other clients of a pooler may hide it for a while.
const ROUNDS: usize = 16;

/// Whether sessions are shared: a connection that is open all the time changes its session, or two
/// have the same one.
///
/// A pooler takes the session that was used last, or the one that was used longest ago. Two
/// connections in turn get the same one in the first case, and one gets another one in the second;
/// asking one of them twice makes that so for two sessions, too.
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
