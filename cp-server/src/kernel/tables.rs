//! Whole tables, whatever is in them: read off the one database and written into the other.
//!
//! # Design
//! A value is told as SQLite stores it: an integer, a text or bytes. PostgreSQL has more types and
//! names them in its catalog, so its side translates: a UUID is its 16 bytes, a time the text that
//! sqlx writes into SQLite, JSON its text, a boolean 0 or 1. So whatever is read off either database
//! can be written into either. A type that this does not know is refused by name, not guessed.

#![expect(
    clippy::disallowed_methods,
    reason = "what tables there are is known at run time, and each database tells in its own way"
)]

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Postgres, Row, Sqlite,
    SqliteConnection, TypeInfo, ValueRef,
};
use uuid::Uuid;

use super::db::Conn;
use super::installation::MARK_AS_RESTORING;

/// The table in which sqlx keeps what was migrated.
const MIGRATIONS: &str = "_sqlx_migrations";

/// How many values go into one statement, at most; the databases take some ten thousand.
const PLACES: usize = 8_000;

/// One value of a row, as SQLite stores it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    Null(()),
    Integer(i64),
    Text(String),
    Blob {
        /// In base64.
        b: String,
    },
}

impl Cell {
    const NULL: Self = Self::Null(());

    fn blob(bytes: &[u8]) -> Self {
        Self::Blob { b: STANDARD.encode(bytes) }
    }

    fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Blob { b } => Ok(STANDARD.decode(b)?),
            other => bail!("{other:?} is not bytes"),
        }
    }
}

/// A table and its columns, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    /// PostgreSQL's own name of the type; nothing on SQLite, whose values tell.
    kind: String,
}

/// Every table of the schema but that of the migrations, by name.
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

/// The versions of the migrations that the database has.
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
        _ => bail!("whole tables are read off a connection of their own"),
    };
    Ok(rows.unsigned_abs())
}

/// Reads every row of a table, one after the other, off a connection of its own.
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
        _ => bail!("whole tables are read off a connection of their own"),
    }
    Ok(())
}

fn of_sqlite(row: &SqliteRow, at: usize) -> anyhow::Result<Cell> {
    let value = row.try_get_raw(at)?;
    if value.is_null() {
        return Ok(Cell::NULL);
    }
    let stored = value.type_info().name().to_owned();
    Ok(match &*stored {
        "INTEGER" => Cell::Integer(row.try_get_unchecked(at)?),
        "TEXT" => Cell::Text(row.try_get_unchecked(at)?),
        "BLOB" => Cell::blob(row.try_get_unchecked(at)?),
        other => bail!("is stored as {other}, which no backup knows"),
    })
}

impl Column {
    /// How PostgreSQL is asked for it.
    fn selected(&self) -> anyhow::Result<String> {
        let name = format!("\"{}\"", self.name);
        Ok(match &*self.kind {
            "" | "bytea" | "timestamptz" => name,
            "uuid" => format!("uuid_send({name})"),
            "bool" => format!("{name}::int::bigint"),
            "int2" | "int4" | "int8" => format!("{name}::bigint"),
            "text" | "varchar" | "json" | "jsonb" => format!("{name}::text"),
            other => bail!("{}: is a {other}, which no backup knows", self.name),
        })
    }

    fn of_postgres(&self, row: &PgRow, at: usize) -> anyhow::Result<Cell> {
        Ok(match &*self.kind {
            "bytea" | "uuid" => row.try_get::<Option<&[u8]>, _>(at)?.map_or(Cell::NULL, Cell::blob),
            "timestamptz" => {
                let at: Option<DateTime<Utc>> = row.try_get(at)?;
                // As sqlx writes it, because SQLite compares times as texts.
                let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, false);
                at.map(text).map_or(Cell::NULL, Cell::Text)
            }
            "bool" | "int2" | "int4" | "int8" => {
                row.try_get::<Option<i64>, _>(at)?.map_or(Cell::NULL, Cell::Integer)
            }
            _ => row.try_get::<Option<String>, _>(at)?.map_or(Cell::NULL, Cell::Text),
        })
    }

    /// How a value that is bound as text, or as bytes, becomes one of this type.
    fn place(&self, n: usize) -> String {
        match &*self.kind {
            "bytea" => format!("${n}"),
            kind => format!("${n}::text::{kind}"),
        }
    }

    fn to_postgres(&self, cell: &Cell) -> anyhow::Result<Option<String>> {
        Ok(Some(match (&*self.kind, cell) {
            (_, Cell::Null(())) => return Ok(None),
            ("uuid", cell) => Uuid::from_slice(&cell.bytes()?)?.to_string(),
            ("bool", Cell::Integer(value)) => (*value != 0).to_string(),
            (_, Cell::Integer(value)) => value.to_string(),
            (_, Cell::Text(text)) => text.clone(),
            (kind, Cell::Blob { .. }) => bail!("{}: bytes are no {kind}", self.name),
        }))
    }
}

/// Whether nobody else has an SQLite file open. What its write-ahead log has is in the file then.
pub async fn is_alone(file: &Path) -> anyhow::Result<bool> {
    let options = SqliteConnectOptions::new().filename(file);
    let mut conn = options
        .busy_timeout(Duration::from_millis(200))
        .connect()
        .await
        .with_context(|| format!("{} cannot be opened", file.display()))?;
    // Only who is alone may leave the mode that has such a log.
    let left: Result<String, _> =
        sqlx::query_scalar("PRAGMA journal_mode = DELETE").fetch_one(&mut conn).await;
    drop(conn.close().await);
    Ok(match left {
        Ok(mode) => mode == "delete",
        Err(sqlx::Error::Database(error)) => !error.message().contains("locked"),
        Err(_) => true,
    })
}

/// A database that is being filled: nothing refuses a row before all are there.
pub enum Filling<'c> {
    Sqlite { conn: &'c mut SqliteConnection, triggers: Vec<String> },
    Postgres { tx: sqlx::Transaction<'c, Postgres>, tables: Vec<String>, keys: Vec<String> },
}

impl<'c> Filling<'c> {
    /// Sets aside what would refuse rows that come in any order.
    pub async fn sqlite(conn: &'c mut SqliteConnection) -> anyhow::Result<Self> {
        sqlx::raw_sql("PRAGMA foreign_keys = OFF; BEGIN EXCLUSIVE").execute(&mut *conn).await?;
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
        let width = table.columns.len().max(1);
        for part in rows.chunks((PLACES / width).max(1)) {
            self.write_part(table, part).await.with_context(|| table.name.clone())?;
        }
        Ok(())
    }

    async fn write_part(&mut self, table: &Table, rows: &[Vec<Cell>]) -> anyhow::Result<()> {
        let columns = &table.columns;
        let names: Vec<String> = columns.iter().map(|c| format!("\"{}\"", c.name)).collect();
        let mut n = 0;
        let places: Vec<String> = rows
            .iter()
            .map(|_| {
                let row = columns.iter().map(|column| {
                    n += 1;
                    if column.kind.is_empty() { format!("${n}") } else { column.place(n) }
                });
                format!("({})", row.collect::<Vec<_>>().join(", "))
            })
            .collect();
        let (names, places) = (names.join(", "), places.join(", "));
        let sql =
            AssertSqlSafe(format!("INSERT INTO \"{}\" ({names}) VALUES {places}", table.name));
        match self {
            Self::Sqlite { conn, .. } => {
                let mut query = sqlx::query::<Sqlite>(sql);
                for cell in rows.iter().flatten() {
                    query = match cell {
                        Cell::Null(()) => query.bind(None::<i64>),
                        Cell::Integer(value) => query.bind(*value),
                        Cell::Text(text) => query.bind(text.clone()),
                        Cell::Blob { .. } => query.bind(cell.bytes()?),
                    };
                }
                query.persistent(false).execute(&mut **conn).await?;
            }
            Self::Postgres { tx, .. } => {
                let mut query = sqlx::query::<Postgres>(sql);
                for row in rows {
                    for (column, cell) in columns.iter().zip(row) {
                        query = match (&*column.kind, cell) {
                            ("bytea", Cell::Null(())) => query.bind(None::<Vec<u8>>),
                            ("bytea", cell) => query.bind(cell.bytes()?),
                            _ => query.bind(column.to_postgres(cell)?),
                        };
                    }
                }
                query.persistent(false).execute(&mut **tx).await?;
            }
        }
        Ok(())
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
                sqlx::raw_sql("COMMIT; PRAGMA foreign_keys = ON").execute(&mut *conn).await?;
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

async fn run(conn: &mut SqliteConnection, sql: String) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

async fn run_pg(conn: &mut PgConnection, sql: String) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}
