//! A connection, or the transaction that runs on it.

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, SqliteConnection, Transaction};
use tokio::sync::OwnedMutexGuard;

use super::Db;
use super::direct::Reader;
use super::failures::InDoubt;
use super::found::Found;
use super::postgres::{Reading, Statements};
use super::recent::SeenRecent;
use super::writer::Turn;

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
    PostgresTx(Transaction<'static, Postgres>, Statements),
    /// A transaction of a single statement, which commits when it ends.
    PostgresSingle {
        conn: PoolConnection<Postgres>,
        is_used: bool,
    },
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
        matches!(self, Self::SqliteTx(_) | Self::PostgresTx(..) | Self::PostgresSingle { .. })
    }

    /// Whether other reads share the connection: it may read an earlier state of the database.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Commits. A commit that has begun completes even when this future is dropped.
    pub async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::SqliteTx(tx) => tx.commit().await,
            Self::PostgresTx(tx, _) => {
                let committed = tokio::spawn(async move { tx.commit().await }).await;
                let lost = |why| sqlx::Error::Io(std::io::Error::other(InDoubt(why)));
                committed.map_err(|error| lost(error.into()))?.map_err(|error| match error {
                    sqlx::Error::Io(why) => lost(why),
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

    pub(in crate::kernel) fn is_sqlite(&self) -> bool {
        match self {
            Self::Idle(db, _) => matches!(db, Db::Sqlite { .. }),
            Self::Shared(shared) => shared.0.is_sqlite(),
            Self::Sqlite(_) | Self::SqliteRead(_) | Self::SqliteTx(_) | Self::SqliteAlone(_) => {
                true
            }
            Self::Postgres(_)
            | Self::PostgresRead(..)
            | Self::PostgresTx(..)
            | Self::PostgresSingle { .. }
            | Self::PostgresAlone(_) => false,
        }
    }

    /// Returns the connection itself, behind the turn at a shared one.
    pub(in crate::kernel) fn own(&mut self) -> &mut Self {
        match self {
            Self::Shared(shared) => shared.0.own(),
            own => own,
        }
    }

    /// Connects for the next statement.
    pub(in crate::kernel) async fn connect(&mut self) -> sqlx::Result<()> {
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
