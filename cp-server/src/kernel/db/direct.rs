//! Reads of an SQLite file on the thread that asks.
//!
//! # Design
//! sqlx runs each SQLite connection on a thread of its own. So each statement costs two switches of
//! threads, and each row a message. Most reads take a few microseconds, less than one switch. So reads
//! use rusqlite here, on the thread of the request. The runtime has more threads than there are readers,
//! so that a long read delays no other request. Writes, whole tables and snapshots stay with sqlx.
//!
//! Rows and values form a [`Direct`] database for sqlx: what derives `FromRow` or `Type` needs no
//! second implementation.

mod driver;
mod failures;
mod marker;
mod row;
mod values;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Statement};
use sqlx::sqlite::SqliteConnectOptions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

pub(in crate::kernel) use self::marker::Direct;
pub(in crate::kernel) use self::row::DirectRow;
pub(super) use self::row::SMALL;
pub(in crate::kernel) use self::values::DirectArguments;

use self::failures::failure;
use self::row::Columns;

/// The prepared statements that a connection keeps.
const STATEMENTS: usize = 256;

/// The connections that read.
#[derive(Clone, Debug)]
pub struct Readers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: SqliteConnectOptions,
    patience: Duration,
    most: u32,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(options: SqliteConnectOptions, patience: Duration, most: u32) -> Self {
        let places = Arc::new(Semaphore::new(most as usize));
        Self(Arc::new(Shared { options, patience, most, places, idle: Mutex::default() }))
    }

    /// Returns readers with this connection only.
    pub(super) fn alone(conn: Connection) -> Self {
        let readers = Self::new(SqliteConnectOptions::new(), Duration::ZERO, 1);
        readers.idle().push(conn);
        readers
    }

    /// Returns a connection when one is free.
    pub(super) async fn acquire(&self) -> sqlx::Result<Reader> {
        let place = timeout(self.0.patience, self.0.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let place = place.map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle().pop();
        let conn = idle.map_or_else(|| self.open(), Ok)?;
        Ok(Reader { conn: Some(conn), readers: self.clone(), _place: place })
    }

    /// Returns a connection that reads one state of the file.
    pub(super) async fn begin(&self) -> sqlx::Result<Reader> {
        let mut reader = self.acquire().await?;
        reader.run("BEGIN")?;
        Ok(reader)
    }

    fn open(&self) -> sqlx::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let conn = Connection::open_with_flags(self.0.options.get_filename(), flags)?;
            conn.busy_timeout(self.0.patience)?;
            conn.pragma_update(None, "trusted_schema", "OFF")?;
            conn.pragma_update(None, "cell_size_check", "ON")?;
            conn.set_prepared_statement_cache_capacity(STATEMENTS);
            Ok(conn)
        };
        open().map_err(failure)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the options for a connection that sqlx drives.
    pub(super) fn options(&self) -> SqliteConnectOptions {
        self.0.options.clone()
    }

    /// The maximum number of connections.
    pub(super) fn most(&self) -> u32 {
        self.0.most
    }

    /// The number of connections in use.
    pub(super) fn used(&self) -> u32 {
        let free = u32::try_from(self.0.places.available_permits()).unwrap_or(u32::MAX);
        self.0.most.saturating_sub(free)
    }

    /// The number of open connections that are not in use.
    pub(super) fn unused(&self) -> u32 {
        u32::try_from(self.idle().len()).unwrap_or(u32::MAX)
    }

    /// Closes the connections when their reads have ended.
    pub(super) async fn close(&self) {
        drop(self.0.places.acquire_many(self.0.most).await);
        self.0.places.close();
        self.idle().clear();
    }
}

/// A connection for reading. Dropped, it returns to the others.
pub struct Reader {
    conn: Option<Connection>,
    readers: Readers,
    _place: OwnedSemaphorePermit,
}

/// How much a statement reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl Reader {
    fn conn(&self) -> sqlx::Result<&Connection> {
        self.conn.as_ref().ok_or(sqlx::Error::PoolClosed)
    }

    /// Runs statements without parameters and rows.
    pub(super) fn run(&mut self, sql: &str) -> sqlx::Result<()> {
        self.conn()?.execute_batch(sql).map_err(failure)
    }

    /// Returns the rows, and whether more of them would exceed the bytes.
    pub(super) fn rows(
        &mut self,
        sql: &str,
        arguments: &[Value],
        most: Most,
    ) -> sqlx::Result<(Vec<DirectRow>, bool)> {
        let mut statement = self.conn()?.prepare_cached(sql).map_err(failure)?;
        let columns = Columns::of(&statement);
        bind(&mut statement, arguments)?;
        let mut rows = statement.raw_query();
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next().map_err(failure)? {
            if bytes > most.bytes {
                return Ok((found, true));
            }
            let row = DirectRow::read(row, &columns)?;
            bytes += row.weight();
            found.push(row);
            if found.len() == most.rows {
                break;
            }
        }
        Ok((found, false))
    }

    /// Executes a statement. Returns the number of affected rows.
    pub(super) fn execute(&mut self, sql: &str, arguments: &[Value]) -> sqlx::Result<u64> {
        let mut statement = self.conn()?.prepare_cached(sql).map_err(failure)?;
        bind(&mut statement, arguments)?;
        let affected = statement.raw_execute().map_err(failure)?;
        Ok(u64::try_from(affected).unwrap_or(u64::MAX))
    }
}

/// Binds the parameters. In SQLite, `$2` is a name, whose index is that of its first place in the text.
fn bind(statement: &mut Statement<'_>, arguments: &[Value]) -> sqlx::Result<()> {
    for at in 1..=statement.parameter_count() {
        let number = statement.parameter_name(at).and_then(|name| name.get(1..)?.parse().ok());
        let place = number.unwrap_or(at).checked_sub(1);
        let value = place.and_then(|place| arguments.get(place)).unwrap_or(&Value::Null);
        statement.raw_bind_parameter(at, value).map_err(failure)?;
    }
    Ok(())
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        // A connection whose transaction does not end is not used again.
        if conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok() {
            self.readers.idle().push(conn);
        }
    }
}
