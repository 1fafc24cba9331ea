//! Whole tables of any content: read from one database and written into the other.
//!
//! # Design
//!
//! A value has the form in which SQLite stores it: an integer, a string or bytes. PostgreSQL has
//! more types and names them in its catalog, so its side translates. A UUID becomes its 16 bytes, a
//! time the string that sqlx writes into SQLite, JSON its encoding, a boolean 0 or 1. So rows from
//! either database can be written into either. An unknown type is refused by name, not guessed.

#![expect(
    clippy::disallowed_methods,
    reason = "the tables are known only at run time, and each database lists them in its own way"
)]

mod batch;
mod cells;
mod copying;
mod filling;
mod table;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::StreamExt;
use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, TypeInfo, ValueRef};

use crate::kernel::db::{Conn, side_files};

pub use self::batch::Batch;
pub use self::cells::Cell;
pub use self::filling::Filling;
pub use self::table::{Column, Table};

/// The table in which sqlx records migrations.
const MIGRATIONS: &str = "_sqlx_migrations";

/// Lists every table of the schema by name, except that of the migrations.
pub async fn all(conn: &mut Conn) -> anyhow::Result<Vec<Table>> {
    let names: Vec<(String,)> = conn
        .q2(
            "SELECT name FROM sqlite_master
             WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> $1
             ORDER BY name",
            "SELECT table_name::text FROM information_schema.tables
             WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'
                 AND table_name <> $1
             ORDER BY table_name",
        )
        .bind(MIGRATIONS)
        .all()
        .await?;
    let mut tables = Vec::new();
    for (name,) in names {
        let columns: Vec<(String, String)> = conn
            .q2(
                "SELECT name, '' FROM pragma_table_info($1) ORDER BY cid",
                "SELECT column_name::text, udt_name::text FROM information_schema.columns
                 WHERE table_schema = current_schema() AND table_name = $1
                 ORDER BY ordinal_position",
            )
            .bind(name.as_str())
            .all()
            .await?;
        let columns = columns.into_iter().map(|(name, kind)| Column { name, kind }).collect();
        tables.push(Table { name, columns });
    }
    Ok(tables)
}

/// Returns the versions of the migrations that the database has.
pub async fn migrated(conn: &mut Conn) -> anyhow::Result<Vec<i64>> {
    let is_there: Option<i64> = conn
        .q2(
            "SELECT 1 FROM sqlite_master WHERE name = $1",
            "SELECT 1::bigint FROM information_schema.tables
             WHERE table_schema = current_schema() AND table_name = $1",
        )
        .bind(MIGRATIONS)
        .value()
        .await?;
    if is_there.is_none() {
        return Ok(Vec::new());
    }
    let sql = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";
    let versions: Vec<(i64,)> = conn.q(sql).all().await?;
    Ok(versions.into_iter().map(|(version,)| version).collect())
}

pub async fn count(conn: &mut Conn, table: &str) -> anyhow::Result<u64> {
    let sql = AssertSqlSafe(format!("SELECT COUNT(*) FROM \"{table}\""));
    let rows: i64 = match conn {
        Conn::SqliteAlone(conn) => sqlx::query_scalar(sql).fetch_one(conn).await?,
        Conn::PostgresAlone(conn) => {
            sqlx::query_scalar(sql).persistent(false).fetch_one(conn).await?
        }
        _ => bail!("whole tables are read on a dedicated connection"),
    };
    Ok(rows.unsigned_abs())
}

/// Reads every row of a table, one after the other, on a dedicated connection.
pub async fn read(
    conn: &mut Conn,
    table: &Table,
    mut each: impl FnMut(Vec<Cell>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let columns: anyhow::Result<Vec<_>> =
        table.columns.iter().map(|column| column.selected()).collect();
    let sql = format!("SELECT {} FROM \"{}\"", columns?.join(", "), table.name);
    let broken = |at: usize| format!("{}.{}", table.name, table.columns[at].name);
    let sql = AssertSqlSafe(sql);
    match conn {
        Conn::SqliteAlone(conn) => {
            let mut rows = sqlx::query(sql).fetch(conn);
            while let Some(row) = rows.next().await {
                let row = row?;
                let cells = (0..table.columns.len())
                    .map(|at| of_sqlite(&row, at).with_context(|| broken(at)));
                each(cells.collect::<anyhow::Result<_>>()?)?;
            }
        }
        Conn::PostgresAlone(conn) => {
            let mut rows = sqlx::query(sql).persistent(false).fetch(conn);
            while let Some(row) = rows.next().await {
                let row = row?;
                let cells =
                    table.columns.iter().enumerate().map(|(at, column)| {
                        column.of_postgres(&row, at).with_context(|| broken(at))
                    });
                each(cells.collect::<anyhow::Result<_>>()?)?;
            }
        }
        _ => bail!("whole tables are read on a dedicated connection"),
    }
    Ok(())
}

fn of_sqlite(row: &SqliteRow, at: usize) -> anyhow::Result<Cell> {
    let value = row.try_get_raw(at)?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let stored = value.type_info();
    Ok(match stored.name() {
        "INTEGER" => Cell::Integer(row.try_get_unchecked(at)?),
        "TEXT" => Cell::Text(row.try_get_unchecked::<&str, _>(at)?.into()),
        "BLOB" => Cell::Blob(row.try_get_unchecked(at)?),
        other => bail!("is stored as {other}, which backups do not support"),
    })
}

impl Column {
    /// Returns the SQL that selects the column on PostgreSQL.
    fn selected(&self) -> anyhow::Result<String> {
        let name = format!("\"{}\"", self.name);
        Ok(match &*self.kind {
            "" | "bytea" | "timestamptz" => name,
            "uuid" => format!("uuid_send({name})"),
            "bool" => format!("{name}::int::bigint"),
            "int2" | "int4" | "int8" => format!("{name}::bigint"),
            "text" | "varchar" | "json" | "jsonb" => format!("{name}::text"),
            other => bail!("{} has the type {other}, which backups do not support", self.name),
        })
    }

    fn of_postgres(&self, row: &PgRow, at: usize) -> anyhow::Result<Cell> {
        Ok(match &*self.kind {
            "bytea" | "uuid" => {
                row.try_get::<Option<Vec<u8>>, _>(at)?.map_or(Cell::Null, Cell::Blob)
            }
            "timestamptz" => {
                let at: Option<DateTime<Utc>> = row.try_get(at)?;
                // In the form of sqlx, because SQLite compares times as strings.
                let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, false);
                at.map(text).map_or(Cell::Null, |text| Cell::Text(text.into()))
            }
            "bool" | "int2" | "int4" | "int8" => {
                row.try_get::<Option<i64>, _>(at)?.map_or(Cell::Null, Cell::Integer)
            }
            _ => row
                .try_get::<Option<&str>, _>(at)?
                .map_or(Cell::Null, |text| Cell::Text(text.into())),
        })
    }
}

/// Checks that no other process has an SQLite file open. Afterwards the file contains its
/// write-ahead log. SQLite would delete the log of a missing or empty file, so it stays unchanged.
pub async fn is_alone(file: &Path) -> anyhow::Result<bool> {
    if side_files::is_empty(file) {
        return side_files::is_alone(file);
    }
    let options = SqliteConnectOptions::new().filename(file);
    let mut conn = options
        .busy_timeout(Duration::from_millis(200))
        .connect()
        .await
        .with_context(|| format!("{} cannot be opened", file.display()))?;
    // Only the sole connection may leave the WAL mode.
    let left: Result<String, _> =
        sqlx::query_scalar("PRAGMA journal_mode = DELETE").fetch_one(&mut conn).await;
    drop(conn.close().await);
    Ok(match left {
        Ok(mode) => mode == "delete",
        Err(sqlx::Error::Database(error)) => !error.message().contains("locked"),
        Err(_) => true,
    })
}
