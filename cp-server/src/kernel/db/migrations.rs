//! The migrations, and their execution on PostgreSQL.
//!
//! # Design
//!
//! While it migrates, sqlx holds a session lock, prepares named statements, and commits after each
//! migration. A pooler in transaction mode changes the session in between. So one transaction
//! contains everything: the lock, which is the same as sqlx's, and every migration. A migration
//! that fails leaves the schema unchanged.

use std::time::Duration;

use anyhow::Context;
use flate2::Crc;
use futures_util::future::BoxFuture;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, Migrator};
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::{Db, installation};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The value of the installation that has the newest schema version and the version of the program
/// that wrote it.
const WRITTEN_BY: &str = "written by";

impl Db {
    /// Migrates the schema; safe to run on several replicas at once.
    ///
    /// # Errors
    /// Fails on a schema of a newer version, and names the version that is needed.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        match self.run(self.migrator()).await {
            Err(MigrateError::VersionMissing(_)) => Err(self.newer().await?),
            migrated => migrated.context("the schema cannot be migrated"),
        }
    }

    /// Returns the error for a schema that this version does not know.
    async fn newer(&self) -> anyhow::Result<anyhow::Error> {
        let stored = installation::value(&mut self.read(), WRITTEN_BY).await?;
        let stored = stored.and_then(|value| String::from_utf8(value).ok());
        let by = stored.as_deref().and_then(|text| Some(text.split_once(' ')?.1));
        let (by, needed) = match by {
            Some(by) => (format!(", cp-server {by},"), format!("cp-server {by}")),
            None => (" of cp-server".to_owned(), "that version".to_owned()),
        };
        Ok(anyhow::anyhow!(
            "a newer version{by} wrote this database, and this cp-server {VERSION} knows its schema only \
             up to {}: use {needed} or a later one",
            self.newest()
        ))
    }

    /// Records which version wrote the newest schema, for the refusals of earlier versions.
    pub async fn record_version(&self) -> sqlx::Result<()> {
        let stored = installation::value(&mut self.read(), WRITTEN_BY).await?;
        let schema = format!("{} ", self.newest());
        if stored.is_some_and(|value| value.starts_with(schema.as_bytes())) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        installation::set(&mut tx, WRITTEN_BY, (schema + VERSION).as_bytes()).await?;
        tx.commit().await
    }

    /// Returns the newest schema version that this program knows.
    fn newest(&self) -> i64 {
        self.migrator().iter().map(|migration| migration.version).max().unwrap_or_default()
    }

    /// Migrates an empty database to the schema of these versions.
    pub async fn migrate_some(&self, versions: &[i64]) -> Result<(), MigrateError> {
        let mut some = self.migrator();
        some.migrations.to_mut().retain(|migration| versions.contains(&migration.version));
        self.run(some).await
    }

    /// Returns the schema versions that this program knows for a database URL.
    pub fn migrations(url: &str) -> Vec<i64> {
        let known = if url.starts_with("sqlite:") { sqlite() } else { postgres() };
        known.iter().map(|migration| migration.version).collect()
    }

    fn migrator(&self) -> Migrator {
        match self {
            Self::Sqlite { .. } => sqlite(),
            Self::Postgres(_) => postgres(),
        }
    }

    async fn run(&self, migrator: Migrator) -> Result<(), MigrateError> {
        match self {
            Self::Sqlite { write, .. } => migrator.run(write.pool()).await,
            Self::Postgres(pool) => run_in_transaction(pool, &migrator).await,
        }
    }
}

fn sqlite() -> Migrator {
    sqlx::migrate!("../migrations/sqlite")
}

fn postgres() -> Migrator {
    sqlx::migrate!("../migrations/postgres")
}

async fn run_in_transaction(pool: &PgPool, migrator: &Migrator) -> Result<(), MigrateError> {
    let mut tx = pool.begin().await?;
    migrator.run_direct(None, &mut InTransaction(&mut tx), false).await?;
    Ok(tx.commit().await?)
}

/// A connection in a transaction, which runs every step of the migrations.
struct InTransaction<'c>(&'c mut PgConnection);

impl InTransaction<'_> {
    async fn run(&mut self, sql: String) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *self.0).await.map(drop)
    }
}

impl Migrate for InTransaction<'_> {
    fn create_schema_if_not_exists<'e>(
        &'e mut self,
        schema: &'e str,
    ) -> BoxFuture<'e, Result<(), MigrateError>> {
        Box::pin(
            async move { Ok(self.run(format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?) },
        )
    }

    fn ensure_migrations_table<'e>(
        &'e mut self,
        table: &'e str,
    ) -> BoxFuture<'e, Result<(), MigrateError>> {
        // The same table as sqlx creates.
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {table} (
                 version BIGINT PRIMARY KEY,
                 description TEXT NOT NULL,
                 installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
                 success BOOLEAN NOT NULL,
                 checksum BYTEA NOT NULL,
                 execution_time BIGINT NOT NULL
             )"
        );
        Box::pin(async move {
            // PostgreSQL reports an existing table, which the driver logs.
            let found = format!("SELECT to_regclass('{table}') IS NULL");
            let found = sqlx::raw_sql(AssertSqlSafe(found)).fetch_one(&mut *self.0).await?;
            if found.try_get(0)? {
                self.run(sql).await?;
            }
            Ok(())
        })
    }

    fn dirty_version<'e>(
        &'e mut self,
        table: &'e str,
    ) -> BoxFuture<'e, Result<Option<i64>, MigrateError>> {
        let sql = format!("SELECT version FROM {table} WHERE NOT success ORDER BY version LIMIT 1");
        Box::pin(async move {
            let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(&mut *self.0).await?;
            Ok(row.map(|row| row.try_get(0)).transpose()?)
        })
    }

    fn list_applied_migrations<'e>(
        &'e mut self,
        table: &'e str,
    ) -> BoxFuture<'e, Result<Vec<AppliedMigration>, MigrateError>> {
        let sql = format!("SELECT version, checksum FROM {table} ORDER BY version");
        Box::pin(async move {
            let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut *self.0).await?;
            let applied = rows.iter().map(|row| {
                let checksum: Vec<u8> = row.try_get(1)?;
                Ok(AppliedMigration { version: row.try_get(0)?, checksum: checksum.into() })
            });
            Ok(applied.collect::<sqlx::Result<_>>()?)
        })
    }

    fn lock(&mut self) -> BoxFuture<'_, Result<(), MigrateError>> {
        Box::pin(async move {
            let database = "SELECT current_database()::text";
            let row = sqlx::raw_sql(database).fetch_one(&mut *self.0).await?;
            let lock = lock_of(row.try_get(0)?);
            Ok(self.run(format!("SELECT pg_advisory_xact_lock({lock})")).await?)
        })
    }

    fn unlock(&mut self) -> BoxFuture<'_, Result<(), MigrateError>> {
        // The end of the transaction releases the lock.
        Box::pin(async { Ok(()) })
    }

    fn apply<'e>(
        &'e mut self,
        table: &'e str,
        migration: &'e Migration,
    ) -> BoxFuture<'e, Result<Duration, MigrateError>> {
        Box::pin(async move {
            let began = std::time::Instant::now();
            let done = sqlx::raw_sql(migration.sql.clone()).execute(&mut *self.0).await;
            done.map_err(|error| MigrateError::ExecuteMigration(error, migration.version))?;
            let took = began.elapsed();
            let record = format!(
                "INSERT INTO {table} (version, description, success, checksum, execution_time)
                 VALUES ({}, '{}', TRUE, '\\x{}', {})",
                migration.version,
                migration.description.replace('\'', "''"),
                crate::kernel::secret::hex(&migration.checksum),
                took.as_nanos()
            );
            self.run(record).await?;
            Ok(took)
        })
    }

    fn revert<'e>(
        &'e mut self,
        _table: &'e str,
        _migration: &'e Migration,
    ) -> BoxFuture<'e, Result<Duration, MigrateError>> {
        Box::pin(async {
            Err(sqlx::Error::Protocol("migrations cannot be reverted".into()).into())
        })
    }
}

/// Returns the lock key of sqlx, so that a replica of an earlier version waits, too.
fn lock_of(database: &str) -> i64 {
    let mut crc = Crc::new();
    crc.update(database.as_bytes());
    0x3d32_ad9e * i64::from(crc.sum())
}
