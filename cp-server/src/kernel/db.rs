//! One SQL text over SQLite and PostgreSQL: the only place that knows which.
//!
//! # Design
//! A statement is written once, with `$1`, and bound value by value into the live driver's own
//! arguments, so that UUIDs, times and JSON keep their native types on both. `sqlx::Any` was
//! rejected because it knows no such types, a trait with two implementations because it doubles
//! every statement, and an ORM because SQL is the shorter language.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{
    Arguments, AssertSqlSafe, Encode, FromRow, Postgres, SqlSafeStr, Sqlite, Transaction, Type,
};

use super::record::Record;

#[derive(Clone, Debug)]
pub enum Db {
    Sqlite { read: SqlitePool, write: SqlitePool },
    Postgres(PgPool),
}

/// How long a request waits for a connection before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);

impl Db {
    /// Opens `sqlite:PATH` (created if missing, mode 0600) or `postgres://…`.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url)?;
            let cores = std::thread::available_parallelism().map_or(2, usize::from);
            let pool = PgPoolOptions::new()
                .max_connections(u32::try_from(cores * 4).unwrap_or(8).max(8))
                .acquire_timeout(PATIENCE)
                .connect_with(options)
                .await?;
            return Ok(Self::Postgres(pool));
        }
        let Some(path) = url.strip_prefix("sqlite:") else {
            anyhow::bail!("{url:?} is neither sqlite:PATH nor postgres://USER@HOST/DATABASE");
        };
        let path = PathBuf::from(path.trim_start_matches("//"));
        super::files::create_private(&path)?;
        Self::open_sqlite(&path, SqliteSynchronous::Full).await
    }

    /// `synchronous` is `Full` wherever licenses are kept: one that was handed out must survive a
    /// power cut. Tests, whose data nobody keeps, choose less.
    pub async fn open_sqlite(path: &Path, synchronous: SqliteSynchronous) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            .pragma("secure_delete", "ON");
        // One writer: SQLite has one write lock, and waiting in our queue is fair where its busy
        // handler is not.
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            // A file does not hang up: asking it before every request is a thread hop for nothing.
            .test_before_acquire(false)
            .connect_with(options.clone())
            .await?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let read = SqlitePoolOptions::new()
            .max_connections(u32::try_from(cores).unwrap_or(2).max(2))
            .acquire_timeout(PATIENCE)
            .test_before_acquire(false)
            .connect_lazy_with(options.read_only(true));
        let db = Self::Sqlite { read, write };
        db.check_pragmas(synchronous).await?;
        Ok(db)
    }

    /// SQLite ignores a pragma that it cannot honour, so what was set is read back.
    async fn check_pragmas(&self, synchronous: SqliteSynchronous) -> anyhow::Result<()> {
        let mut conn = self.begin().await?;
        let level = match synchronous {
            SqliteSynchronous::Off => 0,
            SqliteSynchronous::Normal => 1,
            SqliteSynchronous::Full => 2,
            SqliteSynchronous::Extra => 3,
        };
        let journal: Option<String> =
            conn.q("SELECT journal_mode FROM pragma_journal_mode").value().await?;
        let found: Option<i64> =
            conn.q("SELECT synchronous FROM pragma_synchronous").value().await?;
        let keys: Option<i64> =
            conn.q("SELECT foreign_keys FROM pragma_foreign_keys").value().await?;
        if journal.as_deref() != Some("wal") || found != Some(level) || keys != Some(1) {
            anyhow::bail!(
                "the SQLite file does not take journal_mode=WAL, synchronous={level} and \
                 foreign_keys=ON (found {journal:?}, {found:?}, {keys:?}); is it on a network \
                 file system?"
            );
        }
        Ok(())
    }

    /// Brings the schema up to date; safe to run from several replicas at once.
    pub async fn migrate(&self) -> Result<(), sqlx::migrate::MigrateError> {
        match self {
            Self::Sqlite { write, .. } => sqlx::migrate!("../migrations/sqlite").run(write).await,
            Self::Postgres(pool) => sqlx::migrate!("../migrations/postgres").run(pool).await,
        }
    }

    /// A connection to read from, taken at the first statement: an answer that is known already
    /// costs none.
    pub fn read(&self) -> Conn {
        Conn::Idle(self.clone())
    }

    /// A transaction to write in; dropped without `commit`, it rolls back.
    pub async fn begin(&self) -> sqlx::Result<Conn> {
        Ok(match self {
            // Takes the write lock now: one taken at the first write fails with
            // SQLITE_BUSY_SNAPSHOT, which no busy timeout waits out.
            Self::Sqlite { write, .. } => {
                Conn::SqliteTx(write.begin_with("BEGIN IMMEDIATE").await?)
            }
            Self::Postgres(pool) => Conn::PostgresTx(pool.begin().await?),
        })
    }

    /// Closes every connection; on SQLite the write-ahead log is folded into the file.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { read, write } => {
                read.close().await;
                if let Ok(mut conn) = write.acquire().await {
                    let checkpoint = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)");
                    if let Err(error) = checkpoint.execute(&mut *conn).await {
                        tracing::warn!(%error, "the write-ahead log was left for the next start");
                    }
                }
                write.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }
}

/// A connection, or the transaction that runs on it.
pub enum Conn {
    /// Not connected yet.
    Idle(Db),
    Sqlite(PoolConnection<Sqlite>),
    SqliteTx(Transaction<'static, Sqlite>),
    Postgres(PoolConnection<Postgres>),
    PostgresTx(Transaction<'static, Postgres>),
}

impl Conn {
    /// Whether this is a transaction that can write.
    pub fn writes(&self) -> bool {
        matches!(self, Self::SqliteTx(_) | Self::PostgresTx(_))
    }

    pub async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::SqliteTx(tx) => tx.commit().await,
            Self::PostgresTx(tx) => tx.commit().await,
            Self::Idle(_) | Self::Sqlite(_) | Self::Postgres(_) => Ok(()),
        }
    }

    fn is_sqlite(&self) -> bool {
        matches!(self, Self::Idle(Db::Sqlite { .. }) | Self::Sqlite(_) | Self::SqliteTx(_))
    }

    async fn connect(&mut self) -> sqlx::Result<()> {
        match self {
            Self::Idle(Db::Sqlite { read, .. }) => *self = Self::Sqlite(read.acquire().await?),
            Self::Idle(Db::Postgres(pool)) => *self = Self::Postgres(pool.acquire().await?),
            _ => {}
        }
        Ok(())
    }

    pub fn q(&mut self, sql: &'static str) -> Query<'_> {
        Query::new(self, Text::Static(sql))
    }

    /// The rare statement whose text must differ.
    pub fn q2(&mut self, sqlite: &'static str, postgres: &'static str) -> Query<'_> {
        let text = if self.is_sqlite() { sqlite } else { postgres };
        self.q(text)
    }

    /// `SELECT <columns> FROM <table> <tail>`.
    pub fn select<R: Record>(&mut self, tail: &'static str) -> Rows<'_, R> {
        let sql = format!("SELECT {} FROM {} {tail}", R::COLUMNS, R::TABLE);
        Rows(Query::new(self, Text::Built(sql)), PhantomData)
    }

    /// `<statement> RETURNING <columns>`.
    pub fn returning<R: Record>(&mut self, statement: &'static str) -> Rows<'_, R> {
        let sql = format!("{statement} RETURNING {}", R::COLUMNS);
        Rows(Query::new(self, Text::Built(sql)), PhantomData)
    }
}

/// A value that both databases take.
pub trait Value<'q>:
    Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres>
{
}
impl<'q, T> Value<'q> for T where
    T: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres>
{
}

/// A row that both databases give.
pub trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{}

/// A statement in the making.
pub struct Query<'c> {
    conn: &'c mut Conn,
    text: Text,
    args: Args,
    bound: usize,
    refused: Option<sqlx::error::BoxDynError>,
}

enum Text {
    Static(&'static str),
    Built(String),
}

enum Args {
    Sqlite(SqliteArguments),
    Postgres(PgArguments),
}

enum Found {
    Sqlite(Vec<SqliteRow>),
    Postgres(Vec<PgRow>),
}

impl<'c> Query<'c> {
    fn new(conn: &'c mut Conn, text: Text) -> Self {
        let args = if conn.is_sqlite() {
            Args::Sqlite(SqliteArguments::default())
        } else {
            Args::Postgres(PgArguments::default())
        };
        Query { conn, text, args, bound: 0, refused: None }
    }

    /// Binds the next `$n`.
    pub fn bind<'q>(mut self, value: impl Value<'q>) -> Self {
        let done = match &mut self.args {
            Args::Sqlite(args) => Arguments::add(args, value),
            Args::Postgres(args) => Arguments::add(args, value),
        };
        self.bound += 1;
        self.refused = self.refused.or(done.err());
        self
    }

    /// Appends text in which every `?` stands for `value`.
    pub fn and<'q>(mut self, text: &'static str, value: impl Value<'q>) -> Self {
        let place = format!("${}", self.bound + 1);
        self.push(&text.replace('?', &place));
        self.bind(value)
    }

    /// Appends a filter when there is something to filter by.
    pub fn and_some<'q, T: Value<'q>>(self, text: &'static str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.and(text, value),
            None => self,
        }
    }

    pub fn sql(mut self, text: &'static str) -> Self {
        self.push(text);
        self
    }

    /// Appends `($1, $2), ($3, $4)`: a list of places for each item, bound by `bind`. For
    /// `VALUES` of many rows; the databases take some ten thousand places in one statement.
    pub fn rows<T>(
        mut self,
        items: impl IntoIterator<Item = T>,
        bind: impl Fn(Self, T) -> Self,
    ) -> Self {
        for (n, item) in items.into_iter().enumerate() {
            let first = self.bound + 1;
            self = bind(self, item);
            let places: Vec<String> = (first..=self.bound).map(|n| format!("${n}")).collect();
            let comma = if n == 0 { "" } else { ", " };
            self.push(&format!("{comma}({})", places.join(", ")));
        }
        self
    }

    fn push(&mut self, text: &str) {
        let before = match std::mem::replace(&mut self.text, Text::Static("")) {
            Text::Static(text) => text.to_owned(),
            Text::Built(text) => text,
        };
        self.text = Text::Built(before + text);
    }

    pub async fn all<T: Row>(self) -> sqlx::Result<Vec<T>> {
        self.run(usize::MAX).await?.decode()
    }

    pub async fn one<T: Row>(self) -> sqlx::Result<T> {
        self.opt().await?.ok_or(sqlx::Error::RowNotFound)
    }

    pub async fn opt<T: Row>(self) -> sqlx::Result<Option<T>> {
        Ok(self.run(1).await?.decode()?.pop())
    }

    /// The only column of the only row.
    pub async fn value<T>(self) -> sqlx::Result<Option<T>>
    where
        (T,): Row,
    {
        Ok(self.opt::<(T,)>().await?.map(|(value,)| value))
    }

    /// How many rows it touched.
    pub async fn exec(self) -> sqlx::Result<u64> {
        let (conn, text, args) = self.ready()?;
        conn.connect().await?;
        match (conn, args) {
            (Conn::Sqlite(c), Args::Sqlite(a)) => lite_exec(c, text, a).await,
            (Conn::SqliteTx(c), Args::Sqlite(a)) => lite_exec(c, text, a).await,
            (Conn::Postgres(c), Args::Postgres(a)) => pg_exec(c, text, a).await,
            (Conn::PostgresTx(c), Args::Postgres(a)) => pg_exec(c, text, a).await,
            _ => unreachable!("arguments are made for their connection"),
        }
    }

    // Not generic: compiled once, and the one place where a driver is called for rows.
    async fn run(self, most: usize) -> sqlx::Result<Found> {
        let (conn, text, args) = self.ready()?;
        conn.connect().await?;
        Ok(match (conn, args) {
            (Conn::Sqlite(c), Args::Sqlite(a)) => Found::Sqlite(lite_rows(c, text, a, most).await?),
            (Conn::SqliteTx(c), Args::Sqlite(a)) => {
                Found::Sqlite(lite_rows(c, text, a, most).await?)
            }
            (Conn::Postgres(c), Args::Postgres(a)) => {
                Found::Postgres(pg_rows(c, text, a, most).await?)
            }
            (Conn::PostgresTx(c), Args::Postgres(a)) => {
                Found::Postgres(pg_rows(c, text, a, most).await?)
            }
            _ => unreachable!("arguments are made for their connection"),
        })
    }

    fn ready(self) -> sqlx::Result<(&'c mut Conn, Text, Args)> {
        if let Some(error) = self.refused {
            return Err(sqlx::Error::Encode(error));
        }
        // A missing bind is NULL on SQLite, silently, and an error on PostgreSQL.
        #[cfg(debug_assertions)]
        {
            let text = match &self.text {
                Text::Static(text) => text,
                Text::Built(text) => text.as_str(),
            };
            let over = format!("${}", self.bound + 1);
            assert!(!text.contains(&over), "{over} is not bound in {text}");
        }
        Ok((self.conn, self.text, self.args))
    }
}

macro_rules! drivers {
    ($($rows:ident $exec:ident $conn:ty, $args:ty, $row:ty;)+) => {$(
        async fn $rows(
            conn: &mut $conn,
            text: Text,
            args: $args,
            most: usize,
        ) -> sqlx::Result<Vec<$row>> {
            let query = match text {
                Text::Static(sql) => sqlx::query_with(sql.into_sql_str(), args),
                Text::Built(sql) => sqlx::query_with(AssertSqlSafe(sql).into_sql_str(), args),
            };
            if most == 1 {
                Ok(query.fetch_optional(conn).await?.into_iter().collect())
            } else {
                query.fetch_all(conn).await
            }
        }
        async fn $exec(conn: &mut $conn, text: Text, args: $args) -> sqlx::Result<u64> {
            let query = match text {
                Text::Static(sql) => sqlx::query_with(sql.into_sql_str(), args),
                Text::Built(sql) => sqlx::query_with(AssertSqlSafe(sql).into_sql_str(), args),
            };
            Ok(query.execute(conn).await?.rows_affected())
        }
    )+};
}
drivers! {
    lite_rows lite_exec sqlx::SqliteConnection, SqliteArguments, SqliteRow;
    pg_rows pg_exec sqlx::PgConnection, PgArguments, PgRow;
}

impl Found {
    fn decode<T: Row>(self) -> sqlx::Result<Vec<T>> {
        match self {
            Self::Sqlite(rows) => rows.iter().map(T::from_row).collect(),
            Self::Postgres(rows) => rows.iter().map(T::from_row).collect(),
        }
    }
}

/// A query whose rows are records.
pub struct Rows<'c, R>(pub Query<'c>, PhantomData<fn() -> R>);

impl<R: Record> Rows<'_, R> {
    pub fn bind<'q>(self, value: impl Value<'q>) -> Self {
        Rows(self.0.bind(value), PhantomData)
    }
    pub fn and<'q>(self, text: &'static str, value: impl Value<'q>) -> Self {
        Rows(self.0.and(text, value), PhantomData)
    }
    pub fn and_some<'q, T: Value<'q>>(self, text: &'static str, value: Option<T>) -> Self {
        Rows(self.0.and_some(text, value), PhantomData)
    }
    pub fn sql(self, text: &'static str) -> Self {
        Rows(self.0.sql(text), PhantomData)
    }
    /// Keeps the rows from others until the end of the transaction. SQLite has one writer, which
    /// is this transaction already.
    pub fn locked(self) -> Self {
        match self.0.args {
            Args::Sqlite(_) => self,
            Args::Postgres(_) => self.sql(" FOR UPDATE"),
        }
    }
    pub async fn all(self) -> sqlx::Result<Vec<R>> {
        self.0.all().await
    }
    pub async fn one(self) -> sqlx::Result<R> {
        self.0.one().await
    }
    pub async fn opt(self) -> sqlx::Result<Option<R>> {
        self.0.opt().await
    }
}

/// The constraint that refused a row, by the name of its index: `workspaces_slug`.
///
/// PostgreSQL names the index. SQLite lists the columns (`workspaces.organization_id,
/// workspaces.slug`) unless the index is on an expression. Indexes are therefore named after
/// their table and columns, an `organization_id` before others left out.
pub fn constraint_of(error: &dyn sqlx::error::DatabaseError) -> String {
    if let Some(name) = error.constraint() {
        return name.to_owned();
    }
    let message = error.message();
    let what = message.rsplit("failed: ").next().unwrap_or(message);
    if let Some(name) = what.strip_prefix("index '").and_then(|rest| rest.strip_suffix('\'')) {
        return name.to_owned();
    }
    let mut name = String::new();
    for column in what.split(", ") {
        let (table, column) = column.split_once('.').unwrap_or(("", column));
        if name.is_empty() {
            name.push_str(table);
        }
        if column != "organization_id" || !what.contains(", ") {
            name.push('_');
            name.push_str(column);
        }
    }
    name
}
