//! Parts of a write transaction that are undone without the rest.

use sqlx::{Executor, raw_sql};

use super::Conn;
use crate::kernel::traces::Tracing;

impl Conn {
    /// Marks the state to which [`Self::undo_part`] returns.
    pub async fn begin_part(&mut self) -> sqlx::Result<()> {
        self.raw("SAVEPOINT part").await
    }

    /// Keeps the changes since the mark, and marks the state again.
    pub async fn keep_part(&mut self) -> sqlx::Result<()> {
        // One round trip. Without the release, the savepoints would pile up.
        self.raw("RELEASE SAVEPOINT part; SAVEPOINT part").await
    }

    /// Undoes the changes since the mark, which stays. On PostgreSQL, also a failed statement.
    pub async fn undo_part(&mut self) -> sqlx::Result<()> {
        self.raw("ROLLBACK TO SAVEPOINT part").await
    }

    /// Runs statements without parameters and rows.
    pub(super) async fn raw(&mut self, sql: &'static str) -> sqlx::Result<()> {
        let span = self.span(sql);
        self.run_raw(sql).recorded(span).await
    }

    async fn run_raw(&mut self, sql: &'static str) -> sqlx::Result<()> {
        self.connect().await?;
        match self {
            Self::Idle(..) | Self::Shared(_) | Self::PostgresSingle(_) => {
                Err(sqlx::Error::PoolClosed)
            }
            Self::Sqlite(reader) | Self::SqliteRead(reader) => reader.run(sql),
            Self::SqliteTx(turn) => turn.connection()?.execute(raw_sql(sql)).await.map(drop),
            Self::SqliteAlone(conn) => conn.execute(raw_sql(sql)).await.map(drop),
            Self::Postgres(conn) => (&mut **conn).execute(raw_sql(sql)).await.map(drop),
            Self::PostgresRead(tx, _) => (&mut **tx).execute(raw_sql(sql)).await.map(drop),
            Self::PostgresTx(change) => (&mut *change.tx).execute(raw_sql(sql)).await.map(drop),
            Self::PostgresAlone(conn) => conn.execute(raw_sql(sql)).await.map(drop),
        }
    }
}
