//! A connection of its own, past the pools of the server.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row, SqliteConnection, raw_sql,
};

use crate::world::database::FILE;

pub enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Raw {
    /// The file must be closed. A crash destroys it: there is no journal.
    pub async fn sqlite(folder: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(folder.join(FILE))
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(false)
            .pragma("cache_size", "-1000000")
            .pragma("temp_store", "MEMORY");
        Self::Sqlite(options.connect().await.unwrap())
    }

    pub async fn postgres(url: &str) -> Self {
        let mut raw = Self::Postgres(PgConnection::connect(url).await.unwrap());
        // Without the checks of foreign keys.
        raw.run("SET session_replication_role = replica".to_owned()).await;
        raw
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    pub async fn run(&mut self, sql: String) {
        let sql = raw_sql(AssertSqlSafe(sql));
        match self {
            Self::Sqlite(conn) => _ = sql.execute(conn).await.unwrap(),
            Self::Postgres(conn) => _ = sql.execute(conn).await.unwrap(),
        }
    }

    /// The rows of a query whose columns are texts.
    pub async fn rows(&mut self, sql: String) -> Vec<Vec<Option<String>>> {
        let sql = raw_sql(AssertSqlSafe(sql));
        match self {
            Self::Sqlite(conn) => {
                let rows = sql.fetch_all(conn).await.unwrap();
                rows.iter().map(|row| (0..row.len()).map(|n| row.get(n)).collect()).collect()
            }
            Self::Postgres(conn) => {
                let rows = sql.fetch_all(conn).await.unwrap();
                rows.iter().map(|row| (0..row.len()).map(|n| row.get(n)).collect()).collect()
            }
        }
    }

    pub async fn close(self) {
        match self {
            Self::Sqlite(conn) => conn.close().await.unwrap(),
            Self::Postgres(conn) => conn.close().await.unwrap(),
        }
    }
}
