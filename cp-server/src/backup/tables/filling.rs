//! Filling a database with whole tables.
//!
//! # Design
//!
//! Rows come in the order of their tables' names, so references to other tables are set aside
//! first. So are indexes: building one over all rows at the end costs a fraction of maintaining it
//! row by row. SQLite gets many rows in one statement, which is prepared once per table. PostgreSQL
//! gets them by one `COPY` per table. Several were rejected: sqlx sends the end of a `COPY` by itself,
//! and TCP holds that back until the data before it is acknowledged, which takes 40 ms.

#![expect(
    clippy::disallowed_methods,
    reason = "the tables are known only at run time, and each database lists them in its own way"
)]

use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{
    Arguments, AssertSqlSafe, ConnectOptions, Connection, PgConnection, Postgres, Sqlite,
    SqliteConnection,
};

use super::batch::Batch;
use super::cells::Cell;
use super::copying;
use super::table::Table;
use crate::kernel::db::installation::MARK_AS_RESTORING;

/// A database that is being filled: nothing refuses a row before all rows are written.
pub enum Filling<'c> {
    Sqlite {
        conn: SqliteConnection,
        indexes: Vec<String>,
        triggers: Vec<String>,
    },
    Postgres {
        tx: sqlx::Transaction<'c, Postgres>,
        tables: Vec<String>,
        indexes: Vec<String>,
        keys: Vec<String>,
        references: Vec<String>,
    },
}

impl<'c> Filling<'c> {
    /// Opens a file that has the schema, and sets aside what would refuse rows in arbitrary order.
    pub async fn sqlite(file: &Path) -> anyhow::Result<Self> {
        // No other process uses the file before it is complete. Without a journal, each page is written
        // once, and one sync at the end is enough. Rows come in no index's order, so pages stay in memory.
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(false)
            .pragma("cache_size", "-262144");
        let mut conn = options.connect().await?;
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut conn).await?;
        ensure!(mode == "off", "{} is open in another process", file.display());
        sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut conn).await?;
        let indexes = set_aside(&mut conn, "index").await?;
        let triggers = set_aside(&mut conn, "trigger").await?;
        Ok(Self::Sqlite { conn, indexes, triggers })
    }

    /// Begins one transaction, and sets aside the same. [`Self::finish`] creates it again.
    pub async fn postgres(conn: &'c mut PgConnection) -> anyhow::Result<Self> {
        let mut tx = conn.begin().await?;
        // Indexes are built, and references are checked, in memory.
        run_pg(&mut tx, "SET LOCAL maintenance_work_mem = '256MB'".to_owned()).await?;
        let sql = "SELECT table_name::text FROM information_schema.tables
                   WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'
                       AND table_name <> '_sqlx_migrations'";
        let tables: Vec<String> =
            sqlx::query_scalar(sql).persistent(false).fetch_all(&mut *tx).await?;
        for table in &tables {
            run_pg(&mut tx, format!("ALTER TABLE \"{table}\" DISABLE TRIGGER USER")).await?;
        }
        let references = drop_constraints(&mut tx, &["f"]).await?;
        let keys = drop_constraints(&mut tx, &["p", "u"]).await?;
        // The indexes that belong to no constraint.
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
        Ok(Self::Postgres { tx, tables, indexes, keys, references })
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

    /// Writes the rows of a table, whose cells are in the order of the table's columns.
    pub async fn write(
        &mut self,
        table: &Table,
        next: impl AsyncFnMut() -> Option<Batch>,
    ) -> anyhow::Result<()> {
        let written = match self {
            Self::Sqlite { conn, .. } => insert(conn, table, next).await,
            Self::Postgres { tx, .. } => copy(tx, table, next).await,
        };
        written.with_context(|| table.name.clone())
    }

    /// Restores what was set aside, which checks every row, and commits.
    pub async fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite { mut conn, indexes, triggers } => {
                for index in indexes {
                    run(&mut conn, index).await?;
                }
                let sql = "SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1";
                let orphan: Option<String> =
                    sqlx::query_scalar(sql).fetch_optional(&mut conn).await?;
                if let Some(table) = orphan {
                    bail!("{table}: a row refers to a missing row");
                }
                for trigger in triggers {
                    run(&mut conn, trigger).await?;
                }
                run(&mut conn, "COMMIT".to_owned()).await?;
                // The additional check of `integrity_check` is left out: it compares rows with
                // their indexes, and these indexes were just built from these rows.
                let sql = "SELECT quick_check FROM pragma_quick_check";
                let sound: String = sqlx::query_scalar(sql).fetch_one(&mut conn).await?;
                ensure!(sound == "ok", "the restored database is not sound: {sound}");
                conn.close().await?;
            }
            Self::Postgres { mut tx, tables, indexes, keys, references } => {
                for definition in keys.into_iter().chain(indexes).chain(references) {
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

/// Drops the constraints of these types. Returns the statements that create them again.
async fn drop_constraints(conn: &mut PgConnection, types: &[&str]) -> anyhow::Result<Vec<String>> {
    let sql = "SELECT c.relname::text, k.conname::text, pg_get_constraintdef(k.oid)
               FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
               JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = current_schema() AND k.contype::text = ANY($1)
                   AND c.relname <> '_sqlx_migrations'";
    let query = sqlx::query_as(sql).bind(types).persistent(false);
    let found: Vec<(String, String, String)> = query.fetch_all(&mut *conn).await?;
    let mut statements = Vec::new();
    for (table, name, definition) in found {
        run_pg(conn, format!("ALTER TABLE \"{table}\" DROP CONSTRAINT \"{name}\"")).await?;
        statements.push(format!("ALTER TABLE \"{table}\" ADD CONSTRAINT \"{name}\" {definition}"));
    }
    Ok(statements)
}

async fn insert(
    conn: &mut SqliteConnection,
    table: &Table,
    mut next: impl AsyncFnMut() -> Option<Batch>,
) -> anyhow::Result<()> {
    let names = names(table);
    // Placeholders without numbers: SQLite finds a number by a linear search over all of them.
    let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
    while let Some(batch) = next().await {
        let rows = vec![&*row; batch.len()].join(", ");
        let sql = format!("INSERT INTO \"{}\" ({names}) VALUES {rows}", table.name);
        let cells = batch.into_cells();
        let mut values = SqliteArguments::default();
        values.reserve(cells.len(), 0);
        for cell in cells {
            let added = match cell {
                Cell::Null => values.add(None::<i64>),
                Cell::Integer(value) => values.add(value),
                Cell::Text(text) => values.add(text),
                Cell::Blob(bytes) => values.add(bytes),
            };
            added.map_err(|error| anyhow!(error))?;
        }
        // The next batch reuses the statement of a full batch.
        sqlx::query_with::<Sqlite, _>(AssertSqlSafe(sql), values).execute(&mut *conn).await?;
    }
    Ok(())
}

async fn copy(
    conn: &mut PgConnection,
    table: &Table,
    mut next: impl AsyncFnMut() -> Option<Batch>,
) -> anyhow::Result<()> {
    let Some(mut batch) = next().await else { return Ok(()) };
    let columns = names(table);
    let sql = format!("COPY \"{}\" ({columns}) FROM STDIN (FORMAT binary)", table.name);
    let mut copying = conn.copy_in_raw(&sql).await?;
    let mut bytes = copying::HEADER.to_vec();
    loop {
        for row in batch.rows() {
            copying::row(&table.columns, row, &mut bytes)?;
        }
        let following = next().await;
        if following.is_none() {
            bytes.extend(copying::TRAILER);
        }
        copying.send(&*bytes).await?;
        bytes.clear();
        let Some(following) = following else { break };
        batch = following;
    }
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
