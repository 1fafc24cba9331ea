//! The drivers of the two databases, and how a statement reaches its own.

use futures_util::stream::{self, BoxStream, Stream};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, SqlSafeStr, Sqlite, SqliteConnection};

use super::direct::{DirectArguments, DirectRow, Most, Reader, SMALL};
use super::{Conn, Statements};

/// The SQL of a statement.
pub(super) enum Text {
    Static(&'static str),
    Built(String),
}

impl Text {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Built(text) => text,
        }
    }
}

/// The parameters of a statement.
pub(super) enum Args {
    Sqlite(DirectArguments),
    Postgres(PgArguments),
}

/// The driver's connection, with the arguments for it.
pub(super) enum Driver<'c> {
    Direct(&'c mut Reader, DirectArguments),
    Sqlite(&'c mut SqliteConnection, SqliteArguments),
    Postgres(&'c mut PgConnection, PgArguments, Statements),
}

pub(super) async fn driver(conn: &mut Conn, args: Args) -> sqlx::Result<Driver<'_>> {
    let conn = conn.own();
    conn.connect().await?;
    Ok(match (conn, args) {
        (Conn::Sqlite(c) | Conn::SqliteRead(c), Args::Sqlite(a)) => Driver::Direct(c, a),
        (Conn::SqliteTx(c), Args::Sqlite(a)) => Driver::Sqlite(c.connection()?, a.for_sqlx()?),
        (Conn::SqliteAlone(c), Args::Sqlite(a)) => Driver::Sqlite(c, a.for_sqlx()?),
        (Conn::Postgres(c), Args::Postgres(a)) => Driver::Postgres(c, a, Statements::Named),
        (Conn::PostgresRead(c, names), Args::Postgres(a)) => Driver::Postgres(c, a, *names),
        (Conn::PostgresTx(change), Args::Postgres(a)) => {
            Driver::Postgres(&mut change.tx, a, change.statements)
        }
        (Conn::PostgresSingle(single), Args::Postgres(a)) => {
            if std::mem::replace(&mut single.is_used, true) {
                let why = "a transaction of a single statement began a second one";
                return Err(sqlx::Error::Protocol(why.to_owned()));
            }
            Driver::Postgres(&mut single.conn, a, Statements::Named)
        }
        // It runs few statements, and few of them twice.
        (Conn::PostgresAlone(c), Args::Postgres(a)) => Driver::Postgres(c, a, Statements::Unnamed),
        _ => unreachable!("arguments match their connection"),
    })
}

macro_rules! drivers {
    ($($ready:ident $rows:ident $exec:ident $stream:ident $db:ty, $conn:ty, $args:ty, $row:ty;)+) => {$(
        fn $ready(
            text: Text,
            args: $args,
            names: Statements,
        ) -> sqlx::query::Query<'static, $db, $args> {
            let sql = match text {
                Text::Static(sql) => sql.into_sql_str(),
                Text::Built(sql) => AssertSqlSafe(sql).into_sql_str(),
            };
            sqlx::query_with(sql, args).persistent(names == Statements::Named)
        }
        pub(super) async fn $rows(
            conn: &mut $conn,
            text: Text,
            args: $args,
            names: Statements,
            most: usize,
        ) -> sqlx::Result<Vec<$row>> {
            let query = $ready(text, args, names);
            if most == 1 {
                Ok(query.fetch_optional(conn).await?.into_iter().collect())
            } else {
                query.fetch_all(conn).await
            }
        }
        pub(super) async fn $exec(
            conn: &mut $conn,
            text: Text,
            args: $args,
            names: Statements,
        ) -> sqlx::Result<u64> {
            Ok($ready(text, args, names).execute(conn).await?.rows_affected())
        }
        pub(super) fn $stream<'c>(
            conn: &'c mut $conn,
            text: Text,
            args: $args,
            names: Statements,
        ) -> BoxStream<'c, sqlx::Result<$row>> {
            $ready(text, args, names).fetch(conn)
        }
    )+};
}
drivers! {
    lite_query lite_rows lite_exec lite_stream Sqlite, SqliteConnection, SqliteArguments, SqliteRow;
    pg_query pg_rows pg_exec pg_stream Postgres, PgConnection, PgArguments, PgRow;
}

/// The bytes that a stream reads at once on the thread that asks. Its reader ends before.
const AT_ONCE: usize = 32 * 1024 * 1024;

pub(super) fn direct_stream(
    reader: &mut Reader,
    text: &Text,
    args: &DirectArguments,
) -> sqlx::Result<impl Stream<Item = sqlx::Result<DirectRow>> + use<>> {
    let most = Most { rows: usize::MAX, bytes: AT_ONCE };
    let (rows, more) = reader.rows(text.as_str(), &args.0, most)?;
    let rest = more.then(|| Err(sqlx::Error::Protocol("too many rows at once".to_owned())));
    Ok(stream::iter(rows.into_iter().map(Ok).chain(rest)))
}

pub(super) fn pg_weight(row: &PgRow) -> usize {
    let weight = |at| row.try_get_raw(at).ok()?.as_bytes().ok().map(<[u8]>::len);
    (0..row.len()).map(|at| weight(at).unwrap_or(SMALL)).sum()
}
