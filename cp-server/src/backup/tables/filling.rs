//! Filling a database with whole tables.
//!
//! # Design
//!
//! Rows come in the order of their tables' names, so references to other tables are set aside
//! first. So are indexes: building one over all rows at the end costs a fraction of maintaining it
//! row by row. SQLite gets many rows in one statement, which is prepared once per table. PostgreSQL
//! gets them by `COPY`, which parses no statement and binds no value.

#![expect(
    clippy::disallowed_methods,
    reason = "the tables are known only at run time, and each database lists them in its own way"
)]

use anyhow::{Context, bail};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Sqlite, SqliteConnection};

use super::cells::Cell;
use super::table::Table;
use crate::kernel::db::installation::MARK_AS_RESTORING;

/// The maximum number of values in one statement; SQLite accepts some thirty thousand.
const PLACES: usize = 8_000;

/// A database that is being filled: nothing refuses a row before all rows are written.
pub enum Filling<'c> {
    Sqlite {
        conn: &'c mut SqliteConnection,
        indexes: Vec<String>,
        triggers: Vec<String>,
    },
    Postgres {
        tx: sqlx::Transaction<'c, Postgres>,
        tables: Vec<String>,
        indexes: Vec<String>,
        keys: Vec<String>,
    },
}

impl<'c> Filling<'c> {
    /// Sets aside what would refuse rows in arbitrary order.
    pub async fn sqlite(conn: &'c mut SqliteConnection) -> anyhow::Result<Self> {
        // No other process uses the file yet: one sync at the end is enough. Rows come in no
        // index's order, so pages stay in memory.
        let begin = "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF;
                     PRAGMA cache_size = -262144; BEGIN EXCLUSIVE";
        sqlx::raw_sql(begin).execute(&mut *conn).await?;
        let indexes = set_aside(conn, "index").await?;
        let triggers = set_aside(conn, "trigger").await?;
        Ok(Self::Sqlite { conn, indexes, triggers })
    }

    /// Does the same in one transaction; references to other tables are created again at the end.
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
        // The indexes that belong to no constraint, now that no key refers to them.
        let sql = "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
                   FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
                   JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = current_schema()
                     AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid)";
        let found: Vec<(String, String)> =
            sqlx::query_as(sql).persistent(false).fetch_all(&mut *tx).await?;
        let mut indexes = Vec::new();
        for (name, definition) in found {
            run_pg(&mut tx, format!("DROP INDEX {name}")).await?;
            indexes.push(definition);
        }
        Ok(Self::Postgres { tx, tables, indexes, keys })
    }

    /// Deletes the rows that the migrations inserted.
    pub async fn clear(&mut self, table: &Table) -> anyhow::Result<()> {
        let sql = format!("DELETE FROM \"{}\"", table.name);
        match self {
            Self::Sqlite { conn, .. } => run(conn, sql).await,
            Self::Postgres { tx, .. } => run_pg(tx, sql).await,
        }
    }

    /// Marks the database as one whose restore is not finished.
    pub async fn mark_as_restoring(&mut self) -> anyhow::Result<()> {
        match self {
            // The draft file replaces the database file when all is done.
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

    /// Restores what was set aside, which checks every row, and commits.
    pub async fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite { conn, indexes, triggers } => {
                for index in indexes {
                    run(conn, index).await?;
                }
                let sql = "SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1";
                let orphan: Option<String> =
                    sqlx::query_scalar(sql).fetch_optional(&mut *conn).await?;
                if let Some(table) = orphan {
                    bail!("{table}: a row refers to a missing row");
                }
                for trigger in triggers {
                    run(conn, trigger).await?;
                }
                let end = "COMMIT; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL";
                sqlx::raw_sql(end).execute(&mut *conn).await?;
                // The additional check of `integrity_check` is left out: it compares rows with
                // their indexes, and these indexes were just built from these rows.
                let sql = "SELECT quick_check FROM pragma_quick_check";
                let sound: String = sqlx::query_scalar(sql).fetch_one(conn).await?;
                anyhow::ensure!(sound == "ok", "the restored database is not sound: {sound}");
            }
            Self::Postgres { mut tx, tables, indexes, keys } => {
                for definition in indexes.into_iter().chain(keys) {
                    run_pg(&mut tx, definition).await?;
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

/// Drops all objects of this kind and returns the statements that create them again. The index of a
/// primary key stays.
async fn set_aside(conn: &mut SqliteConnection, kind: &'static str) -> anyhow::Result<Vec<String>> {
    let sql = "SELECT name, sql FROM sqlite_master WHERE type = $1 AND sql IS NOT NULL";
    let found: Vec<(String, String)> = sqlx::query_as(sql).bind(kind).fetch_all(&mut *conn).await?;
    let mut statements = Vec::new();
    for (name, sql) in found {
        run(conn, format!("DROP {kind} \"{name}\"")).await?;
        statements.push(sql);
    }
    Ok(statements)
}

async fn insert(
    conn: &mut SqliteConnection,
    table: &Table,
    rows: &[Vec<Cell>],
) -> anyhow::Result<()> {
    let width = table.columns.len().max(1);
    let names = names(table);
    for part in rows.chunks((PLACES / width).max(1)) {
        // Placeholders without numbers: SQLite finds a number by a linear search over all of them.
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
        // The next part reuses the statement of a full part.
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
