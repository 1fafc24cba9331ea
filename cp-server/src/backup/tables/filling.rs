//! Filling a database with whole tables.
//!
//! # Design
//! Rows come in the order of their tables' names, so what refers to other tables is set aside first.
//! SQLite takes many rows in one statement, which is prepared once for each table. PostgreSQL takes
//! them by `COPY`, which parses no statement and binds no value.

#![expect(
    clippy::disallowed_methods,
    reason = "what tables there are is known at run time, and each database tells in its own way"
)]

use anyhow::{Context, bail};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Sqlite, SqliteConnection};

use super::cells::Cell;
use super::table::Table;
use crate::kernel::db::installation::MARK_AS_RESTORING;

/// How many values go into one statement, at most; SQLite takes some thirty thousand.
const PLACES: usize = 8_000;

/// A database that is being filled: nothing refuses a row before all are there.
pub enum Filling<'c> {
    Sqlite { conn: &'c mut SqliteConnection, triggers: Vec<String> },
    Postgres { tx: sqlx::Transaction<'c, Postgres>, tables: Vec<String>, keys: Vec<String> },
}

impl<'c> Filling<'c> {
    /// Sets aside what would refuse rows that come in any order.
    pub async fn sqlite(conn: &'c mut SqliteConnection) -> anyhow::Result<Self> {
        // The file is nobody's yet: what is written is synced once, at the end. Rows come in no index's
        // order, so pages stay in memory.
        let begin = "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF;
                     PRAGMA cache_size = -262144; BEGIN EXCLUSIVE";
        sqlx::raw_sql(begin).execute(&mut *conn).await?;
        let sql = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'";
        let found: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(&mut *conn).await?;
        for (name, _) in &found {
            run(&mut *conn, format!("DROP TRIGGER \"{name}\"")).await?;
        }
        Ok(Self::Sqlite { conn, triggers: found.into_iter().map(|(_, sql)| sql).collect() })
    }

    /// The same, in one transaction: what refers to other tables is made anew at the end.
    pub async fn postgres(conn: &'c mut PgConnection) -> anyhow::Result<Self> {
        let mut tx = conn.begin().await?;
        let sql = "SELECT c.relname::text, k.conname::text, pg_get_constraintdef(k.oid)
                   FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
                   JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = current_schema() AND k.contype = 'f'";
        let found: Vec<(String, String, String)> =
            sqlx::query_as(sql).persistent(false).fetch_all(&mut *tx).await?;
        let sql = "SELECT table_name::text FROM information_schema.tables
                   WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'
                       AND table_name <> '_sqlx_migrations'";
        let tables: Vec<String> =
            sqlx::query_scalar(sql).persistent(false).fetch_all(&mut *tx).await?;
        for table in &tables {
            run_pg(&mut tx, format!("ALTER TABLE \"{table}\" DISABLE TRIGGER USER")).await?;
        }
        let mut keys = Vec::new();
        for (table, name, definition) in found {
            run_pg(&mut tx, format!("ALTER TABLE \"{table}\" DROP CONSTRAINT \"{name}\"")).await?;
            keys.push(format!("ALTER TABLE \"{table}\" ADD CONSTRAINT \"{name}\" {definition}"));
        }
        Ok(Self::Postgres { tx, tables, keys })
    }

    /// Takes out the rows that the migrations have put in.
    pub async fn clear(&mut self, table: &Table) -> anyhow::Result<()> {
        let sql = format!("DELETE FROM \"{}\"", table.name);
        match self {
            Self::Sqlite { conn, .. } => run(conn, sql).await,
            Self::Postgres { tx, .. } => run_pg(tx, sql).await,
        }
    }

    /// Marks the database as one whose restore has not come to its end.
    pub async fn mark_as_restoring(&mut self) -> anyhow::Result<()> {
        match self {
            // Its file takes its place when all is done.
            Self::Sqlite { .. } => Ok(()),
            Self::Postgres { tx, .. } => run_pg(tx, MARK_AS_RESTORING.to_owned()).await,
        }
    }

    /// Writes rows whose cells are in the order of these columns.
    pub async fn write(&mut self, table: &Table, rows: &[Vec<Cell>]) -> anyhow::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let written = match self {
            Self::Sqlite { conn, .. } => insert(conn, table, rows).await,
            Self::Postgres { tx, .. } => copy(tx, table, rows).await,
        };
        written.with_context(|| table.name.clone())
    }

    /// Puts back what was set aside, which looks at every row, and commits.
    pub async fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite { conn, triggers } => {
                let sql = "SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1";
                let orphan: Option<String> =
                    sqlx::query_scalar(sql).fetch_optional(&mut *conn).await?;
                if let Some(table) = orphan {
                    bail!("{table}: a row refers to one that is not there");
                }
                for trigger in triggers {
                    run(conn, trigger).await?;
                }
                let end = "COMMIT; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL";
                sqlx::raw_sql(end).execute(&mut *conn).await?;
                let sql = "SELECT integrity_check FROM pragma_integrity_check";
                let sound: String = sqlx::query_scalar(sql).fetch_one(conn).await?;
                anyhow::ensure!(sound == "ok", "the database that was made is not sound: {sound}");
            }
            Self::Postgres { mut tx, tables, keys } => {
                for key in keys {
                    run_pg(&mut tx, key).await?;
                }
                for table in tables {
                    run_pg(&mut tx, format!("ALTER TABLE \"{table}\" ENABLE TRIGGER USER")).await?;
                }
                tx.commit().await?;
            }
        }
        Ok(())
    }
}

async fn insert(
    conn: &mut SqliteConnection,
    table: &Table,
    rows: &[Vec<Cell>],
) -> anyhow::Result<()> {
    let width = table.columns.len().max(1);
    let names = names(table);
    for part in rows.chunks((PLACES / width).max(1)) {
        // Places without numbers: SQLite finds a number by walking over all of them.
        let row = format!("({})", vec!["?"; width].join(", "));
        let places = vec![&*row; part.len()].join(", ");
        let sql = format!("INSERT INTO \"{}\" ({names}) VALUES {places}", table.name);
        let mut query = sqlx::query::<Sqlite>(AssertSqlSafe(sql));
        for cell in part.iter().flatten() {
            query = match cell {
                Cell::Null => query.bind(None::<i64>),
                Cell::Integer(value) => query.bind(*value),
                Cell::Text(text) => query.bind(text.clone()),
                Cell::Blob(bytes) => query.bind(bytes.clone()),
            };
        }
        // The statement of a full part is used again by the next one.
        query.execute(&mut *conn).await?;
    }
    Ok(())
}

async fn copy(conn: &mut PgConnection, table: &Table, rows: &[Vec<Cell>]) -> anyhow::Result<()> {
    let mut text = String::new();
    for row in rows {
        for (n, (column, cell)) in table.columns.iter().zip(row).enumerate() {
            if n > 0 {
                text.push('\t');
            }
            column.copied(cell, &mut text)?;
        }
        text.push('\n');
    }
    let sql = format!("COPY \"{}\" ({}) FROM STDIN", table.name, names(table));
    let mut copying = conn.copy_in_raw(&sql).await?;
    copying.send(text.into_bytes()).await?;
    copying.finish().await?;
    Ok(())
}

fn names(table: &Table) -> String {
    let names = table.columns.iter().map(|column| format!("\"{}\"", column.name));
    names.collect::<Vec<_>>().join(", ")
}

async fn run(conn: &mut SqliteConnection, sql: String) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

async fn run_pg(conn: &mut PgConnection, sql: String) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}
